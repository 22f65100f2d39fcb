// Workloads as data: what drivers do, on how large a cluster.
//
// Threads:    values; functions are scripts (tests/sim/script.h).
#ifndef MANTA_TESTS_SIM_WORKLOADS_H_
#define MANTA_TESTS_SIM_WORKLOADS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "tests/sim/script.h"

namespace manta::sim {

struct Workload {
  const char* name;
  Function main;          // of every driver
  const char* invariant;  // what it looks for beside the oracle's rules, for people
  int drivers;            // at a time
  int nodes_min, nodes_max;
  int cpus;              // of each node
  uint64_t store_bytes;  // of each node
  bool memory_may_run_out;
  Function last = nullptr;  // of one more driver, after the faults
};

const std::vector<Workload>& Workloads();
// Null: there is none of that name.
const Workload* FindWorkload(std::string_view name);

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_WORKLOADS_H_

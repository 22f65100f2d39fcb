// What a drill may hit: the processes of one cluster on this machine.
//
// Threads:    thread-safe functions; they read /proc.
#ifndef MANTA_TOOLS_DRILL_TARGETS_H_
#define MANTA_TOOLS_DRILL_TARGETS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/cluster_files.h"

namespace manta::tools {

struct Target {
  std::string name;  // "worker n2.p3", "node w1", "the head", "its redis-server"
  pid_t pid = 0;
  uint64_t start_time_ticks = 0;  // with the pid: one life of a process
};

// User code's processes, of nodes that `manta start` made and of drivers' own.
std::vector<Target> WorkersOf(const runtime::ClusterHere& cluster);
// Nodes that `manta start --address` made: the one beside the head is the head's, a driver's own is the driver's.
std::vector<Target> NodesOf(const runtime::ClusterHere& cluster);
// Empty: none runs.
std::vector<Target> HeadOf(const runtime::ClusterHere& cluster);
std::vector<Target> RedisOf(const runtime::ClusterHere& cluster);

// Sends it to that life of the process, and to no other. kNotFound: it has ended.
absl::Status SendTo(const Target& target, int signal);
// SIGKILL, and waits for the end. kDeadlineExceeded: it did not come within 5 s.
absl::Status Kill(const Target& target);

}  // namespace manta::tools

#endif  // MANTA_TOOLS_DRILL_TARGETS_H_

// What processes cost together.
#ifndef MANTA_TOOLS_BENCH_FAMILY_H_
#define MANTA_TOOLS_BENCH_FAMILY_H_

#include <sys/types.h>

#include <set>

namespace manta::bench {

// `roots` and all processes below them.
std::set<pid_t> FamilyOf(const std::set<pid_t>& roots);
// User and system time so far.
double CpuSeconds(const std::set<pid_t>& family);
// Resident memory, what is shared divided among its sharers.
double PssMiB(const std::set<pid_t>& family);

}  // namespace manta::bench

#endif  // MANTA_TOOLS_BENCH_FAMILY_H_

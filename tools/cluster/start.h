// `manta start` and `manta stop`: the daemons of this machine.
#ifndef MANTA_TOOLS_CLUSTER_START_H_
#define MANTA_TOOLS_CLUSTER_START_H_

#include <CLI/CLI.hpp>

namespace manta::tools {

// Exit statuses of the command line.
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoCluster = 3;

// Adds the verbs; one that was chosen runs in its callback and sets `*status`.
void AddStartVerb(CLI::App* app, int* status);
void AddStopVerb(CLI::App* app, int* status);

}  // namespace manta::tools

#endif  // MANTA_TOOLS_CLUSTER_START_H_

// `manta drill`: faults for one's own cluster on this machine, to see that a program survives them.
#ifndef MANTA_TOOLS_DRILL_DRILL_H_
#define MANTA_TOOLS_DRILL_DRILL_H_

#include <CLI/CLI.hpp>

namespace manta::tools {

// Adds the verb; it runs in its callback and sets `*status`: 0: each fault was injected; 1: one could not be, or the
// person said no; 2: usage; 3: no cluster.
void AddDrillVerb(CLI::App* app, int* status);

}  // namespace manta::tools

#endif  // MANTA_TOOLS_DRILL_DRILL_H_

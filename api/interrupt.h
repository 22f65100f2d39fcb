// Ctrl-C in a driver: the first is an orderly end, the second ends at once.
//
// Problem:    a signal handler can do next to nothing, and Shutdown takes locks: the handler wakes a thread that does
// it.
//             Then the process ends by SIGINT, as its parent expects.
// Threads:    thread-safe.
#ifndef MANTA_API_INTERRUPT_H_
#define MANTA_API_INTERRUPT_H_

namespace manta::internal {

// From now on the first SIGINT runs manta::Shutdown and then ends the process, as does a second one meanwhile. Does
// nothing if the program has a handler of its own, or ignores SIGINT, or this was called before.
void HandleInterrupt();

}  // namespace manta::internal

#endif  // MANTA_API_INTERRUPT_H_

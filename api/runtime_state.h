// The process's one current-runtime pointer: set by Init, cleared by Shutdown, fork and Ctrl-C.
//
//   none --Install--> running --Remove--> ended --Install--> running ...
//                        |
//                        +--fork, in the child--> forked (for good)
//
// Threads:    thread-safe; CurrentOrNull is one atomic load.
#ifndef MANTA_API_RUNTIME_STATE_H_
#define MANTA_API_RUNTIME_STATE_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "manta/internal/backend.h"

namespace manta::internal {

// Makes `backend` the current one, for ever alive, and returns the number of this Init, from 1.
// InvalidArgumentError: there is one already.
uint64_t InstallBackend(std::unique_ptr<Backend> backend);
// InvalidArgumentError if InstallBackend would throw it now.
void CheckNoBackend();
// Clears the pointer and returns what it was: null if there was none, or not that of `generation` (0: any).
Backend* RemoveBackend(uint64_t generation);
// The number of the last InstallBackend.
uint64_t CurrentGeneration();

// What OnWorkerStart gave, in order.
void AddWorkerStart(std::function<void()> fn);
void RunWorkerStart();

// After MarkInterrupted (Ctrl-C: the process is about to end), threads of the user's that would get an error wait here
// for that end instead of printing it. Threads that called ExemptFromParking (ours) go on.
void MarkInterrupted();
void ExemptFromParking();
void ParkIfInterrupted();

}  // namespace manta::internal

#endif  // MANTA_API_RUNTIME_STATE_H_

#include "api/runtime_state.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "base/mutex.h"
#include "manta/error.h"

namespace manta::internal {
namespace {

enum class Stage { kNone, kRunning, kEnded, kForked };

// The one mutable global of the API (DESIGN: no singletons but the registry and this).
struct RuntimeState {
  base::Mutex mutex;
  std::atomic<Backend*> current{nullptr};
  std::atomic<Stage> stage{Stage::kNone};
  std::atomic<bool> interrupted{false};
  std::atomic<uint64_t> generation{0};
  std::vector<std::function<void()>> worker_start MANTA_GUARDED_BY(mutex);
  std::vector<std::unique_ptr<Backend>> backends MANTA_GUARDED_BY(mutex);  // all there ever were: refs point to them
};

RuntimeState& State() {
  static RuntimeState* const state = new RuntimeState;
  return *state;
}

thread_local bool exempt_from_parking = false;

// Only the forking thread lives on in the child, and locks may be held for ever: nothing but atomics here.
void AfterForkInChild() {
  RuntimeState& state = State();
  Backend* const backend = state.current.exchange(nullptr);
  if (backend == nullptr) return;  // the zygote's children, and programs that fork before Init
  state.stage = Stage::kForked;
  backend->AfterForkInChild();
}

}  // namespace

void CheckNoBackend() {
  RuntimeState& state = State();
  if (state.stage == Stage::kForked)
    throw ShutdownError(ErrorCode::kShutdown, "Init in a forked child: exec a program of its own instead");
  if (state.current != nullptr) throw InvalidArgumentError("Init was called twice; Shutdown ends the first runtime");
}

uint64_t InstallBackend(std::unique_ptr<Backend> backend) {
  CheckNoBackend();
  static const int registered = pthread_atfork(nullptr, nullptr, &AfterForkInChild);
  (void)registered;
  RuntimeState& state = State();
  base::MutexLock lock(&state.mutex);
  state.backends.push_back(std::move(backend));
  const uint64_t generation = ++state.generation;
  state.stage = Stage::kRunning;
  state.current = state.backends.back().get();
  return generation;
}

Backend* RemoveBackend(uint64_t generation) {
  RuntimeState& state = State();
  if (state.stage == Stage::kForked) return nullptr;
  base::MutexLock lock(&state.mutex);
  if (generation != 0 && generation != state.generation) return nullptr;
  Backend* const backend = state.current.exchange(nullptr);
  if (backend != nullptr) state.stage = Stage::kEnded;
  return backend;
}

uint64_t CurrentGeneration() { return State().generation; }

Backend* CurrentOrNull() { return State().current.load(std::memory_order_acquire); }

Backend& Current() {
  Backend* const backend = CurrentOrNull();
  if (backend != nullptr) [[likely]]
    return *backend;
  ParkIfInterrupted();
  switch (State().stage.load()) {
    case Stage::kForked:
      throw ShutdownError(
          ErrorCode::kShutdown,
          "Manta was used in a child that user code forked; only the process that called Init can use it");
    case Stage::kEnded:
      throw ShutdownError(ErrorCode::kShutdown, "Manta was used after Shutdown");
    default:
      throw ShutdownError(
          ErrorCode::kShutdown,
          "Manta was used before Init: call manta::Init(argc, argv) at the top of main, and keep what it returns");
  }
}

Backend& BackendOf(const RefHandle& ref) {
  Backend& current = Current();
  if (!ref) throw InvalidArgumentError("an empty ref or handle (default-constructed, or moved from) was used");
  if (ref.get()->backend != &current)
    throw InvalidArgumentError("a ref of an earlier Init was used; its object ended with that runtime");
  return current;
}

void DropRef(RefState* state) noexcept {
  if (State().stage.load(std::memory_order_relaxed) == Stage::kForked) return;
  state->backend->Drop(state);
}

void AddWorkerStart(std::function<void()> fn) {
  base::MutexLock lock(&State().mutex);
  State().worker_start.push_back(std::move(fn));
}

void RunWorkerStart() {
  std::vector<std::function<void()>> functions;
  {
    base::MutexLock lock(&State().mutex);
    functions = State().worker_start;
  }
  for (const std::function<void()>& fn : functions) fn();
}

void MarkInterrupted() { State().interrupted = true; }
void ExemptFromParking() { exempt_from_parking = true; }
void ParkIfInterrupted() {
  if (!State().interrupted || exempt_from_parking) return;
  for (;;) ::pause();
}

}  // namespace manta::internal

// Init connects the program to a cluster, or starts one of its own; Runtime is what ends that.
//
//   int main(int argc, char** argv) {
//     auto runtime = manta::Init(argc, argv);     // in a worker, this never returns
//     ...
//   }                                             // ~Runtime: Shutdown
//
// Call it at the top of main, before any thread is started: the workers of the job are this executable, started again,
// and run main up to here. What is above it runs in every worker. Which cluster: --manta-address, else MANTA_ADDRESS,
// else an embedded one of this machine's, which ends with the program. --manta-local runs everything in this process,
// for debuggers.
#ifndef MANTA_INIT_H_
#define MANTA_INIT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manta/internal/export.h"
#include "manta/internal/options.h"

namespace manta {

// What is not set here is found out, or documented below. A flag or variable (in parentheses) wins over it.
struct Options {
  std::optional<int> num_cpus = {};                 // of an embedded cluster; default: the machine's (--manta-num-cpus)
  std::optional<int> num_gpus = {};                 // default: those found (--manta-num-gpus)
  std::map<std::string, double> resources = {};     // custom ones of an embedded cluster, by name (--manta-resources)
  std::optional<uint64_t> store_memory_bytes = {};  // >= 1 MiB; default: 30% of what is free (--manta-store-memory)
  // Files that workers on other nodes need, relative to the working directory, which is where workers find them.
  // Shipped by content when the first worker starts there; not looked at again.
  std::vector<std::string> files = {};
  std::string name_space = {};   // of this job's named actors; default: one that no other job has
  bool log_to_driver = true;     // print here what workers print
  bool handle_interrupt = true;  // Ctrl-C: once, Shutdown and end; twice, end at once
};

// Owns the connection: its destructor runs Shutdown. Movable.
class MANTA_EXPORT Runtime {
 public:
  Runtime() = default;
  explicit Runtime(uint64_t generation) : generation_(generation) {}
  Runtime(Runtime&& other) noexcept : generation_(std::exchange(other.generation_, 0)) {}
  Runtime& operator=(Runtime&& other) noexcept {
    std::swap(generation_, other.generation_);
    return *this;
  }
  ~Runtime();

 private:
  uint64_t generation_ = 0;  // which Init; 0: none
};

// Starts the runtime, and removes its flags (--manta-*) from argc and argv. One at a time per process; after Shutdown,
// again. Throws InvalidArgumentError: an unknown or malformed flag, MANTA_* variable or option, a second Init, two
// functions of one name; NodeDiedError and others: no cluster could be reached, with what to do about it.
[[nodiscard]] MANTA_EXPORT Runtime Init(int& argc, char** argv, const Options& options = {});

// Lets calls that were submitted be delivered, takes back those that have not begun (and says in the log how many),
// ends what runs, and returns. From then on the API throws ShutdownError. Does nothing if there is no runtime.
MANTA_EXPORT void Shutdown();

// Waits until every call of this process has ended; false: `timeout` ran out first.
MANTA_EXPORT bool DrainFor(std::chrono::nanoseconds timeout);
template <class Rep, class Period>
bool Drain(std::chrono::duration<Rep, Period> timeout) {
  return DrainFor(internal::ToNanos(timeout));
}
inline bool Drain() { return DrainFor(std::chrono::nanoseconds::max()); }

// Has `fn` run in each new worker before its first call: a generator seeded by a static initialiser, for one, is the
// same in all of them otherwise. With --manta-local it runs once, in Init. Call it before Init (else
// InvalidArgumentError); functions run in the order in which they were given.
MANTA_EXPORT void OnWorkerStart(std::function<void()> fn);

}  // namespace manta

#endif  // MANTA_INIT_H_

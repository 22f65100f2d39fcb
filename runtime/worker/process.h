// Process is the shell around one ProcessCore: it gives a driver or worker its threads, channels and clock.
//
// Problem:    a call on one node must cost no system call and no thread switch, whoever waits, and user code must
//             be able to block anywhere without stopping the process from answering.
// Threads:    thread-safe. The core lock is held for microseconds, never across user code or a blocking system call.
//             Three kinds of threads take it: user threads (submit, wait), executors (run calls, wait for more), and
//             the I/O thread (timers, the control socket, and rings that nobody attends to).
// Waiting:    of the threads that wait, one leads: it attends to the rings (polls, then sleeps on the process's bell);
//             the others follow on a condition variable and take over when it leaves. See docs/doorbells.md.
// Ownership:  owns the core, the channels and its threads. Borrows Host, which must outlive it.
// See:        runtime/worker/process_core.h (decisions), rpc/shm_port.h (rings), docs/actor_call.md
#ifndef MANTA_RUNTIME_WORKER_PROCESS_H_
#define MANTA_RUNTIME_WORKER_PROCESS_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "runtime/worker/process_core.h"
#include "store/pin_table.h"
#include "store/store_client.h"

namespace manta::runtime {

class Process {
 public:
  // What the API layer does for the process.
  class Host {
   public:
    virtual ~Host() = default;
    // Under the core lock, on any thread; must neither block nor call the process (SubmitDrop is allowed).
    virtual void OnComplete(Complete complete) = 0;
    virtual void OnElsewhere(Elsewhere elsewhere) = 0;
    virtual void OnActorLookedUp(const ActorLookedUp& found) = 0;
    virtual void OnNodesListed(NodesListed list) = 0;
    virtual void OnActorChanged(const rpc::ActorUpdate& update) = 0;
    virtual void OnWaitingFor(const WaitingFor& waiting) = 0;
    virtual void OnOutput(const rpc::Output& output) = 0;
    virtual void OnDaemonLost() = 0;
    // Whether a call of this process is not complete (then somebody must look for its reply).
    virtual bool HasCallsPending() const = 0;
    // On an executor thread, without the lock. Run user code; never throw.
    virtual Executed Execute(rpc::CallRequest request) = 0;
    virtual Constructed Construct(rpc::ActorSpec spec, uint64_t incarnation) = 0;
    // On the same thread, once the core has heard of it.
    virtual void AfterExecuted() = 0;
  };

  struct JoinSpec {
    rpc::ProcessHello hello;     // hello.process set: a worker
    base::UniqueFd node_socket;  // our end of the pair whose other end the daemon has
    base::UniqueFd program;      // drivers: their own image, for workers
    Duration timeout = std::chrono::seconds(10);
    std::optional<Duration> poll;                                 // --manta-poll; unset: measured
    std::function<std::string(uint64_t function)> function_name;  // ProcessOptions
  };
  // Says hello and waits for the welcome. kDeadlineExceeded, kUnavailable (the daemon died), kFailedPrecondition
  // (refused: the text says why).
  static absl::StatusOr<std::unique_ptr<Process>> Join(JoinSpec spec, Host* host);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  ProcessId self() const;
  JobId job() const;
  const std::string& name_space() const;
  store::StoreClient& store();
  std::shared_ptr<store::PinTable> pins();  // null after Close
  Time Now() const { return base::SystemClock().Now(); }

  // The next call number; rising, never reused.
  uint64_t NextNumber() { return next_number_.fetch_add(1, std::memory_order_relaxed); }

  // Hands `event` to the core, after the handles that were dropped before it, and carries its actions out.
  void Submit(ProcessEvent event);

  // A handle is gone. Lock-free; may be called under the core lock. Handed to the core at the next Submit, or within 10
  // ms; then `forget` is called under the core lock: the core does not use the cookie any more. After Close it is
  // called at once.
  struct Dropped {
    ObjectId object;
    Cookie handle = 0;
    void (*forget)(Dropped*) = nullptr;
    Dropped* next = nullptr;
  };
  void SubmitDrop(Dropped* dropped);

  // Blocks until done() (called often, on this thread, without the lock) or `deadline` (Time::max(): none); true if
  // done. Callable from any thread but the I/O thread.
  bool WaitUntil(const std::function<bool()>& done, Time deadline);

  // Runs calls on this thread until the core says exit; the reason. For workers.
  std::string RunExecutor();

  ProcessCounts counts();

  // In a child that user code forked, where locks may be held for ever: closes what it has of the process's sockets and
  // shared memory, so that the node sees the process's end. Nothing else may be called there afterwards.
  void AfterForkInChild() noexcept;

  // Ends the I/O thread and closes everything, without a word to anybody. Idempotent.
  void Close();

 private:
  class Impl;
  explicit Process(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
  std::atomic<uint64_t> next_number_{1};
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_PROCESS_H_

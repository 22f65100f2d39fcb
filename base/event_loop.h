// EventLoop is the shell's thread: posted functions, timers and readable descriptors, one after another.
//
// Problem:    shells must run on libuv in production and on virtual time in tests and the simulator.
// Threads:    Run() makes the calling thread the loop's thread. Post(), Stop() and Now() may be called from any
//             thread; everything else is loop-confined: on the loop's thread, or on any one thread while Run() is not
//             running (DCHECKed).
// Invariants: (1) posted functions run in the order of their Post() calls, never inside Post().
//             (2) timers run at or after their time, in the order of their times (equal times: of RunAfter).
//             (3) after CancelTimer or ~FdWatch the function is not called again, even if it was due.
//             (4) Run() returns only after Stop(), which also lets what was posted before it run.
#ifndef MANTA_BASE_EVENT_LOOP_H_
#define MANTA_BASE_EVENT_LOOP_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "base/time.h"

namespace manta::base {

// A timer of one loop; 0: none. Never used twice.
using TimerId = uint64_t;

// Bits of a descriptor's readiness. kReadable is also given on end of file and on errors.
enum FdEvents : int { kReadable = 1, kWritable = 2 };

class EventLoop;

// A watch on a descriptor; ends when destroyed. It must end before the descriptor is closed, and before its loop.
class FdWatch {
 public:
  FdWatch() = default;
  FdWatch(FdWatch&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), id_(std::exchange(other.id_, 0)) {}
  FdWatch& operator=(FdWatch&& other) noexcept;
  ~FdWatch() { Reset(); }
  explicit operator bool() const { return loop_ != nullptr; }
  // Ends the watch.
  void Reset();
  // Changes what is watched for; 0 pauses.
  void SetEvents(int events);

 private:
  friend class EventLoop;
  FdWatch(EventLoop* loop, uint64_t id) : loop_(loop), id_(id) {}
  EventLoop* loop_ = nullptr;
  uint64_t id_ = 0;
};

class EventLoop : public Clock {
 public:
  using Function = std::function<void()>;
  using FdFunction = std::function<void(int events)>;

  // Runs `fn` on the loop's thread, soon. Thread-safe. Dropped (destroyed, not run) if the loop never runs again.
  virtual void Post(Function fn) = 0;

  // Runs `fn` once, `after` from Now() (0 or less: at the next turn, not inside this call).
  virtual TimerId RunAfter(Duration after, Function fn) = 0;
  // No effect on a timer that ran or was cancelled already.
  virtual void CancelTimer(TimerId id) = 0;

  // Calls `fn` with the events seen, for as long as the watch lives and they last (level-triggered). One watch per
  // descriptor at a time. `fn` may end its own watch. `fd` stays the caller's, and is
  // made nonblocking.
  FdWatch WatchFd(int fd, int events, FdFunction fn) { return {this, AddWatch(fd, events, std::move(fn))}; }

  // Runs until Stop(). May be called again after it returned.
  virtual void Run() = 0;
  // Runs what is due, without waiting for more. Threads may take turns at it.
  virtual void RunOnce() = 0;
  // Thread-safe. Before Run(): that Run() returns at once.
  virtual void Stop() = 0;
  // True on the loop's thread, and on every thread while Run() is not running. Thread-safe.
  virtual bool IsLoopThread() const = 0;

 protected:
  friend class FdWatch;
  virtual uint64_t AddWatch(int fd, int events, FdFunction fn) = 0;
  virtual void SetWatchEvents(uint64_t id, int events) = 0;
  virtual void RemoveWatch(uint64_t id) = 0;
};

inline FdWatch& FdWatch::operator=(FdWatch&& other) noexcept {
  if (this != &other) {
    Reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = std::exchange(other.id_, 0);
  }
  return *this;
}
inline void FdWatch::Reset() {
  if (EventLoop* loop = std::exchange(loop_, nullptr)) loop->RemoveWatch(std::exchange(id_, 0));
}
inline void FdWatch::SetEvents(int events) {
  if (loop_ != nullptr) loop_->SetWatchEvents(id_, events);
}

}  // namespace manta::base

#endif  // MANTA_BASE_EVENT_LOOP_H_

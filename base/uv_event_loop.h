// UvEventLoop is the EventLoop of production, on libuv.
//
// Ownership:  owns its uv_loop_t. Watches must end before it.
// Threads:    see EventLoop.
// Errors:     a loop that libuv cannot make (no descriptors left) ends the process: nothing works without one.
#ifndef MANTA_BASE_UV_EVENT_LOOP_H_
#define MANTA_BASE_UV_EVENT_LOOP_H_

#include <memory>

#include "base/event_loop.h"

struct uv_loop_s;

namespace manta::base {

class UvEventLoop : public EventLoop {
 public:
  UvEventLoop();
  ~UvEventLoop() override;

  Time Now() const override;
  void Post(Function fn) override;
  TimerId RunAfter(Duration after, Function fn) override;
  void CancelTimer(TimerId id) override;
  void Run() override;
  void RunOnce() override;
  void Stop() override;
  bool IsLoopThread() const override;

  // For rpc/'s transports, which give libuv handles of their own. Loop-confined.
  uv_loop_s* uv_loop();
  // libuv's epoll descriptor, readable when RunOnce has something to do (timers too), for a thread that waits for
  // several things at once. Watches and libuv handles that were added or changed since the last RunOnce are not in it.
  int backend_fd() const;

 protected:
  uint64_t AddWatch(int fd, int events, FdFunction fn) override;
  void SetWatchEvents(uint64_t id, int events) override;
  void RemoveWatch(uint64_t id) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace manta::base

#endif  // MANTA_BASE_UV_EVENT_LOOP_H_

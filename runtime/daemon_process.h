// What the head's and the nodes' processes have in common: how they report that they are ready, and how they are told
// to end.
//
// Threads:    single-threaded, before the loop runs; EndSignals is loop-confined.
#ifndef MANTA_RUNTIME_DAEMON_PROCESS_H_
#define MANTA_RUNTIME_DAEMON_PROCESS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/time.h"
#include "base/unique_fd.h"

namespace manta::runtime {

// The child's end of a pipe on which it says once how its start went. Without a pipe nothing is said.
class ReadyPipe {
 public:
  ReadyPipe() = default;
  explicit ReadyPipe(base::UniqueFd pipe) : pipe_(std::move(pipe)) {}
  void Ready(const std::string& what) { Say("ok " + what); }
  void Failed(const absl::Status& why);

 private:
  void Say(const std::string& line);
  base::UniqueFd pipe_;
};
// The parent's side: what the child said at its start. Its error otherwise; kDeadlineExceeded; kUnavailable: it ended
// without a word.
absl::StatusOr<std::string> AwaitReady(base::UniqueFd pipe, Duration timeout);

// Calls `fn` when the process is asked to end (SIGTERM, SIGINT). Blocks both signals: make it before other threads.
class EndSignals {
 public:
  EndSignals(base::EventLoop* loop, std::function<void()> fn);
  ~EndSignals();

 private:
  std::function<void()> fn_;
  base::UniqueFd signals_;
  base::FdWatch watch_;
};

// In a child that was forked to be a daemon: a session of its own, no terminal, output to `log_path`.
absl::Status BecomeDaemon(const std::string& log_path, const char* name);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_DAEMON_PROCESS_H_

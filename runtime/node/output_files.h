// OutputFiles keeps what workers print: one file per worker and stream in the log directory, tailed to whoever listens.
//
// Problem:    a slow driver must never block a worker's printf, and a chatty worker must not flood the driver.
// Threads:    loop-confined. Woken by inotify, so an idle cluster costs nothing.
// Invariants: (1) at most kBytesPerSecondMax of one worker's output are passed on in a second; the rest is counted.
#ifndef MANTA_RUNTIME_NODE_OUTPUT_FILES_H_
#define MANTA_RUNTIME_NODE_OUTPUT_FILES_H_

#include <functional>
#include <map>
#include <string>

#include "base/event_loop.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "rpc/message.h"

namespace manta::runtime {

class OutputFiles {
 public:
  static constexpr uint64_t kBytesPerSecondMax = 1 << 20;

  OutputFiles(base::EventLoop* loop, std::string directory, std::function<void(rpc::Output)> listener);
  ~OutputFiles();

  struct Fds {
    base::UniqueFd out;
    base::UniqueFd err;
  };
  // The files of a new worker, to be its stdout and stderr. On a full disk or without permission: /dev/null and a log
  // line.
  Fds Open(ProcessId worker, JobId job);
  // The worker has ended: passes on what is left.
  void Close(ProcessId worker);

 private:
  struct File {
    ProcessId worker;
    JobId job = 0;
    bool is_stderr = false;
    base::UniqueFd fd;  // for reading
    uint64_t offset = 0;
    uint64_t dropped = 0;
    uint64_t budget = kBytesPerSecondMax;
    Time budget_from{};
  };
  base::UniqueFd OpenOne(ProcessId worker, JobId job, bool is_stderr);
  void OnModified();
  // Passes on whole lines; `ended`: all that is there.
  void Tail(File& file, bool ended);

  base::EventLoop* const loop_;
  const std::string directory_;
  std::function<void(rpc::Output)> listener_;
  base::UniqueFd inotify_;
  base::FdWatch watch_;
  std::map<std::string, File> files_;  // by name in the directory
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_OUTPUT_FILES_H_

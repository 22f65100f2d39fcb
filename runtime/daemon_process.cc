#include "runtime/daemon_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/status.h"

namespace manta::runtime {

void ReadyPipe::Failed(const absl::Status& why) {
  MANTA_LOG(kError) << "the start failed: " << base::Message(why);
  Say("error " + std::to_string(static_cast<int>(why.code())) + " " + base::Message(why));
}

void ReadyPipe::Say(const std::string& line) {
  if (!pipe_) return;
  // A reader that has gone does not want to know.
  if (write(pipe_.get(), line.data(), line.size()) < 0) MANTA_LOG(kInfo) << "nobody waits for the start's end";
  pipe_.reset();
}

absl::StatusOr<std::string> AwaitReady(base::UniqueFd pipe, Duration timeout) {
  const base::SystemClock clock;
  const Time deadline = clock.Now() + timeout;
  std::string said;
  while (true) {
    const Duration left = deadline - clock.Now();
    pollfd end{pipe.get(), POLLIN, 0};
    const int ready = poll(&end, 1, static_cast<int>(std::max<int64_t>(0, left.count() / 1'000'000)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return absl::DeadlineExceededError("it was not ready in time");
    std::array<char, 4096> text;
    const ssize_t size = read(pipe.get(), text.data(), text.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    said.append(text.data(), static_cast<size_t>(size));
  }
  if (said.starts_with("ok ")) return said.substr(3);
  if (!said.starts_with("error ")) return absl::UnavailableError("it ended before it was ready; its log says why");
  const size_t space = said.find(' ', 6);
  return base::Error(static_cast<absl::StatusCode>(std::atoi(said.c_str() + 6)), said.substr(space + 1));
}

EndSignals::EndSignals(base::EventLoop* loop, std::function<void()> fn) : fn_(std::move(fn)) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  signals_.reset(signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK));
  watch_ = loop->WatchFd(signals_.get(), base::kReadable, [this](int) {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) > 0) {
    }
    fn_();
  });
}

EndSignals::~EndSignals() = default;

absl::Status BecomeDaemon(const std::string& log_path, const char* name) {
  setsid();
  prctl(PR_SET_NAME, name);
  const base::UniqueFd nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const base::UniqueFd log(open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return base::ErrnoStatus(errno, "open the log " + log_path);
  if (dup2(nothing.get(), STDIN_FILENO) < 0 || dup2(log.get(), STDOUT_FILENO) < 0 ||
      dup2(log.get(), STDERR_FILENO) < 0) {
    return base::ErrnoStatus(errno, "give up the terminal");
  }
  return absl::OkStatus();
}

}  // namespace manta::runtime

#include "api/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>
#include <csignal>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>

#include "api/runtime_state.h"
#include "base/log.h"
#include "manta/init.h"

namespace manta::internal {
namespace {

std::atomic<int> bell{-1};        // an eventfd, for as long as the process lives
std::atomic<pid_t> owner_pid{0};  // whom it is for: not a forked child
std::atomic<bool> seen{false};

void EndBySignal() {
  std::signal(SIGINT, SIG_DFL);
  ::kill(::getpid(), SIGINT);
}

// Async-signal-safe.
void OnInterrupt(int) {
  if (seen.exchange(true) || ::getpid() != owner_pid) {
    EndBySignal();
    return;
  }
  const int saved_errno = errno;
  const uint64_t one = 1;
  if (::write(bell, &one, sizeof one) != sizeof one) EndBySignal();
  errno = saved_errno;
}

void WaitForInterrupt() {
  ExemptFromParking();
  uint64_t count = 0;
  while (::read(bell, &count, sizeof count) < 0 && errno == EINTR) {
  }
  static constexpr char kText[] = "\nmanta: interrupted, ending (Ctrl-C again ends at once)\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof kText - 1);
  MarkInterrupted();
  try {
    Shutdown();
  } catch (const std::exception& error) {
    MANTA_LOG(kWarning) << "Shutdown after Ctrl-C: " << error.what();
  }
  EndBySignal();
}

}  // namespace

void HandleInterrupt() {
  if (bell.load() >= 0) return;
  struct sigaction old {};
  if (::sigaction(SIGINT, nullptr, &old) != 0 || old.sa_handler != SIG_DFL) return;
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) {
    MANTA_LOG(kWarning) << "no eventfd, so Ctrl-C ends at once: " << std::strerror(errno);
    return;
  }
  bell = fd;
  owner_pid = ::getpid();
  try {
    // The thread takes no signals: user code's handlers run in user code's threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread(&WaitForInterrupt).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  } catch (const std::system_error& error) {
    MANTA_LOG(kWarning) << "no thread, so Ctrl-C ends at once: " << error.what();
    return;
  }
  struct sigaction action {};
  action.sa_handler = &OnInterrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
}

}  // namespace manta::internal

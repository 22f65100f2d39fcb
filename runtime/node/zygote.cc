#include "runtime/node/zygote.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "base/process.h"
#include "base/socket.h"

namespace manta::runtime {
namespace {

// Both ends are one build of one program, so plain structs do.
struct ForkCommand {
  ProcessId self;
  JobId job = 0;
};
struct FromZygote {
  enum class Kind : uint32_t { kForked, kUseExec, kFailed, kExited };
  Kind kind = Kind::kForked;
  int32_t pid = 0;
  uint64_t worker = 0;
  int32_t status = 0;  // kExited: wait status; kFailed: errno
};

template <typename T>
std::span<const char> BytesOf(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

int ThreadCount() {
  int count = 0;
  if (DIR* tasks = opendir("/proc/self/task")) {
    while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.';
    closedir(tasks);
  }
  return count;
}

void BecomeWorker(int stdout_fd, int stderr_fd) {
  setsid();
  signal(SIGINT, SIG_IGN);
  dup2(stdout_fd, STDOUT_FILENO);
  dup2(stderr_fd, STDERR_FILENO);
  setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
  DieFirst();
}

bool IsClosed(int socket) {
  pollfd end{socket, 0, 0};
  return poll(&end, 1, 0) == 1 && (end.revents & (POLLHUP | POLLERR)) != 0;
}

// Sends what the kernel may take a moment to accept (descriptors on their way are counted); the node always reads.
void Report(int socket, const FromZygote& report, std::span<const int> fds = {}) {
  for (int tries = 0; tries < 1000 && !IsClosed(socket); ++tries) {
    if (base::SendWithFds(socket, BytesOf(report), fds).ok()) return;
    usleep(1000);
  }
}

void ReapWorkers(int socket) {
  int status = 0;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    Report(socket, {.kind = FromZygote::Kind::kExited, .pid = pid, .status = status});
  }
}

}  // namespace

void DieFirst() {
  if (FILE* score = std::fopen("/proc/self/oom_score_adj", "we")) {
    std::fputs("1000", score);
    std::fclose(score);
  }
}

const char* RoleName(ProcessRole role) {
  switch (role) {
    case ProcessRole::kDriver:
      return "driver";
    case ProcessRole::kEmbeddedCluster:
      return "embedded";
    case ProcessRole::kNode:
      return "node";
    case ProcessRole::kZygote:
      return "zygote";
    case ProcessRole::kWorker:
      return "worker";
  }
  return "?";
}

absl::StatusOr<RoleFromEnvironment> TakeRoleFromEnvironment() {
  RoleFromEnvironment found;
  const char* role = std::getenv(kRoleVariable);
  if (role == nullptr) return found;
  const std::string role_name = role;
  const char* socket = std::getenv(kSocketVariable);
  const char* detail = std::getenv(kDetailVariable);
  const std::string socket_text = socket == nullptr ? "" : socket;
  if (detail != nullptr) found.detail = detail;
  unsetenv(kRoleVariable);
  unsetenv(kSocketVariable);
  unsetenv(kDetailVariable);

  bool known = false;
  for (ProcessRole candidate :
       {ProcessRole::kEmbeddedCluster, ProcessRole::kNode, ProcessRole::kZygote, ProcessRole::kWorker}) {
    if (role_name == RoleName(candidate)) {
      found.role = candidate;
      known = true;
    }
  }
  int fd = -1;
  const auto parsed = std::from_chars(socket_text.data(), socket_text.data() + socket_text.size(), fd);
  if (!known || parsed.ec != std::errc() || fcntl(fd, F_GETFD) < 0) {
    return base::Error(absl::StatusCode::kInvalidArgument,
                       std::string(kRoleVariable) + "=" + role_name +
                           " is set, but this process was not started by Manta: unset the MANTA_INTERNAL_* variables");
  }
  found.socket.reset(fd);
  MANTA_RETURN_IF_ERROR(base::SetCloexec(fd));
  return found;
}

std::string EncodeWorkerStart(const WorkerStart& start) {
  return std::to_string(start.self.node) + "," + std::to_string(start.self.number) + "," + std::to_string(start.job);
}

absl::StatusOr<WorkerStart> DecodeWorkerStart(const std::string& text) {
  WorkerStart start;
  unsigned long long node = 0, number = 0, job = 0;
  if (std::sscanf(text.c_str(), "%llu,%llu,%llu", &node, &number, &job) != 3) {
    return base::Error(absl::StatusCode::kInvalidArgument, "not a worker's start: '" + text + "'");
  }
  start.self = {node, number};
  start.job = job;
  return start;
}

WorkerStart RunZygote(base::UniqueFd socket) {
  (void)base::SetNonblocking(socket.get(), false);
  sigset_t child_signal, before;
  sigemptyset(&child_signal);
  sigaddset(&child_signal, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child_signal, &before);
  base::UniqueFd signals(signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK));
  signal(SIGINT, SIG_IGN);

  while (true) {
    std::array<pollfd, 2> fds = {pollfd{socket.get(), POLLIN, 0}, pollfd{signals.get(), POLLIN, 0}};
    if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) _exit(1);
    if (fds[1].revents != 0) {
      signalfd_siginfo info;
      while (read(signals.get(), &info, sizeof(info)) > 0) {
      }
      ReapWorkers(socket.get());
    }
    if (fds[0].revents == 0) continue;

    ForkCommand command;
    absl::StatusOr<base::Received> received =
        base::RecvWithFds(socket.get(), {reinterpret_cast<char*>(&command), sizeof(command)});
    if (!received.ok() || received->size == 0) _exit(0);  // the node is gone
    if (received->size != sizeof(command)) continue;
    if (received->fds.size() != 3) {
      Report(socket.get(), {.kind = FromZygote::Kind::kFailed, .worker = command.self.number, .status = EMFILE});
      continue;
    }
    if (ThreadCount() != 1) {
      Report(socket.get(), {.kind = FromZygote::Kind::kUseExec, .worker = command.self.number});
      continue;
    }
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid < 0) {
      Report(socket.get(), {.kind = FromZygote::Kind::kFailed, .worker = command.self.number, .status = errno});
      continue;
    }
    if (pid == 0) {
      socket.reset();
      signals.reset();
      signal(SIGCHLD, SIG_DFL);
      sigprocmask(SIG_SETMASK, &before, nullptr);
      BecomeWorker(received->fds[1].get(), received->fds[2].get());
      return {command.self, command.job, std::move(received->fds[0])};
    }
    absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(pid);  // not reaped yet: the pid is still its
    const int fd = pidfd.ok() ? pidfd->get() : -1;
    Report(socket.get(), {.kind = FromZygote::Kind::kForked, .pid = pid, .worker = command.self.number},
           fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>());
  }
}

ZygoteClient::ZygoteClient(base::EventLoop* loop, base::UniqueFd socket, JobId job, Callbacks callbacks)
    : loop_(loop), socket_(std::move(socket)), job_(job), callbacks_(std::move(callbacks)) {
  watch_ = loop_->WatchFd(socket_.get(), base::kReadable, [this](int) { OnReadable(); });
}

ZygoteClient::~ZygoteClient() = default;

absl::Status ZygoteClient::Fork(const WorkerStart& start, int stdout_fd, int stderr_fd) {
  const ForkCommand command{start.self, start.job};
  const std::array<int, 3> fds = {start.node_socket.get(), stdout_fd, stderr_fd};
  return base::SendWithFds(socket_.get(), BytesOf(command), fds).status();
}

void ZygoteClient::OnReadable() {
  while (socket_) {
    FromZygote report;
    absl::StatusOr<base::Received> received =
        base::RecvWithFds(socket_.get(), {reinterpret_cast<char*>(&report), sizeof(report)});
    if (absl::IsUnavailable(received.status())) return;  // nothing more for now
    if (!received.ok() || received->size != sizeof(report)) {
      watch_.Reset();
      socket_.reset();
      callbacks_.lost(job_);
      return;
    }
    switch (report.kind) {
      case FromZygote::Kind::kForked:
        callbacks_.forked(report.worker, report.pid,
                          received->fds.empty() ? base::UniqueFd() : std::move(received->fds[0]), false, "");
        break;
      case FromZygote::Kind::kUseExec:
        callbacks_.forked(report.worker, 0, {}, true, "the program's static initialisers start threads");
        break;
      case FromZygote::Kind::kFailed:
        callbacks_.forked(report.worker, 0, {}, false, "fork: " + std::string(std::strerror(report.status)));
        break;
      case FromZygote::Kind::kExited:
        callbacks_.exited(report.pid, report.status);
        break;
    }
  }
}

}  // namespace manta::runtime

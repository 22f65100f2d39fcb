#include "runtime/head/private_redis.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <utility>
#include <vector>

#include "base/process.h"
#include "base/socket.h"
#include "runtime/head/redis_connection.h"

extern char** environ;

namespace manta::runtime {
namespace {

constexpr int kLockNumber = 100;                                    // the lock's descriptor in the server
constexpr Duration kAnswerTimeout = std::chrono::milliseconds(20);  // then it is looked at whether a server runs
constexpr Duration kStopTimeout = std::chrono::seconds(1);

std::string PidFile(const PrivateRedis::Spec& spec) { return spec.data_dir + "/redis.pid"; }
std::string LockFile(const PrivateRedis::Spec& spec) { return spec.data_dir + "/redis.lock"; }
std::string LogFile(const PrivateRedis::Spec& spec) { return spec.data_dir + "/redis.log"; }

absl::Status CheckPaths(const PrivateRedis::Spec& spec) {
  if (spec.data_dir.empty() || spec.data_dir.front() != '/' || spec.socket_path.empty() ||
      spec.socket_path.front() != '/') {
    return absl::InvalidArgumentError("the private Redis wants absolute paths, not '" + spec.data_dir + "' and '" +
                                      spec.socket_path + "'");
  }
  if (spec.socket_path.size() > base::kSocketPathBytesMax) {
    return absl::InvalidArgumentError("the private Redis's socket would be " + spec.socket_path + ", of " +
                                      std::to_string(spec.socket_path.size()) + " bytes; a socket's path has at most " +
                                      std::to_string(base::kSocketPathBytesMax) + ": use a shorter --run-dir");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos && access(name.c_str(), X_OK) == 0) return name;
  const char* const path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "/usr/bin:/bin";
  // Daemons of the distribution stand in sbin, which is not on everybody's path.
  folders += ":/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin";
  while (name.find('/') == std::string::npos && !folders.empty()) {
    const size_t end = folders.find(':');
    const std::string candidate = folders.substr(0, end) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    folders.erase(0, end == std::string::npos ? end : end + 1);
  }
  return absl::NotFoundError("there is no " + name +
                             ": install it (sudo apt-get install redis-server), give one with --metadata "
                             "redis://host:port, or do without a durable head (--metadata memory)");
}

std::vector<std::string> CommandLine(const PrivateRedis::Spec& spec, const std::string& program) {
  return {program, "--daemonize", "yes", "--port", "0", "--unixsocket", spec.socket_path, "--unixsocketperm", "600",
          "--dir", spec.data_dir, "--pidfile", PidFile(spec), "--logfile", LogFile(spec), "--appendonly", "yes",
          "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no",
          // A tail that was cut was never acknowledged; commit_seq finds any other cut.
          "--aof-load-truncated", "yes", "--maxmemory", "0", "--maxmemory-policy", "noeviction", "--save", "",
          "--databases", "1", "--hz", "1"};
}

// The lock of the directory; no descriptor: a server has it.
absl::StatusOr<base::UniqueFd> TakeLock(const PrivateRedis::Spec& spec) {
  base::UniqueFd lock(open(LockFile(spec).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return base::ErrnoStatus(errno, "open " + LockFile(spec));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return base::UniqueFd();
  return base::ErrnoStatus(errno, "lock " + LockFile(spec));
}

bool IsLocked(const PrivateRedis::Spec& spec) {
  const absl::StatusOr<base::UniqueFd> lock = TakeLock(spec);
  return lock.ok() && !*lock;
}

// Runs the program and waits for it; it forks the daemon, which inherits `lock`, and ends at once.
absl::Status RunToEnd(std::vector<std::string> argv, int lock) {
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, reset;
  sigemptyset(&none);
  sigfillset(&reset);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  posix_spawn_file_actions_adddup2(&actions, lock, kLockNumber);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, pointers[0], &actions, &attributes, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return base::ErrnoStatus(error, "start " + argv[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::UnavailableError(argv[0] + " ended with status " + std::to_string(status));
}

std::string ReadLink(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  return size < 0 ? "" : std::string(target, static_cast<size_t>(size));
}

std::string Canonical(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? path : resolved;
}

bool EndsWithin(int pidfd, Duration timeout) {
  pollfd poll_fd{pidfd, POLLIN, 0};
  return poll(&poll_fd, 1, static_cast<int>(timeout / std::chrono::milliseconds(1))) > 0;
}

}  // namespace

PrivateRedis::PrivateRedis(Spec spec) : spec_(std::move(spec)) { address_.unix_path = spec_.socket_path; }

absl::StatusOr<PrivateRedis> PrivateRedis::Start(Spec spec) {
  MANTA_RETURN_IF_ERROR(CheckPaths(spec));
  if (mkdir(spec.data_dir.c_str(), 0700) != 0 && errno != EEXIST) {
    return base::ErrnoStatus(errno, "make " + spec.data_dir);
  }
  PrivateRedis redis(std::move(spec));
  const base::SystemClock clock;
  const Time end = clock.Now() + redis.spec_.ready_timeout;
  // Whoever listens already is asked first: Redis would take its path away.
  const bool listens = base::ConnectUnix(redis.spec_.socket_path).ok();
  absl::Status ready = listens ? redis.CheckAnswers(kAnswerTimeout) : absl::UnavailableError("nobody listens");
  // A server that is just ending holds the lock for a moment, and does not answer any more.
  while (absl::IsUnavailable(ready) && clock.Now() < end && (redis.adopted_ || IsLocked(redis.spec_))) {
    if (redis.adopted_) MANTA_RETURN_IF_ERROR(redis.LaunchHere());
    ready = redis.CheckAnswers(kAnswerTimeout);
  }
  if (!ready.ok()) return ready;
  return redis;
}

absl::StatusOr<PrivateRedis> PrivateRedis::Find(Spec spec) {
  PrivateRedis redis(std::move(spec));
  if (redis.pid() == 0) return absl::NotFoundError("no redis-server runs on " + redis.spec_.data_dir);
  return redis;
}

absl::Status PrivateRedis::LaunchHere() {
  MANTA_ASSIGN_OR_RETURN(const base::UniqueFd lock, TakeLock(spec_));
  if (!lock) return absl::OkStatus();
  MANTA_ASSIGN_OR_RETURN(const std::string program, FindProgram(spec_.program));
  const absl::Status started = RunToEnd(CommandLine(spec_, program), lock.get());
  if (!started.ok()) return base::Annotate(started, "log: " + LastLogLine());
  adopted_ = false;
  return absl::OkStatus();
}

absl::Status PrivateRedis::CheckAnswers(Duration timeout) const {
  const auto answer = AskRedis(address_, {{"CONFIG", "GET", "dir"}}, timeout);
  if (!answer.ok()) {
    const pid_t alive = pid();
    return absl::UnavailableError(
        "the private Redis " +
        (alive != 0 ? "(process " + std::to_string(alive) + ", on " + spec_.data_dir + ") does not answer"
                    : "on " + spec_.data_dir + " ended") +
        ": " + base::Message(answer.status()) + "; its log, " + LogFile(spec_) + ", ends: " + LastLogLine());
  }
  const RedisReply& reply = answer->front();
  if (reply.elements.size() == 2 && Canonical(reply.elements[1].text) == Canonical(spec_.data_dir)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError("another server listens on " + spec_.socket_path + ", not the Redis of " +
                                       spec_.data_dir);
}

absl::Status PrivateRedis::Revive() { return LaunchHere(); }

absl::Status PrivateRedis::Stop() {
  const pid_t alive = pid();
  if (alive == 0) return absl::OkStatus();
  absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(alive);
  if (absl::IsNotFound(pidfd.status()) || pid() != alive) return absl::OkStatus();
  MANTA_RETURN_IF_ERROR(pidfd.status());
  // Its end is the answer. SIGTERM would wait for the server's next tick.
  (void)AskRedis(address_, {{"SHUTDOWN", "NOSAVE"}}, kStopTimeout);
  if (EndsWithin(pidfd->get(), kStopTimeout)) return absl::OkStatus();
  const absl::Status killed = base::SendSignal(pidfd->get(), SIGKILL);
  if (!killed.ok() && !absl::IsNotFound(killed)) return killed;
  return EndsWithin(pidfd->get(), kStopTimeout)
             ? absl::OkStatus()
             : absl::DeadlineExceededError("redis-server " + std::to_string(alive) + " does not end");
}

pid_t PrivateRedis::pid() const {
  std::ifstream file(PidFile(spec_));
  pid_t pid = 0;
  if (!(file >> pid) || pid <= 0) return 0;
  // A number in a file may be another process's by now; that process does not stand in our directory.
  const bool ours = ReadLink("/proc/" + std::to_string(pid) + "/cwd") == Canonical(spec_.data_dir);
  return ours ? pid : 0;
}

std::string PrivateRedis::LastLogLine() const {
  std::ifstream file(LogFile(spec_));
  std::string line, last;
  while (std::getline(file, line)) {
    if (!line.empty()) last = line;
  }
  return last;
}

}  // namespace manta::runtime

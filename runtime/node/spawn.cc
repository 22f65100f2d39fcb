#include "runtime/node/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/process.h"

extern char** environ;

namespace manta::runtime {
namespace {

std::vector<std::string> MergedEnvironment(const std::vector<std::pair<std::string, std::string>>& added) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    bool replaced = false;
    for (const auto& [name, value] : added) {
      replaced |= std::strncmp(*entry, name.c_str(), name.size()) == 0 && (*entry)[name.size()] == '=';
    }
    if (!replaced) merged.emplace_back(*entry);
  }
  for (const auto& [name, value] : added) merged.push_back(name + "=" + value);
  return merged;
}

constexpr int kChildNumbersMax = 10;  // the child's numbers are below

absl::StatusOr<base::UniqueFd> DuplicateOutOfTheWay(int fd) {
  base::UniqueFd duplicate(fcntl(fd, F_DUPFD_CLOEXEC, kChildNumbersMax));
  if (!duplicate) return base::ErrnoStatus(errno, "duplicate a descriptor for a new process");
  return duplicate;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<SpawnedProcess> SpawnProgram(const SpawnSpec& spec) {
  std::vector<std::string> environment = MergedEnvironment(spec.environment);
  std::vector<std::string> argv = spec.argv;
  // Duplicates above all numbers that the child wants, so that none is overwritten before it is used.
  MANTA_ASSIGN_OR_RETURN(const base::UniqueFd program, DuplicateOutOfTheWay(spec.program));
  const std::string path = "/proc/self/fd/" + std::to_string(program.get());
  std::vector<base::UniqueFd> passed;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  absl::Status added;
  for (const auto& [ours, theirs] : spec.pass) {
    absl::StatusOr<base::UniqueFd> duplicate = DuplicateOutOfTheWay(ours);
    if (!duplicate.ok()) {
      added = duplicate.status();
      break;
    }
    posix_spawn_file_actions_adddup2(&actions, duplicate->get(), theirs);
    passed.push_back(*std::move(duplicate));
  }
  if (!spec.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, spec.directory.c_str());
  if (!added.ok()) {
    posix_spawn_file_actions_destroy(&actions);
    return added;
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t reset;
  sigemptyset(&reset);
  for (int signal : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD, SIGHUP}) sigaddset(&reset, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  SpawnedProcess child;
  const int error =
      posix_spawn(&child.pid, path.c_str(), &actions, &attributes, Pointers(argv).data(), Pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return base::ErrnoStatus(error, "start " + (spec.argv.empty() ? path : spec.argv[0]));
  // The child is ours and not reaped yet, so its pid names it still.
  absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(child.pid);
  if (!pidfd.ok()) return pidfd.status();
  child.pidfd = *std::move(pidfd);
  return child;
}

}  // namespace manta::runtime

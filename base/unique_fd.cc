#include "base/unique_fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace manta::base {

void UniqueFd::reset(int fd) {
  const int old = std::exchange(fd_, fd);
  if (old < 0) return;
  // Linux closes the descriptor even when it reports EINTR, so there is nothing to repeat.
  const int saved_errno = errno;
  close(old);
  errno = saved_errno;
}

absl::StatusOr<UniqueFd> Dup(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return ErrnoStatus(errno, "dup");
  return copy;
}

absl::Status SetCloexec(int fd, bool on) {
  if (fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) != 0) return ErrnoStatus(errno, "fcntl F_SETFD");
  return absl::OkStatus();
}

absl::Status SetNonblocking(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return ErrnoStatus(errno, "fcntl F_GETFL");
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags && fcntl(fd, F_SETFL, wanted) != 0) return ErrnoStatus(errno, "fcntl F_SETFL");
  return absl::OkStatus();
}

}  // namespace manta::base

// UniqueFd owns one file descriptor and closes it.
//
// Threads:    externally synchronised.
// Invariants: close errors are not reported: a file whose data matters is fsync'ed by its writer first.
#ifndef MANTA_BASE_UNIQUE_FD_H_
#define MANTA_BASE_UNIQUE_FD_H_

#include <utility>

#include "base/status.h"

namespace manta::base {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  // Gives the descriptor up without closing it.
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  // Closes what is held, then holds `fd`.
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

// A close-on-exec duplicate.
absl::StatusOr<UniqueFd> Dup(int fd);
absl::Status SetCloexec(int fd, bool on = true);
absl::Status SetNonblocking(int fd, bool on = true);

}  // namespace manta::base

#endif  // MANTA_BASE_UNIQUE_FD_H_

#include "store/data_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace manta::store {
namespace {

absl::Status Broken(int error_number, std::string_view what) {
  return absl::UnavailableError(base::ErrnoStatus(error_number, what).message());
}

absl::Status Closed() { return absl::UnavailableError("the other side has closed the connection"); }

bool WouldBlock(int error_number) { return error_number == EAGAIN || error_number == EWOULDBLOCK; }

Time Now() { return base::SystemClock().Now(); }

}  // namespace

DataSocket::DataSocket(base::UniqueFd fd, Limits limits, std::string early)
    : fd_(std::move(fd)), limits_(limits), early_(std::move(early)) {
  // Both can only fail on what is no TCP socket, or none at all, which the first read or write will tell.
  (void)base::SetNonblocking(fd_.get());
  const int on = 1;
  (void)setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

absl::Status DataSocket::Read(char* to, size_t size) {
  if (!early_.empty()) {
    const size_t taken = std::min(size, early_.size());
    std::memcpy(to, early_.data(), taken);
    early_.erase(0, taken);
    to += taken;
    size -= taken;
  }
  const Time end = SaturatingAdd(Now(), limits_.piece);
  while (size > 0) {
    const ssize_t got = recv(fd_.get(), to, size, 0);
    if (got > 0) {
      to += got;
      size -= static_cast<size_t>(got);
      if (size > 0 && Now() >= end) return absl::DeadlineExceededError("the other side sends too slowly");
    } else if (got == 0) {
      return Closed();
    } else if (WouldBlock(errno)) {
      MANTA_RETURN_IF_ERROR(Await(POLLIN, end));
    } else if (errno != EINTR) {
      return Broken(errno, "recv");
    }
  }
  return absl::OkStatus();
}

absl::Status DataSocket::Write(const char* from, size_t size, bool more) {
  const Time end = SaturatingAdd(Now(), limits_.piece);
  while (size > 0) {
    const ssize_t sent = send(fd_.get(), from, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (sent >= 0) {
      from += sent;
      size -= static_cast<size_t>(sent);
    } else if (WouldBlock(errno)) {
      MANTA_RETURN_IF_ERROR(Await(POLLOUT, end));
    } else if (errno != EINTR) {
      return Broken(errno, "send");
    }
  }
  return absl::OkStatus();
}

absl::Status DataSocket::SendFile(int file, uint64_t offset, size_t size) {
  const Time end = SaturatingAdd(Now(), limits_.piece);
  auto at = static_cast<off_t>(offset);
  while (size > 0) {
    const ssize_t sent = sendfile(fd_.get(), file, &at, size);
    if (sent > 0) {
      size -= static_cast<size_t>(sent);
      if (size > 0 && Now() >= end) return absl::DeadlineExceededError("the other side reads too slowly");
    } else if (sent == 0) {
      return absl::DataLossError("the file is shorter than it was");
    } else if (WouldBlock(errno)) {
      MANTA_RETURN_IF_ERROR(Await(POLLOUT, end));
    } else if (errno != EINTR) {
      return Broken(errno, "sendfile");
    }
  }
  return absl::OkStatus();
}

absl::Status DataSocket::AwaitReadable(Duration timeout) {
  if (!early_.empty()) return absl::OkStatus();
  pollfd waiting{fd_.get(), POLLIN, 0};
  const int ready = poll(&waiting, 1, static_cast<int>(timeout / std::chrono::milliseconds(1)));
  if (ready < 0 && errno != EINTR) return Broken(errno, "poll");
  return ready > 0 ? absl::OkStatus() : absl::DeadlineExceededError("nothing was asked for");
}

void DataSocket::Shutdown() { (void)shutdown(fd_.get(), SHUT_RDWR); }

absl::Status DataSocket::Await(short events, Time end) {
  const Duration left = std::min(limits_.stall, end - Now());
  pollfd waiting{fd_.get(), events, 0};
  const auto milliseconds = left / std::chrono::milliseconds(1) + 1;
  const int ready = poll(&waiting, 1, static_cast<int>(std::max<int64_t>(milliseconds, 0)));
  if (ready > 0 || (ready < 0 && errno == EINTR)) return absl::OkStatus();
  if (ready < 0) return Broken(errno, "poll");
  return absl::DeadlineExceededError("the other side does nothing");
}

}  // namespace manta::store

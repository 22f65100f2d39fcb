#include "base/socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace manta::base {
namespace {

int TypeOf(SocketKind kind) { return kind == SocketKind::kStream ? SOCK_STREAM : SOCK_SEQPACKET; }

absl::StatusOr<UniqueFd> NewSocket(SocketKind kind) {
  UniqueFd fd(socket(AF_UNIX, TypeOf(kind) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return ErrnoStatus(errno, "socket");
  return fd;
}

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  if (path.empty() || path.size() > kSocketPathBytesMax || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("socket path of " + std::to_string(path.size()) + " bytes (1.." +
                                      std::to_string(kSocketPathBytesMax) + " are possible): " + path);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

const sockaddr* AsSockaddr(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

}  // namespace

absl::StatusOr<UniqueFd> ListenUnix(const std::string& path, SocketKind kind, int backlog) {
  MANTA_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  MANTA_ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(kind));
  if (bind(fd.get(), AsSockaddr(address), sizeof(address)) != 0) {
    if (errno != EADDRINUSE) return ErrnoStatus(errno, "bind " + path);
    struct stat file;
    if (lstat(path.c_str(), &file) == 0 && !S_ISSOCK(file.st_mode)) {
      return absl::AlreadyExistsError(path + " exists and is no socket");
    }
    MANTA_ASSIGN_OR_RETURN(UniqueFd probe, NewSocket(kind));
    if (connect(probe.get(), AsSockaddr(address), sizeof(address)) == 0 || errno != ECONNREFUSED) {
      return absl::AlreadyExistsError("somebody listens on " + path);
    }
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "unlink " + path);
    if (bind(fd.get(), AsSockaddr(address), sizeof(address)) != 0) return ErrnoStatus(errno, "bind " + path);
  }
  // Before listen: nobody can connect with the mode that umask gave.
  if (chmod(path.c_str(), 0600) != 0) return ErrnoStatus(errno, "chmod " + path);
  if (listen(fd.get(), backlog) != 0) return ErrnoStatus(errno, "listen " + path);
  return fd;
}

absl::StatusOr<UniqueFd> AcceptUnix(int listener) {
  for (;;) {
    UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) return fd;
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return absl::UnavailableError("nobody to accept");
    return ErrnoStatus(errno, "accept");
  }
}

absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path, SocketKind kind) {
  MANTA_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  MANTA_ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(kind));
  while (connect(fd.get(), AsSockaddr(address), sizeof(address)) != 0) {
    if (errno == EINTR) continue;
    if (errno == ECONNREFUSED || errno == EAGAIN) return absl::UnavailableError("nobody listens on " + path);
    return ErrnoStatus(errno, "connect " + path);
  }
  return fd;
}

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair(SocketKind kind, bool nonblocking) {
  int fds[2];
  if (socketpair(AF_UNIX, TypeOf(kind) | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, fds) != 0) {
    return ErrnoStatus(errno, "socketpair");
  }
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

absl::StatusOr<size_t> SendWithFds(int socket, std::span<const char> data, std::span<const int> fds) {
  if (data.empty()) return absl::InvalidArgumentError("descriptors travel with at least one byte");
  if (fds.size() > kFdsPerMessageMax) {
    return absl::InvalidArgumentError(std::to_string(fds.size()) + " descriptors in one message");
  }
  iovec part{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsPerMessageMax * sizeof(int))] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return absl::UnavailableError("socket is full");
    return ErrnoStatus(errno, "sendmsg");
  }
}

absl::StatusOr<Received> RecvWithFds(int socket, std::span<char> buffer) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsPerMessageMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t size;
  while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return absl::UnavailableError("nothing to receive");
    return ErrnoStatus(errno, "recvmsg");
  }
  Received received;
  received.size = static_cast<size_t>(size);
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      received.fds.emplace_back(fd);
    }
  }
  if (message.msg_flags & MSG_CTRUNC) {
    if (received.fds.size() == kFdsPerMessageMax) return absl::DataLossError("message carried too many descriptors");
    received.fds.clear();  // this process had no number left for some of them
  }
  if (message.msg_flags & MSG_TRUNC) return absl::DataLossError("message is longer than the buffer");
  return received;
}

absl::StatusOr<PeerCredentials> GetPeerCredentials(int socket) {
  ucred credentials;
  socklen_t size = sizeof(credentials);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return ErrnoStatus(errno, "SO_PEERCRED");
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

}  // namespace manta::base

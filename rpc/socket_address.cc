#include "rpc/socket_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <memory>

#include "base/socket.h"
#include "base/status.h"

namespace manta::rpc {
namespace {

constexpr char kUnixPrefix[] = "unix:";

std::string PathOf(const std::string& address) {
  return address.starts_with(kUnixPrefix) ? address.substr(sizeof(kUnixPrefix) - 1) : address;
}

struct HostPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostPort> Split(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == address.size()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "not an address (host:port or a path): " + address);
  }
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return HostPort{std::move(host), address.substr(colon + 1)};
}

struct FreeInfo {
  void operator()(addrinfo* info) const { freeaddrinfo(info); }
};
using Info = std::unique_ptr<addrinfo, FreeInfo>;

absl::StatusOr<Info> Lookup(const std::string& address, int flags) {
  MANTA_ASSIGN_OR_RETURN(const HostPort split, Split(address));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  const std::string host = split.host == "localhost" ? "127.0.0.1" : split.host;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), split.port.c_str(), &hints, &found);
  if (error != 0) {
    return base::Error(absl::StatusCode::kInvalidArgument, address + ": " + gai_strerror(error));
  }
  return Info(found);
}

absl::StatusOr<base::UniqueFd> NewTcpSocket(int family) {
  base::UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return base::ErrnoStatus(errno, "socket");
  MANTA_RETURN_IF_ERROR(PrepareTcp(fd.get()));
  return fd;
}

absl::Status BindSource(int fd, const std::string& host) {
  MANTA_ASSIGN_OR_RETURN(const Info info, Lookup(host + ":0", AI_NUMERICHOST));
  const int on = 1;
  (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  if (bind(fd, info->ai_addr, info->ai_addrlen) != 0) return base::ErrnoStatus(errno, "bind " + host);
  return absl::OkStatus();
}

absl::Status ConnectError(int error, const std::string& address) {
  if (error == ECONNREFUSED) return base::Error(absl::StatusCode::kUnavailable, "nobody listens on " + address);
  return base::ErrnoStatus(error, "connect " + address);
}

std::string Numeric(const sockaddr* address, socklen_t size) {
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(address, size, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "?";
  }
  const std::string text = host;
  return (address->sa_family == AF_INET6 ? "[" + text + "]" : text) + ":" + port;
}

}  // namespace

bool IsUnixAddress(const std::string& address) { return address.starts_with('/') || address.starts_with(kUnixPrefix); }

bool IsLocalAddress(const std::string& address) {
  if (IsUnixAddress(address)) return true;
  const absl::StatusOr<Info> info = Lookup(address, AI_NUMERICHOST);
  if (!info.ok()) return false;
  const sockaddr* found = (*info)->ai_addr;
  if (found->sa_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(found)->sin_addr.s_addr) >> 24 == 127;
  }
  return found->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(found)->sin6_addr);
}

absl::StatusOr<base::UniqueFd> ListenOn(const std::string& address, int backlog) {
  if (IsUnixAddress(address)) return base::ListenUnix(PathOf(address), base::SocketKind::kStream, backlog);
  MANTA_ASSIGN_OR_RETURN(const Info info, Lookup(address, AI_NUMERICHOST | AI_PASSIVE));
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd fd, NewTcpSocket(info->ai_family));
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd.get(), info->ai_addr, info->ai_addrlen) != 0) return base::ErrnoStatus(errno, "bind " + address);
  if (listen(fd.get(), backlog) != 0) return base::ErrnoStatus(errno, "listen " + address);
  return fd;
}

absl::Status PrepareTcp(int fd) {
  // A call is a small frame that somebody waits for: nothing is gained by holding it back. Probes find out about a host
  // that vanished while nothing was on its way.
  constexpr int kOn = 1, kProbeSeconds = 1, kProbes = 3;
  const std::pair<int, int> settings[] = {{TCP_NODELAY, kOn},
                                          {TCP_USER_TIMEOUT, kTcpSilenceMaxMs},
                                          {TCP_KEEPIDLE, kProbeSeconds},
                                          {TCP_KEEPINTVL, kProbeSeconds},
                                          {TCP_KEEPCNT, kProbes}};
  for (const auto& [name, value] : settings) {
    if (setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value)) != 0) return base::ErrnoStatus(errno, "setsockopt");
  }
  if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &kOn, sizeof(kOn)) != 0) return base::ErrnoStatus(errno, "setsockopt");
  return absl::OkStatus();
}

absl::StatusOr<base::UniqueFd> ConnectTo(const std::string& address, const std::string& source_host) {
  if (IsUnixAddress(address)) return base::ConnectUnix(PathOf(address));
  MANTA_ASSIGN_OR_RETURN(const Info info, Lookup(address, AI_NUMERICHOST));
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd fd, NewTcpSocket(info->ai_family));
  if (!source_host.empty()) MANTA_RETURN_IF_ERROR(BindSource(fd.get(), source_host));
  while (connect(fd.get(), info->ai_addr, info->ai_addrlen) != 0) {
    if (errno == EINPROGRESS || errno == EISCONN) break;
    if (errno == EINTR) continue;
    return ConnectError(errno, address);
  }
  return fd;
}

absl::Status TakeConnectError(int fd, const std::string& address) {
  int error = 0;
  socklen_t size = sizeof(error);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return error == 0 ? absl::OkStatus() : ConnectError(error, address);
}

absl::StatusOr<std::string> LocalAddress(int listener) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
    return base::ErrnoStatus(errno, "getsockname");
  }
  if (storage.ss_family == AF_UNIX) return std::string(reinterpret_cast<const sockaddr_un*>(&storage)->sun_path);
  return Numeric(reinterpret_cast<const sockaddr*>(&storage), size);
}

absl::StatusOr<std::string> Resolve(const std::string& address) {
  if (IsUnixAddress(address)) return address;
  MANTA_ASSIGN_OR_RETURN(const Info info, Lookup(address, AI_ADDRCONFIG));
  return Numeric(info->ai_addr, info->ai_addrlen);
}

}  // namespace manta::rpc

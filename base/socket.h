// Unix-domain sockets: raw, with descriptors and credentials that travel along.
//
// Threads:    thread-safe functions; concurrent calls on one descriptor are externally synchronised.
// Errors:     kUnavailable where the call would block; kInvalidArgument for a path that is too long (107 bytes).
#ifndef MANTA_BASE_SOCKET_H_
#define MANTA_BASE_SOCKET_H_

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"

namespace manta::base {

inline constexpr size_t kSocketPathBytesMax = 107;
inline constexpr size_t kFdsPerMessageMax = 16;

enum class SocketKind { kStream, kSeqPacket };

// Listens on `path`, mode 0600, replacing a socket there that nobody listens on. Nonblocking, close-on-exec, as is all
// below. kAlreadyExists if somebody does listen.
absl::StatusOr<UniqueFd> ListenUnix(const std::string& path, SocketKind kind = SocketKind::kStream, int backlog = 128);
// kUnavailable: nobody to accept now.
absl::StatusOr<UniqueFd> AcceptUnix(int listener);
// Unix sockets connect at once or not at all. kNotFound: no such path; kUnavailable: nobody listens, or backlog full.
absl::StatusOr<UniqueFd> ConnectUnix(const std::string& path, SocketKind kind = SocketKind::kStream);
absl::StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair(SocketKind kind = SocketKind::kStream,
                                                         bool nonblocking = true);

// Sends `data` (not empty) and duplicates of `fds` in one sendmsg; never SIGPIPE. The bytes taken, which may be fewer
// than all on a stream: the descriptors went with the first. kUnavailable: full, nothing was sent.
absl::StatusOr<size_t> SendWithFds(int socket, std::span<const char> data, std::span<const int> fds);

struct Received {
  size_t size = 0;            // 0: end of file
  std::vector<UniqueFd> fds;  // close-on-exec; none of them if this process has too few numbers left for all
};
// One recvmsg into `buffer`. kUnavailable: nothing there. kDataLoss: the message carried more than kFdsPerMessageMax
// descriptors, or was longer than the buffer (kSeqPacket); all its descriptors were closed.
absl::StatusOr<Received> RecvWithFds(int socket, std::span<char> buffer);

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
// Who connected (SO_PEERCRED), as the kernel noted at connect time.
absl::StatusOr<PeerCredentials> GetPeerCredentials(int socket);

}  // namespace manta::base

#endif  // MANTA_BASE_SOCKET_H_

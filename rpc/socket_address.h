// Addresses of stream sockets, as text: a path ("/run/x.sock", "unix:/run/x.sock") or "1.2.3.4:5678", "[::1]:5678".
//
// Threads:    thread-safe functions. None blocks but Resolve.
// Errors:     kInvalidArgument: not an address; kUnavailable: nobody listens; others from the system, naming the
//             address.
#ifndef MANTA_RPC_SOCKET_ADDRESS_H_
#define MANTA_RPC_SOCKET_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace manta::rpc {

bool IsUnixAddress(const std::string& address);
// A path, 127.0.0.0/8, [::1] or localhost: nobody on another host reaches it. Nothing else is listened on without TLS.
bool IsLocalAddress(const std::string& address);

// Nonblocking, close-on-exec. TCP port 0: any free one, see LocalAddress.
absl::StatusOr<base::UniqueFd> ListenOn(const std::string& address, int backlog = 128);
// Connects a unix socket; begins to connect a TCP one: it is writable when that is over, see TakeConnectError.
// `source_host`: a TCP connection comes from this address of ours; empty: the system chooses.
absl::StatusOr<base::UniqueFd> ConnectTo(const std::string& address, const std::string& source_host = "");
// How long a peer may leave unanswered what TCP has sent before the connection counts as broken.
inline constexpr int kTcpSilenceMaxMs = 3000;
// What every TCP connection of ours is set to: no delays, and an end when the peer's host falls silent.
absl::Status PrepareTcp(int fd);
// How a connection that was begun ended.
absl::Status TakeConnectError(int fd, const std::string& address);
// Where a listening socket listens, in the form that ConnectTo takes.
absl::StatusOr<std::string> LocalAddress(int listener);

// "host:port" with the host as a number: asks the system's resolver, and may block for seconds.
absl::StatusOr<std::string> Resolve(const std::string& address);

}  // namespace manta::rpc

#endif  // MANTA_RPC_SOCKET_ADDRESS_H_

// DescriptorSocket carries messages together with file descriptors between a process and its own node daemon.
//
// Problem:    rings cannot carry descriptors, and who asks for a segment wants to wait for the answer itself,
//             without waking an I/O thread first.
// Layout:     one SOCK_SEQPACKET datagram per message: magic, protocol version, type, capnp length, body; up to
//             kDescriptorsMax descriptors beside it.
// Trust:      both ends come from one socketpair that never left the two processes (and the zygote between them);
//             bytes are checked all the same.
// Threads:    Send and Receive may be used by different threads at once, each by one at a time.
// Errors:     kUnavailable: nothing to read now; kCancelled: the peer closed; kInvalidArgument: not a message of ours,
// or of another
//             version; kDeadlineExceeded.
#ifndef MANTA_RPC_DESCRIPTOR_SOCKET_H_
#define MANTA_RPC_DESCRIPTOR_SOCKET_H_

#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "rpc/frame_buffer.h"
#include "rpc/message.h"

namespace manta::rpc {

inline constexpr size_t kDescriptorsMax = 8;
inline constexpr size_t kDescriptorMessageBytesMax = 64 << 10;

struct MessageWithDescriptors {
  Message message;
  std::vector<base::UniqueFd> descriptors;
};

class DescriptorSocket {
 public:
  explicit DescriptorSocket(base::UniqueFd socket);

  int fd() const { return socket_.get(); }
  // The peer reads its end of file. No other member may be called afterwards.
  void Close() { socket_.reset(); }
  // Never blocks; kUnavailable when the peer does not read (it has dozens of messages waiting).
  absl::Status Send(const Message& message, std::span<const int> descriptors = {});
  absl::StatusOr<MessageWithDescriptors> Receive();
  // Waits until `deadline` for the next message.
  absl::StatusOr<MessageWithDescriptors> ReceiveBefore(Time deadline);

 private:
  base::UniqueFd socket_;
  FrameBuffer out_;
  std::vector<uint64_t> in_;  // 8-byte aligned
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_DESCRIPTOR_SOCKET_H_

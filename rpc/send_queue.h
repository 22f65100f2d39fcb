// SendQueue holds a stream socket's outgoing frames until the socket takes them.
//
// Problem:    many small frames should leave in one system call, a large part without being copied, and descriptors
//             with exactly the frame that declares them.
// Ownership:  owns copies of frames, references to large parts, and the descriptors.
// Threads:    externally synchronised.
// Invariants: (1) frames leave in the order of Append.
//             (2) a frame with descriptors is sent by a system call of its own, which begins at its first byte: so the
//                 descriptors are received with bytes of that frame and of none after it.
#ifndef MANTA_RPC_SEND_QUEUE_H_
#define MANTA_RPC_SEND_QUEUE_H_

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/bytes.h"
#include "base/unique_fd.h"
#include "rpc/frame.h"
#include "rpc/frame_buffer.h"

namespace manta::rpc {

class SendQueue {
 public:
  static constexpr size_t kChunkBytes = 16 << 10;

  // `body` null: a header alone. The header's type, lengths and descriptor count are filled in from the others.
  // REQUIRES: a body sent with descriptors is not gathered.
  void Append(FrameHeader header, const FrameBuffer* body, std::vector<base::UniqueFd> descriptors);

  // What takes bytes: as many of the runs' as it has room for, in order, at least one, and all of the descriptors with
  // the first. kUnavailable: it is full.
  using Writer =
      absl::FunctionRef<absl::StatusOr<size_t>(std::span<const iovec> runs, std::span<const int> descriptors)>;

  // Writes until the queue is empty or the stream is full. An error is the connection's end.
  absl::Status Flush(Writer write);
  absl::Status Flush(int socket);

  bool empty() const { return chunks_.empty(); }
  size_t bytes() const { return bytes_; }
  void Clear();

 private:
  struct Chunk {
    std::unique_ptr<char[]> own;  // null: `part`
    Bytes part;
    size_t begin = 0;  // sent up to here
    size_t size = 0;
    size_t capacity = 0;  // of `own`; == size: takes no more frames
    std::vector<base::UniqueFd> descriptors;

    const char* data() const { return own ? own.get() : part.data(); }
  };

  void AppendBytes(const char* data, size_t size);
  // A chunk with room for `size` bytes at the end of the queue.
  Chunk* ChunkFor(size_t size);
  absl::StatusOr<size_t> SendSome(Writer write);
  void Sent(size_t size);

  std::deque<Chunk> chunks_;
  size_t bytes_ = 0;
  std::unique_ptr<char[]> spare_;  // a chunk's memory, kept for the next one
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_SEND_QUEUE_H_

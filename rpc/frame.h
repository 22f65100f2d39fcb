// Frames cut a byte stream into messages: a fixed header, then a body.
//
// Problem:    whoever can reach a socket can write anything to it; nothing may be allocated or parsed on the word of
//             bytes that have not been checked.
// Ownership:  a parser owns its buffer; a Frame's body lies in it until the next Room() or Feed().
// Threads:    functions are thread-safe; a FrameParser is externally synchronised.
// Invariants: (1) a parser holds at most one frame of the largest size its limits allow, or kBufferBytes.
//             (2) a frame's length is checked against the limits before any memory is taken for it.
//             (3) after an error nothing more is parsed.
// Errors:     kInvalidArgument: not a frame of ours; kResourceExhausted: longer than the limits, naming both.
//
//   0  magic "MNTF"          4  header version     5  descriptors that travel with the frame
//   6  type (rpc/codec.h)    8  Cap'n Proto bytes  12  body bytes, those included; both multiples of 8
//  16  seq                  24  ack                    rpc/session.h; 0 where the stream needs none
//  32  zero                 36  low half of XXH3 of bytes 0..35
//                                                      numbers are little-endian
#ifndef MANTA_RPC_FRAME_H_
#define MANTA_RPC_FRAME_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace manta::rpc {

inline constexpr size_t kFrameHeaderBytes = 40;
inline constexpr size_t kFrameDescriptorsMax = 8;

// Types that are no messages: an acknowledgement (no body), and the handshake's (rpc/handshake.h).
inline constexpr uint16_t kAckFrameType = 0xFF00;
inline constexpr uint16_t kHandshakeTypeMin = 0xFF10;
inline constexpr bool IsHandshakeType(uint16_t type) { return type >= kHandshakeTypeMin; }

struct FrameHeader {
  uint16_t type = 0;
  uint8_t descriptors = 0;
  uint32_t capnp_bytes = 0;
  uint32_t body_bytes = 0;
  uint64_t seq = 0;
  uint64_t ack = 0;
  bool operator==(const FrameHeader&) const = default;
};

// Writes kFrameHeaderBytes bytes.
void EncodeFrameHeader(const FrameHeader& header, char* to);
// Reads as many. Does not know limits.
absl::StatusOr<FrameHeader> DecodeFrameHeader(const char* from);

struct FrameLimits {
  bool handshake = false;  // only handshake frames; else only others
  size_t body_bytes_max = 0;
  size_t bulk_bytes_max = 0;  // of an ObjectPulled, if that is more

  static FrameLimits Unauthenticated() { return {true, 4 << 10, 0}; }
  static FrameLimits Control() { return {false, 1 << 20, 0}; }
  static FrameLimits Data() { return {false, 1 << 20, (64 << 20) + (64 << 10)}; }

  size_t BodyBytesMax(uint16_t type) const;
};

struct Frame {
  FrameHeader header;
  const char* body = nullptr;  // header.body_bytes, 8-byte aligned
  uint64_t begin = 0;          // where the frame lies in the stream
  uint64_t end = 0;
};

class FrameParser {
 public:
  static constexpr size_t kBufferBytes = 64 << 10;
  static constexpr size_t kSmallBufferBytes = 8 << 10;  // while handshaking

  explicit FrameParser(FrameLimits limits) : limits_(limits) {}

  // For the frames that Next() has not returned yet.
  void set_limits(FrameLimits limits) { limits_ = limits; }

  // Where to receive bytes into: not empty. Frames returned before are gone. REQUIRES: Next() has none left.
  std::span<char> Room();
  // The first `size` bytes of Room() are filled.
  void Filled(size_t size);
  // The next whole frame; none: more bytes are needed.
  absl::StatusOr<std::optional<Frame>> Next();

  // Copies `bytes` in and calls `fn(frame)` for each whole frame; `fn` returns a status, too.
  template <typename Fn>
  absl::Status Feed(std::span<const char> bytes, Fn&& fn);

  // What was filled and not yet returned, for somebody else to parse. Nothing is left.
  std::string TakeBuffered();

  uint64_t stream_bytes() const { return stream_bytes_; }  // all that were filled
  size_t buffered_bytes() const { return end_ - begin_; }  // filled, and not yet returned as frames
  size_t capacity_bytes() const { return capacity_; }

 private:
  struct Free {
    void operator()(char* buffer) const;
  };
  absl::Status CheckHeader(const FrameHeader& header) const;
  absl::Status Fail(absl::Status why);
  void Resize(size_t capacity);

  FrameLimits limits_;
  std::unique_ptr<char[], Free> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;  // a multiple of 8
  size_t end_ = 0;
  size_t frame_bytes_ = 0;  // of the frame at begin_, if its header has been read
  FrameHeader header_;      // that header
  uint64_t stream_bytes_ = 0;
  absl::Status error_;
};

template <typename Fn>
absl::Status FrameParser::Feed(std::span<const char> bytes, Fn&& fn) {
  while (true) {
    const std::span<char> room = Room();
    const size_t size = std::min(room.size(), bytes.size());
    std::copy_n(bytes.begin(), size, room.begin());
    Filled(size);
    bytes = bytes.subspan(size);
    while (true) {
      absl::StatusOr<std::optional<Frame>> frame = Next();
      if (!frame.ok()) return frame.status();
      if (!*frame) break;
      if (absl::Status status = fn(**frame); !status.ok()) return status;
    }
    if (bytes.empty()) return absl::OkStatus();
  }
}

}  // namespace manta::rpc

#endif  // MANTA_RPC_FRAME_H_

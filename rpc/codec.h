// The codec turns messages into frame bodies and back.
//
// Problem:    peers' bytes are not to be trusted, and a call's encoding is a good part of what the call costs.
// Threads:    thread-safe functions.
// Invariants: (1) Decode(TypeOf(m), Encode(m)) == m for every message whose Values are inline or stored.
//             (2) whatever the bytes are, Decode neither crashes nor allocates more than kDecodedBytesPerByte times
//                 their number plus kDecodedBytesBase.
// Errors:     kInvalidArgument, naming the message and what is wrong with it: the peer broke the protocol, and its
//             channel is to be closed. No exception leaves.
// See:        rpc/schema/common.capnp (the body's layout), rpc/frame.h (the header before it).
#ifndef MANTA_RPC_CODEC_H_
#define MANTA_RPC_CODEC_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rpc/frame_buffer.h"
#include "rpc/message.h"

namespace manta::rpc {

inline constexpr size_t kDecodedBytesPerByte = 16;
inline constexpr size_t kDecodedBytesBase = 4096;
inline constexpr int kNestingMax = 16;
inline constexpr size_t kSegmentsMax = 16;
inline constexpr size_t kTraversalPerByte = 8;

// The frame's type: schema MessageType, and the position in Message.
inline uint16_t TypeOf(const Message& message) { return static_cast<uint16_t>(message.index()); }
// "CallRequest"; "unknown" for a type that is none.
const char* MessageName(uint16_t type);

// Raw parts of at least this many bytes stay where they are when a message is gathered.
inline constexpr size_t kGatherNothing = SIZE_MAX;

// Replaces what `out` holds. `gather_bytes_min`: larger parts are referred to, not copied (FrameBuffer::ForEachRun).
// REQUIRES: no Value is a kRef (the peer would refuse it).
void Encode(const Message& message, FrameBuffer* out, size_t gather_bytes_min = kGatherNothing);

// `data` is a whole body, 8-byte aligned, that nobody changes meanwhile; nothing of it is kept.
absl::StatusOr<Message> Decode(uint16_t type, const void* data, size_t size, size_t capnp_bytes);

// The same for the two messages of the hot path, without the variant. `out` is overwritten; its memory is reused.
// After an error its contents are unspecified.
void EncodeCallRequest(const CallRequest& request, FrameBuffer* out, size_t gather_bytes_min = kGatherNothing);
void EncodeCallReply(const CallReply& reply, FrameBuffer* out, size_t gather_bytes_min = kGatherNothing);
absl::Status DecodeCallRequest(const void* data, size_t size, size_t capnp_bytes, CallRequest* out);
absl::Status DecodeCallReply(const void* data, size_t size, size_t capnp_bytes, CallReply* out);

inline constexpr uint16_t kCallRequestType = 0;
inline constexpr uint16_t kCallReplyType = 1;
static_assert(std::is_same_v<std::variant_alternative_t<kCallRequestType, MessageVariant>, CallRequest>);
static_assert(std::is_same_v<std::variant_alternative_t<kCallReplyType, MessageVariant>, CallReply>);

}  // namespace manta::rpc

#endif  // MANTA_RPC_CODEC_H_

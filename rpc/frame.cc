#include "rpc/frame.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <string>
#include <variant>

#include "base/check.h"
#include "base/hash.h"
#include "base/rule.h"
#include "base/status.h"
#include "rpc/codec.h"

namespace manta::rpc {
namespace {

constexpr char kMagic[4] = {'M', 'N', 'T', 'F'};
constexpr uint8_t kHeaderVersion = 1;
constexpr size_t kChecksumAt = 36;
constexpr uint16_t kBulkType = 29;
static_assert(std::is_same_v<std::variant_alternative_t<kBulkType, MessageVariant>, ObjectPulled>);
static_assert(std::endian::native == std::endian::little, "the header is written as it lies in memory");

template <typename T>
void Put(char* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}
template <typename T>
T Take(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

absl::Status NotAFrame(const char* what) {
  return base::Error(absl::StatusCode::kInvalidArgument, std::string("not a frame: ") + what);
}

}  // namespace

void EncodeFrameHeader(const FrameHeader& header, char* to) {
  std::memcpy(to, kMagic, sizeof(kMagic));
  Put(to + 4, kHeaderVersion);
  Put(to + 5, header.descriptors);
  Put(to + 6, header.type);
  Put(to + 8, header.capnp_bytes);
  Put(to + 12, header.body_bytes);
  Put(to + 16, header.seq);
  Put(to + 24, header.ack);
  Put(to + 32, uint32_t{0});
  Put(to + kChecksumAt, static_cast<uint32_t>(base::Hash64(to, kChecksumAt)));
}

absl::StatusOr<FrameHeader> DecodeFrameHeader(const char* from) {
  if (std::memcmp(from, kMagic, sizeof(kMagic)) != 0) return NotAFrame("wrong magic");
  if (Take<uint8_t>(from + 4) != kHeaderVersion) return NotAFrame("wrong header version");
  if (Take<uint32_t>(from + kChecksumAt) != static_cast<uint32_t>(base::Hash64(from, kChecksumAt))) {
    return NotAFrame("wrong header checksum");
  }
  FrameHeader header;
  header.descriptors = Take<uint8_t>(from + 5);
  header.type = Take<uint16_t>(from + 6);
  header.capnp_bytes = Take<uint32_t>(from + 8);
  header.body_bytes = Take<uint32_t>(from + 12);
  header.seq = Take<uint64_t>(from + 16);
  header.ack = Take<uint64_t>(from + 24);
  if (Take<uint32_t>(from + 32) != 0) return NotAFrame("a reserved field is not zero");
  if (header.descriptors > kFrameDescriptorsMax) return NotAFrame("more than 8 descriptors");
  if (header.body_bytes % 8 != 0 || header.capnp_bytes % 8 != 0 || header.capnp_bytes > header.body_bytes) {
    return NotAFrame("impossible lengths");
  }
  return header;
}

size_t FrameLimits::BodyBytesMax(uint16_t type) const {
  return type == kBulkType ? std::max(body_bytes_max, bulk_bytes_max) : body_bytes_max;
}

void FrameParser::Free::operator()(char* buffer) const { ::operator delete[](buffer, std::align_val_t{16}); }

std::span<char> FrameParser::Room() {
  const size_t usual = limits_.handshake ? kSmallBufferBytes : kBufferBytes;
  const size_t wanted = std::max(usual, frame_bytes_);
  if (begin_ == end_) begin_ = end_ = 0;
  const size_t left = end_ - begin_;
  const size_t missing = frame_bytes_ > left ? frame_bytes_ - left : 0;
  if (capacity_ < wanted || (capacity_ > usual && wanted == usual && left <= usual / 2)) {
    Resize(wanted);
  } else if (begin_ != 0 && capacity_ - end_ < std::max(usual / 2, missing)) {
    // What is left of a frame goes to the front: begin_ is a multiple of 8, so bodies stay aligned.
    std::memmove(buffer_.get(), buffer_.get() + begin_, left);
    end_ = left;
    begin_ = 0;
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void FrameParser::Resize(size_t capacity) {
  std::unique_ptr<char[], Free> buffer(static_cast<char*>(::operator new[](capacity, std::align_val_t{16})));
  if (end_ != begin_) std::memcpy(buffer.get(), buffer_.get() + begin_, end_ - begin_);
  buffer_ = std::move(buffer);
  capacity_ = capacity;
  end_ = MANTA_RULE("frame.keeps_rest") ? end_ - begin_ : 0;
  begin_ = 0;
}

void FrameParser::Filled(size_t size) {
  MANTA_CHECK(size <= capacity_ - end_);
  end_ += size;
  stream_bytes_ += size;
}

std::string FrameParser::TakeBuffered() {
  std::string bytes(buffer_.get() + begin_, end_ - begin_);
  begin_ = end_ = 0;
  frame_bytes_ = 0;
  return bytes;
}

absl::StatusOr<std::optional<Frame>> FrameParser::Next() {
  if (!error_.ok()) return error_;
  const char* at = buffer_.get() + begin_;
  const size_t left = end_ - begin_;
  if (frame_bytes_ == 0) {
    // Junk is told by its first bytes: it need not fill a header.
    if (left != 0 && std::memcmp(at, kMagic, std::min(left, sizeof(kMagic))) != 0) {
      return Fail(NotAFrame("wrong magic"));
    }
    if (left < kFrameHeaderBytes) return std::nullopt;
    absl::StatusOr<FrameHeader> header = DecodeFrameHeader(at);
    if (!header.ok()) return Fail(header.status());
    if (absl::Status status = CheckHeader(*header); !status.ok()) return Fail(status);
    header_ = *header;
    frame_bytes_ = kFrameHeaderBytes + header_.body_bytes;
  }
  if (left < frame_bytes_) return std::nullopt;
  Frame frame;
  frame.header = header_;
  frame.body = at + kFrameHeaderBytes;
  frame.begin = stream_bytes_ - left;
  frame.end = frame.begin + frame_bytes_;
  begin_ += frame_bytes_;
  frame_bytes_ = 0;
  return frame;
}

absl::Status FrameParser::CheckHeader(const FrameHeader& header) const {
  if (IsHandshakeType(header.type) != limits_.handshake) {
    return NotAFrame(limits_.handshake ? "a message before the handshake" : "a handshake after the handshake");
  }
  const size_t body_bytes_max = limits_.BodyBytesMax(header.type);
  if (header.body_bytes > body_bytes_max) {
    return base::Error(absl::StatusCode::kResourceExhausted, "a frame of " + std::to_string(header.body_bytes) +
                                                                 " bytes (" + MessageName(header.type) +
                                                                 "), the limit is " + std::to_string(body_bytes_max));
  }
  return absl::OkStatus();
}

absl::Status FrameParser::Fail(absl::Status why) {
  error_ = why;
  return why;
}

}  // namespace manta::rpc

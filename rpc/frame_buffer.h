// FrameBuffer is where one message after another is encoded: aligned, reused, and free of allocations once warm.
//
// Problem:    a small call costs less than a malloc, and a large value should not be copied twice on its way out.
// Ownership:  owns its words; gathered parts are counted references to the message's own Bytes.
// Threads:    externally synchronised: one per channel or thread.
// Invariants: (1) the body is [Cap'n Proto words][raw parts, each padded to 8 bytes]; capnp_bytes() is the size of the
//                 first.
//             (2) what an encoding left behind is zeroed before the next one builds there.
// See:        rpc/codec.h (who fills it), rpc/schema/common.capnp (what is in it).
#ifndef MANTA_RPC_FRAME_BUFFER_H_
#define MANTA_RPC_FRAME_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace manta::rpc {

class FrameBuffer {
 public:
  // What Cap'n Proto may build in without a second segment.
  static constexpr size_t kFirstSegmentWordsMax = 1024;
  // A body whose sizes do not fit into a frame's header is not assembled: see size().
  static constexpr size_t kBodyBytesMax = size_t{1} << 31;

  FrameBuffer() = default;
  FrameBuffer(const FrameBuffer&) = delete;
  FrameBuffer& operator=(const FrameBuffer&) = delete;

  uint16_t type() const { return type_; }
  size_t capnp_bytes() const { return capnp_bytes_; }
  // The body's bytes. Above kBodyBytesMax the parts are missing: the sender refuses such a frame by its size.
  size_t size() const { return size_; }

  // The body as one run of bytes, 16-byte aligned, until the next encoding. REQUIRES: encoded without gathering.
  const char* data() const { return reinterpret_cast<const char*>(words_.get()); }
  std::string_view body() const { return {data(), size_}; }

  // The body as a list of runs, in order: gathered parts are runs of their own, and `bytes` keeps them alive beyond
  // the next encoding. The other runs lie in this buffer.
  struct Run {
    const char* data = nullptr;
    size_t size = 0;
    const Bytes* bytes = nullptr;  // the gathered part; null: lies in this buffer
  };
  template <typename Fn>
  void ForEachRun(Fn&& fn) const {
    size_t from = 0;
    for (const Gathered& part : gathered_) {
      if (part.position > from) fn(Run{data() + from, part.position - from, nullptr});
      fn(Run{part.bytes.data(), part.bytes.size(), &part.bytes});
      from = part.position;
    }
    if (stored_bytes_ > from) fn(Run{data() + from, stored_bytes_ - from, nullptr});
  }
  bool is_gathered() const { return !gathered_.empty(); }

  // Gives memory above 64 KiB back, after a rare large message.
  void Trim();

 private:
  friend class Encoder;

  struct Gathered {
    size_t position;  // of the run in this buffer that follows the part
    Bytes bytes;
  };
  struct Free {
    void operator()(uint64_t* words) const;
  };

  // Makes room for `bytes` in all; what is stored stays.
  void Reserve(size_t bytes);
  // Appends `size` bytes and zeros up to a multiple of 8.
  void Append(const char* data, size_t size);

  std::unique_ptr<uint64_t[], Free> words_;
  size_t capacity_bytes_ = 0;
  size_t dirty_bytes_ = 0;   // words_ may be other than zero up to here
  size_t stored_bytes_ = 0;  // of the body, in words_
  size_t size_ = 0;
  size_t capnp_bytes_ = 0;
  uint16_t type_ = 0;
  std::vector<Gathered> gathered_;
  std::vector<const Bytes*> parts_;  // of the message being encoded
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_FRAME_BUFFER_H_

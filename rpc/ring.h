// A ring carries frames one way between two processes through shared memory: RingProducer writes, RingConsumer reads.
//
// Problem:    a same-node message must not cost a system call, and must survive a peer that writes garbage.
// Layout:     kRingBytes of frames, each an 8-byte header and a body of whole 8-byte words that never wraps: what does
//             not fit before the ring's end starts at its beginning, and a skip header says so.
// Publication: a header of 0 means "nothing yet". The producer zeroes the header after its frame, then stores the
//             frame's own header with release; so the consumer finds a small frame in the cache lines that it reads
//             anyway, and no tail index travels. (Against a ring with a tail index, two cores that share no cache,
//             frames of 240 bytes, processes polling: ping-pong 0.66 us instead of 0.89, stream 110 ns instead of 186.)
// Invariants: (1) positions rise; tail - head never exceeds kRingBytes less the zeroed header.
//             (2) the consumer reads each header once, and checks it before it uses it: whatever the bytes are, reading
//                 ends, inside the ring.
//             (3) zeroed memory is an empty ring.
//             (4) the head in shared memory is what the consumer last stored there. If not, somebody else has written
//                 to the ring, perhaps zeros over frames, which would then be awaited for ever: it is broken.
// Threads:    each side externally synchronised. RingConsumer::HasFrame and RingProducer::HasRoomFor may also be called
//             by one thread that does not hold its side's lock: a hint, which may be out of date.
// See:        rpc/shm_channel.h (who queues what has no room), rpc/attention.h (who wakes whom)
#ifndef MANTA_RPC_RING_H_
#define MANTA_RPC_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace manta::rpc {

inline constexpr size_t kRingBytes = 256 * 1024;
// The largest body. A body, its skip and both headers fit into an empty ring twice over.
inline constexpr size_t kRingBodyBytesMax = kRingBytes / 4;
// The consumer tells a waiting producer about room every so many bytes (IsRoomCheckDue). A producer that finds no room
// has at least half a ring before it that is not read, so it is told before that runs out.
inline constexpr size_t kRoomCheckBytes = kRingBytes / 8;

// Beside the frames: what one side writes and the other reads. Zeros at first.
struct RingControl {
  alignas(64) std::atomic<uint64_t> head;            // by the consumer: it has read up to here
  alignas(64) std::atomic<uint32_t> producer_waits;  // by the producer: it holds frames for want of room
};
static_assert(sizeof(RingControl) == 128 && std::atomic<uint64_t>::is_always_lock_free);

// Where a ring lies. `data`: kRingBytes, 64-byte aligned. Borrowed.
struct RingMemory {
  RingControl* control = nullptr;
  char* data = nullptr;
};

// A header: what it says, and the word that stands in the ring. Bits, from the lowest: 16 body words, 16 Cap'n Proto
// words, 16 type, 8 flags, 8 kPresent.
struct RingHeader {
  static constexpr uint8_t kPresent = 0xA5;
  static constexpr uint8_t kSkip = 1;      // no frame: go on at the ring's beginning
  static constexpr uint8_t kFragment = 2;  // a part of a message (rpc/shm_channel.h)

  uint16_t type = 0;
  uint8_t flags = 0;
  uint32_t body_bytes = 0;  // multiples of 8
  uint32_t capnp_bytes = 0;

  constexpr uint64_t Pack() const {
    return uint64_t{body_bytes / 8} | uint64_t{capnp_bytes / 8} << 16 | uint64_t{type} << 32 | uint64_t{flags} << 48 |
           uint64_t{kPresent} << 56;
  }
  // False: no producer of ours wrote this.
  static bool Unpack(uint64_t word, RingHeader* header);
};

class RingProducer {
 public:
  explicit RingProducer(RingMemory memory) : memory_(memory) {}

  // Where to write a body of `body_bytes` (a multiple of 8, at most kRingBodyBytesMax); null if there is no room, or
  // !ok(). A second Reserve without Commit replaces the first.
  char* Reserve(size_t body_bytes);
  // Publishes the frame that was written there. REQUIRES: header.body_bytes == the last Reserve's.
  void Commit(const RingHeader& header);

  // Says in shared memory that a frame waits for room, and looks once more: true if there is room after all. From now
  // on the consumer tells whenever it has read another kRoomCheckBytes, until DoneWaiting. (It does not take the word
  // back itself: a producer that was told, and still finds too little room, would go to sleep unheard.)
  bool WaitForRoom(size_t body_bytes);
  void DoneWaiting() { memory_.control->producer_waits.store(0, std::memory_order_relaxed); }

  // Whether Reserve(body_bytes) would succeed.
  bool HasRoomFor(size_t body_bytes) const;
  // False once the consumer's index was out of range: the peer broke the protocol.
  bool ok() const { return ok_; }
  uint64_t position() const { return tail_.load(std::memory_order_relaxed); }

 private:
  // Bytes from the position to the end of the ring, if a frame of `bytes` does not fit before it.
  static size_t SkipBytes(uint64_t position, size_t bytes);

  const RingMemory memory_;
  std::atomic<uint64_t> tail_ = 0;  // written by the owner of this side alone
  uint64_t head_ = 0;               // the consumer's, when last read
  size_t skip_bytes_ = 0;           // of the reserved frame
  bool ok_ = true;
};

class RingConsumer {
 public:
  explicit RingConsumer(RingMemory memory) : memory_(memory) {}

  enum class Result { kEmpty, kFrame, kBroken };
  // The next frame. Its body lies in the ring until Pop(); kBroken: the peer broke the protocol, and the ring is not to
  // be read again.
  Result Next(RingHeader* header, const char** body);
  // Frees the frame that Next gave.
  void Pop();

  // Whether Next would give something else than kEmpty, as far as the frames say.
  bool HasFrame() const;
  // False: invariant (4) does not hold, and Next gives kBroken. Under this side's lock, not between Next and Pop.
  bool IsIntact() const { return memory_.control->head.load(std::memory_order_relaxed) == position(); }

  // Whether so much was read since the last CheckRoom that a waiting producer must be told.
  bool IsRoomCheckDue() const { return position() - checked_ >= kRoomCheckBytes; }
  // Whether the producer waits for room; if so, it is to be notified. Costs a fence.
  bool CheckRoom();

  uint64_t position() const { return head_.load(std::memory_order_relaxed); }

 private:
  const RingMemory memory_;
  std::atomic<uint64_t> head_ = 0;  // written by the owner of this side alone
  size_t frame_bytes_ = 0;          // what Pop frees
  uint64_t checked_ = 0;            // the position at the last CheckRoom
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_RING_H_

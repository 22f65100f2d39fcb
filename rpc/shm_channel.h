// ShmChannel is the Channel between two processes of one node: a ring each way, in one memfd.
//
// Problem:    the ring holds 256 KiB; a message may be larger, and a receiver may not read for a second.
// Hand-over:  process A makes the rings and offers them over an authenticated unix socket, with what B needs to
//             notify A; B answers with what A needs to notify B (ShmPort::Offer, Accept, Connect). The socket stays
//             open: its end of file, or the process's pidfd, is the death notice. A ring never reconnects.
//
//               A -- rings, page, bells, mark -->  B      fds: ring, page, sleep bell, I/O bell
//               A <--       page, bells, mark ---  B      fds:       page, sleep bell, I/O bell
//
// Large:      a body above kRingBodyBytesMax travels as fragments of kFragmentBodyBytes, one after the other; the first
//             begins with {u32 body bytes, u32 Cap'n Proto bytes} of the whole. The receiver puts them together in its
//             own memory, bounded by message_bytes_max; so order holds and no descriptor travels.
// Full:       frames that find no room are queued here, in order, and written by Flush once the peer has read enough
//             (it notifies: RingConsumer::CheckRoom).
// Invariants: (1) after a bad index, header or body nothing more is read; OnClosed(kInvalidArgument) comes from the
// next
//                 Drain, never from inside Send.
//             (2) a message is out of the ring before its handler runs, which may thus send, close and drain.
// Trust:      `copy_before_parse` (daemons): a peer that changes a frame while it is parsed changes nothing. Without it
//             (processes of one job) frames are parsed in place.
// Threads:    externally synchronised (the process's core lock); HasWork() also by the one thread that waits.
// See:        rpc/ring.h, rpc/attention.h, rpc/shm_port.h (who owns channels, and calls all of this)
#ifndef MANTA_RPC_SHM_CHANNEL_H_
#define MANTA_RPC_SHM_CHANNEL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/memfd.h"
#include "base/status.h"
#include "rpc/attention.h"
#include "rpc/channel.h"
#include "rpc/frame_buffer.h"
#include "rpc/ring.h"

namespace manta::rpc {

// The memfd of a channel: a page of controls, then the ring from who offers, then the ring to it. Zeros are valid.
inline constexpr size_t kRingFileBytes = 4096 + 2 * kRingBytes;
inline constexpr size_t kFragmentBodyBytes = 32 * 1024;
// What Send takes and the peer accepts: 256 KiB of inline values, or a long control message.
inline constexpr size_t kShmMessageBytesMax = 1024 * 1024;

// What travels over the socket; see above. In an answer `ring` is empty.
struct ShmOffer {
  base::UniqueFd ring;
  AttentionFds attention;
  uint32_t mark = 0;  // by which the receiver notifies the sender (PeerAttention::Notify)
};

class ShmChannel;

// What the channels of one process share. Externally synchronised.
struct ShmShared {
  bool copy_before_parse = false;
  size_t message_bytes_max = kShmMessageBytesMax;
  FrameBuffer encoded;
  std::vector<uint64_t> copied;        // the frame being parsed, if copied
  std::vector<ShmChannel*> to_notify;  // each once: has written, or waits for room
};

class ShmChannel final : public Channel {
 public:
  enum class Side { kOffered, kAccepted };
  // `handler` and `shared` outlive the channel. `mark`: by which the peer notifies us.
  ShmChannel(Side side, base::Mapping rings, PeerAttention peer, uint32_t peer_mark, uint32_t mark, Handler* handler,
             ShmShared* shared);
  ~ShmChannel() override;

  // Writes or queues; the peer is told by ShmPort::RingBells().
  absl::Status Send(const Message& message) override;
  // Drops what is queued and delivers nothing more; OnClosed is not called.
  void Close() override;
  // From any thread.
  size_t queued_bytes() const override { return queued_bytes_.load(std::memory_order_relaxed); }

  bool closed() const { return closed_; }
  uint32_t mark() const { return mark_; }

  // ---- For ShmPort.

  // Delivers up to `frames_max` frames' messages, then what went wrong. The frames read.
  size_t Drain(size_t frames_max);
  // Writes what is queued, as far as there is room. False if frames still wait. The other asks for no fence unless
  // there seems to be room.
  bool Flush();
  void FlushIfRoom() {
    if (HasRoom()) Flush();
  }
  // Whether Notify will ring a sleeper's bell.
  bool WillRingSleeper() const { return peer_.WouldRingSleeper(); }
  // Flush, and tell the peer. REQUIRES: a seq_cst fence after the last write.
  PeerAttention::Rang Notify(PeerAttention::Core core);
  // Ends the channel: OnClosed(why), unless it is closed.
  void End(const absl::Status& why);

  // Whether Drain or Flush would do something.
  bool HasWork() const { return in_.HasFrame() || (waits_for_room() && HasRoom()); }
  // Whether a frame has come.
  bool has_received() const { return in_.position() != 0; }
  // False: Drain will end the channel, though HasWork may not know of it.
  bool IsIntact() const { return in_.IsIntact(); }
  bool broken() const { return !broken_.ok(); }
  bool waits_for_room() const { return waits_for_.load(std::memory_order_relaxed) != 0; }
  // Passes of ShmPort::Drain that found nothing here.
  int idle_passes = 0;

 private:
  struct Assembly {  // of a message that comes in fragments
    uint16_t type = 0;
    size_t body_bytes = 0;  // of the whole; 0: none
    size_t capnp_bytes = 0;
    size_t received_bytes = 0;
    std::vector<uint64_t> words;
  };

  void Put(const RingHeader& header, const char* body, const char* prefix = nullptr);
  void PutFragments();
  void Queue(const RingHeader& header, const char* body, const char* prefix);
  // For what waits.
  bool HasRoom() const;
  void Break(absl::Status why);
  void ToNotify(PeerAttention::Urgency urgency);

  absl::Status Take(const RingHeader& header, const char* body);
  absl::Status TakeFragment(const RingHeader& header, const char* body);
  absl::Status Deliver(uint16_t type, const void* body, size_t size, size_t capnp_bytes, bool in_ring);

  const base::Mapping rings_;
  RingProducer out_;
  RingConsumer in_;
  PeerAttention peer_;
  const uint32_t peer_mark_;
  const uint32_t mark_;
  Handler* const handler_;
  ShmShared* const shared_;

  bool closed_ = false;
  absl::Status broken_;  // not OK: what the next Drain ends with
  Assembly assembly_;

  bool to_notify_ = false;
  PeerAttention::Urgency urgency_ = PeerAttention::Urgency::kCall;

  // Frames that found no room: header, body, header, body, ... from queue_begin_ on.
  std::vector<uint64_t> queue_;
  size_t queue_begin_ = 0;
  std::atomic<size_t> queued_bytes_ = 0;
  // Body bytes + 1 of the first that waits; 0: none; kBroken: broken_ waits for the next Drain.
  static constexpr uint32_t kBroken = UINT32_MAX;
  std::atomic<uint32_t> waits_for_ = 0;
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_SHM_CHANNEL_H_

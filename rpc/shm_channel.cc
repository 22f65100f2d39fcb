#include "rpc/shm_channel.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "rpc/codec.h"

namespace manta::rpc {
namespace {

// The first fragment's body begins with it.
struct FragmentPrefix {
  uint32_t body_bytes;
  uint32_t capnp_bytes;
};
static_assert(sizeof(FragmentPrefix) == 8);

// Memory for a large message or a long queue is given back once it is not needed.
constexpr size_t kKeptBytes = 64 * 1024;

RingMemory RingOf(const base::Mapping& rings, int number) {
  char* base = rings.mutable_data();
  return {reinterpret_cast<RingControl*>(base) + number, base + 4096 + number * kRingBytes};
}

absl::Status BrokenFrame(const std::string& what) { return absl::InvalidArgumentError("shared-memory ring: " + what); }

}  // namespace

ShmChannel::ShmChannel(Side side, base::Mapping rings, PeerAttention peer, uint32_t peer_mark, uint32_t mark,
                       Handler* handler, ShmShared* shared)
    : rings_(std::move(rings)),
      out_(RingOf(rings_, side == Side::kOffered ? 0 : 1)),
      in_(RingOf(rings_, side == Side::kOffered ? 1 : 0)),
      peer_(std::move(peer)),
      peer_mark_(peer_mark),
      mark_(mark),
      handler_(handler),
      shared_(shared) {}

ShmChannel::~ShmChannel() {
  if (to_notify_) std::erase(shared_->to_notify, this);
}

absl::Status ShmChannel::Send(const Message& message) {
  if (closed_ || broken()) return absl::OkStatus();
  FrameBuffer& encoded = shared_->encoded;
  Encode(message, &encoded);
  if (encoded.size() > shared_->message_bytes_max) {
    const size_t size = encoded.size();
    encoded.Trim();
    return absl::ResourceExhaustedError(std::string(MessageName(message)) + " of " + std::to_string(size) +
                                        " bytes is above the limit of " + std::to_string(shared_->message_bytes_max));
  }
  if (encoded.size() <= kRingBodyBytesMax) {
    Put({.type = encoded.type(),
         .body_bytes = static_cast<uint32_t>(encoded.size()),
         .capnp_bytes = static_cast<uint32_t>(encoded.capnp_bytes())},
        encoded.data());
  } else {
    PutFragments();
    encoded.Trim();
  }
  ToNotify(encoded.type() == kCallRequestType ? PeerAttention::Urgency::kCall : PeerAttention::Urgency::kUrgent);
  return absl::OkStatus();
}

void ShmChannel::PutFragments() {
  const FrameBuffer& encoded = shared_->encoded;
  const FragmentPrefix prefix{static_cast<uint32_t>(encoded.size()), static_cast<uint32_t>(encoded.capnp_bytes())};
  for (size_t at = 0; at < encoded.size();) {
    const size_t prefix_bytes = at == 0 ? sizeof(prefix) : 0;
    const size_t bytes = std::min(kFragmentBodyBytes - prefix_bytes, encoded.size() - at);
    Put({.type = encoded.type(),
         .flags = RingHeader::kFragment,
         .body_bytes = static_cast<uint32_t>(prefix_bytes + bytes)},
        encoded.data() + at, at == 0 ? reinterpret_cast<const char*>(&prefix) : nullptr);
    at += bytes;
  }
}

void ShmChannel::Put(const RingHeader& header, const char* body, const char* prefix) {
  char* to = waits_for_room() ? nullptr : out_.Reserve(header.body_bytes);
  if (to == nullptr) return Queue(header, body, prefix);
  const size_t prefix_bytes = prefix == nullptr ? 0 : sizeof(FragmentPrefix);
  if (prefix != nullptr) std::memcpy(to, prefix, prefix_bytes);
  if (header.body_bytes != prefix_bytes) std::memcpy(to + prefix_bytes, body, header.body_bytes - prefix_bytes);
  out_.Commit(header);
}

void ShmChannel::Queue(const RingHeader& header, const char* body, const char* prefix) {
  if (!out_.ok()) return Break(BrokenFrame("the reader's index is out of range"));
  const size_t prefix_words = prefix == nullptr ? 0 : 1;
  const size_t at = queue_.size();
  queue_.resize(at + 1 + header.body_bytes / 8);
  queue_[at] = header.Pack();
  if (prefix != nullptr) std::memcpy(&queue_[at + 1], prefix, sizeof(FragmentPrefix));
  if (header.body_bytes / 8 > prefix_words) {
    std::memcpy(&queue_[at + 1 + prefix_words], body, header.body_bytes - prefix_words * 8);
  }
  queued_bytes_.store(queued_bytes() + 8 + header.body_bytes, std::memory_order_relaxed);
  if (!waits_for_room()) waits_for_.store(header.body_bytes + 1, std::memory_order_relaxed);
  ToNotify(PeerAttention::Urgency::kUrgent);
}

bool ShmChannel::HasRoom() const {
  const uint32_t waits_for = waits_for_.load(std::memory_order_relaxed);
  return waits_for == kBroken || (waits_for != 0 && out_.HasRoomFor(waits_for - 1));
}

void ShmChannel::Break(absl::Status why) {
  broken_ = std::move(why);
  waits_for_.store(kBroken, std::memory_order_relaxed);
}

bool ShmChannel::Flush() {
  if (broken()) return false;
  while (queue_begin_ < queue_.size()) {
    RingHeader header;
    MANTA_CHECK(RingHeader::Unpack(queue_[queue_begin_], &header)) << "our own header";
    char* to = out_.Reserve(header.body_bytes);
    if (to == nullptr && out_.ok() && out_.WaitForRoom(header.body_bytes)) to = out_.Reserve(header.body_bytes);
    if (to == nullptr) {
      if (!out_.ok()) {
        Break(BrokenFrame("the reader's index is out of range"));
        return false;
      }
      waits_for_.store(header.body_bytes + 1, std::memory_order_relaxed);
      // What was written leaves a gap: close it before it is the larger part.
      if (queue_begin_ > queue_.size() / 2) {
        queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(queue_begin_));
        queue_begin_ = 0;
      }
      return false;
    }
    if (header.body_bytes != 0) std::memcpy(to, &queue_[queue_begin_ + 1], header.body_bytes);
    out_.Commit(header);
    queue_begin_ += 1 + header.body_bytes / 8;
    queued_bytes_.store(queued_bytes() - 8 - header.body_bytes, std::memory_order_relaxed);
    ToNotify(PeerAttention::Urgency::kUrgent);
  }
  if (waits_for_room()) out_.DoneWaiting();
  waits_for_.store(0, std::memory_order_relaxed);
  queue_.clear();
  queue_begin_ = 0;
  if (queue_.capacity() > kKeptBytes / 8) queue_.shrink_to_fit();
  return true;
}

void ShmChannel::ToNotify(PeerAttention::Urgency urgency) {
  urgency_ = std::max(urgency_, urgency);
  if (std::exchange(to_notify_, true)) return;
  shared_->to_notify.push_back(this);
}

PeerAttention::Rang ShmChannel::Notify(PeerAttention::Core core) {
  if (waits_for_room() && !closed_) {
    Flush();
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  to_notify_ = false;
  if (closed_) return PeerAttention::Rang::kNothing;
  return peer_.Notify(peer_mark_, std::exchange(urgency_, PeerAttention::Urgency::kCall), core);
}

size_t ShmChannel::Drain(size_t frames_max) {
  size_t frames = 0;
  RingHeader header;
  const char* body = nullptr;
  while (frames < frames_max && !closed_ && !broken()) {
    const RingConsumer::Result result = in_.Next(&header, &body);
    if (result == RingConsumer::Result::kEmpty) break;
    if (result == RingConsumer::Result::kBroken) {
      Break(BrokenFrame("a frame's header, or the reader's index, was overwritten"));
      break;
    }
    ++frames;
    // It pops the frame, too.
    if (absl::Status status = Take(header, body); !status.ok()) Break(std::move(status));
    if (in_.IsRoomCheckDue() && in_.CheckRoom()) ToNotify(PeerAttention::Urgency::kUrgent);
  }
  if (broken()) End(std::exchange(broken_, absl::OkStatus()));
  return frames;
}

absl::Status ShmChannel::Take(const RingHeader& header, const char* body) {
  if (header.flags & RingHeader::kFragment) {
    absl::Status status = TakeFragment(header, body);
    in_.Pop();
    if (!status.ok() || assembly_.received_bytes < assembly_.body_bytes) return status;
    const Assembly whole = std::exchange(assembly_, Assembly());
    return Deliver(whole.type, whole.words.data(), whole.body_bytes, whole.capnp_bytes, /*in_ring=*/false);
  }
  if (assembly_.body_bytes != 0) return BrokenFrame("another frame stands among the fragments of a message");
  if (!shared_->copy_before_parse) {
    return Deliver(header.type, body, header.body_bytes, header.capnp_bytes, /*in_ring=*/true);
  }
  shared_->copied.resize(header.body_bytes / 8);
  if (header.body_bytes != 0) std::memcpy(shared_->copied.data(), body, header.body_bytes);
  in_.Pop();
  return Deliver(header.type, shared_->copied.data(), header.body_bytes, header.capnp_bytes, /*in_ring=*/false);
}

absl::Status ShmChannel::TakeFragment(const RingHeader& header, const char* body) {
  Assembly& whole = assembly_;
  size_t bytes = header.body_bytes;
  if (whole.body_bytes == 0) {
    FragmentPrefix prefix;
    if (bytes <= sizeof(prefix)) return BrokenFrame("a first fragment is empty");
    std::memcpy(&prefix, body, sizeof(prefix));
    body += sizeof(prefix);
    bytes -= sizeof(prefix);
    if (prefix.body_bytes > shared_->message_bytes_max) {
      return BrokenFrame(std::string(MessageName(header.type)) + " of " + std::to_string(prefix.body_bytes) +
                         " bytes is above the limit of " + std::to_string(shared_->message_bytes_max));
    }
    if (prefix.body_bytes % 8 != 0 || prefix.capnp_bytes % 8 != 0 || prefix.capnp_bytes > prefix.body_bytes) {
      return BrokenFrame("a fragmented message has impossible sizes");
    }
    whole.type = header.type;
    whole.body_bytes = prefix.body_bytes;
    whole.capnp_bytes = prefix.capnp_bytes;
    whole.received_bytes = 0;
    whole.words.resize(prefix.body_bytes / 8);
  } else if (header.type != whole.type) {
    return BrokenFrame("fragments of two messages are mixed");
  }
  if (bytes == 0 || bytes > whole.body_bytes - whole.received_bytes) return BrokenFrame("a fragment has a wrong size");
  std::memcpy(reinterpret_cast<char*>(whole.words.data()) + whole.received_bytes, body, bytes);
  whole.received_bytes += bytes;
  return absl::OkStatus();
}

absl::Status ShmChannel::Deliver(uint16_t type, const void* body, size_t size, size_t capnp_bytes, bool in_ring) {
  absl::StatusOr<Message> message = Decode(type, body, size, capnp_bytes);
  if (in_ring) in_.Pop();
  if (!message.ok()) return std::move(message).status();
  handler_->OnMessage(*this, *std::move(message));
  return absl::OkStatus();
}

void ShmChannel::Close() {
  closed_ = true;
  queue_.clear();
  queue_.shrink_to_fit();
  queue_begin_ = 0;
  queued_bytes_.store(0, std::memory_order_relaxed);
  waits_for_.store(0, std::memory_order_relaxed);
  assembly_ = Assembly();
}

void ShmChannel::End(const absl::Status& why) {
  if (closed_) return;
  Close();
  handler_->OnClosed(*this, why);
}

}  // namespace manta::rpc

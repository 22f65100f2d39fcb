#include "rpc/session.h"

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/rule.h"
#include "base/status.h"

namespace manta::rpc {
namespace {

constexpr size_t kMessageBytes = 256;

size_t ValueBytes(const std::vector<Value>& values) {
  size_t bytes = 0;
  for (const Value& value : values) bytes += 64 + value.bytes.size() + value.refs.size() * sizeof(NestedRef);
  return bytes;
}

template <typename M>
size_t PayloadBytes(const M& m) {
  if constexpr (std::is_same_v<M, CallRequest>) {
    return ValueBytes(m.args);
  } else if constexpr (std::is_same_v<M, CallReply>) {
    return ValueBytes(m.returns) + m.error.message.size();
  } else if constexpr (std::is_same_v<M, ActorCreate> || std::is_same_v<M, ActorStart> ||
                       std::is_same_v<M, ActorConstruct>) {
    return ValueBytes(m.spec.args);
  } else if constexpr (std::is_same_v<M, ObjectPublish> || std::is_same_v<M, ObjectResolved>) {
    return m.value.bytes.size() + m.value.refs.size() * sizeof(NestedRef);
  } else if constexpr (std::is_same_v<M, ObjectPulled>) {
    return m.data.size() + m.refs.size() * sizeof(NestedRef);
  } else if constexpr (std::is_same_v<M, Output>) {
    return m.text.size();
  } else if constexpr (std::is_same_v<M, ClusterView>) {
    return m.nodes.size() * sizeof(NodeInfo);
  } else if constexpr (std::is_same_v<M, NodeRegister>) {
    return m.actors.size() * sizeof(ActorStarted);
  } else {
    return 0;
  }
}

}  // namespace

size_t ApproximateBytes(const Message& message) {
  return kMessageBytes + std::visit([](const auto& m) { return PayloadBytes(m); }, message);
}

absl::Status Session::Send(Time now, Message message, std::vector<Packet>* out) {
  const size_t bytes = ApproximateBytes(message);
  // One message always goes, however large: the transport has a limit of its own.
  const bool full = unacked_.size() >= options_.unacked_messages_max ||
                    (!unacked_.empty() && unacked_bytes_ + bytes > options_.unacked_bytes_max);
  if (full) {
    return absl::ResourceExhaustedError(
        base::AbslView("session to " + ToString(options_.peer) + ": " + std::to_string(unacked_.size()) +
                       " messages, " + std::to_string(unacked_bytes_) + " bytes wait for its acknowledgement"));
  }
  unacked_.push_back({message, bytes});
  unacked_bytes_ += bytes;
  out->push_back(MakePacket(acked_through_ + unacked_.size(), std::move(message)));
  if (unacked_.size() == 1) ArmResend(now);
  return absl::OkStatus();
}

absl::Status Session::Receive(Time now, Packet packet, std::vector<Message>* delivered, std::vector<Packet>* out) {
  MANTA_RETURN_IF_ERROR(CheckIdentity(packet));
  MANTA_RETURN_IF_ERROR(TakeAck(now, packet.ack));
  if (packet.seq == 0) return absl::OkStatus();
  if (!packet.message) return absl::InvalidArgumentError("a numbered packet carries no message");
  return TakeMessage(now, packet.seq, *std::move(packet.message), delivered, out);
}

absl::Status Session::CheckIdentity(const Packet& packet) {
  const bool from_peer = packet.from == options_.peer && (peer_life_ == 0 || packet.from_life == peer_life_);
  const bool to_self = packet.to == options_.self && (packet.to_life == 0 || packet.to_life == options_.self_life);
  if (!from_peer || !to_self) {
    return absl::FailedPreconditionError(
        base::AbslView("session " + ToString(options_.self) + " life " + std::to_string(options_.self_life) + " with " +
                       ToString(options_.peer) + " life " + std::to_string(peer_life_) + ": a packet from " +
                       ToString(packet.from) + " life " + std::to_string(packet.from_life) + " to " +
                       ToString(packet.to) + " life " + std::to_string(packet.to_life)));
  }
  peer_life_ = packet.from_life;
  return absl::OkStatus();
}

absl::Status Session::TakeAck(Time now, uint64_t ack) {
  if (ack > acked_through_ + unacked_.size()) {
    return absl::InvalidArgumentError("the peer acknowledges what was not sent");
  }
  if (ack <= acked_through_) return absl::OkStatus();
  for (; acked_through_ < ack; ++acked_through_) {
    unacked_bytes_ -= unacked_.front().bytes;
    unacked_.pop_front();
  }
  resends_ = 0;
  ArmResend(now);
  return absl::OkStatus();
}

absl::Status Session::TakeMessage(Time now, uint64_t seq, Message message, std::vector<Message>* delivered,
                                  std::vector<Packet>* out) {
  if (seq <= received_through_ && MANTA_RULE("session.dedup")) {
    SendAck(out);  // the acknowledgement was lost, or the peer would not have asked again
    return absl::OkStatus();
  }
  if (seq > received_through_ + 1 && MANTA_RULE("session.order")) {
    if (seq - received_through_ > options_.unacked_messages_max) {
      return absl::InvalidArgumentError("the peer sends beyond its window");
    }
    if (early_.contains(seq)) return absl::OkStatus();
    const size_t bytes = ApproximateBytes(message);
    // Not kept is lost, and a lost message is sent again.
    if (early_bytes_ + bytes > options_.unacked_bytes_max) return absl::OkStatus();
    early_bytes_ += bytes;
    early_.emplace(seq, Unacked{std::move(message), bytes});
    return absl::OkStatus();
  }
  delivered->push_back(std::move(message));
  received_through_ = std::max(received_through_, seq);
  while (!early_.empty() && early_.begin()->first <= received_through_ + 1) {
    const auto next = early_.begin();
    if (next->first == received_through_ + 1) {
      delivered->push_back(std::move(next->second.message));
      ++received_through_;
    }
    early_bytes_ -= next->second.bytes;
    early_.erase(next);
  }
  NoteDelivered(now, out);
  return absl::OkStatus();
}

// An acknowledgement may wait for a packet to ride on, but not for so long that the peer's window fills.
void Session::NoteDelivered(Time now, std::vector<Packet>* out) {
  if (received_through_ - ack_sent_ >= std::max<size_t>(1, options_.unacked_messages_max / 8)) return SendAck(out);
  if (ack_due_ == kInfiniteFuture) ack_due_ = SaturatingAdd(now, options_.ack_delay);
}

void Session::Tick(Time now, std::vector<Packet>* out) {
  if (resend_at_ <= now) {
    ++resends_;
    Resend(options_.resend_packets_max, out);
    ArmResend(now);
  }
  if (ack_due_ <= now) SendAck(out);
}

Time Session::NextDeadline() const { return std::min(ack_due_, resend_at_); }

void Session::OnReconnected(Time now, std::vector<Packet>* out) {
  resends_ = 0;
  if (MANTA_RULE("session.resend")) Resend(unacked_.size(), out);
  ArmResend(now);
  // Even with nothing to say: our last acknowledgement may have been lost with the old transport.
  if (unacked_.empty()) SendAck(out);
}

void Session::Resend(size_t packets_max, std::vector<Packet>* out) {
  const size_t count = std::min(packets_max, unacked_.size());
  for (size_t i = 0; i < count; ++i) out->push_back(MakePacket(acked_through_ + 1 + i, unacked_[i].message));
}

void Session::ArmResend(Time now) {
  resend_at_ = kInfiniteFuture;
  if (unacked_.empty() || options_.resend_after == Duration::max()) return;
  const Duration after = options_.resend_after * (int64_t{1} << std::min(resends_, 16));
  resend_at_ = SaturatingAdd(now, std::min(after, options_.resend_after_max));
}

void Session::SendAck(std::vector<Packet>* out) { out->push_back(MakePacket(0, std::nullopt)); }

// Every packet carries the newest acknowledgement.
Packet Session::MakePacket(uint64_t seq, std::optional<Message> message) {
  ack_sent_ = received_through_;
  ack_due_ = kInfiniteFuture;
  return {options_.self, options_.peer, options_.self_life, peer_life_, seq, received_through_, std::move(message)};
}

}  // namespace manta::rpc

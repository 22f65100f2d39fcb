#include "tests/sim/network.h"

#include <algorithm>

#include "base/check.h"
#include "base/status.h"
#include "rpc/codec.h"
#include "tests/sim/describe.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr double kStreamRarity = 4;  // a connection that breaks costs more than a packet that is lost

void DropNegative(base::ResourceSet* set) {
  const base::ResourceSet all = *set;
  for (const auto& [name, amount] : all.amounts()) {
    if (amount < base::Fixed(0)) set->Set(name, base::Fixed(0));
  }
}

// What does not travel (rpc/schema/common.capnp): the texts of an error without a code, and amounts below zero.
void Normalize(rpc::Message* message) {
  std::visit(
      [](auto& m) {
        if constexpr (requires { m.error.code; }) {
          if (!m.error) m.error = {};
        }
        if constexpr (requires { m.info.available; }) DropNegative(&m.info.available);
        if constexpr (requires { m.nodes; }) {
          for (rpc::NodeInfo& node : m.nodes) DropNegative(&node.available);
        }
      },
      *message);
}

}  // namespace

// What a pipe's cable asks, and tells.
class Network::Ends final : public Cable::Handler {
 public:
  Ends(Network* network, Pipe* pipe) : network_(network), pipe_(pipe) {}

  bool IsCut() const override { return network_->IsCut(host(0).machine(), host(1).machine()); }
  bool IsThere(int side) const override { return pipe_->side[side].open && host(side).alive(); }
  void OnLinked(int side) override { network_->Linked(pipe_, side); }
  void OnFrame(int side, const rpc::Frame& frame) override { network_->ArriveAsFrame(pipe_, side, frame); }
  void OnFault(StreamFault fault) override { network_->CountFault(fault); }
  void Note(int side, std::string_view what, std::string_view data) override {
    network_->trace_->Note(network_->queue_->now(), host(side).label(), what, data,
                           [&] { return std::string(data) + " (to " + host(1 - side).label() + ")"; });
  }
  void Violate(std::string what) override {
    network_->on_violation(host(0).label() + " and " + host(1).label() + ": " + what);
  }

 private:
  const Host& host(int side) const { return *pipe_->side[side].host; }

  Network* const network_;
  Pipe* const pipe_;
};

Pipe* Network::MakeRing(Host* a, Host* b) {
  Pipe& pipe = pipes_.emplace_back();
  pipe.id = pipes_.size();
  pipe.kind = Pipe::Kind::kRing;
  pipe.side[0].host = a;
  pipe.side[1].host = b;
  return &pipe;
}

Pipe* Network::MakeSocket(Host* a, Host* b) {
  Pipe* pipe = MakeRing(a, b);
  pipe->kind = rng_.Uniform(2) == 0 ? Pipe::Kind::kStream : Pipe::Kind::kSocket;
  Cable::Options ends;
  for (int side = 0; side < 2; ++side) {
    rpc::Session::Options options;
    options.self = {pipe->id, static_cast<uint64_t>(side)};
    options.peer = {pipe->id, static_cast<uint64_t>(1 - side)};
    options.self_life = pipe->id * 2 + static_cast<uint64_t>(side);
    // A connection loses nothing while it lasts, and the session hears of the next one.
    if (pipe->kind == Pipe::Kind::kStream) options.resend_after = Duration::max();
    pipe->side[side].session.emplace(options);
    ends.ends[side] = {options.self, options.self_life};
  }
  if (pipe->kind == Pipe::Kind::kStream) {
    ends.fault_share = mix_.lost;
    pipe->ends = std::make_unique<Ends>(this, pipe);
    pipe->cable = std::make_unique<Cable>(queue_, rng_.Fork(), ends, pipe->ends.get());
  }
  return pipe;
}

void Network::Send(Pipe* pipe, int side, rpc::Message message) {
  Pipe::Side& from = pipe->side[side];
  if (!from.open || !from.host->alive()) return;
  ++messages_;
  if (pipe->kind == Pipe::Kind::kRing) return SendOnRing(pipe, side, std::move(message));
  ++coverage_.socket_sent[message.index()];
  std::vector<rpc::Packet> packets;
  const absl::Status sent = from.session->Send(queue_->now(), std::move(message), &packets);
  MANTA_CHECK(sent.ok()) << "a session's window is full: " << sent;
  Transmit(pipe, side, std::move(packets));
}

void Network::SendOnRing(Pipe* pipe, int side, rpc::Message message) {
  Host* const sender = pipe->side[side].host;
  Pipe::Side& to = pipe->side[1 - side];
  const size_t type = message.index();
  ++coverage_.ring_sent[type];
  const std::optional<RingFault> fault = RingFaultOf(*sender, type);
  if (fault == RingFault::kDiesBefore) {
    return on_ring_death(sender, std::string("just before it writes ") + TypeName(type));
  }
  if (to.open && to.host->alive()) {
    to.unread.push_back(RoundTrip(*sender, *to.host, std::move(message)));
    to.last_arrival = std::max(to.last_arrival, queue_->now() + RingDelay());
    queue_->At(to.last_arrival, [this, pipe, side] {
      Pipe::Side& reader = pipe->side[1 - side];
      if (reader.unread.empty()) return;  // drained before
      rpc::Message next = std::move(reader.unread.front());
      reader.unread.pop_front();
      Deliver(pipe, 1 - side, std::move(next));
    });
  }
  if (fault == RingFault::kDiesAfter) on_ring_death(sender, std::string("just after it wrote ") + TypeName(type));
}

std::optional<RingFault> Network::RingFaultOf(const Host& sender, size_t type) {
  for (auto aim = ring_aims_.begin(); aim != ring_aims_.end(); ++aim) {
    if (aim->type != type || aim->daemons != sender.is_daemon() || --aim->nth > 0) continue;
    const RingFault fault = aim->fault;
    ring_aims_.erase(aim);
    ++coverage_.ring[type][static_cast<size_t>(fault)];
    return fault;
  }
  return std::nullopt;
}

void Network::Drain(Pipe* pipe, int side) {
  Pipe::Side& reader = pipe->side[side];
  while (!reader.unread.empty() && reader.open) {
    rpc::Message next = std::move(reader.unread.front());
    reader.unread.pop_front();
    Deliver(pipe, side, std::move(next));
  }
}

void Network::Close(Pipe* pipe, int side) {
  Pipe::Side& closed = pipe->side[side];
  closed.open = false;
  closed.unread.clear();
  closed.session.reset();
  if (pipe->cable) pipe->cable->Close(side);
}

void Network::StopFaults() {
  mix_.lost = mix_.twice = mix_.late = 0;
  aimed_packets_.count = 0;
  ring_aims_.clear();
  for (Pipe& pipe : pipes_) {
    if (pipe.cable) pipe.cable->StopFaults();
  }
  Heal();
}

rpc::Message Network::RoundTrip(const Host& from, const Host& to, rpc::Message message) {
  rpc::Encode(message, &frame_);
  absl::StatusOr<rpc::Message> decoded = rpc::Decode(frame_.type(), frame_.data(), frame_.size(), frame_.capnp_bytes());
  MANTA_CHECK(decoded.ok()) << decoded.status() << ": " << Describe(message);
  trace_->Note(queue_->now(), from.label(), "->", frame_.body(), [&] { return to.label() + "  " + Describe(message); });
  Normalize(&message);
  MANTA_CHECK(*decoded == message) << "the codec changes " << Describe(message) << " into " << Describe(*decoded);
  return *std::move(decoded);
}

void Network::Transmit(Pipe* pipe, int from, std::vector<rpc::Packet> packets) {
  for (const rpc::Packet& packet : packets) {
    if (pipe->kind == Pipe::Kind::kStream) {
      TransmitAsFrame(pipe, from, packet);
    } else {
      TransmitOne(pipe, from, packet);
    }
  }
  ArmTimer(pipe, from);
}

void Network::TransmitOne(Pipe* pipe, int from, const rpc::Packet& packet) {
  const Host& sender = *pipe->side[from].host;
  const Host& receiver = *pipe->side[1 - from].host;
  if (IsCut(sender.machine(), receiver.machine())) return;
  const std::optional<PacketFault> fault = PacketFaultOf(*pipe, packet);
  if (fault && packet.message) {
    ++coverage_.socket[packet.message->index()][static_cast<size_t>(*fault)];
    ++packet_faults_;
  }
  if (fault == PacketFault::kLost) return;
  rpc::Packet travelling = packet;
  if (travelling.message) travelling.message = RoundTrip(sender, receiver, *std::move(travelling.message));
  const auto arrive = [this, pipe, from](rpc::Packet arriving, Duration delay) {
    queue_->After(delay, [this, pipe, from, arriving = std::move(arriving)]() mutable {
      Arrive(pipe, 1 - from, std::move(arriving));
    });
  };
  Duration delay = SocketDelay();
  if (fault == PacketFault::kLate) delay += milliseconds(rng_.Between(20, 1500));
  if (fault == PacketFault::kTwice) {
    // One after the other: in one expression, compilers draw in the order they like.
    const Duration later = milliseconds(rng_.Between(0, 300));
    arrive(travelling, later + SocketDelay());
  }
  arrive(std::move(travelling), delay);
}

std::optional<PacketFault> Network::PacketFaultOf(const Pipe& pipe, const rpc::Packet& packet) {
  if (aimed_packets_.count > 0 && packet.message && packet.message->index() == aimed_packets_.type) {
    --aimed_packets_.count;
    return aimed_packets_.fault;
  }
  const double draw = rng_.Double() * (pipe.kind == Pipe::Kind::kStream ? kStreamRarity : 1);
  if (draw < mix_.lost) return PacketFault::kLost;
  if (draw < mix_.lost + mix_.twice) return PacketFault::kTwice;
  if (draw < mix_.lost + mix_.twice + mix_.late) return PacketFault::kLate;
  return std::nullopt;
}

void Network::TransmitAsFrame(Pipe* pipe, int from, const rpc::Packet& packet) {
  const std::optional<PacketFault> fault = PacketFaultOf(*pipe, packet);
  if (!pipe->cable->Send(from, packet, fault) || !packet.message) return;
  ++coverage_.socket[packet.message->index()][static_cast<size_t>(*fault)];
  ++packet_faults_;
}

void Network::CountFault(StreamFault fault) {
  ++coverage_.stream[static_cast<size_t>(fault)];
  connection_faults_ += fault >= StreamFault::kCutInHandshake;
}

void Network::Linked(Pipe* pipe, int side) {
  std::vector<rpc::Packet> packets;
  pipe->side[side].session->OnReconnected(queue_->now(), &packets);
  Transmit(pipe, side, std::move(packets));
}

// As rpc::SessionChannel does: what a frame does not say, its connection's handshake has.
void Network::ArriveAsFrame(Pipe* pipe, int side, const rpc::Frame& frame) {
  const Host& sender = *pipe->side[1 - side].host;
  const rpc::FrameHeader& header = frame.header;
  rpc::Packet packet;
  packet.from = {pipe->id, static_cast<uint64_t>(1 - side)};
  packet.to = {pipe->id, static_cast<uint64_t>(side)};
  packet.from_life = pipe->id * 2 + static_cast<uint64_t>(1 - side);
  packet.to_life = pipe->id * 2 + static_cast<uint64_t>(side);
  packet.seq = header.seq;
  packet.ack = header.ack;
  if (header.type != rpc::kAckFrameType) {
    absl::StatusOr<rpc::Message> message = rpc::Decode(header.type, frame.body, header.body_bytes, header.capnp_bytes);
    if (!message.ok()) return on_violation(sender.label() + " sends " + base::Message(message.status()));
    packet.message = *std::move(message);
  }
  trace_->Note(queue_->now(), sender.label(), "=>", {frame.body, header.body_bytes}, [&] {
    return pipe->side[side].host->label() + "  " + (packet.message ? Describe(*packet.message) : "ack") + " (" +
           std::to_string(header.seq) + ", " + std::to_string(header.ack) + ")";
  });
  Arrive(pipe, side, std::move(packet));
  const Pipe::Side& to = pipe->side[side];
  if (to.session && to.session->early_messages() != 0) {
    on_violation(to.host->label() + " is sent a message of " + sender.label() + " before its turn, on a stream");
  }
}

void Network::Arrive(Pipe* pipe, int side, rpc::Packet packet) {
  Pipe::Side& to = pipe->side[side];
  if (!to.open || !to.host->alive() || IsCut(to.host->machine(), pipe->side[1 - side].host->machine())) return;
  std::vector<rpc::Message> delivered;
  std::vector<rpc::Packet> answers;
  const absl::Status received = to.session->Receive(queue_->now(), std::move(packet), &delivered, &answers);
  MANTA_CHECK(received.ok()) << received;
  Transmit(pipe, side, std::move(answers));
  for (rpc::Message& message : delivered) {
    if (!to.open || !to.host->alive()) return;
    Deliver(pipe, side, std::move(message));
  }
}

void Network::ArmTimer(Pipe* pipe, int side) {
  Pipe::Side& at = pipe->side[side];
  if (!at.open || !at.session) return;
  const Time deadline = at.session->NextDeadline();
  if (deadline == kInfiniteFuture || (at.timer <= deadline && at.timer > queue_->now())) return;
  at.timer = deadline;
  queue_->At(deadline, [this, pipe, side] {
    Pipe::Side& due = pipe->side[side];
    if (!due.open || !due.session || !due.host->alive()) return;
    if (due.timer == queue_->now()) due.timer = kInfiniteFuture;
    std::vector<rpc::Packet> packets;
    due.session->Tick(queue_->now(), &packets);
    Transmit(pipe, side, std::move(packets));
  });
}

void Network::Deliver(Pipe* pipe, int side, rpc::Message message) {
  Host* const host = pipe->side[side].host;
  if (!pipe->side[side].open || !host->alive()) return;
  host->OnMessage(pipe, side, std::move(message));
}

// A consumer that attends takes a microsecond; one that does something else now and then lets the ring wait.
Duration Network::RingDelay() {
  const uint64_t draw = rng_.Uniform(100);
  if (draw < 80) return nanoseconds(rng_.Between(500, 5'000));
  if (draw < 98) return microseconds(rng_.Between(5, 300));
  return microseconds(rng_.Between(300, 8'000));
}

Duration Network::SocketDelay() {
  return rng_.Uniform(20) == 0 ? microseconds(rng_.Between(500, 10'000)) : microseconds(rng_.Between(30, 500));
}

}  // namespace manta::sim

// Network carries messages between simulated processes: over rings within a node, over sessions on sockets between
// nodes.
//
// Problem:    what shells promise the cores (runtime/core.h) has to hold here, and everything that they do not promise
// has to
//             go wrong here.
//   ring      ordered, lossless. What a dead sender wrote is delivered; what was written to a dead receiver is gone.
//   socket    packets that get lost, come twice, late or out of order; rpc::Session makes messages of them. A partition
//             loses all of them.
//   stream    the same session over connections whose bytes come in pieces, and which break (tests/sim/cable.h).
// Every message is encoded and decoded on its way (rpc/codec.h), and must come out as it went in.
// Threads:    externally synchronised.
// Invariants: (1) a host that is dead neither sends nor receives.
#ifndef MANTA_TESTS_SIM_NETWORK_H_
#define MANTA_TESTS_SIM_NETWORK_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "rpc/frame_buffer.h"
#include "rpc/message.h"
#include "rpc/session.h"
#include "tests/sim/cable.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/faults.h"
#include "tests/sim/trace.h"

namespace manta::sim {

struct Pipe;

// One life of a simulated process.
class Host {
 public:
  virtual ~Host() = default;
  virtual void OnMessage(Pipe* pipe, int side, rpc::Message message) = 0;
  // A process dies (kill -9).
  virtual void Die(const std::string& why) = 0;

  bool alive() const { return alive_; }
  int machine() const { return machine_; }  // 0: the head's
  const std::string& label() const { return label_; }
  virtual bool is_daemon() const { return false; }

 protected:
  bool alive_ = true;
  int machine_ = 0;
  std::string label_;
};

// Two ends between two hosts. Side 0 made it.
struct Pipe {
  enum class Kind : uint8_t { kRing, kSocket, kStream };
  uint64_t id = 0;
  Kind kind = Kind::kRing;
  struct Side {
    Host* host = nullptr;
    bool open = true;
    // kRing: what the other side wrote and this one has not read.
    std::deque<rpc::Message> unread;
    Time last_arrival{};
    // kSocket, kStream
    std::optional<rpc::Session> session;
    Time timer = kInfiniteFuture;
  };
  Side side[2];
  ProcessId peer[2];  // who is at the other end, as the side's core calls it
  uint64_t tag = 0;   // for whoever made it
  // kStream
  std::unique_ptr<Cable::Handler> ends;
  std::unique_ptr<Cable> cable;
};

class Network {
 public:
  Network(EventQueue* queue, Trace* trace, base::Rng rng) : queue_(queue), trace_(trace), rng_(rng) {}

  Pipe* MakeRing(Host* a, Host* b);
  Pipe* MakeSocket(Host* a, Host* b);
  // Side `side` sends.
  void Send(Pipe* pipe, int side, rpc::Message message);
  // Hands over all that waits in the ring at `side`, now.
  void Drain(Pipe* pipe, int side);
  // The side hears nothing any more, and what it sends is dropped.
  void Close(Pipe* pipe, int side);
  // When the last of what `side` has been sent so far arrives.
  Time LastArrival(const Pipe* pipe, int side) const { return pipe->side[side].last_arrival; }

  void Cut(int a, int b) { cut_.insert({std::min(a, b), std::max(a, b)}); }
  void Heal() { cut_.clear(); }
  bool IsCut(int a, int b) const { return cut_.contains({std::min(a, b), std::max(a, b)}); }

  // Faults.
  void SetMix(const FaultMix& mix) { mix_ = mix; }
  void StopFaults();
  // The next `count` packets that carry `type` suffer `fault`.
  void AimAtPackets(size_t type, PacketFault fault, int count) { aimed_packets_ = {type, fault, count}; }
  // The sender of the `nth` ring message of `type` from now on dies before or after it.
  struct RingAim {
    size_t type = 0;
    RingFault fault = RingFault::kDiesBefore;
    int nth = 1;
    bool daemons = false;  // daemons' messages count, else those of user processes
  };
  void AimAtRing(RingAim aim) { ring_aims_.push_back(aim); }
  std::function<void(Host*, const std::string& why)> on_ring_death;
  std::function<void(std::string what)> on_violation;

  const Coverage& coverage() const { return coverage_; }
  uint64_t packet_faults() const { return packet_faults_; }
  // That broke one, or kept it from being made.
  uint64_t connection_faults() const { return connection_faults_; }
  uint64_t messages() const { return messages_; }

 private:
  struct AimedPackets {
    size_t type = 0;
    PacketFault fault = PacketFault::kLost;
    int count = 0;
  };

  class Ends;

  rpc::Message RoundTrip(const Host& from, const Host& to, rpc::Message message);
  void SendOnRing(Pipe* pipe, int side, rpc::Message message);
  std::optional<RingFault> RingFaultOf(const Host& sender, size_t type);
  void Transmit(Pipe* pipe, int from, std::vector<rpc::Packet> packets);
  void TransmitOne(Pipe* pipe, int from, const rpc::Packet& packet);
  void TransmitAsFrame(Pipe* pipe, int from, const rpc::Packet& packet);
  std::optional<PacketFault> PacketFaultOf(const Pipe& pipe, const rpc::Packet& packet);
  void CountFault(StreamFault fault);
  void Linked(Pipe* pipe, int side);
  void ArriveAsFrame(Pipe* pipe, int side, const rpc::Frame& frame);
  void Arrive(Pipe* pipe, int side, rpc::Packet packet);
  void ArmTimer(Pipe* pipe, int side);
  void Deliver(Pipe* pipe, int side, rpc::Message message);
  Duration RingDelay();
  Duration SocketDelay();

  EventQueue* const queue_;
  Trace* const trace_;
  base::Rng rng_;
  FaultMix mix_{};
  std::deque<Pipe> pipes_;
  std::set<std::pair<int, int>> cut_;
  AimedPackets aimed_packets_;
  std::vector<RingAim> ring_aims_;
  rpc::FrameBuffer frame_;
  Coverage coverage_;
  uint64_t packet_faults_ = 0;
  uint64_t connection_faults_ = 0;
  uint64_t messages_ = 0;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_NETWORK_H_

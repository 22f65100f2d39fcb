// Cable joins the two ends of a session by one stream connection after another, as sockets do: bytes in order, in
// pieces of any size, until the connection breaks anywhere.
//
// Problem:    a frame may come in a hundred pieces, or half; a write takes less than it was given, or nothing; one end
//             learns of a break long before the other; and the next connection begins with a handshake that may break,
//             too.
//   side 0 dials --ClientHello .. ServerProof--> both linked --break--> side 0 dials again
// What runs here is the product's own: rpc::SendQueue writes, rpc::FrameParser reads, the handshakes of rpc/handshake.h
// open a connection, rpc::Session (the owner's) repeats what was lost. Simulated is the socket below and the shell
// between them (rpc::SocketChannel and rpc::SessionChannel).
// Ownership:  owned by its pipe; borrows the queue and the handler.
// Threads:    externally synchronised.
// Invariants: (1) what arrives are the frames that were sent on one connection, whole and in their order, up to where
// it
//                 broke; bytes that are none, or another body than was sent, are a violation.
//             (2) one connection is dialled at a time; the newest that has proved itself is in use.
#ifndef MANTA_TESTS_SIM_CABLE_H_
#define MANTA_TESTS_SIM_CABLE_H_

#include <sys/uio.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "rpc/frame.h"
#include "rpc/frame_buffer.h"
#include "rpc/handshake.h"
#include "rpc/session.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/faults.h"

namespace manta::sim {

class Cable {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Nothing gets through now: a partition lies between the two.
    virtual bool IsCut() const = 0;
    // The process at this end lives, and has not closed its end.
    virtual bool IsThere(int side) const = 0;
    // A new connection has proved itself at this end; what was in flight is lost.
    virtual void OnLinked(int side) = 0;
    virtual void OnFrame(int side, const rpc::Frame& frame) = 0;
    virtual void OnFault(StreamFault fault) = 0;
    virtual void Note(int side, std::string_view what, std::string_view data) = 0;
    virtual void Violate(std::string what) = 0;
  };

  // The lives of the two ends, as they prove them to each other.
  struct End {
    ProcessId process;
    uint64_t life = 0;
  };
  struct Options {
    End ends[2];
    double fault_share = 0;  // of connections and of writes, besides what Send is told
  };

  Cable(EventQueue* queue, base::Rng rng, const Options& options, Handler* handler);
  ~Cable();

  // Side `side` writes a packet as a frame; without a connection it is lost. `fault`: kLost: the connection breaks
  // within the frame; kTwice: behind it, before it is acknowledged; kLate: its bytes come one by one. False: the fault
  // did not happen, as there is no connection or it breaks already.
  bool Send(int side, const rpc::Packet& packet, std::optional<PacketFault> fault);
  // The process has closed its end, or died.
  void Close(int side);
  void StopFaults() { options_.fault_share = 0; }

 private:
  struct Connection;
  struct Direction;
  using ConnectionPtr = std::shared_ptr<Connection>;

  // Connections.
  void DialLater();
  void Dial();
  void PlanConnection(Connection* connection);
  void Break(const ConnectionPtr& connection, int side, std::string_view why);
  // `reads_first`: what has come, or is on its way.
  void BreakAfter(const ConnectionPtr& connection, int side, Duration delay, std::string_view why, bool reads_first);
  bool Faulty() { return rng_.Bernoulli(options_.fault_share); }

  // Writing.
  bool Plan(Connection* connection, int side, uint64_t begin, size_t size, PacketFault fault);
  void FlushSoon(const ConnectionPtr& connection, int side);
  void Flush(const ConnectionPtr& connection, int side);
  absl::StatusOr<size_t> Write(const ConnectionPtr& connection, int side, std::span<const iovec> runs);
  void Fly(const ConnectionPtr& connection, int side, std::string bytes);
  void CutOff(const ConnectionPtr& connection, int side);

  // Reading.
  void ReadAt(Time when, const ConnectionPtr& connection, int side);
  void Read(const ConnectionPtr& connection, int side);
  void TakeFrames(const ConnectionPtr& connection, int side);
  void TakeHandshake(const ConnectionPtr& connection, int side, const rpc::Frame& frame);
  void SendHandshake(const ConnectionPtr& connection, int side, const std::vector<rpc::HandshakeMessage>& messages);
  void CheckBody(int side, const rpc::Frame& frame);

  // Strangers.
  rpc::ClientHandshake::Options ClientOptions();
  rpc::ServerHandshake::Options ServerOptions();
  void TryStrangers();

  EventQueue* const queue_;
  base::Rng rng_;
  Options options_;
  Handler* const handler_;
  rpc::NonceMemory nonces_;
  rpc::FrameBuffer encoded_;
  ConnectionPtr dialled_;     // has not proved itself to side 0 yet
  ConnectionPtr current_[2];  // null: none
  bool dial_pending_ = false;
  Duration redial_after_;
  // What one side has sent and is not acknowledged: hashes by number, for a large body may be laid out in another way
  // when it is encoded again.
  using Bodies = std::map<uint64_t, std::set<uint64_t>>;
  Bodies bodies_[2];
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_CABLE_H_

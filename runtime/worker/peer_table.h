// PeerTable knows the processes that this one exchanges calls with, and the dead.
//
// Problem:    channels are made on first use and may fail; what a dead process wrote may come after the news of its
// death. Ownership:  owns the Peers; LeaseClient and ActorStreams link their leases and streams to them. Threads:
// externally synchronised (ProcessCore). Invariants: (1) Connect is asked for once at a time for each peer.
//             (2) a dead id never becomes a peer again, as long as it is remembered: the last kDeadMax processes, and
//                 every dead node.
#ifndef MANTA_RUNTIME_WORKER_PEER_TABLE_H_
#define MANTA_RUNTIME_WORKER_PEER_TABLE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "runtime/worker/number_table.h"
#include "runtime/worker/outbox.h"

namespace manta::runtime::worker {

struct Lease;
class ActorStream;

struct Peer {
  enum class State : uint8_t { kNone, kConnecting, kConnected, kUnreachable };
  ProcessId id;
  State state = State::kNone;
  std::string address;
  std::vector<Lease*> leases;               // at this worker, in the order in which they were granted
  std::map<ActorId, ActorStream*> streams;  // to actors in this worker
  // How far streams that are gone have numbered their calls: a new stream to the same incarnation goes on from there.
  struct Numbered {
    uint64_t incarnation = 0;
    uint64_t last_sequence = 0;
  };
  std::map<ActorId, Numbered> numbered;
  bool connected() const { return state == State::kConnected; }
};

class PeerTable {
 public:
  static constexpr size_t kDeadMax = 4096;

  explicit PeerTable(Outbox* out) : out_(out) {}
  ~PeerTable();
  PeerTable(const PeerTable&) = delete;
  PeerTable& operator=(const PeerTable&) = delete;

  // Null: not known.
  Peer* Find(ProcessId id) const;
  Peer* FindOrAdd(ProcessId id);
  // The peer that a message has come from: there is a channel. Null: it is dead.
  Peer* Hear(ProcessId from) {
    if (last_ != nullptr && last_->id == from && last_->connected()) return last_;
    return HearOther(from);
  }
  // Asks for a channel unless there is one, or one is being made. True: there is one.
  bool Connect(Peer* peer, const std::string& address);

  bool IsDead(ProcessId id) const { return dead_nodes_.contains(id.node) || dead_.contains(id); }
  void MarkDead(ProcessId id);
  void MarkNodeDead(NodeId node) { dead_nodes_.insert(node); }
  // Closes the channel and forgets the peer. REQUIRES: no leases, no streams.
  void Remove(Peer* peer);
  // The peers on `node`, in the order of their numbers.
  std::vector<Peer*> On(NodeId node) const;

 private:
  Peer* HearOther(ProcessId from);

  Outbox* const out_;
  std::map<NodeId, NumberTable<Peer>> nodes_;
  Peer* last_ = nullptr;  // heard last
  std::set<ProcessId> dead_;
  std::deque<ProcessId> dead_order_;
  std::set<NodeId> dead_nodes_;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_PEER_TABLE_H_

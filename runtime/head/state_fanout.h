// StateFanout answers questions about the cluster: what the head knows itself, and what it asks the nodes for.
//
// Problem:    a node may be slow, stopped or dead, and whoever asks wants an answer within a second, one that says
//             what is missing.
// How to use: hand it every StateQuery of a client, every StateReply of a node and every loss of either, and Tick at
//             next_deadline(); carry out what it appends to Output.
// Ownership:  borrows the core, which must outlive it.
// Threads:    externally synchronised; pure.
// Invariants: (1) each query of a client that stays is answered once, at most kTimeout later.
//             (2) at most kQueriesMax wait at once; one more is refused.
// See:        rpc/schema/state.capnp
#ifndef MANTA_RUNTIME_HEAD_STATE_FANOUT_H_
#define MANTA_RUNTIME_HEAD_STATE_FANOUT_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/head/head_core.h"

namespace manta::runtime {

class StateFanout {
 public:
  static constexpr Duration kTimeout = std::chrono::seconds(1);
  static constexpr size_t kQueriesMax = 256;

  struct Output {
    std::vector<std::pair<NodeId, rpc::StateQuery>> asks;
    std::vector<std::pair<uint64_t, rpc::StateReply>> answers;  // to clients
    std::vector<KillActorAsked> kills;                          // for the head's core
  };

  explicit StateFanout(const HeadCore* core) : core_(core) {}
  StateFanout(const StateFanout&) = delete;
  StateFanout& operator=(const StateFanout&) = delete;

  // `client`: the shell's number for a connection. `is_member`: it may change something, too.
  void OnQuery(Time now, uint64_t client, bool is_member, const rpc::StateQuery& query, Output* out);
  void OnReply(NodeId from, rpc::StateReply reply, Output* out);
  void NodeGone(NodeId node, Output* out);
  void ClientGone(uint64_t client);
  void Tick(Time now, Output* out);
  Time next_deadline() const;

 private:
  struct Query {
    uint64_t client = 0;
    rpc::StateQuery asked;
    Time give_up_at;
    std::set<NodeId> waiting_for;
    std::map<NodeId, rpc::StateReply> replies;
    std::vector<std::string> missing;  // why a node's part is not in the answer
  };
  using Queries = std::map<uint64_t, Query>;

  rpc::StateReply PageOf(const Query& query) const;
  void Ask(Time now, uint64_t client, const rpc::StateQuery& query, Output* out);
  void Kill(uint64_t client, bool is_member, const rpc::StateQuery& query, Output* out) const;
  void AnswerIfDone(Queries::iterator at, Output* out);
  rpc::StateReply Merge(const Query& query) const;

  const HeadCore* const core_;
  uint64_t last_request_ = 0;
  Queries queries_;  // by the number that the nodes are given; older ones first
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_STATE_FANOUT_H_

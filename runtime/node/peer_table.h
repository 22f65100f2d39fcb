// PeerTable knows the other nodes: which are alive, what they have, and how far our own decisions have changed that.
//
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) a node is alive from the first view that shows it until the head says NodeDied, and never again: a
// view that
//                 lacks it (of a new head) means nothing.
//             (2) what we sent there counts against a node until the next view.
// See:        rpc/schema/head.capnp
#ifndef MANTA_RUNTIME_NODE_PEER_TABLE_H_
#define MANTA_RUNTIME_NODE_PEER_TABLE_H_

#include <map>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/resources.h"
#include "rpc/message.h"

namespace manta::runtime::node {

class PeerTable {
 public:
  PeerTable() = default;
  PeerTable(const PeerTable&) = delete;
  PeerTable& operator=(const PeerTable&) = delete;

  void SetSelf(NodeId self);
  // The nodes that it shows for the first time. None for an older view than the last.
  std::vector<NodeId> Update(const rpc::ClusterView& view);
  // False: it was known.
  bool Died(NodeId node);
  // `demand` was sent to `node`, which will report it later.
  void Spend(NodeId node, const base::ResourceSet& demand);

  bool IsAlive(NodeId node) const { return alive_.contains(node); }
  const std::set<NodeId>& alive() const { return alive_; }  // this one included
  NodeId newest() const { return newest_; }                 // the highest number ever heard of
  std::vector<NodeId> others() const;                       // alive, without this one
  // What is known of the others that live.
  std::vector<rpc::NodeInfo> infos() const;

 private:
  NodeId self_ = 0;
  uint64_t version_ = 0;
  std::set<NodeId> alive_;
  std::set<NodeId> dead_;
  NodeId newest_ = 0;
  std::map<NodeId, rpc::NodeInfo> infos_;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_PEER_TABLE_H_

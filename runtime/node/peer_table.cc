#include "runtime/node/peer_table.h"

#include <algorithm>

namespace manta::runtime::node {

void PeerTable::SetSelf(NodeId self) {
  self_ = self;
  alive_.insert(self);
  newest_ = std::max(newest_, self);
}

std::vector<NodeId> PeerTable::Update(const rpc::ClusterView& view) {
  std::vector<NodeId> fresh;
  if (view.version <= version_) return fresh;
  version_ = view.version;
  for (const rpc::NodeInfo& info : view.nodes) {
    newest_ = std::max(newest_, info.node);
    if (dead_.contains(info.node)) continue;
    if (alive_.insert(info.node).second) fresh.push_back(info.node);
    if (info.node != self_) infos_[info.node] = info;
  }
  return fresh;
}

bool PeerTable::Died(NodeId node) {
  newest_ = std::max(newest_, node);
  alive_.erase(node);
  infos_.erase(node);
  return dead_.insert(node).second;
}

void PeerTable::Spend(NodeId node, const base::ResourceSet& demand) {
  const auto it = infos_.find(node);
  if (it != infos_.end()) it->second.available.SubtractAllowNegative(demand);
}

std::vector<NodeId> PeerTable::others() const {
  std::vector<NodeId> nodes;
  for (const NodeId node : alive_) {
    if (node != self_) nodes.push_back(node);
  }
  return nodes;
}

std::vector<rpc::NodeInfo> PeerTable::infos() const {
  std::vector<rpc::NodeInfo> infos;
  for (const auto& [node, info] : infos_) infos.push_back(info);
  return infos;
}

}  // namespace manta::runtime::node

#include "runtime/worker/peer_table.h"

#include <memory>

namespace manta::runtime::worker {

PeerTable::~PeerTable() {
  for (auto& [node, peers] : nodes_) {
    peers.ForEach([](Peer* peer) { delete peer; });
  }
}

Peer* PeerTable::Find(ProcessId id) const {
  const auto node = nodes_.find(id.node);
  return node == nodes_.end() ? nullptr : node->second.Find(id.number);
}

Peer* PeerTable::FindOrAdd(ProcessId id) {
  NumberTable<Peer>& peers = nodes_[id.node];
  if (Peer* peer = peers.Find(id.number)) return peer;
  auto peer = std::make_unique<Peer>();
  peer->id = id;
  if (id == out_->self()) peer->state = Peer::State::kConnected;
  peers.Insert(id.number, peer.get());
  return peer.release();
}

Peer* PeerTable::HearOther(ProcessId from) {
  if (IsDead(from)) return nullptr;
  last_ = FindOrAdd(from);
  // While a channel is being made, PeerConnected says when it is good for calls.
  if (last_->state != Peer::State::kConnecting) last_->state = Peer::State::kConnected;
  return last_;
}

bool PeerTable::Connect(Peer* peer, const std::string& address) {
  if (peer->connected()) return true;
  if (peer->state == Peer::State::kConnecting) return false;
  peer->state = Peer::State::kConnecting;
  peer->address = address;
  auto& connect = out_->Act<runtime::Connect>();
  connect.peer = peer->id;
  connect.address = address;
  return false;
}

void PeerTable::MarkDead(ProcessId id) {
  if (!dead_.insert(id).second) return;
  dead_order_.push_back(id);
  if (dead_order_.size() > kDeadMax) {
    dead_.erase(dead_order_.front());
    dead_order_.pop_front();
  }
}

void PeerTable::Remove(Peer* peer) {
  if (peer->state != Peer::State::kNone) out_->Act<Disconnect>().peer = peer->id;
  if (last_ == peer) last_ = nullptr;
  const auto node = nodes_.find(peer->id.node);
  node->second.Erase(peer->id.number);
  if (node->second.empty()) nodes_.erase(node);
  delete peer;
}

std::vector<Peer*> PeerTable::On(NodeId node) const {
  std::vector<Peer*> peers;
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) found->second.ForEach([&](Peer* peer) { peers.push_back(peer); });
  return peers;
}

}  // namespace manta::runtime::worker

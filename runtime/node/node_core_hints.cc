// Requests that say on which node they want to be granted (rpc::SchedulingHint): before a pass looks at the others they
// are sent there, settled to wait here, or refused. What is left has no room on any node that it may go to.
#include <algorithm>
#include <utility>

#include "runtime/node/node_core_impl.h"
#include "runtime/scheduling.h"

namespace manta::runtime {

using node::LeaseQueue;

void NodeCore::Impl::HeedHints() {
  for (const LeaseQueue::Key& key : queue_.Hinted()) {
    const rpc::LeaseRequest request = *queue_.Find(key);
    if (request.hint.affinity != 0) {
      HeedAffinity(key, request);
    } else {
      HeedSpread(key, request);
    }
  }
}

void NodeCore::Impl::HeedAffinity(const LeaseQueue::Key& key, const rpc::LeaseRequest& request) {
  const NodeId wanted = request.hint.affinity;
  const bool hard = request.hint.affinity_hard;
  if (IsMe(wanted)) return queue_.Settle(key, hard);
  const std::vector<rpc::NodeInfo> infos = peers_.infos();
  const auto info = std::find_if(infos.begin(), infos.end(), [&](const auto& other) { return other.node == wanted; });
  if (!hard) {
    if (info == infos.end() || !info->available.Fits(request.shape)) return queue_.Settle(key, false);
    return Forward(key, wanted);
  }
  if (IsImpossible(request.hint)) {
    queue_.Remove(key);
    return RefuseRequest(request, rpc::ErrorCode::kNodeDied, WhyNever(wanted, wanted <= peers_.newest()));
  }
  if (info != infos.end() && info->total.Fits(request.shape)) Forward(key, wanted);  // it waits there for its turn
}

// The least used node, this one among the others, by what was placed there and what waits here.
void NodeCore::Impl::HeedSpread(const LeaseQueue::Key& key, const rpc::LeaseRequest& request) {
  std::vector<rpc::NodeInfo> infos = peers_.infos();
  if (!leases_.overdrawn()) {
    infos.insert(infos.begin(), OwnInfo());
    infos.front().available.SubtractAllowNegative(queue_.WantedHere(options_.task_workers_max));
  }
  const SchedulingDemand demand{.resources = request.shape, .strategy = SchedulingDemand::Strategy::kSpread};
  const NodeId node = PickNode(demand, infos, rng_.Next());
  if (node == 0) return;
  if (IsMe(node)) return queue_.Settle(key, true);
  Forward(key, node);
}

// A node to which a request was sent will not grant it. One that may go nowhere else ends with that word.
void NodeCore::Impl::RefusedThere(const rpc::LeaseGrant& refusal) {
  const LeaseQueue::Key key{refusal.caller, refusal.request};
  const rpc::LeaseRequest* request = queue_.Find(key);
  if (request == nullptr) return;
  serve_leases_ = true;
  if (request->hint.affinity_hard) {
    queue_.Remove(key);
    return SendToCaller(refusal.caller, refusal);
  }
  const bool had_affinity = request->hint.affinity != 0;
  queue_.TakeBack(key);
  if (had_affinity) queue_.Settle(key, false);
}

// Only one node would do, and that one does not live.
bool NodeCore::Impl::IsImpossible(const rpc::SchedulingHint& hint) const {
  return hint.affinity_hard && hint.affinity != 0 && !peers_.IsAlive(hint.affinity);
}

std::string NodeCore::Impl::WhyElsewhere(const LeaseQueue::Class& of) const {
  if (of.hint.affinity == 0) return WhyWaiting(of.shape, AllInfos());
  std::vector<rpc::NodeInfo> infos = peers_.infos();
  std::erase_if(infos, [&](const rpc::NodeInfo& info) { return info.node != of.hint.affinity; });
  return "NodeAffinity allows one node; " + WhyWaiting(of.shape, infos);
}

}  // namespace manta::runtime

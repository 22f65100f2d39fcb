#include "runtime/failure_detector.h"

#include "base/rule.h"

namespace manta::runtime {

void FailureDetector::Watch(NodeId node, Time now) {
  if (peers_.empty()) next_advance_ = now + period();
  peers_[node] = Peer{.last_heard = now};
}

void FailureDetector::Forget(NodeId node) { peers_.erase(node); }

bool FailureDetector::Heard(NodeId node, Time now) {
  const auto it = peers_.find(node);
  if (it == peers_.end()) return false;
  const bool was_suspected = it->second.suspected;
  it->second = Peer{.last_heard = now};
  return was_suspected;
}

FailureDetector::Verdict FailureDetector::Advance(Time now) {
  Verdict verdict;
  if (peers_.empty() || now < next_advance_) return verdict;
  const bool late = now - next_advance_ > options_.late_after;
  next_advance_ = now + period();
  if (MANTA_RULE("detector.late_tick") && late) {
    for (auto& [node, peer] : peers_) peer.last_heard = now;
    return verdict;
  }
  for (auto it = peers_.begin(); it != peers_.end();) {
    auto& [node, peer] = *it;
    const Duration silence = now - peer.last_heard;
    if (silence >= options_.dead_after) {
      verdict.dead.push_back(node);
      it = peers_.erase(it);
      continue;
    }
    if (silence >= options_.suspect_after && !peer.suspected) {
      peer.suspected = true;
      verdict.suspected.push_back(node);
    }
    ++it;
  }
  return verdict;
}

bool FailureDetector::suspected(NodeId node) const {
  const auto it = peers_.find(node);
  return it != peers_.end() && it->second.suspected;
}

}  // namespace manta::runtime

#include "runtime/node/actor_routes.h"

#include <iterator>
#include <utility>

namespace manta::runtime::node {

void ActorRoutes::CreatedAtHead(const rpc::ActorCreate& message) {
  const auto [it, fresh] = at_head_.try_emplace(message.spec.actor);
  if (!fresh) return;
  it->second = {message.spec.job, !message.spec.name.empty(), false, false, {}, message};
}

bool ActorRoutes::IsNamed(ActorId actor) const {
  const auto it = at_head_.find(actor);
  return it != at_head_.end() && it->second.named;
}

void ActorRoutes::Unheld(ActorId actor) {
  const auto it = at_head_.find(actor);
  if (it != at_head_.end()) it->second.unheld = true;
}

std::vector<rpc::ActorWatch> ActorRoutes::TakeEarly(ActorId actor) {
  std::vector<rpc::ActorWatch> watches;
  const auto it = early_.find(actor);
  if (it == early_.end()) return watches;
  for (const ProcessId watcher : it->second) watches.push_back({actor, watcher});
  early_.erase(it);
  return watches;
}

std::vector<rpc::ActorWatch> ActorRoutes::TakeEarlyOf(ProcessId creator) {
  std::vector<rpc::ActorWatch> watches;
  for (auto it = early_.lower_bound({creator, 0}); it != early_.end() && it->first.creator == creator;) {
    for (const ProcessId watcher : it->second) watches.push_back({it->first, watcher});
    it = early_.erase(it);
  }
  never_.erase(never_.lower_bound({creator, 0}), never_.upper_bound({creator, UINT64_MAX}));
  return watches;
}

void ActorRoutes::ForgetJob(JobId job) {
  std::erase_if(at_head_, [job](const auto& item) { return item.second.job == job; });
}

void ActorRoutes::Watched(const rpc::ActorWatch& watch) { watches_[watch.actor].watchers.insert(watch.watcher); }

void ActorRoutes::Answered(ActorId actor) {
  const auto created = at_head_.find(actor);
  if (created == at_head_.end() || created->second.answered) return;
  created->second.answered = true;
  created->second.message = {};
}

void ActorRoutes::Killed(const rpc::ActorKill& kill) {
  if (!kill.no_restart) return;  // twice, it would end two lives
  kills_[kill.actor] = kill;
  if (kills_.size() > kKillsMax) kills_.erase(kills_.begin());
}

std::vector<rpc::ActorKill> ActorRoutes::KillsOf(NodeId node) const {
  std::vector<rpc::ActorKill> kills;
  for (auto it = kills_.lower_bound(ActorId{{node, 0}, 0}); it != kills_.end(); ++it) {
    if (node != 0 && it->first.creator.node != node) break;
    kills.push_back(it->second);
  }
  return kills;
}

void ActorRoutes::Updated(const rpc::ActorUpdate& update, bool from_head) {
  if (update.state == rpc::ActorState::kDead) kills_.erase(update.actor);
  const auto it = watches_.find(update.actor);
  if (it == watches_.end()) {
    // The creator watches without asking.
    if (!from_head || update.state == rpc::ActorState::kDead) return;
    Watch& watch = watches_[update.actor];
    watch.watchers.insert(update.watcher);
    watch.answered.insert(update.watcher);
    watch.at_head = true;
    return;
  }
  it->second.at_head = it->second.at_head || from_head;
  it->second.watchers.insert(update.watcher);
  it->second.answered.insert(update.watcher);
  if (update.state != rpc::ActorState::kDead) return;
  it->second.watchers.erase(update.watcher);
  if (it->second.watchers.empty()) watches_.erase(it);
}

void ActorRoutes::ForgetWatcher(ProcessId watcher) {
  for (auto& [actor, at_head] : at_head_) {
    std::erase_if(at_head.passed_on, [watcher](ProcessId process) {
      return process == watcher || (watcher.is_daemon() && process.node == watcher.node);
    });
  }
  for (auto it = watches_.begin(); it != watches_.end();) {
    it->second.watchers.erase(watcher);
    it->second.answered.erase(watcher);
    it = it->second.watchers.empty() ? watches_.erase(it) : std::next(it);
  }
  for (auto it = early_.begin(); it != early_.end();) {
    it->second.erase(watcher);
    it = it->second.empty() ? early_.erase(it) : std::next(it);
  }
  std::erase_if(lookups_, [watcher](const auto& item) { return item.first.first == watcher; });
}

std::vector<rpc::ActorWatch> ActorRoutes::WatchesOf(NodeId node) const {
  std::vector<rpc::ActorWatch> watches;
  for (auto it = watches_.lower_bound(ActorId{{node, 0}, 0}); it != watches_.end() && it->first.creator.node == node;
       ++it) {
    for (const ProcessId watcher : it->second.watchers) watches.push_back({it->first, watcher});
  }
  return watches;
}

std::vector<rpc::Message> ActorRoutes::to_head() const {
  std::vector<rpc::Message> messages;
  for (const auto& [actor, at_head] : at_head_) {
    if (!at_head.answered) messages.push_back(at_head.message);
    if (at_head.unheld) messages.push_back(rpc::ActorKill{.actor = actor, .no_restart = true, .graceful = true});
    for (const ProcessId watcher : at_head.passed_on) messages.push_back(rpc::ActorWatch{actor, watcher});
  }
  for (const auto& [actor, watch] : watches_) {
    if (!watch.at_head) continue;
    for (const ProcessId watcher : watch.watchers) messages.push_back(rpc::ActorWatch{actor, watcher});
  }
  for (const auto& [key, lookup] : lookups_) messages.push_back(lookup);
  return messages;
}

std::vector<rpc::ActorWatch> ActorRoutes::unanswered() const {
  std::vector<rpc::ActorWatch> watches;
  for (const auto& [actor, watch] : watches_) {
    if (watch.at_head) continue;
    for (const ProcessId watcher : watch.watchers) {
      if (!watch.answered.contains(watcher)) watches.push_back({actor, watcher});
    }
  }
  return watches;
}

}  // namespace manta::runtime::node

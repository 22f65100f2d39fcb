#include "runtime/node/death_table.h"

#include <algorithm>
#include <utility>

#include "base/rule.h"

namespace manta::runtime::node {
namespace {

bool Has(const std::map<NodeId, NumberSet>& numbers, ProcessId process) {
  const auto it = numbers.find(process.node);
  return it != numbers.end() && it->second.Contains(process.number);
}

}  // namespace

void DeathTable::SetNodes(std::set<NodeId> alive, NodeId newest, Output* out) {
  alive_ = std::move(alive);
  newest_ = std::max(newest_, newest);
  for (auto& [dead, death] : open_) Count(&death);
  Settle(out);
}

void DeathTable::BeginAmong(const std::set<NodeId>& alive, Output* out) {
  if (!MANTA_RULE("node.earlier_deaths") || std::exchange(began_, true)) return;
  for (NodeId node = 1; node < self_; ++node) {
    if (alive.contains(node) || !dead_nodes_.Insert(node)) continue;
    drained_nodes_.Insert(node);
    earlier_nodes_.Insert(node);
    if (open_.contains(DaemonOf(node))) AnswerForEarlier(node, out);
    std::erase_if(open_, [node](const auto& entry) { return entry.first.node == node; });
  }
}

bool DeathTable::IsDead(ProcessId process) const {
  return dead_nodes_.Contains(process.node) || (process.is_user_process() && Has(dead_, process));
}

bool DeathTable::IsDrained(ProcessId process) const {
  return drained_nodes_.Contains(process.node) || (process.is_user_process() && Has(drained_, process));
}

bool DeathTable::Report(const rpc::ProcessDied& message, std::set<ProcessId> local, Output* out) {
  const ProcessId dead = message.process;
  if (IsDead(dead)) return false;
  if (dead.is_daemon()) {
    dead_nodes_.Insert(dead.node);
    TakeInProcessesOf(dead.node);
  } else {
    dead_[dead.node].Insert(dead.number);
    if (dead.node == self_) Remember(message);
  }
  Death& death = open_[dead];
  death.since = now_;
  death.reported = true;
  death.newest_node = message.newest_node;
  death.local = std::move(local);
  Count(&death);
  CloseHere(dead, &death, out);
  Settle(out);
  return true;
}

void DeathTable::AnsweredHere(ProcessId dead, ProcessId by, Output* out) {
  const auto it = open_.find(dead);
  if (it == open_.end() || it->second.local.erase(by) == 0) return;
  CloseHere(dead, &it->second, out);
  Settle(out);
}

void DeathTable::LocalGone(ProcessId process, Output* out) {
  for (auto& [dead, death] : open_) {
    if (death.local.erase(process) != 0) CloseHere(dead, &death, out);
  }
  Settle(out);
}

void DeathTable::Answered(ProcessId dead, NodeId by, Output* out) {
  if (dead.is_daemon() && earlier_nodes_.Contains(dead.node)) return AnswerForEarlier(dead.node, out);
  if (IsDrained(dead) || dead_nodes_.Contains(by)) return;
  if (dead.is_user_process() && dead_nodes_.Contains(dead.node)) return;  // the node's drain takes it in
  const auto [it, fresh] = open_.try_emplace(dead);
  Death& death = it->second;
  if (fresh) death.since = now_;
  death.answered.insert(by);
  death.nodes.erase(by);
  Settle(out);
}

std::vector<rpc::Message> DeathTable::Recent() const {
  std::vector<rpc::Message> messages;
  for (const Past& past : past_) messages.push_back(past.message);
  return messages;
}

void DeathTable::Advance(Time now) {
  now_ = now;
  while (!past_.empty() && past_.front().when + kRecent < now) past_.pop_front();
  std::erase_if(open_,
                [now](const auto& entry) { return !entry.second.reported && entry.second.since + kRecent < now; });
}

// All processes here have answered.
void DeathTable::CloseHere(ProcessId dead, Death* death, Output* out) {
  if (!death->reported || death->drained_here) return;
  if (MANTA_RULE("node.drain_before_death_report") && !death->local.empty()) return;
  death->drained_here = true;
  death->answered.insert(self_);
  death->nodes.erase(self_);
  out->drained_here.push_back(dead);
  Remember(rpc::DeathDrained{dead, self_});
}

// Which nodes must answer: those alive, once we know of every node that the reporter knew of.
void DeathTable::Count(Death* death) {
  if (!death->reported || death->counted || newest_ < death->newest_node) return;
  death->counted = true;
  for (const NodeId node : alive_) {
    if (!death->answered.contains(node) && !dead_nodes_.Contains(node)) death->nodes.insert(node);
  }
}

void DeathTable::Settle(Output* out) {
  if (!MANTA_RULE("home.death_waits_for_drain")) {
    for (auto& [dead, death] : open_) {
      if (death.reported) Apply(dead, &death, out);
    }
  }
  for (const auto& [dead, death] : open_) {
    if (death.reported && dead.is_daemon() && !death.done()) return;
  }
  for (auto it = open_.begin(); it != open_.end();) {
    if (it->second.done()) {
      Apply(it->first, &it->second, out);
      it = open_.erase(it);
    } else {
      ++it;
    }
  }
}

void DeathTable::Apply(ProcessId dead, Death* death, Output* out) {
  if (std::exchange(death->applied, true)) return;
  if (dead.is_daemon()) {
    drained_nodes_.Insert(dead.node);
    dead_.erase(dead.node);
    drained_.erase(dead.node);
  } else {
    drained_[dead.node].Insert(dead.number);
  }
  out->drained.push_back(dead);
}

// A node died: the deaths of its processes are part of its own from now on, and it answers nothing any more.
void DeathTable::TakeInProcessesOf(NodeId node) {
  std::erase_if(open_, [node](const auto& entry) { return entry.first.node == node && entry.first.is_user_process(); });
  alive_.erase(node);
  newest_ = std::max(newest_, node);
  for (auto& [dead, death] : open_) death.nodes.erase(node);
}

// Who says that a node is drained may count on this node's answer, though it is younger than that death.
void DeathTable::AnswerForEarlier(NodeId node, Output* out) {
  if (earlier_nodes_answered_.Insert(node)) out->drained_here.push_back(DaemonOf(node));
}

void DeathTable::Remember(rpc::Message message) { past_.push_back({now_, std::move(message)}); }

}  // namespace manta::runtime::node

#include "runtime/node/lease_queue.h"

#include <algorithm>
#include <utility>

namespace manta::runtime::node {

bool LeaseQueue::Add(const rpc::LeaseRequest& asked) {
  const Key key{asked.caller, asked.request};
  const auto [it, fresh] = requests_.try_emplace(key);
  if (!fresh) return false;
  it->second = {asked, {asked.depth, ++last_arrival_}, 0};
  Enqueue(key, it->second);
  return true;
}

const rpc::LeaseRequest* LeaseQueue::Find(const Key& key) const {
  const auto it = requests_.find(key);
  return it == requests_.end() ? nullptr : &it->second.asked;
}

std::optional<NodeId> LeaseQueue::Remove(const Key& key) {
  const auto it = requests_.find(key);
  if (it == requests_.end()) return std::nullopt;
  const NodeId sent_to = it->second.sent_to;
  if (sent_to == 0) Dequeue(it->second);
  requests_.erase(it);
  return sent_to;
}

void LeaseQueue::Sent(const Key& key, NodeId to) {
  const auto it = requests_.find(key);
  if (it == requests_.end() || it->second.sent_to != 0) return;
  Dequeue(it->second);
  it->second.sent_to = to;
}

void LeaseQueue::Settle(const Key& key, bool here) {
  const auto it = requests_.find(key);
  if (it == requests_.end() || it->second.sent_to != 0) return;
  Dequeue(it->second);
  it->second.asked.hint = {};
  it->second.asked.forwarded |= here;
  Enqueue(key, it->second);
}

NodeId LeaseQueue::SentTo(const Key& key) const {
  const auto it = requests_.find(key);
  return it == requests_.end() ? 0 : it->second.sent_to;
}

void LeaseQueue::TakeBack(NodeId node) {
  for (auto& [key, request] : requests_) {
    if (request.sent_to != node) continue;
    request.sent_to = 0;
    Enqueue(key, request);
  }
}

void LeaseQueue::TakeBack(const Key& key) {
  const auto it = requests_.find(key);
  if (it == requests_.end() || it->second.sent_to == 0) return;
  it->second.sent_to = 0;
  Enqueue(key, it->second);
}

std::vector<LeaseQueue::Key> LeaseQueue::OfCaller(ProcessId caller) const {
  std::vector<Key> keys;
  for (auto it = requests_.lower_bound({caller, 0}); it != requests_.end() && it->first.first == caller; ++it) {
    keys.push_back(it->first);
  }
  return keys;
}

std::vector<LeaseQueue::Key> LeaseQueue::OfCallersOn(NodeId node) const {
  std::vector<Key> keys;
  for (auto it = requests_.lower_bound({ProcessId{node, 0}, 0}); it != requests_.end() && it->first.first.node == node;
       ++it) {
    keys.push_back(it->first);
  }
  return keys;
}

std::vector<LeaseQueue::Key> LeaseQueue::OfJob(JobId job) const {
  std::vector<Key> keys;
  for (const auto& [key, request] : requests_) {
    if (request.asked.job == job) keys.push_back(key);
  }
  return keys;
}

std::vector<LeaseQueue::Key> LeaseQueue::Hinted() const {
  std::vector<Key> keys;
  for (const auto& [key, of] : classes_) {
    if (of.hint == rpc::SchedulingHint()) continue;
    for (const auto& [rank, request] : of.waiting) keys.push_back(request);
  }
  return keys;
}

base::ResourceSet LeaseQueue::WantedHere(size_t count_max) const {
  base::ResourceSet wanted;
  for (const auto& [key, of] : classes_) {
    if (of.hint != rpc::SchedulingHint()) continue;
    for (size_t i = 0; i < std::min(of.waiting.size(), count_max); ++i) wanted.Add(of.shape);
  }
  return wanted;
}

LeaseQueue::Class* LeaseQueue::Best(const std::set<const Class*>& passed_over) {  // NOLINT(layering): membership only
  Class* best = nullptr;
  for (auto& [key, of] : classes_) {
    if (passed_over.contains(&of)) continue;
    if (best == nullptr || of.waiting.begin()->first < best->waiting.begin()->first) best = &of;
  }
  return best;
}

std::vector<LeaseQueue::Key> LeaseQueue::SetReason(Class* of, const std::string& reason) {
  if (of->reason != reason) {
    of->reason = reason;
    of->untold.clear();
    for (const auto& [rank, key] : of->waiting) of->untold.push_back(key);
  }
  return std::exchange(of->untold, {});
}

void LeaseQueue::Enqueue(const Key& key, const Request& request) {
  Class& of = classes_[KeyOf(request.asked)];
  of.job = request.asked.job;
  of.shape = request.asked.shape;
  of.hint = request.asked.hint;
  of.waiting[request.rank] = key;
  of.untold.push_back(key);
}

void LeaseQueue::Dequeue(const Request& request) {
  const auto it = classes_.find(KeyOf(request.asked));
  if (it == classes_.end()) return;
  it->second.waiting.erase(request.rank);
  std::erase(it->second.untold, Key{request.asked.caller, request.asked.request});
  if (it->second.waiting.empty()) classes_.erase(it);
}

}  // namespace manta::runtime::node

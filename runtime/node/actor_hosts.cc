#include "runtime/node/actor_hosts.h"

#include <algorithm>

#include "base/check.h"

namespace manta::runtime::node {

ActorHosts::Host* ActorHosts::Find(ActorId actor) {
  const auto it = hosts_.find(actor);
  return it == hosts_.end() ? nullptr : &it->second;
}

ActorHosts::Host* ActorHosts::OfWorker(ProcessId worker) {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? nullptr : Find(it->second);
}

ActorHosts::Host& ActorHosts::Add(const rpc::ActorStart& start, Time give_up_at) {
  const auto [it, fresh] = hosts_.try_emplace(start.spec.actor);
  MANTA_CHECK(fresh);
  it->second.spec = start.spec;
  it->second.incarnation = start.incarnation;
  it->second.give_up_at = give_up_at;
  waiting_.push_back(start.spec.actor);
  return it->second;
}

void ActorHosts::SetPlaced(Host* host, LeaseId lease) {
  std::erase(waiting_, host->spec.actor);
  placed_.push_back(host->spec.actor);
  host->state = State::kPlaced;
  host->lease = lease;
}

void ActorHosts::SetWorker(Host* host, ProcessId worker) {
  std::erase(placed_, host->spec.actor);
  host->state = State::kConstructing;
  host->worker = worker;
  by_worker_[worker] = host->spec.actor;
}

void ActorHosts::SetAlive(Host* host, const rpc::ActorStarted& started) {
  host->state = State::kAlive;
  host->started = started;
  host->spec.args.clear();
}

void ActorHosts::Remove(ActorId actor) {
  const auto it = hosts_.find(actor);
  if (it == hosts_.end()) return;
  std::erase(waiting_, actor);
  std::erase(placed_, actor);
  if (it->second.worker.is_user_process()) by_worker_.erase(it->second.worker);
  hosts_.erase(it);
}

void ActorHosts::NoteEnd(const rpc::ActorEnded& end) {
  ends_.push_back(end);
  if (ends_.size() > kEndsMax) ends_.pop_front();
}

bool ActorHosts::HasEnded(ActorId actor, uint64_t incarnation) const {
  return std::any_of(ends_.begin(), ends_.end(),
                     [&](const rpc::ActorEnded& end) { return end.actor == actor && end.incarnation >= incarnation; });
}

std::vector<ActorId> ActorHosts::OfJob(JobId job) const {
  std::vector<ActorId> actors;
  for (const auto& [actor, host] : hosts_) {
    if (host.spec.job == job) actors.push_back(actor);
  }
  return actors;
}

std::vector<ActorId> ActorHosts::CreatedOn(NodeId node) const {
  std::vector<ActorId> actors;
  for (auto it = hosts_.lower_bound(ActorId{{node, 0}, 0}); it != hosts_.end() && it->first.creator.node == node;
       ++it) {
    actors.push_back(it->first);
  }
  return actors;
}

std::vector<rpc::ActorStarted> ActorHosts::registered_alive() const {
  std::vector<rpc::ActorStarted> alive;
  for (const auto& [actor, host] : hosts_) {
    if (host.state == State::kAlive && host.spec.registered()) alive.push_back(host.started);
  }
  return alive;
}

Time ActorHosts::next_deadline() const {
  Time next = kInfiniteFuture;
  for (const ActorId& actor : waiting_) next = std::min(next, hosts_.at(actor).give_up_at);
  return next;
}

}  // namespace manta::runtime::node

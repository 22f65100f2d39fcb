// The daemon of ProcessWorld: leases, actors, deaths, and the home of docs/objects.md on a single node.
#include <algorithm>

#include "runtime/worker/process_world.h"

namespace manta::runtime {
namespace {

using rpc::ActorState;
using rpc::ErrorCode;

constexpr ProcessId kDaemon = DaemonOf(1);
constexpr uint64_t kTaskWorkersMax = 3;

rpc::ErrorInfo Error(ErrorCode code, std::string message) {
  rpc::ErrorInfo error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

}  // namespace

void ProcessWorld::ToProcess(ProcessId to, rpc::Message message) {
  if (Proc* proc = Find(to)) proc->inbox[kDaemon].push_back(std::move(message));
}

void ProcessWorld::OnDaemon(ProcessId from, rpc::Message message) {
  if (OnHome(from, message)) return;
  if (auto* request = std::get_if<rpc::LeaseRequest>(&message)) {
    requests_.push_back(*request);
  } else if (const auto* cancel = std::get_if<rpc::LeaseCancel>(&message)) {
    std::erase_if(requests_, [&](const rpc::LeaseRequest& request) {
      return request.caller == cancel->caller && request.request == cancel->request;
    });
  } else if (const auto* back = std::get_if<rpc::LeaseReturn>(&message)) {
    const auto lease = leases_.find(back->lease);
    if (lease == leases_.end()) return;
    if (Proc* worker = Find(lease->second.first)) worker->leased = false;
    leases_.erase(lease);
  } else if (auto* create = std::get_if<rpc::ActorCreate>(&message)) {
    Actor& actor = actors_[create->spec.actor];
    actor.spec = create->spec;
    actor.restarts_left = create->spec.max_restarts;
    actor.created = true;
    actor.watchers.insert(from);
    Entry& handle = Open(create->spec.actor.handle());
    if (!handle.borrows.contains(from)) handle.holders[from] = handle.borrows[from] = 0;
    handle.known = true;
    unplaced_.push_back(create->spec.actor);
    Changed(&actor, ActorState::kPending);
    Check(create->spec.actor.handle());
  } else if (const auto* watch = std::get_if<rpc::ActorWatch>(&message)) {
    Actor& actor = actors_[watch->actor];
    actor.spec.actor = watch->actor;
    actor.watchers.insert(watch->watcher);
    if (!actor.created && dead_.contains(watch->actor.creator)) actor.state = ActorState::kDead;
    if (actor.created || actor.state == ActorState::kDead) Tell(actor, watch->watcher);
  } else if (const auto* kill = std::get_if<rpc::ActorKill>(&message)) {
    Actor& actor = actors_[kill->actor];
    if (!actor.created || actor.state == ActorState::kDead) return;
    if (kill->no_restart) actor.restarts_left = 0;
    if (actor.worker.is_user_process()) {
      doomed_.push_back(actor.worker);
    } else if (kill->no_restart) {
      EndIncarnation(kill->actor, true);
    }
  } else if (const auto* started = std::get_if<rpc::ActorStarted>(&message)) {
    Actor& actor = actors_[started->actor];
    if (actor.incarnation != started->incarnation || actor.state == ActorState::kDead) return;
    actor.kept = started->kept;
    if (started->error) {
      doomed_.push_back(from);
      EndIncarnation(started->actor, true);
    } else {
      Changed(&actor, ActorState::kAlive);
      if (actor.ending) ToProcess(actor.worker, rpc::ActorKill{.actor = started->actor, .graceful = true});
    }
  } else if (const auto* ended = std::get_if<rpc::ActorEnded>(&message)) {
    EndIncarnation(ended->actor, ended->intended);
  } else if (const auto* drained = std::get_if<rpc::DeathDrained>(&message)) {
    undrained_[drained->process].erase(from);
    if (undrained_[drained->process].empty()) ForgetHolds(drained->process);
  }
}

// ---------------------------------------------------------------- leases, actors

bool ProcessWorld::GrantOne() {
  if (requests_.empty()) return false;
  Proc* worker = nullptr;
  uint64_t workers = 0;
  for (auto& [id, proc] : procs_) {
    if (id.number == 1 || proc->hosts || proc->exiting) continue;
    ++workers;
    if (!proc->leased) worker = proc.get();
  }
  // A worker may wait for what its own tasks ask for.
  if (worker == nullptr && workers >= kTaskWorkersMax + (settling_ ? 10 : 0)) return false;
  if (worker == nullptr) worker = Add();
  const rpc::LeaseRequest request = requests_.front();
  requests_.pop_front();
  if (worker->id == request.caller) {
    requests_.push_back(request);
    return false;
  }
  worker->leased = true;
  const LeaseId lease{1, ++last_lease_};
  leases_[lease] = {worker->id, request.caller};
  ToProcess(worker->id, rpc::LeaseFence{lease});
  rpc::LeaseGrant grant;
  grant.caller = request.caller;
  grant.request = request.request;
  grant.lease = lease;
  grant.worker = worker->id;
  ToProcess(request.caller, std::move(grant));
  return true;
}

bool ProcessWorld::PlaceOne() {
  if (unplaced_.empty()) return false;
  const ActorId id = unplaced_.front();
  unplaced_.pop_front();
  Actor& actor = actors_[id];
  if (actor.state == ActorState::kDead || actor.worker.is_user_process()) return true;
  if (!actor.spec.placement.empty()) return false;  // fits nowhere
  Proc* worker = Add();
  worker->hosts = id;
  actor.worker = worker->id;
  rpc::ActorConstruct construct;
  construct.spec = actor.spec;
  construct.incarnation = actor.incarnation;
  ToProcess(worker->id, std::move(construct));
  return true;
}

void ProcessWorld::Tell(const Actor& actor, ProcessId watcher) {
  rpc::ActorUpdate update;
  update.actor = actor.spec.actor;
  update.watcher = watcher;
  update.version = actor.version;
  update.state = actor.state;
  update.incarnation = actor.incarnation;
  if (actor.state == ActorState::kAlive) update.worker = actor.worker;
  if (actor.state == ActorState::kDead) update.error = Error(ErrorCode::kActorDied, "dead");
  if (watcher == actor.spec.actor.creator) update.kept = actor.kept;
  ToProcess(watcher, std::move(update));
}

void ProcessWorld::Changed(Actor* actor, ActorState state) {
  actor->state = state;
  ++actor->version;
  for (const ProcessId watcher : actor->watchers) Tell(*actor, watcher);
}

void ProcessWorld::EndIncarnation(ActorId id, bool intended) {
  Actor& actor = actors_[id];
  if (actor.state == ActorState::kDead) return;
  actor.worker = {};
  if (intended || actor.ending || actor.restarts_left == 0) return Changed(&actor, ActorState::kDead);
  --actor.restarts_left;
  ++actor.incarnation;
  Changed(&actor, actor.state == ActorState::kAlive ? ActorState::kRestarting : actor.state);
  unplaced_.push_back(id);
}

void ProcessWorld::ForgetDead(ProcessId dead) {
  dead_.insert(dead);
  std::set<ProcessId>& undrained = undrained_[dead];
  for (auto& [id, proc] : procs_) undrained.insert(id);
  for (auto& [other, waiting] : undrained_) {
    if (waiting.erase(dead) != 0 && waiting.empty()) ForgetHolds(other);
  }
  for (auto& [id, proc] : procs_) ToProcess(id, rpc::ProcessDied{.process = dead, .reason = "killed"});
  std::erase_if(requests_, [&](const rpc::LeaseRequest& request) { return request.caller == dead; });
  for (auto it = leases_.begin(); it != leases_.end();) {
    const auto [worker, caller] = it->second;
    if (caller == dead) doomed_.push_back(worker);
    it = worker == dead || caller == dead ? leases_.erase(it) : std::next(it);
  }
  for (auto& [id, actor] : actors_) {
    actor.watchers.erase(dead);
    if (actor.worker == dead) EndIncarnation(id, false);
    if (id.creator != dead || actor.state == ActorState::kDead) continue;
    if (actor.worker.is_user_process()) doomed_.push_back(actor.worker);
    EndIncarnation(id, true);
  }
  std::vector<ObjectId> owned;
  for (auto& [id, entry] : home_) {
    if (id.owner == dead && !entry.known) owned.push_back(id);
  }
  for (const ObjectId& id : owned) {
    Entry& entry = Open(id);
    entry.known = true;
    entry.error = Error(ErrorCode::kOwnerDied, "its owner died");
    for (const ProcessId asker : std::exchange(entry.waiters, {})) Answer(id, asker);
    Check(id);
  }
}

// ---------------------------------------------------------------- the home

bool ProcessWorld::OnHome(ProcessId from, rpc::Message& message) {
  if (const auto* publish = std::get_if<rpc::ObjectPublish>(&message)) {
    const ObjectId id = publish->object;
    Entry& entry = Open(id);
    entry.holders[from] = entry.borrows[from] = 0;
    if (!publish->pending) {
      entry.known = true;
      entry.error = publish->error;
      SetNested(id, entry.value.refs, publish->value.refs);
      entry.value = publish->value;
      for (const ProcessId asker : std::exchange(entry.waiters, {})) Answer(id, asker);
    }
    Check(id);
  } else if (const auto* seal = std::get_if<rpc::ObjectSeal>(&message)) {
    Entry& entry = Open(seal->object);
    entry.sealed = true;
    const bool released = std::exchange(entry.seal_due, false) ||
                          (entry.borrows.contains(seal->holder) && !entry.holders.contains(seal->holder));
    if (!released && !dead_.contains(seal->holder)) entry.holders[seal->holder] = entry.borrows[seal->holder] = 0;
    if (!entry.known) {
      rpc::Value value;
      value.kind = rpc::Value::Kind::kStored;
      value.object = seal->object;
      value.location = seal->location;
      value.refs = seal->refs;
      SetNested(seal->object, entry.value.refs, value.refs);
      entry.value = std::move(value);
      entry.known = true;
      for (const ProcessId asker : std::exchange(entry.waiters, {})) Answer(seal->object, asker);
    }
    Check(seal->object);
  } else if (const auto* ticket = std::get_if<rpc::RefTicket>(&message)) {
    const bool own_handle = ticket->object.is_actor() && ticket->holder == ticket->object.owner;
    if (!home_.contains(ticket->object) && own_handle) {
      Open(ticket->object).holders[from] = Open(ticket->object).borrows[from] = 0;
    }
    if (drained_.contains(ticket->holder) || drained_.contains(ticket->receiver)) return true;
    // The object may not be known yet: what the owner has said of it is in another ring.
    Entry& entry = Open(ticket->object);
    if (entry.early.erase(ticket->ticket) == 0) entry.tickets[ticket->ticket] = {ticket->holder, ticket->receiver};
    Check(ticket->object);
  } else if (const auto* outcome = std::get_if<rpc::RefOutcome>(&message)) {
    Entry& entry = Open(outcome->object);
    const auto found = entry.tickets.find(outcome->ticket);
    if (found == entry.tickets.end()) {
      if (outcome->ticket.reply) entry.early.insert(outcome->ticket);
    } else if (outcome->kept_by.is_user_process() && !drained_.contains(outcome->kept_by)) {
      found->second.second = outcome->kept_by;
    } else {
      entry.tickets.erase(found);
    }
    Check(outcome->object);
  } else if (const auto* registered = std::get_if<rpc::RefRegister>(&message)) {
    Entry& entry = Open(registered->object);
    uint64_t& borrow = entry.borrows[from];
    if (registered->borrow > borrow) {
      borrow = registered->borrow;
      entry.holders[from] = borrow;
    }
    const TicketId& id = registered->ticket;
    if (id.call.number != 0 && entry.tickets.erase(id) == 0 && !drained_.contains(id.call.caller))
      entry.early.insert(id);
    Check(registered->object);
  } else if (const auto* release = std::get_if<rpc::RefRelease>(&message)) {
    if (!home_.contains(release->object) && release->sealed_on == 0) return true;
    Entry& entry = Open(release->object);
    if (release->borrow >= entry.borrows[from]) {
      entry.borrows[from] = release->borrow;
      entry.holders.erase(from);
      if (release->sealed_on != 0 && !entry.sealed) entry.seal_due = true;
    }
    Check(release->object);
  } else if (const auto* resolve = std::get_if<rpc::ObjectResolve>(&message)) {
    Entry& entry = Open(resolve->object);
    if (!entry.known && dead_.contains(resolve->object.owner)) {
      entry.known = true;
      entry.error = Error(ErrorCode::kOwnerDied, "its owner died");
    }
    if (entry.known) {
      Answer(resolve->object, from);
    } else {
      entry.waiters.insert(from);
    }
    Check(resolve->object);
  } else {
    return false;
  }
  return true;
}

void ProcessWorld::SetNested(const ObjectId& id, const std::vector<rpc::NestedRef>& before,
                             const std::vector<rpc::NestedRef>& now) {
  std::set<ObjectId> kept;
  for (const rpc::NestedRef& nested : now) {
    kept.insert(nested.object);
    Open(nested.object).containers.insert(id);
  }
  const std::vector<rpc::NestedRef> gone = before;
  for (const rpc::NestedRef& nested : gone) {
    if (kept.contains(nested.object)) continue;
    Open(nested.object).containers.erase(id);
    Check(nested.object);
  }
}

void ProcessWorld::Answer(const ObjectId& id, ProcessId asker) {
  const Entry& entry = Open(id);
  rpc::ObjectResolved resolved;
  resolved.object = id;
  resolved.asker = asker;
  resolved.value = entry.value;
  resolved.error = entry.error;
  ToProcess(asker, std::move(resolved));
}

void ProcessWorld::Check(const ObjectId& id) {
  const auto it = home_.find(id);
  if (it == home_.end() || it->second.held()) return;
  Entry entry = std::move(it->second);
  if (!entry.known && !entry.waiters.empty()) {
    it->second = std::move(entry);
    return;
  }
  home_.erase(it);
  for (const ProcessId asker : entry.waiters) {
    rpc::ObjectResolved resolved;
    resolved.object = id;
    resolved.error = Error(ErrorCode::kObjectLost, "it was freed");
    ToProcess(asker, std::move(resolved));
  }
  SetNested(id, entry.value.refs, {});
  if (!id.is_actor()) return;
  const auto actor = actors_.find(ActorId::FromHandle(id));
  if (actor == actors_.end() || actor->second.state == ActorState::kDead) return;
  actor->second.ending = true;
  if (!actor->second.worker.is_user_process()) {
    EndIncarnation(actor->first, true);
  } else if (actor->second.state == ActorState::kAlive) {
    ToProcess(actor->second.worker, rpc::ActorKill{.actor = actor->first, .graceful = true});
  }
}

void ProcessWorld::ForgetHolds(ProcessId dead) {
  drained_.insert(dead);
  std::vector<ObjectId> ids;
  for (auto& [id, entry] : home_) ids.push_back(id);
  for (const ObjectId& id : ids) {
    const auto it = home_.find(id);
    if (it == home_.end()) continue;
    Entry& entry = it->second;
    entry.holders.erase(dead);
    entry.waiters.erase(dead);
    std::erase_if(entry.tickets,
                  [&](const auto& ticket) { return ticket.second.first == dead || ticket.second.second == dead; });
    std::erase_if(entry.early, [&](const TicketId& ticket) { return ticket.call.caller == dead; });
    Check(id);
  }
}

}  // namespace manta::runtime

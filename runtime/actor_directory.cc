#include "runtime/actor_directory.h"

#include <algorithm>

#include "base/check.h"
#include "base/rule.h"

namespace manta::runtime {
namespace {

using rpc::ActorState;
using rpc::ErrorCode;
using rpc::ErrorInfo;

ErrorInfo Died(ErrorCode code, std::string message) {
  ErrorInfo error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

template <typename Key>
std::vector<ActorId> ActorsUnder(const std::set<std::pair<Key, ActorId>>& index, const Key& key) {
  std::vector<ActorId> actors;
  for (auto it = index.lower_bound({key, ActorId{}}); it != index.end() && it->first == key; ++it) {
    actors.push_back(it->second);
  }
  return actors;
}

}  // namespace

void ActorDirectory::Restore(Record record) {
  const ActorId actor = record.spec.actor;
  MANTA_CHECK(!entries_.contains(actor));
  Entry& entry = entries_[actor];
  entry.known = true;
  if (record.node != 0) by_node_.insert({record.node, actor});
  if (record.worker.is_user_process()) by_worker_.insert({record.worker, actor});
  if (record.state == ActorState::kDead) {
    entry.entombed = true;
    tombstones_.push_back(actor);
  } else {
    CountLive(record.spec);
    if (record.node == 0) unplaced_.insert(actor);
  }
  entry.record = std::move(record);
}

void ActorDirectory::Create(const rpc::ActorSpec& spec, Output* out) {
  const ActorId actor = spec.actor;
  Entry* entry = FindKnown(actor);
  if (entry == nullptr) {
    entry = &Admit(spec);
    entry->record.incarnation = 1;
    CountLive(spec);
    Changed(actor, entry, out);
    Want(actor, entry, out);
    return;
  }
  Watch({.actor = actor, .watcher = spec.actor.creator}, out);
}

void ActorDirectory::CreateRefused(const rpc::ActorSpec& spec, ErrorInfo error, Output* out) {
  const ActorId actor = spec.actor;
  if (FindKnown(actor) != nullptr) return Watch({.actor = actor, .watcher = actor.creator}, out);
  Entry& entry = Admit(spec);
  entry.record.spec.name.clear();  // it never had that name
  entry.record.spec.args.clear();
  entry.record.state = ActorState::kDead;
  entry.record.error = std::move(error);
  Changed(actor, &entry, out);
}

void ActorDirectory::PlacedAt(ActorId actor, uint64_t incarnation, NodeId node, Output* out) {
  Entry* entry = FindKnown(actor);
  MANTA_CHECK(entry != nullptr && entry->record.incarnation == incarnation && unplaced_.contains(actor));
  unplaced_.erase(actor);
  entry->record.node = node;
  entry->last_node = node;
  by_node_.insert({node, actor});
  out->changed.push_back(actor);
}

void ActorDirectory::CannotBePlaced(ActorId actor, const std::string& why, Output* out) {
  Entry* entry = FindKnown(actor);
  MANTA_CHECK(entry != nullptr && unplaced_.contains(actor));
  Die(actor, entry, Died(ErrorCode::kActorDied, why), out);
}

bool ActorDirectory::SetWaiting(ActorId actor, const std::string& why, Output* out) {
  Entry* entry = FindKnown(actor);
  if (entry == nullptr || entry->record.waiting == why) return false;
  entry->record.waiting = why;
  for (const ProcessId watcher : entry->watchers) Tell(actor, *entry, watcher, out);
  return true;
}

void ActorDirectory::Started(const rpc::ActorStarted& message, NodeId from, Output* out) {
  const ActorId actor = message.actor;
  Entry* entry = FindKnown(actor);
  const bool current = entry != nullptr && entry->record.state != ActorState::kDead &&
                       entry->record.incarnation == message.incarnation && entry->record.node == from;
  if (MANTA_RULE("directory.incarnation") && !current) {
    // An older life, or one of an actor that was killed meanwhile: it dies on first contact.
    if (!message.error) out->stops.push_back({actor, message.incarnation, from, message.worker, false});
    return;
  }
  if (entry == nullptr || entry->record.state == ActorState::kDead) return;  // (only a mutant comes here)
  Record& record = entry->record;
  if (message.error) {
    if (record.state == ActorState::kAlive) return;
    record.kept = message.kept;
    if (!message.is_final()) return NotAlive(actor, entry, message.error, out);
    Unplace(actor, entry);
    return Die(actor, entry, message.error, out);
  }
  if (record.state == ActorState::kAlive) {
    const bool same = record.worker == message.worker;
    if (!same) out->stops.push_back({actor, message.incarnation, from, message.worker, false});
    // It may have been told so by a head that is gone, and the message lost with it.
    if (same && record.ending) out->stops.push_back({actor, record.incarnation, record.node, record.worker, true});
    return;
  }
  record.state = ActorState::kAlive;
  record.worker = message.worker;
  record.address = message.address;
  record.kept = message.kept;
  record.error = {};
  record.waiting.clear();
  by_worker_.insert({message.worker, actor});
  Changed(actor, entry, out);
  if (record.ending) out->stops.push_back({actor, record.incarnation, record.node, record.worker, true});
}

void ActorDirectory::Ended(const rpc::ActorEnded& message, Output* out) {
  Entry* entry = FindKnown(message.actor);
  if (entry == nullptr || entry->record.state == ActorState::kDead) return;
  if (MANTA_RULE("directory.ended_incarnation") && entry->record.incarnation != message.incarnation) return;
  if (entry->record.node == 0) return;  // has been taken for lost already
  ErrorInfo error = message.error;
  if (!error)
    error =
        Died(ErrorCode::kActorDied, message.intended ? "it has ended: ExitActor was called, or its last handle is gone"
                                                     : "the actor's worker has ended");
  if (message.intended) {
    Unplace(message.actor, entry);
    return Die(message.actor, entry, std::move(error), out);
  }
  NotAlive(message.actor, entry, error, out);
}

void ActorDirectory::Watch(const rpc::ActorWatch& message, Output* out) {
  Entry& entry = entries_[message.actor];
  if (entry.watchers.insert(message.watcher).second) watching_.insert({message.watcher, message.actor});
  if (entry.known) Tell(message.actor, entry, message.watcher, out);
}

void ActorDirectory::Kill(const rpc::ActorKill& message, Output* out) {
  Entry* entry = FindKnown(message.actor);
  if (entry == nullptr) return;
  Record& record = entry->record;
  if (message.graceful) {
    if (!record.spec.name.empty()) return;
    if (record.state == ActorState::kDead) return Erase(message.actor, out);
    if (record.ending) return;
    record.ending = true;
    out->changed.push_back(message.actor);
    if (record.node == 0) {
      Die(message.actor, entry, Died(ErrorCode::kActorDied, "the last handle of the actor is gone"), out);
    } else if (record.state == ActorState::kAlive) {
      out->stops.push_back({message.actor, record.incarnation, record.node, record.worker, true});
    }  // else when it has started
    return;
  }
  if (record.state == ActorState::kDead) return;
  if (message.no_restart) {
    return Die(message.actor, entry, Died(ErrorCode::kActorDied, "the actor was killed by Kill()"), out);
  }
  if (message.incarnation != 0 && message.incarnation != record.incarnation) return;
  // The node reports the end, and that is when the actor is restarted: two incarnations do not overlap.
  if (record.node != 0) {
    out->stops.push_back({message.actor, record.incarnation, record.node, record.worker, false});
  }
}

void ActorDirectory::ProcessDied(ProcessId process, const std::string& reason, Output* out) {
  DropWatcher(process, out);
  for (const ActorId actor : ActorsUnder(by_worker_, process)) {
    Lost(actor, FindKnown(actor), Died(ErrorCode::kActorDied, "the actor's worker died: " + reason), out);
  }
  std::vector<ActorId> created;
  for (auto it = entries_.lower_bound({process, 0}); it != entries_.end() && it->first.creator == process; ++it) {
    created.push_back(it->first);
  }
  for (const ActorId actor : created) {
    Entry& entry = entries_.at(actor);
    if (entry.known && (entry.record.spec.registered() || entry.record.state == ActorState::kDead)) continue;
    Die(actor, &entry, Died(ErrorCode::kActorDied, "the actor's creator died: " + reason), out);
  }
}

void ActorDirectory::NodeDied(NodeId node, const std::string& reason, Output* out) {
  std::set<ProcessId> watchers;
  for (auto it = watching_.lower_bound({ProcessId{node, 0}, ActorId{}});
       it != watching_.end() && it->first.node == node; ++it) {
    watchers.insert(it->first);
  }
  for (const ProcessId watcher : watchers) DropWatcher(watcher, out);
  // First those that die with the home of their handles, so that they are not restarted.
  std::vector<ActorId> created;
  for (auto it = entries_.lower_bound({ProcessId{node, 0}, 0}); it != entries_.end() && it->first.creator.node == node;
       ++it) {
    created.push_back(it->first);
  }
  for (const ActorId actor : created) {
    Entry& entry = entries_.at(actor);
    if (entry.known && !entry.record.spec.name.empty()) continue;
    entry.record.ending = true;  // its handles are lost
    if (entry.known && entry.record.state == ActorState::kDead) {
      Erase(actor, out);
    } else {
      if (entry.record.node == node) Unplace(actor, &entry);
      Die(actor, &entry, Died(ErrorCode::kNodeDied, "the node that counted the actor's handles died: " + reason), out);
    }
  }
  for (const ActorId actor : ActorsUnder(by_node_, node)) {
    Lost(actor, FindKnown(actor), Died(ErrorCode::kActorDied, "the actor's node died: " + reason), out);
  }
}

void ActorDirectory::JobEnded(JobId job, Output* out) {
  std::vector<ActorId> of_job;
  for (const auto& [actor, entry] : entries_) {
    if (entry.known && entry.record.spec.job == job && !entry.record.spec.detached) of_job.push_back(actor);
  }
  for (const ActorId actor : of_job) {
    Entry& entry = entries_.at(actor);
    if (entry.record.state != ActorState::kDead) {
      Die(actor, &entry, Died(ErrorCode::kActorDied, "the actor's job has ended"), out);
    }
    if (entries_.contains(actor)) Entomb(actor, &entry, out);
  }
}

void ActorDirectory::NodeReturned(NodeId node, const std::vector<rpc::ActorStarted>& alive,
                                  const std::vector<rpc::ActorEnded>& ended, Output* out) {
  for (const rpc::ActorEnded& message : ended) {
    const Entry* entry = FindKnown(message.actor);
    if (entry != nullptr && entry->record.node == node) Ended(message, out);
  }
  std::set<ActorId> reported;
  for (const rpc::ActorStarted& message : alive) {
    reported.insert(message.actor);
    Started(message, node, out);
  }
  for (const ActorId actor : ActorsUnder(by_node_, node)) {
    if (reported.contains(actor)) continue;
    Entry* entry = FindKnown(actor);
    if (entry->record.state == ActorState::kAlive) {
      Lost(actor, entry, Died(ErrorCode::kActorDied, "the actor ended while the head was away"), out);
    } else {
      out->restarts.push_back({actor, entry->record.incarnation, node});
    }
  }
}

const ActorDirectory::Record* ActorDirectory::Find(ActorId actor) const {
  const auto it = entries_.find(actor);
  return it == entries_.end() || !it->second.known ? nullptr : &it->second.record;
}

size_t ActorDirectory::detached(JobId job) const {
  const auto it = detached_.find(job);
  return it == detached_.end() ? 0 : it->second;
}

std::vector<ActorDirectory::Place> ActorDirectory::unplaced() const {
  std::vector<Place> places;
  places.reserve(unplaced_.size());
  for (const ActorId actor : unplaced_) {
    const Entry& entry = entries_.at(actor);
    places.push_back({actor, entry.record.incarnation, entry.last_node});
  }
  return places;
}

// ---------------------------------------------------------------- steps

ActorDirectory::Entry* ActorDirectory::FindKnown(ActorId actor) {
  const auto it = entries_.find(actor);
  return it == entries_.end() || !it->second.known ? nullptr : &it->second;
}

// The record of a new actor; its creator watches it. Those who watched before it was known stay.
ActorDirectory::Entry& ActorDirectory::Admit(const rpc::ActorSpec& spec) {
  Entry& entry = entries_[spec.actor];
  entry.known = true;
  entry.record.spec = spec;
  if (entry.watchers.insert(spec.actor.creator).second) watching_.insert({spec.actor.creator, spec.actor});
  return entry;
}

void ActorDirectory::CountLive(const rpc::ActorSpec& spec) {
  ++live_;
  if (spec.detached) ++detached_[spec.job];
}

void ActorDirectory::Want(ActorId actor, Entry* entry, Output* out) {
  unplaced_.insert(actor);
  out->places.push_back({actor, entry->record.incarnation, entry->last_node});
}

// The current incarnation ended, or never began; that there was no room for it costs no restart.
void ActorDirectory::NotAlive(ActorId actor, Entry* entry, const ErrorInfo& error, Output* out) {
  if (error.code != ErrorCode::kWorkerLimit) return Lost(actor, entry, error, out);
  Unplace(actor, entry);
  ++entry->record.incarnation;
  out->changed.push_back(actor);
  SetWaiting(actor, error.message, out);
  Want(actor, entry, out);
}

// The current incarnation has ended without being told to.
void ActorDirectory::Lost(ActorId actor, Entry* entry, ErrorInfo error, Output* out) {
  Record& record = entry->record;
  Unplace(actor, entry);
  const bool budget_left = record.spec.max_restarts < 0 || record.restarts < record.spec.max_restarts;
  if (record.ending || !budget_left) return Die(actor, entry, std::move(error), out);
  ++record.restarts;
  ++record.incarnation;
  if (record.state == ActorState::kAlive) record.state = ActorState::kRestarting;
  record.error = std::move(error);
  Changed(actor, entry, out);
  Want(actor, entry, out);
}

// Stops what may still run (an entry that was not unplaced before), and ends the actor for ever.
void ActorDirectory::Die(ActorId actor, Entry* entry, ErrorInfo error, Output* out) {
  Record& record = entry->record;
  if (record.node != 0) out->stops.push_back({actor, record.incarnation, record.node, record.worker, false});
  Unplace(actor, entry);
  unplaced_.erase(actor);
  if (entry->known) --live_;
  if (entry->known && record.spec.detached && --detached_[record.spec.job] == 0) detached_.erase(record.spec.job);
  record.state = ActorState::kDead;
  record.error = std::move(error);
  record.spec.args.clear();
  Changed(actor, entry, out);
  if (!entry->known) return Erase(actor, out);
  out->dead.push_back({actor, record.spec.job, record.spec.detached, record.spec.name_space, record.spec.name});
  if (record.ending && record.spec.name.empty()) return Erase(actor, out);
  if (!record.spec.name.empty()) Entomb(actor, entry, out);
}

// A new version for everybody.
void ActorDirectory::Changed(ActorId actor, Entry* entry, Output* out) {
  ++entry->record.version;
  if (entry->known) out->changed.push_back(actor);
  for (const ProcessId watcher : entry->watchers) Tell(actor, *entry, watcher, out);
}

void ActorDirectory::Tell(ActorId actor, const Entry& entry, ProcessId watcher, Output* out) const {
  const Record& record = entry.record;
  rpc::ActorUpdate update;
  update.actor = actor;
  update.watcher = watcher;
  update.version = record.version;
  update.state = record.state;
  update.incarnation = record.incarnation;
  if (record.state == ActorState::kAlive) {
    update.worker = record.worker;
    update.address = record.address;
  }
  if (record.state == ActorState::kDead || record.state == ActorState::kRestarting) update.error = record.error;
  if (watcher == actor.creator) update.kept = record.kept;
  update.will_restart = record.state == ActorState::kRestarting;
  if (record.state == ActorState::kPending || update.will_restart) update.waiting = record.waiting;
  update.max_task_retries = record.spec.max_task_retries;
  out->updates.push_back(std::move(update));
}

// The incarnation is nowhere (or no longer of interest).
void ActorDirectory::Unplace(ActorId actor, Entry* entry) {
  Record& record = entry->record;
  if (record.node != 0) by_node_.erase({record.node, actor});
  if (record.worker.is_user_process()) by_worker_.erase({record.worker, actor});
  record.node = 0;
  record.worker = {};
  record.address.clear();
}

void ActorDirectory::DropWatcher(ProcessId watcher, Output* out) {
  for (const ActorId actor : ActorsUnder(watching_, watcher)) {
    watching_.erase({watcher, actor});
    Entry& entry = entries_.at(actor);
    entry.watchers.erase(watcher);
    if (!entry.known && entry.watchers.empty()) Erase(actor, out);
  }
}

void ActorDirectory::Erase(ActorId actor, Output* out) {
  const auto it = entries_.find(actor);
  for (const ProcessId watcher : it->second.watchers) watching_.erase({watcher, actor});
  if (it->second.known) out->erased.push_back(actor);
  entries_.erase(it);
}

// The record stays for late askers, but not for ever.
void ActorDirectory::Entomb(ActorId actor, Entry* entry, Output* out) {
  if (std::exchange(entry->entombed, true)) return;
  tombstones_.push_back(actor);
  while (tombstones_.size() > kTombstonesMax) {
    const ActorId oldest = tombstones_.front();
    tombstones_.pop_front();
    if (entries_.contains(oldest)) Erase(oldest, out);
  }
}

}  // namespace manta::runtime

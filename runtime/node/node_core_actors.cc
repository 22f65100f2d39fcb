// Actors (docs/actor_call.md): those that live here, and the directory of the anonymous ones that were created here.
#include <utility>

#include "base/rule.h"
#include "runtime/node/node_core_impl.h"
#include "runtime/scheduling.h"

namespace manta::runtime {
namespace {

using node::ActorHosts;
using node::WorkerPool;

rpc::ErrorInfo MakeError(rpc::ErrorCode code, std::string message) {
  rpc::ErrorInfo error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

}  // namespace

// ---------------------------------------------------------------- messages

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorCreate& message) {
  const ActorId actor = message.spec.actor;
  if (actor.creator != from) return;
  home_.OpenHandle(actor);
  if (message.spec.detached) detached_jobs_.insert(message.spec.job);
  if (message.spec.registered()) {
    routes_.CreatedAtHead(message);
    SendHead(message);
  } else if (ended_jobs_.Contains(message.spec.job)) {
    ActorDirectory::Output output;
    directory_.CreateRefused(message.spec, MakeError(rpc::ErrorCode::kShutdown, "the actor's job has ended"), &output);
    CarryOut(output);
  } else {
    ActorDirectory::Output output;
    directory_.Create(message.spec, &output);
    CarryOut(output);
  }
  for (const rpc::ActorWatch& watch : routes_.TakeEarly(actor)) AnswerWatch(watch);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorStart& message) {
  const ProcessId directory = message.spec.registered() ? kHead : DaemonOf(message.spec.actor.creator.node);
  if (from != directory) return;
  asked_by_others_ |= from != DaemonOf(self_);
  StartHere(message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorStarted& message) {
  if (from.is_daemon()) {
    ActorDirectory::Output output;
    directory_.Started(message, from.node, &output);
    return CarryOut(output);
  }
  ActorHosts::Host* host = hosts_.Find(message.actor);
  if (host == nullptr || host->worker != from || host->incarnation != message.incarnation) return;
  message.worker = from;
  message.address = processes_.Find(from)->address;
  const rpc::ActorSpec spec = host->spec;
  if (message.error) {
    hosts_.Remove(message.actor);
    StopWorker(from, true, SaturatingAdd(now_, kExitGrace), "its actor's constructor failed");
    return TellDirectory(spec, message);
  }
  if (host->state != ActorHosts::State::kConstructing) return;
  hosts_.SetAlive(host, message);
  leases_.Change(host->lease, spec.lifetime);
  serve_actors_ = true;
  TellDirectory(spec, message);
  if (host->told_to_end) Send(from, rpc::ActorKill{.actor = message.actor, .no_restart = true, .graceful = true});
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorEnded& message) {
  if (from.is_daemon()) {
    ActorDirectory::Output output;
    directory_.Ended(message, &output);
    return CarryOut(output);
  }
  ActorHosts::Host* host = hosts_.Find(message.actor);
  if (host == nullptr || host->worker != from) return;
  message.incarnation = host->incarnation;
  const rpc::ActorSpec spec = host->spec;
  hosts_.Remove(message.actor);
  if (message.intended)
    pool_.SetLastWord(from, "its actor has ended: ExitActor was called, or its last handle is gone");
  StopWorker(from, true, SaturatingAdd(now_, kExitGrace), "its actor has ended");
  TellDirectory(spec, message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorWatch& message) {
  if (from.is_user_process()) {
    if (message.watcher != from) return;
    routes_.Watched(message);
    return RouteWatch(message);
  }
  if (IsMe(message.actor.creator.node)) AnswerWatch(message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorUpdate& message) {
  if (!from.is_user_process()) RouteUpdate(std::move(message), from.is_head());
}

// From a process, on its way to the directory; or from the directory, to the node where the actor lives.
void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorKill& message) {
  if (from.is_user_process()) return RouteKill(from, message);
  const bool is_mine = IsMe(message.actor.creator.node);
  if (from.is_daemon() && is_mine) return RouteKill(from, message);
  // The head stops its own actors; for one of ours it passes on what a person wants.
  if (from.is_head() && is_mine && directory_.Find(message.actor) != nullptr) return RouteKill(from, message);
  KillHere(message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorLookup& message) {
  if (message.asker != from) return;
  routes_.LookedUp(message);
  SendHead(message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ActorFound& message) {
  if (from.is_head() && routes_.Found(message)) SendToCaller(message.asker, message);
}

// ---------------------------------------------------------------- actors that live here

void NodeCore::Impl::StartHere(const rpc::ActorStart& start) {
  const ActorId actor = start.spec.actor;
  if (ActorHosts::Host* host = hosts_.Find(actor)) {
    if (MANTA_RULE("actor.start_once") && start.incarnation <= host->incarnation) {
      // Asked again by a directory that has not had the answer.
      if (start.incarnation == host->incarnation && host->state == ActorHosts::State::kAlive) {
        TellDirectory(host->spec, host->started);
      }
      return;
    }
    if (host->state == ActorHosts::State::kPlaced) leases_.End(host->lease);
    if (host->worker.is_user_process()) KillWorker(host->worker, "a newer incarnation of its actor takes its place");
    hosts_.Remove(actor);
  }
  // The head, which was away, asks for what has been here already: the end is on its way to it.
  if (MANTA_RULE("actor.start_once") && hosts_.HasEnded(actor, start.incarnation)) return;
  hosts_.Add(start, SaturatingAdd(now_, kActorWait));
  serve_actors_ = true;
  if (ended_jobs_.Contains(start.spec.job)) RefuseHost(actor, rpc::ErrorCode::kShutdown, "the actor's job has ended");
}

// Gives room and workers to those that wait for them, in the order of their starts.
void NodeCore::Impl::ServeHosts() {
  const std::vector<ActorId> waiting = hosts_.waiting();
  for (const ActorId actor : waiting) {
    ActorHosts::Host* host = hosts_.Find(actor);
    const bool at_cap = hosts_.placed_or_more() >= options_.actor_workers_max;
    if (!at_cap && leases_.Fits(host->spec.placement)) {
      hosts_.SetPlaced(host, leases_.Grant(self_, {}, {}, host->spec.placement));
    } else if (host->give_up_at <= now_) {
      const std::string here = "node n" + std::to_string(self_);
      RefuseHost(actor, rpc::ErrorCode::kWorkerLimit,
                 at_cap ? here + " hosts " + std::to_string(options_.actor_workers_max) + " actors, its limit"
                        : here + " has no room for " + host->spec.placement.ToString() + " now");
    }
  }
  const std::vector<ActorId> placed = hosts_.placed();
  for (const ActorId actor : placed) {
    ActorHosts::Host* host = hosts_.Find(actor);
    const std::optional<ProcessId> worker = pool_.Take(host->spec.job, WorkerPool::State::kActor, now_);
    if (!worker) continue;
    hosts_.SetWorker(host, *worker);
    leases_.SetWorker(host->lease, *worker);
    Send(*worker, rpc::ActorConstruct{host->spec, host->incarnation, host->lease});
  }
}

// It cannot be started here. REQUIRES: it has no worker.
void NodeCore::Impl::RefuseHost(ActorId actor, rpc::ErrorCode code, const std::string& why) {
  ActorHosts::Host* host = hosts_.Find(actor);
  if (host->state == ActorHosts::State::kPlaced) leases_.End(host->lease);
  rpc::ActorStarted answer;
  answer.actor = actor;
  answer.incarnation = host->incarnation;
  answer.error = MakeError(code, why);
  const rpc::ActorSpec spec = std::move(host->spec);
  hosts_.Remove(actor);
  serve_actors_ = true;
  TellDirectory(spec, answer);
}

void NodeCore::Impl::KillHere(const rpc::ActorKill& message) {
  ActorHosts::Host* host = hosts_.Find(message.actor);
  if (host == nullptr || (message.incarnation != 0 && host->incarnation > message.incarnation)) return;
  if (!message.graceful || host->worker == ProcessId()) return EndHost(message.actor, "killed");
  host->told_to_end = true;
  if (host->state == ActorHosts::State::kAlive) Send(host->worker, message);  // else when it is
}

// The actor ends, whatever it is doing. Its directory is told when its worker is gone.
void NodeCore::Impl::EndHost(ActorId actor, const std::string& why) {
  ActorHosts::Host* host = hosts_.Find(actor);
  if (host->worker.is_user_process()) return KillWorker(host->worker, "its actor ends: " + why);
  if (host->state == ActorHosts::State::kPlaced) leases_.End(host->lease);
  rpc::ActorEnded ended;
  ended.actor = actor;
  ended.incarnation = host->incarnation;
  ended.error = MakeError(rpc::ErrorCode::kActorDied, "the actor was ended before it had started: " + why);
  const rpc::ActorSpec spec = std::move(host->spec);
  hosts_.Remove(actor);
  serve_actors_ = true;
  TellDirectory(spec, ended);
}

void NodeCore::Impl::WorkerOfActorEnded(ActorHosts::Host* host, const std::string& reason) {
  rpc::ActorEnded ended;
  ended.actor = host->spec.actor;
  ended.incarnation = host->incarnation;
  const std::string name = host->spec.class_name.empty() ? "the actor" : host->spec.class_name;
  ended.error = MakeError(rpc::ErrorCode::kActorDied,
                          "worker " + ToString(host->worker) + ", in which " + name + " lived, ended: " + reason);
  const rpc::ActorSpec spec = std::move(host->spec);
  hosts_.Remove(ended.actor);
  TellDirectory(spec, ended);
}

void NodeCore::Impl::TellDirectory(const rpc::ActorSpec& spec, const rpc::ActorStarted& message) {
  if (spec.registered()) {
    if (message.error) hosts_.NoteEnd({message.actor, message.incarnation, message.is_final(), message.error});
    return SendHead(message);
  }
  if (!IsMe(spec.actor.creator.node)) return SendNode(spec.actor.creator.node, message);
  ActorDirectory::Output output;
  directory_.Started(message, self_, &output);
  CarryOut(output);
}

void NodeCore::Impl::TellDirectory(const rpc::ActorSpec& spec, const rpc::ActorEnded& message) {
  if (spec.registered()) {
    hosts_.NoteEnd(message);
    return SendHead(message);
  }
  if (!IsMe(spec.actor.creator.node)) return SendNode(spec.actor.creator.node, message);
  ActorDirectory::Output output;
  directory_.Ended(message, &output);
  CarryOut(output);
}

// ---------------------------------------------------------------- the directory

void NodeCore::Impl::CarryOut(const ActorDirectory::Output& output) {
  for (const ActorDirectory::Stop& stop : output.stops) {
    const rpc::ActorKill kill{
        .actor = stop.actor, .no_restart = true, .graceful = stop.graceful, .incarnation = stop.incarnation};
    if (IsMe(stop.node)) {
      KillHere(kill);
    } else {
      SendNode(stop.node, kill);
    }
  }
  if (!output.places.empty()) serve_actors_ = true;
  for (const rpc::ActorUpdate& update : output.updates) {
    if (IsMe(update.watcher.node)) {
      RouteUpdate(update, false);
    } else {
      SendNode(update.watcher.node, update);
    }
  }
}

// Finds nodes for actors created here, near their creators if there is room.
void NodeCore::Impl::PlaceActors() {
  if (!directory_.has_unplaced()) return;
  for (const ActorDirectory::Place& place : directory_.unplaced()) {
    const ActorDirectory::Record* record = directory_.Find(place.actor);
    if (record == nullptr || record->incarnation != place.incarnation || record->node != 0) continue;
    const rpc::ActorSpec spec = record->spec;
    std::vector<rpc::NodeInfo> infos = peers_.infos();
    if (hosts_.size() < options_.actor_workers_max && !leases_.overdrawn()) infos.insert(infos.begin(), OwnInfo());
    if (IsImpossible(spec.hint)) {
      ActorDirectory::Output output;
      directory_.CannotBePlaced(place.actor, WhyNever(spec.hint.affinity, spec.hint.affinity <= peers_.newest()),
                                &output);
      CarryOut(output);
      continue;
    }
    SchedulingDemand demand = ToDemand(spec.placement, spec.hint);
    if (demand.strategy == SchedulingDemand::Strategy::kHybrid) demand.preferred = self_;
    const NodeId node = PickNode(demand, infos, rng_.Next());
    if (node == 0) {
      TellWhyUnplaced(spec);
      continue;
    }
    ActorDirectory::Output output;
    directory_.PlacedAt(place.actor, place.incarnation, node, &output);
    CarryOut(output);
    const rpc::ActorStart start{spec, place.incarnation};
    if (IsMe(node)) {
      StartHere(start);
      ServeHosts();  // takes the room, so that the next is not placed there too
    } else {
      peers_.Spend(node, spec.placement);
      SendNode(node, start);
    }
  }
}

void NodeCore::Impl::TellWhyUnplaced(const rpc::ActorSpec& spec) {
  const bool at_cap = hosts_.size() >= options_.actor_workers_max;
  const std::string why = at_cap ? "node n" + std::to_string(self_) + " hosts " +
                                       std::to_string(options_.actor_workers_max) + " actors, its limit"
                                 : WhyWaiting(spec.placement, AllInfos());
  ActorDirectory::Output output;
  const bool is_news = directory_.SetWaiting(spec.actor, why, &output);
  CarryOut(output);
  if (is_news && !FitsSomewhere(spec.placement, AllInfos())) {
    Log(LogLine::Level::kWarning,
        "actor " + ToString(spec.actor) + " (" + spec.class_name + ") can live nowhere now: " + why);
  }
}

// At the watcher's node: on to whoever knows the actor, or knows who does.
void NodeCore::Impl::RouteWatch(const rpc::ActorWatch& watch) {
  const NodeId creator_node = watch.actor.creator.node;
  if (IsMe(creator_node)) {
    AnswerWatch(watch);
  } else if (deaths_.IsDead(DaemonOf(creator_node))) {
    SendHead(watch);
  } else {
    SendNode(creator_node, watch);
  }
}

// At the creator's node.
void NodeCore::Impl::AnswerWatch(const rpc::ActorWatch& watch) {
  if (directory_.Find(watch.actor) != nullptr) {
    ActorDirectory::Output output;
    directory_.Watch(watch, &output);
    return CarryOut(output);
  }
  if (routes_.IsAtHead(watch.actor)) {
    if (!IsMe(watch.watcher.node)) routes_.PassedOn(watch);
    return SendHead(watch);
  }
  if (processes_.Find(watch.actor.creator) != nullptr && !routes_.IsNever(watch.actor)) {
    return routes_.WatchEarly(watch);
  }
  rpc::ActorUpdate update;
  update.actor = watch.actor;
  update.watcher = watch.watcher;
  update.version = UINT64_MAX;  // nothing comes after it
  update.state = rpc::ActorState::kDead;
  update.error =
      MakeError(rpc::ErrorCode::kActorDied, "the actor has ended, or its creator died before it was created");
  ActorDirectory::Output output;
  output.updates.push_back(std::move(update));
  CarryOut(output);
}

void NodeCore::Impl::RouteKill(ProcessId from, const rpc::ActorKill& kill) {
  const NodeId creator_node = kill.actor.creator.node;
  if (!IsMe(creator_node)) {
    if (MANTA_RULE("actor.kill_outlives_route")) routes_.Killed(kill);
    if (deaths_.IsDead(DaemonOf(creator_node))) return SendHead(kill);
    return SendNode(creator_node, kill);
  }
  if (routes_.IsAtHead(kill.actor)) {
    if (MANTA_RULE("actor.kill_outlives_route")) routes_.Killed(kill);
    return SendHead(kill);
  }
  if (directory_.Find(kill.actor) == nullptr && from == kill.actor.creator) {
    routes_.NeverCreated(kill.actor);
    for (const rpc::ActorWatch& watch : routes_.TakeEarly(kill.actor)) AnswerWatch(watch);
    return;
  }
  ActorDirectory::Output output;
  directory_.Kill(kill, &output);
  CarryOut(output);
}

// To the watcher, which must know the node that the update names (else nobody could tell it of that node's death).
void NodeCore::Impl::RouteUpdate(rpc::ActorUpdate update, bool from_head) {
  if (from_head) routes_.Answered(update.actor);  // whether or not its creator still lives
  if (processes_.Find(update.watcher) == nullptr) return;
  routes_.Updated(update, from_head);
  const NodeId node = update.worker.node;
  const std::pair<ActorId, ProcessId> key{update.actor, update.watcher};
  held_updates_.erase(key);
  if (node != 0 && !peers_.IsAlive(node) && !deaths_.IsDead(DaemonOf(node))) {
    held_updates_[key] = std::move(update);
  } else {
    Send(update.watcher, std::move(update));
  }
}

// Nobody has a handle of an actor that was created here.
void NodeCore::Impl::HandlesGone(ActorId actor) {
  const rpc::ActorKill kill{.actor = actor, .no_restart = true, .graceful = true};
  if (!routes_.IsAtHead(actor)) return RouteKill(DaemonOf(self_), kill);
  if (routes_.IsNamed(actor)) return;
  routes_.Unheld(actor);
  SendHead(kill);
}

}  // namespace manta::runtime

// Hosted actors: construction, the order of each caller's calls, the end.
#include <utility>

#include "base/check.h"
#include "base/rule.h"
#include "runtime/worker/mailbox.h"

namespace manta::runtime::worker {

using rpc::ErrorCode;

HostedActor* Mailbox::FindActor(ActorId id) {
  if (last_actor_ != nullptr && last_actor_->id == id) return last_actor_;
  const auto found = actors_.find(id);
  if (found == actors_.end()) return nullptr;
  last_actor_ = found->second.get();
  return last_actor_;
}

// ---------------------------------------------------------------- calls

void Mailbox::OnActorCall(MailboxCall* call) {
  const rpc::CallRequest& request = call->request;
  HostedActor* actor = FindActor(request.actor);
  if (actor == nullptr) return Refuse(call, ErrorCode::kNone, "the actor is not here");
  if (MANTA_RULE("actor.incarnation") && actor->incarnation != request.actor_incarnation) {
    return Refuse(call, ErrorCode::kNone, "another incarnation of the actor is here");
  }
  if (actor->ending) return Refuse(call, ErrorCode::kNone, "the actor is ending");
  call->lane = &actor->lane;
  const ProcessId from = request.call.caller;
  if (actor->last_caller.second == nullptr || actor->last_caller.first != from) {
    actor->last_caller = {from, &actor->callers[from]};
  }
  CallerQueue* caller = actor->last_caller.second;
  call->caller = caller;
  if (MANTA_RULE("actor.sequence") && request.sequence != caller->next_sequence) {
    // Too early: it waits for its turn. Too late: it has been here, and has been or will be answered.
    const bool early = request.sequence > caller->next_sequence && caller->early.emplace(request.sequence, call).second;
    if (early) return;
    refs_->EndOfCall(call->refs, request.call, request.attempt, true);
    return Forget(call);
  }
  ++caller->next_sequence;
  Admit(call);
  while (!caller->early.empty() && caller->early.begin()->first == caller->next_sequence) {
    MailboxCall* next = caller->early.begin()->second;
    caller->early.erase(caller->early.begin());
    ++caller->next_sequence;
    if (next != nullptr) Admit(next);
  }
}

// It is its caller's next one.
void Mailbox::Admit(MailboxCall* call) {
  AwaitArguments(call);
  if (call->missing != 0 || !call->caller->waiting.empty()) return call->caller->waiting.PushBack(call);
  Lane* lane = call->lane;
  lane->ready.PushBack(call);
  RunLane(lane);
}

void Mailbox::AdmitWaiting(HostedActor* actor, CallerQueue* caller) {
  while (!caller->waiting.empty() && caller->waiting.front()->missing == 0) {
    actor->lane.ready.PushBack(caller->waiting.PopFront());
  }
  if (caller->dead && caller->waiting.empty()) {
    std::erase_if(actor->callers, [&](const auto& entry) { return &entry.second == caller; });
  }
  RunLane(&actor->lane);
}

// Calls that came too early for a dead caller will never have their turn.
void Mailbox::DropCallersOf(HostedActor* actor, ProcessId first, ProcessId last) {
  for (auto it = actor->callers.lower_bound(first); it != actor->callers.end() && !(last < it->first);) {
    CallerQueue& caller = it->second;
    for (const auto& [sequence, call] : std::exchange(caller.early, {})) {
      if (call != nullptr) Refuse(call, ErrorCode::kNone, "the caller is dead");
    }
    caller.dead = true;
    if (actor->last_caller.second == &caller) actor->last_caller.second = nullptr;
    for (MailboxCall* call = actor->lane.ready.front(); call != nullptr; call = call->next) {
      if (call->caller == &caller) call->caller = nullptr;
    }
    for (const Running& running : running_) {
      if (running.call->caller == &caller) running.call->caller = nullptr;
    }
    it = caller.waiting.empty() ? actor->callers.erase(it) : std::next(it);
  }
}

// ---------------------------------------------------------------- construction

void Mailbox::OnConstruct(rpc::ActorConstruct construct) {
  const ActorId id = construct.spec.actor;
  if (HostedActor* known = FindActor(id)) {
    if (known->incarnation != construct.incarnation || known->construction != nullptr) return;
    // Asked again: the answer was not enough.
    auto& started = out_->Send<rpc::ActorStarted>(out_->daemon());
    started.actor = id;
    started.incarnation = known->incarnation;
    started.worker = out_->self();
    return;
  }
  auto owned = std::make_unique<HostedActor>();
  HostedActor* actor = owned.get();
  actors_.emplace(id, std::move(owned));
  actor->id = id;
  actor->incarnation = construct.incarnation;
  actor->lane.actor = actor;
  actor->lane.open = false;
  actor->lane.running_max = std::max<uint32_t>(1, construct.spec.max_concurrency);
  actor->lease = construct.lease;
  actor->has_cpu = construct.spec.lifetime.Get("CPU") > base::Fixed();
  MailboxCall* call = pool_.Take();
  ++size_;
  call->request = {};
  call->request.call = {id.creator, id.number};
  call->request.args = std::move(construct.spec.args);
  construct.spec.args.clear();
  call->refs = refs_->HoldForCall(&call->request.args);
  call->lane = &actor->lane;
  actor->construction = call;
  actor->spec = std::move(construct.spec);
  AwaitArguments(call);
  if (call->missing == 0) StartConstruction(actor);
}

void Mailbox::StartConstruction(HostedActor* actor) {
  MailboxCall* call = actor->construction;
  if (call->failed_argument) {
    return OnConstructed({.actor = actor->id, .incarnation = actor->incarnation, .error = *call->failed_argument});
  }
  if (options_.task_events != nullptr) {
    call->request.name = actor->spec.class_name;
    call->request.parent = actor->spec.parent;
    Record(call, TaskKind::kActorCreation, actor->id);
  }
  auto& construct = out_->Act<ConstructActor>();
  construct.spec = std::move(actor->spec);
  construct.spec.args = std::move(call->request.args);
  construct.incarnation = actor->incarnation;
  call->request.args.clear();
}

void Mailbox::OnConstructionBlocked(const BlockedChanged& changed) {
  HostedActor* actor = FindActor({changed.call.caller, changed.call.number});
  if (actor == nullptr || actor->construction == nullptr || actor->lends == changed.blocked) return;
  actor->lends = changed.blocked;
  out_->ToDaemon(rpc::LeaseBlocked{actor->lease, changed.blocked});
}

void Mailbox::OnConstructed(Constructed constructed) {
  HostedActor* actor = FindActor(constructed.actor);
  if (actor == nullptr || actor->incarnation != constructed.incarnation || actor->construction == nullptr) return;
  MailboxCall* call = std::exchange(actor->construction, nullptr);
  // The creator ends the arguments' tickets when the first incarnation is alive; a later one, or one that failed,
  // registers without them.
  const bool ticketed = actor->incarnation == 1 && !constructed.error;
  std::vector<uint32_t> kept = refs_->EndOfCall(call->refs, call->request.call, 0, ticketed);
  RecordEnd(*call, constructed.error);
  Forget(call);
  if (std::exchange(actor->lends, false)) out_->ToDaemon(rpc::LeaseBlocked{actor->lease, false});
  const bool failed = static_cast<bool>(constructed.error);
  auto& started = out_->Send<rpc::ActorStarted>(out_->daemon());
  started.actor = actor->id;
  started.incarnation = actor->incarnation;
  started.worker = out_->self();
  started.error = std::move(constructed.error);
  started.kept = std::move(kept);
  if (failed) {
    RefuseCallsOf(actor, "the actor's constructor failed");
    if (last_actor_ == actor) last_actor_ = nullptr;
    actors_.erase(constructed.actor);
    return;
  }
  actor->lane.open = true;
  RunLane(&actor->lane);
  EndIfDone(actor);
}

// ---------------------------------------------------------------- the CPU

// The actor's CPU is lent while all that runs here waits in Get, Wait or the like.
void Mailbox::LendCpu(HostedActor* actor) {
  const bool lends = actor->has_cpu && actor->blocked != 0 && actor->blocked == actor->lane.running;
  if (lends == actor->lends) return;
  actor->lends = lends;
  out_->ToDaemon(rpc::LeaseBlocked{actor->lease, lends});
}

// ---------------------------------------------------------------- the end

void Mailbox::OnKill(const rpc::ActorKill& kill) {
  HostedActor* actor = FindActor(kill.actor);
  if (actor == nullptr || (kill.incarnation != 0 && actor->incarnation > kill.incarnation)) return;
  if (!kill.graceful && actors_.size() == 1) {
    return OnExit({.graceful = false, .reason = "actor " + ToString(kill.actor) + " was killed"});
  }
  actor->ending = true;
  if (!kill.graceful) RefuseCallsOf(actor, "the actor was killed");
  EndIfDone(actor);
}

void Mailbox::RefuseCallsOf(HostedActor* actor, const char* why) {
  while (!actor->lane.ready.empty()) Refuse(actor->lane.ready.PopFront(), ErrorCode::kNone, why);
  for (auto& [id, caller] : actor->callers) {
    while (!caller.waiting.empty()) Refuse(caller.waiting.PopFront(), ErrorCode::kNone, why);
    for (const auto& [sequence, call] : std::exchange(caller.early, {})) {
      if (call != nullptr) Refuse(call, ErrorCode::kNone, why);
    }
  }
}

void Mailbox::EndIfDone(HostedActor* actor) {
  if (!actor->ending || actor->construction != nullptr || actor->lane.running != 0 || !actor->lane.ready.empty())
    return;
  for (const auto& [id, caller] : actor->callers) {
    if (!caller.waiting.empty()) return;
  }
  EndActor(actor);
}

void Mailbox::EndActor(HostedActor* actor) {
  RefuseCallsOf(actor, "the actor has ended");  // those that came too early
  auto& ended = out_->Send<rpc::ActorEnded>(out_->daemon());
  ended.actor = actor->id;
  ended.incarnation = actor->incarnation;
  ended.intended = true;
  if (last_actor_ == actor) last_actor_ = nullptr;
  const std::string name = ToString(actor->id);
  actors_.erase(actor->id);
  if (!actors_.empty() || exited_) return;
  exiting_ = true;
  exit_reason_ = "actor " + name + " has ended";
  ExitIfIdle();
}

}  // namespace manta::runtime::worker

#include "runtime/worker/mailbox.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/rule.h"

// Tasks, and what tasks and actor calls have in common. Actors are in mailbox_actors.cc.

namespace manta::runtime::worker {

using rpc::ErrorCode;
using rpc::Outcome;
using rpc::Value;

namespace {

// A task that waits so long for its arguments lends its CPU.
constexpr Duration kLendAfter = std::chrono::milliseconds(20);

}  // namespace

Mailbox::~Mailbox() = default;

void Mailbox::OnRequest(rpc::CallRequest&& request) {
  MailboxCall* call = pool_.Take();
  ++size_;
  call->request = std::move(request);
  call->refs = refs_->HoldForCall(&call->request.args);
  if (call->request.deadline_ns != 0) {
    const auto left = Duration(static_cast<int64_t>(std::min<uint64_t>(call->request.deadline_ns, INT64_MAX)));
    call->expires = SaturatingAdd(out_->now(), left);
  }
  if (exiting_) return Refuse(call, ErrorCode::kShutdown, "the worker ends: " + exit_reason_);
  if (call->request.actor) {
    OnActorCall(call);
  } else {
    OnTask(call);
  }
}

// ---------------------------------------------------------------- tasks

void Mailbox::OnTask(MailboxCall* call) {
  const uint64_t lease = call->request.lease.number;
  if (MANTA_RULE("lease.fence_at_worker") && lease < highest_lease_) {
    return Refuse(call, ErrorCode::kNone, "the lease of this push has ended");
  }
  highest_lease_ = std::max(highest_lease_, lease);
  if (TaskIsSlow()) return Refuse(call, ErrorCode::kNone, "the task that runs here blocks, or takes long");
  call->lane = &tasks_;
  AwaitArguments(call);
  if (call->missing != 0) {
    call->started = out_->now();
    waiting_tasks_.PushBack(call);
    return LendWhileWaiting();
  }
  tasks_.ready.PushBack(call);
  RunLane(&tasks_);
  CheckSlow();
}

bool Mailbox::TaskIsSlow() const {
  if (tasks_.running == 0) return false;
  for (const Running& running : running_) {
    const MailboxCall& call = *running.call;
    if (call.lane == &tasks_) return call.blocked || out_->now() - call.started > options_.slow_task;
  }
  return false;
}

// Looks again when the task that runs would be slow, if something waits behind it.
void Mailbox::CheckSlow() {
  if (slow_check_ == kInfiniteFuture && tasks_.running != 0 && !(tasks_.ready.empty() && waiting_tasks_.empty())) {
    slow_check_ = out_->now() + options_.slow_task;
  }
}

void Mailbox::OnTick() {
  if (lend_check_ <= out_->now()) LendWhileWaiting();
  if (slow_check_ > out_->now()) return;
  slow_check_ = kInfiniteFuture;
  if (TaskIsSlow()) {
    RefuseTasks("the task that runs here takes long", LeaseId{});
  } else if (tasks_.running != 0 && !(tasks_.ready.empty() && waiting_tasks_.empty())) {
    for (const Running& running : running_) {
      if (running.call->lane == &tasks_) slow_check_ = running.call->started + options_.slow_task + Duration(1);
    }
  }
}

// While nothing runs here because arguments are on their way: one of them may have to be computed again
// (docs/objects.md), and no other CPU be free for that.
void Mailbox::LendWhileWaiting() {
  const bool idle = tasks_.running == 0 && tasks_.ready.empty();
  const MailboxCall* first = idle ? waiting_tasks_.front() : nullptr;
  const bool lends = first != nullptr && out_->now() - first->started >= kLendAfter;
  const LeaseId lease = lends ? first->request.lease : LeaseId{};
  lend_check_ = first != nullptr && !lends ? first->started + kLendAfter : kInfiniteFuture;
  if (lease == lent_) return;
  if (lent_) out_->ToDaemon(rpc::LeaseBlocked{lent_, false});
  if (lease) out_->ToDaemon(rpc::LeaseBlocked{lease, true});
  lent_ = lease;
}

// `below`: only those with a lower lease (none: all).
void Mailbox::RefuseTasks(const char* why, LeaseId below) {
  for (MailboxList* list : {&tasks_.ready, &waiting_tasks_}) {
    for (MailboxCall* call = list->front(); call != nullptr;) {
      MailboxCall* next = call->next;
      if (!below || call->request.lease.number < below.number) {
        list->Remove(call);
        Refuse(call, ErrorCode::kNone, why);
      }
      call = next;
    }
  }
  if (lent_) LendWhileWaiting();
}

void Mailbox::OnFence(const rpc::LeaseFence& fence) {
  highest_lease_ = std::max(highest_lease_, fence.lowest.number);
  if (MANTA_RULE("lease.fence_at_worker")) RefuseTasks("the lease of this push has ended", fence.lowest);
}

void Mailbox::OnBlocked(const BlockedChanged& changed) {
  for (const Running& running : running_) {
    MailboxCall* call = running.call;
    if (running.id != changed.call || call->blocked == changed.blocked) continue;
    call->blocked = changed.blocked;
    if (HostedActor* actor = call->lane->actor) {
      actor->blocked = changed.blocked ? actor->blocked + 1 : actor->blocked - 1;
      return LendCpu(actor);
    }
    out_->ToDaemon(rpc::LeaseBlocked{call->request.lease, changed.blocked});
    if (changed.blocked) RefuseTasks("the task that runs here blocks", LeaseId{});
    return;
  }
  OnConstructionBlocked(changed);
}

// ---------------------------------------------------------------- arguments

// Asks for the stored arguments that are not on this node.
void Mailbox::AwaitArguments(MailboxCall* call) {
  for (Value& arg : call->request.args) {
    if (arg.kind != Value::Kind::kStored || arg.location.node == options_.self.node || !arg.object) continue;
    if (call->serial == 0) {
      call->serial = ++last_serial_;
      by_serial_.emplace(call->serial, call);
    }
    // One that this process has a copy of is woken like the others, after this event.
    if (refs_->Await(arg.object, {Waiter::Kind::kMailbox, call->serial}, true)) {
      out_->wakes.push_back({{Waiter::Kind::kMailbox, call->serial}, arg.object});
    }
    ++call->missing;
  }
}

void Mailbox::OnArgument(uint64_t serial, const ObjectId& object) {
  const auto found = by_serial_.find(serial);
  if (found == by_serial_.end()) return;
  MailboxCall* call = found->second;
  const ObjectEntry* entry = refs_->Find(object);
  for (Value& arg : call->request.args) {
    if (arg.kind != Value::Kind::kStored || arg.object != object || arg.location.node == options_.self.node) continue;
    --call->missing;
    if (entry == nullptr || entry->phase == ObjectEntry::Phase::kError) {
      call->failed_argument = std::make_unique<rpc::ErrorInfo>();
      if (entry != nullptr) *call->failed_argument = *entry->error;
      if (!*call->failed_argument) call->failed_argument->code = ErrorCode::kObjectLost;
      arg.location.node = options_.self.node;  // done with it
      continue;
    }
    const std::vector<rpc::NestedRef> refs = std::move(arg.refs);
    arg = entry->value;
    arg.object = object;
    if (!refs.empty()) arg.refs = refs;
  }
  if (call->missing != 0) return;
  by_serial_.erase(found);
  call->serial = 0;
  Lane* lane = call->lane;
  if (lane->actor == nullptr) {
    call->list->Remove(call);
    tasks_.ready.PushBack(call);
    if (lent_) LendWhileWaiting();
    RunLane(lane);
    CheckSlow();
  } else if (lane->actor->construction == call) {
    StartConstruction(lane->actor);
  } else {
    HostedActor* actor = lane->actor;
    AdmitWaiting(actor, call->caller);
    EndIfDone(actor);
  }
}

// ---------------------------------------------------------------- running

void Mailbox::RunLane(Lane* lane) {
  while (lane->open && lane->running < lane->running_max && !lane->ready.empty()) {
    MailboxCall* call = lane->ready.PopFront();
    if (call->failed_argument) [[unlikely]] {
      Executed failed;
      failed.error = std::move(*call->failed_argument);
      Reply(call, std::move(failed));
    } else if (call->expires <= out_->now()) [[unlikely]] {
      Refuse(call, ErrorCode::kTimeout, "the call's Timeout passed while it waited at its worker");
    } else {
      Start(call);
    }
  }
}

void Mailbox::Start(MailboxCall* call) {
  ++call->lane->running;
  call->started = out_->now();
  running_.push_back({call->request.call, call->request.attempt, call});
  HostedActor* const actor = call->lane->actor;
  if (actor != nullptr && actor->lends) [[unlikely]]
    LendCpu(actor);
  if (options_.task_events != nullptr) {
    Record(call, actor == nullptr ? TaskKind::kTask : TaskKind::kActorCall, actor == nullptr ? ActorId{} : actor->id);
  }
  out_->Act<Execute>().request = std::move(call->request);
}

void Mailbox::Record(MailboxCall* call, TaskKind kind, ActorId actor) {
  const rpc::CallRequest& request = call->request;
  TaskRecord record;
  record.call = request.call;
  record.actor = actor;
  record.parent = request.parent;
  record.worker = out_->self();
  record.started_ns = out_->now().time_since_epoch().count();
  record.attempt = request.attempt;
  record.kind = kind;
  record.state = TaskState::kRunning;
  call->event = options_.task_events->Add(record, request.name, request.function);
}

void Mailbox::RecordEnd(const MailboxCall& call, const rpc::ErrorInfo& error) {
  if (options_.task_events == nullptr) return;
  if (error) {
    options_.task_events->SetFailed(call.event, out_->now(), error);
  } else {
    options_.task_events->SetFinished(call.event, out_->now());
  }
}

void Mailbox::OnExecuted(Executed&& executed) {
  const auto found = std::find_if(running_.begin(), running_.end(), [&](const Running& running) {
    return running.id == executed.call && running.attempt == executed.attempt;
  });
  if (found == running_.end()) {
    out_->Log(LogLine::Level::kError, "an end was reported of " + ToString(executed.call) + ", which does not run");
    return;
  }
  MailboxCall* call = found->call;
  *found = running_.back();
  running_.pop_back();
  Lane* lane = call->lane;
  --lane->running;
  if (call->blocked && lane == &tasks_) out_->ToDaemon(rpc::LeaseBlocked{call->request.lease, false});
  if (lane->actor != nullptr && lane->actor->blocked != 0) [[unlikely]] {
    lane->actor->blocked -= call->blocked;
    LendCpu(lane->actor);
  }
  const bool exits = executed.exit_actor && lane->actor != nullptr;
  Reply(call, std::move(executed));
  if (exits) {
    lane->actor->ending = true;
    RefuseCallsOf(lane->actor, "the actor has called ExitActor");
  }
  if (!lane->ready.empty()) RunLane(lane);
  if (lane == &tasks_ && !waiting_tasks_.empty()) LendWhileWaiting();
  if (lane->actor != nullptr) EndIfDone(lane->actor);
  if (exiting_) ExitIfIdle();
}

// Seals, tickets and registrations first, then the reply: whoever reads the reply finds the homes informed.
void Mailbox::Reply(MailboxCall* call, Executed&& executed) {
  const CallId& id = call->request.call;
  const uint32_t attempt = call->request.attempt;
  RecordEnd(*call, executed.error);
  for (uint32_t i = 0; i < executed.returns.size(); ++i) {
    Value& value = executed.returns[i];
    if (value.kind != Value::Kind::kStored) continue;
    value.object = {id.caller, id.number, i};
    refs_->Seal(value.object, value, attempt, id.caller);
  }
  if (!call->caller_dead) refs_->TicketReply(&executed.returns, id, attempt);
  std::vector<uint32_t> kept;
  if (!call->refs.empty()) kept = refs_->EndOfCall(call->refs, id, attempt, true);
  if (!call->caller_dead) {
    auto& reply = out_->Send<rpc::CallReply>(id.caller);
    reply.call = id;
    reply.attempt = attempt;
    reply.run_ns = executed.run_ns;
    reply.kept = std::move(kept);
    if (executed.error) {
      reply.outcome = Outcome::kError;
      reply.error = std::move(executed.error);
    } else {
      reply.returns = std::move(executed.returns);
    }
  }
  Forget(call);
}

void Mailbox::Refuse(MailboxCall* call, ErrorCode code, std::string why) {
  std::vector<uint32_t> kept = refs_->EndOfCall(call->refs, call->request.call, call->request.attempt, true);
  if (!call->caller_dead) {
    auto& reply = out_->Send<rpc::CallReply>(call->request.call.caller);
    reply.call = call->request.call;
    reply.attempt = call->request.attempt;
    reply.outcome = Outcome::kNotExecuted;
    reply.kept = std::move(kept);
    reply.error.code = code;
    reply.error.message = std::move(why);
  }
  Forget(call);
}

void Mailbox::Forget(MailboxCall* call) {
  if (call->serial != 0) by_serial_.erase(call->serial);
  call->request.args.clear();
  call->refs.clear();
  call->lane = nullptr;
  call->caller = nullptr;
  call->expires = kInfiniteFuture;
  call->serial = 0;
  call->event = 0;
  call->missing = 0;
  call->caller_dead = call->blocked = false;
  call->failed_argument.reset();
  pool_.GiveBack(call);
  --size_;
}

// ---------------------------------------------------------------- cancels, deaths, the end

void Mailbox::OnCancel(const rpc::CallCancel& cancel) {
  MailboxCall* found = nullptr;
  ForEachCall([&](MailboxCall* call) {
    if (call->request.call == cancel.call && call->request.attempt == cancel.attempt) found = call;
  });
  if (found == nullptr) return;  // its reply is on its way
  if (found->list == nullptr) {
    if (found->caller == nullptr) return;  // it runs
    const auto early = found->caller->early.find(found->request.sequence);
    if (early == found->caller->early.end() || early->second != found) return;
    early->second = nullptr;
    return Refuse(found, ErrorCode::kCancelled, "cancelled before it started");
  }
  const bool was_waiting = found->caller != nullptr && found->list == &found->caller->waiting;
  HostedActor* actor = found->lane->actor;
  CallerQueue* caller = found->caller;
  found->list->Remove(found);
  Refuse(found, ErrorCode::kCancelled, "cancelled before it started");
  if (lent_) LendWhileWaiting();
  if (was_waiting) AdmitWaiting(actor, caller);
  if (actor != nullptr) EndIfDone(actor);
}

void Mailbox::OnCallersDied(ProcessId first, ProcessId last) {
  ForEachCall([&](MailboxCall* call) {
    if (call->request.call.caller < first || last < call->request.call.caller) return;
    if (MANTA_RULE("death.drain_registers")) {
      refs_->RegisterForCall(call->refs, call->request.call, call->request.attempt);
    }
    call->caller_dead = true;
  });
  for (auto& [id, actor] : actors_) DropCallersOf(actor.get(), first, last);
}

void Mailbox::OnExit(const rpc::ProcessExit& exit) {
  if (exited_) return;
  exit_reason_ = exit.reason;
  if (!exit.graceful) {
    exiting_ = exited_ = true;
    out_->Act<ExitProcess>() = {exit.reason, false};
    return;
  }
  exiting_ = true;
  RefuseTasks("the worker ends", LeaseId{});
  for (auto& [id, actor] : actors_) RefuseCallsOf(actor.get(), "the worker ends");
  ExitIfIdle();
}

void Mailbox::ExitIfIdle() {
  if (exited_ || !running_.empty()) return;
  exited_ = true;
  out_->Act<ExitProcess>() = {exit_reason_, true};
}

template <typename Visit>
void Mailbox::ForEachCall(Visit visit) {
  for (const Running& running : running_) visit(running.call);
  for (MailboxList* list : {&tasks_.ready, &waiting_tasks_}) {
    for (MailboxCall* call = list->front(); call != nullptr; call = call->next) visit(call);
  }
  for (auto& [id, actor] : actors_) {
    if (actor->construction != nullptr) visit(actor->construction);
    for (MailboxCall* call = actor->lane.ready.front(); call != nullptr; call = call->next) visit(call);
    for (auto& [caller, queue] : actor->callers) {
      for (MailboxCall* call = queue.waiting.front(); call != nullptr; call = call->next) visit(call);
      for (auto& [sequence, call] : queue.early) {
        if (call != nullptr) visit(call);
      }
    }
  }
}

}  // namespace manta::runtime::worker

#include "runtime/worker/call_table.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/worker/lease_client.h"

namespace manta::runtime::worker {
namespace {

using rpc::ErrorCode;
using rpc::ErrorInfo;
using rpc::Value;

bool AnyRefs(const std::vector<Value>& args) {
  for (const Value& arg : args) {
    if (arg.kind != Value::Kind::kInline || !arg.refs.empty()) return true;
  }
  return false;
}

}  // namespace

// ---------------------------------------------------------------- submission

Call* CallTable::Submit(SubmitCall* submit) {
  Call* call = store_->Add(submit->number);
  const bool is_actor_call = static_cast<bool>(submit->actor);
  call->kind = is_actor_call ? Call::Kind::kActorCall : Call::Kind::kTask;
  call->function = submit->function;
  call->trace = submit->trace;
  call->parent = submit->parent;
  call->depth = submit->depth;
  call->retries_left = submit->max_retries;
  call->retries_of_actor = submit->retries_of_actor;
  call->retry_on_exception = submit->retry_on_exception;
  call->function_name = std::move(submit->function_name);
  AddResults(call, submit->returns);
  if (options_.task_events != nullptr) Record(call, submit->actor);
  if (submit->timeout) {
    call->deadline = SaturatingAdd(out_->now(), *submit->timeout);
    timers_.insert({call->deadline, call->number});
  }
  if (AnyRefs(submit->args)) {
    TakeArguments(call, std::move(submit->args));
    if (options_.task_events != nullptr && call->deps != 0) options_.task_events->SetPendingArgs(call->event);
    submit->args.clear();
  } else {
    RefuseIfTooLarge(call, submit->args);
  }
  return call;
}

void CallTable::Record(Call* call, ActorId actor) {
  TaskRecord record;
  record.call = store_->id(*call);
  record.actor = actor;
  record.parent = call->parent;
  record.submitted_ns = out_->now().time_since_epoch().count();
  record.kind = actor ? TaskKind::kActorCall : TaskKind::kTask;
  record.state = TaskState::kPendingNode;
  record.is_own = 1;
  call->event = options_.task_events->Add(record, call->function_name, call->function);
}

Call* CallTable::SubmitCreation(SubmitActor submit) {
  Call* call = store_->Add(submit.spec.actor.number);
  call->kind = Call::Kind::kActorCreation;
  call->parent = submit.spec.parent;
  call->function = submit.spec.constructor;
  call->function_name = submit.spec.class_name;
  AddResults(call, {submit.handle});
  std::vector<Value> args = std::move(submit.spec.args);
  submit.spec.args.clear();
  call->spec = std::make_unique<rpc::ActorSpec>(std::move(submit.spec));
  if (AnyRefs(args)) {
    TakeArguments(call, std::move(args));
  } else {
    call->args = std::move(args);
    RefuseIfTooLarge(call, call->args);
  }
  return call;
}

void CallTable::SubmitPut(runtime::SubmitPut submit, ErrorCode refused, std::string why) {
  Call* call = store_->Add(submit.number);
  call->kind = Call::Kind::kPut;
  AddResults(call, {submit.handle});
  call->completed = true;
  const ObjectId id = store_->result_id(*call, 0);
  ObjectEntry* entry = &call->result;
  if (refused != ErrorCode::kNone) {
    refs_->SetError(id, entry, Error(*call, refused, std::move(why)));
    return refs_->ForgetUnreferenced(id);
  }
  refs_->HoldRefs(submit.value);
  const bool stored = submit.value.kind == Value::Kind::kStored;
  if (stored) {
    submit.value.object = id;
    refs_->Seal(id, submit.value, 0, out_->self());
  }
  refs_->SetValue(id, entry, std::move(submit.value));
  if (stored) entry->registered = entry->published = true;  // the seal said it all
  refs_->ForgetUnreferenced(id);
}

void CallTable::AddResults(Call* call, const std::vector<Cookie>& handles) {
  call->return_count = static_cast<uint32_t>(handles.size());
  if (handles.size() > 1) call->more_results = std::make_unique<ObjectEntry[]>(handles.size() - 1);
  for (uint32_t i = 0; i < handles.size(); ++i) {
    ObjectEntry& entry = call->result_at(i);
    entry.owned = true;
    entry.waiting = handles[i];
    entry.handles = handles[i] != 0 ? 1 : 0;
  }
}

// Holds the refs of the arguments, and replaces those that are refs by what they refer to, or waits for it.
void CallTable::TakeArguments(Call* call, std::vector<Value> args) {
  call->has_refs = true;
  call->args = std::move(args);
  for (Value& arg : call->args) {
    if (arg.kind == Value::Kind::kInline) {
      refs_->HoldRefs(arg);
    } else {
      refs_->Hold(arg.object);
      if (arg.kind == Value::Kind::kStored) refs_->HoldRefs(arg);
    }
  }
  for (Value& arg : call->args) {
    if (arg.kind != Value::Kind::kRef) continue;
    if (arg.object.is_actor()) {
      return Fail(call,
                  Error(*call, ErrorCode::kInvalidArgument, "an actor's handle is passed inside a value, not as one"));
    }
    if (!refs_->Await(arg.object, {Waiter::Kind::kCall, call->number}, false)) {
      ++call->deps;
    } else if (!TakeArgument(call, &arg)) {
      return;
    }
  }
  if (call->deps == 0) RefuseIfTooLarge(call, call->args);
}

bool CallTable::OnArgument(Call* call, const ObjectId& object) {
  bool progress = false;
  for (Value& arg : call->args) {
    if (call->completed) break;
    if (arg.kind != Value::Kind::kRef || arg.object != object) continue;
    --call->deps;
    progress = true;
    if (!TakeArgument(call, &arg)) break;
  }
  if (progress && call->deps == 0 && !call->completed) {
    if (options_.task_events != nullptr) options_.task_events->SetPendingNode(call->event);
    RefuseIfTooLarge(call, call->args);
  }
  return progress && (call->deps == 0 || call->completed);
}

// False: the argument is an error, and so is the call now.
bool CallTable::TakeArgument(Call* call, Value* arg) {
  const ObjectId id = arg->object;
  const ObjectEntry* entry = refs_->Find(id);
  if (entry == nullptr) {
    Fail(call, Error(*call, ErrorCode::kObjectLost, "the argument " + ToString(id) + " is not known to this process"));
    return false;
  }
  if (entry->phase == ObjectEntry::Phase::kError) {
    Fail(call, ErrorInfo(*entry->error));
    return false;
  }
  *arg = entry->value;
  refs_->HoldRefs(*arg);
  if (arg->kind == Value::Kind::kInline) {
    refs_->Unhold(id);
  } else {
    arg->object = id;  // its hold goes on
  }
  return true;
}

void CallTable::RefuseIfTooLarge(Call* call, const std::vector<Value>& args) {
  if (rpc::EncodedBytesMax(args) <= rpc::kValuesBytesMax) return;
  Fail(call, Error(*call, ErrorCode::kInvalidArgument, rpc::TooLargeText("the arguments", args)));
}

// ---------------------------------------------------------------- attempts

rpc::CallRequest& CallTable::Send(Call* call, ProcessId worker, std::vector<Value>* fresh) {
  call->attempt = call->tries++;
  call->sent = true;
  call->worker = worker;
  if (options_.task_events != nullptr) options_.task_events->SetSubmitted(call->event, call->attempt, worker);
  if (call->has_refs) refs_->TicketRequest(&call->args, store_->id(*call), call->attempt);
  auto& request = out_->Send<rpc::CallRequest>(worker);
  request.call = store_->id(*call);
  request.attempt = call->attempt;
  request.job = options_.job;
  request.function = call->function;
  if (!call->function_name.empty()) request.name = call->function_name;
  if (fresh != nullptr) {
    request.args = std::move(*fresh);
  } else {
    request.args = call->args;
  }
  request.return_count = call->return_count;
  if (call->deadline != kInfiniteFuture) {
    request.deadline_ns = static_cast<uint64_t>(std::max<int64_t>(1, (call->deadline - out_->now()).count()));
  }
  request.parent = call->parent;
  request.depth = call->depth;
  request.trace = call->trace;
  request.retry_on_exception = call->retry_on_exception && call->retries_left != 0;
  return request;
}

void CallTable::EndAttempt(Call* call, const std::vector<uint32_t>& kept) {
  call->sent = false;
  if (call->has_refs) refs_->EndRequest(call->args, store_->id(*call), call->attempt, kept, call->worker);
}

void CallTable::LoseAttempt(Call* call) {
  call->sent = false;
  if (call->has_refs) refs_->LoseRequest(call->args, store_->id(*call), call->attempt, call->worker);
  call->may_have_run = true;
  for (uint32_t i = 0; i < call->entry_count(); ++i) {
    refs_->MayBeSealed(store_->result_id(*call, i), &call->result_at(i));
  }
}

bool CallTable::UseRetry(Call* call) {
  if (call->retries_left == 0) return false;
  if (call->retries_left > 0) --call->retries_left;
  return true;
}

// ---------------------------------------------------------------- outcomes

void CallTable::Succeed(Call* call, std::vector<Value>&& returns) {
  if (returns.size() != call->return_count) [[unlikely]] {
    rpc::CallReply reply;
    reply.call = store_->id(*call);
    reply.attempt = call->attempt;
    reply.returns = std::move(returns);
    Discard(reply, call->worker);
    return Fail(call,
                Error(*call, ErrorCode::kInternal,
                      "the worker answered with " + std::to_string(reply.returns.size()) + " results instead of " +
                          std::to_string(call->return_count) + ": do caller and worker run the same program?"));
  }
  refs_->AcceptReply(&returns, store_->id(*call), call->attempt, call->worker);
  call->completed = true;
  if (options_.task_events != nullptr) options_.task_events->SetFinished(call->event, out_->now());
  for (uint32_t i = 0; i < call->return_count; ++i) {
    const ObjectId id = store_->result_id(*call, i);
    ObjectEntry* entry = &call->result_at(i);
    if (!entry->pending()) [[unlikely]] {
      refs_->Supersede(id, entry, std::move(returns[i]), call->attempt);
      continue;
    }
    if (returns[i].kind != Value::Kind::kInline) [[unlikely]] {
      returns[i].kind = Value::Kind::kStored;
      returns[i].object = id;
      entry->registered = true;
      entry->sealed_on = returns[i].location.node;
      entry->sealed_attempt = call->attempt;
    }
    refs_->SetValue(id, entry, std::move(returns[i]));
  }
  if (call->kind == Call::Kind::kTask && MayBeLost(*call)) [[unlikely]]
    lineage_->Keep(call, call->queue->demand);
  Finish(call);
}

// Some result lies where it may be lost while its home, this node, lives; and there is a try left to make it again.
bool CallTable::MayBeLost(const Call& call) const {
  if (call.retries_left == 0) return false;
  for (uint32_t i = 0; i < call.return_count; ++i) {
    const ObjectEntry& entry = i == 0 ? call.result : call.more_results[i - 1];
    const bool stored = entry.phase == ObjectEntry::Phase::kValue && entry.value.kind == Value::Kind::kStored;
    if (!entry.dropped && entry.referenced() && stored && entry.value.location.node != options_.self.node) return true;
  }
  return false;
}

void CallTable::Revive(Call* call) {
  lineage_->Take(call);
  UseRetry(call);
  call->completed = false;
  call->cancelled = false;
  call->may_have_run = true;
  call->deadline = kInfiniteFuture;
}

void CallTable::Fail(Call* call, ErrorInfo error) {
  MANTA_DCHECK(!call->completed);
  call->completed = true;
  if (options_.task_events != nullptr) options_.task_events->SetFailed(call->event, out_->now(), error);
  if (call->list != nullptr && !call->sent) call->list->Remove(call);
  for (uint32_t i = 0; i < call->entry_count(); ++i) {
    ObjectEntry* entry = &call->result_at(i);
    if (entry->pending()) refs_->SetError(store_->result_id(*call, i), entry, error);
  }
  Finish(call);
}

void CallTable::Discard(const rpc::CallReply& reply, ProcessId callee) {
  refs_->RefuseReply(reply.returns, reply.call, reply.attempt, callee);
  for (uint32_t i = 0; i < reply.returns.size(); ++i) {
    const Value& value = reply.returns[i];
    if (value.kind != Value::Kind::kStored) continue;
    refs_->ReleaseSealed({reply.call.caller, reply.call.number, i}, value, reply.attempt);
  }
}

void CallTable::Finish(Call* call) {
  if (call->deadline != kInfiniteFuture) timers_.erase({call->deadline, call->number});
  if (call->sent) return;
  if (call->kind != Call::Kind::kActorCreation && !call->kept) DropArguments(call);
  // The results that nobody refers to go at once; the record follows the last of them.
  for (uint32_t i = 0; i < call->entry_count(); ++i) {
    const ObjectEntry& entry = call->result_at(i);
    if (!entry.dropped && !entry.referenced()) refs_->ForgetUnreferenced(store_->result_id(*call, i));
  }
  RetireIfOver(out_, store_, call);
}

void CallTable::DropArguments(Call* call) {
  if (call->has_refs) {
    const std::vector<Value> args = std::exchange(call->args, {});
    call->has_refs = false;
    for (const Value& arg : args) {
      if (arg.kind != Value::Kind::kInline) refs_->Unhold(arg.object);
      refs_->UnholdRefs(arg);
    }
  } else {
    call->args.clear();
  }
}

std::vector<Call*> CallTable::TakeExpired(Time now) {
  std::vector<Call*> expired;
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Call* call = store_->Find(timers_.begin()->second);
    timers_.erase(timers_.begin());
    if (call == nullptr) continue;
    call->deadline = kInfiniteFuture;
    expired.push_back(call);
  }
  return expired;
}

std::string CallTable::NameOf(const Call& call) const {
  if (!call.function_name.empty() || call.function == 0 || !options_.function_name) return call.function_name;
  return options_.function_name(call.function);
}

ErrorInfo CallTable::Error(const Call& call, ErrorCode code, std::string message) const {
  ErrorInfo error;
  error.code = code;
  error.message = std::move(message);
  error.may_have_run = call.may_have_run;
  return ErrorOf(call, std::move(error));
}

// The worker has named the call already, if its user code had begun.
ErrorInfo CallTable::ErrorOf(const Call& call, ErrorInfo error) const {
  std::string name = NameOf(call);
  const bool named = name.empty() || (!error.chain.empty() && error.chain.front() == name);
  if (!named) error.chain.insert(error.chain.begin(), std::move(name));
  return error;
}

}  // namespace manta::runtime::worker

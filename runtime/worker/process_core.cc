#include "runtime/worker/process_core.h"

#include <algorithm>
#include <utility>

#include "base/rule.h"
#include "runtime/worker/process_core_impl.h"

// Calls of this process. The other events are in process_core_events.cc.

namespace manta::runtime {

ProcessEvent::ProcessEvent() noexcept = default;
ProcessEvent::ProcessEvent(const ProcessEvent& other) = default;
ProcessEvent::ProcessEvent(ProcessEvent&& other) noexcept = default;
ProcessEvent& ProcessEvent::operator=(const ProcessEvent& other) = default;
ProcessEvent& ProcessEvent::operator=(ProcessEvent&& other) noexcept = default;
ProcessEvent::~ProcessEvent() = default;

ProcessAction::ProcessAction() noexcept = default;
ProcessAction::ProcessAction(const ProcessAction& other) = default;
ProcessAction::ProcessAction(ProcessAction&& other) noexcept = default;
ProcessAction& ProcessAction::operator=(const ProcessAction& other) = default;
ProcessAction& ProcessAction::operator=(ProcessAction&& other) noexcept = default;
ProcessAction::~ProcessAction() = default;

using rpc::ErrorCode;
using rpc::ErrorInfo;
using rpc::Outcome;
using worker::ActorStream;
using worker::Call;
using worker::Demand;
using worker::Lease;
using worker::ObjectEntry;
using worker::Outbox;
using worker::ShapeQueue;
using worker::Waiter;

namespace {

std::string Prefix(const std::string& name) { return name.empty() ? "" : name + ": "; }

}  // namespace

ProcessCore::ProcessCore(ProcessOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
ProcessCore::~ProcessCore() = default;

void ProcessCore::Handle(Time now, ProcessEvent event, std::vector<ProcessAction>* actions) {
  impl_->out.Begin(now, actions);
  impl_->store.Recycle();
  std::visit([this](auto& what) { impl_->On(what); }, event);
  impl_->CarryNotes();
}

Time ProcessCore::next_deadline() const {
  return std::min({impl_->calls.next_deadline(), impl_->leases.next_deadline(), impl_->streams.next_deadline(),
                   impl_->mailbox.next_deadline()});
}

ProcessCounts ProcessCore::counts() const {
  ProcessCounts counts;
  impl_->store.ForEach([&](Call* call) {
    if (!call->completed) ++counts.calls_pending;
    if (call->completed && call->sent) ++counts.calls_late;
    for (uint32_t i = 0; i < call->entry_count(); ++i) {
      const ObjectEntry& entry = call->result_at(i);
      if (!entry.dropped && (entry.referenced() || entry.pending())) ++counts.objects_owned;
    }
  });
  counts.objects_borrowed = impl_->refs.borrowed();
  counts.leases = impl_->leases.leases();
  counts.mailbox_calls = impl_->mailbox.size();
  counts.streams = impl_->streams.size();
  return counts;
}

// What the parts left for one another, until nothing is left.
void ProcessCore::Impl::CarryNotes() {
  while (out.has_notes() || lineage.Trim()) {
    for (const Outbox::Wake& wake : std::exchange(out.wakes, {})) {
      if (wake.waiter.kind == Waiter::Kind::kMailbox) {
        mailbox.OnArgument(wake.waiter.number, wake.object);
        continue;
      }
      Call* call = store.Find(wake.waiter.number);
      if (call != nullptr && !call->completed && calls.OnArgument(call, wake.object)) Ready(call);
    }
    for (const ActorId& actor : std::exchange(out.idle_handles, {})) streams.OnIdleHandle(actor);
    for (rpc::Message& message : std::exchange(out.to_self, {})) OnMessage(options.self, message);
    for (Outbox::Lost& lost : std::exchange(out.lost, {})) OnLost(std::move(lost));
    for (const uint64_t number : std::exchange(out.unkept, {})) {
      Call* call = store.Find(number);
      if (call == nullptr) continue;
      lineage.Release(call);
      worker::RetireIfOver(&out, &store, call);
    }
  }
}

// ---------------------------------------------------------------- calls of this process

void ProcessCore::Impl::On(SubmitCall& submit) {
  Call* call = calls.Submit(&submit);
  if (call->completed || Refused(call)) return;
  std::vector<rpc::Value>* fresh = call->has_refs ? nullptr : &submit.args;
  if (call->kind == Call::Kind::kActorCall) return streams.FindOrAdd(submit.actor)->Submit(call, fresh);
  if (call->deps == 0) return leases.Enqueue(call, {std::move(submit.shape), submit.hint}, fresh);
  call->demand = std::make_unique<Demand>(Demand{std::move(submit.shape), submit.hint});
}

void ProcessCore::Impl::On(SubmitActor& submit) {
  const ActorId actor = submit.spec.actor;
  const Cookie decided = submit.decided;
  Call* call = calls.SubmitCreation(std::move(submit));
  ActorStream* stream = streams.FindOrAdd(actor);
  stream->SetCreation(call, decided);
  if (!call->completed && Refused(call)) {
    stream->Die(*call->result.error);
  } else if (call->completed) {
    Ready(call);
  } else if (call->deps == 0) {
    stream->Create();
  }
}

void ProcessCore::Impl::On(SubmitPut& submit) {
  if (out.daemon_lost() && submit.value.kind != rpc::Value::Kind::kInline) {
    submit.value = {};  // there is no store any more; the handle says so
    return calls.SubmitPut(std::move(submit), ErrorCode::kNodeDied,
                           "this process's node daemon is gone, and its store with it");
  }
  if (rpc::EncodedBytesMax(submit.value) > rpc::kValuesBytesMax) {
    std::string why = rpc::TooLargeText("the value's parts", {submit.value});
    return calls.SubmitPut(std::move(submit), ErrorCode::kInvalidArgument, std::move(why));
  }
  calls.SubmitPut(std::move(submit), ErrorCode::kNone, "");
}

// True: no calls are taken any more, and this one has been failed.
bool ProcessCore::Impl::Refused(Call* call) {
  if (out.daemon_lost()) {
    calls.Fail(call, calls.Error(*call, ErrorCode::kNodeDied, "this process's node daemon is gone. Call Init again"));
  } else if (shutting_down) {
    calls.Fail(call, calls.Error(*call, ErrorCode::kShutdown, "Shutdown has begun: no calls are taken any more"));
  } else {
    return false;
  }
  return true;
}

// All arguments are known, or one is an error and the call is completed.
void ProcessCore::Impl::Ready(Call* call) {
  if (call->kind == Call::Kind::kActorCreation) {
    ActorStream* stream = streams.FindOrAdd(ActorId{options.self, call->number});
    if (call->completed) {
      stream->Die(ErrorInfo(*call->result.error));
    } else {
      stream->Create();
    }
  } else if (call->stream != nullptr) {
    call->stream->AfterReply();
  } else if (!call->completed) {
    leases.Enqueue(call, *call->demand, nullptr);
  }
}

void ProcessCore::Impl::OnReply(ProcessId from, rpc::CallReply& reply) {
  if (reply.call.caller != options.self) return;
  Call* call = store.Find(reply.call.number);
  const bool out_there = call != nullptr && call->sent;
  const bool current = out_there && call->attempt == reply.attempt && call->worker == from;
  if (!current && (MANTA_RULE("call.stale_attempt") || !out_there)) return calls.Discard(reply, from);
  if (ActorStream* stream = call->stream) {
    stream->OnReply(call, reply);
    Decide(call, reply);
    stream->AfterReply();
  } else {
    Lease* lease = call->lease;
    ShapeQueue* queue = call->queue;
    leases.OnReply(call, reply);
    Decide(call, reply);
    leases.Serve(queue, lease);
  }
}

void ProcessCore::Impl::Decide(Call* call, rpc::CallReply& reply) {
  calls.EndAttempt(call, reply.kept);
  if (call->completed) [[unlikely]] {  // it timed out: the reply only ends what the attempt held
    calls.Discard(reply, call->worker);
    return calls.Finish(call);
  }
  switch (reply.outcome) {
    case Outcome::kOk:
      return calls.Succeed(call, std::move(reply.returns));
    case Outcome::kError:
      if (call->retry_on_exception && reply.error.code == ErrorCode::kTaskError && !call->cancelled &&
          calls.UseRetry(call)) {
        return TryAgain(call);
      }
      return calls.Fail(call, calls.ErrorOf(*call, std::move(reply.error)));
    case Outcome::kNotExecuted:
      return DecideNotExecuted(call, reply);
    case Outcome::kUnknown:
      break;
  }
  call->may_have_run = true;
  if (!call->cancelled && calls.UseRetry(call)) return TryAgain(call);
  const ErrorCode code = call->stream != nullptr ? ErrorCode::kActorDied : ErrorCode::kWorkerDied;
  calls.Fail(call, calls.Error(*call, code, "the worker cannot say whether the call ran; no try is left"));
}

void ProcessCore::Impl::DecideNotExecuted(Call* call, const rpc::CallReply& reply) {
  if (call->cancelled || reply.error.code == ErrorCode::kCancelled) {
    return calls.Fail(call, calls.Error(*call, ErrorCode::kCancelled, "the call was cancelled before it started"));
  }
  if (reply.error.code == ErrorCode::kTimeout) {
    return calls.Fail(call, calls.Error(*call, ErrorCode::kTimeout, Prefix(calls.NameOf(*call)) + reply.error.message));
  }
  if (MANTA_RULE("call.not_executed_is_free") || calls.UseRetry(call)) return TryAgain(call);
  const ErrorCode code = call->stream != nullptr ? ErrorCode::kActorDied : ErrorCode::kWorkerDied;
  calls.Fail(call, calls.Error(*call, code, "the worker gave the call back: " + reply.error.message));
}

void ProcessCore::Impl::TryAgain(Call* call) {
  if (shutting_down) {
    calls.Fail(call, calls.Error(*call, ErrorCode::kCancelled, "Shutdown: the call is not tried again"));
  } else if (call->stream != nullptr) {
    call->stream->Again(call);
  } else {
    leases.Again(call);
  }
}

// No copy of an own result is left, and somebody wants it: the call is run again if it can be (docs/objects.md).
void ProcessCore::Impl::OnLost(Outbox::Lost lost) {
  Call* call = store.Find(lost.object.number);
  ObjectEntry* entry = refs.Find(lost.object);
  if (call == nullptr || entry == nullptr || !entry->owned || entry->pending()) return;
  const std::string why = shutting_down ? "Shutdown has begun" : lineage.WhyNot(*call);
  if (!why.empty()) {
    lost.error.message += ". It cannot be computed again: " + why;
    return refs.Lose(lost.object, entry, calls.ErrorOf(*call, std::move(lost.error)));
  }
  refs.Reopen(entry);
  if (!call->completed) return;  // it runs again already, for another result
  out.Log(LogLine::Level::kWarning, Prefix(calls.NameOf(*call)) + ToString(lost.object) +
                                        " is lost, and is computed again: " + lost.error.message);
  calls.Revive(call);
  const Demand demand = *call->demand;
  leases.Enqueue(call, demand, nullptr);
}

// ---------------------------------------------------------------- cancels, deadlines

void ProcessCore::Impl::On(CancelCall& cancel) {
  if (cancel.object.owner != options.self) {
    return out.Log(LogLine::Level::kWarning, "Cancel(" + ToString(cancel.object) +
                                                 ") is ignored: only the process that "
                                                 "made the call can cancel it");
  }
  Call* call = store.Find(cancel.object.number);
  if (call == nullptr || call->completed) return;
  if (call->kind == Call::Kind::kActorCreation) {
    KillActor kill{ActorId{options.self, call->number}, true};
    return On(kill);
  }
  Cancel(call);
}

void ProcessCore::Impl::Cancel(Call* call) {
  if (!call->sent) {
    return FailUnsent(call, calls.Error(*call, ErrorCode::kCancelled, "the call was cancelled before it was sent"));
  }
  if (std::exchange(call->cancelled, true)) return;
  auto& message = out.Send<rpc::CallCancel>(call->worker);
  message.call = store.id(*call);
  message.attempt = call->attempt;
}

void ProcessCore::Impl::FailUnsent(Call* call, ErrorInfo error) {
  if (call->stream != nullptr) {
    calls.Fail(call, std::move(error));
    call->stream->AfterReply();
  } else {
    leases.Withdraw(call);
    calls.Fail(call, std::move(error));
  }
}

void ProcessCore::Impl::Expire(Call* call) {
  if (call->completed) return;
  ErrorInfo error;
  if (call->stream == nullptr) {
    error = leases.TimeoutError(*call);
  } else {
    const std::string why = call->stream->WhyWaiting();
    error = calls.Error(*call, ErrorCode::kTimeout,
                        call->sent ? "the actor had not answered when the call's Timeout passed"
                                   : "the call had not been sent when its Timeout passed");
    if (!why.empty()) error.message += ": " + why;
    error.may_have_run = error.may_have_run || call->sent;
  }
  error.message = Prefix(calls.NameOf(*call)) + error.message;
  if (!call->sent) return FailUnsent(call, std::move(error));
  Cancel(call);
  calls.Fail(call, std::move(error));  // the record stays until the attempt is answered
}

}  // namespace manta::runtime

// LocalBackend's actors: placed when their resources are free, then a thread each that runs their calls.
#include <algorithm>
#include <utility>

#include "api/local_backend.h"
#include "manta/error.h"
#include "manta/object_ref.h"
#include "runtime/scheduling.h"

namespace manta::internal {
namespace {

constexpr uint64_t kCredit = 16 << 10;  // unfinished calls of one caller to one actor
constexpr std::chrono::seconds kCreditTimeout(30);

ErrorValue Died(std::string message) {
  ErrorValue error;
  error.code = static_cast<uint16_t>(ErrorCode::kActorDied);
  error.message = std::move(message);
  return error;
}

// `why` as one of the actor's calls gets it.
ErrorValue ForCall(ErrorValue why, bool may_have_run) {
  why.may_have_run = may_have_run;
  return why;
}

// Code 0: none.
ErrorValue Refusal(const ActorOptions& options) {
  if (options.hint.node > 1 && !options.hint.soft) return Died(runtime::WhyNever(options.hint.node, false));
  ErrorValue error;
  if (options.detached) {
    error.code = static_cast<uint16_t>(ErrorCode::kInvalidArgument);
    error.message =
        "Lifetime(kDetached): with --manta-local everything ends with this process; start a cluster with `manta start "
        "--head`, and the program with its address";
  }
  return error;
}

}  // namespace

// ---------------------------------------------------------------- making

RefHandle LocalBackend::CreateActor(uint64_t constructor, const char* class_name, std::vector<Argument> args,
                                    const ActorOptions& options) {
  auto actor = std::make_shared<LocalActor>();
  actor->constructor = constructor;
  actor->class_name = Demangle(class_name);
  actor->name = options.name;
  actor->name_space = options.name_space.empty() ? spec_.name_space : options.name_space;
  actor->options = options;
  actor->placement = ShapeOf(options.resources, options.num_cpus, options.num_gpus, /*cpus=*/1);
  actor->lifetime = ShapeOf(options.resources, options.num_cpus, options.num_gpus, /*cpus=*/0);
  actor->restarts_left = options.max_restarts;
  const LocalCallPtr construction = NewCall(constructor, &args, /*return_count=*/0, CallOptions());
  construction->constructs = actor;
  actor->construction = construction;
  actor->key = construction->key;
  actor->key.index = 0xFFFFFFFFu;

  base::MutexLock lock(&mutex_);
  if (shut_down_) throw ShutdownError(ErrorCode::kShutdown, "Manta was used after Shutdown");
  if (const LocalActorPtr other = FindNamed(actor->name_space, actor->name)) {
    if (options.get_if_exists) return NewHandle(other);
    ErrorValue taken;
    taken.code = static_cast<uint16_t>(ErrorCode::kNameTaken);
    taken.message = "an actor named '" + actor->name + "' (a " + other->class_name + ") lives in the namespace '" +
                    actor->name_space + "' already; GetIfExists() gives a handle to it";
    Die(actor, taken);
    return NewHandle(actor);
  }
  if (const ErrorValue refused = Refusal(options); refused.code != 0) {
    Die(actor, refused);
    return NewHandle(actor);
  }
  actors_.push_back(actor);
  if (!actor->name.empty()) named_[{actor->name_space, actor->name}] = actor;
  WaitForArguments(construction);
  if (construction->missing == 0) OnArgumentsReady(construction);
  return NewHandle(actor);
}

RefHandle LocalBackend::NewHandle(const LocalActorPtr& actor) {
  auto* const handle = new LocalHandle(this, actor->key);
  handle->generation = spec_.generation;
  handle->actor = actor;
  return RefHandle(handle);
}

LocalActorPtr LocalBackend::FindNamed(const std::string& name_space, const std::string& name) {
  const auto at = named_.find({name_space, name});
  return name.empty() || at == named_.end() ? nullptr : at->second;
}

void LocalBackend::PlaceActors() {
  for (const LocalActorPtr& actor : actors_) {
    if (actor->state != LocalActor::State::kPending || actor->construction->missing > 0) continue;
    if (!available_.Fits(actor->placement)) continue;
    available_.Subtract(actor->lifetime);
    actor->state = LocalActor::State::kStarting;
    const uint64_t incarnation = ++actor->incarnation;
    StartThread([this, actor, incarnation] { RunActorThread(actor, incarnation, /*first=*/true); });
  }
}

// ---------------------------------------------------------------- running

void LocalBackend::RunActorThread(const LocalActorPtr& actor, uint64_t incarnation, bool first) {
  HostedActor hosted;  // destroyed after the lock is given up: by the incarnation's last thread
  base::MutexLock lock(&mutex_);
  if (first && !Construct(actor, incarnation, &hosted)) return;
  if (!first && actor->incarnation == incarnation) hosted = actor->hosted;
  while (const LocalCallPtr call = TakeCall(actor, incarnation)) RunMethod(actor, incarnation, call, hosted);
}

bool LocalBackend::Construct(const LocalActorPtr& actor, uint64_t incarnation, HostedActor* hosted) {
  const LocalCallPtr construction = actor->construction;
  const RunSpec spec{
      .call = construction.get(), .args = construction->args, .actor = actor->key, .incarnation = incarnation};

  mutex_.Unlock();
  Ran ran = Run(spec);
  *hosted = std::move(ran.constructed);
  mutex_.Lock();

  if (actor->incarnation != incarnation || actor->state != LocalActor::State::kStarting) return false;  // killed
  if (ran.error.code != 0) {
    const bool threw = ran.error.code == static_cast<uint16_t>(ErrorCode::kTaskError);
    ErrorValue why = Died("the constructor of " + actor->class_name +
                          (threw ? " threw " + ran.error.type + ": " : ": ") + ran.error.message);
    if (threw) why.type = ran.error.type;
    why.where = ran.error.where;
    why.chain = ran.error.chain;
    Die(actor, why);
    return false;
  }
  actor->hosted = *hosted;
  actor->state = LocalActor::State::kAlive;
  for (uint32_t i = 1; i < actor->options.max_concurrency; ++i) {
    StartThread([this, actor, incarnation] { RunActorThread(actor, incarnation, /*first=*/false); });
  }
  return true;
}

// The next call, waited for; null when this incarnation is over.
LocalCallPtr LocalBackend::TakeCall(const LocalActorPtr& actor, uint64_t incarnation) {
  for (;;) {
    if (actor->incarnation != incarnation || actor->state != LocalActor::State::kAlive) return nullptr;
    while (!actor->mailbox.empty() && actor->mailbox.front()->state == LocalCall::State::kDone)
      actor->mailbox.pop_front();
    if (!actor->mailbox.empty()) {
      LocalCallPtr call = std::move(actor->mailbox.front());
      actor->mailbox.pop_front();
      return call;
    }
    if (actor->ending && actor->streams.empty() && actor->running.empty()) {
      Die(actor, Died("its last handle is gone"));
      return nullptr;
    }
    actor->wake.Wait(&mutex_);
  }
}

void LocalBackend::RunMethod(const LocalActorPtr& actor, uint64_t incarnation, const LocalCallPtr& call,
                             const HostedActor& hosted) {
  call->state = LocalCall::State::kRunning;
  actor->running.push_back(call);
  const uint32_t attempt = call->attempt;
  const RunSpec spec{.call = call.get(),
                     .args = call->args,
                     .attempt = attempt,
                     .hosted = &hosted,
                     .actor = actor->key,
                     .incarnation = incarnation};

  mutex_.Unlock();
  Ran ran = Run(spec);
  mutex_.Lock();

  if (actor->incarnation != incarnation || actor->state != LocalActor::State::kAlive) return;  // killed: nobody listens
  std::erase(actor->running, call);
  if (call->state == LocalCall::State::kRunning) Finish(call, std::move(ran.values), ran.error);  // else timed out
  if (ran.exit_actor) Die(actor, Died("ended by ExitActor in " + FunctionName(call->function)));
  if (actor->ending) actor->wake.NotifyAll();
}

// ---------------------------------------------------------------- calls

std::vector<RefHandle> LocalBackend::SubmitActorCall(const RefHandle& handle, uint64_t function,
                                                     std::vector<Argument> args, uint32_t return_count,
                                                     const CallOptions& options) {
  const LocalActorPtr actor = static_cast<LocalHandle*>(handle.get())->actor;
  const LocalCallPtr call = NewCall(function, &args, return_count, options);
  call->actor = actor;
  std::vector<RefHandle> returns = call->returns;
  base::MutexLock lock(&mutex_);
  TakeCredit(actor, call->caller);
  ++actor->pending[call->caller];
  Submit(call);
  return returns;
}

void LocalBackend::TakeCredit(const LocalActorPtr& actor, const ObjectKey& caller) {
  const auto pending = [&] {
    const auto at = actor->pending.find(caller);
    return at == actor->pending.end() ? 0 : at->second;
  };
  const uint64_t pending_max = actor->options.max_pending_calls.value_or(kCredit);
  const TimePoint deadline =
      std::chrono::steady_clock::now() + (actor->options.max_pending_calls ? std::chrono::seconds(0) : kCreditTimeout);
  while (pending() >= pending_max) {
    const TimePoint now = std::chrono::steady_clock::now();
    if (now >= deadline) {
      throw BackPressureError(ErrorCode::kBackPressure,
                              std::to_string(pending()) + " calls of " +
                                  (caller == ObjectKey{} ? "the driver" : KeyToString(caller)) + " to the actor " +
                                  KeyToString(actor->key) + " (a " + actor->class_name + ") are unfinished");
    }
    actor->credit.WaitFor(&mutex_, deadline - now);
  }
}

void LocalBackend::QueueActorCall(const LocalCallPtr& call) {
  const LocalActorPtr& actor = call->actor;
  if (actor->state == LocalActor::State::kDead) {
    Fail(call, ForCall(actor->death, false));
    return;
  }
  call->state = LocalCall::State::kQueued;
  actor->mailbox.push_back(call);
  actor->wake.NotifyOne();
}

// Hands on what no longer waits behind a call whose arguments are missing.
void LocalBackend::DrainStream(const LocalActorPtr& actor, const ObjectKey& caller) {
  const auto stream = actor->streams.find(caller);
  if (stream == actor->streams.end()) return;
  std::deque<LocalCallPtr> ready;
  while (!stream->second.empty() &&
         (stream->second.front()->missing == 0 || stream->second.front()->state == LocalCall::State::kDone)) {
    ready.push_back(std::move(stream->second.front()));
    stream->second.pop_front();
  }
  if (stream->second.empty()) actor->streams.erase(stream);
  for (const LocalCallPtr& call : ready) {
    if (call->state != LocalCall::State::kDone) HandOn(call);
  }
}

// ---------------------------------------------------------------- ending

void LocalBackend::KillActor(const RefHandle& handle, bool no_restart) {
  base::MutexLock lock(&mutex_);
  EndIncarnation(static_cast<LocalHandle*>(handle.get())->actor, Died("killed by Kill"), !no_restart);
}

void LocalBackend::EndIncarnation(const LocalActorPtr& actor, const ErrorValue& why, bool may_restart) {
  if (actor->state == LocalActor::State::kDead) return;
  if (!may_restart || actor->restarts_left == 0) {
    Die(actor, why);
    return;
  }
  if (actor->restarts_left > 0) --actor->restarts_left;
  const bool held_resources = actor->state != LocalActor::State::kPending;
  actor->state = LocalActor::State::kPending;
  actor->hosted = HostedActor();  // its threads have copies
  actor->wake.NotifyAll();
  const std::vector<LocalCallPtr> running = std::exchange(actor->running, {});
  for (auto call = running.rbegin(); call != running.rend(); ++call) {
    if ((*call)->state == LocalCall::State::kDone) continue;
    const int retries = (*call)->options.max_retries.value_or(actor->options.max_task_retries);
    if (retries == -1 || (*call)->attempt < static_cast<uint32_t>(retries)) {
      ++(*call)->attempt;
      (*call)->state = LocalCall::State::kQueued;
      actor->mailbox.push_front(*call);
    } else {
      Fail(*call, ForCall(why, true));
    }
  }
  if (held_resources) ReturnResources(actor->lifetime);
  PlaceActors();
}

void LocalBackend::Die(const LocalActorPtr& actor, const ErrorValue& why) {
  if (actor->state == LocalActor::State::kDead) return;
  const bool held_resources = actor->state != LocalActor::State::kPending;
  actor->state = LocalActor::State::kDead;
  actor->death = why;
  actor->hosted = HostedActor();
  std::erase(actors_, actor);
  if (FindNamed(actor->name_space, actor->name) == actor) named_.erase({actor->name_space, actor->name});
  const std::vector<LocalCallPtr> running = std::exchange(actor->running, {});
  for (const LocalCallPtr& call : running) {
    if (call->state != LocalCall::State::kDone) Fail(call, ForCall(why, true));
  }
  const std::deque<LocalCallPtr> mailbox = std::exchange(actor->mailbox, {});
  for (const LocalCallPtr& call : mailbox) {
    if (call->state != LocalCall::State::kDone) Fail(call, ForCall(why, false));
  }
  const std::map<ObjectKey, std::deque<LocalCallPtr>> streams = std::exchange(actor->streams, {});
  for (const auto& [caller, stream] : streams) {
    for (const LocalCallPtr& call : stream) {
      if (call->state != LocalCall::State::kDone) Fail(call, ForCall(why, false));
    }
  }
  for (std::function<void(const ErrorValue&)>& callback : actor->on_death) {
    service_.Post([callback = std::move(callback), why] { callback(why); });
  }
  actor->on_death.clear();
  actor->construction->args.clear();
  actor->wake.NotifyAll();
  actor->credit.NotifyAll();
  if (held_resources) ReturnResources(actor->lifetime);
}

void LocalBackend::OnLastHandleGone(const LocalActorPtr& actor) {
  base::MutexLock lock(&mutex_);
  actor->ending = true;
  actor->wake.NotifyAll();
}

void LocalBackend::OnDeath(const RefHandle& handle, std::function<void(const ErrorValue&)> callback) {
  const LocalActorPtr actor = static_cast<LocalHandle*>(handle.get())->actor;
  base::MutexLock lock(&mutex_);
  if (actor->state == LocalActor::State::kDead) {
    service_.Post([callback = std::move(callback), why = actor->death] { callback(why); });
  } else {
    actor->on_death.push_back(std::move(callback));
  }
}

// Nobody need be asked.
std::optional<ActorRef> LocalBackend::GetActor(const std::string& name, const std::string& name_space,
                                               std::chrono::nanoseconds) {
  base::MutexLock lock(&mutex_);
  const LocalActorPtr actor = FindNamed(name_space.empty() ? spec_.name_space : name_space, name);
  if (actor == nullptr) return std::nullopt;
  return ActorRef{NewHandle(actor), actor->options.max_concurrency};
}

void LocalBackend::ExitActor() {
  CallFrame* const frame = CurrentFrame();
  if (frame == nullptr || frame->actor == ObjectKey{} || frame->actor.number == frame->call.number) {
    throw InvalidArgumentError("ExitActor outside of an actor's method");
  }
  frame->exit_actor = true;
}

}  // namespace manta::internal

#include "api/local_backend.h"

#include <algorithm>
#include <utility>

#include "base/ids.h"
#include "base/log.h"
#include "manta/error.h"
#include "manta/object_ref.h"

namespace manta::internal {
namespace {

constexpr uint32_t kActorIndex = 0xFFFFFFFFu;  // ObjectId::is_actor
constexpr uint64_t kNode = 1;                  // everything is n1.p1
constexpr uint64_t kProcess = 1;
constexpr const char* kProcessName = "n1.p1";
constexpr std::chrono::seconds kWaitLogAfter(30);
constexpr std::chrono::seconds kShutdownTimeout(5);

ErrorValue MakeErrorValue(ErrorCode code, std::string message) {
  ErrorValue error;
  error.code = static_cast<uint16_t>(code);
  error.message = std::move(message);
  return error;
}

LocalObject* ObjectOf(const RefHandle& ref) {
  if (ref.get()->key.index == kActorIndex) throw InvalidArgumentError("an actor handle is no object");
  return static_cast<LocalObject*>(ref.get());
}

std::string CallName(const LocalCall& call) { return call.name.empty() ? FunctionName(call.function) : call.name; }

}  // namespace

LocalBackend::LocalBackend(Spec spec)
    : spec_(std::move(spec)),
      memory_(spec_.store_bytes_max),
      available_(spec_.total),
      task_threads_max_(static_cast<size_t>(std::max(64.0, 8 * spec_.total.Get("CPU").ToDouble()))) {}

LocalBackend::~LocalBackend() { Shutdown(); }

// ---------------------------------------------------------------- calls

std::vector<RefHandle> LocalBackend::SubmitTask(uint64_t function, std::vector<Argument> args, uint32_t return_count,
                                                const CallOptions& options) {
  const LocalCallPtr call = NewCall(function, &args, return_count, options);
  call->shape = ShapeOf(options.resources, options.num_cpus, options.num_gpus, /*cpus=*/1);
  std::vector<RefHandle> returns = call->returns;
  base::MutexLock lock(&mutex_);
  Submit(call);
  return returns;
}

LocalCallPtr LocalBackend::NewCall(uint64_t function, std::vector<Argument>* args, uint32_t return_count,
                                   const CallOptions& options) {
  auto call = std::make_shared<LocalCall>();
  const uint64_t number = next_number_++;
  call->key = {kNode, kProcess, number, 0};
  call->function = function;
  call->name = options.name;
  call->options = options;
  if (const CallFrame* const frame = CurrentFrame()) {
    call->caller = frame->actor == ObjectKey{} ? frame->call : frame->actor;
    call->depth = frame->depth + 1;
  }
  for (Argument& arg : *args) {
    if (arg.ref) {
      call->args.push_back({std::move(arg.ref), nullptr});
    } else if (EncodedBytes(arg.value) > LocalMemory::kInlineBytesMax) {
      call->args.push_back({Put(std::move(arg.value)), nullptr});  // large arguments are objects, as on a cluster
    } else {
      call->args.push_back({RefHandle(), memory_.Store(arg.value)});
    }
  }
  for (uint32_t index = 0; index < return_count; ++index) {
    LocalObject* const object = NewObject(index, number);
    object->producer = call;
    call->returns.emplace_back(object);
  }
  return call;
}

LocalObject* LocalBackend::NewObject(uint32_t index, uint64_t number) {
  auto* const object = new LocalObject(this, ObjectKey{kNode, kProcess, number, index});
  object->generation = spec_.generation;
  return object;
}

void LocalBackend::Submit(const LocalCallPtr& call) {
  if (shut_down_) throw ShutdownError(ErrorCode::kShutdown, "Manta was used after Shutdown");
  calls_.emplace(call->key.number, call);
  ++calls_by_caller_[call->caller];
  if (call->options.timeout) {
    const TimePoint deadline = std::chrono::steady_clock::now() + *call->options.timeout;
    service_.PostAt(deadline, [this, weak = std::weak_ptr<LocalCall>(call)] {
      const LocalCallPtr late = weak.lock();
      base::MutexLock lock(&mutex_);
      if (late == nullptr || late->state == LocalCall::State::kDone) return;
      Fail(late, TimeoutOf("the Timeout of " + CallName(*late) + " ran out", *ObjectOf(late->returns.at(0))));
    });
  }
  if (call->actor != nullptr && call->actor->state == LocalActor::State::kDead) {
    QueueActorCall(call);
    return;
  }
  WaitForArguments(call);
  if (call->actor != nullptr && (call->missing > 0 || call->actor->streams.contains(call->caller))) {
    call->actor->streams[call->caller].push_back(call);
  } else if (call->missing == 0) {
    OnArgumentsReady(call);
  }
}

void LocalBackend::WaitForArguments(const LocalCallPtr& call) {
  for (const LocalArgument& arg : call->args) {
    if (!arg.ref || ObjectOf(arg.ref)->ready) continue;
    ++call->missing;
    ObjectOf(arg.ref)->dependents.push_back(call);
  }
}

void LocalBackend::OnArgumentsReady(const LocalCallPtr& call) {
  if (call->actor != nullptr && call->actor->streams.contains(call->caller)) {
    DrainStream(call->actor, call->caller);
  } else if (call->state != LocalCall::State::kDone) {
    HandOn(call);
  }
}

void LocalBackend::HandOn(const LocalCallPtr& call) {
  const LocalActorPtr constructs = call->constructs.lock();
  const auto failed = std::ranges::find_if(
      call->args, [](const LocalArgument& arg) { return arg.ref && ObjectOf(arg.ref)->error.code != 0; });
  if (failed != call->args.end()) {
    const ErrorValue error = ObjectOf(failed->ref)->error;
    if (constructs != nullptr) {
      Die(constructs, error);
    } else {
      Fail(call, error);
    }
  } else if (call->actor != nullptr) {
    QueueActorCall(call);
  } else if (constructs != nullptr) {
    PlaceActors();
  } else if (call->returns.empty()) {
    return;  // the construction of an actor that is dead and gone
  } else {
    QueueTask(call);
  }
}

void LocalBackend::Finish(const LocalCallPtr& call, std::vector<std::shared_ptr<const LocalValue>> values,
                          const ErrorValue& error) {
  call->state = LocalCall::State::kDone;
  for (size_t i = 0; i < call->returns.size(); ++i) {
    Complete(ObjectOf(call->returns[i]), error.code == 0 ? std::move(values.at(i)) : nullptr, error);
  }
  calls_.erase(call->key.number);
  if (--calls_by_caller_[call->caller] == 0) {
    calls_by_caller_.erase(call->caller);
    drained_.NotifyAll();
  }
  call->args.clear();
  call->returns.clear();
  if (call->actor != nullptr) {
    if (--call->actor->pending[call->caller] == 0) call->actor->pending.erase(call->caller);
    call->actor->credit.NotifyAll();
    DrainStream(call->actor, call->caller);
  }
  // Calls that got their last argument go on here, one after the other however long the chain is.
  if (handing_on_) return;
  handing_on_ = true;
  while (!ready_calls_.empty()) {
    const LocalCallPtr next = std::move(ready_calls_.front());
    ready_calls_.pop_front();
    OnArgumentsReady(next);
  }
  handing_on_ = false;
}

void LocalBackend::Complete(LocalObject* object, std::shared_ptr<const LocalValue> value, const ErrorValue& error) {
  object->value = std::move(value);
  object->error = error;
  object->ready = true;
  for (LocalWaiter* const waiter : object->waiters) {
    if (waiter->missing > 0 && --waiter->missing == 0) waiter->wake.NotifyAll();
  }
  object->waiters.clear();
  for (LocalCallPtr& dependent : object->dependents) {
    if (--dependent->missing == 0) ready_calls_.push_back(std::move(dependent));
  }
  object->dependents.clear();
}

LocalBackend::Ran LocalBackend::Run(const RunSpec& spec) {
  const LocalCall& call = *spec.call;
  CallFrame frame;
  frame.call = call.key;
  frame.function = call.function;
  frame.name = call.name;
  frame.process = kProcessName;
  frame.actor = spec.actor;
  frame.actor_incarnation = spec.incarnation;
  frame.attempt = spec.attempt;
  frame.depth = call.depth;
  frame.owner = const_cast<LocalCall*>(&call);

  std::vector<Payload> payloads;
  payloads.reserve(spec.args.size());
  for (const LocalArgument& arg : spec.args) {
    payloads.push_back(arg.ref ? ObjectOf(arg.ref)->value->ToPayload(arg.ref) : arg.value->ToPayload({}));
  }
  UserCodeResult result = RunUserCode(&frame, std::move(payloads), spec.hosted);

  Ran ran;
  ran.constructed = std::move(result.constructed);
  ran.error = std::move(result.error);
  ran.exit_actor = result.exit_actor;
  try {
    for (const Serialized& value : result.returns) ran.values.push_back(memory_.Store(value));
  } catch (const Error& error) {
    ran.error = error.value();
  }
  return ran;
}

void LocalBackend::Cancel(const RefHandle& ref) {
  base::MutexLock lock(&mutex_);
  const LocalCallPtr call = ObjectOf(ref)->producer.lock();
  if (call == nullptr || (call->state != LocalCall::State::kWaiting && call->state != LocalCall::State::kQueued))
    return;
  Fail(call, MakeErrorValue(ErrorCode::kCancelled, CallName(*call) + " was cancelled before it began"));
}

// ---------------------------------------------------------------- objects

RefHandle LocalBackend::Put(Serialized value) {
  LocalObject* const object = NewObject(0, next_number_++);
  RefHandle handle(object);
  object->value = memory_.Store(value);
  object->ready = true;
  return handle;
}

Payload LocalBackend::Get(const RefHandle& ref, std::optional<TimePoint> deadline) {
  Payload payload;
  ErrorValue error;
  if (!TryGet(ref, deadline, &payload, &error)) ThrowError(error);
  return payload;
}

bool LocalBackend::TryGet(const RefHandle& ref, std::optional<TimePoint> deadline, Payload* payload,
                          ErrorValue* error) {
  LocalObject* const object = ObjectOf(ref);
  base::MutexLock lock(&mutex_);
  Await({object}, 1, deadline);
  if (!object->ready) {
    *error = TimeoutOf("the timeout of Get ran out", *object);
    return false;
  }
  if (object->error.code != 0) {
    *error = object->error;
    return false;
  }
  *payload = object->value->ToPayload(ref);
  return true;
}

Payload LocalBackend::View(const RefHandle& object) { return Get(object, std::nullopt); }

void LocalBackend::Wait(const std::vector<const RefHandle*>& refs, size_t count, std::optional<TimePoint> deadline,
                        std::vector<bool>* ready) {
  std::vector<LocalObject*> objects;
  objects.reserve(refs.size());
  for (const RefHandle* const ref : refs) objects.push_back(ObjectOf(*ref));
  base::MutexLock lock(&mutex_);
  Await(objects, count, deadline);
  ready->resize(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) (*ready)[i] = objects[i]->ready;
}

void LocalBackend::Await(const std::vector<LocalObject*>& objects, size_t count, std::optional<TimePoint> deadline) {
  const size_t ready =
      static_cast<size_t>(std::ranges::count_if(objects, [](LocalObject* object) { return object->ready; }));
  if (ready >= count || (deadline && *deadline <= std::chrono::steady_clock::now())) return;

  LocalWaiter waiter;
  waiter.missing = count - ready;
  for (LocalObject* const object : objects) {
    if (!object->ready) object->waiters.push_back(&waiter);
  }
  const base::ResourceSet lent = LendCpu();
  const TimePoint log_at = std::chrono::steady_clock::now() + kWaitLogAfter;
  bool logged = false;
  while (waiter.missing > 0) {
    const TimePoint now = std::chrono::steady_clock::now();
    if (deadline && now >= *deadline) break;
    if (!logged && now >= log_at) {
      logged = true;
      const auto pending = std::ranges::find_if(objects, [](LocalObject* object) { return !object->ready; });
      MANTA_LOG(kWarning) << "a Get or Wait has been waiting for 30 s: " << WhyPending(**pending);
    }
    const TimePoint until = std::min(deadline.value_or(TimePoint::max()), logged ? now + kWaitLogAfter : log_at);
    waiter.wake.WaitFor(&mutex_, until - now);
  }
  available_.SubtractAllowNegative(lent);
  for (LocalObject* const object : objects) std::erase(object->waiters, &waiter);
}

// A task that waits gives its CPU, and nothing else, to others.
base::ResourceSet LocalBackend::LendCpu() {
  base::ResourceSet lent;
  const CallFrame* const frame = CurrentFrame();
  if (frame == nullptr || frame->actor != ObjectKey{}) return lent;
  lent.Set("CPU", static_cast<const LocalCall*>(frame->owner)->shape.Get("CPU"));
  ReturnResources(lent);
  return lent;
}

std::string LocalBackend::WhyPending(const LocalObject& object) {
  const LocalCallPtr call = object.producer.lock();
  if (call == nullptr) return KeyToString(object.key);
  std::string text = CallName(*call) + " (" + KeyToString(call->key) + ")";
  switch (call->state) {
    case LocalCall::State::kWaiting:
      return text + " waits for " + std::to_string(call->missing) + " of its arguments";
    case LocalCall::State::kRunning:
      return text + " is running";
    case LocalCall::State::kDone:
      return text + " has ended";
    case LocalCall::State::kQueued:
      break;
  }
  if (call->actor != nullptr) {
    const LocalActor& actor = *call->actor;
    text += " waits for the actor " + actor.class_name;
    if (actor.state != LocalActor::State::kPending) return text + ", which is busy";
    return text + ", which needs " + actor.placement.ToString() + " where " + available_.ToString() + " of " +
           spec_.total.ToString() + " is free";
  }
  text += " needs " + call->shape.ToString();
  if (!spec_.total.Fits(call->shape))
    return text + ", and all there is is " + spec_.total.ToString() + ": it can never run";
  return text + " where " + available_.ToString() + " of " + spec_.total.ToString() + " is free";
}

ErrorValue LocalBackend::TimeoutOf(const std::string& what, const LocalObject& object) {
  return MakeErrorValue(ErrorCode::kTimeout, what + ": " + WhyPending(object));
}

WritableObject LocalBackend::Create(size_t size_bytes) {
  std::shared_ptr<void> memory = memory_.Allocate(size_bytes, /*in_store=*/true);
  void* const data = memory.get();
  return {data, size_bytes, std::move(memory)};
}

RefHandle LocalBackend::Seal(WritableObject object) {
  auto value = std::make_shared<LocalValue>();
  value->data = static_cast<const char*>(object.data);
  value->size_bytes = object.size_bytes;
  value->memory = std::move(object.keep);
  LocalObject* const sealed = NewObject(0, next_number_++);
  sealed->value = std::move(value);
  sealed->ready = true;
  return RefHandle(sealed);
}

// ---------------------------------------------------------------- handles

// Called with or without the lock. An object that goes may hold the last handles of others, and so on: one at a time.
void LocalBackend::Drop(RefState* state) {
  if (state->key.index == kActorIndex) {
    auto* const handle = static_cast<LocalHandle*>(state);
    if (handle->actor->name.empty()) {
      service_.Post([this, actor = handle->actor] { OnLastHandleGone(actor); });
    }
    delete handle;
    return;
  }
  thread_local std::vector<LocalObject*>* dropping = nullptr;
  if (dropping != nullptr) {
    dropping->push_back(static_cast<LocalObject*>(state));
    return;
  }
  std::vector<LocalObject*> objects{static_cast<LocalObject*>(state)};
  dropping = &objects;
  while (!objects.empty()) {
    LocalObject* const object = objects.back();
    objects.pop_back();
    delete object;
  }
  dropping = nullptr;
}

RefHandle LocalBackend::Adopt(const ObjectKey&, const LocationKey&) {
  throw InternalError(ErrorCode::kInternal, "Adopt in --manta-local: refs do not leave the process");
}

// ---------------------------------------------------------------- the process

ContextInfo LocalBackend::Context() {
  ContextInfo context;
  context.job = 1;
  context.node = "n1";
  context.process = kProcessName;
  context.name_space = spec_.name_space;
  context.is_local = true;
  const CallFrame* const frame = CurrentFrame();
  context.is_driver = frame == nullptr;
  if (frame == nullptr) return context;
  context.task = manta::ToString(CallId{{frame->call.node, frame->call.process}, frame->call.number});
  context.function = NameOf(*frame);
  context.attempt = frame->attempt;
  if (frame->actor != ObjectKey{}) {
    context.actor = KeyToString(frame->actor);
    context.actor_incarnation = frame->actor_incarnation;
  }
  return context;
}

std::vector<NodeValue> LocalBackend::Nodes() {
  NodeValue node;
  node.number = kNode;
  node.name = "local";
  for (const auto& [name, amount] : spec_.total.amounts()) node.total[name] = amount.ToDouble();
  base::MutexLock lock(&mutex_);
  for (const auto& [name, amount] : available_.amounts()) node.available[name] = amount.ToDouble();
  node.is_head = true;
  return {node};
}

bool LocalBackend::Drain(std::optional<std::chrono::nanoseconds> timeout) {
  const TimePoint start = std::chrono::steady_clock::now();
  const TimePoint deadline = timeout && *timeout < TimePoint::max() - start ? start + *timeout : TimePoint::max();
  ObjectKey caller;
  if (const CallFrame* const frame = CurrentFrame()) caller = frame->actor == ObjectKey{} ? frame->call : frame->actor;
  constexpr std::chrono::nanoseconds kSleepMax = std::chrono::hours(1);
  base::MutexLock lock(&mutex_);
  const base::ResourceSet lent = LendCpu();
  bool drained = true;
  while (calls_by_caller_.contains(caller)) {
    const TimePoint now = std::chrono::steady_clock::now();
    drained = now < deadline;
    if (!drained) break;
    drained_.WaitFor(&mutex_, std::min<std::chrono::nanoseconds>(deadline - now, kSleepMax));
  }
  available_.SubtractAllowNegative(lent);
  return drained;
}

uint64_t LocalBackend::Shutdown() {
  uint64_t cancelled = 0;
  {
    base::MutexLock lock(&mutex_);
    if (shut_down_) return 0;
    shut_down_ = true;
    const std::map<uint64_t, LocalCallPtr> calls = calls_;
    for (const auto& [number, call] : calls) {
      if (call->state != LocalCall::State::kWaiting && call->state != LocalCall::State::kQueued) continue;
      ++cancelled;
      Fail(call, MakeErrorValue(ErrorCode::kCancelled, CallName(*call) + " had not begun at Shutdown"));
    }
    const std::vector<LocalActorPtr> actors = actors_;
    for (const LocalActorPtr& actor : actors)
      Die(actor, MakeErrorValue(ErrorCode::kActorDied, "the runtime was shut down"));
    task_wake_.NotifyAll();

    const TimePoint deadline = std::chrono::steady_clock::now() + kShutdownTimeout;
    while (thread_count_ > 0) {
      const TimePoint now = std::chrono::steady_clock::now();
      if (now >= deadline) {
        MANTA_LOG(kWarning) << "Shutdown leaves " << thread_count_
                            << " threads behind, in which user code is still running";
        break;
      }
      threads_ended_.WaitFor(&mutex_, deadline - now);
    }
    const std::map<uint64_t, LocalCallPtr> running = calls_;
    for (const auto& [number, call] : running) {
      Fail(call, MakeErrorValue(ErrorCode::kShutdown, CallName(*call) + " was running at Shutdown"));
    }
  }
  service_.Stop();
  return cancelled;
}

}  // namespace manta::internal

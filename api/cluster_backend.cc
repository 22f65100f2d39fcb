#include "api/cluster_backend.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "api/user_code.h"
#include "base/log.h"
#include "base/resources.h"

namespace manta::internal {
namespace {

constexpr Duration kCreditTimeout = std::chrono::seconds(30);
constexpr Duration kHeadTimeout = std::chrono::seconds(30);
constexpr Duration kShutdownTimeout = std::chrono::seconds(5);
constexpr Duration kBlockedAfter = std::chrono::milliseconds(1);

// The call that this thread runs, a constructor's included (Execute and Construct put it into its frame); null in
// drivers.
const rpc::CallRequest* RunningCall() {
  const CallFrame* const frame = CurrentFrame();
  return frame == nullptr ? nullptr : static_cast<const rpc::CallRequest*>(frame->owner);
}

[[noreturn]] void Throw(rpc::ErrorCode code, const std::string& message) {
  ErrorValue error;
  error.code = static_cast<uint16_t>(code);
  error.message = message;
  ThrowError(error);
}

// Resources that a call asks for; `cpus`: without NumCpus.
ResourceSet ToShape(const std::map<std::string, double>& custom, std::optional<double> num_cpus,
                    std::optional<double> num_gpus, double cpus) {
  std::map<std::string, double> all = custom;
  if (num_cpus || cpus > 0) all.insert_or_assign("CPU", num_cpus.value_or(cpus));
  if (num_gpus) all.insert_or_assign("GPU", *num_gpus);
  ResourceSet shape;
  for (const auto& [name, amount] : all) {
    absl::StatusOr<Fixed> fixed = Fixed::FromDouble(amount);
    if (!fixed.ok()) {
      Throw(rpc::ErrorCode::kInvalidArgument, "resource " + name + ": " + std::string(fixed.status().message()));
    }
    if (*fixed != Fixed()) shape.Set(name, *fixed);
  }
  return shape;
}

rpc::SchedulingHint ToHint(const SchedulingHint& hint) {
  return {.spreading = hint.spread ? rpc::Spreading::kSpread : rpc::Spreading::kHybrid,
          .affinity = hint.node,
          .affinity_hard = hint.node != 0 && !hint.soft};
}

std::map<std::string, double> ToAmounts(const ResourceSet& resources) {
  std::map<std::string, double> amounts;
  for (const auto& [name, amount] : resources.amounts()) amounts[name] = amount.ToDouble();
  return amounts;
}

}  // namespace

ClusterBackend::ClusterBackend(Spec spec) : spec_(std::move(spec)) {}

absl::StatusOr<std::unique_ptr<ClusterBackend>> ClusterBackend::Connect(Spec spec) {
  std::unique_ptr<ClusterBackend> backend(new ClusterBackend(std::move(spec)));
  backend->spec_.join.function_name = &FunctionName;
  absl::StatusOr<std::unique_ptr<runtime::Process>> process =
      runtime::Process::Join(std::move(backend->spec_.join), backend.get());
  if (!process.ok()) return process.status();
  backend->process_ = *std::move(process);
  backend->process_name_ = ToString(backend->process_->self());
  return backend;
}

ClusterBackend::~ClusterBackend() {
  Shutdown();
  {
    base::MutexLock lock(&callback_mutex_);
    callbacks_end_ = true;
  }
  callback_wake_.NotifyAll();
  if (callback_thread_.joinable()) callback_thread_.join();
}

// ------------------------------------------------------------------ calls

std::vector<RefHandle> ClusterBackend::SubmitTask(uint64_t function, std::vector<Argument> args, uint32_t return_count,
                                                  const CallOptions& options) {
  runtime::SubmitCall call;
  call.function = function;
  call.shape = ToShape(options.resources, options.num_cpus, options.num_gpus, 1);
  call.hint = ToHint(options.hint);
  call.max_retries = options.max_retries.value_or(3);
  return SubmitCall(std::move(call), std::move(args), return_count, options, nullptr);
}

std::vector<RefHandle> ClusterBackend::SubmitActorCall(const RefHandle& actor, uint64_t function,
                                                       std::vector<Argument> args, uint32_t return_count,
                                                       const CallOptions& options) {
  std::shared_ptr<ActorCallCount> calls = CallsOf(actor);
  if (calls->pending.load(std::memory_order_relaxed) >= calls->max) TakeCredit(*calls, actor);
  runtime::SubmitCall call;
  call.function = function;
  call.actor = ActorId::FromHandle(Of(actor)->object);
  call.max_retries = options.max_retries.value_or(0);
  call.retries_of_actor = !options.max_retries;
  return SubmitCall(std::move(call), std::move(args), return_count, options, calls);
}

std::vector<RefHandle> ClusterBackend::SubmitCall(runtime::SubmitCall call, std::vector<Argument> args,
                                                  uint32_t return_count, const CallOptions& options,
                                                  const std::shared_ptr<ActorCallCount>& calls) {
  std::vector<RefHandle> keep;
  call.args = ToArguments(args, &keep);
  call.number = process_->NextNumber();
  call.retry_on_exception = options.retry_on_exception;
  if (options.timeout) call.timeout = std::chrono::duration_cast<Duration>(*options.timeout);
  call.function_name = options.name;
  if (const rpc::CallRequest* parent = RunningCall()) {
    call.parent = parent->call;
    call.depth = parent->depth + 1;
    call.trace = parent->trace;
  }
  std::vector<RefHandle> returns;
  returns.reserve(return_count);
  call.returns.reserve(return_count);
  for (uint32_t index = 0; index < return_count; ++index) {
    ClusterRef* ref = NewRef({process_->self(), call.number, index});
    returns.emplace_back(ref);
    call.returns.push_back(ref->cookie());
    if (index == 0) {
      ref->is_call = true;
      ref->calls = calls;
    }
  }
  calls_pending_.fetch_add(1, std::memory_order_relaxed);
  if (calls) calls->pending.fetch_add(1, std::memory_order_relaxed);
  process_->Submit(std::move(call));
  return returns;
}

std::shared_ptr<ActorCallCount> ClusterBackend::CallsOf(const RefHandle& actor) {
  ClusterRef* ref = Of(actor);
  std::shared_ptr<ActorCallCount> calls = std::atomic_load(&ref->calls);
  if (calls) return calls;
  base::MutexLock lock(&tables_mutex_);
  std::shared_ptr<ActorCallCount>& entry = actor_calls_[ActorId::FromHandle(ref->object)];
  if (!entry) entry = std::make_shared<ActorCallCount>();
  std::atomic_store(&ref->calls, entry);
  return entry;
}

void ClusterBackend::TakeCredit(ActorCallCount& calls, const RefHandle& actor) {
  auto has_credit = [&] { return calls.pending.load(std::memory_order_relaxed) < calls.max; };
  if (!calls.throw_at_once && BlockUntil(has_credit, process_->Now() + kCreditTimeout)) return;
  Throw(rpc::ErrorCode::kBackPressure, ToString(process_->self()) + " has " + std::to_string(calls.max) +
                                           " unanswered calls to " + ToString(ActorId::FromHandle(Of(actor)->object)) +
                                           ": Get some of their results first, or raise MaxPendingCalls");
}

RefHandle ClusterBackend::CreateActor(uint64_t constructor, const char* class_name, std::vector<Argument> args,
                                      const ActorOptions& options) {
  if (options.get_if_exists) {
    if (std::optional<ActorRef> found = GetActor(options.name, options.name_space, kHeadTimeout)) return found->handle;
  }
  std::vector<RefHandle> keep;
  runtime::SubmitActor create;
  rpc::ActorSpec& spec = create.spec;
  spec.args = ToArguments(args, &keep);
  spec.actor = {process_->self(), process_->NextNumber()};
  spec.job = process_->job();
  spec.name = options.name;
  spec.name_space = options.name_space.empty() ? process_->name_space() : options.name_space;
  spec.get_if_exists = options.get_if_exists;
  spec.class_name = Demangle(class_name);
  spec.constructor = constructor;
  spec.placement = ToShape(options.resources, options.num_cpus, options.num_gpus, 1);
  spec.lifetime = ToShape(options.resources, options.num_cpus, options.num_gpus, 0);
  spec.max_restarts = options.max_restarts;
  spec.max_task_retries = options.max_task_retries;
  spec.max_concurrency = std::max<uint32_t>(options.max_concurrency, 1);
  spec.detached = options.detached;
  spec.hint = ToHint(options.hint);
  if (const rpc::CallRequest* parent = RunningCall()) spec.parent = parent->call;
  ClusterRef* ref = NewRef(spec.actor.handle());
  RefHandle handle(ref);
  if (options.max_pending_calls) {
    std::shared_ptr<ActorCallCount> calls = CallsOf(handle);
    calls->max = std::max<uint64_t>(*options.max_pending_calls, 1);
    calls->throw_at_once = true;
  }
  create.handle = ref->cookie();
  if (!options.get_if_exists) {
    process_->Submit(std::move(create));
    return handle;
  }
  // Somebody else may have created it since GetActor looked: the head decides.
  const auto ask = [&](uint64_t cookie) {
    create.decided = cookie;
    process_->Submit(std::move(create));
  };
  // It may be the arguments that are waited for, however long that takes; or else a head that does not answer.
  const std::shared_ptr<Lookup> named = AwaitLookup(ask, [&](const IsDone& is_done) {
    while (!BlockUntil(is_done, process_->Now() + kHeadTimeout)) {
      GetActor(options.name, options.name_space, kHeadTimeout);
    }
    return true;
  });
  const ObjectId named_handle = named->actor.handle();
  return named_handle == ref->object ? handle : Adopt(ToKey(named_handle), {});
}

std::optional<ActorRef> ClusterBackend::GetActor(const std::string& name, const std::string& name_space,
                                                 std::chrono::nanoseconds timeout) {
  const auto ask = [&](uint64_t cookie) {
    process_->Submit(runtime::FindActor{name_space.empty() ? process_->name_space() : name_space, name, cookie});
  };
  const Time deadline = SaturatingAdd(process_->Now(), timeout);
  const std::shared_ptr<Lookup> lookup = AwaitLookup(ask, [&](const IsDone& is_done) {
    if (BlockUntil(is_done, deadline) || process_->Now() < deadline) return is_done();
    Throw(rpc::ErrorCode::kTimeout, "GetActor: the head has not said in " + ToString(timeout) + " who is '" + name +
                                        "'. If `manta status` finds no head, start it again with the command that it "
                                        "was started with; actors, their calls and their names outlive it");
  });
  if (!lookup->actor && daemon_lost_) Throw(rpc::ErrorCode::kNodeDied, "GetActor: the node daemon is gone");
  if (!lookup->actor) return std::nullopt;
  return ActorRef{Adopt(ToKey(lookup->actor.handle()), {}), lookup->max_concurrency};
}

std::shared_ptr<ClusterBackend::Lookup> ClusterBackend::AwaitLookup(const std::function<void(uint64_t)>& ask,
                                                                    const std::function<bool(const IsDone&)>& wait) {
  auto lookup = std::make_shared<Lookup>();
  uint64_t cookie = 0;
  {
    base::MutexLock lock(&tables_mutex_);
    cookie = next_lookup_++;
    lookups_[cookie] = lookup;
  }
  const absl::Cleanup forget = [this, cookie] {
    base::MutexLock lock(&tables_mutex_);
    lookups_.erase(cookie);
  };
  ask(cookie);
  if (!wait([&] { return lookup->done.load(std::memory_order_acquire); }))
    Throw(rpc::ErrorCode::kShutdown, "Shutdown came while the head was asked for an actor's name");
  return lookup;
}

void ClusterBackend::KillActor(const RefHandle& actor, bool no_restart) {
  process_->Submit(runtime::KillActor{ActorId::FromHandle(Of(actor)->object), no_restart});
}

void ClusterBackend::Cancel(const RefHandle& ref) { process_->Submit(runtime::CancelCall{Of(ref)->object}); }

void ClusterBackend::OnDeath(const RefHandle& actor, std::function<void(const ErrorValue&)> callback) {
  const ActorId id = ActorId::FromHandle(Of(actor)->object);
  {
    base::MutexLock lock(&tables_mutex_);
    on_death_[id].push_back(std::move(callback));
  }
  process_->Submit(runtime::WatchActor{id});
}

// ------------------------------------------------------------------ the process

bool ClusterBackend::BlockUntil(const std::function<bool()>& done, Time deadline) {
  if (done()) return true;
  const rpc::CallRequest* running = RunningCall();
  if (running == nullptr) return process_->WaitUntil(done, deadline);
  const Time short_wait = process_->Now() + kBlockedAfter;
  if (process_->WaitUntil(done, std::min(deadline, short_wait))) return true;
  if (deadline <= short_wait) return false;
  process_->Submit(runtime::BlockedChanged{running->call, true});
  const bool is_done = process_->WaitUntil(done, deadline);
  process_->Submit(runtime::BlockedChanged{running->call, false});
  return is_done;
}

bool ClusterBackend::Drain(std::optional<std::chrono::nanoseconds> timeout) {
  const Time now = process_->Now();
  const Time deadline = timeout && *timeout < Time::max() - now ? now + *timeout : Time::max();
  return BlockUntil([this] { return calls_pending_.load(std::memory_order_acquire) == 0; }, deadline);
}

uint64_t ClusterBackend::Shutdown() {
  if (closed_.exchange(true) || process_ == nullptr) return 0;
  uint64_t cancelled = 0;
  if (!daemon_lost_) {
    process_->Submit(runtime::BeginShutdown{});
    process_->WaitUntil([this] { return calls_pending_.load() == 0; }, process_->Now() + kShutdownTimeout);
    cancelled = calls_pending_.load();
  }
  process_->Close();
  if (spec_.on_shutdown) spec_.on_shutdown();
  return cancelled;
}

ContextInfo ClusterBackend::Context() {
  ContextInfo context;
  context.job = process_->job();
  context.node = "n" + std::to_string(process_->self().node);
  context.process = process_name_;
  context.name_space = process_->name_space();
  context.is_driver = spec_.join.hello.kind == rpc::ProcessKind::kDriver;
  if (!context.is_driver) context.worker = context.process;
  if (const rpc::CallRequest* call = RunningCall()) {
    context.task = ToString(call->call);
    context.attempt = call->attempt;
  }
  if (const CallFrame* frame = CurrentFrame()) {
    context.function = NameOf(*frame);
    if (frame->actor.number != 0) context.actor = ToString(ActorId::FromHandle(ToObjectId(frame->actor)));
    context.actor_incarnation = frame->actor_incarnation;
  }
  return context;
}

std::vector<NodeValue> ClusterBackend::Nodes() {
  auto list = std::make_shared<NodeList>();
  uint64_t cookie = 0;
  {
    base::MutexLock lock(&tables_mutex_);
    cookie = next_lookup_++;
    node_lists_[cookie] = list;
  }
  process_->Submit(runtime::ListNodes{cookie});
  BlockUntil([&] { return list->done.load(std::memory_order_acquire); }, Time::max());
  {
    base::MutexLock lock(&tables_mutex_);
    node_lists_.erase(cookie);
  }
  if (!list->done.load(std::memory_order_acquire)) Throw(rpc::ErrorCode::kShutdown, "Shutdown came during Nodes()");
  if (list->nodes.empty()) Throw(rpc::ErrorCode::kNodeDied, "Nodes(): the node daemon is gone");
  std::vector<NodeValue> nodes;
  for (const rpc::NodeInfo& node : list->nodes) {
    nodes.push_back(
        {node.node, node.name, node.address, ToAmounts(node.total), ToAmounts(node.available), node.beside_head});
  }
  return nodes;
}

// ------------------------------------------------------------------ Process::Host

void ClusterBackend::OnComplete(runtime::Complete complete) {
  ClusterRef* ref = ClusterRef::FromCookie(complete.handle);
  const bool failed = static_cast<bool>(complete.error);
  ref->value = std::move(complete.value);
  ref->error = std::move(complete.error);
  SetState(ref, failed ? ClusterRef::kError : ClusterRef::kValue);
}

void ClusterBackend::OnElsewhere(runtime::Elsewhere elsewhere) {
  ClusterRef* ref = ClusterRef::FromCookie(elsewhere.handle);
  if (ref->state.load(std::memory_order_relaxed) == ClusterRef::kPending) SetState(ref, ClusterRef::kElsewhere);
}

// A call ends with the first state that it gets.
void ClusterBackend::SetState(ClusterRef* ref, ClusterRef::State state) {
  const bool ends = ref->is_call && ref->state.load(std::memory_order_relaxed) == ClusterRef::kPending;
  if (ends) {
    if (ref->calls) ref->calls->pending.fetch_sub(1, std::memory_order_relaxed);
    calls_pending_.fetch_sub(1, std::memory_order_release);
  }
  ref->state.store(state);
  if (ends && ref->ends.fetch_or(ClusterRef::kCompleted) == ClusterRef::kDropped) {
    process_->SubmitDrop(&ref->drop);
  }
}

void ClusterBackend::OnActorLookedUp(const runtime::ActorLookedUp& found) {
  base::MutexLock lock(&tables_mutex_);
  auto lookup = lookups_.find(found.cookie);
  if (lookup == lookups_.end()) return;
  lookup->second->actor = found.actor;
  lookup->second->max_concurrency = found.max_concurrency;
  lookup->second->done.store(true, std::memory_order_release);
}

void ClusterBackend::OnNodesListed(runtime::NodesListed listed) {
  base::MutexLock lock(&tables_mutex_);
  const auto list = node_lists_.find(listed.cookie);
  if (list == node_lists_.end()) return;
  list->second->nodes = std::move(listed.nodes);
  list->second->done.store(true, std::memory_order_release);
}

void ClusterBackend::OnActorChanged(const rpc::ActorUpdate& update) {
  if (update.state != rpc::ActorState::kDead) return;
  base::MutexLock lock(&tables_mutex_);
  auto callbacks = on_death_.find(update.actor);
  if (callbacks == on_death_.end()) return;
  for (const auto& callback : callbacks->second) {
    PostCallback([callback, error = ToErrorValue(update.error)] { callback(error); });
  }
  on_death_.erase(callbacks);
}

void ClusterBackend::OnWaitingFor(const runtime::WaitingFor& waiting) {
  base::MutexLock lock(&tables_mutex_);
  if (waiting.reason.empty()) {
    waiting_for_.erase(waiting.object);
  } else {
    waiting_for_[waiting.object] = waiting.reason;
  }
}

void ClusterBackend::OnOutput(const rpc::Output& output) {
  if (!spec_.log_to_driver) return;
  PostCallback([output] {
    FILE* const to = output.is_stderr ? stderr : stdout;
    const std::string prefix = "(" + ToString(output.process) + ") ";
    std::string_view text = output.text.view();
    std::string lines;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      lines.append(prefix).append(text.substr(0, end)).push_back('\n');
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (output.dropped_bytes != 0) {
      lines +=
          prefix + "... " + std::to_string(output.dropped_bytes) + " bytes of output dropped; the log file has them\n";
    }
    std::fwrite(lines.data(), 1, lines.size(), to);
    std::fflush(to);
  });
}

void ClusterBackend::OnDaemonLost() { daemon_lost_ = true; }

void ClusterBackend::PostCallback(std::function<void()> callback) {
  base::MutexLock lock(&callback_mutex_);
  if (callbacks_end_) return;
  if (!callback_thread_.joinable()) callback_thread_ = std::thread([this] { RunCallbacks(); });
  callbacks_.push_back(std::move(callback));
  callback_wake_.NotifyOne();
}

void ClusterBackend::RunCallbacks() {
  while (true) {
    std::function<void()> callback;
    {
      base::MutexLock lock(&callback_mutex_);
      while (!callbacks_end_ && callbacks_.empty()) callback_wake_.Wait(&callback_mutex_);
      if (callbacks_.empty()) return;
      callback = std::move(callbacks_.front());
      callbacks_.pop_front();
    }
    callback();
  }
}

}  // namespace manta::internal

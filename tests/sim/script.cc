#include "tests/sim/script.h"

#include <algorithm>

#include "tests/sim/node_host.h"
#include "tests/sim/process_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

}  // namespace

RefState::~RefState() { process->ForgetRef(*this); }

View::View(ProcessHost* process, rpc::StoreLocation location, ObjectId object)
    : process(process), location(location), object(object), pin(process->Pin(location)) {}

View::~View() { process->Unpin(pin); }

void View::Check() const { (void)process->node()->Read(location, object, process->id()); }

Frame::~Frame() {
  if (script_) script_.destroy();
}

bool Frame::alive() const { return process_->alive() && !process_->daemon_gone(); }

World* Frame::world() const { return process_->world(); }

uint64_t Frame::Random(uint64_t below) { return process_->world()->rng().Uniform(below); }

Ref Frame::Task(uint64_t function, std::vector<Arg> args, CallOptions options) {
  runtime::SubmitCall call;
  call.function = function;
  if (options.cpus > 0) call.shape.Set("CPU", base::Fixed(options.cpus));
  call.hint = options.hint;
  return Submit(std::move(call), args, options, true);
}

Ref Frame::Call(const Ref& actor, uint64_t function, std::vector<Arg> args, CallOptions options) {
  runtime::SubmitCall call;
  call.function = function;
  call.actor = ActorId::FromHandle(actor->object);
  return Submit(std::move(call), args, options, false);
}

Ref Frame::Submit(runtime::SubmitCall call, const std::vector<Arg>& args, const CallOptions& options, bool is_task) {
  World* const world = process_->world();
  call.number = process_->NextNumber();
  Oracle::Call record;
  record.kind = is_task ? Oracle::Kind::kTask : Oracle::Kind::kActorCall;
  record.what = Program::Find(call.function).name;
  record.expected = options.expected;
  record.max_retries = options.max_retries;
  if (options.hint.affinity_hard) record.only_node = options.hint.affinity;
  record.retries_exceptions = options.retry_on_exception;
  record.actor = call.actor;
  if (!is_task) record.order = process_->NextOrder(call.actor);
  if (options.timeout) record.deadline = world->now() + *options.timeout;
  for (const Arg& arg : args) {
    if (arg.ref) {
      rpc::Value value;
      value.kind = rpc::Value::Kind::kRef;
      value.object = arg.ref->object;
      call.args.push_back(std::move(value));
      record.args.push_back(arg.ref->object);
    } else {
      call.args.push_back(process_->Encode(arg.value));
    }
  }
  call.timeout = options.timeout;
  call.max_retries = options.max_retries;
  call.retry_on_exception = options.retry_on_exception;
  call.function_name = record.what;
  if (kind_ == Kind::kCall) {
    call.parent = request_.call;
    call.depth = request_.depth + 1;
    call.trace = request_.trace;
  }
  const CallId id{process_->id(), call.number};
  Ref ref = process_->NewRef({id.caller, id.number, 0});
  call.returns.push_back(ref->cookie);
  if (process_->alive()) world->oracle().Submitted(id, std::move(record));
  process_->Submit(std::move(call));
  return ref;
}

Ref Frame::NewActor(std::vector<Arg> args, ActorOptions options) {
  World* const world = process_->world();
  runtime::SubmitActor submit;
  rpc::ActorSpec& spec = submit.spec;
  spec.actor = {process_->id(), process_->NextNumber()};
  spec.job = process_->job();
  spec.name = options.name;
  spec.class_name = "Counter";
  spec.constructor = 0;
  if (options.cpus > 0) spec.placement.Set("CPU", base::Fixed(options.cpus));
  spec.max_restarts = options.max_restarts;
  spec.max_concurrency = options.max_concurrency;
  spec.detached = options.detached;
  spec.hint = options.hint;
  Oracle::Call record;
  record.kind = Oracle::Kind::kActor;
  record.what = "actor";
  record.name_may_be_taken = !options.name.empty();
  if (options.hint.affinity_hard) record.only_node = options.hint.affinity;
  record.actor = spec.actor;
  for (const Arg& arg : args) {
    if (arg.ref) {
      rpc::Value value;
      value.kind = rpc::Value::Kind::kRef;
      value.object = arg.ref->object;
      spec.args.push_back(std::move(value));
      record.args.push_back(arg.ref->object);
    } else {
      spec.args.push_back(process_->Encode(arg.value));
    }
  }
  if (kind_ == Kind::kCall) spec.parent = request_.call;
  Ref ref = process_->NewRef(spec.actor.handle());
  submit.handle = ref->cookie;
  if (process_->alive()) world->oracle().Submitted({spec.actor.creator, spec.actor.number}, std::move(record));
  process_->Submit(std::move(submit));
  return ref;
}

Ref Frame::Put(UserValue value) {
  runtime::SubmitPut put;
  put.number = process_->NextNumber();
  put.value = process_->Encode(value);
  Ref ref = process_->NewRef({process_->id(), put.number, 0});
  put.handle = ref->cookie;
  Oracle::Call record;
  record.kind = Oracle::Kind::kPut;
  record.what = "put";
  record.expected = value.number;
  if (process_->alive()) process_->world()->oracle().Submitted({process_->id(), put.number}, std::move(record));
  process_->Submit(std::move(put));
  return ref;
}

void Frame::Kill(const Ref& actor, bool no_restart) {
  process_->world()->oracle().KilledActor(ActorId::FromHandle(actor->object));
  process_->Submit(runtime::KillActor{ActorId::FromHandle(actor->object), no_restart});
}

void Frame::Cancel(const Ref& ref) {
  process_->world()->oracle().Cancelled(ref->object.call());
  process_->Submit(runtime::CancelCall{ref->object});
}

void Frame::Throw(std::string message) {
  error_.code = rpc::ErrorCode::kTaskError;
  error_.type = "std::runtime_error";
  error_.message = std::move(message);
  error_.where = what_;
}

void Frame::Throw(const rpc::ErrorInfo& error) { Throw("rethrown: " + error.message); }

Frame::GetAwait Frame::Get(Ref ref) { return {this, std::move(ref)}; }
Frame::SleepAwait Frame::Sleep(Duration time) { return {this, time}; }
Frame::RoomAwait Frame::PutLarge(UserValue value, uint64_t size_bytes) {
  return {this, std::move(value), size_bytes, false, std::nullopt};
}
Frame::RoomAwait Frame::ReturnLarge(UserValue value, uint64_t size_bytes) {
  return {this, std::move(value), size_bytes, true, std::nullopt};
}
Frame::FindAwait Frame::Find(std::string name) { return {this, std::move(name), {}}; }

void Frame::StartThread(Function function) { process_->StartThread(function); }

// ---------------------------------------------------------------- waiting

std::function<void()> Frame::Waker(bool blocks) {
  World* const world = process_->world();
  ProcessHost* const process = process_;
  const uint64_t number = number_;
  const uint64_t wait = ++waits_;
  waiting_since_ = world->now();
  waits_for_ = {};
  if (blocks && kind_ == Kind::kCall) {
    world->queue().After(milliseconds(1), [process, number, wait] {
      Frame* const frame = process->FindFrame(number);
      if (frame == nullptr || frame->waits_ != wait || frame->blocked_) return;
      frame->blocked_ = true;
      process->Submit(runtime::BlockedChanged{frame->request_.call, true});
    });
  }
  return [world, process, number, wait] {
    // A thread that was waiting takes a moment to go on.
    world->queue().After(nanoseconds(world->rng().Between(100, 10'000)), [process, number, wait] {
      Frame* const frame = process->FindFrame(number);
      if (frame == nullptr || frame->waits_ != wait) return;
      frame->Resume();
    });
  };
}

void Frame::Resume() {
  ++waits_;
  if (blocked_) {
    blocked_ = false;
    process_->Submit(runtime::BlockedChanged{request_.call, false});
  }
  process_->RunFrame(this);
}

bool Frame::GetAwait::await_ready() const { return false; }

void Frame::GetAwait::await_suspend(std::coroutine_handle<> at) {
  frame->at_ = at;
  Frame* const f = frame;
  RefState* const wanted = ref.get();  // `ref` keeps it
  ProcessHost* const process = f->process_;
  if (!process->alive()) return;
  const auto wake = f->Waker(true);
  f->waits_for_ = wanted->object;
  // What it has is mapped before it is read; then the value is made of it.
  const auto ready = [process, wanted, wake] {
    if (wanted->error || wanted->value.kind != rpc::Value::Kind::kStored) return wake();
    process->MapFor(wanted->value, wake);
  };
  if (wanted->done) return ready();
  wanted->waiting.push_back(ready);
  process->Submit(runtime::RefWanted{wanted->object});
}

Got Frame::GetAwait::await_resume() {
  Got got;
  if (ref->error) {
    got.error = ref->error;
  } else {
    got.value = frame->process_->DecodeNow(ref->value);
    if (ref->value.kind == rpc::Value::Kind::kStored) {
      frame->process_->world()->CheckNumber(ref->object, frame->process_->id(), got.value.number);
    }
  }
  return got;
}

void Frame::SleepAwait::await_suspend(std::coroutine_handle<> at) {
  frame->at_ = at;
  if (!frame->process_->alive()) return;
  frame->process_->world()->queue().After(time, frame->Waker(false));
}

void Frame::RoomAwait::await_suspend(std::coroutine_handle<> at) {
  frame->at_ = at;
  if (!frame->process_->alive()) return;
  const auto wake = frame->Waker(true);
  ProcessHost* const process = frame->process_;
  const uint64_t number = frame->number_;
  process->Allocate(size_bytes, [this, process, number, wake](std::optional<rpc::StoreLocation> found) {
    if (process->FindFrame(number) == nullptr) return;
    room = found;
    wake();
  });
}

Ref Frame::RoomAwait::await_resume() {
  if (!room) {
    if (is_result) frame->Throw("the store is full");
    return nullptr;
  }
  ProcessHost* const process = frame->process_;
  if (is_result) {
    const CallId call = frame->request_.call;
    process->WriteBlob(*room, {call.caller, call.number, 0}, frame->request_.attempt, value.number);
    frame->result_ = std::move(value);
    frame->result_at_ = room;
    return nullptr;
  }
  runtime::SubmitPut put;
  put.number = process->NextNumber();
  const ObjectId object{process->id(), put.number, 0};
  Oracle::Call record;
  record.kind = Oracle::Kind::kPut;
  record.what = "large put";
  record.expected = value.number;
  process->world()->oracle().Submitted({process->id(), put.number}, std::move(record));
  process->WriteBlob(*room, object, 0, value.number);
  put.value = process->Encode(value);
  put.value.kind = rpc::Value::Kind::kStored;
  put.value.bytes = {};
  put.value.object = object;
  put.value.location = *room;
  Ref ref = process->NewRef(object);
  put.handle = ref->cookie;
  process->Submit(std::move(put));
  return ref;
}

void Frame::FindAwait::await_suspend(std::coroutine_handle<> at) {
  frame->at_ = at;
  if (!frame->process_->alive()) return;
  const auto wake = frame->Waker(true);
  ProcessHost* const process = frame->process_;
  const uint64_t number = frame->number_;
  process->FindActor(name, [this, process, number, wake](ActorId actor) {
    if (process->FindFrame(number) == nullptr) return;
    found = actor;
    wake();
  });
}

Ref Frame::FindAwait::await_resume() {
  if (!found) return nullptr;
  ProcessHost* const process = frame->process_;
  Ref ref = process->NewRef(found.handle());
  process->Submit(runtime::RefAdded{found.handle(), {}, ref->cookie});
  return ref;
}

}  // namespace manta::sim

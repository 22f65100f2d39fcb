#include "runtime/worker/process_world.h"

#include <algorithm>
#include <iterator>

// Processes and user code. The daemon is in process_world_daemon.cc.

namespace manta::runtime {
namespace {

constexpr ProcessId kDaemon = DaemonOf(1);
constexpr uint64_t kDriver = 1;

template <typename Container>
auto Nth(Container& container, uint64_t n) {
  return std::next(container.begin(), static_cast<std::ptrdiff_t>(n));
}

}  // namespace

ProcessWorld::ProcessWorld(uint64_t seed) : rng_(seed) { Add(); }
ProcessWorld::~ProcessWorld() = default;

ProcessWorld::Proc* ProcessWorld::Add() {
  ProcessOptions options;
  options.self = {1, ++last_process_};
  options.job = 1;
  options.calls_at_worker_max = 8;
  auto proc = std::make_unique<Proc>(options);
  proc->id = options.self;
  return procs_.emplace(options.self, std::move(proc)).first->second.get();
}

ProcessWorld::Proc* ProcessWorld::Find(ProcessId id) {
  const auto it = procs_.find(id);
  return it == procs_.end() ? nullptr : it->second.get();
}

void ProcessWorld::Feed(Proc* proc, ProcessEvent event) {
  std::vector<ProcessAction> actions;
  proc->core.Handle(now_, std::move(event), &actions);
  for (ProcessAction& action : actions) CarryOut(proc, std::move(action));
}

void ProcessWorld::CarryOut(Proc* proc, ProcessAction action) {
  if (auto* send = std::get_if<SendMessage>(&action)) {
    if (send->to == kDaemon) {
      to_daemon_[proc->id].push_back(std::move(send->message));
    } else if (Proc* to = Find(send->to)) {
      to->inbox[proc->id].push_back(std::move(send->message));
    } else if (send->to.number == 0 || send->to.number > last_process_) {
      Violate(ToString(proc->id) + " sends to " + ToString(send->to) + ", which has never been");
    }
  } else if (auto* complete = std::get_if<Complete>(&action)) {
    CheckCompletion(proc, *complete);
  } else if (auto* execute = std::get_if<Execute>(&action)) {
    CheckRun(execute->request);
    Frame& frame = proc->frames.emplace_back();
    frame.request = std::move(execute->request);
    const std::vector<rpc::Value> args = frame.request.args;
    std::vector<Cookie> handles;
    for (const rpc::Value& arg : args) AddHandles(proc, arg, &handles);
    proc->frames.back().handles = std::move(handles);
  } else if (auto* construct = std::get_if<ConstructActor>(&action)) {
    Frame& frame = proc->frames.emplace_back();
    frame.constructs = true;
    frame.request.actor = construct->spec.actor;
    frame.request.actor_incarnation = construct->incarnation;
    std::vector<Cookie> handles;
    for (const rpc::Value& arg : construct->spec.args) AddHandles(proc, arg, &handles);
    proc->frames.back().handles = std::move(handles);
  } else if (auto* connect = std::get_if<Connect>(&action)) {
    if (Find(connect->peer) != nullptr) {
      proc->events.push_back(PeerConnected{connect->peer});
    } else {
      proc->events.push_back(PeerUnreachable{connect->peer, "refused"});
    }
  } else if (std::get_if<ExitProcess>(&action) != nullptr) {
    proc->exiting = true;
    doomed_.push_back(proc->id);
  }
}

void ProcessWorld::Deliver(Proc* to, ProcessId from) {
  std::deque<rpc::Message>& queue = to->inbox[from];
  rpc::Message message = std::move(queue.front());
  queue.pop_front();
  if (queue.empty()) to->inbox.erase(from);
  if (const auto* died = std::get_if<rpc::ProcessDied>(&message)) {
    const ProcessId dead = died->process;  // all that it wrote is read first
    while (to->inbox.contains(dead)) Deliver(to, dead);
  }
  Feed(to, MessageReceived{from, std::move(message)});
}

void ProcessWorld::Kill(ProcessId id) {
  if (Find(id) == nullptr) return;
  procs_.erase(id);
  ++deaths_;
  while (!to_daemon_[id].empty()) {
    rpc::Message message = std::move(to_daemon_[id].front());
    to_daemon_[id].pop_front();
    OnDaemon(id, std::move(message));
  }
  to_daemon_.erase(id);
  ForgetDead(id);
}

// ---------------------------------------------------------------- time

void ProcessWorld::Step() {
  now_ += Duration(static_cast<int64_t>(Random(100'000)));
  switch (Random(10)) {
    case 0:
    case 1:
      if (Random(150) == 0 && procs_.size() > 1) {
        Kill(Nth(procs_, 1 + Random(procs_.size() - 1))->first);
      } else {
        Act(Find({1, kDriver}));
      }
      break;
    case 2:
    case 3:
    case 4:
      Act(Nth(procs_, Random(procs_.size()))->second.get());
      break;
    default:
      MoveSomething();
  }
  for (const ProcessId id : std::exchange(doomed_, {})) Kill(id);
}

bool ProcessWorld::MoveSomething() {
  if (Random(4) == 0 && GrantOne()) return true;
  if (Random(4) == 0 && PlaceOne()) return true;
  // Each waiting stream is as likely as any other.
  std::vector<std::pair<Proc*, ProcessId>> streams;
  for (auto& [id, proc] : procs_) {
    for (auto& [from, queue] : proc->inbox) streams.push_back({proc.get(), from});
    if (!proc->events.empty()) streams.push_back({proc.get(), ProcessId{}});
    if (proc->core.next_deadline() <= now_) streams.push_back({proc.get(), proc->id});
  }
  for (auto& [from, queue] : to_daemon_) {
    if (!queue.empty()) streams.push_back({nullptr, from});
  }
  if (streams.empty()) return GrantOne() || PlaceOne();
  const auto [proc, from] = streams[Random(streams.size())];
  if (proc == nullptr) {
    rpc::Message message = std::move(to_daemon_[from].front());
    to_daemon_[from].pop_front();
    OnDaemon(from, std::move(message));
  } else if (from == ProcessId{}) {
    ProcessEvent event = std::move(proc->events.front());
    proc->events.pop_front();
    Feed(proc, std::move(event));
  } else if (from == proc->id) {
    Feed(proc, Tick{});
  } else {
    Deliver(proc, from);
  }
  return true;
}

void ProcessWorld::Settle() {
  settling_ = true;
  for (int round = 0; round < 3; ++round) {
    for (int quiet = 0; quiet < 3;) {
      bool moved = MoveSomething();
      for (auto& [id, proc] : procs_) {
        if (proc->frames.empty()) continue;
        EndFrame(proc.get(), Random(proc->frames.size()));
        moved = true;
        break;
      }
      for (const ProcessId id : std::exchange(doomed_, {})) Kill(id);
      if (moved) {
        quiet = 0;
        continue;
      }
      ++quiet;
      now_ += std::chrono::seconds(1);
    }
    for (auto& [id, proc] : procs_) {
      const std::map<Cookie, Handle> handles = proc->handles;
      for (const auto& [cookie, handle] : handles) {
        if (round == 0 && !handle.done) Feed(proc.get(), RefWanted{handle.object});
        if (round == 1 && !handle.done)
          Violate("handle of " + ToString(handle.object) + " at " + ToString(id) + " is never completed");
        if (round == 1) DropHandle(proc.get(), cookie);
      }
    }
  }
  for (auto& [id, proc] : procs_) {
    const ProcessCounts counts = proc->core.counts();
    const auto check = [&, self = id](const char* what, uint64_t left) {
      if (left != 0) Violate(std::to_string(left) + " " + what + " left at " + ToString(self));
    };
    check("pending calls", counts.calls_pending);
    check("late calls", counts.calls_late);
    check("own objects", counts.objects_owned);
    check("borrowed objects", counts.objects_borrowed);
    check("leases", counts.leases);
    check("mailbox calls", counts.mailbox_calls);
    check("streams", counts.streams);
  }
  for (const auto& [id, entry] : home_) {
    std::string why;
    if (!entry.holders.empty()) why += " held by " + ToString(entry.holders.begin()->first);
    if (!entry.tickets.empty()) why += " ticket " + ToString(entry.tickets.begin()->first);
    if (!entry.early.empty()) why += " early " + ToString(*entry.early.begin());
    if (!entry.containers.empty()) why += " in " + ToString(*entry.containers.begin());
    if (entry.seal_due) why += " seal due";
    Violate("the home still counts " + ToString(id) + ":" + why);
  }
}

// ---------------------------------------------------------------- user code

void ProcessWorld::Act(Proc* proc) {
  if (proc->exiting) return;
  Flush(proc);
  const bool driver = proc->id.number == kDriver;
  if (!driver && !proc->frames.empty() && Random(3) != 0) {
    const size_t index = Random(proc->frames.size());
    Frame& frame = proc->frames[index];
    if (!frame.constructs && Random(6) == 0) {
      frame.blocked = !frame.blocked;
      return Feed(proc, BlockedChanged{frame.request.call, frame.blocked});
    }
    if (Random(4) != 0) return EndFrame(proc, index);
    return Submit(proc, frame.request.call, frame.request.depth + 1);
  }
  if (!proc->handles.empty() && Random(driver ? 3 : 2) == 0) {
    const auto chosen = Nth(proc->handles, Random(proc->handles.size()));
    const Cookie cookie = chosen->first;
    const Handle handle = chosen->second;
    switch (Random(8)) {
      case 0:
        return Feed(proc, RefWanted{handle.object});
      case 1:
        if (!handle.object.is_actor() && handle.object.owner == proc->id) return Feed(proc, CancelCall{handle.object});
        return;
      case 2:
        if (handle.object.is_actor() && Random(3) == 0) {
          return Feed(proc, KillActor{ActorId::FromHandle(handle.object), Random(2) == 0});
        }
        return;
      case 3:
        if (handle.done && !handle.failed) {
          std::vector<Cookie> read;
          AddHandles(proc, handle.value, &read);
        }
        return;
      default:
        return DropHandle(proc, cookie);
    }
  }
  if (driver) Submit(proc, {}, 0);
}

void ProcessWorld::Submit(Proc* proc, CallId parent, uint32_t depth) {
  if (settling_ || depth > 3 || proc->handles.size() > 40) return;
  const uint64_t number = ++proc->last_number;
  const uint64_t kind = Random(10);
  ++calls_;
  if (kind < 2) {
    SubmitPut put;
    put.number = number;
    const std::vector<rpc::Value> args = Arguments(proc);
    put.handle = NewHandle(proc, {proc->id, number, 0});
    for (const rpc::Value& arg : args) {
      if (arg.kind == rpc::Value::Kind::kInline) put.value = WithoutPending(proc, arg);
    }
    if (Random(3) == 0) {
      put.value.kind = rpc::Value::Kind::kStored;
      put.value.bytes = {};
      put.value.location = {1, number, 0, 100};
    }
    return Feed(proc, std::move(put));
  }
  if (kind == 2) {
    SubmitActor create;
    create.spec.actor = {proc->id, number};
    create.spec.args = Arguments(proc);
    create.spec.max_restarts = static_cast<int32_t>(Random(3));
    create.spec.max_concurrency = 1 + static_cast<uint32_t>(Random(2));
    create.handle = NewHandle(proc, create.spec.actor.handle());
    return Feed(proc, std::move(create));
  }
  SubmitCall call;
  call.number = number;
  call.function = 1 + Random(3);
  call.function_name = "F";
  call.parent = parent;
  call.depth = depth;
  call.max_retries = static_cast<int32_t>(Random(3));
  call.retry_on_exception = Random(3) == 0;
  call.args = Arguments(proc);
  call.shape.Set("CPU", base::Fixed(1));
  if (Random(10) == 0) call.timeout = std::chrono::milliseconds(Random(20));
  std::vector<ActorId> actors;
  for (const auto& [cookie, handle] : proc->handles) {
    if (handle.object.is_actor()) actors.push_back(ActorId::FromHandle(handle.object));
  }
  if (!actors.empty() && Random(2) == 0) {
    call.actor = actors[Random(actors.size())];
    order_[{proc->id, number}] = number;
    call.retry_on_exception = false;  // such a retry runs behind what was sent meanwhile
  }
  runs_left_[{proc->id, number}] = 1 + call.max_retries;
  call.returns = {NewHandle(proc, {proc->id, number, 0})};
  Feed(proc, std::move(call));
}

std::vector<rpc::Value> ProcessWorld::Arguments(Proc* proc) {
  std::vector<rpc::Value> args;
  for (uint64_t i = Random(3); i > 0; --i) {
    rpc::Value& arg = args.emplace_back();
    arg.bytes = Bytes("x", 1);
    for (uint64_t refs = Random(3); refs > 0 && !proc->handles.empty(); --refs) {
      const ObjectId object = Nth(proc->handles, Random(proc->handles.size()))->second.object;
      if (!object.is_actor() && arg.refs.empty() && Random(2) == 0) {
        arg = {};
        arg.kind = rpc::Value::Kind::kRef;
        arg.object = object;
        break;
      }
      arg.refs.push_back({object, {}});
    }
  }
  return args;
}

// Objects that hold only objects that are known already hold no cycle, which no counting would ever free.
rpc::Value ProcessWorld::WithoutPending(Proc* proc, rpc::Value value) {
  std::erase_if(value.refs, [&](const rpc::NestedRef& nested) {
    return std::none_of(proc->handles.begin(), proc->handles.end(), [&](const auto& entry) {
      return entry.second.object == nested.object && (entry.second.done || nested.object.is_actor());
    });
  });
  return value;
}

Cookie ProcessWorld::NewHandle(Proc* proc, ObjectId object) {
  Handle handle;
  handle.object = object;
  proc->handles.emplace(++last_cookie_, std::move(handle));
  return last_cookie_;
}

void ProcessWorld::AddHandles(Proc* proc, const rpc::Value& value, std::vector<Cookie>* handles) {
  for (const rpc::NestedRef& nested : value.refs) {
    if (!nested.object) continue;
    const Cookie cookie = NewHandle(proc, nested.object);
    handles->push_back(cookie);
    proc->events.push_back(RefAdded{nested.object, nested.location, cookie});
  }
}

// What user code has done so far comes before what it does next.
void ProcessWorld::Flush(Proc* proc) {
  while (!proc->events.empty()) {
    ProcessEvent event = std::move(proc->events.front());
    proc->events.pop_front();
    Feed(proc, std::move(event));
  }
}

void ProcessWorld::DropHandle(Proc* proc, Cookie cookie) {
  Flush(proc);
  const auto it = proc->handles.find(cookie);
  if (it == proc->handles.end()) return;
  const ObjectId object = it->second.object;
  proc->handles.erase(it);
  Feed(proc, RefDropped{object, cookie});
}

void ProcessWorld::EndFrame(Proc* proc, size_t index) {
  Flush(proc);
  const Frame frame = std::move(proc->frames[index]);
  proc->frames.erase(proc->frames.begin() + static_cast<std::ptrdiff_t>(index));
  // Some handles outlive the call (in a global, in the actor's state).
  for (const Cookie cookie : frame.handles) {
    if (Random(3) != 0) DropHandle(proc, cookie);
  }
  if (frame.constructs) {
    Constructed constructed{frame.request.actor, frame.request.actor_incarnation, {}};
    if (Random(10) == 0) constructed.error.code = rpc::ErrorCode::kTaskError;
    return Feed(proc, std::move(constructed));
  }
  Executed executed;
  executed.call = frame.request.call;
  executed.attempt = frame.request.attempt;
  executed.run_ns = Random(5) == 0 ? 2'000'000 : 1000;
  executed.exit_actor = frame.request.actor && Random(60) == 0;
  if (Random(5) == 0) {
    executed.error.code = rpc::ErrorCode::kTaskError;
    return Feed(proc, std::move(executed));
  }
  rpc::Value& value = executed.returns.emplace_back();
  value.bytes = Bytes("r", 1);
  if (!proc->handles.empty() && Random(2) == 0) {
    value.refs.push_back({Nth(proc->handles, Random(proc->handles.size()))->second.object, {}});
    value = WithoutPending(proc, std::move(value));
  }
  if (Random(4) == 0) {
    value.kind = rpc::Value::Kind::kStored;
    value.bytes = {};
    value.location = {1, ++last_cookie_, 0, 100};
  }
  Feed(proc, std::move(executed));
}

// ---------------------------------------------------------------- checks

void ProcessWorld::CheckRun(const rpc::CallRequest& request) {
  const std::string name = ToString(request.call) + " attempt " + std::to_string(request.attempt);
  if (!ran_.insert({request.call, request.attempt}).second) Violate(name + " runs twice");
  if (--runs_left_[request.call] < 0) Violate(name + " is one run too many");
  if (!request.actor) return;
  uint64_t& last = last_order_[{request.actor, request.actor_incarnation, request.call.caller}];
  const uint64_t order = order_[request.call];
  if (order <= last) Violate(name + " runs out of order");
  last = order;
}

void ProcessWorld::CheckCompletion(Proc* proc, const Complete& complete) {
  ++completed_;
  const auto it = proc->handles.find(complete.handle);
  if (it == proc->handles.end()) {
    return Violate(ToString(proc->id) + " completes handle " + std::to_string(complete.handle) + ", which is gone");
  }
  Handle& handle = it->second;
  if (handle.done) Violate("a handle of " + ToString(handle.object) + " is completed twice");
  handle.done = true;
  handle.failed = static_cast<bool>(complete.error);
  handle.value = complete.value;
  const rpc::ErrorCode code = complete.error.code;
  if (code == rpc::ErrorCode::kObjectLost || code == rpc::ErrorCode::kInternal) {
    Violate(ToString(handle.object) + " at " + ToString(proc->id) + ": " + complete.error.message);
  }
}

}  // namespace manta::runtime

#include "tests/sim/process_host.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tests/sim/describe.h"
#include "tests/sim/node_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;

constexpr uint64_t kAlignment = 64;
constexpr uint64_t kOwnSegment = 1 << 20;

uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ProcessHost::ProcessHost(World* world, NodeHost* node, ProcessId worker, JobId job, Function main)
    : world_(world), node_(node), id_(worker), job_(job), main_(main) {
  machine_ = node->machine();
  label_ = main != nullptr ? "driver@" + std::to_string(machine_) : ToString(worker);
}

ProcessHost::~ProcessHost() { Clear(); }

void ProcessHost::Join() {
  ring_ = world_->network().MakeRing(this, node_);
  descriptors_ = world_->network().MakeRing(this, node_);
  ring_->peer[0] = DaemonOf(node_->id());
  ring_->peer[1] = id_;
  node_->Accept(this, ring_, descriptors_);
  rpc::ProcessHello hello;
  hello.kind = is_driver() ? rpc::ProcessKind::kDriver : rpc::ProcessKind::kWorker;
  hello.process = id_;
  hello.job = job_;
  hello.pid = 1000;
  hello.address = "sim";
  hello.program = "sim";
  world_->network().Send(ring_, 0, hello);
}

void ProcessHost::OnMessage(Pipe* pipe, int side, rpc::Message message) {
  if (pipe == descriptors_) {
    if (const auto* grant = std::get_if<rpc::SegmentGrant>(&message)) return OnGrant(*grant);
    if (const auto* map = std::get_if<rpc::SegmentMap>(&message)) {
      mapped_.insert(map->segment);
      for (auto& done : std::exchange(mapping_[map->segment], {})) done();
    }
    return;
  }
  if (const auto* welcome = std::get_if<rpc::ProcessWelcome>(&message); welcome != nullptr && core_ == nullptr) {
    return OnWelcome(*welcome);
  }
  if (core_ == nullptr) return;
  if (pipe == ring_) OnPeersGone(message);
  Submit(runtime::MessageReceived{pipe->peer[side], std::move(message)});
}

void ProcessHost::OnWelcome(const rpc::ProcessWelcome& welcome) {
  id_ = welcome.process;
  job_ = welcome.job;
  label_ = ToString(id_);
  runtime::ProcessOptions options;
  options.self = id_;
  options.job = welcome.job;
  options.name_space = welcome.name_space;
  core_ = std::make_unique<runtime::ProcessCore>(options);
  world_->Joined(this);
  if (main_ != nullptr) StartThread(main_);
}

void ProcessHost::StartThread(Function function) {
  auto frame = std::make_unique<Frame>(this, ++last_frame_, Frame::Kind::kMain);
  const uint64_t number = last_frame_;
  frame->what_ = "main";
  frame->script_ = function(*frame).handle;
  frames_[number] = std::move(frame);
  world_->queue().After(microseconds(1), [this, number] {
    if (Frame* const ready = FindFrame(number)) RunFrame(ready);
  });
}

// All that the dead wrote to this process is read before the core hears of their death.
void ProcessHost::OnPeersGone(const rpc::Message& message) {
  std::vector<ProcessId> gone;
  if (const auto* died = std::get_if<rpc::ProcessDied>(&message)) {
    gone.push_back(died->process);
  } else if (const auto* node = std::get_if<rpc::NodeDied>(&message)) {
    for (const auto& [peer, pipe] : peers_) {
      if (peer.node == node->node) gone.push_back(peer);
    }
  }
  for (const ProcessId peer : gone) {
    Pipe* const pipe = peer_pipe(peer);
    if (pipe == nullptr) continue;
    const int side = pipe->side[0].host == this ? 0 : 1;
    if (pipe->kind == Pipe::Kind::kRing) world_->network().Drain(pipe, side);
    world_->network().Close(pipe, side);
    peers_.erase(peer);
  }
}

void ProcessHost::Submit(runtime::ProcessEvent event) {
  if (!alive_ || core_ == nullptr) return;
  inbox_.push_back(std::move(event));
  if (handling_) return;
  handling_ = true;
  std::vector<runtime::ProcessAction> actions;
  while (!inbox_.empty() && alive_) {
    runtime::ProcessEvent next = std::move(inbox_.front());
    inbox_.pop_front();
    const auto* dropped = std::get_if<runtime::RefDropped>(&next);
    const runtime::Cookie cookie = dropped != nullptr ? dropped->handle : 0;
    actions.clear();
    core_->Handle(world_->now(), std::move(next), &actions);
    if (cookie != 0) completions_.erase(cookie);
    for (runtime::ProcessAction& action : actions) {
      if (!alive_) break;
      CarryOut(action);
    }
  }
  handling_ = false;
  ArmTick();
}

void ProcessHost::ArmTick() {
  if (!alive_) return;
  const Time deadline = core_->next_deadline();
  if (deadline == Time::max() || (tick_ <= deadline && tick_ > world_->now())) return;
  tick_ = std::max(deadline, world_->now() + nanoseconds(1));
  world_->queue().At(tick_, [this, at = tick_] {
    if (!alive_ || tick_ != at) return;
    tick_ = kInfiniteFuture;
    Submit(runtime::Tick{});
  });
}

void ProcessHost::CarryOut(runtime::ProcessAction& action) {
  std::visit([this](auto& what) { Run(what); }, action);
}

void ProcessHost::Run(runtime::SendMessage& action) {
  if (const auto* reply = std::get_if<rpc::CallReply>(&action.message)) world_->oracle().Replies(*reply, id_);
  if (action.to == DaemonOf(id_.node)) {
    if (!daemon_gone_) world_->network().Send(ring_, 0, std::move(action.message));
    return;
  }
  Pipe* const pipe = peer_pipe(action.to);
  if (pipe == nullptr) {
    world_->trace().Note(world_->now(), label_, "dropped", "",
                         [&] { return ToString(action.to) + "  " + Describe(action.message); });
    return;  // it is dead: the core hears of it in its turn
  }
  world_->network().Send(pipe, pipe->side[0].host == this ? 0 : 1, std::move(action.message));
}

void ProcessHost::Run(runtime::Connect& action) { ConnectTo(action.peer); }

void ProcessHost::ConnectTo(ProcessId peer) {
  world_->queue().After(microseconds(world_->rng().Between(20, 400)), [this, peer] {
    if (!alive_) return;
    if (peer_pipe(peer) == nullptr) {
      switch (world_->ConnectProcesses(this, peer)) {
        case World::Connected::kYes:
          break;
        case World::Connected::kLater:
          return world_->queue().After(microseconds(50'000), [this, peer] { ConnectTo(peer); });
        case World::Connected::kRefused:
          return Submit(runtime::PeerUnreachable{peer, "connection refused"});
      }
    }
    Submit(runtime::PeerConnected{peer});
  });
}

void ProcessHost::Run(runtime::Disconnect& action) { DropPeer(action.peer); }

void ProcessHost::DropPeer(ProcessId peer) {
  Pipe* const pipe = peer_pipe(peer);
  if (pipe == nullptr) return;
  peers_.erase(peer);
  world_->network().Close(pipe, pipe->side[0].host == this ? 0 : 1);
}

Pipe* ProcessHost::peer_pipe(ProcessId peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : it->second;
}

void ProcessHost::Run(runtime::Complete& action) {
  const auto count = completions_.find(action.handle);
  if (count == completions_.end()) {
    return world_->oracle().Violate(ToString(id_) + " completes handle " + std::to_string(action.handle) +
                                    ", which it does not have");
  }
  ++count->second;
  const auto it = refs_.find(action.handle);
  if (it == refs_.end()) return;  // dropped meanwhile
  const Ref ref = it->second->shared_from_this();
  world_->trace().Note(world_->now(), label_, "complete", "",
                       [&] { return ToString(ref->object) + " " + Describe(action.value) + Describe(action.error); });
  std::optional<int64_t> number;
  if (!action.error && action.value.kind == rpc::Value::Kind::kInline && action.value.bytes.size() >= sizeof(int64_t)) {
    number.emplace();
    std::memcpy(&*number, action.value.bytes.data(), sizeof(int64_t));
  }
  if (!action.error && action.value.kind == rpc::Value::Kind::kStored && action.value.location.node != id_.node) {
    world_->oracle().Violate("handle of " + ToString(ref->object) + " at " + ToString(id_) +
                             " is completed with a place on another node");
  }
  if (ref->object.is_actor()) number.reset();
  world_->oracle().Completed(ref->object, id_, count->second, number, action.error);
  ref->done = true;
  ref->value = std::move(action.value);
  ref->error = std::move(action.error);
  for (auto& wake : std::exchange(ref->waiting, {})) wake();
}

void ProcessHost::Run(runtime::Execute& action) {
  world_->oracle().Executes(action.request, id_);
  auto owned = std::make_unique<Frame>(this, ++last_frame_, Frame::Kind::kCall);
  Frame* const frame = owned.get();
  frames_[last_frame_] = std::move(owned);
  frame->request_ = std::move(action.request);
  const Program::Entry& entry = Program::Find(frame->request_.function);
  frame->what_ = entry.name;
  if (frame->request_.actor) {
    auto it = actors_.find(frame->request_.actor);
    if (it == actors_.end()) {
      return world_->oracle().Violate(ToString(id_) + " runs a method of " + ToString(frame->request_.actor) +
                                      ", which it has not constructed");
    }
    frame->actor_ = it->second.get();
  }
  frame->script_ = entry.function(*frame).handle;
  world_->trace().Note(world_->now(), label_, "execute", "", [&] {
    return ToString(frame->request_.call) + " attempt " + std::to_string(frame->request_.attempt) + " " + frame->what_;
  });
  StartFrame(frame, std::exchange(frame->request_.args, {}), 0);
}

void ProcessHost::Run(runtime::ConstructActor& action) {
  auto owned = std::make_unique<Frame>(this, ++last_frame_, Frame::Kind::kConstructor);
  Frame* const frame = owned.get();
  frames_[last_frame_] = std::move(owned);
  frame->request_.actor = action.spec.actor;
  frame->request_.actor_incarnation = action.incarnation;
  frame->request_.call = {action.spec.actor.creator, action.spec.actor.number};
  const Program::Entry& entry = Program::Find(action.spec.constructor);
  frame->what_ = entry.name;
  auto& state = actors_[action.spec.actor];
  state = std::make_unique<ActorState>();
  state->id = action.spec.actor;
  frame->actor_ = state.get();
  frame->script_ = entry.function(*frame).handle;
  world_->Constructs(action.spec.actor, action.incarnation, id_);
  StartFrame(frame, std::move(action.spec.args), 0);
}

// Converts the arguments, one after the other, then runs the script.
void ProcessHost::StartFrame(Frame* frame, std::vector<rpc::Value> args, size_t next) {
  const uint64_t number = frame->number_;
  if (next == args.size()) {
    world_->queue().After(nanoseconds(world_->rng().Between(200, 20'000)), [this, number] {
      if (Frame* ready = FindFrame(number)) {
        ready->started_ = world_->now();
        RunFrame(ready);
      }
    });
    return;
  }
  const rpc::Value value = args[next];
  Decode(value, [this, number, args = std::move(args), next](UserValue decoded) mutable {
    Frame* ready = FindFrame(number);
    if (ready == nullptr) return;
    ready->args_.push_back(std::move(decoded));
    StartFrame(ready, std::move(args), next + 1);
  });
}

void ProcessHost::RunFrame(Frame* frame) {
  const uint64_t number = frame->number_;
  if (!frame->at_) frame->at_ = frame->script_;
  frame->at_.resume();
  if (!alive_) return;
  Frame* const still = FindFrame(number);
  if (still != nullptr && still->script_.done()) FrameEnded(still);
}

void ProcessHost::FrameEnded(Frame* frame) {
  const uint64_t number = frame->number_;
  if (frame->kind_ == Frame::Kind::kMain) {
    frames_.erase(number);
    main_done_ = frames_.empty();
    return;
  }
  if (frame->kind_ == Frame::Kind::kConstructor) {
    if (frame->error_) world_->oracle().Threw(frame->request_.call);
    runtime::Constructed constructed{frame->request_.actor, frame->request_.actor_incarnation, frame->error_};
    frames_.erase(number);  // its handles go first
    return Submit(std::move(constructed));
  }
  runtime::Executed executed;
  executed.call = frame->request_.call;
  executed.attempt = frame->request_.attempt;
  executed.run_ns = static_cast<uint64_t>((world_->now() - frame->started_).count());
  executed.exit_actor = frame->exit_actor_;
  executed.error = frame->error_;
  if (executed.error) {
    world_->oracle().Threw(executed.call);
  } else {
    rpc::Value value = Encode(frame->result_);
    if (frame->result_at_) {
      value.kind = rpc::Value::Kind::kStored;
      value.bytes = {};
      value.object = {executed.call.caller, executed.call.number, 0};
      value.location = *frame->result_at_;
    }
    executed.returns.push_back(std::move(value));
  }
  // The refs in the result are handles until the core has the event.
  const UserValue result = std::move(frame->result_);
  frames_.erase(number);
  Submit(std::move(executed));
}

void ProcessHost::Run(runtime::ActorLookedUp& action) {
  const auto it = lookups_.find(action.cookie);
  if (it == lookups_.end()) return world_->oracle().Violate(ToString(id_) + ": a lookup is answered twice");
  const auto done = std::move(it->second);
  lookups_.erase(it);
  done(action.actor);
}

void ProcessHost::Run(runtime::ActorChanged&) {}
void ProcessHost::Run(runtime::WaitingFor& action) {
  world_->trace().Note(world_->now(), label_, "waits", "",
                       [&] { return ToString(action.object) + ": " + action.reason; });
}
void ProcessHost::Run(runtime::ExitProcess& action) {
  world_->trace().Note(world_->now(), label_, "exit", action.reason);
  exiting_ = true;
  world_->Exited(this);
}
void ProcessHost::Run(runtime::LogLine& action) { world_->trace().Note(world_->now(), label_, "log", action.text); }

void ProcessHost::Die(const std::string& why) {
  if (!alive_) return;
  alive_ = false;
  world_->trace().Note(world_->now(), label_, "dies", why);
  // Its scripts may be running right now.
  world_->queue().After(nanoseconds(0), [this] { Clear(); });
}

void ProcessHost::Clear() {
  alive_ = false;
  for (auto& [segment, waiting] : mapping_) waiting.clear();
  rooms_.clear();
  lookups_.clear();
  frames_.clear();
  actors_.clear();
  pins_.clear();
  inbox_.clear();
  core_.reset();
}

void ProcessHost::OnDaemonGone() {
  if (!alive_ || daemon_gone_) return;
  daemon_gone_ = true;
  if (core_ == nullptr) return Die("its node went away before it had joined");
  Submit(runtime::DaemonLost{});
  // Its store's socket has closed: nobody waits for an answer on it.
  for (auto& [segment, waiting] : std::exchange(mapping_, {})) {
    for (auto& done : waiting) done();
  }
  asking_ = false;
  NextRoom();
}

// ---------------------------------------------------------------- handles and values

Ref ProcessHost::NewRef(ObjectId object) {
  auto ref = std::make_shared<RefState>(this, object, ++last_cookie_);
  refs_[ref->cookie] = ref.get();
  completions_[ref->cookie] = 0;
  return ref;
}

void ProcessHost::ForgetRef(const RefState& ref) {
  if (!alive_) return;
  refs_.erase(ref.cookie);
  Submit(runtime::RefDropped{ref.object, ref.cookie});
}

rpc::Value ProcessHost::Encode(const UserValue& user) {
  rpc::Value value;
  value.bytes = Bytes(&user.number, sizeof user.number);
  for (const Ref& ref : user.refs) {
    rpc::NestedRef nested;
    nested.object = ref->object;
    if (ref->done && !ref->error && ref->value.kind == rpc::Value::Kind::kStored) nested.location = ref->value.location;
    value.refs.push_back(nested);
  }
  return value;
}

void ProcessHost::Decode(const rpc::Value& value, std::function<void(UserValue)> done) {
  if (value.kind != rpc::Value::Kind::kStored) return done(DecodeNow(value));
  MapFor(value, [this, value, done = std::move(done)] { done(DecodeNow(value)); });
}

void ProcessHost::MapFor(const rpc::Value& value, std::function<void()> done) {
  if (daemon_gone_ || mapped_.contains(value.location.segment)) return done();
  auto& waiting = mapping_[value.location.segment];
  waiting.push_back(std::move(done));
  if (waiting.size() == 1) world_->network().Send(descriptors_, 0, rpc::SegmentMap{value.location.segment});
}

UserValue ProcessHost::DecodeNow(const rpc::Value& value) {
  UserValue user;
  if (value.kind == rpc::Value::Kind::kStored) {
    user.view = std::make_shared<View>(this, value.location, value.object);
    user.number = node_->Read(value.location, value.object, id_);
  } else if (value.bytes.size() >= sizeof user.number) {
    std::memcpy(&user.number, value.bytes.data(), sizeof user.number);
  }
  for (const rpc::NestedRef& nested : value.refs) {
    Ref ref = NewRef(nested.object);
    Submit(runtime::RefAdded{nested.object, nested.location, ref->cookie});
    user.refs.push_back(std::move(ref));
  }
  return user;
}

uint64_t ProcessHost::Pin(const rpc::StoreLocation& location) {
  pins_[++last_pin_] = location;
  return last_pin_;
}

bool ProcessHost::ReadsAt(const rpc::StoreLocation& range) const {
  return alive_ && std::any_of(pins_.begin(), pins_.end(), [&](const auto& pin) {
           const rpc::StoreLocation& read = pin.second;
           return read.segment == range.segment && read.offset < range.offset + range.size_bytes &&
                  range.offset < read.offset + read.size_bytes;
         });
}

// As store/store_client.cc does it: one question at a time, a lease for small objects, a segment for each large one.
void ProcessHost::Allocate(uint64_t size_bytes, std::function<void(std::optional<rpc::StoreLocation>)> done) {
  rooms_.push_back({size_bytes, std::move(done)});
  if (rooms_.size() == 1) NextRoom();
}

void ProcessHost::NextRoom() {
  while (!rooms_.empty() && alive_ && !asking_) {
    Room& room = rooms_.front();
    const uint64_t bytes = Aligned(room.size_bytes);
    if (daemon_gone_) {
      const auto done = std::move(room.done);
      rooms_.pop_front();
      done(std::nullopt);
      continue;
    }
    if (bytes < kOwnSegment && lease_.end - lease_.offset >= bytes) {
      const rpc::StoreLocation at{id_.node, lease_.segment, lease_.offset, room.size_bytes};
      lease_.offset += bytes;
      const auto done = std::move(room.done);
      rooms_.pop_front();
      done(at);
      continue;
    }
    if (bytes < kOwnSegment && lease_.end > lease_.offset) {
      world_->network().Send(descriptors_, 0,
                             rpc::SegmentReturn{lease_.segment, lease_.offset, lease_.end - lease_.offset});
      if (!alive_) return;
      lease_ = {};
    }
    asking_ = true;
    world_->network().Send(descriptors_, 0, rpc::SegmentRequest{++last_request_, bytes});
  }
}

void ProcessHost::OnGrant(const rpc::SegmentGrant& grant) {
  if (daemon_gone_) return;  // nobody waits for it any more
  if (!asking_ || grant.request != last_request_) {
    return world_->oracle().Violate(ToString(id_) + " is granted room that it has not asked for");
  }
  asking_ = false;
  Room room = std::move(rooms_.front());
  rooms_.pop_front();
  const uint64_t bytes = Aligned(room.size_bytes);
  if (grant.size_bytes == 0) {
    room.done(std::nullopt);
    return NextRoom();
  }
  mapped_.insert(grant.segment);
  if (grant.size_bytes < bytes) world_->oracle().Violate("a grant of less than was asked for");
  const rpc::StoreLocation at{id_.node, grant.segment, grant.offset, room.size_bytes};
  if (bytes < kOwnSegment) {
    lease_ = {grant.segment, grant.offset + bytes, grant.offset + grant.size_bytes};
  } else if (grant.size_bytes > bytes) {
    world_->network().Send(descriptors_, 0,
                           rpc::SegmentReturn{grant.segment, grant.offset + bytes, grant.size_bytes - bytes});
  }
  if (!alive_) return;
  room.done(at);
  NextRoom();
}

void ProcessHost::WriteBlob(const rpc::StoreLocation& location, ObjectId object, uint32_t attempt, int64_t number) {
  node_->Write(location, {object, attempt, location.size_bytes, number}, ToString(id_));
  world_->oracle().StoredOn(object, id_.node);
}

void ProcessHost::FindActor(const std::string& name, std::function<void(ActorId)> done) {
  const runtime::Cookie cookie = ++last_cookie_;
  lookups_[cookie] = std::move(done);
  Submit(runtime::FindActor{"", name, cookie});
}

Frame* ProcessHost::FindFrame(uint64_t number) {
  const auto it = alive_ ? frames_.find(number) : frames_.end();
  return it == frames_.end() ? nullptr : it->second.get();
}

std::string ProcessHost::WhatRuns() const {
  std::string out;
  for (const auto& [number, frame] : frames_) {
    out += " " + frame->what_;
    if (frame->request_.call.number != 0) out += " " + ToString(frame->request_.call);
    if (frame->waits_for_) out += " for " + ToString(frame->waits_for_);
  }
  return out;
}

}  // namespace manta::sim

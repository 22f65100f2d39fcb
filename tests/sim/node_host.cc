#include "tests/sim/node_host.h"

#include <algorithm>
#include <cstring>

#include "tests/sim/describe.h"
#include "tests/sim/head_host.h"
#include "tests/sim/process_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

}  // namespace

NodeHost::NodeHost(World* world, int machine, runtime::NodeOptions options)
    : world_(world), options_(options), core_(std::make_unique<runtime::NodeCore>(options)), transfers_(world, this) {
  machine_ = machine;
  label_ = "node@" + std::to_string(machine);
}

NodeHost::~NodeHost() = default;

void NodeHost::Start() {
  ArmTick();
  ConnectToHead();
}

void NodeHost::ConnectToHead() {
  world_->queue().After(milliseconds(world_->rng().Between(1, 60)), [this] {
    if (!alive_ || head_pipe_ != nullptr) return;
    HeadHost* const head = world_->head();
    if (head == nullptr || world_->network().IsCut(machine_, 0)) return ConnectToHead();
    head_pipe_ = head->Accept(this);
    head_pipe_->peer[0] = kHead;
    Handle(runtime::HeadConnected{});
  });
}

void NodeHost::OnHeadGone() {
  if (!alive_ || head_pipe_ == nullptr) return;
  world_->network().Close(head_pipe_, 0);
  head_pipe_ = nullptr;
  Handle(runtime::HeadLost{});
  ConnectToHead();
}

void NodeHost::Reconnect() {
  if (!alive_ || head_pipe_ == nullptr) return;
  Pipe* const old = head_pipe_;
  HeadHost* const head = world_->head();
  OnHeadGone();
  if (head == nullptr) return;
  world_->queue().After(milliseconds(world_->rng().Between(0, 20)), [head, old] { head->ConnectionLost(old, false); });
}

void NodeHost::Accept(ProcessHost* process, Pipe* ring, Pipe* descriptors) {
  connections_[ring->id] = {process, ring, descriptors, process->id()};
}

std::vector<ProcessHost*> NodeHost::processes() const {
  std::vector<ProcessHost*> all;
  for (const auto& [id, connection] : connections_) all.push_back(connection.process);
  for (const auto& [id, process] : started_) {
    if (std::find(all.begin(), all.end(), process) == all.end()) all.push_back(process);
  }
  return all;
}

void NodeHost::OnMessage(Pipe* pipe, int side, rpc::Message message) {
  if (auto* hello = std::get_if<rpc::ProcessHello>(&message)) {
    started_.erase(hello->process);
    return Handle(runtime::HelloReceived{pipe->id, std::move(*hello)});
  }
  const ProcessId from = pipe->peer[side];
  const auto* died = std::get_if<rpc::NodeDied>(&message);
  const NodeId dead = died != nullptr ? died->node : 0;
  if (const auto* view = std::get_if<rpc::ClusterView>(&message)) {
    for (const rpc::NodeInfo& info : view->nodes) heard_of_.insert(info.node);
  }
  Handle(runtime::MessageReceived{from, std::move(message)});
  if (dead != 0) ClosePeers(dead);
}

// Nothing comes from a dead node any more, and nothing is sent there again.
void NodeHost::ClosePeers(NodeId node) {
  dead_nodes_.insert(node);
  for (const bool data : {false, true}) {
    unsent_.erase({node, data});
    const auto it = peers_.find({node, data});
    if (it == peers_.end()) continue;
    world_->network().Close(it->second, it->second->side[0].host == this ? 0 : 1);
    peers_.erase(it);
  }
}

void NodeHost::Handle(runtime::NodeEvent event) {
  if (!alive_) return;
  inbox_.push_back(std::move(event));
  if (handling_) return;
  handling_ = true;
  std::vector<runtime::NodeAction> actions;
  while (!inbox_.empty() && alive_) {
    runtime::NodeEvent next = std::move(inbox_.front());
    inbox_.pop_front();
    actions.clear();
    core_->Handle(world_->now(), std::move(next), &actions);
    if (id_ != core_->node()) {
      id_ = core_->node();
      label_ = "n" + std::to_string(id_);
      world_->NodeJoined(this);
    }
    for (runtime::NodeAction& action : actions) {
      if (!alive_) break;
      CarryOut(action);
    }
  }
  handling_ = false;
  ArmTick();
}

void NodeHost::ArmTick() {
  if (!alive_) return;
  const Time deadline = core_->next_deadline();
  if (deadline == Time::max() || (tick_ <= deadline && tick_ > world_->now())) return;
  tick_ = std::max(deadline, world_->now() + nanoseconds(1));
  world_->queue().At(tick_, [this, at = tick_] {
    if (!alive_ || tick_ != at) return;
    tick_ = kInfiniteFuture;
    Handle(runtime::NodeTick{});
  });
}

void NodeHost::CarryOut(runtime::NodeAction& action) {
  std::visit([this](auto& what) { Run(what); }, action);
}

void NodeHost::Run(runtime::SendMessage& action) {
  if (action.to.is_head()) {
    if (head_pipe_ != nullptr) world_->network().Send(head_pipe_, 0, std::move(action.message));
    return;
  }
  if (action.to.is_daemon()) return ToNode(action.to.node, std::move(action.message));
  for (auto& [id, connection] : connections_) {
    if (connection.id != action.to) continue;
    return world_->network().Send(connection.ring, 1, std::move(action.message));
  }
  world_->trace().Note(world_->now(), label_, "dropped", "",
                       [&] { return ToString(action.to) + "  " + Describe(action.message); });
}

void NodeHost::ToNode(NodeId node, rpc::Message message) {
  const bool data =
      std::holds_alternative<rpc::ObjectPull>(message) || std::holds_alternative<rpc::ObjectPulled>(message);
  const std::pair<NodeId, bool> peer{node, data};
  if (peers_.contains(peer)) return ToPeer(peer, std::move(message));
  unsent_[peer].push_back(std::move(message));
  if (unsent_[peer].size() == 1) ConnectTo(peer);
}

void NodeHost::ToPeer(std::pair<NodeId, bool> peer, rpc::Message message) {
  Pipe* const pipe = peers_.at(peer);
  world_->network().Send(pipe, pipe->side[0].host == this ? 0 : 1, std::move(message));
}

void NodeHost::ConnectTo(std::pair<NodeId, bool> peer) {
  if (!alive_ || !unsent_.contains(peer)) return;
  World::Connected connected = World::Connected::kYes;
  if (!peers_.contains(peer)) connected = world_->ConnectNodes(this, peer.first, peer.second);
  if (connected == World::Connected::kLater) {
    return world_->queue().After(milliseconds(world_->rng().Between(1, 20)), [this, peer] { ConnectTo(peer); });
  }
  for (rpc::Message& message : std::exchange(unsent_[peer], {})) {
    if (connected == World::Connected::kYes) {
      ToPeer(peer, std::move(message));
    } else {
      world_->trace().Note(world_->now(), label_, "dropped", "",
                           [&] { return "n" + std::to_string(peer.first) + "  " + Describe(message); });
    }
  }
}

void NodeHost::Run(runtime::LogLine& action) { world_->trace().Note(world_->now(), label_, "log", action.text); }

void NodeHost::Run(runtime::Welcome& action) {
  const auto it = connections_.find(action.connection);
  const ProcessId process = action.welcome.process;
  if (it == connections_.end() || !it->second.process->alive()) {
    return Handle(runtime::ProcessEnded{process, "it ended before it had joined"});
  }
  Connection& connection = it->second;
  connection.id = process;
  connection.ring->peer[1] = process;
  connection.descriptors->peer[1] = process;
  processes_[process] = connection.process;
  world_->network().Send(connection.ring, 1, action.welcome);
}

void NodeHost::Run(runtime::Refuse& action) {
  const auto it = connections_.find(action.connection);
  if (it == connections_.end()) return;
  ProcessHost* const process = it->second.process;
  connections_.erase(it);
  process->Die("refused: " + action.why);
}

void NodeHost::Run(runtime::StartWorker& action) {
  base::Rng& rng = world_->rng();
  const bool slow = rng.Uniform(10) == 0;
  const Duration delay = microseconds(slow ? rng.Between(5'000, 60'000) : rng.Between(300, 3'000));
  if (world_->StartFails()) {
    world_->queue().After(delay, [this, worker = action.worker] {
      Handle(runtime::StartFailed{worker, "fork: out of processes"});
    });
    return;
  }
  ProcessHost* const process = world_->NewWorker(this, action.worker, action.job);
  started_[action.worker] = process;
  world_->queue().After(delay, [this, process] {
    if (alive_ && process->alive()) process->Join();
  });
}

void NodeHost::Run(runtime::KillProcess& action) {
  ProcessHost* process = nullptr;
  if (const auto it = processes_.find(action.process); it != processes_.end()) process = it->second;
  if (const auto it = started_.find(action.process); it != started_.end()) process = it->second;
  if (process == nullptr) return;
  world_->queue().After(microseconds(world_->rng().Between(1, 300)), [process, why = action.why] {
    if (!process->alive()) return;
    process->Die("killed by its node: " + why);
    process->world()->Gone(process, "killed by signal 9");
  });
}

void NodeHost::ProcessGone(ProcessHost* process, const std::string& reason) {
  if (!alive_) return;
  ProcessId id = process->id();
  Time read_until = world_->now();
  for (const auto& [number, connection] : connections_) {
    if (connection.process != process) continue;
    read_until = std::max({read_until, world_->network().LastArrival(connection.ring, 1),
                           world_->network().LastArrival(connection.descriptors, 1)});
    if (id.number == 0) id = connection.id;
  }
  const Duration notice = microseconds(world_->rng().Between(10, 4'000));
  world_->queue().At(read_until + notice, [this, process, id, reason] {
    if (!alive_) return;
    for (auto it = connections_.begin(); it != connections_.end();) {
      it = it->second.process == process ? connections_.erase(it) : std::next(it);
    }
    started_.erase(id);
    processes_.erase(id);
    if (id.number != 0) Handle(runtime::ProcessEnded{id, reason});
  });
}

void NodeHost::Die(const std::string& why) {
  if (!alive_) return;
  alive_ = false;
  world_->trace().Note(world_->now(), label_, "dies", why);
  world_->NodeGone(this);
  world_->queue().After(nanoseconds(0), [this] { core_.reset(); });
}

// ---------------------------------------------------------------- store memory

void NodeHost::Run(runtime::CreateSegment& action) {
  world_->queue().After(microseconds(world_->rng().Between(50, 3'000)), [this, action] {
    if (!alive_) return;
    segments_[action.segment].size_bytes = action.size_bytes;
    Handle(runtime::SegmentCreated{action.segment, action.size_bytes, ""});
  });
}

void NodeHost::Run(runtime::DestroySegment& action) {
  const auto it = segments_.find(action.segment);
  if (it == segments_.end()) {
    return world_->oracle().Violate(label_ + " destroys segment " + std::to_string(action.segment) +
                                    ", which is not there");
  }
  if (ReadByAnybody({id_, action.segment, 0, it->second.size_bytes})) {
    world_->oracle().Violate(label_ + " destroys segment " + std::to_string(action.segment) + " while it is read");
  }
  if (transfers_.WritesAt({id_, action.segment, 0, it->second.size_bytes})) {
    world_->oracle().Violate(label_ + " destroys segment " + std::to_string(action.segment) + " while it is written");
  }
  segments_.erase(it);
}

void NodeHost::Run(runtime::SendSegment& action) {
  for (auto& [id, connection] : connections_) {
    if (connection.id == action.to) return world_->network().Send(connection.descriptors, 1, action.message);
  }
}

void NodeHost::Run(runtime::PinScan& action) {
  runtime::PinsScanned scanned;
  for (const auto& range : action.ranges) {
    const bool read = transfers_.ReadsAt(range.location) || ReadByAnybody(range.location);
    (read ? scanned.pinned : scanned.unpinned).push_back(range.object);
  }
  // The scan looks now; what it found is known a little later.
  world_->queue().After(microseconds(world_->rng().Between(1, 200)),
                        [this, scanned = std::move(scanned)] { Handle(scanned); });
}

void NodeHost::Run(runtime::SendObject& action) {
  if (action.location.size_bytes > runtime::kPulledInlineBytesMax) {
    transfers_.Offer(action.pulled.object, action.pulled.attempt, action.location);
  } else {
    const int64_t number = Read(action.location, action.pulled.object, DaemonOf(id_));
    action.pulled.data = Bytes(&number, sizeof number);
  }
  ToNode(action.to, std::move(action.pulled));
}

void NodeHost::Run(runtime::WriteObject& action) {
  if (action.location.size_bytes > runtime::kPulledInlineBytesMax) return transfers_.Fetch(action);
  Blob blob{action.object, action.attempt, action.location.size_bytes, 0};
  if (action.data.size() >= sizeof blob.number) std::memcpy(&blob.number, action.data.data(), sizeof blob.number);
  Write(action.location, blob, label_);
  Written(action.pull, "");
}

void NodeHost::Run(runtime::AbandonWrite& action) { transfers_.Abandon(action.pull); }

void NodeHost::Run(runtime::JobGone&) {}

void NodeHost::Run(runtime::EndDaemon& action) {
  world_->trace().Note(world_->now(), label_, "ends", action.reason);
  world_->DaemonEnds(this, action.new_life);
}

bool NodeHost::ReadByAnybody(const rpc::StoreLocation& range) const {
  return std::any_of(processes_.begin(), processes_.end(),
                     [&](const auto& process) { return process.second->ReadsAt(range); });
}

void NodeHost::Write(const rpc::StoreLocation& location, const Blob& blob, const std::string& who) {
  const std::string what = ToString(blob.object) + " written by " + who + " at " + std::to_string(location.segment) +
                           "+" + std::to_string(location.offset);
  const auto it = segments_.find(location.segment);
  if (location.node != id_ || it == segments_.end() || location.offset + location.size_bytes > it->second.size_bytes) {
    return world_->oracle().Violate(what + ": there is no such place");
  }
  if (ReadByAnybody(location)) world_->oracle().Violate(what + ": somebody reads there");
  if (transfers_.WritesAt(location)) world_->oracle().Violate(what + ": a pulled object is being written there");
  auto& blobs = it->second.blobs;
  for (auto at = blobs.begin(); at != blobs.end();) {
    const bool overlaps =
        at->first < location.offset + location.size_bytes && location.offset < at->first + at->second.size_bytes;
    at = overlaps ? blobs.erase(at) : std::next(at);
  }
  blobs[location.offset] = blob;
}

int64_t NodeHost::Read(const rpc::StoreLocation& location, ObjectId object, ProcessId reader) {
  const std::string what = ToString(object) + " read by " + ToString(reader) + " at n" + std::to_string(location.node) +
                           ":" + std::to_string(location.segment) + "+" + std::to_string(location.offset);
  const auto segment = segments_.find(location.segment);
  if (location.node != id_ || segment == segments_.end()) {
    world_->oracle().Violate(what + ": there is no such segment");
    return 0;
  }
  const auto blob = segment->second.blobs.find(location.offset);
  if (blob == segment->second.blobs.end()) {
    world_->oracle().Violate(what + ": nothing is there");
    return 0;
  }
  if (object && blob->second.object != object) {
    world_->oracle().Violate(what + ": " + ToString(blob->second.object) + " is there");
  }
  return blob->second.number;
}

}  // namespace manta::sim

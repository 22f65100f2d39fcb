#include "tests/sim/head_host.h"

#include <algorithm>

#include "tests/sim/describe.h"
#include "tests/sim/node_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

}  // namespace

HeadHost::HeadHost(World* world, uint64_t epoch, const std::map<std::string, std::string>& stored) : world_(world) {
  runtime::HeadOptions options;
  options.epoch = epoch;
  options.seed = world->rng().Next();
  core_ = std::make_unique<runtime::HeadCore>(options, world->now(), stored);
  label_ = "head." + std::to_string(epoch);
}

HeadHost::~HeadHost() = default;

Pipe* HeadHost::Accept(NodeHost* node) {
  Pipe* const pipe = world_->network().MakeSocket(node, this);
  connections_[pipe->id] = pipe;
  return pipe;
}

void HeadHost::ConnectionLost(Pipe* pipe, bool dead) {
  if (!alive_ || connections_.erase(pipe->id) == 0) return;
  world_->network().Close(pipe, 1);
  const auto it = nodes_.find(pipe->tag);
  if (it == nodes_.end() || it->second != pipe) return;  // it has another connection already, or never had this one
  nodes_.erase(it);
  Handle(runtime::NodeConnectionLost{pipe->tag, dead});
}

void HeadHost::OnMessage(Pipe* pipe, int, rpc::Message message) {
  if (pipe->tag != 0) return Handle(runtime::MessageReceived{DaemonOf(pipe->tag), std::move(message)});
  if (auto* hello = std::get_if<rpc::NodeRegister>(&message)) {
    Handle(runtime::HeadHello{pipe->id, std::move(*hello)});
  } else {
    world_->trace().Note(world_->now(), label_, "dropped", "",
                         [&] { return Describe(message) + " before it was accepted"; });
  }
}

void HeadHost::Handle(runtime::HeadEvent event) {
  if (!alive_) return;
  inbox_.push_back(std::move(event));
  if (handling_) return;
  handling_ = true;
  std::vector<runtime::HeadAction> actions;
  while (!inbox_.empty() && alive_) {
    runtime::HeadEvent next = std::move(inbox_.front());
    inbox_.pop_front();
    actions.clear();
    core_->Handle(world_->now(), std::move(next), &actions);
    Batch batch;
    for (runtime::HeadAction& action : actions) {
      if (auto* persist = std::get_if<runtime::Persist>(&action)) {
        batch.number = persist->batch;
        batch.writes.push_back(std::move(*persist));
      } else if (auto* send = std::get_if<runtime::SendMessage>(&action)) {
        if (const auto* died = std::get_if<rpc::NodeDied>(&send->message)) world_->oracle().NodeDied(died->node);
        const auto it = nodes_.find(send->to.node);
        if (it != nodes_.end()) world_->network().Send(it->second, 1, std::move(send->message));
      } else if (auto* accept = std::get_if<runtime::AcceptNode>(&action)) {
        const auto it = connections_.find(accept->connection);
        if (it == connections_.end()) {
          if (accept->accepted.node != 0) inbox_.push_back(runtime::NodeConnectionLost{accept->accepted.node, false});
          continue;
        }
        Pipe* const pipe = it->second;
        pipe->tag = accept->accepted.node;
        if (pipe->tag == 0) {
          world_->network().Send(pipe, 1, rpc::NodeFenced{0});
        } else {
          nodes_[pipe->tag] = pipe;
          world_->network().Send(pipe, 1, accept->accepted);
        }
      } else if (auto* log = std::get_if<runtime::LogLine>(&action)) {
        world_->trace().Note(world_->now(), label_, "log", log->text);
      }
    }
    if (!batch.writes.empty()) Store(batch);
  }
  handling_ = false;
  ArmTick();
}

// Durable after a while, in order.
void HeadHost::Store(const Batch& batch) {
  batches_.push_back(batch);
  const bool slow = world_->rng().Uniform(30) == 0;
  const Duration delay = microseconds(slow ? world_->rng().Between(1'000, 30'000) : world_->rng().Between(50, 1'000));
  durable_at_ = std::max(durable_at_, world_->now() + delay);
  world_->queue().At(durable_at_, [this] {
    if (!alive_) return;
    const Batch done = std::move(batches_.front());
    batches_.pop_front();
    world_->Store(done.writes);
    Handle(runtime::Persisted{done.number});
  });
}

void HeadHost::ArmTick() {
  if (!alive_) return;
  const Time deadline = core_->next_deadline();
  if (deadline == Time::max() || (tick_ <= deadline && tick_ > world_->now())) return;
  tick_ = std::max(deadline, world_->now() + nanoseconds(1));
  world_->queue().At(tick_, [this, at = tick_] {
    if (!alive_ || tick_ != at) return;
    tick_ = kInfiniteFuture;
    Handle(runtime::HeadTick{});
  });
}

void HeadHost::Die(const std::string& why) {
  if (!alive_) return;
  alive_ = false;
  world_->trace().Note(world_->now(), label_, "dies", why);
  // What was on its way to the store may or may not have come there, in order.
  const uint64_t arrived = world_->rng().Uniform(batches_.size() + 1);
  for (uint64_t i = 0; i < arrived; ++i) world_->Store(batches_[i].writes);
  world_->HeadGone(this);
  world_->queue().After(nanoseconds(0), [this] { core_.reset(); });
}

}  // namespace manta::sim

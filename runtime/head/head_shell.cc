#include "runtime/head/head_shell.h"

#include <utility>

#include "base/log.h"

namespace manta::runtime {

namespace {

HeadOptions WithEpoch(HeadOptions options, uint64_t epoch) {
  options.epoch = epoch;
  return options;
}

}  // namespace

HeadShell::HeadShell(base::EventLoop* loop, HeadOptions options, std::unique_ptr<KvStore> store,
                     std::function<void(NodeId, rpc::Message)> send, const KvOpened& opened)
    : loop_(loop),
      store_(std::move(store)),
      send_(std::move(send)),
      core_(WithEpoch(std::move(options), opened.epoch), loop->Now(), opened.facts) {
  ArmTimer();
}

void HeadShell::Register(rpc::NodeRegister message, std::function<void(rpc::NodeAccepted)> accepted) {
  const uint64_t connection = next_connection_++;
  registering_[connection] = std::move(accepted);
  Handle(HeadHello{connection, std::move(message)});
}

void HeadShell::Receive(NodeId from, rpc::Message message) {
  Handle(MessageReceived{DaemonOf(from), std::move(message)});
}

void HeadShell::ConnectionLost(NodeId node, bool dead) { Handle(NodeConnectionLost{node, dead}); }

void HeadShell::Handle(HeadEvent event) {
  std::vector<HeadAction> actions;
  core_.Handle(loop_->Now(), std::move(event), &actions);
  KvBatch batch;
  uint64_t batch_number = 0;
  for (HeadAction& action : actions) {
    if (auto* send = std::get_if<SendMessage>(&action)) {
      send_(send->to.node, std::move(send->message));
    } else if (auto* accept = std::get_if<AcceptNode>(&action)) {
      auto found = registering_.find(accept->connection);
      if (found == registering_.end()) continue;
      auto accepted = std::move(found->second);
      registering_.erase(found);
      accepted(accept->accepted);
    } else if (auto* persist = std::get_if<Persist>(&action)) {
      batch_number = std::max(batch_number, persist->batch);
      batch.emplace_back(std::move(persist->key), std::move(persist->value));
    } else if (auto* line = std::get_if<LogLine>(&action)) {
      MANTA_LOG_AT(line->level) << "head: " << line->text;
    }
  }
  if (!batch.empty()) {
    // The answer is an event of its own, never inside this one.
    store_->Write(std::move(batch), [this, batch_number] {
      loop_->RunAfter(Duration::zero(), [this, batch_number] { Handle(Persisted{batch_number}); });
    });
  }
  ArmTimer();
}

void HeadShell::ArmTimer() {
  const Time at = core_.next_deadline();
  if (at == timer_at_ && timer_ != 0) return;
  if (timer_ != 0) loop_->CancelTimer(timer_);
  timer_ = 0;
  timer_at_ = at;
  if (at == Time::max()) return;
  timer_ = loop_->RunAfter(std::max(Duration::zero(), at - loop_->Now()), [this] {
    timer_ = 0;
    Handle(HeadTick{});
  });
}

}  // namespace manta::runtime

// A node daemon's core with a shell that remembers what it was told to do: for tests that read as stories.
#ifndef MANTA_RUNTIME_NODE_NODE_CORE_FIXTURE_H_
#define MANTA_RUNTIME_NODE_NODE_CORE_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/node/node_core.h"

namespace manta::runtime {

class NodeCoreTest : public ::testing::Test {
 protected:
  static constexpr NodeId kSelf = 5;

  // ---- the node
  void Open(NodeOptions options = TwoCpus()) { core_.emplace(std::move(options)); }
  static NodeOptions TwoCpus() {
    NodeOptions options;
    options.name = "test";
    options.total.Set("CPU", Fixed(2));
    options.store_bytes_max = 64 << 20;
    return options;
  }
  void Join() {
    if (!core_) Open();
    Do(HeadConnected{});
    FromHead(rpc::NodeAccepted{kSelf, 1});
    See({});
  }
  void Do(NodeEvent event) { core_->Handle(now_, std::move(event), &actions_); }
  void Pass(Duration time) {
    const Time until = now_ + time;
    while (core_->next_deadline() <= until) {
      now_ = std::max(now_, core_->next_deadline());
      Do(NodeTick{});
    }
    now_ = until;
  }

  // ---- who says what
  void FromHead(rpc::Message message) { Do(MessageReceived{kHead, std::move(message)}); }
  void From(ProcessId process, rpc::Message message) { Do(MessageReceived{process, std::move(message)}); }
  void FromNode(NodeId node, rpc::Message message) { Do(MessageReceived{DaemonOf(node), std::move(message)}); }
  // The head shows these nodes beside this one.
  void See(std::vector<rpc::NodeInfo> others) {
    rpc::ClusterView view;
    view.version = ++view_version_;
    view.nodes = std::move(others);
    rpc::NodeInfo self;
    self.node = kSelf;
    self.total = self.available = TwoCpus().total;
    view.nodes.push_back(self);
    FromHead(view);
  }
  static rpc::NodeInfo Node(NodeId node, int cpus, int gpus = 0) {
    rpc::NodeInfo info;
    info.node = node;
    info.total.Set("CPU", Fixed(cpus));
    if (gpus != 0) info.total.Set("GPU", Fixed(gpus));
    info.available = info.total;
    return info;
  }

  // ---- processes
  // A driver that has been given `job`.
  ProcessId Driver(JobId job = 1) {
    const uint64_t connection = ++connections_;
    rpc::ProcessHello hello;
    hello.kind = rpc::ProcessKind::kDriver;
    hello.address = "driver";
    Do(HelloReceived{connection, hello});
    const std::vector<rpc::JobRegister> asked = Take<rpc::JobRegister>(kHead);
    EXPECT_EQ(asked.size(), 1u);
    if (asked.empty()) return {};
    FromHead(rpc::JobAccepted{asked[0].request, asked[0].driver, job});
    return asked[0].driver;
  }
  // The workers that the core has asked for since the last call.
  std::vector<ProcessId> TakeStarts() {
    std::vector<ProcessId> ids;
    for (const StartWorker& start : TakeActions<StartWorker>()) ids.push_back(start.worker);
    return ids;
  }
  void Hello(ProcessId worker) {
    rpc::ProcessHello hello;
    hello.kind = rpc::ProcessKind::kWorker;
    hello.process = worker;
    hello.address = "worker" + std::to_string(worker.number);
    Do(HelloReceived{++connections_, hello});
  }
  void Ended(ProcessId process, std::string reason = "killed by signal 9") {
    Do(ProcessEnded{process, std::move(reason)});
  }

  // ---- leases
  void AskLease(ProcessId caller, uint64_t request, int cpus = 1, uint32_t depth = 0, JobId job = 1) {
    AskLease(caller, request, ResourceSet{{"CPU", Fixed(cpus)}}, depth, job);
  }
  void AskLease(ProcessId caller, uint64_t request, ResourceSet shape, uint32_t depth = 0, JobId job = 1) {
    rpc::LeaseRequest message;
    message.caller = caller;
    message.request = request;
    message.job = job;
    message.shape = std::move(shape);
    message.depth = depth;
    message.forwarded = caller.node != kSelf;
    From(caller.node == kSelf ? caller : DaemonOf(caller.node), message);
  }
  // Asks, and lets the worker that is started for it come up.
  rpc::LeaseGrant Lease(ProcessId caller, uint64_t request) {
    AskLease(caller, request);
    for (const ProcessId worker : TakeStarts()) Hello(worker);
    const std::vector<rpc::LeaseGrant> grants = Take<rpc::LeaseGrant>(caller);
    EXPECT_EQ(grants.size(), 1u);
    return grants.empty() ? rpc::LeaseGrant{} : grants[0];
  }

  // ---- actors
  static rpc::ActorSpec Spec(ProcessId creator, uint64_t number, std::string name = "") {
    rpc::ActorSpec spec;
    spec.actor = {creator, number};
    spec.job = 1;
    spec.name = std::move(name);
    spec.class_name = "Counter";
    spec.placement.Set("CPU", Fixed(1));
    return spec;
  }
  // Creates an anonymous actor here; its worker comes up and constructs it.
  ProcessId CreateActor(ProcessId creator, uint64_t number) {
    From(creator, rpc::ActorCreate{Spec(creator, number)});
    for (const ProcessId worker : TakeStarts()) Hello(worker);
    return Construct();
  }
  // The worker that was told to construct an actor does so.
  ProcessId Construct() {
    for (NodeAction& action : std::exchange(actions_, {})) {
      auto* send = std::get_if<SendMessage>(&action);
      auto* construct = send == nullptr ? nullptr : std::get_if<rpc::ActorConstruct>(&send->message);
      if (construct == nullptr) continue;
      rpc::ActorStarted started;
      started.actor = construct->spec.actor;
      started.incarnation = construct->incarnation;
      From(send->to, started);
      return send->to;
    }
    ADD_FAILURE() << "nobody was told to construct an actor";
    return {};
  }

  // ---- what came of it: messages to `to` of one kind, and actions of one kind; the others are forgotten
  template <typename Message>
  std::vector<Message> Take(ProcessId to) {
    std::vector<Message> messages;
    std::vector<NodeAction> others;
    for (NodeAction& action : actions_) {
      auto* send = std::get_if<SendMessage>(&action);
      auto* message = send != nullptr && send->to == to ? std::get_if<Message>(&send->message) : nullptr;
      if (message != nullptr) {
        messages.push_back(std::move(*message));
      } else {
        others.push_back(std::move(action));
      }
    }
    actions_ = std::move(others);
    return messages;
  }
  template <typename Action>
  std::vector<Action> TakeActions() {
    std::vector<Action> taken;
    std::vector<NodeAction> others;
    for (NodeAction& action : actions_) {
      if (auto* wanted = std::get_if<Action>(&action)) {
        taken.push_back(std::move(*wanted));
      } else {
        others.push_back(std::move(action));
      }
    }
    actions_ = std::move(others);
    return taken;
  }
  std::set<ProcessId> TakeKills() {
    std::set<ProcessId> ids;
    for (const KillProcess& kill : TakeActions<KillProcess>()) ids.insert(kill.process);
    return ids;
  }
  NodeCounts counts() const { return core_->counts(); }

  std::optional<NodeCore> core_;
  Time now_ = TimeFromNanos(1'000'000'000);
  std::vector<NodeAction> actions_;
  uint64_t connections_ = 0;
  uint64_t view_version_ = 0;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_NODE_CORE_FIXTURE_H_

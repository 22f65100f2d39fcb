// A head's core with nodes, jobs and actors, for tests of what it says about them.
#ifndef MANTA_RUNTIME_HEAD_STATE_WORLD_H_
#define MANTA_RUNTIME_HEAD_STATE_WORLD_H_

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/head/head_core.h"
#include "runtime/state_rows.h"

namespace manta::runtime {

class StateWorld : public ::testing::Test {
 protected:
  void Do(HeadEvent event) {
    std::vector<HeadAction> actions;
    head_.Handle(now_, std::move(event), &actions);
    uint64_t batch = 0;
    for (HeadAction& action : actions) {
      if (const auto* persist = std::get_if<Persist>(&action)) batch = persist->batch;
      if (auto* send = std::get_if<SendMessage>(&action)) sent_.push_back(std::move(*send));
    }
    if (batch != 0) Do(Persisted{batch});
  }
  void Say(NodeId node, rpc::Message message) { Do(MessageReceived{DaemonOf(node), std::move(message)}); }
  // Nodes are numbered from 1.
  NodeId Join(int cpus = 4) {
    rpc::NodeRegister message;
    message.info.name = "host";
    message.info.address = "127.0.0.1:7001";
    message.info.pid = 4711;
    message.info.total.Set("CPU", base::Fixed(cpus));
    message.info.available = message.info.total;
    Do(HeadHello{++nodes_, message});
    return nodes_;
  }
  // Of job 1, whose driver is {node, 1}; number 1 of it is the driver's call.
  ActorId Create(NodeId node, uint64_t number, const std::string& name, const std::string& name_space, int cpus = 1,
                 bool detached = false) {
    const ProcessId driver{node, 1};
    Say(node, rpc::JobRegister{1, node, driver, "train"});
    rpc::ActorCreate create;
    create.spec.actor = {driver, number};
    create.spec.job = 1;
    create.spec.name = name;
    create.spec.name_space = name_space;
    create.spec.class_name = "Counter";
    create.spec.detached = detached;
    create.spec.placement.Set("CPU", base::Fixed(cpus));
    Say(node, create);
    return create.spec.actor;
  }
  rpc::StateReply Ask(rpc::StateKind kind, std::string subject = "") {
    rpc::StateQuery query;
    query.kind = kind;
    query.subject = std::move(subject);
    return head_.Describe(query);
  }
  static std::string Value(const rpc::StateReply& reply, size_t row, const std::string& key) {
    return row < reply.rows.size() ? ValueOf(reply.rows[row], key) : "(no such row)";
  }
  // Rows of the status of one kind.
  static std::vector<rpc::StateRow> Rows(const rpc::StateReply& reply, const std::string& row) {
    std::vector<rpc::StateRow> found;
    for (const rpc::StateRow& one : reply.rows) {
      if (ValueOf(one, "row") == row) found.push_back(one);
    }
    return found;
  }

  Time now_ = TimeFromNanos(1'000'000'000);
  HeadCore head_{HeadOptions{}, now_, {}};
  uint64_t nodes_ = 0;
  std::vector<SendMessage> sent_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_STATE_WORLD_H_

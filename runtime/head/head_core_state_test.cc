#include "runtime/head/state_world.h"

namespace manta::runtime {
namespace {

using HeadCoreStateTest = StateWorld;

TEST_F(HeadCoreStateTest, ADeadNodeIsListedWithItsReason) {
  Join();
  Join();
  Do(NodeConnectionLost{1, true});
  const rpc::StateReply nodes = Ask(rpc::StateKind::kNodes);
  ASSERT_EQ(nodes.rows.size(), 2u);
  EXPECT_EQ(Value(nodes, 0, "node_id"), "n2");
  EXPECT_EQ(Value(nodes, 0, "state"), "ALIVE");
  EXPECT_EQ(Value(nodes, 0, "resources_total"), R"({"CPU":4})");
  EXPECT_EQ(Value(nodes, 0, "pid"), "4711");
  EXPECT_EQ(Value(nodes, 1, "node_id"), "n1");
  EXPECT_EQ(Value(nodes, 1, "state"), "DEAD");
  EXPECT_EQ(Value(nodes, 1, "name"), "host");
  EXPECT_NE(Value(nodes, 1, "message"), "");
  EXPECT_EQ(head_.connected_nodes(), std::vector<NodeId>{2});
}

TEST_F(HeadCoreStateTest, JobsRunAndEnd) {
  Join();
  Create(1, 1, "hits", "space");
  EXPECT_EQ(Value(Ask(rpc::StateKind::kJobs), 0, "status"), "RUNNING");
  EXPECT_EQ(Value(Ask(rpc::StateKind::kJobs), 0, "program"), "train");
  Say(1, rpc::JobEnd{1});
  EXPECT_EQ(Value(Ask(rpc::StateKind::kJobs), 0, "status"), "ENDED");
}

TEST_F(HeadCoreStateTest, AJobThatDetachedActorsOutliveIsDetached) {
  Join();
  const ActorId actor = Create(1, 1, "hits", "space", 1, true);
  Say(1, rpc::JobEnd{1});
  EXPECT_EQ(Value(Ask(rpc::StateKind::kJobs), 0, "status"), "DETACHED");
  EXPECT_EQ(Value(Ask(rpc::StateKind::kActors), 0, "detached"), "true");
  Do(KillActorAsked{actor, true});
  EXPECT_EQ(Value(Ask(rpc::StateKind::kJobs), 0, "status"), "ENDED");
}

TEST_F(HeadCoreStateTest, ARegisteredActorIsFollowedFromItsPlacementToItsDeath) {
  Join();
  const ActorId actor = Create(1, 1, "hits", "space");
  EXPECT_EQ(Value(Ask(rpc::StateKind::kActors), 0, "state"), "PENDING_CREATION");
  rpc::ActorStarted started;
  started.actor = actor;
  started.incarnation = 1;
  started.worker = {1, 2};
  Say(1, started);
  const rpc::StateReply alive = Ask(rpc::StateKind::kActors);
  EXPECT_EQ(Value(alive, 0, "state"), "ALIVE");
  EXPECT_EQ(Value(alive, 0, "actor_id"), ToString(actor));
  EXPECT_EQ(Value(alive, 0, "worker_id"), "n1.p2");
  EXPECT_EQ(Value(alive, 0, "node_id"), "n1");
  EXPECT_EQ(Value(alive, 0, "class_name"), "Counter");
  Say(1, rpc::ProcessDied{{1, 2}, "killed by signal 9", 1});
  const rpc::StateReply dead = Ask(rpc::StateKind::kActors);
  EXPECT_EQ(Value(dead, 0, "state"), "DEAD");
  EXPECT_NE(Value(dead, 0, "message").find("killed by signal 9"), std::string::npos) << Value(dead, 0, "message");
  const rpc::StateReply summary = Ask(rpc::StateKind::kActors, rpc::kStateSummary);
  EXPECT_EQ(Value(summary, 0, "count"), "1");
  EXPECT_EQ(Rows(Ask(rpc::StateKind::kStatus), "failure").size(), 1u);
}

TEST_F(HeadCoreStateTest, TheStatusSaysWhatAnActorWaitsFor) {
  Join(2);
  Create(1, 1, "large", "space", 8);
  const std::vector<rpc::StateRow> demand = Rows(Ask(rpc::StateKind::kStatus), "demand");
  ASSERT_EQ(demand.size(), 1u);
  EXPECT_EQ(ValueOf(demand[0], "shape"), R"({"CPU":8})");
  EXPECT_EQ(ValueOf(demand[0], "count"), "1");
  EXPECT_NE(ValueOf(demand[0], "reason").find("CPU: 8"), std::string::npos) << ValueOf(demand[0], "reason");
}

TEST_F(HeadCoreStateTest, FindsAnActorByIdOrName) {
  Join();
  const ActorId hits = Create(1, 1, "hits", "a");
  Create(1, 2, "twice", "a");
  const ActorId other = Create(1, 3, "twice", "b");
  EXPECT_EQ(head_.FindActor("hits").value(), hits);
  EXPECT_EQ(head_.FindActor("b/twice").value(), other);
  EXPECT_EQ(head_.FindActor("n9.p9.a9").value(), (ActorId{{9, 9}, 9}));
  EXPECT_TRUE(absl::IsNotFound(head_.FindActor("nobody").status()));
  const absl::Status several = head_.FindActor("twice").status();
  EXPECT_TRUE(absl::IsInvalidArgument(several));
  EXPECT_NE(base::Message(several).find("a/twice"), std::string::npos);
}

TEST_F(HeadCoreStateTest, AKillGoesToWhoeverKnowsTheActor) {
  Join();
  const ActorId actor = Create(1, 1, "hits", "space");
  sent_.clear();
  Do(KillActorAsked{actor, true});
  EXPECT_EQ(Value(Ask(rpc::StateKind::kActors), 0, "state"), "DEAD");
  sent_.clear();
  Do(KillActorAsked{{{1, 1}, 99}, false});  // anonymous
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].to, DaemonOf(1));
  const auto& kill = std::get<rpc::ActorKill>(sent_[0].message);
  EXPECT_EQ(kill.actor, (ActorId{{1, 1}, 99}));
  EXPECT_FALSE(kill.no_restart);
}

}  // namespace
}  // namespace manta::runtime

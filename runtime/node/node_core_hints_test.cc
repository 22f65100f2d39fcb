#include "runtime/node/node_core_fixture.h"

namespace manta::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr rpc::SchedulingHint kSpread{.spreading = rpc::Spreading::kSpread};

rpc::SchedulingHint Hard(NodeId node) { return {.affinity = node, .affinity_hard = true}; }
rpc::SchedulingHint Soft(NodeId node) { return {.affinity = node}; }

class NodeCoreHints : public NodeCoreTest {
 protected:
  NodeCoreHints() {
    Join();
    driver_ = Driver();
  }
  void Ask(uint64_t request, const rpc::SchedulingHint& hint, int cpus = 1) {
    rpc::LeaseRequest message;
    message.caller = driver_;
    message.request = request;
    message.job = 1;
    message.shape = {{"CPU", Fixed(cpus)}};
    message.hint = hint;
    From(driver_, message);
  }
  size_t SentTo(NodeId node) { return Take<rpc::LeaseRequest>(DaemonOf(node)).size(); }
  std::vector<rpc::LeaseGrant> Grants() { return Take<rpc::LeaseGrant>(driver_); }

  ProcessId driver_;
};

TEST_F(NodeCoreHints, HardAffinityIsSentThereAlthoughThereIsRoomHereAndNoneThere) {
  rpc::NodeInfo full = Node(6, 1);
  full.available = {};
  See({full, Node(7, 4)});
  Ask(1, Hard(6));
  EXPECT_THAT(TakeStarts(), IsEmpty());
  EXPECT_EQ(SentTo(7), 0u);
  const auto sent = Take<rpc::LeaseRequest>(DaemonOf(6));
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_TRUE(sent[0].forwarded);
}

TEST_F(NodeCoreHints, HardAffinityToTheOwnNodeWaitsHere) {
  See({Node(6, 4)});
  const rpc::LeaseGrant one = Lease(driver_, 1);
  const rpc::LeaseGrant two = Lease(driver_, 2);
  Ask(3, Hard(kSelf));
  EXPECT_EQ(SentTo(6), 0u);
  EXPECT_THAT(Grants(), IsEmpty());
  From(driver_, rpc::LeaseReturn{one.lease});
  EXPECT_THAT(Grants(), SizeIs(1));
}

TEST_F(NodeCoreHints, AForwardedRequestIsGrantedWhateverItHints) {
  See({Node(6, 4)});
  rpc::LeaseRequest message;
  message.caller = {6, 1};
  message.request = 1;
  message.job = 1;
  message.shape = {{"CPU", Fixed(1)}};
  message.hint = Hard(kSelf);
  FromNode(6, message);
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  EXPECT_THAT(Take<rpc::LeaseGrant>(DaemonOf(6)), SizeIs(1));
}

TEST_F(NodeCoreHints, HardAffinityToADeadOrUnknownNodeIsRefused) {
  See({Node(6, 4)});
  FromHead(rpc::NodeDied{6, "gone"});
  Ask(1, Hard(6));
  auto grants = Grants();
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].error.code, rpc::ErrorCode::kNodeDied);
  EXPECT_THAT(grants[0].error.message, HasSubstr("node n6, which has died"));
  Ask(2, Hard(99));
  grants = Grants();
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].error.code, rpc::ErrorCode::kNodeDied);
  EXPECT_THAT(grants[0].error.message, HasSubstr("no such node"));
}

TEST_F(NodeCoreHints, ARequestThatWaitsAtANodeIsRefusedWhenThatNodeDies) {
  See({Node(6, 4)});
  Ask(1, Hard(6));
  EXPECT_EQ(SentTo(6), 1u);
  FromHead(rpc::NodeDied{6, "gone"});
  const auto grants = Grants();
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].error.code, rpc::ErrorCode::kNodeDied);
  EXPECT_EQ(counts().lease_requests, 0u);
}

TEST_F(NodeCoreHints, TheRefusalOfTheOnlyNodeIsHandedOn) {
  See({Node(6, 4)});
  Ask(1, Hard(6));
  rpc::LeaseGrant refusal;
  refusal.caller = driver_;
  refusal.request = 1;
  refusal.error.code = rpc::ErrorCode::kWorkerDied;
  FromNode(6, refusal);
  EXPECT_THAT(Grants(), ElementsAre(refusal));
}

TEST_F(NodeCoreHints, HardAffinityToANodeThatIsTooSmallWaitsAndSaysSo) {
  See({Node(6, 1), Node(7, 16)});
  Ask(1, Hard(6), 8);
  EXPECT_EQ(SentTo(6) + SentTo(7), 0u);
  const auto pending = Take<rpc::LeasePending>(driver_);
  ASSERT_THAT(pending, SizeIs(1));
  EXPECT_THAT(pending[0].reason, HasSubstr("NodeAffinity"));
  EXPECT_THAT(pending[0].reason, HasSubstr("node n6"));
}

TEST_F(NodeCoreHints, SoftAffinityFallsBackWhenThereIsNoRoomOrNoSuchNode) {
  rpc::NodeInfo full = Node(6, 1);
  full.available = {};
  See({full, Node(7, 4)});
  Ask(1, Soft(7));
  EXPECT_EQ(SentTo(7), 1u);
  Ask(2, Soft(6));
  Ask(3, Soft(99));
  EXPECT_EQ(SentTo(6), 0u);
  EXPECT_THAT(TakeStarts(), SizeIs(2)) << "the own node has room";
}

TEST_F(NodeCoreHints, SpreadGoesRoundTheLeastUsedNodesTheOwnOneToo) {
  See({Node(6, 2), Node(7, 2)});
  for (uint64_t request = 1; request <= 6; ++request) Ask(request, kSpread);
  EXPECT_EQ(SentTo(6), 2u);
  EXPECT_EQ(SentTo(7), 2u);
  EXPECT_THAT(TakeStarts(), SizeIs(2));
}

TEST_F(NodeCoreHints, SpreadWaitsForWhoeverHasRoomFirst) {
  rpc::NodeInfo full = Node(6, 2);
  full.available = {};
  See({full});
  const rpc::LeaseGrant one = Lease(driver_, 1);
  const rpc::LeaseGrant two = Lease(driver_, 2);
  actions_.clear();
  Ask(3, kSpread);
  EXPECT_THAT(Take<rpc::LeasePending>(driver_), SizeIs(1));
  See({Node(6, 2)});
  EXPECT_EQ(SentTo(6), 1u);
}

TEST_F(NodeCoreHints, AnAnonymousActorLivesWhereItsHintSays) {
  See({Node(6, 4), Node(7, 4)});
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.hint = Hard(7);
  From(driver_, rpc::ActorCreate{spec});
  EXPECT_THAT(TakeStarts(), IsEmpty());
  EXPECT_THAT(Take<rpc::ActorStart>(DaemonOf(7)), SizeIs(1));
  spec = Spec(driver_, 2);
  spec.hint = Soft(6);
  From(driver_, rpc::ActorCreate{spec});
  EXPECT_THAT(Take<rpc::ActorStart>(DaemonOf(6)), SizeIs(1));
}

TEST_F(NodeCoreHints, AnActorWhoseOnlyNodeIsDeadDiesAndSaysWhy) {
  See({Node(6, 4)});
  FromHead(rpc::NodeDied{6, "gone"});
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.hint = Hard(6);
  From(driver_, rpc::ActorCreate{spec});
  const auto updates = Take<rpc::ActorUpdate>(driver_);
  ASSERT_FALSE(updates.empty());
  EXPECT_EQ(updates.back().state, rpc::ActorState::kDead);
  EXPECT_EQ(updates.back().error.code, rpc::ErrorCode::kActorDied);
  EXPECT_THAT(updates.back().error.message, HasSubstr("node n6, which has died"));
}

TEST_F(NodeCoreHints, TellsAProcessWhichNodesThereAre) {
  See({Node(7, 4), Node(3, 1)});
  From(driver_, rpc::NodesQuery{9});
  const auto replies = Take<rpc::NodesReply>(driver_);
  ASSERT_THAT(replies, SizeIs(1));
  EXPECT_EQ(replies[0].request, 9u);
  std::vector<NodeId> nodes;
  for (const rpc::NodeInfo& info : replies[0].nodes) nodes.push_back(info.node);
  EXPECT_THAT(nodes, ElementsAre(3, kSelf, 7));
}

// ---------------------------------------------------------------- detached actors

TEST_F(NodeCoreHints, AJobWithADetachedActorStaysUntilTheHeadEndsIt) {
  rpc::ActorSpec spec = Spec(driver_, 1, "db");
  spec.detached = true;
  From(driver_, rpc::ActorCreate{spec});
  FromHead(rpc::ActorStart{spec, 1});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId host = Construct();
  const rpc::LeaseGrant task = Lease(driver_, 1);
  actions_.clear();
  Ended(driver_, "exited with status 0");
  EXPECT_THAT(Take<rpc::JobEnd>(kHead), SizeIs(1));
  EXPECT_THAT(TakeKills(), ElementsAre(task.worker)) << "what the driver held ends with it";
  Ended(task.worker);
  EXPECT_EQ(counts().actors, 1u);

  // The actor's worker dies, and the head has the actor started here again.
  Ended(host);
  EXPECT_THAT(TakeActions<JobGone>(), IsEmpty());
  FromHead(rpc::ActorStart{spec, 2});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId second = Construct();
  EXPECT_EQ(counts().actors, 1u);

  FromHead(rpc::ActorKill{.actor = spec.actor, .no_restart = true});
  Ended(second);
  FromHead(rpc::JobEnd{1});
  EXPECT_THAT(TakeActions<JobGone>(), SizeIs(1));
}

TEST_F(NodeCoreHints, TheHeadSaysThatAJobHasADetachedActorCreatedElsewhere) {
  FromHead(rpc::JobAccepted{.driver = driver_, .job = 1, .has_detached = true});
  actions_.clear();
  Ended(driver_);
  EXPECT_THAT(TakeActions<JobGone>(), IsEmpty());
  FromHead(rpc::JobEnd{1});
  EXPECT_THAT(TakeActions<JobGone>(), SizeIs(1));
}

TEST_F(NodeCoreHints, ACreationIsNotSentAgainOnceTheHeadHasAnsweredItsDeadCreator) {
  rpc::ActorSpec detached = Spec(driver_, 1, "db");
  detached.detached = true;
  From(driver_, rpc::ActorCreate{detached});
  rpc::ActorSpec other = Spec(driver_, 2);
  other.max_restarts = 1;
  From(driver_, rpc::ActorCreate{other});
  Ended(driver_);
  for (const rpc::ActorSpec& spec : {detached, other}) {
    rpc::ActorUpdate update;
    update.actor = spec.actor;
    update.watcher = driver_;
    update.version = 1;
    FromHead(update);
  }
  Do(HeadLost{});
  Do(HeadConnected{});
  actions_.clear();
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_THAT(Take<rpc::ActorCreate>(kHead), IsEmpty());
}

}  // namespace
}  // namespace manta::runtime

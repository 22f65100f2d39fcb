#include "runtime/head/state_fanout.h"

#include "runtime/head/state_world.h"

namespace manta::runtime {
namespace {

using rpc::StateKind;

class StateFanoutTest : public StateWorld {
 protected:
  StateFanoutTest() {
    Join();
    Join();
  }
  void Ask(StateKind kind, uint64_t client = 1, NodeId node = 0) {
    rpc::StateQuery query;
    query.request = 5;
    query.kind = kind;
    query.node = node;
    fanout_.OnQuery(now_, client, false, query, &out_);
  }
  // The node answers the question it was asked last.
  void Answer(NodeId node, std::vector<rpc::StateRow> rows, std::string error = "") {
    rpc::StateReply reply;
    reply.node = node;
    reply.rows = std::move(rows);
    reply.error = std::move(error);
    for (const auto& [to, query] : out_.asks) {
      if (to == node) reply.request = query.request;
    }
    fanout_.OnReply(node, reply, &out_);
  }
  void Pass(Duration time) {
    now_ += time;
    fanout_.Tick(now_, &out_);
  }
  const rpc::StateReply& Only() {
    EXPECT_EQ(out_.answers.size(), 1u);
    return out_.answers.at(0).second;
  }

  StateFanout fanout_{&head_};
  StateFanout::Output out_;
};

TEST_F(StateFanoutTest, APageIsOneSourcesOwn) {
  rpc::StateQuery query;
  query.request = 5;
  query.kind = StateKind::kActors;
  query.subject = kStatePage;
  fanout_.OnQuery(now_, 1, false, query, &out_);
  EXPECT_TRUE(out_.asks.empty());
  EXPECT_EQ(Only().rows.size(), 0u) << "the head knows of none";
  out_ = {};
  query.node = 2;
  query.offset = 7;
  fanout_.OnQuery(now_, 1, false, query, &out_);
  ASSERT_EQ(out_.asks.size(), 1u);
  EXPECT_EQ(out_.asks[0].second.offset, 7u);
  const rpc::StateRow row = StateRow().Text("actor_id", "n2.p1.a1").Take();
  Answer(2, {row, row});
  EXPECT_EQ(Only().request, 5u);
  EXPECT_EQ(Only().rows.size(), 2u) << "as they came: the asker counts them";
}

TEST_F(StateFanoutTest, WaitsForEveryNodeAndPutsTheirRowsTogether) {
  Ask(StateKind::kWorkers);
  ASSERT_EQ(out_.asks.size(), 2u);
  Answer(2, {StateRow().Text("worker_id", "n2.p1").Take()});
  EXPECT_TRUE(out_.answers.empty());
  Answer(1, {StateRow().Text("worker_id", "n1.p1").Take()});
  EXPECT_EQ(out_.answers[0].first, 1u);
  EXPECT_EQ(Only().request, 5u);
  EXPECT_EQ(Value(Only(), 0, "worker_id"), "n1.p1");
  EXPECT_EQ(Value(Only(), 1, "worker_id"), "n2.p1");
  EXPECT_EQ(Only().error, "");
  EXPECT_EQ(fanout_.next_deadline(), kInfiniteFuture);
}

TEST_F(StateFanoutTest, ANodeAddsToWhatTheHeadKnowsOfIt) {
  Ask(StateKind::kNodes);
  Answer(1, {StateRow().Text("node_id", "n1").Number("workers", 3).Take()});
  Answer(2, {});
  ASSERT_EQ(Only().rows.size(), 2u);
  EXPECT_EQ(Value(Only(), 0, "state"), "ALIVE");
  EXPECT_EQ(Value(Only(), 0, "workers"), "3");
}

TEST_F(StateFanoutTest, NamesTheNodeThatDoesNotAnswerInTime) {
  Ask(StateKind::kWorkers);
  Answer(2, {StateRow().Text("worker_id", "n2.p1").Take()});
  Pass(StateFanout::kTimeout - std::chrono::nanoseconds(1));
  EXPECT_TRUE(out_.answers.empty());
  Pass(std::chrono::nanoseconds(1));
  EXPECT_EQ(Only().rows.size(), 1u);
  EXPECT_NE(Only().error.find("n1 did not answer"), std::string::npos) << Only().error;
  Answer(1, {});  // too late: nobody asks any more
  EXPECT_EQ(out_.answers.size(), 1u);
}

TEST_F(StateFanoutTest, ANodeThatGoesOrFailsIsNamed) {
  Ask(StateKind::kTasks);
  fanout_.NodeGone(1, &out_);
  Answer(2, {}, "no ring");
  EXPECT_NE(Only().error.find("n1 went"), std::string::npos) << Only().error;
  EXPECT_NE(Only().error.find("n2: no ring"), std::string::npos) << Only().error;
}

TEST_F(StateFanoutTest, OneNodeIsAskedAlone) {
  Ask(StateKind::kNodes, 1, 2);
  ASSERT_EQ(out_.asks.size(), 1u);
  EXPECT_EQ(out_.asks[0].first, 2u);
  Answer(2, {});
  ASSERT_EQ(Only().rows.size(), 1u);
  EXPECT_EQ(Value(Only(), 0, "node_id"), "n2");
}

TEST_F(StateFanoutTest, ANodeThatIsNotThereIsSaidSoAtOnce) {
  Ask(StateKind::kLogs, 1, 77);
  EXPECT_NE(Only().error.find("n77 is not there"), std::string::npos) << Only().error;
}

TEST_F(StateFanoutTest, JobsNeedNoNode) {
  Create(1, 1, "hits", "space");
  Ask(StateKind::kJobs);
  EXPECT_TRUE(out_.asks.empty());
  EXPECT_EQ(Only().rows.size(), 1u);
}

TEST_F(StateFanoutTest, WhoHasGoneIsNotAnswered) {
  Ask(StateKind::kWorkers, 1);
  Ask(StateKind::kWorkers, 2);
  fanout_.ClientGone(1);
  Pass(StateFanout::kTimeout);
  ASSERT_EQ(out_.answers.size(), 1u);
  EXPECT_EQ(out_.answers[0].first, 2u);
}

TEST_F(StateFanoutTest, TooManyQuestionsAreRefused) {
  for (size_t i = 0; i < StateFanout::kQueriesMax; ++i) Ask(StateKind::kWorkers);
  EXPECT_TRUE(out_.answers.empty());
  Ask(StateKind::kWorkers);
  EXPECT_NE(Only().error, "");
}

TEST_F(StateFanoutTest, OnlyMembersKill) {
  Create(1, 1, "hits", "space");
  rpc::StateQuery query;
  query.kind = StateKind::kKillActor;
  query.subject = "hits";
  fanout_.OnQuery(now_, 1, false, query, &out_);
  EXPECT_NE(Only().error, "");
  EXPECT_TRUE(out_.kills.empty());
  out_ = {};
  fanout_.OnQuery(now_, 1, true, query, &out_);
  EXPECT_EQ(Only().error, "");
  ASSERT_EQ(out_.kills.size(), 1u);
  EXPECT_FALSE(out_.kills[0].no_restart);
  out_ = {};
  query.subject = "nobody";
  fanout_.OnQuery(now_, 1, true, query, &out_);
  EXPECT_NE(Only().error.find("nobody"), std::string::npos);
}

}  // namespace
}  // namespace manta::runtime

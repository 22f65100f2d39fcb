#include "runtime/node/death_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/node/number_set.h"

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ProcessId kDead{2, 7};
constexpr ProcessId kHere{1, 1};
constexpr ProcessId kAlsoHere{1, 2};

class DeathTableTest : public ::testing::Test {
 protected:
  DeathTableTest() {
    deaths_.SetSelf(1);
    deaths_.SetNodes({1, 2, 3}, 3, &output_);
  }
  void Report(ProcessId dead, std::set<ProcessId> local = {}, NodeId newest = 3) {
    deaths_.Report({.process = dead, .reason = "killed", .newest_node = newest}, std::move(local), &output_);
  }
  void Answered(ProcessId dead, std::vector<NodeId> nodes) {
    for (const NodeId node : nodes) deaths_.Answered(dead, node, &output_);
  }
  std::vector<ProcessId> TakeHere() { return std::exchange(output_.drained_here, {}); }
  std::vector<ProcessId> TakeEverywhere() { return std::exchange(output_.drained, {}); }

  DeathTable deaths_;
  DeathTable::Output output_;
};

TEST_F(DeathTableTest, TellsTheOthersWhenAllProcessesHereHaveAnswered) {
  Report(kDead, {kHere, kAlsoHere});
  deaths_.AnsweredHere(kDead, kHere, &output_);
  EXPECT_THAT(TakeHere(), IsEmpty());
  deaths_.AnsweredHere(kDead, kAlsoHere, &output_);
  EXPECT_THAT(TakeHere(), ElementsAre(kDead));
}

TEST_F(DeathTableTest, AProcessThatDiesMeanwhileHasAnswered) {
  Report(kDead, {kHere});
  deaths_.LocalGone(kHere, &output_);
  EXPECT_THAT(TakeHere(), ElementsAre(kDead));
}

TEST_F(DeathTableTest, IsDrainedWhenEveryLiveNodeHasSaidSo) {
  Report(kDead);
  EXPECT_TRUE(deaths_.IsDead(kDead));
  Answered(kDead, {2});
  EXPECT_FALSE(deaths_.IsDrained(kDead));
  Answered(kDead, {3});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(kDead));
  EXPECT_TRUE(deaths_.IsDrained(kDead));
  EXPECT_EQ(deaths_.open(), 0u);
}

TEST_F(DeathTableTest, AnswersMayComeBeforeTheReport) {
  Answered(kDead, {3, 2});
  EXPECT_FALSE(deaths_.IsDead(kDead));
  Report(kDead);
  EXPECT_THAT(TakeEverywhere(), ElementsAre(kDead));
}

TEST_F(DeathTableTest, ReportsASecondTimeAreIgnored) {
  Report(kDead);
  EXPECT_FALSE(deaths_.Report({.process = kDead, .reason = "", .newest_node = 0}, {kHere}, &output_));
  Answered(kDead, {2, 3});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(kDead));
  Answered(kDead, {2});
  EXPECT_EQ(deaths_.open(), 0u);
}

TEST_F(DeathTableTest, WaitsForNodesThatTheReporterKnewAndThisOneDoesNot) {
  Report(kDead, {}, 4);
  Answered(kDead, {2, 3});
  EXPECT_THAT(TakeEverywhere(), IsEmpty());
  deaths_.SetNodes({1, 2, 3, 4}, 4, &output_);
  EXPECT_THAT(TakeEverywhere(), IsEmpty());
  Answered(kDead, {4});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(kDead));
}

TEST_F(DeathTableTest, DoesNotWaitForNodesThatJoinLater) {
  Report(kDead);
  deaths_.SetNodes({1, 2, 3, 4}, 4, &output_);
  Answered(kDead, {2, 3});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(kDead));
}

TEST_F(DeathTableTest, ANodesDeathTakesInThoseOfItsProcesses) {
  Report(kDead);
  Report(DaemonOf(2));
  EXPECT_TRUE(deaths_.IsDead({2, 99}));
  EXPECT_FALSE(deaths_.IsDrained(kDead));
  Answered(DaemonOf(2), {3});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(DaemonOf(2)));
  EXPECT_TRUE(deaths_.IsDrained(kDead));
}

TEST_F(DeathTableTest, ADrainTakesEffectOnlyWhenNoNodesDrainIsOpen) {
  // What the dead process sent to node 3 may have been passed on from there to node 2.
  const ProcessId other{1, 9};
  Report(other);
  Answered(other, {2});
  Report(DaemonOf(3));
  EXPECT_THAT(TakeEverywhere(), IsEmpty());
  Answered(DaemonOf(3), {2});
  EXPECT_THAT(TakeEverywhere(), ElementsAre(other, DaemonOf(3)));
}

TEST_F(DeathTableTest, TellsNewcomersForAWhile) {
  const Time start = TimeFromNanos(1'000'000'000);
  deaths_.Advance(start);
  Report({1, 5});
  EXPECT_EQ(deaths_.Recent().size(), 2u) << "that it died, and that it is drained here";
  deaths_.Advance(start + DeathTable::kRecent);
  EXPECT_EQ(deaths_.Recent().size(), 2u);
  deaths_.Advance(start + DeathTable::kRecent + std::chrono::seconds(1));
  EXPECT_THAT(deaths_.Recent(), IsEmpty());
}

TEST_F(DeathTableTest, ForgetsAnswersThatNoReportFollows) {
  deaths_.Advance(TimeFromNanos(1));
  Answered(kDead, {3});
  EXPECT_EQ(deaths_.open(), 1u);
  deaths_.Advance(TimeFromNanos(2) + DeathTable::kRecent);
  EXPECT_EQ(deaths_.open(), 0u);
}

TEST_F(DeathTableTest, WhoDiedBeforeThisNodesTimeIsDeadAndDrained) {
  DeathTable young;
  young.SetSelf(5);
  DeathTable::Output output;
  young.Answered(DaemonOf(2), 3, &output);
  EXPECT_THAT(output.drained_here, IsEmpty());
  young.BeginAmong({3, 5}, &output);
  EXPECT_THAT(output.drained_here, ElementsAre(DaemonOf(2))) << "node 3 may be waiting for that";
  EXPECT_TRUE(young.IsDead({1, 7}));
  EXPECT_TRUE(young.IsDrained(DaemonOf(4)));
  EXPECT_FALSE(young.IsDead(DaemonOf(3)));
  EXPECT_EQ(young.open(), 0u);
  output = {};
  young.Answered(DaemonOf(4), 3, &output);
  young.Answered(DaemonOf(4), 3, &output);
  EXPECT_THAT(output.drained_here, ElementsAre(DaemonOf(4)));
}

TEST(NumberSet, JoinsNeighbours) {
  NumberSet set;
  for (const uint64_t number : {5, 1, 3, 2, 4}) EXPECT_TRUE(set.Insert(number));
  EXPECT_FALSE(set.Insert(3));
  EXPECT_EQ(set.interval_count(), 1u);
  EXPECT_TRUE(set.Contains(1));
  EXPECT_TRUE(set.Contains(5));
  EXPECT_FALSE(set.Contains(0));
  EXPECT_FALSE(set.Contains(6));
}

}  // namespace
}  // namespace manta::runtime::node

#include "manta/ml/clock_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <span>
#include <vector>

#include "manta/error.h"

namespace manta::ml {
namespace {

using ::testing::Each;

TEST(ClockTable, BspLetsNobodyEnterBeforeAllHaveFinished) {
  ClockTable table(Bsp(), 3);
  table.Finish(0, 1);
  table.Finish(1, 1);
  EXPECT_FALSE(table.MayEnter(0));
  EXPECT_TRUE(table.MayEnter(2));
  EXPECT_EQ(table.FinishedByAll(), 0u);
  table.Finish(2, 1);
  for (uint32_t worker : {0, 1, 2}) EXPECT_TRUE(table.MayEnter(worker));
  EXPECT_EQ(table.FinishedByAll(), 1u);
}

TEST(ClockTable, SspLetsThemRunAheadByTheBound) {
  ClockTable table(Ssp(2), 2);
  for (uint64_t n : {1, 2, 3}) {
    EXPECT_TRUE(table.MayEnter(0));
    table.Finish(0, n);
  }
  EXPECT_FALSE(table.MayEnter(0));
  EXPECT_THROW(table.Finish(0, 4), InvalidArgumentError);
  table.Finish(1, 1);
  EXPECT_TRUE(table.MayEnter(0));
}

TEST(ClockTable, GroupsAreSynchronousInsideAndAsynchronousBetween) {
  ClockTable table(GroupSync(2), 4);
  for (uint64_t n = 1; n <= 10; ++n) {
    table.Finish(0, n);
    EXPECT_FALSE(table.MayEnter(0));
    table.Finish(1, n);
    EXPECT_TRUE(table.MayEnter(0));
  }
  EXPECT_EQ(table.FinishedByGroup(0), 10u);
  EXPECT_EQ(table.FinishedByGroup(1), 0u);
  EXPECT_THROW(GroupSync(0), InvalidArgumentError);
}

TEST(ClockTable, WhoLeavesHoldsNobodyUpAndWhoJoinsBeginsAtTheSlowest) {
  ClockTable table(Bsp(), 2);
  table.Finish(0, 1);
  EXPECT_FALSE(table.MayEnter(0));
  table.Leave(1);
  EXPECT_TRUE(table.MayEnter(0));
  table.Finish(0, 2);
  EXPECT_EQ(table.Join(7), 2u);
  EXPECT_EQ(table.Join(7), 2u);
  table.Leave(0);
  table.Leave(7);
  EXPECT_EQ(table.FinishedByGroup(0), ClockTable::kAll);
  EXPECT_EQ(table.Join(1), 2u);  // where the group was
  EXPECT_THROW(table.Finish(0, 3), InvalidArgumentError);
}

TEST(ClockTable, AFinishThatComesTwiceCountsOnce) {
  ClockTable table(Asp(), 1);
  table.Finish(0, 1);
  table.Finish(0, 1);
  EXPECT_EQ(table.Finished(0), 1u);
  EXPECT_THROW(table.Finish(0, 3), InvalidArgumentError);
}

// Workers of random speeds that leave and join; the gap between what one has entered and another not finished never
// passes the bound, and somebody can always go on.
TEST(ClockTable, NoGapPassesTheBoundInAMillionSteps) {
  for (const Consistency& rule : {Ssp(0), Ssp(1), Ssp(8), Bsp()}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(rule.ToString() + ", seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ClockTable table(rule, 8);
    std::vector<uint64_t> pace(8);
    for (uint64_t& p : pace) p = 1 + random() % 16;
    for (int steps = 0; steps < 1'000'000 / 4;) {
      const auto worker = uint32_t(random() % 8);
      if (random() % 5000 == 0 && table.size() > 1) table.Leave(worker);
      if (random() % 1000 == 0) table.Join(worker);
      if (!table.IsMember(worker) || random() % 16 >= pace[worker]) continue;
      if (table.MayEnter(worker)) {
        ASSERT_LE(table.Finished(worker) - table.FinishedByAll(), rule.bound);
        table.Finish(worker, table.Finished(worker) + 1);
        ++steps;
      }
      bool can_go_on = false;
      for (uint32_t other = 0; other < 8; ++other) can_go_on |= table.IsMember(other) && table.MayEnter(other);
      ASSERT_TRUE(can_go_on);
    }
    EXPECT_GT(table.gaps()[rule.bound], 0u);
    const auto above = std::span(table.gaps()).subspan(rule.bound + 1);
    EXPECT_THAT(above, Each(0u));
  }
}

}  // namespace
}  // namespace manta::ml

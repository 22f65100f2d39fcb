// The scheduler as a class: what a second life knows of the first, and calls that come twice.
#include "manta/ml/parameter_scheduler.h"

#include <numeric>
#include <vector>

#include "ml/data/data_folder.h"

namespace manta::ml {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

class ParameterSchedulerTest : public DataFolderTest {
 protected:
  // A life of server `server`.
  ParameterScheduler Live(const Consistency& consistency, uint32_t workers, uint64_t server = 1) const {
    return ParameterScheduler(consistency, workers, Path("server/scheduler.state"), server);
  }
};

TEST_F(ParameterSchedulerTest, ALifeGoesOnWhereTheLastOneEnded) {
  SchedulerStats before;
  {
    ParameterScheduler first = Live(Ssp(1), 3);
    EXPECT_EQ(first.Join(0, 10).worker, 0u);
    EXPECT_EQ(first.Join(1, 11).worker, 1u);
    first.Expect({5});
    first.Leave(2, 0);
    EXPECT_TRUE(first.Finish(0, 10, 1).may_enter);
    before = first.Stats();
  }
  ParameterScheduler second = Live(Ssp(1), 3);
  EXPECT_EQ(second.Stats().workers, 2u);
  EXPECT_EQ(second.Stats().gaps, before.gaps);
  EXPECT_TRUE(second.Finish(0, 10, 1).may_enter);  // the call comes again
  EXPECT_EQ(second.Stats().gaps, before.gaps);
  EXPECT_TRUE(second.Finish(1, 11, 1).may_enter);
  EXPECT_THAT(second.ClosedByGroup(), ElementsAre(Pair(0, 0)));  // worker 5 is still to come
  EXPECT_EQ(second.Join(5, 12).finished, 0u);
  EXPECT_TRUE(second.Finish(5, 12, 1).may_enter);
  EXPECT_THAT(second.ClosedByGroup(), ElementsAre(Pair(0, 1)));
  EXPECT_THAT(second.SetRecovering(0, 2), ElementsAre(10, 11, 12));
  EXPECT_THROW(second.Finish(2, 13, 1), InvalidArgumentError);
}

TEST_F(ParameterSchedulerTest, AGroupThatAllLeftGoesOnWhereItWas) {
  {
    ParameterScheduler first = Live(GroupSync(1), 0);
    first.Join(3, 10);
    for (uint64_t count : {1, 2, 3}) first.Finish(3, 10, count);
    first.Leave(3, 10);
  }
  ParameterScheduler second = Live(GroupSync(1), 0);
  EXPECT_THAT(second.ClosedByGroup(), ElementsAre(Pair(3, ClockTable::kAll)));
  EXPECT_EQ(second.Join(3, 11).finished, 3u);
}

TEST_F(ParameterSchedulerTest, AJoinThatComesTwiceIsOneMember) {
  ParameterScheduler scheduler = Live(Asp(), 0);
  for (int times = 0; times < 2; ++times) EXPECT_EQ(scheduler.Join(ParameterScheduler::kAnyWorker, 10).worker, 0u);
  EXPECT_EQ(scheduler.Join(ParameterScheduler::kAnyWorker, 11).worker, 1u);
  const WorkerPlace place = scheduler.Join(0, 12);  // in place of another
  EXPECT_TRUE(place.came_back);
  EXPECT_EQ(place.stream, 12u);
  EXPECT_EQ(scheduler.Stats().workers, 2u);
}

TEST_F(ParameterSchedulerTest, AnOldLifeThatLeavesLateTakesNobodysPlace) {
  ParameterScheduler scheduler = Live(Ssp(1), 0);
  scheduler.Join(0, 10);
  scheduler.Leave(0, 0);
  scheduler.Expect({0, 1});
  scheduler.Leave(0, 10);
  scheduler.Join(1, 11);
  EXPECT_EQ(scheduler.Finish(1, 11, 1).closed, 0u);  // worker 0 has finished nothing
}

TEST_F(ParameterSchedulerTest, AnotherServersFileIsNotItsOwn) {
  ParameterScheduler first = Live(Bsp(), 1);
  first.Join(0, 10);
  ParameterScheduler second = Live(Bsp(), 2, /*server=*/2);
  EXPECT_EQ(second.Stats().workers, 0u);
  EXPECT_THROW(second.Finish(0, 10, 1), InvalidArgumentError);
}

TEST_F(ParameterSchedulerTest, HasRoomForItsWorkersAndRefusesMore) {
  std::vector<uint32_t> all(ParameterScheduler::kWorkersMax);
  std::iota(all.begin(), all.end(), 0);
  ParameterScheduler scheduler = Live(GroupSync(1), 0);
  EXPECT_THROW(scheduler.Expect({0, ParameterScheduler::kWorkersMax}), InvalidArgumentError);
  EXPECT_THAT(scheduler.ClosedByGroup(), IsEmpty());
  scheduler.Expect(all);
  for (uint32_t worker = 0; worker < 10; ++worker) scheduler.Join(worker, 100 + worker);
  EXPECT_THROW(scheduler.Join(ParameterScheduler::kWorkersMax, 1), InvalidArgumentError);
  ParameterScheduler second = Live(GroupSync(1), 0);
  EXPECT_EQ(second.ClosedByGroup().size(), all.size());
  EXPECT_EQ(second.Stats().workers, 10u);
}

TEST_F(ParameterSchedulerTest, SaysThatItsFileCannotBeMade) {
  WritePlain("server", "");  // no directory
  EXPECT_THROW(Live(Asp(), 0), FileError);
}

}  // namespace
}  // namespace manta::ml

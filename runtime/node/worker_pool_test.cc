#include "runtime/node/worker_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime::node {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using State = WorkerPool::State;

constexpr JobId kJob = 1;
constexpr JobId kOtherJob = 2;

class WorkerPoolTest : public ::testing::Test {
 protected:
  ProcessId Start(JobId job = kJob) {
    const ProcessId id{1, ++last_};
    pool_.Started(id, job, now_);
    return id;
  }
  ProcessId StartIdle(JobId job = kJob) {
    const ProcessId id = Start(job);
    EXPECT_TRUE(pool_.Connected(id, now_));
    return id;
  }

  Time now_ = TimeFromNanos(1'000'000'000);
  uint64_t last_ = 0;
  WorkerPool pool_{{.task_workers_max = 3,
                    .actor_workers_max = 2,
                    .worker_idle = milliseconds(100),
                    .workers_kept = 1,
                    .start_timeout = seconds(1)}};
};

TEST_F(WorkerPoolTest, StartsAsManyAsAreWantedAndNotComing) {
  EXPECT_EQ(pool_.ToStart(kJob, 2, 0), 2u);
  Start();
  EXPECT_EQ(pool_.ToStart(kJob, 2, 0), 1u);
  EXPECT_EQ(pool_.ToStart(kJob, 1, 0), 0u);
  EXPECT_EQ(pool_.ToStart(kOtherJob, 1, 0), 1u) << "a worker serves one job";
}

TEST_F(WorkerPoolTest, TheLimitIsForTasksNotForActors) {
  EXPECT_EQ(pool_.ToStart(kJob, 10, 2), 5u);
  for (int i = 0; i < 3; ++i) StartIdle();
  pool_.Take(kJob, State::kLeased, now_);
  EXPECT_EQ(pool_.ToStart(kJob, 10, 0), 0u);
  EXPECT_EQ(pool_.ToStart(kJob, 10, 1), 1u);
  pool_.Take(kJob, State::kActor, now_);
  EXPECT_EQ(pool_.ToStart(kJob, 10, 0), 1u) << "an actor's worker does not count";
}

TEST_F(WorkerPoolTest, AtTheLimitAnIdleWorkerOfAnotherJobMakesRoom) {
  StartIdle();
  const ProcessId oldest = StartIdle(kOtherJob);
  now_ += milliseconds(1);
  ProcessId victim;
  EXPECT_FALSE(pool_.AtCap(kJob, &victim));
  StartIdle(kOtherJob);
  EXPECT_TRUE(pool_.AtCap(kJob, &victim));
  EXPECT_EQ(victim, oldest);
}

TEST_F(WorkerPoolTest, TakesTheOneUsedLast) {
  const ProcessId first = StartIdle();
  now_ += milliseconds(1);
  const ProcessId second = StartIdle();
  EXPECT_EQ(pool_.Take(kJob, State::kLeased, now_), second);
  EXPECT_EQ(pool_.Take(kJob, State::kLeased, now_), first);
  EXPECT_EQ(pool_.Take(kJob, State::kLeased, now_), std::nullopt);
  now_ += milliseconds(1);
  pool_.Release(first, now_);
  EXPECT_EQ(pool_.Take(kJob, State::kActor, now_), first);
}

TEST_F(WorkerPoolTest, RefusesHellosThatNobodyWaitsFor) {
  EXPECT_FALSE(pool_.Connected({1, 9}, now_));
  const ProcessId worker = StartIdle();
  EXPECT_FALSE(pool_.Connected(worker, now_)) << "twice";
}

TEST_F(WorkerPoolTest, NamesWorkersThatDoNotComeUp) {
  const ProcessId slow = Start();
  EXPECT_EQ(pool_.next_deadline(), now_ + seconds(1));
  EXPECT_THAT(pool_.TooSlow(now_ + milliseconds(999)), IsEmpty());
  EXPECT_THAT(pool_.TooSlow(now_ + seconds(1)), ElementsAre(slow));
  EXPECT_EQ(pool_.StartFailed(slow), 1u);
  pool_.Remove(slow);
  EXPECT_EQ(pool_.StartFailed(Start()), 2u) << "in a row";
  StartIdle();
  EXPECT_EQ(pool_.StartFailed(Start()), 1u);
}

TEST_F(WorkerPoolTest, KeepsSomeIdleOnesAndNamesTheOthers) {
  const ProcessId first = StartIdle();
  const ProcessId second = StartIdle();
  StartIdle();
  EXPECT_EQ(pool_.next_deadline(), now_ + milliseconds(100));
  EXPECT_THAT(pool_.TooIdle(now_ + milliseconds(99)), IsEmpty());
  EXPECT_THAT(pool_.TooIdle(now_ + milliseconds(100)), ElementsAre(first, second));
}

TEST_F(WorkerPoolTest, KillsThoseThatDoNotEndOnce) {
  const ProcessId worker = StartIdle();
  pool_.Stop(worker, now_, now_ + milliseconds(50));
  EXPECT_EQ(pool_.Take(kJob, State::kLeased, now_), std::nullopt);
  EXPECT_THAT(pool_.ToKill(now_ + milliseconds(49)), IsEmpty());
  EXPECT_THAT(pool_.ToKill(now_ + milliseconds(50)), ElementsAre(worker));
  EXPECT_THAT(pool_.ToKill(now_ + seconds(9)), IsEmpty());
  pool_.Release(worker, now_);
  EXPECT_EQ(pool_.Take(kJob, State::kLeased, now_), std::nullopt) << "a stopping worker is not given back";
  pool_.Remove(worker);
  EXPECT_FALSE(pool_.HasJob(kJob));
  EXPECT_EQ(pool_.next_deadline(), kInfiniteFuture);
}

}  // namespace
}  // namespace manta::runtime::node

// Workers of a parameter server under each consistency, inside one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "manta/ml/parameter_worker.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class ConsistencyTest : public LocalTest {
 protected:
  // Runs `run(worker)` in a thread for each of `count` workers.
  template <class Run>
  static void InThreads(uint32_t count, Run run) {
    std::vector<std::thread> threads;
    for (uint32_t worker = 0; worker < count; ++worker) threads.emplace_back([=] { run(worker); });
    for (std::thread& thread : threads) thread.join();
  }
  static void Nap(std::mt19937_64& random) { std::this_thread::sleep_for(std::chrono::microseconds(random() % 300)); }
};

// Gradients whose sum depends on the order, by rounding.
std::vector<float> RoughGradient(uint32_t worker, uint64_t step, size_t size) {
  std::vector<float> gradient(size);
  std::mt19937_64 random(worker * 1000 + step);
  for (float& g : gradient) g = float(random() % 1000) * 1e-3f * float(std::pow(10, int(random() % 6)));
  return gradient;
}

constexpr size_t kSize = 300;

void RoughStep(ParameterWorker<>& worker, uint32_t index, uint64_t step) {
  std::vector<float> gradient = RoughGradient(index, step, kSize);
  const float first = worker.Pull().values[0].values<float>()[0];
  gradient[0] += first * 1e-3f;  // depends on what it saw
  worker.Push(gradient, 0.1f);
  worker.Clock();
}

std::vector<float> TrainBsp(uint64_t nap_seed) {
  const auto server = ParameterServer<>::Create(std::vector<float>(kSize, 1),
                                                {.shards = 2, .workers = 3, .consistency = Bsp(), .average = true});
  std::vector<std::thread> threads;
  for (uint32_t index = 0; index < 3; ++index) {
    threads.emplace_back([=] {
      std::mt19937_64 random(nap_seed + index);
      ParameterWorker worker(server, index);
      for (uint64_t step = 0; step < 20; ++step) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
        RoughStep(worker, index, step);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<float> values = server.Values();  // applies the last iteration
  EXPECT_EQ(server.Stats().updates, 2 * 20u);
  EXPECT_EQ(server.Stats().pushes, 2 * 20u * 3);
  return values;
}

TEST_F(ConsistencyTest, BspIsBitwiseTheSameWhateverTheOrderOfArrival) {
  const std::vector<float> once = TrainBsp(1);
  for (uint64_t seed = 2; seed < 6; ++seed) EXPECT_EQ(TrainBsp(seed * 17), once);
}

// Rounds in which all workers come anew, in any order, and leave.
std::vector<float> TrainBspInRounds(uint64_t nap_seed) {
  constexpr uint64_t kRounds = 4, kSteps = 5;
  const auto server =
      ParameterServer<>::Create(std::vector<float>(kSize, 1), {.shards = 2, .consistency = Bsp(), .average = true});
  for (uint64_t round = 0; round < kRounds; ++round) {
    server.Expect({0, 1, 2});
    std::vector<std::jthread> threads;
    for (uint32_t index = 0; index < 3; ++index) {
      threads.emplace_back([=] {
        std::mt19937_64 random(nap_seed + index + round);
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
        ParameterWorker worker(server, index);
        for (uint64_t step = 0; step < kSteps; ++step) RoughStep(worker, index, round * kSteps + step);
      });
    }
  }
  const std::vector<float> values = server.Values();
  EXPECT_EQ(server.Stats().updates, 2 * kRounds * kSteps);
  return values;
}

TEST_F(ConsistencyTest, BspRepeatsWithWorkersThatAreExpectedTogether) {
  const std::vector<float> once = TrainBspInRounds(1);
  for (uint64_t seed = 2; seed < 6; ++seed) EXPECT_EQ(TrainBspInRounds(seed * 17), once);
}

TEST_F(ConsistencyTest, BspAppliesTheMeanOfAnIterationAsOneUpdate) {
  const auto server =
      ParameterServer<>::Create(std::vector<float>(10), {.workers = 2, .consistency = Bsp(), .average = true});
  InThreads(2, [&](uint32_t index) {
    ParameterWorker worker(server, index);
    worker.Push(std::vector<float>(10, index == 0 ? 1.0f : 3.0f), 1);
    EXPECT_THAT(worker.Pull().values[0].values<float>(), Each(0.0f));  // not before all are in
    worker.Clock();
    EXPECT_THAT(worker.Pull().values[0].values<float>(), Each(-2.0f));
    EXPECT_EQ(worker.clock(), 1u);
  });
  EXPECT_THAT(server.Values(), Each(-2.0f));
}

// A worker that may be s iterations ahead sees at least the pushes of all others up to s iterations back.
TEST_F(ConsistencyTest, SspSeesAllPushesThatAreOlderThanItsBound) {
  for (const uint64_t bound : {0, 2}) {
    constexpr uint32_t kWorkers = 3;
    constexpr uint64_t kSteps = 60;
    const auto server =
        ParameterServer<>::Create(std::vector<float>(kWorkers), {.workers = kWorkers, .consistency = Ssp(bound)});
    std::array<std::atomic<uint64_t>, kWorkers> entered{};
    InThreads(kWorkers, [&](uint32_t index) {
      std::mt19937_64 random(index);
      ParameterWorker worker(server, index);
      for (uint64_t step = 0; step < kSteps; ++step) {
        entered[index] = step;
        const Tensor seen = worker.Pull().values[0];
        for (uint32_t other = 0; other < kWorkers; ++other) {
          EXPECT_GE(double(-seen.values<float>()[other]) + double(bound), double(step));
          EXPECT_LE(step, entered[other] + 1 + bound);  // `other` may have finished, and not entered the next
        }
        Nap(random);
        std::vector<float> gradient(kWorkers);
        gradient[index] = 1;
        worker.Push(gradient, 1);
        worker.Clock();
      }
      worker.Leave();
    });
    EXPECT_THAT(server.Values(), Each(-float(kSteps)));
    const SchedulerStats stats = server.ClockStats();
    uint64_t finishes = 0;
    for (size_t gap = 0; gap < stats.gaps.size(); ++gap) {
      finishes += stats.gaps[gap];
      if (gap > bound) {
        EXPECT_EQ(stats.gaps[gap], 0u) << gap;
      }
    }
    EXPECT_EQ(finishes, kWorkers * kSteps);
  }
}

TEST_F(ConsistencyTest, GroupsAddInsideAndDoNotWaitForEachOther) {
  const auto server =
      ParameterServer<>::Create(std::vector<float>(4), {.workers = 4, .consistency = GroupSync(2), .average = true});
  InThreads(2, [&](uint32_t index) {  // group 0 alone; group 1 has not begun
    ParameterWorker worker(server, index);
    for (int step = 0; step < 10; ++step) {
      worker.Push(std::vector<float>(4, float(index) + 1), 1);
      worker.Clock();
    }
    EXPECT_THAT(worker.Pull().values[0].values<float>(), Each(-15.0f));
  });
  EXPECT_EQ(server.Stats().updates, 10u);
}

TEST_F(ConsistencyTest, WhoLeavesHoldsNobodyUp) {
  const auto server = ParameterServer<>::Create(std::vector<float>(4), {.workers = 2, .consistency = Bsp()});
  ParameterWorker worker(server, 0);
  std::thread leaver([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    server.Leave(1);
  });
  worker.Push(std::vector<float>(4, 1), 1);
  worker.Clock();
  leaver.join();
  for (int step = 0; step < 3; ++step) worker.Clock();
  ParameterWorker joined(server);
  EXPECT_EQ(joined.index(), 1u);
  EXPECT_EQ(joined.clock(), 4u);  // where the slowest is
}

struct Place {
  void Stay() {}
};

TEST_F(ConsistencyTest, ADeadWorkerHoldsNobodyUp) {
  const auto server = ParameterServer<>::Create(std::vector<float>(4), {.workers = 2, .consistency = Ssp(1)});
  const auto place = Actor<Place>().Remote();
  server.Watch(1, place);
  ParameterWorker worker(server, 0);
  worker.Clock();
  Kill(place);
  for (int step = 0; step < 5; ++step) worker.Clock();
}

TEST_F(ConsistencyTest, AWaitHasAnEndThatNamesWhoIsWaitedFor) {
  const auto server = ParameterServer<>::Create(
      std::vector<float>(4), {.workers = 2, .consistency = Bsp(), .patience = std::chrono::milliseconds(10)});
  ParameterWorker worker(server, 0);
  try {
    worker.Clock();
    FAIL() << "no error";
  } catch (const TimeoutError& error) {
    EXPECT_THAT(error.what(), HasSubstr("worker 1 has not finished iteration 0"));
  }
  EXPECT_THROW(worker.Pull(1), TimeoutError);
}

TEST_F(ConsistencyTest, APushIsAppliedOnceWhoeverSendsIt) {
  const auto server = ParameterServer<>::Create(std::vector<float>(10), {.shards = 2});
  ParameterWorker first(server), second(server);
  const std::vector<float> one(10, 1);
  first.Push(one, 1, PushId{0, 5, 0});
  first.Flush();
  for (uint64_t step : {0, 1}) second.Push(one, 1, PushId{0, 5, step});  // takes the lease over
  second.Flush();
  first.Push(one, 1, PushId{0, 5, 1});  // was not dead after all
  first.Flush();
  EXPECT_THAT(server.Values(), Each(-2.0f));
  EXPECT_EQ(server.Stats().duplicates, 2 * 2u);
  server.Retire(0, 5);
  first.Push(one, 1, PushId{0, 5, 0});
  first.Flush();
  EXPECT_THAT(server.Values(), Each(-2.0f));
  first.Push(one, 1, PushId{0, 6, 1});
  try {
    first.Flush();
    FAIL() << "no error";
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step 1 of lease 6 in epoch 0"));
  }
}

TEST_F(ConsistencyTest, ASnapshotNeverChanges) {
  const auto server = ParameterServer<>::Create(std::vector<float>(5000), {.shards = 2});
  ParameterWorker worker(server);
  worker.Push(std::vector<float>(5000, 1), 1);
  worker.Flush();
  const ParameterSnapshot snapshot = server.Snapshot();
  EXPECT_EQ(snapshot.version(), 2u);
  EXPECT_TRUE(snapshot.values[0].in_store());
  worker.Push(std::vector<float>(5000, 1), 1);
  worker.Flush();
  EXPECT_THAT(snapshot.values[1].values<float>(), Each(-1.0f));
  EXPECT_EQ(server.Snapshot().version(), 4u);
  const ParameterSnapshot sent = Get(Put(snapshot));
  EXPECT_EQ(sent.values[0].data<float>(), snapshot.values[0].data<float>());
  std::vector<float> short_by_one(4999);
  EXPECT_THROW(snapshot.CopyTo(short_by_one), InvalidArgumentError);
}

TEST_F(ConsistencyTest, RefusesPushesOfAnotherSize) {
  const auto server = ParameterServer<>::Create(std::vector<float>(10), {.shards = 2});
  ParameterWorker worker(server);
  EXPECT_THROW(worker.Push(std::vector<float>(9), 1), InvalidArgumentError);
  EXPECT_THROW(worker.Push(std::vector<Tensor>(1), 1), InvalidArgumentError);
}

}  // namespace
}  // namespace manta::ml

#include "manta/ml/parameter_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <thread>

#include "manta/ml/leases.h"
#include "manta/ml/mlp.h"
#include "manta/ml/parameter_replica.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class ParameterServerTest : public LocalTest {
 protected:
  using Shard = ParameterServer<>::Shard;
  // `count` values from `first` on: large enough for the store.
  static std::vector<float> Counting(size_t count, float first = 0) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), first);
    return values;
  }
  static Tensor Constant(size_t count, float value) {
    Tensor tensor = Create<float>({int64_t(count)});
    std::fill_n(tensor.mutable_data<float>(), count, value);
    return tensor;
  }
  static Shard::Answer Pull(const ParameterServer<>& server, size_t shard = 0) {
    return Get(server.shard(shard).Call<&Shard::Pull>().Remote(PullHeader(), Shard::Query()));
  }
  static uint64_t Push(const ParameterServer<>& server, Tensor gradient, float rate, uint64_t seen, size_t shard = 0) {
    const PushHeader header{.rate = rate, .seen = seen};
    return Get(server.shard(shard).Call<&Shard::Push>().Remote(header, std::move(gradient))).version;
  }
  static void AddTo(std::span<float> values, float amount) {
    for (float& value : values) value += amount;
  }
};

TEST_F(ParameterServerTest, HoldsItsInitialValuesInEqualRanges) {
  std::vector<float> initial = Counting(10'000);
  auto server = ParameterServer<>::Create(initial, {.shards = 3});
  ASSERT_EQ(server.shard_count(), 3u);
  EXPECT_EQ(server.size(), 10'000u);
  EXPECT_EQ(server.begin(0), 0u);
  EXPECT_EQ(server.end(0), 3333u);
  EXPECT_EQ(server.end(2), 10'000u);
  EXPECT_EQ(server.Values(), initial);
  EXPECT_EQ(Pull(server, 2).values.size(), 3334u);
}

TEST_F(ParameterServerTest, PushAppliesTheOptimiserAndCountsVersions) {
  auto server = ParameterServer<>::Create(std::vector<float>(5000, 1));
  EXPECT_EQ(Push(server, Constant(5000, 2), 0.5f, 0), 1u);   // beside the published initial values
  EXPECT_EQ(Push(server, Constant(5000, 2), 0.25f, 1), 2u);  // in place
  auto newest = Pull(server);
  EXPECT_EQ(newest.version, 2u);
  EXPECT_THAT(newest.values.values<float>(), Each(-0.5f));
}

TEST_F(ParameterServerTest, APublishedVersionNeverChanges) {
  auto server = ParameterServer<>::Create(std::vector<float>(5000, 1));
  Push(server, Constant(5000, 1), 1, 0);
  auto old = Pull(server);
  Push(server, Constant(5000, 1), 1, 1);
  Push(server, Constant(5000, 1), 1, 2);
  EXPECT_THAT(old.values.values<float>(), Each(0.0f));
  EXPECT_THAT(Pull(server).values.values<float>(), Each(-2.0f));
}

TEST_F(ParameterServerTest, ReadersOfAVersionShareItsMemory) {
  auto server = ParameterServer<>::Create(std::vector<float>(5000, 1));
  Push(server, Constant(5000, 1), 1, 0);
  auto first = Pull(server), second = Pull(server);
  EXPECT_TRUE(first.values.in_store());
  EXPECT_EQ(first.values.data<float>(), second.values.data<float>());
  EXPECT_EQ(server.Stats().published, 1u);
  Push(server, Constant(5000, 1), 1, 0);
  Push(server, Constant(5000, 1), 1, 0);
  EXPECT_EQ(server.Stats().published, 1u);  // versions that nobody asks for are not published
}

TEST_F(ParameterServerTest, CountsHowFarAPushIsBehind) {
  auto server = ParameterServer<>::Create(std::vector<float>(5000, 1), {.shards = 1});
  for (uint64_t seen : {0, 1, 1, 0}) Push(server, Constant(5000, 0), 1, seen);
  ShardStats before = server.Stats();
  EXPECT_EQ(before.pushes, 4u);
  EXPECT_EQ(before.staleness[0], 2u);
  EXPECT_EQ(before.staleness[1], 1u);
  EXPECT_EQ(before.staleness[3], 1u);
  EXPECT_DOUBLE_EQ(before.MeanStaleness(), 1);
  Push(server, Constant(5000, 0), 1, 2);
  EXPECT_DOUBLE_EQ(server.Stats().MeanStaleness(before), 2);
}

TEST_F(ParameterServerTest, RefusesAGradientOfAnotherSizeAndSaysBoth) {
  auto server = ParameterServer<>::Create(std::vector<float>(5000, 1));
  try {
    Push(server, Constant(4999, 1), 1, 0);
    FAIL() << "no error";
  } catch (const TaskError& error) {
    EXPECT_STREQ(error.what(), "the gradient has 4999 values, the range 5000");
    EXPECT_THAT(error.type(), HasSubstr("InvalidArgumentError"));
  }
  EXPECT_EQ(Pull(server).version, 0u);
  Tensor doubles(DType::kFloat64, {5000});
  EXPECT_THROW(Push(server, doubles, 1, 0), TaskError);
}

TEST_F(ParameterServerTest, RefusesImpossibleNumbersOfShards) {
  std::vector<float> three(3);
  EXPECT_THROW(ParameterServer<>::Create(three, {.shards = 0}), InvalidArgumentError);
  EXPECT_THROW(ParameterServer<>::Create(three, {.shards = 4}), InvalidArgumentError);
  EXPECT_THROW(ParameterServer<>::Create({}), InvalidArgumentError);
  EXPECT_THAT(ParameterServer<>::Create(three, {.shards = 3}).Values(), ElementsAre(0, 0, 0));
}

TEST_F(ParameterServerTest, AReplicaThatWaitsSeesAllThatWasPushed) {
  auto server = ParameterServer<>::Create(std::vector<float>(9000), {.shards = 2});
  ParameterReplica a(server, {.overlap = false}), b(server, {.overlap = false});
  AddTo(a.values(), 1);
  AddTo(b.values(), 10);
  a.Synchronize();
  EXPECT_THAT(a.values(), Each(1.0f));
  b.Synchronize();
  EXPECT_THAT(b.values(), Each(11.0f));
  EXPECT_THAT(server.Values(), Each(11.0f));
  a.Synchronize();
  EXPECT_THAT(a.values(), Each(11.0f));
  ShardStats stats = server.Stats();  // two shards: b's first push had not seen a's, a's second not b's
  EXPECT_EQ(stats.pushes, 6u);
  EXPECT_EQ(stats.staleness[0], 2u);
  EXPECT_EQ(stats.staleness[1], 4u);
}

TEST_F(ParameterServerTest, AnOverlappedReplicaKeepsItsOwnStepsAndSeesOthersOneExchangeLater) {
  auto server = ParameterServer<>::Create(std::vector<float>(9000), {.shards = 2});
  ParameterReplica a(server), b(server);
  AddTo(b.values(), 10);
  b.Synchronize();
  b.Flush();
  AddTo(a.values(), 1);
  a.Synchronize();
  EXPECT_THAT(a.values(), Each(1.0f));
  AddTo(a.values(), 1);
  a.Synchronize();
  EXPECT_THAT(a.values(), Each(12.0f));
  a.Flush();
  EXPECT_THAT(server.Values(), Each(12.0f));
  ShardStats stats = server.Stats();
  EXPECT_EQ(stats.staleness[0], 2u);  // b's
  EXPECT_EQ(stats.staleness[1], 4u);  // a's two, neither of which had seen b's
}

// Every step reaches the server once: steps are integers, so that sums are exact.
TEST_F(ParameterServerTest, NoStepIsLostOrDoubled) {
  for (bool overlap : {false, true}) {
    SCOPED_TRACE(overlap);
    std::vector<float> expected = Counting(6000);
    auto server = ParameterServer<>::Create(expected, {.shards = 2});
    std::vector<ParameterReplica<>> replicas;
    for (int i = 0; i < 3; ++i) replicas.emplace_back(server, ReplicaOptions{.overlap = overlap});
    std::mt19937 random(7);
    for (int step = 0; step < 300; ++step) {
      ParameterReplica<>& replica = replicas[random() % replicas.size()];
      size_t index = random() % expected.size();
      auto amount = float(int(random() % 21) - 10);
      replica.values()[index] += amount;
      expected[index] += amount;
      if (random() % 3 == 0) replica.Synchronize();
    }
    for (auto& replica : replicas) replica.Synchronize();
    for (auto& replica : replicas) replica.Flush();
    EXPECT_EQ(server.Values(), expected);
    for (auto& replica : replicas) {
      for (int i = 0; i < 2; ++i) replica.Synchronize();
      EXPECT_THAT(replica.values(), ElementsAreArray(expected));
    }
  }
}

struct HalfMomentum {  // an optimiser with state, as users write them
  static constexpr size_t kSlots = 1;
  static double InitialSlot(size_t) { return 0; }

  template <typename Scalar>
  void Step(UpdateStep step, std::span<const Scalar> values, std::span<const Scalar> gradient, std::span<Scalar> slots,
            std::span<Scalar> out) const {
    for (size_t i = 0; i < values.size(); ++i) out[i] = StepOne(step, values[i], gradient[i], &slots[i]);
  }
  template <typename Scalar>
  Scalar StepOne(UpdateStep step, Scalar value, Scalar gradient, Scalar* velocity) const {
    *velocity = Scalar(0.5) * *velocity + gradient;
    return value - Scalar(step.rate) * *velocity;
  }
  template <class Archive>
  void serialize(Archive&) {}
};

TEST_F(ParameterServerTest, TakesOptimisersOfItsUsers) {
  auto server = ParameterServer<HalfMomentum>::Create(std::vector<float>(5000));
  for (uint64_t seen : {0, 1}) {
    const PushHeader header{.seen = seen};
    Get(server.shard(0).Call<&ParameterServer<HalfMomentum>::Shard::Push>().Remote(header, Constant(5000, 1)));
  }
  EXPECT_THAT(server.Values(), Each(-2.5f));
}

// A worker that writes down which rows it was given.
class RowCounter {
 public:
  explicit RowCounter(int pause_ms) : pause_(pause_ms) {}
  std::vector<uint64_t> Count(uint64_t begin, uint64_t end) {
    std::this_thread::sleep_for(pause_);
    std::vector<uint64_t> rows(end - begin);
    std::iota(rows.begin(), rows.end(), begin);
    return rows;
  }

 private:
  std::chrono::milliseconds pause_;
};

TEST_F(ParameterServerTest, LeasesEachRowOnceAnEpochAndFewerToTheSlow) {
  std::vector<ActorHandle<RowCounter>> workers{Actor<RowCounter>().Remote(0), Actor<RowCounter>().Remote(20)};
  std::vector<int> times(1000), leases(2);
  TrainByLeases<std::vector<uint64_t>>(
      {.rows = 1000, .rows_total = 3000, .rows_per_lease = 64, .workers = 2},
      [&](const RowLease& lease) {
        return workers[lease.worker].Call<&RowCounter::Count>().Remote(lease.begin, lease.end);
      },
      [&](const RowLease& lease, std::vector<uint64_t> rows) {
        EXPECT_EQ(rows.size(), lease.end - lease.begin);
        EXPECT_GE(lease.progress, 0);
        EXPECT_LT(lease.progress, 1);
        ++leases[lease.worker];
        for (uint64_t row : rows) ++times[row];
      });
  EXPECT_THAT(times, Each(3));
  EXPECT_GT(leases[0], leases[1]);
}

// Worker 0 is killed after its first lease; it comes back if `restarts`.
std::vector<int> TimesDoneWithOneKilled(bool restarts) {
  std::vector<ActorHandle<RowCounter>> workers{Actor<RowCounter>().MaxRestarts(restarts ? -1 : 0).Remote(1),
                                               Actor<RowCounter>().Remote(1)};
  std::vector<int> times(1000);
  bool killed = false;
  TrainByLeases<std::vector<uint64_t>>(
      {.rows = 1000, .rows_total = 3000, .rows_per_lease = 64, .workers = 2},
      [&](const RowLease& lease) {
        return workers[lease.worker].Call<&RowCounter::Count>().Remote(lease.begin, lease.end);
      },
      [&](const RowLease& lease, std::vector<uint64_t> rows) {
        for (uint64_t row : rows) ++times[row];
        if (lease.worker == 0 && !std::exchange(killed, true)) Kill(workers[0], !restarts);
      });
  EXPECT_TRUE(killed);
  return times;
}

TEST_F(ParameterServerTest, LeasesOfAWorkerThatDiesAreDoneByOthers) {
  EXPECT_THAT(TimesDoneWithOneKilled(false), Each(3));
}

TEST_F(ParameterServerTest, LeasesGoOnWithAWorkerThatIsRestarted) {
  EXPECT_THAT(TimesDoneWithOneKilled(true), Each(3));
}

TEST_F(ParameterServerTest, LeasesPassOnWhatDoneThrows) {
  const auto worker = Actor<RowCounter>().Remote(0);
  auto dead = Actor<RowCounter>().Remote(0);
  Kill(dead);
  int calls = 0;
  EXPECT_THROW(
      TrainByLeases<std::vector<uint64_t>>(
          {.rows = 100, .rows_total = 100, .rows_per_lease = 10, .workers = 1},
          [&](const RowLease& lease) { return worker.Call<&RowCounter::Count>().Remote(lease.begin, lease.end); },
          [&](const RowLease&, std::vector<uint64_t>) {
            ++calls;
            Get(dead.Call<&RowCounter::Count>().Remote(0, 1));
          }),
      ActorDiedError);
  EXPECT_EQ(calls, 1);
}

TEST_F(ParameterServerTest, LeasesPassOnWhatAWorkerThrows) {
  auto worker = Actor<RowCounter>().Remote(0);
  auto submit = [&](const RowLease& lease) { return worker.Call<&RowCounter::Count>().Remote(lease.begin, lease.end); };
  auto ignore = [](const RowLease&, std::vector<uint64_t>) {};
  using Rows = std::vector<uint64_t>;
  EXPECT_THROW(TrainByLeases<Rows>({.rows = 10, .rows_total = 10, .rows_per_lease = 5, .workers = 0}, submit, ignore),
               InvalidArgumentError);
  Kill(worker);
  EXPECT_THROW(TrainByLeases<Rows>({.rows = 10, .rows_total = 10, .rows_per_lease = 5, .workers = 1}, submit, ignore),
               ActorDiedError);
}

}  // namespace
}  // namespace manta::ml

// Workers that come and go, and rows that are not all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "manta/ml/logistic.h"
#include "manta/ml/trainer.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

class ElasticTest : public LocalTest {
 protected:
  // Two classes that a line parts, with some noise.
  static Dataset TwoClasses(size_t count, uint32_t seed) {
    constexpr size_t kColumns = 8;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> rows(count * kColumns);
    std::vector<uint8_t> labels(count);
    for (size_t i = 0; i < count; ++i) {
      labels[i] = uint8_t(random() % 2);
      for (size_t k = 0; k < kColumns; ++k) rows[i * kColumns + k] = normal(random) + (labels[i] == 1 ? 0.3f : -0.3f);
    }
    return Dataset::From(Tensor::From(std::move(rows), {int64_t(count), int64_t(kColumns)}),
                         Tensor::From(std::move(labels)));
  }
};

TEST_F(ElasticTest, TwoFourOneWorkersInAnEpochReachTheSameLoss) {
  const Dataset train = TwoClasses(8000, 1), test = TwoClasses(4000, 2);
  for (const Strategy& strategy : std::vector<Strategy>{DataParallel{}, ParameterServerSgd{.lease_rows = 160}}) {
    SCOPED_TRACE(NameOf(strategy));
    const auto loss = [&](bool elastic) {
      int calls = 0;
      Trainer<LogisticRegression<float>> trainer({.model = {.inputs = 8},
                                                  .data = train,
                                                  .test = test,
                                                  .strategy = strategy,
                                                  .scaling = {.num_cpus = 0},
                                                  .epochs = 4,
                                                  .batch = 16,
                                                  .rate = {.first = 0.1, .last = 0.01},
                                                  .segment_steps = 20,
                                                  .report = {.out = nullptr},
                                                  .observer = [&](TrainControl& control) {
                                                    if (!elastic) return;
                                                    if (++calls == 5) control.Resize(4);
                                                    if (calls == 15) control.Resize(1);
                                                  }});
      const TrainResult result = trainer.Fit();
      EXPECT_EQ(result.rows, 4 * 8000u);
      EXPECT_EQ(std::ranges::count(result.events, TrainEvent::kLeft, &TrainEvent::kind), elastic ? 3 : 0);
      return result.loss;
    };
    const double two = loss(false), elastic = loss(true);
    EXPECT_NEAR(elastic, two, 0.01 * two);
  }
}

// Sleeps as long as its rows say, and counts that by thread: a worker is one.
std::mutex slept_mutex;
std::map<std::thread::id, double> slept;

class SleepingModel {
 public:
  using value_type = float;
  using BatchType = Batch<float>;

  SleepingModel(int shape, int) : shape_(shape) {}
  int shape() const { return shape_; }
  size_t parameter_count() const { return 4; }
  std::vector<ParameterPart> Layout() const { return {{"w", {4}, 0, 4}}; }
  void Initialize(uint64_t, std::span<float> parameters) const { std::ranges::fill(parameters, 0.0f); }
  double Gradient(std::span<const float>, const Batch<float>& batch, std::span<float> gradient) {
    std::ranges::fill(gradient, 0.0f);
    const double ms = std::accumulate(batch.rows.begin(), batch.rows.end(), 0.0);
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms));
    const std::lock_guard lock(slept_mutex);
    slept[std::this_thread::get_id()] += ms;
    return 1;
  }
  Score Evaluate(std::span<const float>, const Batch<float>&) { return {}; }

 private:
  int shape_;
};

// The first eleventh of the rows costs ten times as much as a row of the rest: halves of the rows would be 1.45 times
// as long for one worker as an even split of the work. Leases go to whoever is free.
TEST_F(ElasticTest, SkewedRowsAreSharedEvenly) {
  constexpr size_t kRows = 1100;
  std::vector<float> ms(kRows, 0.1f);
  std::fill_n(ms.begin(), kRows / 11, 1.0f);
  slept.clear();
  Trainer<SleepingModel> trainer({.model = 1,
                                  .data = Dataset::From(Tensor::From(std::move(ms), {int64_t(kRows), 1}),
                                                        Tensor::From(std::vector<uint8_t>(kRows))),
                                  .strategy = ParameterServerSgd{.shards = 1, .push_every = 1, .lease_rows = 10},
                                  .batch = 10,
                                  .report = {.out = nullptr}});
  trainer.Fit();
  double sum = 0, most = 0;
  for (const auto& [thread, sum_ms] : slept) {
    sum += sum_ms;
    most = std::max(most, sum_ms);
  }
  ASSERT_EQ(slept.size(), 2u);
  EXPECT_NEAR(sum, 200, 1e-3);
  EXPECT_LE(most, 1.2 * sum / 2);
}

}  // namespace
}  // namespace manta::ml

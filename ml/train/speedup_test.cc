// T1/Tn beside the wall clock: a model that notes when it was computing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "manta/ml/trainer.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Stamp {
  const void* model;
  double begin;
  double end;
};
std::mutex stamps_mutex;
std::vector<Stamp> stamps;

class StampingModel {
 public:
  using value_type = float;
  using BatchType = Batch<float>;

  StampingModel(int shape, int) : shape_(shape) {}
  int shape() const { return shape_; }
  size_t parameter_count() const { return 4; }
  std::vector<ParameterPart> Layout() const { return {{"w", {4}, 0, 4}}; }
  void Initialize(uint64_t, std::span<float> parameters) const { std::ranges::fill(parameters, 0.0f); }
  double Gradient(std::span<const float>, const Batch<float>&, std::span<float> gradient) {
    const double begin = Now();
    std::ranges::fill(gradient, 0.0f);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const std::lock_guard lock(stamps_mutex);
    stamps.push_back({this, begin, Now()});
    return 1;
  }
  Score Evaluate(std::span<const float>, const Batch<float>&) { return {}; }

 private:
  int shape_;
};

constexpr size_t kRows = 400;  // of one step each

// T1/Tn of the stamps: an epoch of one loop, by a model of its own; then epochs of the workers.
double SpeedupByTheClock() {
  std::map<const void*, std::vector<Stamp>> by_model;
  for (const Stamp& stamp : stamps) by_model[stamp.model].push_back(stamp);
  const auto rows_per_s = [](const std::vector<Stamp>& of) {
    const double begin = std::ranges::min(of, {}, &Stamp::begin).begin, end = std::ranges::max(of, {}, &Stamp::end).end;
    return double(of.size()) / (end - begin);
  };
  const auto one_loop = std::ranges::find_if(by_model, [&](const auto& entry) {
    return entry.second.size() == kRows && std::ranges::none_of(stamps, [&](const Stamp& stamp) {
             return stamp.model != entry.first && stamp.end > entry.second.front().begin &&
                    stamp.begin < entry.second.back().end;
           });
  });
  if (one_loop == by_model.end()) return 0;
  std::vector<Stamp> workers;
  for (const Stamp& stamp : stamps) {
    if (stamp.begin > one_loop->second.back().end) workers.push_back(stamp);
  }
  return rows_per_s(workers) / rows_per_s(one_loop->second);
}

TEST(TrainerSpeedup, IsThatOfTheWallClock) {
  const Runtime runtime = StartLocal();
  const Dataset data = Dataset::From(Tensor::From(std::vector<float>(kRows), {int64_t(kRows), 1}),
                                     Tensor::From(std::vector<uint8_t>(kRows)));
  for (const Strategy& strategy :
       std::vector<Strategy>{DataParallel{}, ParameterServerSgd{.shards = 1, .push_every = 1, .lease_rows = 5}}) {
    SCOPED_TRACE(NameOf(strategy));
    double printed = 0, measured = 0;
    // What begins late, on a machine that does other things, is longer in one of the two: a few tries.
    for (int round = 0; round < 4 && (round == 0 || !(std::abs(printed - measured) <= 0.02 * measured)); ++round) {
      stamps.clear();
      Trainer<StampingModel> trainer({.model = 1,
                                      .data = data,
                                      .strategy = strategy,
                                      .batch = 1,
                                      .segment_steps = 16,
                                      .report = {.out = nullptr},
                                      .speedup_rounds = 1});
      const TrainResult result = trainer.Fit();
      ASSERT_TRUE(result.speedup);
      printed = result.speedup->ratio;
      measured = SpeedupByTheClock();
    }
    EXPECT_NEAR(printed, measured, 0.02 * measured);
    EXPECT_GT(printed, 0);
  }
}

TEST(TrainerSpeedup, IsPrintedWithItsConfidenceInterval) {
  TrainResult result;
  result.speedup = Speedup::Of(std::vector<Speedup::Round>{{150, 100}, {160, 100}, {170, 100}});
  std::FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  result.Print(file);
  std::rewind(file);
  char text[256] = {};
  const size_t size = std::fread(text, 1, sizeof text - 1, file);
  std::fclose(file);
  EXPECT_THAT(std::string(text, size), AllOf(HasSubstr("T1/Tn 1.60 (95%: 1.35 to 1.85, 3 rounds)"),
                                             HasSubstr("one loop 100 rows/s, the workers 160 rows/s")));
}

}  // namespace
}  // namespace manta::ml

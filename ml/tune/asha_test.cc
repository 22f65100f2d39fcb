#include "manta/ml/asha.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "manta/error.h"
#include "manta/ml/random_stream.h"

namespace manta::ml {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Action = Decision::Action;

Action Report(Asha* asha, TrialId trial, int64_t step, double metric) {
  return asha->OnReport({.trial = trial, .step = step, .metric = metric}).action;
}

Asha Running(int trials, Mode mode) {
  Asha asha({.steps_min = 1, .steps_max = 20, .eta = 4});
  asha.Begin({}, mode);
  for (int trial = 0; trial < trials; ++trial) {
    asha.OnAdd(TrialId(trial), {});
    asha.OnRun(TrialId(trial));
  }
  return asha;
}

TEST(Asha, RefusesOptionsThatMakeNoSense) {
  const auto begin = [](Asha::Options options) { Asha(options).Begin({}, Mode::kMin); };
  EXPECT_THAT([&] { begin({.steps_min = 0}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("steps_min is 0")));
  EXPECT_THAT([&] { begin({.steps_min = 100}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("steps_max 100")));
  EXPECT_THAT([&] { begin({.eta = 1}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("eta is 1.0")));
  EXPECT_THAT([&] { begin({.eta = NAN}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("eta is NaN")));
  EXPECT_THAT([&] { begin({.brackets = 0}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("brackets is 0")));
  EXPECT_THAT([&] { begin({.steps_max = 64, .brackets = 4}); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("at step 64.0, below steps_max, 64")));
}

// Bracket s is an Asha of one bracket that begins at steps_min * eta^s; that one is held against Ray's rule by
// AshaGolden.
TEST(Asha, ABracketDecidesAsAnAshaOfItsOwn) {
  constexpr int kTrials = 3000;
  Asha asha({.steps_min = 2, .steps_max = 100, .eta = 3, .brackets = 3, .seed = 5});
  asha.Begin({}, Mode::kMin);
  std::vector<Asha> alone;
  for (const int64_t first : {2, 6, 18}) {
    alone.push_back(Asha({.steps_min = first, .steps_max = 100, .eta = 3}));
    alone.back().Begin({}, Mode::kMin);
  }
  RandomStream random(11);
  std::map<size_t, int> trials, stopped;
  std::vector<std::pair<TrialId, int64_t>> running;  // and the step that each is at
  for (TrialId added = 0; added < kTrials || !running.empty();) {
    if (running.size() < 8 && added < kTrials) {
      asha.OnAdd(added, {});
      asha.OnRun(added);
      const size_t bracket = asha.BracketOf(added);
      ++trials[bracket];
      alone[bracket].OnAdd(added, {});
      alone[bracket].OnRun(added);
      running.emplace_back(added++, 0);
      continue;
    }
    const size_t at = random.Below(running.size());
    auto& [trial, step] = running[at];
    step += random.Int(1, 4);
    const double metric = random.Below(40) == 0 ? NAN : random.Uniform(0, 1) + double(trial % 10);
    const size_t bracket = asha.BracketOf(trial);
    const TrialReport report{.trial = trial, .step = step, .metric = metric};
    const Decision decision = asha.OnReport(report);
    ASSERT_EQ(decision, alone[bracket].OnReport(report)) << "trial " << trial << ", step " << step;
    stopped[bracket] += decision.action == Action::kStop;
    if (decision.action != Action::kContinue) running.erase(running.begin() + std::ptrdiff_t(at));
  }
  // A new trial's bracket: in proportion to e^-s.
  const double all = 1 + std::exp(-1) + std::exp(-2);
  for (size_t bracket = 0; bracket < 3; ++bracket) {
    const double share = std::exp(-double(bracket)) / all;
    EXPECT_NEAR(trials[bracket], kTrials * share, 4 * std::sqrt(kTrials * share * (1 - share))) << bracket;
    EXPECT_GT(stopped[bracket], 0) << bracket;
  }
}

TEST(Asha, StopsWhatIsWorseThanTheQuantile) {
  Asha asha = Running(6, Mode::kMax);
  EXPECT_EQ(Report(&asha, 0, 1, 0.1), Action::kContinue) << "the first goes on";
  EXPECT_EQ(Report(&asha, 1, 1, 0.5), Action::kContinue);
  // The quantile at 3/4 of {0.1, 0.5} is 0.4.
  EXPECT_EQ(Report(&asha, 2, 1, 0.39), Action::kStop);
  EXPECT_THROW(Report(&asha, 2, 2, 0.5), InvalidArgumentError) << "it is over";
  EXPECT_EQ(Report(&asha, 1, 2, 0.0), Action::kContinue) << "between rungs nothing is compared";
  EXPECT_EQ(Report(&asha, 0, 4, 0.2), Action::kContinue) << "the first at the next rung";
  EXPECT_EQ(Report(&asha, 1, 4, 0.1), Action::kStop);
  EXPECT_EQ(Report(&asha, 0, 20, 0.0), Action::kDone) << "however it did";
  EXPECT_THROW(Report(&asha, 0, 21, 0.9), InvalidArgumentError) << "it is over";
}

TEST(Asha, ReportsTwiceCountOnce) {
  Asha asha = Running(2, Mode::kMin);
  EXPECT_EQ(Report(&asha, 0, 1, 0.5), Action::kContinue);
  const std::vector<Rung> rungs = asha.Rungs();
  EXPECT_EQ(Report(&asha, 0, 1, 0.9), Action::kContinue);
  EXPECT_EQ(asha.Rungs(), rungs);
}

TEST(Asha, NanIsStoppedAndDoesNotCount) {
  Asha asha = Running(4, Mode::kMin);
  EXPECT_EQ(Report(&asha, 0, 1, NAN), Action::kStop) << "even the first";
  EXPECT_EQ(asha.Rungs()[0], (Rung{.step = 1, .trials = 1, .best = {}, .cutoff = {}}));
  EXPECT_EQ(Report(&asha, 1, 1, 0.5), Action::kContinue);
  EXPECT_EQ(Report(&asha, 2, 1, INFINITY), Action::kStop);
  EXPECT_EQ(Report(&asha, 3, 1, 0.4), Action::kContinue);
}

TEST(Asha, ShowsItsRungs) {
  Asha asha = Running(3, Mode::kMin);
  Report(&asha, 0, 1, 0.5);
  Report(&asha, 1, 1, 0.1);
  Report(&asha, 2, 4, 0.7);
  EXPECT_THAT(asha.Rungs(),
              ::testing::ElementsAre(Rung{.step = 1, .trials = 2, .best = 0.1, .cutoff = 0.2},
                                     Rung{.step = 4, .trials = 1, .best = 0.7, .cutoff = 0.7}, Rung{.step = 16}));
}

// Curves of trials, for comparing what ASHA and random search pay: losses[trial][i] after steps[i] steps.
struct Curves {
  std::vector<int64_t> steps;
  std::vector<std::vector<double>> losses;
};

// golden/curves.txt is what tools/bench/peers/record_curves.py printed.
Curves RecordedCurves() {
  std::ifstream file(MANTA_TUNE_GOLDEN "/curves.txt");
  Curves curves;
  std::string line;
  std::getline(file, line);
  std::istringstream first(line);
  for (int64_t step; first >> step;) curves.steps.push_back(step);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::vector<double> losses;
    for (std::string word; words >> word;) losses.push_back(word == "nan" ? NAN : std::stod(word));
    curves.losses.push_back(std::move(losses));
  }
  return curves;
}

// loss(t) = end + (start - end) t^-speed + noise, with random ends and speeds.
Curves SyntheticCurves(uint64_t seed) {
  RandomStream random(seed);
  Curves curves;
  for (int64_t step = 1; step <= 81; ++step) curves.steps.push_back(step);
  for (int trial = 0; trial < 1000; ++trial) {
    const double end = 0.3 + random.Uniform(0, 1) * random.Uniform(0, 1) * 2;
    const double start = random.Uniform(1.5, 3);
    const double speed = random.Uniform(0.2, 1.5);
    std::vector<double> losses;
    for (const int64_t step : curves.steps) {
      losses.push_back(end + (start - end) * std::pow(double(step), -speed) + random.Uniform(-0.02, 0.02));
    }
    curves.losses.push_back(std::move(losses));
  }
  return curves;
}

struct Paid {
  double steps = 0;
  double best = INFINITY;  // of the trials that got to the end
};

// All curves through Asha, eight at a time, in a random order.
Paid RunAsha(const Curves& curves, uint64_t seed) {
  Asha asha({.steps_min = 1, .steps_max = curves.steps.back(), .eta = 4});
  asha.Begin({}, Mode::kMin);
  RandomStream random(seed);
  std::vector<TrialId> waiting;
  for (TrialId trial = 0; trial < curves.losses.size(); ++trial) waiting.push_back(trial);
  std::vector<std::pair<TrialId, size_t>> running;
  Paid paid;
  while (!waiting.empty() || !running.empty()) {
    if (running.size() < 8 && !waiting.empty()) {
      std::swap(waiting[random.Below(waiting.size())], waiting.back());
      asha.OnAdd(waiting.back(), {});
      asha.OnRun(waiting.back());
      running.emplace_back(waiting.back(), 0);
      waiting.pop_back();
      continue;
    }
    auto& [trial, at] = running[random.Below(running.size())];
    const double loss = curves.losses[trial][at];
    paid.steps += double(curves.steps[at] - (at == 0 ? 0 : curves.steps[at - 1]));
    if (curves.steps[at] == curves.steps.back() && loss < paid.best) paid.best = loss;
    const bool is_over = Report(&asha, trial, curves.steps[at], loss) != Action::kContinue;
    ++at;
    if (is_over) std::erase_if(running, [trial = trial](const auto& each) { return each.first == trial; });
  }
  return paid;
}

// What random search pays on average until a trial, run to its end, is at least as good: the place of the first of k
// among n in a random order is (n + 1) / (k + 1).
double RandomSteps(const Curves& curves, double loss) {
  double as_good = 0;
  for (const std::vector<double>& losses : curves.losses) as_good += losses.back() <= loss;
  return double(curves.losses.size() + 1) / (as_good + 1) * double(curves.steps.back());
}

// What random search pays for the loss that ASHA gets to, in ASHA's steps; of all families, in some orders.
double RandomByAsha(const std::vector<Curves>& families, uint64_t orders) {
  double asha = 0;
  double random = 0;
  for (const Curves& curves : families) {
    for (uint64_t seed = 0; seed < orders; ++seed) {
      const Paid paid = RunAsha(curves, seed);
      asha += paid.steps;
      random += RandomSteps(curves, paid.best);
    }
  }
  std::printf("random search pays %.1f x the steps of ASHA for the same loss\n", random / asha);
  return random / asha;
}

TEST(Asha, PaysAThirdOfRandomSearchOnRecordedCurves) {
  const Curves curves = RecordedCurves();
  ASSERT_EQ(curves.losses.size(), 1000u);
  EXPECT_GE(RandomByAsha({curves}, 50), 3);
}

TEST(Asha, PaysAThirdOfRandomSearchOnSyntheticCurves) {
  std::vector<Curves> families;
  for (uint64_t seed = 1; seed <= 20; ++seed) families.push_back(SyntheticCurves(seed));
  EXPECT_GE(RandomByAsha(families, 3), 3);
}

}  // namespace
}  // namespace manta::ml

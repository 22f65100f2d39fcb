// Asha against Ray's rule: golden/asha.txt is what tools/bench/peers/asha_trace.py printed, and says what it is.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "manta/ml/asha.h"

namespace manta::ml {
namespace {

std::unique_ptr<Asha> BeginTrace(std::istringstream& words) {
  std::string mode;
  Asha::Options options;
  words >> mode >> options.steps_min >> options.steps_max >> options.eta;
  auto asha = std::make_unique<Asha>(options);
  asha->Begin({}, mode == "min" ? Mode::kMin : Mode::kMax);
  return asha;
}

TEST(AshaGolden, TakesTheDecisionsOfRaysRule) {
  std::ifstream file(MANTA_TUNE_GOLDEN "/asha.txt");
  std::unique_ptr<Asha> asha;
  std::set<TrialId> known;
  int traces = 0;
  int reports = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first == "trace") {
      asha = BeginTrace(words);
      known.clear();
      ++traces;
      continue;
    }
    TrialReport report{.trial = std::stoull(first)};
    std::string expected;
    words >> report.step >> report.metric >> expected;
    if (known.insert(report.trial).second) {
      asha->OnAdd(report.trial, {});
      asha->OnRun(report.trial);
    }
    const Decision decision = asha->OnReport(report);
    // Ray stops a trial that is at its last step, too.
    ASSERT_EQ(decision.action == Decision::Action::kContinue ? "continue" : "stop", expected) << line;
    ++reports;
  }
  EXPECT_EQ(traces, 3);
  EXPECT_EQ(reports, 6600);
}

}  // namespace
}  // namespace manta::ml

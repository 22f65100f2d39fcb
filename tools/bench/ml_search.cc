// The decisions of sweeps.
#include <cmath>

#include "manta/ml/tpe_searcher.h"
#include "tools/bench/bench.h"

namespace manta::bench {
namespace {

constexpr int kDimensions = 5;
constexpr int kCandidates = 24;
constexpr int kAsked = 200;

double Loss(const ml::Config& config) {
  double sum = 0;
  for (const auto& [name, value] : config) sum += std::pow(std::get<double>(value) - 0.3, 2);
  return sum;
}

ml::Tpe TpeWith(int history) {
  ml::SearchSpace space;
  for (int i = 0; i < kDimensions; ++i) space.Uniform("x" + std::to_string(i), 0, 1);
  ml::Tpe tpe({.candidates = kCandidates});
  tpe.Begin(space, ml::Mode::kMin);
  ml::RandomStream random{uint64_t(history)};
  for (int trial = 0; trial < history; ++trial) {
    const ml::Config config = space.Sample(&random);
    tpe.Adopt(ml::TrialId(trial), config);
    tpe.OnResult(ml::TrialId(trial), Loss(config));
  }
  return tpe;
}

// How many trials' densities a loop of exp() alone could evaluate in a second: each kernel at each candidate.
double ExpLimit(int history) {
  constexpr int kTrials = 20;
  const Stopwatch watch;
  double sum = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    for (int i = 0; i < kDimensions * kCandidates; ++i) {
      for (int kernel = 0; kernel < history; ++kernel) sum += std::exp(-0.001 * kernel - 0.01 * i);
    }
  }
  volatile double kept = sum;
  (void)kept;
  return kTrials / watch.seconds();
}

// Asked and told, from a history of this many trials.
std::vector<Sample> TpeTrials(const Context& context, int history) {
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    ml::Tpe tpe = TpeWith(history);
    const Stopwatch watch;
    for (int trial = history; trial < history + kAsked; ++trial) {
      tpe.OnResult(ml::TrialId(trial), Loss(*tpe.Suggest(ml::TrialId(trial))));
    }
    const double rate = kAsked / watch.seconds();
    samples.push_back({rate, ExpLimit(history)});
  }
  return samples;
}

}  // namespace

void AddSearchBenchmarks(std::vector<Benchmark>* all) {
  const char* const limit = "exp() of each kernel at each candidate";
  for (const int history : {100, 1000}) {
    all->push_back({"tpe_trials_" + std::to_string(history), "per s", limit, true,
                    [history](const Context& context) { return TpeTrials(context, history); }});
  }
}

}  // namespace manta::bench

// Asha gives few steps to many trials and many steps to the few that do best: asynchronous successive halving (Li et
// al., "A system for massively parallel hyperparameter tuning", MLSys 2020), in the variant that stops trials instead
// of pausing them, with the rule of Ray's ASHAScheduler.
//
// Rungs are at steps_min * eta^k below steps_max. A trial that reports at or beyond a rung it has not been recorded at
// (of several: the last) goes on if its metric is no worse than the (1 - 1/eta) quantile, linearly interpolated, of
// those recorded there before; and is recorded there. The first to come goes on. A trial that reports at or beyond
// steps_max is done. NaN is recorded and stops the trial, but does not count for the quantile.
//
// With several brackets (Li et al., "Hyperband", JMLR 2018), those of bracket s meet their first rung at
// steps_min * eta^s, and are compared with each other alone: a hedge against curves that cross late. As in Ray, a new
// trial gets into bracket s with a probability in proportion to e^-s.
#ifndef MANTA_ML_ASHA_H_
#define MANTA_ML_ASHA_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manta/ml/trial_scheduler.h"

namespace manta::ml {

class MANTA_EXPORT Asha final : public TrialScheduler {
 public:
  struct Options {
    int64_t steps_min = 1;    // no trial stops before; at least 1
    int64_t steps_max = 100;  // where trials are done; more than steps_min
    double eta = 4;           // about one in eta trials passes a rung; more than 1
    int64_t brackets = 1;     // at least 1; the last one's first rung is below steps_max
    uint64_t seed = 0;        // of several brackets
  };

  Asha() : Asha(Options{}) {}
  explicit Asha(Options options) : options_(options), random_(options.seed) {}

  std::string name() const override { return "asha"; }
  void Begin(const SearchSpace& space, Mode mode) override;
  std::vector<Rung> Rungs() const override;  // of all brackets
  // Of a trial that is not over, from 0. InvalidArgumentError: there is none of that number.
  size_t BracketOf(TrialId trial) const;
  std::string SaveState() const override;
  void LoadState(std::string_view state) override;

 protected:
  Decision Decide(const TrialReport& report) override;
  void Added(TrialId trial, const Config& config) override;
  void Ended(TrialId trial) override;

 private:
  struct Level {
    size_t bracket = 0;
    double step = 0;  // eta may be no whole number
    std::set<TrialId> trials;
    std::vector<double> scores;  // sorted; larger is better; without NaN
  };
  void MakeLevels();
  std::optional<double> Cutoff(const Level& level) const;

  Options options_;
  Mode mode_ = Mode::kMin;
  RandomStream random_;
  std::vector<Level> levels_;  // from the first step to the last
  std::map<TrialId, size_t> brackets_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_ASHA_H_

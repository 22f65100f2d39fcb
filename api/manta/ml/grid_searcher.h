// Grid tries every combination of the values of Choice and Grid parameters, in their order, the last one changing
// fastest. Conditional parameters that are inactive take no part. Ranges (Uniform, IntUniform, ...) are drawn at
// random, anew for each trial.
#ifndef MANTA_ML_GRID_SEARCHER_H_
#define MANTA_ML_GRID_SEARCHER_H_

#include <cstddef>
#include <vector>

#include "manta/ml/blind_searcher.h"

namespace manta::ml {

class MANTA_EXPORT Grid final : public BlindSearcher {
 public:
  struct Options {
    uint64_t seed = 0;    // for ranges
    int64_t repeats = 1;  // trials per point of the grid, one after the other; at least 1
  };

  Grid() : Grid(Options{}) {}
  explicit Grid(Options options);

  std::string name() const override { return "grid"; }
  // InvalidArgumentError also if the grid is too large to count, see SearchSpace::GridSizeMax.
  void Begin(const SearchSpace& space, Mode mode) override;
  std::optional<Config> Suggest(TrialId trial) override;
  std::string SaveState() const override;
  void LoadState(std::string_view state) override;

 private:
  Config ConfigHere();
  void Advance(const Config& config);

  Options options_;
  std::vector<size_t> at_;  // the next point: for each parameter, which of its values
  int64_t repeated_ = 0;    // how often it was suggested already
  bool done_ = false;
};

}  // namespace manta::ml

#endif  // MANTA_ML_GRID_SEARCHER_H_

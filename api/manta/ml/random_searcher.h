// Random draws every parameter from its prior, independently of results (Bergstra and Bengio, "Random search for
// hyper-parameter optimization", JMLR 2012). It never runs out.
#ifndef MANTA_ML_RANDOM_SEARCHER_H_
#define MANTA_ML_RANDOM_SEARCHER_H_

#include <cstdint>

#include "manta/ml/blind_searcher.h"

namespace manta::ml {

class MANTA_EXPORT Random final : public BlindSearcher {
 public:
  struct Options {
    uint64_t seed = 0;
  };

  Random() : Random(Options{}) {}
  explicit Random(Options options);

  std::string name() const override { return "random"; }
  std::optional<Config> Suggest(TrialId trial) override;
  std::string SaveState() const override;
  void LoadState(std::string_view state) override;

 private:
  Options options_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_RANDOM_SEARCHER_H_

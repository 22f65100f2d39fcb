// BlindSearcher is what Grid and Random have in common: they look at no results. They know which trials run, and no
// more.
#ifndef MANTA_ML_BLIND_SEARCHER_H_
#define MANTA_ML_BLIND_SEARCHER_H_

#include <cstdint>
#include <set>

#include "manta/ml/searcher.h"

namespace manta::ml {

class MANTA_EXPORT BlindSearcher : public Searcher {
 public:
  void Begin(const SearchSpace& space, Mode mode) override;
  void Adopt(TrialId trial, const Config& config) final;
  void OnResult(TrialId trial, double metric) final;
  void OnFailure(TrialId trial) final;

 protected:
  explicit BlindSearcher(uint64_t seed) : random_(seed) {}
  // InvalidArgumentError: it runs already.
  void Run(TrialId trial);
  void End(TrialId trial);

  Mode mode_ = Mode::kMin;
  SearchSpace space_;
  RandomStream random_;
  std::set<TrialId> running_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_BLIND_SEARCHER_H_

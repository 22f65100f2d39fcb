#include "manta/ml/blind_searcher.h"

#include <string>

#include "manta/error.h"

namespace manta::ml {

void BlindSearcher::Begin(const SearchSpace& space, Mode mode) {
  space_ = space;
  mode_ = mode;
}

void BlindSearcher::Adopt(TrialId trial, const Config& config) {
  space_.Check(config);
  Run(trial);
}

void BlindSearcher::OnResult(TrialId trial, double) { End(trial); }
void BlindSearcher::OnFailure(TrialId trial) { End(trial); }

void BlindSearcher::Run(TrialId trial) {
  if (!running_.insert(trial).second) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " runs already");
  }
}

void BlindSearcher::End(TrialId trial) {
  if (running_.erase(trial) == 0) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " does not run");
  }
}

}  // namespace manta::ml

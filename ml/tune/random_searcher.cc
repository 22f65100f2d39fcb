#include "manta/ml/random_searcher.h"

#include <set>

#include "ml/tune/sweep_json.h"

namespace manta::ml {

using internal::Json;

Random::Random(Options options) : BlindSearcher(options.seed), options_(options) {}

std::optional<Config> Random::Suggest(TrialId trial) {
  Run(trial);
  return space_.Sample(&random_);
}

std::string Random::SaveState() const {
  return Json{{"searcher", name()},
              {"seed", options_.seed},
              {"mode", internal::JsonOf(mode_)},
              {"space", internal::JsonOf(space_)},
              {"random", random_.SaveState()},
              {"running", running_}}
      .dump();
}

void Random::LoadState(std::string_view state) {
  internal::ReadState(state, "searcher", name(), [this](const Json& json) {
    Random loaded(Options{.seed = json.at("seed").get<uint64_t>()});
    loaded.Begin(internal::SpaceOf(json.at("space")), internal::ModeOf(json.at("mode")));
    loaded.random_.LoadState(json.at("random").get<std::string>());
    loaded.running_ = json.at("running").get<std::set<TrialId>>();
    *this = std::move(loaded);
  });
}

}  // namespace manta::ml

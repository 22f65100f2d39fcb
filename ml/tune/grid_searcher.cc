#include "manta/ml/grid_searcher.h"

#include <set>

#include "ml/tune/sweep_json.h"

namespace manta::ml {

using internal::Json;

Grid::Grid(Options options) : BlindSearcher(options.seed), options_(options) {}

void Grid::Begin(const SearchSpace& space, Mode mode) {
  if (options_.repeats < 1) {
    throw InvalidArgumentError("Grid: repeats is " + std::to_string(options_.repeats) + "; it must be at least 1");
  }
  space.GridSizeMax();
  BlindSearcher::Begin(space, mode);
  at_.assign(space.size(), 0);
}

std::optional<Config> Grid::Suggest(TrialId trial) {
  if (done_) return std::nullopt;
  Run(trial);
  Config config = ConfigHere();
  if (++repeated_ == options_.repeats) {
    repeated_ = 0;
    Advance(config);
  }
  return config;
}

Config Grid::ConfigHere() {
  Config config;
  for (size_t i = 0; i < space_.size(); ++i) {
    const Parameter& parameter = space_.parameters()[i];
    if (!SearchSpace::IsActive(parameter, config)) continue;
    config.Set(parameter.name, parameter.is_range() ? parameter.Sample(&random_) : parameter.values[at_[i]]);
  }
  return config;
}

// The next point after that of `config`: the last parameter of it that has another value takes it, and those behind it
// begin again. What is not in `config` stands at its first value.
void Grid::Advance(const Config& config) {
  for (size_t i = space_.size(); i-- > 0;) {
    const Parameter& parameter = space_.parameters()[i];
    if (parameter.is_range() || !config.Has(parameter.name)) continue;
    if (++at_[i] < parameter.values.size()) return;
    at_[i] = 0;
  }
  done_ = true;
}

std::string Grid::SaveState() const {
  return Json{{"searcher", name()},
              {"seed", options_.seed},
              {"repeats", options_.repeats},
              {"mode", internal::JsonOf(mode_)},
              {"space", internal::JsonOf(space_)},
              {"random", random_.SaveState()},
              {"at", at_},
              {"repeated", repeated_},
              {"done", done_},
              {"running", running_}}
      .dump();
}

void Grid::LoadState(std::string_view state) {
  internal::ReadState(state, "searcher", name(), [this](const Json& json) {
    Grid loaded({.seed = json.at("seed").get<uint64_t>(), .repeats = json.at("repeats").get<int64_t>()});
    loaded.Begin(internal::SpaceOf(json.at("space")), internal::ModeOf(json.at("mode")));
    loaded.random_.LoadState(json.at("random").get<std::string>());
    loaded.at_ = json.at("at").get<std::vector<size_t>>();
    bool inside = loaded.at_.size() == loaded.space_.size();
    for (size_t i = 0; inside && i < loaded.at_.size(); ++i) {
      const Parameter& parameter = loaded.space_.parameters()[i];
      inside = loaded.at_[i] == 0 || loaded.at_[i] < parameter.values.size();
    }
    if (!inside) throw SerializationError("the state of a Grid is at a point that its space does not have");
    loaded.repeated_ = json.at("repeated").get<int64_t>();
    loaded.done_ = json.at("done").get<bool>();
    loaded.running_ = json.at("running").get<std::set<TrialId>>();
    *this = std::move(loaded);
  });
}

}  // namespace manta::ml

#include "manta/ml/asha.h"

#include <algorithm>
#include <cmath>

#include "ml/tune/score.h"
#include "ml/tune/sweep_json.h"

namespace manta::ml {
namespace {

using internal::Json;

// numpy.percentile with its default method, operation by operation: whether a trial stops can hang on the last bit.
double Quantile(const std::vector<double>& sorted, double quantile) {
  const double at = double(sorted.size() - 1) * quantile;
  const size_t below = size_t(at);
  const double share = at - double(below);
  const double a = sorted[below];
  if (share == 0 || sorted[below + 1] == a) return a;
  const double b = sorted[below + 1];
  return share < 0.5 ? a + (b - a) * share : b - (b - a) * (1 - share);
}

}  // namespace

void Asha::Begin(const SearchSpace&, Mode mode) {
  if (options_.steps_min < 1 || options_.steps_max <= options_.steps_min) {
    throw InvalidArgumentError("Asha: steps_min is " + std::to_string(options_.steps_min) + " and steps_max " +
                               std::to_string(options_.steps_max) + "; it takes 1 <= steps_min < steps_max");
  }
  if (!(options_.eta > 1) || std::isinf(options_.eta)) {
    throw InvalidArgumentError("Asha: eta is " + ToText(options_.eta) + "; it must be more than 1");
  }
  const double last = double(options_.steps_min) * std::pow(options_.eta, double(options_.brackets - 1));
  if (options_.brackets < 1 || !(last < double(options_.steps_max))) {
    throw InvalidArgumentError("Asha: brackets is " + std::to_string(options_.brackets) +
                               "; it takes at least one, and the last one's first rung, at step " + ToText(last) +
                               ", below steps_max, " + std::to_string(options_.steps_max));
  }
  mode_ = mode;
  MakeLevels();
}

void Asha::MakeLevels() {
  levels_.clear();
  size_t rungs = 0;
  for (double step = double(options_.steps_min); step < double(options_.steps_max); step *= options_.eta) {
    ++rungs;
    for (size_t bracket = 0; bracket < std::min(rungs, size_t(options_.brackets)); ++bracket) {
      levels_.push_back({.bracket = bracket, .step = step, .trials = {}, .scores = {}});
    }
  }
}

void Asha::Added(TrialId trial, const Config&) {
  size_t bracket = 0;
  if (options_.brackets > 1) {
    double all = 0;
    for (int64_t s = 0; s < options_.brackets; ++s) all += std::exp(-double(s));
    double left = random_.Uniform(0, all);
    for (; bracket + 1 < size_t(options_.brackets) && left >= std::exp(-double(bracket)); ++bracket) {
      left -= std::exp(-double(bracket));
    }
  }
  brackets_[trial] = bracket;
}

void Asha::Ended(TrialId trial) { brackets_.erase(trial); }

size_t Asha::BracketOf(TrialId trial) const {
  const auto at = brackets_.find(trial);
  if (at != brackets_.end()) return at->second;
  throw InvalidArgumentError("trial " + std::to_string(trial) + " is in no bracket: it is not there, or is over");
}

Decision Asha::Decide(const TrialReport& report) {
  if (report.step >= options_.steps_max) {
    return {.action = Decision::Action::kDone,
            .config = {},
            .reason = "it has done its " + std::to_string(options_.steps_max) + " steps"};
  }
  const size_t bracket = BracketOf(report.trial);
  const auto level = std::find_if(levels_.rbegin(), levels_.rend(), [&](const Level& each) {
    return each.bracket == bracket && double(report.step) >= each.step && !each.trials.contains(report.trial);
  });
  if (level == levels_.rend()) return {};
  const double score = internal::Score(report.metric, mode_);
  const std::optional<double> cutoff = Cutoff(*level);
  Decision decision;
  if (std::isnan(score)) {
    decision.action = Decision::Action::kStop;
    decision.reason = "its metric is NaN at step " + std::to_string(report.step);
  } else if (cutoff && score < *cutoff) {
    decision.action = Decision::Action::kStop;
    decision.reason = ToText(report.metric) + " at step " + std::to_string(report.step) + " is worse than the cutoff " +
                      ToText(internal::MetricOf(*cutoff, mode_)) + " of " + std::to_string(level->scores.size()) +
                      " trials";
  }
  level->trials.insert(report.trial);
  if (!std::isnan(score)) {
    level->scores.insert(std::upper_bound(level->scores.begin(), level->scores.end(), score), score);
  }
  return decision;
}

std::optional<double> Asha::Cutoff(const Level& level) const {
  if (level.scores.empty()) return std::nullopt;
  return Quantile(level.scores, (1 - 1 / options_.eta) * 100 / 100);
}

std::vector<Rung> Asha::Rungs() const {
  std::vector<Rung> rungs;
  for (const Level& level : levels_) {
    Rung rung{.step = int64_t(std::ceil(level.step)), .trials = level.trials.size(), .best = {}, .cutoff = {}};
    if (!level.scores.empty()) {
      rung.best = internal::MetricOf(level.scores.back(), mode_);
      rung.cutoff = internal::MetricOf(*Cutoff(level), mode_);
    }
    rungs.push_back(rung);
  }
  return rungs;
}

std::string Asha::SaveState() const {
  Json levels = Json::array();
  for (const Level& level : levels_) {
    Json scores = Json::array();
    for (const double score : level.scores) scores.push_back(internal::JsonOf(score));
    levels.push_back({{"trials", level.trials}, {"scores", std::move(scores)}});
  }
  Json brackets = Json::array();
  for (const auto& [trial, bracket] : brackets_) brackets.push_back({trial, bracket});
  return Json{{"scheduler", name()},
              {"steps_min", options_.steps_min},
              {"steps_max", options_.steps_max},
              {"eta", options_.eta},
              {"brackets", options_.brackets},
              {"seed", options_.seed},
              {"mode", internal::JsonOf(mode_)},
              {"random", random_.SaveState()},
              {"trials", Json::parse(SaveTrials())},
              {"bracket_of", std::move(brackets)},
              {"levels", std::move(levels)}}
      .dump();
}

void Asha::LoadState(std::string_view state) {
  internal::ReadState(state, "scheduler", name(), [this](const Json& json) {
    Asha loaded({.steps_min = json.at("steps_min").get<int64_t>(),
                 .steps_max = json.at("steps_max").get<int64_t>(),
                 .eta = json.at("eta").get<double>(),
                 .brackets = json.at("brackets").get<int64_t>(),
                 .seed = json.at("seed").get<uint64_t>()});
    loaded.Begin({}, internal::ModeOf(json.at("mode")));
    loaded.random_.LoadState(json.at("random").get<std::string>());
    loaded.LoadTrials(json.at("trials").dump());
    for (const Json& entry : json.at("bracket_of")) {
      loaded.brackets_[entry.at(0).get<TrialId>()] = entry.at(1).get<size_t>();
    }
    for (const auto& [trial, unused] : loaded.trials()) {
      if (loaded.BracketOf(trial) < size_t(loaded.options_.brackets)) continue;
      throw SerializationError("the state of an Asha has trial " + std::to_string(trial) + " in bracket " +
                               std::to_string(loaded.BracketOf(trial)));
    }
    if (json.at("levels").size() != loaded.levels_.size()) {
      throw SerializationError("the state of an Asha has " + std::to_string(json.at("levels").size()) +
                               " rungs, but its options make " + std::to_string(loaded.levels_.size()));
    }
    for (size_t i = 0; i < loaded.levels_.size(); ++i) {
      const Json& level = json.at("levels")[i];
      loaded.levels_[i].trials = level.at("trials").get<std::set<TrialId>>();
      for (const Json& score : level.at("scores")) loaded.levels_[i].scores.push_back(internal::DoubleOf(score));
      std::sort(loaded.levels_[i].scores.begin(), loaded.levels_[i].scores.end());
    }
    *this = std::move(loaded);
  });
}

}  // namespace manta::ml

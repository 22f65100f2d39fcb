#include "manta/ml/trial_scheduler.h"

#include "manta/ml/asha.h"
#include "manta/ml/fifo.h"
#include "manta/ml/median_stopping.h"
#include "manta/ml/pbt.h"
#include "ml/tune/sweep_json.h"

namespace manta::ml {

using internal::Json;

namespace {

constexpr const char* kStates[] = {"waits", "runs"};

}  // namespace

TrialScheduler::~TrialScheduler() = default;

void TrialScheduler::OnAdd(TrialId trial, const Config& config) {
  if (trials_.contains(trial)) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " cannot be added: it is there already");
  }
  trials_[trial] = TrialState::kWaits;
  Added(trial, config);
}

void TrialScheduler::OnRun(TrialId trial) { StateOf(trial, TrialState::kWaits, "run") = TrialState::kRuns; }

void TrialScheduler::OnPause(TrialId trial) { StateOf(trial, TrialState::kRuns, "pause") = TrialState::kWaits; }

void TrialScheduler::OnComplete(TrialId trial) {
  StateOf(trial, TrialState::kRuns, "complete");
  End(trial);
}

void TrialScheduler::OnFailure(TrialId trial) {
  if (!trials_.contains(trial)) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " cannot fail: it is not there, or is over");
  }
  End(trial);
}

void TrialScheduler::End(TrialId trial) {
  trials_.erase(trial);
  Ended(trial);
}

Decision TrialScheduler::OnReport(const TrialReport& report) {
  TrialState& state = StateOf(report.trial, TrialState::kRuns, "report");
  Decision decision = Decide(report);
  if (decision.action == Decision::Action::kPause) state = TrialState::kWaits;
  if (decision.action == Decision::Action::kStop || decision.action == Decision::Action::kDone) End(report.trial);
  return decision;
}

TrialScheduler::TrialState& TrialScheduler::StateOf(TrialId trial, TrialState wanted, const char* verb) {
  const auto at = trials_.find(trial);
  if (at == trials_.end()) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " cannot " + verb + ": it is not there, or is over");
  }
  if (at->second != wanted) {
    throw InvalidArgumentError("trial " + std::to_string(trial) + " cannot " + verb + ": it " +
                               kStates[size_t(at->second)]);
  }
  return at->second;
}

std::optional<TrialId> TrialScheduler::NextToRun() const {
  for (const auto& [trial, state] : trials_) {
    if (state == TrialState::kWaits) return trial;
  }
  return std::nullopt;
}

std::string TrialScheduler::SaveTrials() const {
  Json json = {{"no_more", no_more_trials_}, {"waits", Json::array()}, {"runs", Json::array()}};
  for (const auto& [trial, state] : trials_) json[kStates[size_t(state)]].push_back(trial);
  return json.dump();
}

void TrialScheduler::LoadTrials(std::string_view state) {
  internal::ReadJson(state, "list of trials", [this](const Json& json) {
    std::map<TrialId, TrialState> trials;
    for (const TrialState each : {TrialState::kWaits, TrialState::kRuns}) {
      for (const Json& trial : json.at(kStates[size_t(each)])) trials[trial.get<TrialId>()] = each;
    }
    no_more_trials_ = json.at("no_more").get<bool>();
    trials_ = std::move(trials);
  });
}

std::unique_ptr<TrialScheduler> LoadTrialScheduler(std::string_view state) {
  const std::string name = internal::ReadJson(state, "state of a scheduler",
                                              [](const Json& json) { return json.at("scheduler").get<std::string>(); });
  std::unique_ptr<TrialScheduler> scheduler;
  if (name == "fifo") scheduler = std::make_unique<Fifo>();
  if (name == "median_stopping") scheduler = std::make_unique<MedianStopping>();
  if (name == "asha") scheduler = std::make_unique<Asha>();
  if (name == "pbt") scheduler = std::make_unique<Pbt>();
  if (scheduler == nullptr) {
    throw SerializationError("the scheduler '" + name + "' is none of this library: load its state yourself");
  }
  scheduler->LoadState(state);
  return scheduler;
}

}  // namespace manta::ml

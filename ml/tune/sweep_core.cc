#include "ml/tune/sweep_core.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "manta/ml/error.h"
#include "manta/ml/fifo.h"
#include "manta/ml/random_searcher.h"
#include "ml/tune/sweep_records.h"

namespace manta::ml {
namespace {

constexpr const char* kTimeOver = "the time is over";

std::string NamesOf(const Metrics& metrics) {
  std::string names;
  for (const auto& [name, value] : metrics) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "nothing" : names;
}

std::string Missing(const std::string& metric, TrialId trial, int64_t step, const Metrics& metrics) {
  return "the metric \"" + metric + "\" is not in the report of trial " + std::to_string(trial) + " at step " +
         std::to_string(step) + ", which has: " + NamesOf(metrics);
}

}  // namespace

SweepCore::SweepCore(SweepSettings settings, std::shared_ptr<Searcher> searcher,
                     std::shared_ptr<TrialScheduler> scheduler)
    : settings_(std::move(settings)),
      searcher_(searcher ? std::move(searcher) : std::make_shared<Random>()),
      scheduler_(scheduler ? std::move(scheduler) : std::make_shared<Fifo>()) {
  searcher_->Begin(settings_.space, settings_.mode);
  scheduler_->Begin(settings_.space, settings_.mode);
}
SweepCore::~SweepCore() = default;

// ------------------------------------------------------------------ trials begin

std::optional<SweepCore::Start> SweepCore::Next(double seconds) {
  if (is_time_over_) return std::nullopt;
  if (!scheduler_->NextToRun() && has_more_) AddTrial();
  if (!scheduler_->NextToRun()) return std::nullopt;
  return RunTrial(seconds);
}

void SweepCore::AddTrial() {
  const TrialId id = trials_.size();
  std::optional<Config> config;
  if (settings_.num_samples < 0 || id < static_cast<TrialId>(settings_.num_samples)) config = searcher_->Suggest(id);
  if (!config) {
    has_more_ = false;
    scheduler_->OnNoMoreTrials();
    Write({{"op", "no_more"}});
    return;
  }
  scheduler_->OnAdd(id, *config);
  Write({{"op", "add"}, {"trial", id}, {"config", ToJson(*config)}});
  trials_.push_back({.id = id, .config = *std::move(config)});
  more_of_.emplace_back();
  ++counts_[static_cast<size_t>(TrialState::kWaiting)];
}

std::optional<SweepCore::Start> SweepCore::RunTrial(double seconds) {
  const std::optional<TrialId> next = scheduler_->NextToRun();
  if (!next) return std::nullopt;
  scheduler_->OnRun(*next);
  SetState(*next, TrialState::kRunning);
  const int64_t attempt = more_of_[*next].attempt++;
  if (attempt == 0) trials_[*next].begin_seconds = seconds;
  seconds_ = seconds;
  Write({{"op", "run"}, {"trial", *next}, {"attempt", attempt}, {"seconds", seconds}});
  return StartOf(*next);
}

SweepCore::Start SweepCore::StartOf(TrialId trial) const {
  const More& more = more_of_[trial];
  return {.trial = trial,
          .attempt = more.attempt - 1,
          .step = more.checkpoint ? more.checkpoint->step : 0,
          .config = trials_[trial].config,
          .checkpoint = more.checkpoint};
}

// ------------------------------------------------------------------ trials report

SweepCore::Verdict SweepCore::Report(TrialId trial, int64_t step, const Metrics& metrics, double seconds,
                                     std::optional<CheckpointRecord> checkpoint) {
  CheckRuns(trial, "reports");
  const auto found = metrics.find(settings_.metric);
  if (found == metrics.end() && !best_ &&
      std::all_of(trials_.begin(), trials_.end(), [](const TrialResult& result) { return result.reports.empty(); })) {
    throw InvalidArgumentError("Tuner: " + Missing(settings_.metric, trial, step, metrics));
  }
  seconds_ = seconds;
  Json entry{{"op", "report"}, {"trial", trial}, {"step", step}, {"metrics", ToJson(metrics)}, {"seconds", seconds}};
  if (checkpoint) {
    ++next_checkpoint_;
    entry["checkpoint"] = ToJson(*checkpoint);
  }
  const bool is_repeat = step <= more_of_[trial].reported_step;
  if (!is_repeat) {
    trials_[trial].reports.push_back({step, seconds, metrics});
    more_of_[trial].reported_step = step;
  }
  Verdict verdict;
  if (found == metrics.end()) {
    entry["decision"] = "fail";
    Failed(trial, Missing(settings_.metric, trial, step, metrics), true, seconds);
    if (checkpoint) garbage_.push_back(checkpoint->file);
  } else if (!std::isfinite(found->second)) {
    entry["decision"] = "fail";
    Failed(trial,
           settings_.metric + " is " + ToJson(found->second).get<std::string>() + " at step " + std::to_string(step),
           false, seconds);
    if (checkpoint) garbage_.push_back(checkpoint->file);
  } else {
    const bool has_checkpoint = checkpoint.has_value();
    if (has_checkpoint) SetCheckpoint(trial, std::move(checkpoint));
    if (is_repeat) {
      entry["decision"] = "repeat";
      verdict.goes_on = !is_time_over_;
      if (is_time_over_) Stopped(trial, seconds);
    } else {
      const bool is_best = NoteBest(trial, step, found->second);
      verdict = Decide(trial, step, found->second, seconds, has_checkpoint, &entry);
      verdict.is_best = is_best;
    }
  }
  verdict.is_over = trials_[trial].state >= TrialState::kDone;
  Write(entry);
  return verdict;
}

SweepCore::Verdict SweepCore::Decide(TrialId trial, int64_t step, double metric, double seconds, bool has_checkpoint,
                                     Json* entry) {
  const TrialReport report{trial, step, metric, has_checkpoint};
  if (is_time_over_) {
    (*entry)["decision"] = "time_over";
    scheduler_->OnComplete(trial);
    searcher_->OnStopped(trial, step, metric);
    trials_[trial].reason = kTimeOver;
    Over(trial, TrialState::kStopped, seconds);
    return {};
  }
  using Action = Decision::Action;
  Decision decision = scheduler_->OnReport(report);
  if (settings_.steps_max > 0 && step >= settings_.steps_max && decision.action != Action::kExploit) {
    if (decision.action == Action::kPause) scheduler_->OnRun(trial);
    if (decision.action != Action::kStop && decision.action != Action::kDone) scheduler_->OnComplete(trial);
    decision.action = Action::kDone;
  }
  return Follow(trial, report, decision, seconds, entry);
}

SweepCore::Verdict SweepCore::Follow(TrialId trial, const TrialReport& report, const Decision& decision, double seconds,
                                     Json* entry) {
  switch (decision.action) {
    case Decision::Action::kContinue:
      (*entry)["decision"] = "continue";
      return {.goes_on = true};
    case Decision::Action::kStop:
      (*entry)["decision"] = "stop";
      (*entry)["reason"] = decision.reason;
      trials_[trial].reason = decision.reason;
      searcher_->OnStopped(trial, report.step, report.metric);
      Over(trial, TrialState::kStopped, seconds);
      return {};
    case Decision::Action::kDone:
      (*entry)["decision"] = "done";
      searcher_->OnResult(trial, report.metric);
      Over(trial, TrialState::kDone, seconds);
      return {};
    case Decision::Action::kPause:
      (*entry)["decision"] = "pause";
      SetState(trial, TrialState::kPaused);
      return {};
    case Decision::Action::kExploit:
      (*entry)["decision"] = "exploit";
      Exploit(trial, report.step, decision, entry);
      return {.start = StartOf(trial)};
  }
  std::abort();
}

// The trial goes on from the other's checkpoint, and is as far as that is.
void SweepCore::Exploit(TrialId trial, int64_t step, const Decision& decision, Json* entry) {
  const std::optional<CheckpointRecord> source = more_of_.at(decision.source).checkpoint;
  if (!source) {
    throw InvalidArgumentError("the scheduler \"" + scheduler_->name() + "\" has trial " + std::to_string(trial) +
                               " go on from the checkpoint of trial " + std::to_string(decision.source) +
                               ", which has none");
  }
  (*entry)["source"] = decision.source;
  (*entry)["source_step"] = source->step;
  (*entry)["config"] = ToJson(decision.config);
  trials_[trial].lineage.push_back({step, decision.source, source->step, trials_[trial].config});
  trials_[trial].config = decision.config;
  SetCheckpoint(trial, source);
  more_of_[trial].reported_step = source->step;
  ++more_of_[trial].attempt;
}

// ------------------------------------------------------------------ trials end

void SweepCore::Complete(TrialId trial, double seconds) {
  CheckRuns(trial, "returns");
  seconds_ = seconds;
  const TrialResult& result = trials_[trial];
  if (result.reports.empty()) {
    Failed(trial, "its function returned without a report", true, seconds);
  } else {
    scheduler_->OnComplete(trial);
    searcher_->OnResult(trial, result.Last(settings_.metric).value_or(std::nan("")));
    Over(trial, TrialState::kDone, seconds);
  }
  Write({{"op", "complete"}, {"trial", trial}, {"seconds", seconds}, {"state", NameOf(trials_[trial].state)}});
}

bool SweepCore::Fail(TrialId trial, const std::string& error, double seconds) {
  CheckRuns(trial, "fails");
  seconds_ = seconds;
  const bool is_retried = Failed(trial, error, false, seconds);
  Write({{"op", "fail"}, {"trial", trial}, {"error", error}, {"seconds", seconds}, {"retried", is_retried}});
  return is_retried;
}

bool SweepCore::Failed(TrialId trial, const std::string& error, bool is_final, double seconds) {
  TrialResult& result = trials_[trial];
  result.error = error;
  if (++result.failures <= settings_.max_failures && !is_final && !is_time_over_) {
    scheduler_->OnPause(trial);
    SetState(trial, TrialState::kWaiting);
    return true;
  }
  scheduler_->OnFailure(trial);
  searcher_->OnFailure(trial);
  Over(trial, TrialState::kFailed, seconds);
  return false;
}

void SweepCore::Preempt(TrialId trial) {
  CheckRuns(trial, "is preempted");
  scheduler_->OnPause(trial);
  SetState(trial, TrialState::kWaiting);
  if (is_time_over_) trials_[trial].reason = kTimeOver, SetState(trial, TrialState::kStopped);
  Write({{"op", "preempt"}, {"trial", trial}});
}

void SweepCore::Stop(TrialId trial, double seconds) {
  CheckRuns(trial, "is stopped");
  seconds_ = seconds;
  Stopped(trial, seconds);
  Write({{"op", "stop"}, {"trial", trial}, {"seconds", seconds}});
}

void SweepCore::Stopped(TrialId trial, double seconds) {
  scheduler_->OnComplete(trial);
  const std::vector<TrialReportRecord>& reports = trials_[trial].reports;
  const std::optional<double> metric = trials_[trial].Last(settings_.metric);
  if (metric) {
    searcher_->OnStopped(trial, reports.back().step, *metric);
  } else {
    searcher_->OnFailure(trial);
  }
  trials_[trial].reason = kTimeOver;
  Over(trial, TrialState::kStopped, seconds);
}

void SweepCore::EndTime() {
  is_time_over_ = true;
  for (TrialResult& trial : trials_) {
    if (trial.state != TrialState::kWaiting && trial.state != TrialState::kPaused) continue;
    trial.reason = kTimeOver;
    SetState(trial.id, TrialState::kStopped);
  }
  Write({{"op", "time_over"}});
}

void SweepCore::Over(TrialId trial, TrialState state, double seconds) {
  SetState(trial, state);
  trials_[trial].end_seconds = seconds;
}

// ------------------------------------------------------------------ records

std::vector<TrialId> SweepCore::Running() const {
  std::vector<TrialId> running;
  if (Count(TrialState::kRunning) == 0) return running;
  for (const TrialResult& trial : trials_) {
    if (trial.state == TrialState::kRunning) running.push_back(trial.id);
  }
  return running;
}

size_t SweepCore::Unfinished() const {
  const size_t known = Count(TrialState::kWaiting) + Count(TrialState::kRunning) + Count(TrialState::kPaused);
  if (is_time_over_) return Count(TrialState::kRunning);
  if (!has_more_) return known;
  return settings_.num_samples < 0 ? SIZE_MAX : known + static_cast<size_t>(settings_.num_samples) - trials_.size();
}

std::vector<std::string> SweepCore::CheckpointFiles() const {
  std::vector<std::string> files;
  for (const auto& [file, users] : file_users_) files.push_back(file);
  return files;
}

void SweepCore::SetState(TrialId trial, TrialState state) {
  --counts_[static_cast<size_t>(trials_[trial].state)];
  ++counts_[static_cast<size_t>(state)];
  trials_[trial].state = state;
}

void SweepCore::SetCheckpoint(TrialId trial, std::optional<CheckpointRecord> checkpoint) {
  std::optional<CheckpointRecord>& held = more_of_[trial].checkpoint;
  if (checkpoint) ++file_users_[checkpoint->file];
  if (held && --file_users_[held->file] == 0) {
    file_users_.erase(held->file);
    garbage_.push_back(held->file);
  }
  held = std::move(checkpoint);
  trials_[trial].checkpoint = held ? held->file : "";
}

bool SweepCore::NoteBest(TrialId trial, int64_t step, double metric) {
  const bool is_best = !best_ || (settings_.mode == Mode::kMin ? metric < best_->metric : metric > best_->metric);
  if (is_best) best_ = Best{trial, step, metric, trials_[trial].config};
  return is_best;
}

// A trial's word that came twice, or from a runner that it was taken from, is its caller's bug.
void SweepCore::CheckRuns(TrialId trial, const char* verb) const {
  if (trial < trials_.size() && trials_[trial].state == TrialState::kRunning) return;
  throw InvalidArgumentError("trial " + std::to_string(trial) + ", which does not run, " + verb);
}

void SweepCore::Write(const Json& entry) { entries_.push_back(TextOf(entry)); }

// ------------------------------------------------------------------ the journal's side

std::string SweepCore::Save() const {
  Json trials = Json::array();
  for (const TrialResult& trial : trials_) trials.push_back(SaveTrial(trial.id));
  Json json{{"op", "sweep"},
            {"version", 1},
            {"settings", ToJson(settings_)},
            {"searcher", searcher_->SaveState()},
            {"scheduler", scheduler_->SaveState()},
            {"has_more", has_more_},
            {"is_time_over", is_time_over_},
            {"seconds", seconds_},
            {"next_checkpoint", next_checkpoint_},
            {"trials", std::move(trials)}};
  if (best_) json["best"] = {best_->trial, best_->step, best_->metric, ToJson(best_->config)};
  return TextOf(json);
}

SweepCore::Json SweepCore::SaveTrial(TrialId trial) const {
  const More& more = more_of_[trial];
  Json json = ToJson(trials_[trial]);
  json["attempt"] = more.attempt;
  json["reported_step"] = more.reported_step;
  if (more.checkpoint) json["checkpoint"] = ToJson(*more.checkpoint);
  return json;
}

SweepCore::SweepCore(std::string_view snapshot, std::shared_ptr<Searcher> searcher,
                     std::shared_ptr<TrialScheduler> scheduler, const std::string& path)
    : searcher_(std::move(searcher)), scheduler_(std::move(scheduler)) {
  try {
    const Json json = Json::parse(snapshot);
    if (json.at("version") != 1) throw DataError(path, 0, "is of another version: " + json.at("version").dump());
    settings_ = SettingsFrom(json.at("settings"));
    const auto searcher_state = json.at("searcher").get<std::string>();
    const auto scheduler_state = json.at("scheduler").get<std::string>();
    if (searcher_) searcher_->LoadState(searcher_state);
    if (!searcher_) searcher_ = LoadSearcher(searcher_state);
    if (scheduler_) scheduler_->LoadState(scheduler_state);
    if (!scheduler_) scheduler_ = LoadTrialScheduler(scheduler_state);
    has_more_ = json.at("has_more");
    is_time_over_ = json.at("is_time_over");
    seconds_ = json.at("seconds");
    next_checkpoint_ = json.at("next_checkpoint");
    for (const Json& trial : json.at("trials")) LoadTrial(trial);
    if (json.contains("best")) {
      const Json& best = json.at("best");
      best_ = Best{best.at(0), best.at(1), best.at(2), ConfigFrom(best.at(3))};
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, 0, std::string("its first entry is not that of a sweep: ") + error.what());
  } catch (const SerializationError& error) {
    throw DataError(
        path, 0,
        std::string("the searcher's or scheduler's state cannot be read (give Tuner::RestoreWith objects of "
                    "your own classes): ") +
            error.what());
  }
}

void SweepCore::LoadTrial(const Json& json) {
  TrialResult trial = TrialFrom(json);
  const TrialId id = trial.id;
  if (id != trials_.size()) throw SerializationError("trial " + std::to_string(id) + " is out of its order");
  ++counts_[static_cast<size_t>(trial.state)];
  trials_.push_back(std::move(trial));
  more_of_.push_back({.attempt = json.at("attempt"), .reported_step = json.at("reported_step")});
  if (json.contains("checkpoint")) SetCheckpoint(id, CheckpointFrom(json.at("checkpoint")));
}

void SweepCore::Replay(std::string_view text, const std::string& path) {
  try {
    const Json entry = Json::parse(text);
    const auto op = entry.at("op").get<std::string>();
    const double seconds = entry.value("seconds", 0.0);
    const TrialId trial = entry.value("trial", TrialId{0});
    if (op == "add" || op == "no_more") {
      AddTrial();
    } else if (op == "run") {
      RunTrial(seconds);
    } else if (op == "report") {
      std::optional<CheckpointRecord> checkpoint;
      if (entry.contains("checkpoint")) checkpoint = CheckpointFrom(entry.at("checkpoint"));
      Report(trial, entry.at("step"), MetricsFrom(entry.at("metrics")), seconds, std::move(checkpoint));
    } else if (op == "complete") {
      Complete(trial, seconds);
    } else if (op == "fail") {
      Fail(trial, entry.at("error"), seconds);
    } else if (op == "preempt") {
      Preempt(trial);
    } else if (op == "stop") {
      Stop(trial, seconds);
    } else if (op == "time_over") {
      EndTime();
    } else {
      throw DataError(path, 0, "has an entry of an unknown kind: " + std::string(text));
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path, 0,
                    "has an entry that cannot be read (" + std::string(error.what()) + "): " + std::string(text));
  } catch (const SerializationError& error) {
    throw DataError(path, 0,
                    "has an entry that cannot be read (" + std::string(error.what()) + "): " + std::string(text));
  }
  const std::vector<std::string> again = TakeEntries();
  if (again.size() == 1 && again[0] == text) return;
  throw DataError(path, 0,
                  "this program does not decide as the journal says that it was decided: go on with the program that "
                  "wrote it. Written: " +
                      std::string(text) + "; decided: " + (again.empty() ? "nothing" : again[0]));
}

}  // namespace manta::ml

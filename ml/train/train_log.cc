#include "ml/train/train_log.h"

#include <charconv>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "manta/ml/error.h"

namespace manta::ml {
namespace {

// What a file's names of a part's tensors and numbers begin with.
std::string PrefixOfPart(size_t part) { return "trainer.part" + std::to_string(part) + "."; }

void PutPosition(const TrainPosition& at, const std::string& prefix, std::map<std::string, std::string>* metadata) {
  (*metadata)[prefix + "trainer.epoch"] = std::to_string(at.epoch);
  (*metadata)[prefix + "trainer.rows"] = std::to_string(at.rows);
  (*metadata)[prefix + "trainer.step"] = std::to_string(at.step);
}

const std::string& TextOf(const ModelFile& file, const std::string& name) {
  const auto entry = file.metadata.find(name);
  if (entry != file.metadata.end()) return entry->second;
  throw DataError(file.path, 0, "no checkpoint of a Trainer: its metadata has no " + name);
}

uint64_t NumberOf(const ModelFile& file, const std::string& name) {
  const std::string& text = TextOf(file, name);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  throw DataError(file.path, 0, "no checkpoint of a Trainer: " + name + " is \"" + text + "\", no number");
}

TrainPosition PositionOf(const ModelFile& file, const std::string& prefix) {
  return {NumberOf(file, prefix + "trainer.epoch"), NumberOf(file, prefix + "trainer.rows"),
          NumberOf(file, prefix + "trainer.step")};
}

// Moves the tensors whose names begin with `prefix` to a file of their own, without it.
ModelFile TakeOut(const std::string& prefix, ModelFile* file) {
  ModelFile part{file->path, {}, {}};
  for (auto it = file->tensors.lower_bound(prefix); it != file->tensors.end() && it->first.starts_with(prefix);) {
    part.tensors.emplace(it->first.substr(prefix.size()), std::move(it->second));
    it = file->tensors.erase(it);
  }
  return part;
}

}  // namespace

TrainLog::TrainLog(const TrainPlan& plan, TrainCrew& crew)
    : plan_(plan),
      crew_(crew),
      events_(plan.report.tensorboard.empty() ? nullptr : std::make_unique<EventFile>(plan.report.tensorboard)) {
  if (!plan.checkpoint.directory.empty()) {
    checkpoints_.emplace(
        CheckpointStoreOptions{.directory = plan.checkpoint.directory, .keep_last = plan.checkpoint.keep});
  }
  if (plan.report.early_stop) early_stop_.emplace(*plan.report.early_stop);
}

void TrainLog::Begin() {
  if (curve_) return;
  curve_.emplace(LearningCurve::Options{.samples_total = plan_.rows * plan_.epochs,
                                        .target = plan_.report.target,
                                        .out = plan_.report.out,
                                        .events = events_.get()});
}

void TrainLog::Count(uint64_t rows, double loss_sum) {
  last_count_ = std::chrono::steady_clock::now();
  if (result_.rows == 0) {
    first_count_ = last_count_;
    first_rows_ = rows;
  }
  result_.rows += rows;
  Begin();
  curve_->Count(rows, loss_sum);
}

void TrainLog::Note(TrainEvent::Kind kind, const TrainPosition& at, size_t worker, std::string text) {
  result_.events.push_back({kind, at, worker, std::move(text)});
}

bool TrainLog::WantsPoint(const TrainPosition& before, const TrainPosition& after) const {
  return CrossesBoundary(plan_, plan_.report.every_rows, before, after) || IsFinished(after);
}

bool TrainLog::WantsCheckpoint(const TrainPosition& before, const TrainPosition& after) const {
  if (plan_.checkpoint.directory.empty()) return false;
  return CrossesBoundary(plan_, plan_.checkpoint.every_rows, before, after) || IsFinished(after);
}

void TrainLog::AddPoint(const TrainState& state, double staleness) {
  if (point_at_ == state.at) return;
  point_at_ = state.at;
  TrainCrew::Evaluation evaluation;
  if (crew_.has_test()) evaluation = crew_.Evaluate(state);
  Begin();
  curve_->Add(evaluation.accuracy, staleness);
  result_.accuracy = evaluation.accuracy;
  result_.loss = crew_.has_test() ? evaluation.loss : curve_->points().back().loss;
  if (plan_.report.stop_at_target && curve_->seconds_to_target()) Stop(state.at, "the target is reached");
  if (early_stop_ && early_stop_->Update(result_.loss)) {
    Stop(state.at, "the loss has not got better than " + std::to_string(early_stop_->best()) + " for " +
                       std::to_string(plan_.report.early_stop->patience) + " evaluations");
  }
}

void TrainLog::Checkpoint(const TrainState& state, const std::string& ledger, std::span<const TrainState> parts) {
  std::vector<NamedTensor> tensors = crew_.TensorsOf(state);
  std::map<std::string, std::string> metadata{{"trainer.strategy", NameOf(plan_.strategy)},
                                              {"trainer.seed", std::to_string(plan_.seed)},
                                              {"trainer.ledger", ledger},
                                              {"trainer.parts", std::to_string(parts.size())}};
  PutPosition(state.at, "", &metadata);
  for (size_t part = 0; part < parts.size(); ++part) {
    for (NamedTensor& tensor : crew_.TensorsOf(parts[part])) {
      tensor.name = PrefixOfPart(part) + tensor.name;
      tensors.push_back(std::move(tensor));
    }
    PutPosition(parts[part].at, PrefixOfPart(part), &metadata);
  }
  const uint64_t version = checkpoints_->Save(tensors, metadata);
  Note(TrainEvent::kCheckpoint, state.at, 0, checkpoints_->PathOf(version));
}

std::optional<TrainLog::Resumed> TrainLog::Resume() {
  if (!checkpoints_ || !plan_.checkpoint.resume) return std::nullopt;
  std::optional<manta::ml::Checkpoint> found = checkpoints_->LoadNewest();
  if (!found) return std::nullopt;
  ModelFile& file = found->content;
  if (TextOf(file, "trainer.strategy") != NameOf(plan_.strategy)) {
    throw InvalidArgumentError(file.path + ": a checkpoint of strategy " + TextOf(file, "trainer.strategy") +
                               ", not of " + NameOf(plan_.strategy) + ": name that one, or another directory");
  }
  Resumed resumed;
  for (uint64_t part = 0; part < NumberOf(file, "trainer.parts"); ++part) {
    resumed.parts.push_back(crew_.FromFile(TakeOut(PrefixOfPart(part), &file)));
    resumed.parts.back().at = PositionOf(file, PrefixOfPart(part));
  }
  resumed.state = crew_.FromFile(file);
  resumed.state.at = PositionOf(file, "");
  resumed.ledger = TextOf(file, "trainer.ledger");
  Note(TrainEvent::kResumed, resumed.state.at, 0, file.path);
  return resumed;
}

double TrainLog::SteadyRowsPerSecond() const {
  return double(result_.rows - first_rows_) / std::chrono::duration<double>(last_count_ - first_count_).count();
}

void TrainLog::Stop(const TrainPosition& at, const std::string& why) {
  if (stopped_) return;
  stopped_ = true;
  Note(TrainEvent::kStopped, at, 0, why);
}

TrainResult TrainLog::Finish(TrainState state) {
  AddPoint(state, 0);
  if (!plan_.report.csv.empty()) curve_->WriteCsv(plan_.report.csv);
  result_.state = std::move(state);
  result_.points = curve_->points();
  result_.seconds_to_target = curve_->seconds_to_target();
  result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  return std::move(result_);
}

}  // namespace manta::ml

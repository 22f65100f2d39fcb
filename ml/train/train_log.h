// TrainLog is the outward side of a training job: the curve, the events, the checkpoints, and whether to stop.
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_TRAIN_TRAIN_LOG_H_
#define MANTA_ML_TRAIN_TRAIN_LOG_H_

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "manta/ml/checkpoint.h"
#include "manta/ml/curve.h"
#include "manta/ml/early_stop.h"
#include "manta/ml/event_file.h"
#include "manta/ml/train_crew.h"
#include "manta/ml/train_plan.h"
#include "manta/ml/train_result.h"

namespace manta::ml {

class TrainLog {
 public:
  // Both are borrowed.
  TrainLog(const TrainPlan& plan, TrainCrew& crew);

  // Workers are there: the curve's clock starts, unless it runs already.
  void Begin();
  void Count(uint64_t rows, double loss_sum);
  void Note(TrainEvent::Kind kind, const TrainPosition& at, size_t worker = 0, std::string text = {});

  // What is to be done with the state at the end of a stretch of training.
  bool WantsPoint(const TrainPosition& before, const TrainPosition& after) const;
  bool WantsCheckpoint(const TrainPosition& before, const TrainPosition& after) const;
  bool WantsState(const TrainPosition& before, const TrainPosition& after) const {
    return WantsPoint(before, after) || WantsCheckpoint(before, after);
  }
  // Evaluates `state`; a point of the curve. `staleness`: the mean, since the point before.
  void AddPoint(const TrainState& state, double staleness);

  // `ledger`: RowLedger::State(), of strategies that lease rows. `parts`: the models of ModelAveraging's parts, unless
  // `state` is all there is.
  void Checkpoint(const TrainState& state, const std::string& ledger = {}, std::span<const TrainState> parts = {});

  // Whether the training ends before its last row, and why.
  void Stop(const TrainPosition& at, const std::string& why);
  bool stopped() const { return stopped_; }
  bool IsFinished(const TrainPosition& at) const {
    return stopped_ || at.epoch >= plan_.epochs || (plan_.steps_max != 0 && at.step >= plan_.steps_max);
  }

  // Rows per second between the first Count and the last one.
  double SteadyRowsPerSecond() const;

  // Where the newest checkpoint stands, if there is one to resume from. DataError: all are damaged, or of another
  // model; InvalidArgumentError: of another kind of strategy.
  struct Resumed {
    TrainState state;
    std::string ledger = {};
    std::vector<TrainState> parts = {};
  };
  std::optional<Resumed> Resume();

  // The result, of the state at the end.
  TrainResult Finish(TrainState state);

 private:
  const TrainPlan& plan_;
  TrainCrew& crew_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::optional<CheckpointStore> checkpoints_;
  std::unique_ptr<EventFile> events_;
  std::optional<LearningCurve> curve_;
  std::optional<EarlyStop> early_stop_;
  std::chrono::steady_clock::time_point first_count_;
  std::chrono::steady_clock::time_point last_count_;
  uint64_t first_rows_ = 0;
  TrainResult result_;
  std::optional<TrainPosition> point_at_;  // of the last point
  bool stopped_ = false;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TRAIN_TRAIN_LOG_H_

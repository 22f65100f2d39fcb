#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "manta/get.h"
#include "manta/ml/train_crew.h"
#include "ml/train/averaging_driver.h"
#include "ml/train/lease_driver.h"
#include "ml/train/lock_step_driver.h"
#include "ml/train/train_log.h"

namespace manta::ml {
namespace {

constexpr uint64_t kEpochsOfOneLoop = 1;
constexpr uint64_t kEpochsOfWorkers = 3;

// By turns: one plain loop in a worker's process, then all workers. `run` trains as a plan says, from its epoch on.
template <class Run>
std::optional<Speedup> MeasureSpeedup(const TrainPlan& plan, TrainCrew& crew, const TrainState& state, Run run) {
  std::vector<Speedup::Round> rounds;
  const ObjectRef<TrainState> model = Put(state);
  for (size_t round = 0; round < plan.speedup_rounds; ++round) {
    TrainPlan again = plan;
    again.steps_max = 0;
    again.checkpoint = {};
    again.report = {.out = nullptr, .every_rows = UINT64_MAX};
    again.observer = {};
    const double one = Get(crew.MeasureOneLoop(0, model, kEpochsOfOneLoop * plan.rows));
    TrainLog log(again, crew);
    run(again, log, plan.epochs + round * kEpochsOfWorkers);
    rounds.push_back({log.SteadyRowsPerSecond(), one});
  }
  if (rounds.empty()) return std::nullopt;
  return Speedup::Of(rounds);
}

}  // namespace

TrainResult RunTraining(const TrainPlan& plan, TrainCrew& crew) {
  TrainLog log(plan, crew);
  TrainLog::Resumed start;
  if (auto resumed = log.Resume()) {
    start = *std::move(resumed);
  } else {
    start.state = crew.Initial();
  }
  if (std::holds_alternative<ModelAveraging>(plan.strategy)) {
    if (log.IsFinished(start.state.at)) return log.Finish(std::move(start.state));
    AveragingDriver driver(plan, crew, log, std::move(start));
    return log.Finish(driver.Run());
  }
  if (std::holds_alternative<ParameterServerSgd>(plan.strategy) || std::holds_alternative<Easgd>(plan.strategy)) {
    LeaseDriver driver(plan, crew, log, start.state, start.ledger);
    TrainResult result = log.Finish(driver.Run());
    const ServerStats stats = crew.Stats();
    result.staleness = stats.staleness;
    result.clock_gaps = stats.gaps;
    result.speedup = MeasureSpeedup(plan, crew, result.state, [&](TrainPlan& again, TrainLog& quiet, uint64_t epoch) {
      again.epochs = kEpochsOfWorkers;
      driver.RunAgain(again, quiet, epoch);
    });
    return result;
  }
  LockStepDriver driver(plan, crew, log, std::move(start.state));
  TrainResult result = log.Finish(driver.Run());
  result.speedup = MeasureSpeedup(plan, crew, result.state, [&](TrainPlan& again, TrainLog& quiet, uint64_t epoch) {
    again.epochs = epoch + kEpochsOfWorkers;
    TrainState from = result.state;
    from.at = {epoch, 0, from.at.step};
    driver.RunAgain(again, quiet, std::move(from));
  });
  return result;
}

}  // namespace manta::ml

// AveragingDriver leads the workers of ModelAveraging: part by part, epoch by epoch, each order to whoever is free.
//
// The state of a part travels with each order and comes back with its report: an order whose worker dies is given to
// another as it is, and gives the same numbers. So a checkpoint is the states of all parts, whenever it is written, and
// a training that goes on from it ends with the same bits.
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_TRAIN_AVERAGING_DRIVER_H_
#define MANTA_ML_TRAIN_AVERAGING_DRIVER_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "manta/ml/train_crew.h"
#include "manta/ml/train_plan.h"
#include "ml/train/train_log.h"

namespace manta::ml {

// The mean of `states`' parameters and slots, weighted; at the position of the first. InvalidArgumentError: none, other
// numbers of weights, or states of other sizes or types.
TrainState WeightedMean(const std::vector<TrainState>& states, const std::vector<double>& weights);

class AveragingDriver final : public TrainControl {
 public:
  // All are borrowed. `start`: of a checkpoint; without parts all of them begin with its state.
  // InvalidArgumentError: another number of parts than the plan's.
  AveragingDriver(const TrainPlan& plan, TrainCrew& crew, TrainLog& log, TrainLog::Resumed start);

  // Trains all parts to the plan's end, or until it is stopped, then averages them.
  TrainState Run();

  const TrainPosition& at() const override { return at_; }
  size_t workers() const override;
  void Resize(size_t workers) override;
  void Stop(const std::string& why) override { log_.Stop(at_, why); }

 private:
  struct Part {
    PartOrder order;              // the next one
    TrainState state;             // to begin it with
    ObjectRef<TrainState> begin;  // the same, as the workers get it
    uint64_t rows() const { return order.end - order.begin; }
  };
  struct Worker {
    bool wanted = true;
    ObjectRef<uint64_t> hello = {};      // while it starts
    ObjectRef<PartReport> running = {};  // while it works
    size_t part = 0;
    bool is_free() const { return wanted && !hello && !running; }
  };

  void Give();
  void AwaitAny();
  void Finish(size_t worker);
  void Keep(const TrainPosition& before);
  std::vector<TrainState> States() const;
  TrainState Mean() const;

  const TrainPlan& plan_;
  TrainCrew& crew_;
  TrainLog& log_;
  std::vector<Part> parts_;
  std::deque<size_t> waiting_;  // parts whose next order nobody has
  std::vector<Worker> workers_;
  TrainPosition at_;  // of all parts together: by the rows that they have used
};

}  // namespace manta::ml

#endif  // MANTA_ML_TRAIN_AVERAGING_DRIVER_H_

// TrainCrew is what the driver of a training job needs of its workers, whatever the types of model and optimiser:
// Trainer<M> has one, and so may a test.
//
// Workers are named by index, from 0; a worker that is restarted keeps its index.
// Threads:    externally synchronised.
#ifndef MANTA_ML_TRAIN_CREW_H_
#define MANTA_ML_TRAIN_CREW_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "manta/internal/export.h"
#include "manta/ml/model_file.h"
#include "manta/ml/train_orders.h"
#include "manta/ml/train_plan.h"
#include "manta/ml/train_result.h"
#include "manta/object_ref.h"

namespace manta::ml {

// What a server has seen.
struct ServerStats {
  uint64_t pushes = 0;
  std::vector<uint64_t> staleness;  // [s]: pushes that s pushes of others had overtaken; the last: s and more
  std::vector<uint64_t> gaps;       // [n]: iterations finished n ahead of the slowest worker; the last: n and more

  double MeanStalenessSince(const ServerStats& before) const {
    double sum = 0, count = 0;
    for (size_t s = 0; s < staleness.size(); ++s) {
      const double more = double(staleness[s]) - (s < before.staleness.size() ? double(before.staleness[s]) : 0);
      sum += double(s) * more;
      count += more;
    }
    return count == 0 ? 0 : sum / count;
  }
};

class TrainCrew {
 public:
  struct Evaluation {
    double loss = 0;  // mean
    double accuracy = 0;
  };

  virtual ~TrainCrew() = default;

  // Where training begins.
  virtual TrainState Initial() = 0;
  // Names and shapes for a file; `state` keeps the numbers. And back: DataError, if they are of another model.
  virtual std::vector<NamedTensor> TensorsOf(const TrainState& state) = 0;
  virtual TrainState FromFile(const ModelFile& file) = 0;
  virtual bool has_test() const = 0;
  virtual Evaluation Evaluate(const TrainState& state) = 0;  // on the test set

  virtual void Start(size_t worker) = 0;  // a new one, or again after Stop
  virtual void Stop(size_t worker) = 0;   // kills it
  // Ready when the worker is there, in whatever life; an error when it is dead for good.
  virtual ObjectRef<uint64_t> Hello(size_t worker) = 0;

  // Synchronous strategies.
  virtual ObjectRef<TrainState> StateOf(size_t worker) = 0;
  virtual ObjectRef<void> Adopt(size_t worker, const ObjectRef<TrainState>& state) = 0;
  virtual ObjectRef<SegmentReport> RunSegment(size_t worker, const SyncSegment& segment) = 0;
  // ModelAveraging.
  virtual ObjectRef<PartReport> RunPart(size_t worker, const PartOrder& order, const ObjectRef<TrainState>& from) = 0;
  // Strategies with a server.
  // `directory`: for the files by which it outlives its processes; empty: none. `resume`: from what is there.
  virtual void MakeServer(const TrainState& start, const std::string& directory, bool resume) = 0;
  virtual void CheckpointServer() = 0;
  virtual ObjectRef<LeaseReport> RunLease(size_t worker, const RowLease& lease) = 0;
  // The server waits for these workers from here on; they enter together.
  virtual void ExpectAtServer(const std::vector<uint32_t>& workers) = 0;
  // Nobody waits for the worker until it gets its next lease. `lives`: it is told, too.
  virtual void LeaveServer(size_t worker, bool lives) = 0;
  virtual void Retire(const RowLease& lease) = 0;  // committed
  virtual TrainState ServerState() = 0;            // position: unset
  virtual ServerStats Stats() = 0;
  // The speed-up.
  virtual ObjectRef<double> MeasureOneLoop(size_t worker, const ObjectRef<TrainState>& from, uint64_t rows) = 0;
};

// Trains as `plan` says. Throws what Trainer::Fit does.
MANTA_EXPORT TrainResult RunTraining(const TrainPlan& plan, TrainCrew& crew);

}  // namespace manta::ml

#endif  // MANTA_ML_TRAIN_CREW_H_

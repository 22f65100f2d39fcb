// TrainWorker is the actor that computes for a Trainer. The driver tells it what to do in orders (train_orders.h), each
// of many steps.
//
// Threads:    loop-confined: an actor of one thread.
// Errors:     what the model throws; that a step diverged is part of a report. A group whose member throws is broken:
//             the other members' segments end with kBroken.
#ifndef MANTA_ML_TRAIN_WORKER_H_
#define MANTA_ML_TRAIN_WORKER_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "manta/manta.h"
#include "manta/ml/communicator.h"
#include "manta/ml/lock_step.h"
#include "manta/ml/parameter_server.h"
#include "manta/ml/server_steps.h"
#include "manta/ml/stepper.h"
#include "manta/ml/train_orders.h"

namespace manta::ml {

template <TrainableModel M, class Opt>
class TrainWorker {
 public:
  static constexpr bool kHasServer = std::is_same_v<typename M::value_type, float>;
  static constexpr const char* kNoServer =
      "a parameter server keeps floats, the model's numbers are doubles: choose DataParallel, LocalSgd or "
      "ModelAveraging, or a model of floats";

  // `batch_max`: rows of the largest step.
  TrainWorker(TrainJob<M, Opt> job, uint64_t batch_max) : stepper_(std::move(job), batch_max) {}

  // Which life of this worker it is, from 1: it is there.
  uint64_t Hello() { return CurrentContext().incarnation(); }

  void Adopt(const TrainState& state) { stepper_.Adopt(state); }
  // Empty: it has none.
  TrainState State() const { return stepper_.has_state() ? stepper_.State() : TrainState(); }

  SegmentReport RunSegment(const SyncSegment& segment) {
    SegmentReport report;
    if (!stepper_.has_state() || stepper_.at() != segment.from) {
      report.outcome = SegmentReport::kNoState;
      report.at = stepper_.at();
      return report;
    }
    try {
      if (generation_ != segment.generation) {
        all_ = Communicator();
        all_ = segment.group.Join(segment.rank);
        generation_ = segment.generation;
      }
      LockStep<M, Opt, Communicator>(stepper_, all_, segment, buffer_).Run(&report);
    } catch (const MemberDiedError& error) {
      BreakUp(error, &report);
    } catch (const ActorDiedError& error) {  // the group's
      BreakUp(error, &report);
    } catch (const TimeoutError& error) {
      BreakUp(error, &report);
    } catch (const StepDivergedError& error) {
      LeaveGroup();
      report.outcome = SegmentReport::kDiverged;
      report.text = error.where();
    } catch (...) {
      LeaveGroup();
      throw;
    }
    report.at = stepper_.at();
    report.hash = stepper_.Hash();
    if (segment.want_state && report.outcome == SegmentReport::kDone) report.state = stepper_.State();
    return report;
  }

  // One epoch of a part of the rows, from `state`.
  PartReport RunPart(const PartOrder& order, const TrainState& state) {
    stepper_.Adopt(state);
    PartReport report;
    try {
      report.loss_sum = stepper_.StepThrough(order.epoch, {order.begin, order.end});
      report.state = stepper_.State();
    } catch (const StepDivergedError& error) {
      report.diverged = error.where();
    }
    return report;
  }

  // A lease of rows with a parameter server, as its worker `index`.
  LeaseReport RunLease(const LeaseOrder& order, const ParameterServer<Opt>& server, uint32_t index) {
    if constexpr (!kHasServer) {
      throw InvalidArgumentError(kNoServer);
    } else {
      if (!pushes_) pushes_.emplace(server, index);
      return TrainLease(order, *pushes_);
    }
  }
  // RunLease of Easgd.
  LeaseReport RunElasticLease(const LeaseOrder& order, const ParameterServer<Sgd>& centre, uint32_t index) {
    if constexpr (!kHasServer) {
      throw InvalidArgumentError(kNoServer);
    } else {
      if (!elastic_) elastic_.emplace(centre, index, stepper_);
      return TrainLease(order, *elastic_);
    }
  }
  // Nobody waits for this worker until its next lease. REQUIRES: it has pushed all.
  void LeaveServer() {
    if constexpr (kHasServer) {
      pushes_.reset();
      elastic_.reset();
    }
  }

  // Rows per second of the same steps in one plain loop, from `state`, over `rows` rows.
  double MeasureOneLoop(const TrainState& state, uint64_t rows) {
    Stepper<M, Opt> plain(stepper_.job(), stepper_.job().batch);
    plain.Adopt(state);
    uint64_t done = 0;
    const auto start = std::chrono::steady_clock::now();
    while (done < rows) {
      const uint64_t count = std::min(rows - done, plain.rows());
      plain.StepThrough(plain.job().epochs, {0, count});
      done += count;
    }
    return double(done) / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  struct None {};
  using Pushes = std::conditional_t<!kHasServer, None,
                                    std::conditional_t<std::is_same_v<Opt, Sgd>, Downpour<M>, GradientPushes<M, Opt>>>;
  using Elastic = std::conditional_t<kHasServer, ElasticSteps<M, Opt>, None>;

  template <class Steps>
  LeaseReport TrainLease(const LeaseOrder& order, Steps& steps) {
    const uint64_t rows = order.lease.end - order.lease.begin, batch = stepper_.job().batch;
    LeaseReport report{.rows = rows, .steps = (rows + batch - 1) / batch};
    try {
      report.loss_sum = steps.Train(stepper_, order);
    } catch (const StepDivergedError& error) {
      report.diverged = error.where();
    }
    return report;
  }

  void LeaveGroup() {
    all_ = Communicator();
    generation_ = 0;
  }
  void BreakUp(const Error& error, SegmentReport* report) {
    LeaveGroup();
    report->outcome = SegmentReport::kBroken;
    report->text = error.what();
  }

  Stepper<M, Opt> stepper_;
  Communicator all_;
  uint64_t generation_ = 0;  // of all_; 0: none
  std::vector<typename M::value_type> buffer_;
  std::optional<Pushes> pushes_;
  std::optional<Elastic> elastic_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TRAIN_WORKER_H_

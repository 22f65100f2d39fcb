#include "ml/train/averaging_driver.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <variant>

#include "manta/error.h"
#include "manta/get.h"
#include "manta/ml/error.h"

namespace manta::ml {
namespace {

template <typename Scalar>
Tensor MeanOf(const std::vector<const Tensor*>& tensors, const std::vector<double>& weights) {
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<double> sum(tensors.front()->size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Scalar* values = tensors[i]->data<Scalar>();
    for (size_t k = 0; k < sum.size(); ++k) sum[k] += weights[i] / total * double(values[k]);
  }
  return Tensor::From(std::vector<Scalar>(sum.begin(), sum.end()));
}

Tensor MeanOf(const std::vector<const Tensor*>& tensors, const std::vector<double>& weights) {
  const Tensor& first = *tensors.front();
  for (const Tensor* tensor : tensors) {
    if (tensor->size() == first.size() && tensor->dtype() == first.dtype()) continue;
    throw InvalidArgumentError("WeightedMean: one model has " + std::to_string(first.size()) + " values, another " +
                               std::to_string(tensor->size()) + ", or they are of different types");
  }
  return first.dtype() == DType::kFloat64 ? MeanOf<double>(tensors, weights) : MeanOf<float>(tensors, weights);
}

}  // namespace

TrainState WeightedMean(const std::vector<TrainState>& states, const std::vector<double>& weights) {
  if (states.empty() || states.size() != weights.size()) {
    throw InvalidArgumentError("WeightedMean: " + std::to_string(states.size()) + " models, " +
                               std::to_string(weights.size()) + " weights");
  }
  std::vector<const Tensor*> parameters, slots;
  for (const TrainState& state : states) {
    parameters.push_back(&state.parameters);
    slots.push_back(&state.slots);
  }
  TrainState mean{MeanOf(parameters, weights), Tensor(), states.front().at};
  if (!slots.front()->empty()) mean.slots = MeanOf(slots, weights);
  return mean;
}

AveragingDriver::AveragingDriver(const TrainPlan& plan, TrainCrew& crew, TrainLog& log, TrainLog::Resumed start)
    : plan_(plan), crew_(crew), log_(log), at_(start.state.at) {
  const size_t wanted = std::get<ModelAveraging>(plan_.strategy).parts;
  const uint64_t count = std::min<uint64_t>(wanted == 0 ? plan_.scaling.workers : wanted, plan_.rows);
  if (!start.parts.empty() && start.parts.size() != count) {
    throw InvalidArgumentError("averaging: a checkpoint of " + std::to_string(start.parts.size()) + " parts, not of " +
                               std::to_string(count) + ": say so in ModelAveraging::parts");
  }
  for (uint64_t part = 0; part < count; ++part) {
    TrainState state = start.parts.empty() ? start.state : std::move(start.parts[part]);
    const PartOrder order{part, state.at.epoch, plan_.rows * part / count, plan_.rows * (part + 1) / count};
    if (order.epoch < plan_.epochs) waiting_.push_back(part);
    const auto begin = Put(state);
    parts_.push_back({order, std::move(state), begin});
  }
  Resize(plan_.scaling.workers);
}

size_t AveragingDriver::workers() const {
  return size_t(std::ranges::count_if(workers_, [](const Worker& w) { return w.wanted && !w.hello; }));
}

void AveragingDriver::Resize(size_t workers) {
  if (workers == 0) throw InvalidArgumentError("Resize(0): a training job needs a worker");
  for (size_t i = 0; i < std::max(workers, workers_.size()); ++i) {
    if (i >= workers_.size()) workers_.push_back({.wanted = false});
    Worker& worker = workers_[i];
    if (i < workers && !worker.wanted) {
      crew_.Start(i);
      worker = {.hello = crew_.Hello(i)};
      log_.Note(TrainEvent::kJoined, at_, i);
    } else if (i >= workers && worker.wanted) {
      if (worker.running) waiting_.push_front(worker.part);
      crew_.Stop(i);
      worker = {.wanted = false};
      log_.Note(TrainEvent::kLeft, at_, i);
    }
  }
}

TrainState AveragingDriver::Run() {
  while (!log_.IsFinished(at_)) {
    Give();
    AwaitAny();
    if (plan_.observer) plan_.observer(*this);
  }
  TrainState mean = Mean();
  if (log_.WantsCheckpoint(at_, at_))
    log_.Checkpoint(mean, {}, at_.epoch < plan_.epochs ? States() : std::vector<TrainState>());
  return mean;
}

std::vector<TrainState> AveragingDriver::States() const {
  std::vector<TrainState> states;
  for (const Part& part : parts_) states.push_back(part.state);
  return states;
}

TrainState AveragingDriver::Mean() const {
  std::vector<double> weights;
  for (const Part& part : parts_) weights.push_back(double(part.rows()));
  TrainState mean = WeightedMean(States(), weights);
  mean.at = at_;
  return mean;
}

void AveragingDriver::Give() {
  for (size_t i = 0; i < workers_.size() && !waiting_.empty(); ++i) {
    if (!workers_[i].is_free()) continue;
    const size_t part = workers_[i].part = waiting_.front();
    waiting_.pop_front();
    workers_[i].running = crew_.RunPart(i, parts_[part].order, parts_[part].begin);
  }
}

// One worker that has come, finished, or died.
void AveragingDriver::AwaitAny() {
  constexpr auto kLook = std::chrono::milliseconds(200);  // at those that start, where others work
  std::vector<ObjectRef<PartReport>> running;
  std::vector<ObjectRef<uint64_t>> hellos;
  for (const Worker& worker : workers_) {
    if (worker.running) running.push_back(worker.running);
    if (worker.hello) hellos.push_back(worker.hello);
  }
  if (!running.empty()) {
    Wait(running, 1, hellos.empty() ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(kLook));
  } else {
    const auto limit = std::chrono::milliseconds(int64_t(plan_.scaling.wait_seconds * 1000));
    if (hellos.empty() || Wait(hellos, 1, limit).ready.empty()) {
      throw Error(ErrorCode::kActorDied,
                  "Trainer: no worker is left at " + at_.ToString() + "; raise Scaling::restarts or wait_seconds");
    }
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    const auto zero = std::chrono::nanoseconds(0);
    if (worker.hello && !Wait(std::vector{worker.hello}, 1, zero).ready.empty()) {
      const Result<uint64_t> hello = TryGet(std::exchange(worker.hello, {}));
      if (!hello.ok()) worker.wanted = false;  // dead for good
    } else if (worker.running && !Wait(std::vector{worker.running}, 1, zero).ready.empty()) {
      Finish(i);
    }
  }
}

void AveragingDriver::Finish(size_t index) {
  Worker& worker = workers_[index];
  Part& part = parts_[worker.part];
  Result<PartReport> result = TryGet(std::exchange(worker.running, {}));
  if (!result.ok()) {
    const ErrorCode code = result.error().code();
    if (code != ErrorCode::kActorDied && code != ErrorCode::kNodeDied) std::move(result).value();  // what it threw
    log_.Note(TrainEvent::kDied, at_, index, result.error().what());
    waiting_.push_front(worker.part);
    worker.hello = crew_.Hello(index);
    return;
  }
  if (!result->diverged.empty()) {
    throw DivergedError(result->diverged + ", worker " + std::to_string(index));
  }
  log_.Count(part.rows(), result->loss_sum);
  const TrainPosition before = at_;
  const uint64_t rows = at_.epoch * plan_.rows + at_.rows + part.rows();
  at_ = {rows / plan_.rows, rows % plan_.rows, at_.step + result->state.at.step - part.state.at.step};
  part.state = std::move(result->state);
  part.state.at = {++part.order.epoch, 0, part.state.at.step};
  part.begin = Put(part.state);
  if (part.order.epoch < plan_.epochs) waiting_.push_back(worker.part);
  Keep(before);
}

// A checkpoint, if it is due; that of the end is Run's.
void AveragingDriver::Keep(const TrainPosition& before) {
  if (!log_.IsFinished(at_) && log_.WantsCheckpoint(before, at_)) log_.Checkpoint(Mean(), {}, States());
}

}  // namespace manta::ml

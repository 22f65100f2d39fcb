// Trainer trains a model on a cluster: one names model, data and strategy, and Fit does the rest.
//
//   ml::Trainer<ml::Mlp<float>> trainer({.model = {784, 128, 10},
//                                        .data = train,
//                                        .test = test,
//                                        .strategy = ml::DataParallel{},
//                                        .scaling = {.workers = 2},
//                                        .epochs = 5,
//                                        .rate = {.first = 0.1, .last = 0.01}});
//   ml::TrainResult result = trainer.Fit();
//   ml::WriteSafetensors("mlp.safetensors", trainer.Tensors(result));
//
// The workers are actors; the rows lie in the object store, where workers of a node read them in place. Workers may
// die, leave and join in the middle of an epoch: each row of an epoch is used once all the same (see docs/ml.md for
// what each strategy guarantees).
//
// Header only: the workers' loops are compiled with the flags of the program.
#ifndef MANTA_ML_TRAINER_H_
#define MANTA_ML_TRAINER_H_

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "manta/manta.h"
#include "manta/ml/parameter_server.h"
#include "manta/ml/stepper.h"
#include "manta/ml/train_crew.h"
#include "manta/ml/train_plan.h"
#include "manta/ml/train_result.h"
#include "manta/ml/train_worker.h"

namespace manta::ml {

template <TrainableModel M, Optimizer<typename M::value_type> Opt = Sgd>
struct TrainOptions {
  using Data = typename RowSource<typename M::BatchType>::Data;

  ShapeOf<M> model = {};
  Data data = {};
  Data test = {};  // empty: none
  Strategy strategy = DataParallel{};
  Scaling scaling = {};
  uint64_t epochs = 1;
  uint64_t batch = 64;  // rows of one step of one worker
  RateSchedule rate = {};
  Opt optimizer = {};
  uint64_t seed = 1;     // of the initial parameters and the order of rows
  bool shuffle = false;  // a new order of the rows for each epoch; they are then copied batch by batch
  uint64_t segment_steps = 64;
  uint64_t steps_max = 0;
  Checkpointing checkpoint = {};
  Reporting report = {};
  // Rounds of measuring T1/Tn after the training; 0: none. Each takes about as long as an epoch and a half.
  size_t speedup_rounds = 0;
  std::function<void(TrainControl&)> observer = {};
};

template <TrainableModel M, Optimizer<typename M::value_type> Opt = Sgd>
class Trainer {
 public:
  using Scalar = typename M::value_type;
  using Options = TrainOptions<M, Opt>;

  // InvalidArgumentError, which names the option: no rows, no workers, no epochs, a batch of 0, a strategy's number
  // that makes no sense.
  explicit Trainer(Options options) : options_(std::move(options)) {
    Require(RowSource<typename M::BatchType>::CountOf(options_.data) > 0, "data has no rows");
    Require(options_.epochs > 0, "epochs is 0");
    Require(options_.batch > 0, "batch is 0");
    Validate(options_.strategy, options_.scaling.workers);
  }

  // Trains, and returns the model and how it went. May be called again: it then trains anew (or resumes).
  //
  // DivergedError: a loss or gradient is no finite number; it names epoch, step, rows and worker, and nothing of that
  // step is in any model that others see. ActorDiedError: no worker is left (see Scaling). What the model throws.
  TrainResult Fit() {
    Crew crew(options_);
    return RunTraining(Plan(), crew);
  }

  // The parameters of `result` under the names of the model's layout; valid while `result` is.
  std::vector<NamedTensor> Tensors(const TrainResult& result) const requires std::same_as<Scalar, float> {
    return ml::Tensors(M(options_.model, 1), result.state.parameters.template values<float>());
  }

 private:
  using Worker = TrainWorker<M, Opt>;
  using Source = RowSource<typename M::BatchType>;

  class Crew final : public TrainCrew {
   public:
    explicit Crew(const Options& options)
        : options_(options), job_(Put(JobOf(options))), model_(options.model, int(kEvaluationRows)) {}

    TrainState Initial() override {
      const size_t n = model_.parameter_count();
      std::vector<Scalar> parameters(n), slots(Opt::kSlots * n);
      model_.Initialize(options_.seed, parameters);
      InitializeSlots<Opt, Scalar>(options_.optimizer, slots);
      return {Tensor::From(std::move(parameters)), Tensor::From(std::move(slots)), {}};
    }
    bool has_test() const override { return Source::CountOf(options_.test) > 0; }
    Evaluation Evaluate(const TrainState& state) override {
      Source rows = Source::InOrder(options_.test);
      const Score score = model_.Evaluate(state.parameters.template values<Scalar>(), rows.Rows(0, 0, rows.count()));
      return {score.loss, score.accuracy()};
    }

    void Start(size_t worker) override {
      if (worker >= workers_.size()) workers_.resize(worker + 1);
      workers_[worker] = Actor<Worker>()
                             .NumCpus(options_.scaling.num_cpus)
                             .MaxRestarts(options_.scaling.restarts)
                             .Remote(job_, BatchMax());
    }
    void Stop(size_t worker) override {
      Kill(workers_[worker]);
      workers_[worker] = {};
    }
    ObjectRef<uint64_t> Hello(size_t worker) override {
      return workers_[worker].template Call<&Worker::Hello>().Remote();
    }
    ObjectRef<TrainState> StateOf(size_t worker) override {
      return workers_[worker].template Call<&Worker::State>().Remote();
    }
    ObjectRef<void> Adopt(size_t worker, const ObjectRef<TrainState>& state) override {
      return workers_[worker].template Call<&Worker::Adopt>().Remote(state);
    }
    ObjectRef<SegmentReport> RunSegment(size_t worker, const SyncSegment& segment) override {
      return workers_[worker].template Call<&Worker::RunSegment>().Remote(segment);
    }
    ObjectRef<PartReport> RunPart(size_t worker, const PartOrder& order, const ObjectRef<TrainState>& from) override {
      return workers_[worker].template Call<&Worker::RunPart>().Remote(order, from);
    }
    ObjectRef<double> MeasureOneLoop(size_t worker, const ObjectRef<TrainState>& from, uint64_t rows) override {
      return workers_[worker].template Call<&Worker::MeasureOneLoop>().Remote(from, rows);
    }

    std::vector<NamedTensor> TensorsOf(const TrainState& state) override {
      return NamesFor(state.parameters.template values<Scalar>(),
                      Opt::kSlots == 0 ? std::span<const Scalar>() : state.slots.template values<Scalar>());
    }
    TrainState FromFile(const ModelFile& file) override {
      const size_t n = model_.parameter_count();
      std::vector<Scalar> all((1 + Opt::kSlots) * n);
      const std::span<const Scalar> view = all;
      const bool has_slots = file.tensors.contains(kSlotsName);  // those of a server are in its own files
      CopyParameters(file, NamesFor(view.first(n), has_slots ? view.subspan(n) : std::span<const Scalar>()), all);
      return {Tensor::From(std::vector<Scalar>(all.begin(), all.begin() + int64_t(n))),
              Tensor::From(std::vector<Scalar>(all.begin() + int64_t(n), all.end())),
              {}};
    }

    void MakeServer(const TrainState& start, const std::string& directory, bool resume) override {
      if constexpr (kHasServer) {
        const bool from_files = resume && !IsAllOfTheServer(start);
        if (options_.checkpoint.resume && !from_files) RemoveFilesOfServer(directory);
        CheckpointOptions files{.directory = directory, .resume = from_files, .accept_loss = from_files};
        const auto values = start.parameters.template values<float>();
        const auto workers = uint32_t(options_.scaling.workers);
        if (const auto* elastic = std::get_if<Easgd>(&options_.strategy)) {
          centre_ = ParameterServer<Sgd>::Create(values,
                                                 {.shards = elastic->shards, .workers = workers, .checkpoint = files});
        } else {
          const auto& strategy = std::get<ParameterServerSgd>(options_.strategy);
          server_ = ParameterServer<Opt>::Create(values, {.shards = strategy.shards,
                                                          .optimizer = options_.optimizer,
                                                          .workers = workers,
                                                          .consistency = strategy.consistency,
                                                          .checkpoint = files});
        }
      } else {
        throw InvalidArgumentError(NameOf(options_.strategy) + ": " + Worker::kNoServer);
      }
    }
    void CheckpointServer() override {
      OfServer([](const auto& server) { server.Checkpoint(); });
    }
    ObjectRef<LeaseReport> RunLease(size_t worker, const RowLease& lease) override {
      if (const auto* elastic = std::get_if<Easgd>(&options_.strategy)) {
        const LeaseOrder order{.lease = lease, .push_every = elastic->tau, .rho = elastic->rho};
        return workers_[worker].template Call<&Worker::RunElasticLease>().Remote(order, centre_, uint32_t(worker));
      }
      const LeaseOrder order{.lease = lease, .push_every = std::get<ParameterServerSgd>(options_.strategy).push_every};
      return workers_[worker].template Call<&Worker::RunLease>().Remote(order, server_, uint32_t(worker));
    }
    void ExpectAtServer(const std::vector<uint32_t>& workers) override {
      OfServer([&](const auto& server) { server.Expect(workers); });
    }
    void LeaveServer(size_t worker, bool lives) override {
      if (lives) workers_[worker].template Call<&Worker::LeaveServer>().Remote();
      OfServer([&](const auto& server) { server.Leave(uint32_t(worker)); });
    }
    void Retire(const RowLease& lease) override {
      OfServer([&](const auto& server) { server.Retire(lease.epoch, lease.id); });
    }
    TrainState ServerState() override {
      TrainState state;
      if constexpr (kHasServer) {
        OfServer([&](const auto& server) { state.parameters = Tensor::From(server.Values()); });
      }
      return state;
    }
    ServerStats Stats() override {
      ServerStats stats;
      OfServer([&](const auto& server) {
        const ShardStats shards = server.Stats();
        const SchedulerStats clocks = server.ClockStats();
        stats = {shards.pushes,
                 {shards.staleness.begin(), shards.staleness.end()},
                 {clocks.gaps.begin(), clocks.gaps.end()}};
      });
      return stats;
    }

   private:
    static constexpr uint64_t kEvaluationRows = 256;
    static constexpr bool kHasServer = std::is_same_v<Scalar, float>;
    static constexpr const char* kSlotsName = "optimizer.slots";

    std::vector<NamedTensor> NamesFor(std::span<const Scalar> parameters, std::span<const Scalar> slots) const {
      std::vector<NamedTensor> tensors;
      for (ParameterPart& part : model_.Layout()) {
        tensors.push_back(
            {std::move(part.name), std::move(part.shape), parameters.subspan(part.begin, part.end - part.begin)});
      }
      if (!slots.empty()) tensors.push_back({kSlotsName, {Opt::kSlots, model_.parameter_count()}, slots});
      return tensors;
    }

    // Of a server that this one replaces: the checkpoint has no need of it, or there is none yet. Files that stay, on
    // another node say, are refused by name when the server starts.
    static void RemoveFilesOfServer(const std::string& directory) {
      std::error_code ignored;
      if (!directory.empty()) std::filesystem::remove_all(directory, ignored);
    }

    // Between two epochs of a bulk synchronous training the parameters are all that its server knows, if the optimiser
    // has no state. A server that begins with them repeats what a driver that was killed later has done since then, bit
    // for bit; in its files some of that would be done already.
    bool IsAllOfTheServer(const TrainState& state) const {
      const auto* strategy = std::get_if<ParameterServerSgd>(&options_.strategy);
      return strategy != nullptr && strategy->consistency.adds_pushes() && Opt::kSlots == 0 && state.at.rows == 0;
    }

    template <class Function>
    void OfServer(Function function) {
      if (std::holds_alternative<Easgd>(options_.strategy)) {
        function(centre_);
      } else {
        function(server_);
      }
    }

    static TrainJob<M, Opt> JobOf(const Options& options) {
      return {.shape = options.model,
              .data = options.data,
              .optimizer = options.optimizer,
              .rate = options.rate,
              .batch = options.batch,
              .epochs = options.epochs,
              .shuffle_seed = options.shuffle ? std::optional(options.seed) : std::nullopt};
    }
    uint64_t BatchMax() const {
      const auto* parallel = std::get_if<DataParallel>(&options_.strategy);
      if (parallel == nullptr) return options_.batch;
      return std::ranges::max(StepPlan::MemberRows(options_.scaling.workers, options_.batch, parallel->shares));
    }

    const Options& options_;
    const ObjectRef<TrainJob<M, Opt>> job_;
    M model_;
    std::vector<ActorHandle<Worker>> workers_;
    ParameterServer<Opt> server_;
    ParameterServer<Sgd> centre_;
  };

  TrainPlan Plan() const {
    return {.rows = Source::CountOf(options_.data),
            .strategy = options_.strategy,
            .scaling = options_.scaling,
            .epochs = options_.epochs,
            .batch = options_.batch,
            .rate = options_.rate,
            .seed = options_.seed,
            .segment_steps = options_.segment_steps,
            .steps_max = options_.steps_max,
            .speedup_rounds = options_.speedup_rounds,
            .checkpoint = options_.checkpoint,
            .report = options_.report,
            .observer = options_.observer};
  }

  static void Require(bool condition, const char* message) {
    if (!condition) throw InvalidArgumentError(std::string("Trainer: ") + message);
  }

  const Options options_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TRAINER_H_

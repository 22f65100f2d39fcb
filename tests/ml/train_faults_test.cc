// Training jobs whose workers are killed at random moments: each row counts once an epoch, whoever died, and the model
// is what it should be.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>
#include <filesystem>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "manta/ml/logistic.h"
#include "manta/ml/momentum.h"
#include "manta/ml/trainer.h"
#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::Gt;
using ::testing::Le;

namespace {

// What a worker's model knows: where to say its pid, and which process is the driver.
struct Watched {
  uint64_t count = 0;  // rows, or columns
  std::string folder = {};
  int driver = 0;

  void SayPid() const {
    if (getpid() != driver) AppendLine(folder + "/pids", std::to_string(getpid()));
  }
  // Steps are slow until the file `enough` is there.
  void Linger() const {
    if (!Exists(folder + "/enough")) std::this_thread::sleep_for(milliseconds(2));
  }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(count, folder, driver);
  }
};

// Parameter i belongs to row i, whose only number is i; the optimisers below change those of the rows that are used.
class RowCounter {
 public:
  using value_type = float;
  using BatchType = ml::Batch<float>;

  RowCounter(Watched shape, int) : shape_(std::move(shape)) { shape_.SayPid(); }
  const Watched& shape() const { return shape_; }
  size_t parameter_count() const { return shape_.count; }
  std::vector<ml::ParameterPart> Layout() const { return {{"uses", {shape_.count}, 0, shape_.count}}; }
  void Initialize(uint64_t, std::span<float> parameters) const { std::ranges::fill(parameters, 0.0f); }
  double Gradient(std::span<const float>, const ml::Batch<float>& batch, std::span<float> gradient) {
    shape_.Linger();
    std::ranges::fill(gradient, 0.0f);
    for (const float row : batch.rows) gradient[size_t(row)] = 1;
    return 1;
  }
  ml::Score Evaluate(std::span<const float>, const ml::Batch<float>&) { return {}; }

 private:
  Watched shape_;
};

// What an optimiser without a state is, except for its Next(value), the new value of a parameter whose gradient is not
// 0.
template <class Self>
struct StatelessOptimizer {
  static constexpr size_t kSlots = 0;
  static double InitialSlot(size_t) { return 0; }
  template <typename Scalar>
  void Step(ml::UpdateStep step, std::span<const Scalar> values, std::span<const Scalar> gradient, std::span<Scalar>,
            std::span<Scalar> out) const {
    for (size_t i = 0; i < values.size(); ++i) out[i] = StepOne<Scalar>(step, values[i], gradient[i], nullptr);
  }
  template <typename Scalar>
  Scalar StepOne(ml::UpdateStep, Scalar value, Scalar gradient, Scalar*) const {
    return gradient == 0 ? value : Self::Next(value);
  }
  template <class Archive>
  void serialize(Archive&) {}
};

struct CountUses : StatelessOptimizer<CountUses> {
  static float Next(float value) { return value + 1; }
};

// For means of models: whatever share of the members has used a row, to use it again is seen.
struct MarkUses : StatelessOptimizer<MarkUses> {
  static float Next(float value) { return value == 0 ? 1.0f : 1e6f; }
};

class WatchedLogistic : public ml::LogisticRegression<float> {
 public:
  WatchedLogistic(Watched shape, int batch_max)
      : LogisticRegression({.inputs = int(shape.count)}, batch_max), shape_(std::move(shape)) {
    shape_.SayPid();
  }
  const Watched& shape() const { return shape_; }
  double Gradient(std::span<const float> parameters, const ml::Batch<float>& batch, std::span<float> gradient) {
    shape_.Linger();
    return LogisticRegression::Gradient(parameters, batch, gradient);
  }

 private:
  Watched shape_;
};

ml::Dataset NumberedRows(size_t count) {
  std::vector<float> rows(count);
  std::iota(rows.begin(), rows.end(), 0.0f);
  return ml::Dataset::From(Tensor::From(std::move(rows), {int64_t(count), 1}),
                           Tensor::From(std::vector<uint8_t>(count)));
}

// Two classes that a line parts, with some noise.
constexpr uint64_t kColumns = 8;
ml::Dataset TwoClasses(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> rows(count * kColumns);
  std::vector<uint8_t> labels(count);
  for (size_t i = 0; i < count; ++i) {
    labels[i] = uint8_t(random() % 2);
    for (size_t k = 0; k < kColumns; ++k) rows[i * kColumns + k] = normal(random) + (labels[i] == 1 ? 0.3f : -0.3f);
  }
  return ml::Dataset::From(Tensor::From(std::move(rows), {int64_t(count), int64_t(kColumns)}),
                           Tensor::From(std::move(labels)));
}

}  // namespace

// ------------------------------------------------------------------ the driver as a process of its own

// Trains with checkpoints, and says the model's hash.
template <class Opt>
void TrainAndSayHash(const ml::Strategy& strategy, const std::string& folder, const ml::Checkpointing& checkpoint) {
  ml::Trainer<WatchedLogistic, Opt> trainer({.model = {kColumns, folder, 0},
                                             .data = TwoClasses(600),
                                             .strategy = strategy,
                                             .scaling = {.workers = 2, .num_cpus = 0},
                                             .epochs = 12,
                                             .batch = 10,
                                             .rate = {.first = 0.1, .last = 0.001},
                                             .shuffle = true,
                                             .segment_steps = 10,
                                             .checkpoint = checkpoint,
                                             .report = {.out = nullptr}});
  Say("begins");
  const ml::TrainResult result = trainer.Fit();
  Say("resumed " + std::to_string(std::ranges::count(result.events, ml::TrainEvent::kResumed, &ml::TrainEvent::kind)));
  Say("hash " + std::to_string(result.state.Hash()));
}

SCENARIO(Training) {
  const std::string folder = ArgumentOf(argc, argv, "folder"), name = ArgumentOf(argc, argv, "strategy"),
                    checkpoints = ArgumentOf(argc, argv, "checkpoints");
  const Runtime runtime = Init(argc, argv);
  ml::Strategy strategy = ml::StrategyNamed(name);
  if (auto* averaging = std::get_if<ml::ModelAveraging>(&strategy)) averaging->parts = 3;
  if (auto* server = std::get_if<ml::ParameterServerSgd>(&strategy)) {
    server->lease_rows = 50;
    TrainAndSayHash<ml::Sgd>(strategy, folder, {.directory = checkpoints});
  } else {
    TrainAndSayHash<ml::Momentum>(strategy, folder, {.directory = checkpoints, .every_rows = 200});
  }
  return 0;
}

class TrainFaults : public EmbeddedTest {
 protected:
  TrainFaults() : EmbeddedTest(seconds(100)) {}

  Scenario BeginTraining(const std::string& strategy, const std::string& checkpoints) {
    return Run("Training", {"--folder=" + directory(), "--strategy=" + strategy, "--checkpoints=" + File(checkpoints)});
  }
  std::set<std::string> CheckpointsOf(const std::string& checkpoints) const {
    std::set<std::string> names;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(File(checkpoints), none)) {
      const std::string name = entry.path().filename();
      if (name.starts_with("checkpoint") && name.ends_with(".safetensors")) names.insert(name);
    }
    return names;
  }
  // The driver's hash, and whether it went on from a checkpoint.
  static std::pair<std::string, bool> HashOf(Scenario& driver) {
    const bool resumed = driver.Await("resumed") == "1";
    const std::string hash = driver.Await("hash");
    EXPECT_TRUE(driver.Join().exited) << driver.output();
    return {hash, resumed};
  }
  // A driver that is killed with all of its workers at some random moments, and started again: the same bits as one
  // that was not.
  void KillTheDriver(const std::string& strategy, int kills) {
    const uint32_t seed = std::random_device()();
    SCOPED_TRACE(testing::Message() << strategy << ", seed " << seed);
    std::mt19937 random(seed);
    bool has_resumed = false;
    std::string hash;
    for (int i = 0; i < kills; ++i) {
      const std::set<std::string> before = CheckpointsOf(strategy);
      Scenario driver = BeginTraining(strategy, strategy);
      driver.Await("begins");
      // The first one may die before it has written anything.
      EXPECT_TRUE(i == 0 || Within(seconds(20), [&] { return CheckpointsOf(strategy) != before; })) << driver.output();
      std::this_thread::sleep_for(milliseconds(random() % 300));
      driver.Signal(SIGKILL);
      driver.Join();
    }
    WriteFile(File("enough"), "");
    Scenario last = BeginTraining(strategy, strategy);
    std::tie(hash, has_resumed) = HashOf(last);
    EXPECT_TRUE(has_resumed) << last.output();
    Scenario undisturbed = BeginTraining(strategy, strategy + "_undisturbed");
    EXPECT_EQ(hash, HashOf(undisturbed).first);
    std::filesystem::remove(File("enough"));
  }

  Watched ShapeOf(uint64_t count) const { return {count, directory(), getpid()}; }

  // Trains, while workers are killed at `kills` random moments.
  template <class M, class Opt>
  ml::TrainResult TrainUnderFire(ml::TrainOptions<M, Opt> options, int kills) {
    options.scaling = {.workers = 3, .num_cpus = 0};
    options.report = {.out = nullptr};
    const uint32_t seed = std::random_device()();
    SCOPED_TRACE(testing::Message() << ml::NameOf(options.strategy) << ", seed " << seed);
    std::atomic<bool> ends = false;
    std::atomic<int> killed = 0;
    std::thread killer([&, random = std::mt19937(seed)]() mutable {
      while (!ends && killed < kills) {
        std::this_thread::sleep_for(milliseconds(20 + random() % 150));
        std::vector<pid_t> living;
        for (const std::string& line : Lines(File("pids"))) {
          if (IsAlive(std::stoi(line))) living.push_back(std::stoi(line));
        }
        if (!living.empty() && kill(living[random() % living.size()], SIGKILL) == 0) ++killed;
      }
      WriteFile(File("enough"), "");
    });
    ml::TrainResult result;
    try {
      result = ml::Trainer<M, Opt>(std::move(options)).Fit();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    ends = true;
    killer.join();
    EXPECT_EQ(killed, kills);
    EXPECT_THAT(std::ranges::count(result.events, ml::TrainEvent::kDied, &ml::TrainEvent::kind), Ge(kills / 2));
    return result;
  }

  void CountUsesUnderFire(const ml::Strategy& strategy, int kills) {
    constexpr uint64_t kRows = 600, kEpochs = 100;
    StartCluster();
    const ml::TrainResult result = TrainUnderFire<RowCounter, CountUses>({.model = ShapeOf(kRows),
                                                                          .data = NumberedRows(kRows),
                                                                          .strategy = strategy,
                                                                          .epochs = kEpochs,
                                                                          .batch = 10,
                                                                          .segment_steps = 15},
                                                                         kills);
    if (HasFailure()) return;
    EXPECT_THAT(result.state.parameters.values<float>(), Each(float(kEpochs)));
  }

  static constexpr uint64_t kLearnRows = 600, kLearnEpochs = 100;
  // The same training under fire and undisturbed.
  std::pair<ml::TrainResult, ml::TrainResult> LearnUnderFire(const ml::Strategy& strategy, int kills) {
    StartCluster();
    const ml::Dataset data = TwoClasses(kLearnRows);
    const ml::TrainOptions<WatchedLogistic, ml::Sgd> options{.model = ShapeOf(kColumns),
                                                             .data = data,
                                                             .test = data,
                                                             .strategy = strategy,
                                                             .epochs = kLearnEpochs,
                                                             .batch = 10,
                                                             .rate = {.first = 0.1, .last = 0.001},
                                                             .segment_steps = 5};
    const ml::TrainResult fired = TrainUnderFire<WatchedLogistic, ml::Sgd>(options, kills);
    const ml::TrainResult quiet = TrainUnderFire<WatchedLogistic, ml::Sgd>(options, 0);
    if (!HasFailure()) {
      EXPECT_EQ(fired.rows, kLearnRows * kLearnEpochs);
      EXPECT_EQ(fired.state.at.epoch, kLearnEpochs);
      EXPECT_NEAR(fired.loss, quiet.loss, 0.01 * quiet.loss);
    }
    return {fired, quiet};
  }
};

TEST_F(TrainFaults, DataParallelLosesNoRow) { CountUsesUnderFire(ml::DataParallel{}, 10); }

TEST_F(TrainFaults, AnAsynchronousServerLosesNoRow) {
  CountUsesUnderFire(ml::ParameterServerSgd{.push_every = 2, .lease_rows = 30}, 10);
}

TEST_F(TrainFaults, ASynchronousServerLosesNoRow) {
  CountUsesUnderFire(ml::ParameterServerSgd{.consistency = ml::Bsp(), .push_every = 1, .lease_rows = 30}, 5);
}

// One epoch: a row that was used has the share of its members that used it, in the round in which it was.
TEST_F(TrainFaults, LocalSgdLosesNoRow) {
  constexpr uint64_t kRows = 60'000;
  StartCluster();
  const ml::TrainResult result = TrainUnderFire<RowCounter, MarkUses>({.model = ShapeOf(kRows),
                                                                       .data = NumberedRows(kRows),
                                                                       .strategy = ml::LocalSgd{.steps = 4},
                                                                       .batch = 10,
                                                                       .segment_steps = 5},
                                                                      5);
  if (HasFailure()) return;
  EXPECT_EQ(result.rows, kRows);
  EXPECT_THAT(result.state.parameters.values<float>(), Each(AllOf(Gt(0), Le(1))));
}

TEST_F(TrainFaults, LocalSgdEndsWithTheLossOfAnUndisturbedTraining) { LearnUnderFire(ml::LocalSgd{.steps = 4}, 5); }

// Each worker's model dies with it, so that rows cannot be counted in the centre; exchanges can, each of which has a
// name that counts once.
TEST_F(TrainFaults, EasgdExchangesOnceForEachLeaseAndEndsWithTheLossOfAnUndisturbedTraining) {
  const auto [fired, quiet] = LearnUnderFire(ml::Easgd{.tau = 2, .lease_rows = 30}, 10);
  constexpr uint64_t kExchangesOfLease = 2;  // of three steps: after the second and the last
  const uint64_t exchanges = kLearnEpochs * (kLearnRows / 30) * kExchangesOfLease;
  for (const ml::TrainResult& result : {fired, quiet}) {
    EXPECT_EQ(std::accumulate(result.staleness.begin(), result.staleness.end(), uint64_t{0}), exchanges);
  }
}

TEST_F(TrainFaults, AKilledDriverGoesOnToTheSameBits) {
  for (const char* strategy : {"allreduce", "averaging"}) KillTheDriver(strategy, 2);
}

TEST_F(TrainFaults, AKilledDriverOfABulkSynchronousServerGoesOnToTheSameBits) { KillTheDriver("ps-bsp", 2); }

TEST_F(TrainFaults, AveragingGivesTheBitsOfAnUndisturbedTraining) {
  const auto [fired, quiet] = LearnUnderFire(ml::ModelAveraging{.parts = 3}, 10);
  EXPECT_EQ(fired.state.Hash(), quiet.state.Hash());
}

}  // namespace manta::embedded

#include "manta/ml/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <limits>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "manta/ml/mlp.h"
#include "manta/ml/momentum.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class TempDirectory {
 public:
  TempDirectory() : path_(::testing::TempDir() + "trainer_" + std::to_string(std::random_device()())) {
    std::filesystem::create_directories(path_);
  }
  ~TempDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

// A user's own model and optimiser, which together count how often each row was used: row i of the data has i as its
// only number, parameter i belongs to it, and an update adds 1 where the gradient is not 0.
template <typename Scalar>
class RowCounter {
 public:
  using value_type = Scalar;
  using BatchType = Batch<Scalar>;
  struct Rows {
    uint64_t count = 0;
  };

  RowCounter(Rows shape, int) : shape_(shape) {}
  Rows shape() const { return shape_; }
  size_t parameter_count() const { return shape_.count; }
  std::vector<ParameterPart> Layout() const { return {{"uses", {shape_.count}, 0, shape_.count}}; }
  void Initialize(uint64_t, std::span<Scalar> parameters) const { std::ranges::fill(parameters, Scalar(0)); }
  double Gradient(std::span<const Scalar>, const Batch<Scalar>& batch, std::span<Scalar> gradient) {
    std::ranges::fill(gradient, Scalar(0));
    for (const Scalar row : batch.rows) gradient[size_t(row)] = 1;
    return 1;
  }
  Score Evaluate(std::span<const Scalar>, const Batch<Scalar>&) { return {}; }

 private:
  Rows shape_;
};

struct CountUses {
  static constexpr size_t kSlots = 1;  // uses in odd updates: a state that must go where the parameters go
  static double InitialSlot(size_t) { return 0; }
  template <typename Scalar>
  void Step(UpdateStep step, std::span<const Scalar> values, std::span<const Scalar> gradient, std::span<Scalar> slots,
            std::span<Scalar> out) const {
    for (size_t i = 0; i < values.size(); ++i) out[i] = StepOne(step, values[i], gradient[i], &slots[i]);
  }
  template <typename Scalar>
  Scalar StepOne(UpdateStep step, Scalar value, Scalar gradient, Scalar* slot) const {
    if (gradient == 0) return value;
    if (step.number % 2 == 1) *slot += 1;
    return value + 1;
  }
  template <class Archive>
  void serialize(Archive&) {}
};

Dataset NumberedRows(size_t count) {
  std::vector<float> rows(count);
  std::iota(rows.begin(), rows.end(), 0.0f);
  return {Tensor::From(std::move(rows), {int64_t(count), 1}), Tensor::From(std::vector<uint8_t>(count))};
}

class TrainerTest : public LocalTest {
 protected:
  // Two classes that a line parts, with some noise.
  static Dataset TwoClasses(size_t count, size_t columns, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> rows(count * columns);
    std::vector<uint8_t> labels(count);
    for (size_t i = 0; i < count; ++i) {
      labels[i] = uint8_t(random() % 2);
      for (size_t k = 0; k < columns; ++k) rows[i * columns + k] = normal(random) + (labels[i] == 1 ? 0.5f : -0.5f);
    }
    return {Tensor::From(std::move(rows), {int64_t(count), int64_t(columns)}), Tensor::From(std::move(labels))};
  }
};

TEST_F(TrainerTest, ModelAveragingIsTheMeanOfModelsTrainedAlone) {
  const Dataset data = TwoClasses(1000, 8, 1);
  const MlpShape shape{8, 4, 2};
  Trainer<Mlp<double>> trainer({.model = shape,
                                .data = data,
                                .test = data,
                                .strategy = ModelAveraging{.parts = 3},
                                .scaling = {.workers = 2},
                                .epochs = 2,
                                .batch = 10,
                                .report = {.out = nullptr}});
  const TrainResult result = trainer.Fit();
  EXPECT_EQ(result.rows, 2000u);
  EXPECT_GT(result.accuracy, 0.85);

  std::vector<double> mean(shape.parameter_count());
  for (uint64_t part = 0; part < 3; ++part) {
    Mlp<double> model(shape, 10);
    std::vector<double> parameters(shape.parameter_count()), gradient(parameters.size());
    model.Initialize(1, parameters);
    const uint64_t begin = 1000 * part / 3, end = 1000 * (part + 1) / 3;
    for (int epoch = 0; epoch < 2; ++epoch) {
      for (uint64_t row = begin; row < end; row += 10) {
        const uint64_t next = std::min(row + 10, end);
        auto [rows, labels] = data.Rows(row, next);
        const std::vector<double> doubles(rows.begin(), rows.end());
        model.Gradient(parameters, {doubles, labels}, gradient);
        for (size_t i = 0; i < parameters.size(); ++i) parameters[i] -= 0.1 * gradient[i];
      }
    }
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += parameters[i] * double(end - begin) / 1000;
  }
  for (size_t i = 0; i < mean.size(); ++i) {
    ASSERT_NEAR(result.state.parameters.values<double>()[i], mean[i], 1e-12) << i;
  }
}

TEST_F(TrainerTest, EveryStrategyTrains) {
  const Dataset train = TwoClasses(4000, 8, 1), test = TwoClasses(1000, 8, 2);
  for (const char* name : {"ps-async", "ps-ssp", "ps-bsp", "easgd", "allreduce", "local-sgd", "averaging"}) {
    SCOPED_TRACE(name);
    Trainer<Mlp<float>> trainer({.model = {8, 4, 2},
                                 .data = train,
                                 .test = test,
                                 .strategy = StrategyNamed(name),
                                 .epochs = 3,
                                 .batch = 16,
                                 .report = {.out = nullptr}});
    const TrainResult result = trainer.Fit();
    EXPECT_EQ(result.rows, 12000u);
    EXPECT_EQ(result.points.size(), name == std::string("averaging") ? 1u : 3u);
    EXPECT_GT(result.accuracy, 0.88);
    EXPECT_LT(result.loss, 0.3);
  }
}

// Two workers become four, then one, in the middle of an epoch, by a user's own model and optimiser.
TEST_F(TrainerTest, EachRowIsUsedOnceAnEpochWhoeverJoinsAndLeaves) {
  for (const Strategy& strategy : std::vector<Strategy>{
           ParameterServerSgd{.push_every = 2, .lease_rows = 20},
           ParameterServerSgd{.consistency = Ssp(2), .push_every = 1, .lease_rows = 20},
           ParameterServerSgd{.consistency = Bsp(), .push_every = 1, .lease_rows = 20},
           DataParallel{},
       }) {
    SCOPED_TRACE(NameOf(strategy));
    const uint64_t rows = 1003;
    int calls = 0;
    bool were_four = false;
    Trainer<RowCounter<float>, CountUses> trainer({.model = {rows},
                                                   .data = NumberedRows(rows),
                                                   .strategy = strategy,
                                                   .scaling = {.num_cpus = 0},
                                                   .epochs = 3,
                                                   .batch = 5,
                                                   .segment_steps = 10,
                                                   .report = {.out = nullptr},
                                                   .observer = [&](TrainControl& control) {
                                                     if (++calls == 8) control.Resize(4);
                                                     if (calls < 16 || were_four) return;
                                                     were_four = control.workers() == 4;
                                                     if (were_four) return control.Resize(1);
                                                     std::this_thread::sleep_for(std::chrono::milliseconds(20));
                                                   }});
    const TrainResult result = trainer.Fit();
    EXPECT_TRUE(were_four) << calls << " reports";
    EXPECT_EQ(result.rows, 3 * rows);
    EXPECT_THAT(result.state.parameters.values<float>(), Each(3.0f));
    EXPECT_EQ(std::ranges::count(result.events, TrainEvent::kJoined, &TrainEvent::kind), 4);
    EXPECT_EQ(std::ranges::count(result.events, TrainEvent::kLeft, &TrainEvent::kind), 3);
  }
}

// ML.md: w <- w - eta * sum(|D_i|/|D|) grad_i.
TEST_F(TrainerTest, UnequalSharesAreOneProcess) {
  const Dataset data = TwoClasses(800, 8, 3);
  const auto train = [&](std::vector<double> shares, uint64_t batch) {
    Trainer<Mlp<double>> trainer({.model = {8, 16, 2},
                                  .data = data,
                                  .strategy = DataParallel{.shares = shares},
                                  .scaling = {.workers = shares.size(), .num_cpus = 0},
                                  .epochs = 100,
                                  .batch = batch,
                                  .rate = {.first = 0.5},
                                  .report = {.out = nullptr}});
    return trainer.Fit();
  };
  const TrainResult one = train({1}, 800), three = train({1, 2, 5}, 800 / 3 + 1);
  EXPECT_EQ(one.state.at, (TrainPosition{100, 0, 100}));
  EXPECT_EQ(three.state.at, one.state.at);
  double largest = 0;
  for (size_t i = 0; i < one.state.parameters.size(); ++i) {
    const double difference = one.state.parameters.values<double>()[i] - three.state.parameters.values<double>()[i];
    largest = std::max(largest, std::abs(difference));
  }
  EXPECT_LE(largest, 1e-12);
  EXPECT_GT(largest, 0);  // they are summed in another order
}

// Pieces and overlap change how a gradient is sent, not what comes out.
TEST_F(TrainerTest, BucketsAndOverlapGiveTheSameModel) {
  const Dataset data = TwoClasses(1000, 8, 3);
  std::vector<TrainResult> results;
  for (const DataParallel& strategy : {DataParallel{}, DataParallel{.bucket_bytes = 100, .overlap = true},
                                       DataParallel{.bucket_bytes = 64, .overlap = false}}) {
    Trainer<Mlp<double>> trainer({.model = {8, 16, 2},
                                  .data = data,
                                  .strategy = strategy,
                                  .epochs = 2,
                                  .batch = 50,
                                  .report = {.out = nullptr}});
    results.push_back(trainer.Fit());
  }
  for (size_t i = 0; i < results[0].state.parameters.size(); ++i) {
    for (const TrainResult& result : results) {
      ASSERT_NEAR(result.state.parameters.values<double>()[i], results[0].state.parameters.values<double>()[i], 1e-13);
    }
  }
}

TEST_F(TrainerTest, ANumberThatIsNotFiniteEndsTheTrainingInItsStep) {
  Dataset data = TwoClasses(1000, 8, 3);
  data.rows.mutable_values<float>()[8 * 705 + 3] = std::numeric_limits<float>::quiet_NaN();
  for (const char* name : {"allreduce", "local-sgd", "ps-async", "ps-bsp", "easgd", "averaging"}) {
    SCOPED_TRACE(name);
    Trainer<Mlp<float>> trainer({.model = {8, 4, 2},
                                 .data = data,
                                 .strategy = StrategyNamed(name),
                                 .epochs = 2,
                                 .batch = 50,
                                 .report = {.out = nullptr}});
    try {
      trainer.Fit();
      FAIL() << "no error";
    } catch (const DivergedError& error) {
      EXPECT_THAT(error.what(), HasSubstr("epoch 0, step"));
      EXPECT_THAT(error.what(), HasSubstr("rows [700, 750)"));
      EXPECT_THAT(error.what(), HasSubstr("worker"));
    }
  }
}

// Stopped after any step and resumed: the same numbers as without a stop, to the last bit.
TEST_F(TrainerTest, ResumesToTheSameBitsFromAnyStep) {
  const Dataset data = TwoClasses(700, 8, 3);
  for (const Strategy& strategy : std::vector<Strategy>{DataParallel{}, LocalSgd{.steps = 3}}) {
    const auto train = [&](const std::string& directory, uint64_t steps_max) {
      Trainer<Mlp<float>, Momentum> trainer({.model = {8, 4, 2},
                                             .data = data,
                                             .strategy = strategy,
                                             .epochs = 3,
                                             .batch = 16,
                                             .shuffle = true,
                                             .steps_max = steps_max,
                                             .checkpoint = {.directory = directory, .every_rows = 100},
                                             .report = {.out = nullptr}});
      return trainer.Fit();
    };
    const TrainResult whole = train("", 0);
    const uint32_t seed = std::random_device()();
    SCOPED_TRACE(testing::Message() << NameOf(strategy) << ", seed " << seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 4; ++round) {
      const TempDirectory directory;
      const uint64_t step = 1 + random() % (whole.state.at.step - 3);  // a round of LocalSgd ends after it
      const TrainResult part = train(directory.path(), step);
      EXPECT_LT(part.state.at, whole.state.at);
      EXPECT_GE(part.state.at.step, step);
      EXPECT_NE(part.state.Hash(), whole.state.Hash());
      const TrainResult rest = train(directory.path(), 0);
      EXPECT_EQ(rest.events.front().kind, TrainEvent::kResumed);
      EXPECT_EQ(rest.state.at, whole.state.at);
      EXPECT_EQ(rest.state.Hash(), whole.state.Hash()) << "stopped at " << part.state.at.ToString();
    }
  }
}

TEST_F(TrainerTest, ABulkSynchronousServerResumesToTheSameBitsFromTheEndsOfEpochs) {
  const Dataset data = TwoClasses(700, 8, 3);
  const auto train = [&]<class Opt>(const Opt& optimizer, const std::string& directory, uint64_t stop_after) {
    Trainer<Mlp<float>, Opt> trainer(
        {.model = {8, 4, 2},
         .data = data,
         .strategy = ParameterServerSgd{.consistency = Bsp(), .push_every = 2, .lease_rows = 48},
         .scaling = {.workers = 3, .num_cpus = 0},
         .epochs = 4,
         .batch = 16,
         .rate = {.first = 0.1, .last = 0.01},
         .optimizer = optimizer,
         .shuffle = true,
         .checkpoint = {.directory = directory},
         .report = {.out = nullptr},
         .observer = [&](TrainControl& control) {
           if (stop_after != 0 && control.at().epoch >= stop_after) control.Stop("enough");
         }});
    return trainer.Fit();
  };
  const auto check = [&](const auto& optimizer) {
    const TrainResult whole = train(optimizer, "", 0);
    EXPECT_EQ(whole.state.at.epoch, 4u);
    for (uint64_t stop_after = 1; stop_after <= 3; ++stop_after) {
      SCOPED_TRACE(stop_after);
      const TempDirectory directory;
      const TrainResult part = train(optimizer, directory.path(), stop_after);
      EXPECT_EQ(part.state.at.rows, 0u);
      EXPECT_EQ(part.state.at.epoch, stop_after);
      EXPECT_NE(part.state.Hash(), whole.state.Hash());
      const TrainResult rest = train(optimizer, directory.path(), 0);
      EXPECT_EQ(rest.events.front().kind, TrainEvent::kResumed);
      EXPECT_EQ(rest.rows, (4 - stop_after) * data.count());
      EXPECT_EQ(rest.state.at, whole.state.at);
      EXPECT_EQ(rest.state.Hash(), whole.state.Hash());
    }
  };
  check(Sgd());
  check(Momentum());
}

TEST_F(TrainerTest, AveragingResumesToTheSameBitsFromAnyMoment) {
  const Dataset data = TwoClasses(700, 8, 3);
  const auto train = [&](const std::string& directory, uint64_t steps_max, size_t parts = 3) {
    Trainer<Mlp<float>, Momentum> trainer({.model = {8, 4, 2},
                                           .data = data,
                                           .test = data,
                                           .strategy = ModelAveraging{.parts = parts},
                                           .scaling = {.workers = 2, .num_cpus = 0},
                                           .epochs = 5,
                                           .batch = 16,
                                           .shuffle = true,
                                           .steps_max = steps_max,
                                           .checkpoint = {.directory = directory, .every_rows = 200},
                                           .report = {.out = nullptr}});
    return trainer.Fit();
  };
  const TrainResult whole = train("", 0);
  EXPECT_EQ(whole.state.at.epoch, 5u);
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 4; ++round) {
    const TempDirectory directory;
    const TrainResult part = train(directory.path(), 1 + random() % (whole.state.at.step - 60));
    EXPECT_LT(part.state.at, whole.state.at);
    EXPECT_THROW(train(directory.path(), 0, 4), InvalidArgumentError);
    const TrainResult rest = train(directory.path(), 0);
    EXPECT_EQ(rest.events.front().kind, TrainEvent::kResumed);
    EXPECT_EQ(rest.rows + part.rows, whole.rows);
    EXPECT_EQ(rest.state.at, whole.state.at);
    EXPECT_EQ(rest.state.Hash(), whole.state.Hash()) << "stopped at " << part.state.at.ToString();
    const TrainResult again = train(directory.path(), 0);
    EXPECT_EQ(again.rows, 0u);
    EXPECT_EQ(again.state.Hash(), whole.state.Hash());
  }
}

// With a server, from wherever it was stopped: each row once.
TEST_F(TrainerTest, StrategiesWithAServerResume) {
  const uint64_t rows = 1003;
  for (const Strategy& strategy :
       std::vector<Strategy>{ParameterServerSgd{.push_every = 2, .lease_rows = 20},
                             ParameterServerSgd{.consistency = Bsp(), .push_every = 1, .lease_rows = 20}}) {
    SCOPED_TRACE(NameOf(strategy));
    const TempDirectory directory;
    TrainResult result;
    for (int run = 0; run < 3; ++run) {
      int calls = 0;
      Trainer<RowCounter<float>, CountUses> trainer({.model = {rows},
                                                     .data = NumberedRows(rows),
                                                     .strategy = strategy,
                                                     .epochs = 3,
                                                     .batch = 5,
                                                     .checkpoint = {.directory = directory.path()},
                                                     .report = {.out = nullptr},
                                                     .observer = [&](TrainControl& control) {
                                                       if (++calls == 57 && run < 2) control.Stop("enough for today");
                                                     }});
      result = trainer.Fit();
      if (run == 0) {
        EXPECT_EQ(result.events.back().kind, TrainEvent::kCheckpoint);
      }
    }
    EXPECT_EQ(result.state.at.epoch, 3u);
    EXPECT_THAT(result.state.parameters.values<float>(), Each(3.0f));
  }
}

// A driver that was killed before its first checkpoint has left a server's files behind.
TEST_F(TrainerTest, FilesOfAServerWithoutACheckpointAreNoObstacle) {
  const TempDirectory directory;
  const auto train = [&](bool resume) {
    Trainer<Mlp<float>, Momentum>({.model = {8, 4, 2},
                                   .data = TwoClasses(100, 8, 3),
                                   .strategy = ParameterServerSgd{},
                                   .checkpoint = {.directory = directory.path(), .resume = resume},
                                   .report = {.out = nullptr}})
        .Fit();
  };
  train(true);
  EXPECT_THROW(train(false), InvalidArgumentError) << "who does not want to go on should not lose what is there";
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    if (entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
  train(true);
}

TEST_F(TrainerTest, RefusesTheCheckpointOfAnotherModelOrStrategy) {
  const TempDirectory directory;
  const auto train = [&](int hidden, const char* strategy) {
    Trainer<Mlp<float>>({.model = {8, hidden, 2},
                         .data = TwoClasses(100, 8, 3),
                         .strategy = StrategyNamed(strategy),
                         .checkpoint = {.directory = directory.path()},
                         .report = {.out = nullptr}})
        .Fit();
  };
  train(4, "allreduce");
  EXPECT_THROW(train(5, "allreduce"), DataError);
  try {
    train(4, "ps-async");
    FAIL() << "no error";
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("strategy allreduce, not of ps-async"));
  }
}

TEST_F(TrainerTest, StopsEarlyAndWritesItsCurve) {
  const TempDirectory directory;
  const Dataset data = TwoClasses(500, 8, 3);
  const std::string csv = directory.path() + "/curve.csv";
  Trainer<Mlp<float>> trainer({.model = {8, 4, 2},
                               .data = data,
                               .test = data,
                               .epochs = 50,
                               .rate = {.first = 1e-9},
                               .report = {.out = nullptr,
                                          .csv = csv,
                                          .tensorboard = directory.path() + "/events",
                                          .early_stop = EarlyStop::Options{.patience = 2, .min_delta = 0.01}}});
  const TrainResult result = trainer.Fit();
  EXPECT_LE(result.state.at.epoch, 5u);
  ASSERT_FALSE(result.events.empty());
  EXPECT_EQ(result.events.back().kind, TrainEvent::kStopped);
  std::ifstream lines(csv);
  std::string line;
  size_t count = 0;
  while (std::getline(lines, line)) ++count;
  EXPECT_EQ(count, result.points.size() + 1);
  EXPECT_FALSE(std::filesystem::is_empty(directory.path() + "/events"));
}

// What behaves like a communicator of two, and takes as long for a piece as its size says.
class SlowLink {
 public:
  class Work {
   public:
    explicit Work(std::future<void> done = {}) : done_(std::move(done)) {}
    void Wait() {
      if (done_.valid()) done_.get();
    }

   private:
    std::future<void> done_;
  };

  explicit SlowLink(double seconds_per_value) : seconds_per_value_(seconds_per_value) {}
  void AllReduce(std::span<float> values) { AllReduceAsync(values).Wait(); }
  Work AllReduceAsync(std::span<float> values) {
    const auto takes = std::chrono::duration<double>(seconds_per_value_ * double(values.size()));
    auto done = std::async(std::launch::async, [this, takes] {
      const std::lock_guard lock(link_);
      std::this_thread::sleep_for(takes);
    });
    return Work(std::move(done));
  }

 private:
  const double seconds_per_value_;
  std::mutex link_;
};

// A model whose backward pass sleeps, a quarter of its time for each quarter of the gradient.
class SlowModel {
 public:
  using value_type = float;
  using BatchType = Batch<float>;
  static constexpr size_t kCount = 4000;
  static constexpr std::chrono::milliseconds kQuarter{10};

  SlowModel(int shape, int) : shape_(shape) {}
  int shape() const { return shape_; }
  size_t parameter_count() const { return kCount; }
  std::vector<ParameterPart> Layout() const { return {{"w", {kCount}, 0, kCount}}; }
  void Initialize(uint64_t, std::span<float> parameters) const { std::ranges::fill(parameters, 0.0f); }
  double Gradient(std::span<const float> parameters, const Batch<float>& batch, std::span<float> gradient) {
    return Gradient(parameters, batch, gradient, [](size_t, size_t) {});
  }
  template <class Ready>
  double Gradient(std::span<const float>, const Batch<float>&, std::span<float> gradient, Ready ready) {
    for (size_t end = kCount; end > 0; end -= kCount / 4) {
      std::this_thread::sleep_for(kQuarter);
      std::fill_n(gradient.begin() + int64_t(end - kCount / 4), kCount / 4, 1.0f);
      ready(end - kCount / 4, end);
    }
    return 1;
  }
  Score Evaluate(std::span<const float>, const Batch<float>&) { return {}; }

 private:
  int shape_;
};

// Communication and computation take the same time: with overlap a step takes less than 1/1.3 of what it takes without.
TEST_F(TrainerTest, OverlapHidesCommunication) {
  Stepper<SlowModel, Sgd> stepper({.shape = 1, .data = NumberedRows(1000), .batch = 10, .epochs = 1}, 20);
  const TrainState initial{Tensor(DType::kFloat32, {SlowModel::kCount}), Tensor(), {}};
  std::vector<float> buffer;
  const auto seconds_of = [&](bool overlap) {
    double least = 1e9;
    for (int round = 0; round < 3; ++round) {
      stepper.Adopt(initial);
      SlowLink link(4e-3 * double(SlowModel::kQuarter.count()) / SlowModel::kCount);
      SyncSegment segment;
      segment.member_rows = {10, 10};
      segment.mode = {.bucket_bytes = SlowModel::kCount / 4 * sizeof(float), .overlap = overlap};
      segment.rows_end = 60;
      SegmentReport report;
      const auto start = std::chrono::steady_clock::now();
      LockStep<SlowModel, Sgd, SlowLink>(stepper, link, segment, buffer).Run(&report);
      least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      EXPECT_EQ(report.rows, 30u);
    }
    return least;
  };
  const double without = seconds_of(false), with = seconds_of(true);
  EXPECT_GE(without / with, 1.3) << without << " s without, " << with << " s with overlap";
}

TEST_F(TrainerTest, MeasuresItsSpeedUp) {
  for (const char* name : {"allreduce", "ps-async"}) {
    SCOPED_TRACE(name);
    Trainer<Mlp<float>> trainer({.model = {8, 4, 2},
                                 .data = TwoClasses(2000, 8, 3),
                                 .strategy = StrategyNamed(name),
                                 .report = {.out = nullptr},
                                 .speedup_rounds = 2});
    const TrainResult result = trainer.Fit();
    ASSERT_TRUE(result.speedup);
    EXPECT_EQ(result.speedup->rounds, 2u);
    EXPECT_GT(result.speedup->ratio, 0);
    EXPECT_LE(result.speedup->low, result.speedup->ratio);
    EXPECT_EQ(result.rows, 2000u);  // the measurement is none of the training
  }
}

TEST_F(TrainerTest, RefusesOptionsThatMakeNoSense) {
  using Options = Trainer<Mlp<float>>::Options;
  const Dataset data = TwoClasses(10, 8, 3);
  EXPECT_THROW(Trainer<Mlp<float>>(Options{.model = {8, 4, 2}}), InvalidArgumentError);
  EXPECT_THROW(Trainer<Mlp<float>>(Options{.model = {8, 4, 2}, .data = data, .scaling = {.workers = 0}}),
               InvalidArgumentError);
  EXPECT_THROW(Trainer<Mlp<float>>(Options{.model = {8, 4, 2}, .data = data, .epochs = 0}), InvalidArgumentError);
  EXPECT_THROW(Trainer<Mlp<float>>(Options{.model = {8, 4, 2}, .data = data, .batch = 0}), InvalidArgumentError);
  Trainer<Mlp<double>> doubles({.model = {8, 4, 2}, .data = data, .strategy = ParameterServerSgd{}});
  EXPECT_THROW(doubles.Fit(), InvalidArgumentError);
  Trainer<Mlp<float>> other_columns({.model = {7, 4, 2}, .data = data, .report = {.out = nullptr}});
  EXPECT_THROW(other_columns.Fit(), TaskError);
}

TEST_F(TrainerTest, BulkSynchronousTrainingIsRepeatableToTheLastBit) {
  const Dataset data = TwoClasses(2000, 8, 1);
  std::vector<uint64_t> hashes;
  for (int round = 0; round < 3; ++round) {
    Trainer<Mlp<float>> trainer(
        {.model = {8, 4, 2},
         .data = data,
         .strategy = ParameterServerSgd{.consistency = Bsp(), .push_every = 2, .lease_rows = 64},
         .scaling = {.workers = 3, .num_cpus = 0},
         .epochs = 2,
         .batch = 16,
         .report = {.out = nullptr}});
    hashes.push_back(trainer.Fit().state.Hash());
  }
  EXPECT_THAT(hashes, Each(hashes.front()));
}

}  // namespace
}  // namespace manta::ml

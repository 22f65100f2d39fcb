// What users get wrong, across the parts of ml/: errors are typed, and name the option, file, row or column. What one
// part alone can get wrong (files that cannot be read, search spaces, trials) is under test beside it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "manta/manta.h"
#include "manta/ml/error.h"
#include "manta/ml/grid_searcher.h"
#include "manta/ml/leases.h"
#include "manta/ml/mlp.h"
#include "manta/ml/parameter_server.h"
#include "manta/ml/process_group.h"
#include "manta/ml/sparse_parameter_server.h"
#include "manta/ml/trainer.h"
#include "manta/ml/tuner.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kStrategies[] = {"allreduce", "local-sgd", "ps-async", "ps-ssp", "ps-bsp", "easgd", "averaging"};

class BadInput : public LocalTest {
 protected:
  BadInput() {
    std::string name = fs::temp_directory_path() / "bad_input_XXXXXX";
    directory_ = mkdtemp(name.data());
  }
  ~BadInput() override { fs::remove_all(directory_); }

  // Rows of 8 columns, whose label is whether the first is positive.
  static Dataset TwoClasses(size_t count) {
    std::vector<float> rows(count * 8);
    std::vector<uint8_t> labels(count);
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = float(int(i * 2654435761u % 2001) - 1000) / 1000;
    for (size_t i = 0; i < count; ++i) labels[i] = rows[i * 8] > 0;
    return Dataset::From(Tensor::From(std::move(rows), {int64_t(count), 8}), Tensor::From(std::move(labels)));
  }
  TrainOptions<Mlp<float>> Options(const Dataset& data, const char* strategy) const {
    TrainOptions<Mlp<float>> options;
    options.model = {8, 4, 2};
    options.data = data;
    options.strategy = StrategyNamed(strategy);
    options.batch = 10;
    options.report.out = nullptr;
    return options;
  }
  // What training throws, of that type.
  template <class ErrorType>
  static std::string Complaint(const TrainOptions<Mlp<float>>& options) {
    try {
      Trainer<Mlp<float>>(options).Fit();
    } catch (const ErrorType& error) {
      return error.what();
    } catch (const std::exception& error) {
      return std::string("another error: ") + error.what();
    }
    return "no error";
  }
  template <class Call>
  static std::string Refusal(const Call& call) {
    try {
      call();
    } catch (const InvalidArgumentError& error) {
      return error.what();
    }
    return "no error";
  }

  std::string directory_;
};

TEST_F(BadInput, ZeroWorkers) {
  for (const char* strategy : kStrategies) {
    auto options = Options(TwoClasses(100), strategy);
    options.scaling.workers = 0;
    EXPECT_THAT(Complaint<InvalidArgumentError>(options), AllOf(HasSubstr(strategy), HasSubstr("0 workers")));
  }
  std::vector<float> values(3);
  EXPECT_THAT(Refusal([&] { ParameterServer<>::Create(values, {.shards = 0}); }), HasSubstr("0 shards"));
  EXPECT_THAT(Refusal([] { SparseParameterServer<>::Create({.shards = 0}); }), HasSubstr("0 shards"));
  EXPECT_THAT(Refusal([] { ProcessGroup::Create({.members = 0}); }), HasSubstr("0 members"));
  EXPECT_THAT(Refusal([] {
                TrainByLeases<int>(
                    {.rows = 10, .rows_total = 10, .rows_per_lease = 5, .workers = 0},
                    [](const RowLease&) { return ObjectRef<int>(); }, [](const RowLease&, int) {});
              }),
              HasSubstr("0 workers"));
}

TEST_F(BadInput, NoRowsAtAll) {
  const Dataset none = TwoClasses(10).Slice(4, 4);
  for (const char* strategy : kStrategies) {
    EXPECT_THAT(Complaint<InvalidArgumentError>(Options(none, strategy)), HasSubstr("data has no rows"));
  }
}

// More workers than rows: some have nothing to do, and the others train. BSP on a server gives each a part of its own.
TEST_F(BadInput, AnEmptyShard) {
  for (const char* strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    auto options = Options(TwoClasses(2), strategy);
    options.scaling = {.workers = 4, .num_cpus = 0};
    options.epochs = 3;
    if (NameOf(options.strategy) == "ps-bsp") {
      EXPECT_THAT(Complaint<InvalidArgumentError>(options),
                  HasSubstr("worker 1 of 4 gets none of 2 rows: its shard is empty"));
      continue;
    }
    const TrainResult result = Trainer<Mlp<float>>(options).Fit();
    EXPECT_EQ(result.rows, 2u * 3);
    for (const float w : result.state.parameters.values<float>()) EXPECT_TRUE(std::isfinite(w));
  }
  EXPECT_THAT(Refusal([] {
                SplitRows(4, std::vector<double>{1, 1e-9});
              }),
              HasSubstr("worker 1 of 2 gets none of 4 rows: its shard is empty"));
}

TEST_F(BadInput, LabelsOutOfRange) {
  Dataset data = TwoClasses(100);
  data.labels.mutable_values<uint8_t>()[57] = 9;
  for (const char* strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    EXPECT_THAT(Complaint<TaskError>(Options(data, strategy)),
                AllOf(HasSubstr("row 7 of the batch has label 9, the model has 2 classes")));
  }
}

TEST_F(BadInput, ShapesThatDoNotMatch) {
  for (const char* strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    auto options = Options(TwoClasses(100), strategy);
    options.model.inputs = 7;
    EXPECT_THAT(Complaint<TaskError>(options), HasSubstr("Mlp: rows has 80 values, the model 70"));
  }
}

TEST_F(BadInput, ACheckpointOfAnotherModel) {
  for (const char* strategy : kStrategies) {
    SCOPED_TRACE(strategy);
    auto options = Options(TwoClasses(100), strategy);
    options.checkpoint.directory = directory_ + "/" + strategy;
    Trainer<Mlp<float>>(options).Fit();
    options.model.hidden = 5;
    EXPECT_THAT(Complaint<DataError>(options),
                AllOf(HasSubstr(options.checkpoint.directory + "/"), HasSubstr("is of another model"),
                      HasSubstr("float32 of {4, 8}, the model's float32 of {5, 8}")));
  }
}

// The newest is cut short: the one before it counts. All are: an error, and no beginning from nothing.
TEST_F(BadInput, ACheckpointCutShort) {
  auto options = Options(TwoClasses(100), "allreduce");
  options.checkpoint.directory = directory_ + "/cut";
  options.epochs = 2;
  Trainer<Mlp<float>>(options).Fit();
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(options.checkpoint.directory)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_GE(files.size(), 2u);
  fs::resize_file(files.back(), fs::file_size(files.back()) / 2);
  options.epochs = 3;
  const TrainResult result = Trainer<Mlp<float>>(options).Fit();
  const auto resumed = std::ranges::find(result.events, TrainEvent::kResumed, &TrainEvent::kind);
  ASSERT_NE(resumed, result.events.end());
  EXPECT_EQ(resumed->text, files[files.size() - 2].string());
  for (const auto& entry : fs::directory_iterator(options.checkpoint.directory)) {
    fs::resize_file(entry.path(), entry.file_size() / 2);
  }
  EXPECT_THAT(Complaint<DataError>(options), AllOf(HasSubstr(options.checkpoint.directory), HasSubstr("cut short")));
}

void Nothing(Trial&) {}

TEST_F(BadInput, AGridTooLargeToCount) {
  SearchSpace space;
  for (int i = 0; i < 70; ++i) space.Grid("p" + std::to_string(i), {int64_t{1}, int64_t{2}});
  TuneConfig tune{.metric = "loss", .num_samples = -1};
  tune.searcher = std::make_shared<Grid>();
  EXPECT_THAT(Refusal([&] { Tuner<&Nothing>(space, tune, {.name = "grid", .storage = directory_}); }),
              AllOf(HasSubstr("parameter 'p62'"), HasSubstr("too many to count")));
  EXPECT_TRUE(fs::is_empty(directory_));
}

}  // namespace
}  // namespace manta::ml

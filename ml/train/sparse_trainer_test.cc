// Sparse rows are trained on as the same rows are that are dense.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "manta/ml/libsvm.h"
#include "manta/ml/sparse_logistic.h"
#include "manta/ml/trainer.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kColumns = 30;

class SparseTrainerTest : public LocalTest {
 protected:
  ~SparseTrainerTest() override { std::filesystem::remove(path_); }

  // Rows of some three elements, in LIBSVM's format; a few have none.
  SparseDataset LoadRows(size_t count, uint32_t seed, const LibsvmOptions& options = {.columns = kColumns}) {
    std::mt19937 random(seed);
    {
      std::ofstream file(path_);
      for (size_t row = 0; row < count; ++row) {
        const int label = random() % 2 == 0 ? -1 : 1;
        file << label;
        for (uint64_t column = 1; column <= kColumns; ++column) {
          // Columns of odd numbers are likelier in rows of label 1.
          if (random() % 40 < (column % 2 == (label == 1 ? 1u : 0u) ? 6u : 2u)) {
            file << " " << column << ":" << 0.5 + double(random() % 8) / 8;
          }
        }
        file << "\n";
      }
    }
    return LoadLibsvm(path_, options);
  }

  static Dataset Dense(const SparseDataset& sparse) {
    std::vector<float> rows(sparse.count() * kColumns);
    const CsrMatrix::Range all = sparse.matrix.Rows(0, sparse.count());
    for (size_t row = 0; row < sparse.count(); ++row) {
      for (uint64_t k = all.offsets[row]; k < all.offsets[row + 1]; ++k) {
        rows[row * kColumns + all.indices[k]] = all.values[k];
      }
    }
    return Dataset::From(Tensor::From(std::move(rows), {int64_t(sparse.count()), int64_t(kColumns)}), sparse.labels);
  }

  template <class M>
  static TrainResult Train(typename Trainer<M>::Options options, const Strategy& strategy, bool shuffle) {
    options.model = {.inputs = int(kColumns)};
    options.strategy = strategy;
    options.scaling = {.workers = 3, .num_cpus = 0};
    options.epochs = 3;
    options.batch = 20;
    options.rate = {.first = 0.5, .last = 0.1};
    options.shuffle = shuffle;
    options.report = {.out = nullptr};
    return Trainer<M>(std::move(options)).Fit();
  }

 private:
  const std::string path_ = ::testing::TempDir() + "sparse_rows_" + std::to_string(std::random_device()());
};

TEST_F(SparseTrainerTest, SynchronousStrategiesGiveTheModelOfDenseRows) {
  const SparseDataset train = LoadRows(3000, 1), test = LoadRows(1000, 2);
  const Dataset dense_train = Dense(train), dense_test = Dense(test);
  for (const Strategy& strategy :
       std::vector<Strategy>{DataParallel{}, LocalSgd{.steps = 4}, ModelAveraging{},
                             ParameterServerSgd{.consistency = Bsp(), .push_every = 2, .lease_rows = 200}}) {
    for (const bool shuffle : {false, true}) {
      SCOPED_TRACE(NameOf(strategy) + (shuffle ? ", shuffled" : ""));
      const TrainResult sparse =
          Train<SparseLogisticRegression<float>>({.data = train, .test = test}, strategy, shuffle);
      const TrainResult dense =
          Train<LogisticRegression<float>>({.data = dense_train, .test = dense_test}, strategy, shuffle);
      EXPECT_EQ(sparse.rows, 9000u);
      EXPECT_GT(sparse.accuracy, 0.75);
      EXPECT_NEAR(sparse.loss, dense.loss, 1e-5);
      ASSERT_EQ(sparse.state.parameters.size(), kColumns + 1);
      for (size_t i = 0; i <= kColumns; ++i) {
        ASSERT_NEAR(sparse.state.parameters.values<float>()[i], dense.state.parameters.values<float>()[i], 1e-4) << i;
      }
    }
  }
}

TEST_F(SparseTrainerTest, AsynchronousStrategiesTrain) {
  const SparseDataset train = LoadRows(3000, 1), test = LoadRows(1000, 2);
  for (const Strategy& strategy : std::vector<Strategy>{
           ParameterServerSgd{.push_every = 2, .lease_rows = 200},
           ParameterServerSgd{.consistency = Ssp(4), .push_every = 2, .lease_rows = 200}, Easgd{.lease_rows = 200}}) {
    SCOPED_TRACE(NameOf(strategy));
    const TrainResult result =
        Train<SparseLogisticRegression<float>>({.data = train, .test = test}, strategy, /*shuffle=*/true);
    EXPECT_EQ(result.rows, 9000u);
    EXPECT_GT(result.accuracy, 0.75);
  }
}

TEST_F(SparseTrainerTest, DataThatDoesNotFitIsNamed) {
  const auto error_of = [&](const SparseDataset& data) -> std::string {
    try {
      Train<SparseLogisticRegression<float>>({.data = data}, DataParallel{}, false);
    } catch (const TaskError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(error_of({CsrMatrix::From({0, 1, 2}, {3, kColumns}, {1, 1}, kColumns + 1),
                        Tensor::From(std::vector<uint8_t>{0, 1})}),
              AllOf(HasSubstr("column 30"), HasSubstr("the model has 30")));
  EXPECT_THAT(error_of(LoadRows(100, 1, {.columns = kColumns, .real_targets = true})), HasSubstr("uint8"));
  EXPECT_THROW(Train<SparseLogisticRegression<float>>({}, DataParallel{}, false), InvalidArgumentError);
}

TEST(SparseRowSource, HasEachRowOnceInAnOrderOfEachEpoch) {
  std::vector<uint64_t> offsets{0};
  std::vector<uint32_t> indices;
  std::vector<uint8_t> labels;
  for (uint32_t row = 0; row < 100; ++row) {
    for (uint32_t k = 0; k < row % 4; ++k) indices.push_back(row + k);
    offsets.push_back(indices.size());
    labels.push_back(uint8_t(row));
  }
  const std::vector<float> values(indices.begin(), indices.end());
  const SparseDataset data{CsrMatrix::From(offsets, indices, values, 200), Tensor::From(labels)};
  RowSource<SparseBatch> shuffled(data, 7), in_order(data, std::nullopt);
  std::vector<uint8_t> before;
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<uint8_t> order;
    std::vector<int> used(100);
    for (uint64_t begin = 0; begin < 100; begin += 25) {
      const SparseBatch batch = shuffled.Rows(epoch, begin, begin + 25);
      ASSERT_EQ(batch.count(), 25u);
      for (size_t i = 0; i < 25; ++i) {
        const uint64_t row = batch.labels[i];
        ++used[row];
        order.push_back(uint8_t(row));
        ASSERT_EQ(batch.offsets[i + 1] - batch.offsets[i], row % 4);
        for (uint64_t k = batch.offsets[i]; k < batch.offsets[i + 1]; ++k) {
          ASSERT_EQ(batch.indices[k], row + (k - batch.offsets[i]));
          ASSERT_EQ(batch.values[k], float(batch.indices[k]));
        }
      }
    }
    EXPECT_THAT(used, ::testing::Each(1));
    EXPECT_NE(order, before);
    before = order;
    const SparseBatch second = in_order.Rows(epoch, 25, 50);
    EXPECT_EQ(second.indices.data(), data.matrix.indices.values<uint32_t>().data()) << "they were copied";
    EXPECT_EQ(second.labels[0], 25);
  }
  EXPECT_THROW(in_order.Rows(0, 50, 101), InvalidArgumentError);
  EXPECT_THROW(shuffled.Rows(0, 51, 50), InvalidArgumentError);
}

}  // namespace
}  // namespace manta::ml

// The Trainer on a9a, whose rows are sparse: by every strategy, and one-shot averaging beside one model of all rows.
#include <gtest/gtest.h>

#include "manta/ml/libsvm.h"
#include "manta/ml/metrics.h"
#include "manta/ml/sparse_logistic.h"
#include "manta/ml/trainer.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

constexpr uint64_t kColumns = 123;

class A9aTrainer : public LocalTest {
 protected:
  void SetUp() override {
    LocalTest::SetUp();
    train_ = Load("a9a");
    test_ = Load("a9a.t");
  }

  // Of the test set, after a training.
  double Auc(const Strategy& strategy, size_t workers, uint64_t epochs) const {
    using Model = SparseLogisticRegression<float>;
    const LinearShape shape{.inputs = int(kColumns)};
    Trainer<Model> trainer({.model = shape,
                            .data = train_,
                            .strategy = strategy,
                            .scaling = {.workers = workers, .num_cpus = 0},
                            .epochs = epochs,
                            .batch = 16,
                            .rate = {.first = 0.1, .last = 0.01},
                            .report = {.out = nullptr}});
    const TrainResult result = trainer.Fit();
    const SparseBatch rows = RowSource<SparseBatch>::InOrder(test_).Rows(0, 0, test_.count());
    std::vector<float> scores(test_.count());
    Model(shape, 1).Predict(result.state.parameters.values<float>(), rows, std::span<float>(scores));
    return ml::Auc(std::span<const float>(scores), rows.labels);
  }

 private:
  static SparseDataset Load(const std::string& name) {
    return LoadLibsvm(std::string(MANTA_DATA) + "/" + name, {.columns = kColumns, .indices = LibsvmIndices::kFromOne});
  }

  SparseDataset train_;
  SparseDataset test_;
};

TEST_F(A9aTrainer, OneShotAveragingIsAsGoodAsPooledTraining) {
  // Each of the eight models takes as many steps as the pooled one.
  const double pooled = Auc(DataParallel{}, 1, 5), averaged = Auc(ModelAveraging{.parts = 8}, 2, 8 * 5);
  EXPECT_GE(pooled, 0.90);
  EXPECT_NEAR(averaged, pooled, 0.002);
}

TEST_F(A9aTrainer, EveryStrategyLearns) {
  for (const Strategy& strategy : std::vector<Strategy>{DataParallel{}, LocalSgd{}, ParameterServerSgd{},
                                                        ParameterServerSgd{.consistency = Bsp()}, Easgd{}}) {
    EXPECT_GE(Auc(strategy, 2, 5), 0.90) << NameOf(strategy);
  }
}

}  // namespace
}  // namespace manta::ml

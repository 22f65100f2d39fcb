// StratifiedFolds, and cross-validated logistic regression on iris, against scikit-learn.
#include "manta/ml/folds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "manta/error.h"
#include "manta/ml/iris.h"
#include "manta/ml/lbfgs.h"
#include "manta/ml/logistic.h"
#include "manta/ml/softmax.h"
#include "ml/model/golden.h"

namespace manta::ml {
namespace {

constexpr uint32_t kFolds = 5;
constexpr size_t kColumns = 4;

class FoldsGolden : public ::testing::Test {
 protected:
  const Golden golden_{MANTA_GOLDEN "/logistic.txt"};
};

TEST_F(FoldsGolden, AreScikitLearns) {
  const std::vector<double>& labels = golden_.At("folds.labels", 0);
  const std::vector<uint32_t> folds = StratifiedFolds(std::vector<uint8_t>(labels.begin(), labels.end()), 4);
  EXPECT_EQ(std::vector<double>(folds.begin(), folds.end()), golden_.At("folds.of", 0));
}

TEST(StratifiedFolds, RefuseClassesWithTooFewRows) {
  const auto message = [](std::vector<uint8_t> labels, uint32_t folds) -> std::string {
    try {
      StratifiedFolds(labels, folds);
    } catch (const InvalidArgumentError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({0, 0, 1, 0, 1}, 3), "StratifiedFolds: class 1 has 2 rows for 3 folds");
  EXPECT_EQ(message({0, 0}, 1), "StratifiedFolds: 1 folds, at least 2");
  EXPECT_EQ(message({}, 2), "no error");
}

// The rows of iris in which `test` says whether they are in a fold, standardised by those that are not.
struct Split {
  Split(const Dataset& iris, const std::vector<uint8_t>& labels, const std::vector<uint32_t>& fold, uint32_t k) {
    const auto values = iris.rows.values<float>();
    for (size_t j = 0; j < kColumns; ++j) {
      double sum = 0, squares = 0, n = 0;
      for (size_t i = 0; i < labels.size(); ++i) {
        if (fold[i] == k) continue;
        const double value = values[i * kColumns + j];
        sum += value, squares += value * value, n += 1;
      }
      mean[j] = sum / n;
      deviation[j] = std::sqrt(squares / n - mean[j] * mean[j]);
    }
    for (size_t i = 0; i < labels.size(); ++i) {
      auto& [rows, own] = fold[i] == k ? test : train;
      for (size_t j = 0; j < kColumns; ++j) rows.push_back((values[i * kColumns + j] - mean[j]) / deviation[j]);
      own.push_back(labels[i]);
    }
  }

  struct Part {
    std::vector<double> rows;
    std::vector<uint8_t> labels;
    Batch<double> batch() const { return {rows, labels}; }
  };
  Part train, test;
  double mean[kColumns], deviation[kColumns];
};

// Rows predicted right in each fold; make(l2, rows) makes the model.
template <typename Make>
std::vector<double> RightInFolds(const std::vector<uint8_t>& labels, const Make& make) {
  const Dataset iris = LoadIris().data;
  const std::vector<uint32_t> fold = StratifiedFolds(labels, kFolds);
  std::vector<double> right;
  for (uint32_t k = 0; k < kFolds; ++k) {
    const Split split(iris, labels, fold, k);
    const size_t rows = split.train.labels.size();
    auto model = make(1.0 / double(rows), int(rows));
    std::vector<double> parameters(model.parameter_count());
    const LbfgsResult result = MinimizeByLbfgs(
        [&](auto at, auto gradient) { return model.Gradient(at, split.train.batch(), gradient); }, parameters);
    EXPECT_TRUE(result.converged) << "fold " << k << ", gradient " << result.gradient_max;
    right.push_back(double(model.Evaluate(parameters, split.test.batch()).correct));
  }
  return right;
}

TEST_F(FoldsGolden, LogisticRegressionOnIrisIsScikitLearnsToARow) {
  const Dataset iris = LoadIris().data;
  const auto labels = iris.labels.values<uint8_t>();
  std::vector<uint8_t> classes(labels.begin(), labels.end()), binary(labels.size());
  std::ranges::transform(classes, binary.begin(), [](uint8_t label) { return uint8_t(label == 2); });
  const std::vector<double> softmax = RightInFolds(classes, [](double l2, int rows) {
    return SoftmaxRegression<double>({.inputs = kColumns, .classes = 3, .l2 = l2}, rows);
  });
  const std::vector<double> logistic = RightInFolds(
      binary, [](double l2, int rows) { return LogisticRegression<double>({.inputs = kColumns, .l2 = l2}, rows); });
  for (size_t k = 0; k < kFolds; ++k) {
    EXPECT_NEAR(softmax[k], golden_.At("iris.softmax.right", 0)[k], 1) << "fold " << k;
    EXPECT_NEAR(logistic[k], golden_.At("iris.binary.right", 0)[k], 1) << "fold " << k;
  }
  const auto sum = [](const std::vector<double>& right) { return std::accumulate(right.begin(), right.end(), 0.0); };
  EXPECT_NEAR(sum(softmax), sum(golden_.At("iris.softmax.right", 0)), 1);
  EXPECT_NEAR(sum(logistic), sum(golden_.At("iris.binary.right", 0)), 1);
}

}  // namespace
}  // namespace manta::ml

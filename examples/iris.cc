// Tells iris flowers apart by logistic regression, cross-validated: each of five folds is a task that trains on the
// other four, all of them at the same time. Draws the learning curve, and writes it to iris.csv (--csv=PATH).
//
// Prints:
//   setosa, versicolor or virginica:  144 of 150 right, by fold 29 30 28 27 30
//   virginica or not:                 143 of 150 right, by fold 29 29 30 26 29
#include <manta/manta.h>
#include <manta/ml/adam.h>
#include <manta/ml/batch_order.h>
#include <manta/ml/divergence.h>
#include <manta/ml/folds.h>
#include <manta/ml/iris.h>
#include <manta/ml/logistic.h>
#include <manta/ml/softmax.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "examples/flags.h"

namespace ml = manta::ml;

constexpr uint32_t kFolds = 5, kEpochs = 60, kColumns = 4;

// What a task finds out about its fold.
struct Curve {
  std::vector<double> train, test;  // mean loss after each epoch
  uint64_t right = 0;               // of the fold's rows, at the end

  template <class Archive>
  void serialize(Archive& archive) {
    archive(train, test, right);
  }
};

// The rows that are in fold k, or those that are not; columns have mean 0 and deviation 1 in the latter.
struct Part {
  std::vector<float> rows;
  std::vector<uint8_t> labels;
  ml::Batch<float> batch() const { return {rows, labels}; }
};
void Split(const ml::Dataset& data, const std::vector<uint32_t>& fold, uint32_t k, Part* train, Part* test) {
  const auto [rows, labels] = data.Rows(0, data.count());
  for (size_t i = 0; i < labels.size(); ++i) {
    Part* part = fold[i] == k ? test : train;
    part->rows.insert(part->rows.end(), rows.begin() + i * kColumns, rows.begin() + (i + 1) * kColumns);
    part->labels.push_back(labels[i]);
  }
  for (size_t j = 0; j < kColumns; ++j) {
    double sum = 0, squares = 0;
    for (size_t i = j; i < train->rows.size(); i += kColumns)
      sum += train->rows[i], squares += train->rows[i] * train->rows[i];
    const double n = double(train->labels.size()), mean = sum / n, deviation = std::sqrt(squares / n - mean * mean);
    for (Part* part : {train, test})
      for (size_t i = j; i < part->rows.size(); i += kColumns)
        part->rows[i] = float((part->rows[i] - mean) / deviation);
  }
}

template <typename Model>
Curve TrainFold(const ml::Dataset& data, const std::vector<uint32_t>& fold, uint32_t k) {
  Part train, test;
  Split(data, fold, k, &train, &test);
  Model model = [] {
    if constexpr (std::is_same_v<Model, ml::SoftmaxRegression<float>>)
      return Model({.inputs = kColumns, .classes = 3, .l2 = 0.01}, 16);
    else
      return Model({.inputs = kColumns, .l2 = 0.01}, 16);
  }();
  const ml::Adam adam;
  std::vector<float> parameters(model.parameter_count()), gradient(parameters.size());
  std::vector<float> slots(adam.kSlots * parameters.size());
  model.Initialize(1, parameters);
  ml::BatchOrder order({.rows = train.labels.size(), .rows_per_batch = 16, .seed = k});
  ml::RowGather<float> gather;
  Curve curve;
  for (uint64_t epoch = 0; epoch < kEpochs; ++epoch) {
    order.Begin(epoch);
    for (uint64_t b = 0; b < order.batch_count(); ++b) {
      const auto batch = gather(train.rows, train.labels, order.Rows(b));
      const double loss = model.Gradient(parameters, batch, gradient);
      ml::CheckFinite<float>(model, {epoch, b, b * 16, b * 16 + batch.count()}, loss, parameters, gradient, batch.rows);
      adam.Step<float>({epoch * order.batch_count() + b + 1, 0.03}, parameters, gradient, slots, parameters);
    }
    curve.train.push_back(model.Evaluate(parameters, train.batch()).loss);
    curve.test.push_back(model.Evaluate(parameters, test.batch()).loss);
  }
  curve.right = model.Evaluate(parameters, test.batch()).correct;
  return curve;
}

// The mean curve over all folds, from tasks that run at the same time.
template <typename Model>
Curve CrossValidate(const char* question, const ml::Dataset& data) {
  const std::vector<uint32_t> fold = ml::StratifiedFolds(data.labels.values<uint8_t>(), kFolds);
  std::vector<manta::ObjectRef<Curve>> refs;
  for (uint32_t k = 0; k < kFolds; ++k) refs.push_back(manta::Task<&TrainFold<Model>>().Remote(data, fold, k));
  Curve mean{std::vector<double>(kEpochs), std::vector<double>(kEpochs)};
  std::string each;
  for (const Curve& curve : manta::Get(refs)) {
    for (size_t i = 0; i < kEpochs; ++i)
      mean.train[i] += curve.train[i] / kFolds, mean.test[i] += curve.test[i] / kFolds;
    mean.right += curve.right;
    each += std::to_string(curve.right) + ' ';
  }
  std::printf("%-33s %3d of %zu right, by fold %s\n", question, int(mean.right), data.count(), each.c_str());
  return mean;
}

void Plot(const Curve& curve) {
  constexpr int kLines = 14;
  const double top = std::max(curve.train.front(), curve.test.front()), low = std::ranges::min(curve.train);
  std::printf("loss by epoch: * of the rows trained on, o of those tested\n");
  for (int line = kLines; line >= 0; --line) {
    const auto here = [&](double loss) { return int((loss - low) / (top - low) * kLines) == line; };
    std::string text;
    for (size_t i = 0; i < kEpochs; ++i) text += here(curve.train[i]) ? '*' : here(curve.test[i]) ? 'o' : ' ';
    std::printf("%5.3f |%s\n", low + (top - low) * line / kLines, text.c_str());
  }
  std::printf("      +%s\n", std::string(kEpochs, '-').c_str());
}

void Run(const std::string& path) {
  const ml::Dataset iris = ml::LoadIris().data;
  std::vector<uint8_t> virginica;
  for (uint8_t label : iris.labels.values<uint8_t>()) virginica.push_back(label == 2);

  const Curve curve = CrossValidate<ml::SoftmaxRegression<float>>("setosa, versicolor or virginica:", iris);
  CrossValidate<ml::LogisticRegression<float>>("virginica or not:", {iris.rows, manta::Tensor::From(virginica)});
  Plot(curve);
  std::ofstream csv(path);
  csv << "epoch,train_loss,test_loss\n";
  for (size_t i = 0; i < kEpochs; ++i) csv << i + 1 << ',' << curve.train[i] << ',' << curve.test[i] << '\n';
  if (!csv.flush()) throw std::runtime_error(path + " cannot be written");
}

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  try {
    const Flags flags(argc, argv, "--csv=iris.csv");
    if (!flags.help()) Run(flags["--csv"]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "iris: %s\n", error.what()), 1;
  }
}

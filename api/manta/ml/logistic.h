// LogisticRegression tells two classes apart: p(label 1) = 1 / (1 + exp(-(x w + b))), of dense or of sparse rows:
//
//   loss = mean over the batch of -log p(label)  + l2 / 2 |w|^2.
//
// liblinear's and scikit-learn's C is l2 = 1 / (C * rows).
#ifndef MANTA_ML_LOGISTIC_H_
#define MANTA_ML_LOGISTIC_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "manta/ml/eigen.h"
#include "manta/ml/linear.h"
#include "manta/ml/loss.h"
#include "manta/ml/model.h"

namespace manta::ml {

// Ownership:  owns its work space, not the parameters: weight, one per column | bias.
// Threads:    externally synchronised; one object per thread.
// Errors:     see Model; labels are 0 and 1.
template <typename Scalar>
class LogisticRegression : public internal::LinearModel<Scalar> {
  using Base = internal::LinearModel<Scalar>;

 public:
  using BatchType = Batch<Scalar>;
  using Base::parameter_count;

  // `batch_max`: rows that one call of Gradient may have. InvalidArgumentError: not positive.
  LogisticRegression(const LinearShape& shape, int batch_max) : Base(kName, shape, batch_max) {}

  double Gradient(std::span<const Scalar> parameters, const Batch<Scalar>& batch, std::span<Scalar> gradient) {
    CheckBatch(batch.count(), gradient.size());
    Forward(parameters, batch);
    const double loss = internal::LogLossInPlace(Logits(batch.count()).array(), batch.labels);
    internal::LinearRows<Scalar>(shape_, batch.rows, batch.count()).Backward(Logits(batch.count()), gradient);
    return loss + internal::AddPenalty(shape_, parameters, gradient);
  }

  double Gradient(std::span<const Scalar> parameters, const SparseBatch& batch, std::span<Scalar> gradient) {
    CheckBatch(batch.count(), gradient.size());
    Forward(parameters, batch);
    const double loss = Backward(batch, gradient);
    if (shape_.intercept) gradient.back() = Logits(batch.count()).sum();
    return loss + internal::AddPenalty(shape_, parameters, gradient);
  }

  // The same for a batch that BatchColumns has renumbered: `weights` and `gradient` have one element for each of its
  // columns, whatever the shape says; no intercept, no penalty.
  double SparseGradient(std::span<const Scalar> weights, const SparseBatch& batch, std::span<Scalar> gradient) {
    internal::RequireSize(kName, "gradient", gradient.size(), weights.size());
    CheckBatch(batch.count(), parameter_count());
    internal::RequireLabels(kName, batch.labels, 2);
    internal::RequireSparse(kName, batch, weights.size());
    SparseLogits(weights, Scalar(0), batch, Logits(batch.count()));
    return Backward(batch, gradient);
  }

  Score Evaluate(std::span<const Scalar> parameters, const Batch<Scalar>& batch) {
    const size_t inputs = size_t(shape_.inputs);
    internal::RequireSize(kName, "rows", batch.rows.size(), batch.count() * inputs);
    return EvaluateParts(parameters, batch.labels, [&](size_t begin, size_t n) {
      return Batch<Scalar>{batch.rows.subspan(begin * inputs, n * inputs), batch.labels.subspan(begin, n)};
    });
  }

  Score Evaluate(std::span<const Scalar> parameters, const SparseBatch& batch) {
    internal::RequireSparse(kName, batch, size_t(shape_.inputs));
    return EvaluateParts(parameters, batch.labels, [&](size_t begin, size_t n) {
      return SparseBatch{batch.offsets.subspan(begin, n + 1), batch.indices, batch.values,
                         batch.labels.subspan(begin, n)};
    });
  }

  // p(label 1) for the rows of `batch`, whose labels are not looked at, except for how many they are.
  template <typename B>
  void Predict(std::span<const Scalar> parameters, const B& batch, std::span<Scalar> out) const {
    internal::RequireSize(kName, "out", out.size(), batch.count());
    ComputeLogits(parameters, batch, Eigen::Map<Vector>(out.data(), Eigen::Index(out.size())));
    for (Scalar& p : out) p = Sigmoid(p);
  }

 private:
  using Vector = typename Base::Vector;
  using Base::CheckBatch;
  using Base::outputs_;
  using Base::shape_;
  static constexpr const char* kName = "LogisticRegression";

  auto Logits(size_t count) { return Base::Outputs(count); }

  // Logits of the batch, which is checked.
  template <typename B>
  void Forward(std::span<const Scalar> parameters, const B& batch) {
    internal::RequireLabels(kName, batch.labels, 2);
    ComputeLogits(parameters, batch, Logits(batch.count()));
  }

  template <typename Out>
  void ComputeLogits(std::span<const Scalar> parameters, const Batch<Scalar>& batch, Out out) const {
    Base::ComputeOutputs(parameters, batch.rows, batch.count(), out);
  }
  template <typename Out>
  void ComputeLogits(std::span<const Scalar> parameters, const SparseBatch& batch, Out out) const {
    internal::RequireSize(kName, "parameters", parameters.size(), parameter_count());
    internal::RequireSparse(kName, batch, size_t(shape_.inputs));
    SparseLogits(parameters, shape_.intercept ? parameters.back() : Scalar(0), batch, out);
  }
  template <typename Out>
  static void SparseLogits(std::span<const Scalar> weights, Scalar bias, const SparseBatch& batch, Out out) {
    for (size_t i = 0; i < batch.count(); ++i) {
      Scalar sum = bias;
      for (uint64_t k = batch.offsets[i]; k < batch.offsets[i + 1]; ++k) {
        sum += weights[batch.indices[k]] * Scalar(batch.values[k]);
      }
      out[Eigen::Index(i)] = sum;
    }
  }

  // Turns logits into d loss / d logits, and writes d loss / d weights; returns the loss.
  double Backward(const SparseBatch& batch, std::span<Scalar> gradient) {
    const double loss = internal::LogLossInPlace(Logits(batch.count()).array(), batch.labels);
    std::ranges::fill(gradient, Scalar(0));
    for (size_t i = 0; i < batch.count(); ++i) {
      const Scalar delta = outputs_[Eigen::Index(i)];
      for (uint64_t k = batch.offsets[i]; k < batch.offsets[i + 1]; ++k) {
        gradient[batch.indices[k]] += delta * Scalar(batch.values[k]);
      }
    }
    return loss;
  }

  template <typename Part>
  Score EvaluateParts(std::span<const Scalar> parameters, std::span<const uint8_t> labels, const Part& part) {
    Score score{0, 0, labels.size()};
    const size_t step = Base::batch_max();
    for (size_t begin = 0; begin < labels.size(); begin += step) {
      const size_t n = std::min(step, labels.size() - begin);
      const std::span<const uint8_t> own = labels.subspan(begin, n);
      Forward(parameters, part(begin, n));
      for (size_t i = 0; i < n; ++i) score.correct += (outputs_[Eigen::Index(i)] > 0) == (own[i] == 1);
      score.loss += double(n) / double(labels.size()) * internal::LogLossInPlace(Logits(n).array(), own);
    }
    return score;
  }
};

static_assert(Model<LogisticRegression<float>> && Model<LogisticRegression<double>>);
static_assert(Model<LogisticRegression<float>, SparseBatch> && Model<LogisticRegression<double>, SparseBatch>);

}  // namespace manta::ml

#endif  // MANTA_ML_LOGISTIC_H_

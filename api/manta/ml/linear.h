// LinearRegression predicts a number: x w + b, by least squares:
//
//   loss = mean over the batch of (x w + b - target)^2  + l2 / 2 |w|^2.
#ifndef MANTA_ML_LINEAR_H_
#define MANTA_ML_LINEAR_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "manta/ml/eigen.h"
#include "manta/ml/loss.h"
#include "manta/ml/model.h"

namespace manta::ml {

// What models with one weight per column (and class) are made of.
struct LinearShape {
  int inputs = 0;                // columns of a row
  bool intercept = true;         // a constant beside the weights
  double l2 = 0;                 // Gradient, and the loss that it returns, have l2 / 2 |w|^2 in them; Evaluate has not
  bool l2_on_intercept = false;  // whether the intercept is part of |w|^2

  size_t parameter_count() const { return size_t(inputs) + (intercept ? 1 : 0); }
  size_t penalized_count() const { return size_t(inputs) + (intercept && l2_on_intercept ? 1 : 0); }
};

namespace internal {

// Adds the penalty's gradient to `gradient` and returns the penalty.
template <typename Scalar>
double AddPenalty(const LinearShape& shape, std::span<const Scalar> parameters, std::span<Scalar> gradient) {
  if (shape.l2 == 0) return 0;
  const auto n = Eigen::Index(shape.penalized_count());
  const Eigen::Map<const Eigen::Matrix<Scalar, Eigen::Dynamic, 1>> w(parameters.data(), n);
  Eigen::Map<Eigen::Matrix<Scalar, Eigen::Dynamic, 1>>(gradient.data(), n) += Scalar(shape.l2) * w;
  return shape.l2 / 2 * double(w.squaredNorm());
}

// Dense rows times weights, and back.
template <typename Scalar>
class LinearRows {
 public:
  using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;
  using RowMajor = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  LinearRows(const LinearShape& shape, std::span<const Scalar> rows, size_t count)
      : shape_(shape), rows_(rows.data(), Eigen::Index(count), shape.inputs) {}

  // out = x w + b
  template <typename Out>
  void Forward(std::span<const Scalar> parameters, Out out) const {
    out.noalias() = rows_ * Eigen::Map<const Vector>(parameters.data(), shape_.inputs);
    if (shape_.intercept) out.array() += parameters.back();
  }
  // gradient = x^T delta, sum of delta
  template <typename Delta>
  void Backward(const Delta& delta, std::span<Scalar> gradient) const {
    Eigen::Map<Vector>(gradient.data(), shape_.inputs).noalias() = rows_.transpose() * delta;
    if (shape_.intercept) gradient.back() = delta.sum();
  }

 private:
  const LinearShape& shape_;
  const Eigen::Map<const RowMajor> rows_;
};

// What models with one weight per column have in common: their parameters, and the work space for a batch's outputs.
// `name` is what messages begin with.
template <typename Scalar>
class LinearModel {
 public:
  using value_type = Scalar;

  const LinearShape& shape() const { return shape_; }
  size_t parameter_count() const { return shape_.parameter_count(); }
  std::vector<ParameterPart> Layout() const {
    const auto inputs = size_t(shape_.inputs);
    std::vector<ParameterPart> layout = {{"weight", {1, inputs}, 0, inputs}};
    if (shape_.intercept) layout.push_back({"bias", {1}, inputs, inputs + 1});
    return layout;
  }

  // All 0: the loss is convex, so any beginning is as good.
  void Initialize(uint64_t, std::span<Scalar> parameters) const {
    RequireSize(name_, "parameters", parameters.size(), parameter_count());
    std::ranges::fill(parameters, Scalar(0));
  }

 protected:
  using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

  LinearModel(const char* name, const LinearShape& shape, int batch_max)
      : shape_(shape), outputs_(std::max(batch_max, 0)), name_(name) {
    Require(name, shape.inputs > 0 && batch_max > 0 && shape.l2 >= 0,
            "inputs and batch_max must be positive, l2 not negative");
  }

  // What Gradient takes: `gradient` values for a batch of `count` rows.
  void CheckBatch(size_t count, size_t gradient) const {
    RequireSize(name_, "gradient", gradient, parameter_count());
    Require(name_, count > 0, "the batch is empty");
    if (count > batch_max()) RequireSize(name_, "batch", count, batch_max());
  }
  // Of `count` dense rows, into `out`.
  template <typename Out>
  void ComputeOutputs(std::span<const Scalar> parameters, std::span<const Scalar> rows, size_t count, Out out) const {
    RequireSize(name_, "parameters", parameters.size(), parameter_count());
    RequireSize(name_, "rows", rows.size(), count * size_t(shape_.inputs));
    LinearRows<Scalar>(shape_, rows, count).Forward(parameters, out);
  }

  size_t batch_max() const { return size_t(outputs_.size()); }
  auto Outputs(size_t count) { return outputs_.head(Eigen::Index(count)); }

  const LinearShape shape_;
  Vector outputs_;  // of a batch; then d loss / d outputs

 private:
  const char* const name_;
};

}  // namespace internal

// Ownership:  owns its work space, not the parameters: weight, one per column | bias.
// Threads:    externally synchronised; one object per thread.
// Errors:     see Model.
template <typename Scalar>
class LinearRegression : public internal::LinearModel<Scalar> {
  using Base = internal::LinearModel<Scalar>;

 public:
  using BatchType = TargetBatch<Scalar>;

  // `batch_max`: rows that one call of Gradient may have. InvalidArgumentError: not positive.
  LinearRegression(const LinearShape& shape, int batch_max) : Base(kName, shape, batch_max) {}

  double Gradient(std::span<const Scalar> parameters, const BatchType& batch, std::span<Scalar> gradient) {
    Base::CheckBatch(batch.count(), gradient.size());
    const double loss = Forward(parameters, batch);
    internal::LinearRows<Scalar>(shape_, batch.rows, batch.count()).Backward(Base::Outputs(batch.count()), gradient);
    return loss + internal::AddPenalty(shape_, parameters, gradient);
  }

  Score Evaluate(std::span<const Scalar> parameters, const BatchType& batch) {
    const size_t inputs = size_t(shape_.inputs), step = Base::batch_max();
    internal::RequireSize(kName, "rows", batch.rows.size(), batch.count() * inputs);
    double sum = 0;
    for (size_t begin = 0; begin < batch.count(); begin += step) {
      const size_t n = std::min(step, batch.count() - begin);
      sum += double(n) *
             Forward(parameters, {batch.rows.subspan(begin * inputs, n * inputs), batch.targets.subspan(begin, n)});
    }
    return {batch.count() == 0 ? 0 : sum / double(batch.count()), 0, batch.count()};
  }

  // What it predicts for `rows` (out.size() x inputs).
  void Predict(std::span<const Scalar> parameters, std::span<const Scalar> rows, std::span<Scalar> out) const {
    using Out = Eigen::Map<typename Base::Vector>;
    Base::ComputeOutputs(parameters, rows, out.size(), Out(out.data(), Eigen::Index(out.size())));
  }

 private:
  using Base::outputs_;
  using Base::shape_;
  static constexpr const char* kName = "LinearRegression";

  // outputs_ = d loss / d outputs; returns the loss.
  double Forward(std::span<const Scalar> parameters, const BatchType& batch) {
    Base::ComputeOutputs(parameters, batch.rows, batch.count(), Base::Outputs(batch.count()));
    const std::span<Scalar> outputs(outputs_.data(), batch.count());
    return MeanSquaredError<Scalar>(outputs, batch.targets, outputs);
  }
};

static_assert(Model<LinearRegression<float>> && Model<LinearRegression<double>>);

}  // namespace manta::ml

#endif  // MANTA_ML_LINEAR_H_

// Optimisers turn a gradient into new parameter values; a parameter server runs one per shard.
//
// An optimiser is a serialisable value with
//   void Step(std::span<const float> values, std::span<const float> gradient, float rate, std::span<float> out);
// The three spans have the same length; `out` may be `values` itself, or memory of its own, so that a server can write
// a new version beside one that readers still look at. State of an optimiser (momentum, squares) is its own.
//
// Header only: the loops are compiled with the flags of the program that uses them.
#ifndef MANTA_ML_OPTIMIZER_H_
#define MANTA_ML_OPTIMIZER_H_

#include <concepts>
#include <span>

#include "manta/ml/eigen.h"

namespace manta::ml {

template <typename T>
concept Optimizer = std::copyable<T> && requires(T t, std::span<const float> in, float rate, std::span<float> out) {
  t.Step(in, in, rate, out);
};

// Stochastic gradient descent (Robbins and Monro 1951): out = values - rate * gradient.
struct Sgd {
  void Step(std::span<const float> values, std::span<const float> gradient, float rate, std::span<float> out) {
    using In = Eigen::Map<const Eigen::ArrayXf>;
    auto size = Eigen::Index(values.size());
    Eigen::Map<Eigen::ArrayXf>(out.data(), size) = In(values.data(), size) - rate * In(gradient.data(), size);
  }

  template <class Archive>
  void serialize(Archive&) {}
};

static_assert(Optimizer<Sgd>);

}  // namespace manta::ml

#endif  // MANTA_ML_OPTIMIZER_H_

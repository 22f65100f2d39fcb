// Shape is the extents of a Tensor, outermost first: {60000, 784}.
//
// Invariants: at most kRankMax extents, none negative, and their product times 8 fits an int64_t.
// Errors:     InvalidArgumentError from the constructors.
// Threads:    a value.
#ifndef MANTA_SHAPE_H_
#define MANTA_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "manta/internal/export.h"

namespace manta {

class MANTA_EXPORT Shape {
 public:
  static constexpr size_t kRankMax = 8;

  Shape() = default;  // rank 0: a scalar, one element
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const int64_t> dims);

  size_t rank() const { return rank_; }
  int64_t operator[](size_t i) const { return dims_[i]; }  // REQUIRES: i < rank()
  std::span<const int64_t> dims() const { return {dims_.data(), rank_}; }
  int64_t elements() const;
  std::string ToString() const;  // "{60000, 784}"

  bool operator==(const Shape&) const = default;

 private:
  std::array<int64_t, kRankMax> dims_{};
  size_t rank_ = 0;
};

}  // namespace manta

#endif  // MANTA_SHAPE_H_

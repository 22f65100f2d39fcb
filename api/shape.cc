#include "manta/shape.h"

#include <limits>
#include <string>

#include "manta/dtype.h"
#include "manta/error.h"

namespace manta {

Shape::Shape(std::span<const int64_t> dims) {
  if (dims.size() > kRankMax) {
    throw InvalidArgumentError("a shape of " + std::to_string(dims.size()) + " dimensions; at most " +
                               std::to_string(kRankMax));
  }
  int64_t elements = 1;
  for (const int64_t dim : dims) {
    if (dim < 0) throw InvalidArgumentError("a shape with a negative extent, " + std::to_string(dim));
    // Zero extents count as 1 here, so that no product of the others can overflow either.
    const int64_t factor = dim == 0 ? 1 : dim;
    if (elements > std::numeric_limits<int64_t>::max() / 8 / factor)
      throw InvalidArgumentError("a shape of more than 2^60 elements");
    elements *= factor;
    dims_[rank_++] = dim;
  }
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (const int64_t dim : dims()) product *= dim;
  return product;
}

std::string Shape::ToString() const {
  std::string text = "{";
  for (size_t i = 0; i < rank_; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims_[i]);
  return text + "}";
}

namespace {

struct DTypeFacts {
  const char* name;
  size_t item_bytes;
};
constexpr DTypeFacts kDTypes[kDTypeCount] = {
    {"float32", 4}, {"float64", 8}, {"int8", 1},   {"int16", 2},  {"int32", 4}, {"int64", 8},
    {"uint8", 1},   {"uint16", 2},  {"uint32", 4}, {"uint64", 8}, {"bool", 1},
};

}  // namespace

size_t ItemBytes(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].item_bytes; }
const char* DTypeName(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

}  // namespace manta

// Tensors in memory of their own; those in the store are tested in api_object_test.cc.
#include "manta/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "manta/buffer.h"
#include "manta/error.h"

namespace manta {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Shape, RefusesWhatCannotBe) {
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ(Shape({5, 0}).elements(), 0);
  EXPECT_EQ(Shape({2, 3}).ToString(), "{2, 3}");
  EXPECT_THROW(Shape({-1}), InvalidArgumentError);
  EXPECT_THROW(Shape({int64_t{1} << 32, int64_t{1} << 32}), InvalidArgumentError);
  EXPECT_THROW(Shape({0, int64_t{1} << 32, int64_t{1} << 32}), InvalidArgumentError);
  EXPECT_THROW(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), InvalidArgumentError);
}

TEST(Tensor, BeginsWithZeros) {
  const Tensor tensor(DType::kFloat64, {3, 5});
  EXPECT_EQ(tensor.size(), 15u);
  EXPECT_EQ(tensor.size_bytes(), 120u);
  EXPECT_THAT(tensor.values<double>(), Each(0.0));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.raw_data()) % 64, 0u);
  EXPECT_FALSE(tensor.in_store());
}

TEST(Tensor, TakesOverAVector) {
  std::vector<int> values = {1, 2, 3, 4, 5, 6};
  const int* const data = values.data();
  const Tensor tensor = Tensor::From(std::move(values), {2, 3});
  EXPECT_EQ(tensor.data<int>(), data);
  EXPECT_THROW(Tensor::From(std::vector<int>(5), {2, 3}), InvalidArgumentError);
}

TEST(Tensor, BehavesAsAValue) {
  Tensor a = Tensor::From(std::vector<int>{1, 2, 3});
  Tensor b = a;
  EXPECT_EQ(a.raw_data(), b.raw_data());
  b.mutable_values<int>()[0] = 9;
  EXPECT_THAT(a.values<int>(), ElementsAre(1, 2, 3));
  EXPECT_THAT(b.values<int>(), ElementsAre(9, 2, 3));
  const void* const memory = a.raw_data();
  a.mutable_values<int>()[0] = 4;  // not shared any more
  EXPECT_EQ(a.raw_data(), memory);
}

TEST(Tensor, ReshapesAndSlices) {
  const Tensor matrix = Tensor::From(std::vector<int>{1, 2, 3, 4, 5, 6}, {3, 2});
  EXPECT_EQ(matrix.Reshape({6}).shape(), Shape({6}));
  EXPECT_THROW(matrix.Reshape({5}), InvalidArgumentError);
  EXPECT_THAT(matrix.Slice(1, 3).values<int>(), ElementsAre(3, 4, 5, 6));
  EXPECT_TRUE(matrix.Slice(1, 1).empty());
  EXPECT_THROW(matrix.Slice(2, 1), InvalidArgumentError);
  EXPECT_THROW(matrix.Slice(0, 4), InvalidArgumentError);
  EXPECT_THROW(Tensor(DType::kInt8, Shape()).Slice(0, 1), InvalidArgumentError);
  Tensor slice = matrix.Slice(0, 1);
  slice.mutable_values<int>()[0] = 7;
  EXPECT_EQ(matrix.values<int>()[0], 1);
}

TEST(Tensor, RefusesAnotherType) {
  const Tensor tensor(DType::kFloat32, {2});
  try {
    tensor.data<double>();
    FAIL();
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("float32"));
    EXPECT_THAT(error.what(), HasSubstr("float64"));
  }
}

TEST(Tensor, EmptyOneCanBeUsed) {
  Tensor empty;
  EXPECT_EQ(empty.size(), 0u);
  EXPECT_EQ(empty.mutable_data<float>(), nullptr);
  EXPECT_TRUE(empty.Clone().empty());
  EXPECT_TRUE(empty.Slice(0, 0).empty());
}

TEST(Buffer, HoldsBytes) {
  Buffer buffer = Buffer::Copy("bytes");
  Buffer copy = buffer;
  copy.mutable_data()[0] = 'B';
  EXPECT_EQ(buffer.view(), "bytes");
  EXPECT_EQ(copy.view(), "Bytes");
  EXPECT_EQ(Buffer().size(), 0u);
  EXPECT_THROW(Buffer(Tensor(DType::kFloat32, {1})), InvalidArgumentError);
}

}  // namespace
}  // namespace manta

#include "base/bytes.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace manta {
namespace {

class BytesOfSize : public testing::TestWithParam<size_t> {
 protected:
  std::string Text() const { return std::string(GetParam(), 'x'); }
};

TEST_P(BytesOfSize, KeepsItsContentsThroughCopiesAndMoves) {
  const Bytes original(Text());
  Bytes copy = original;
  EXPECT_EQ(copy.view(), Text());
  Bytes moved = std::move(copy);
  EXPECT_EQ(moved.view(), Text());
  EXPECT_TRUE(copy.empty());  // NOLINT: moved from, and specified to be empty
  copy = moved;
  Bytes& alias = copy;
  copy = alias;
  EXPECT_EQ(copy, original);
  moved = Bytes("other");
  EXPECT_EQ(copy.ToString(), Text());
}

TEST_P(BytesOfSize, SharesOneAllocationOnlyIfTooLargeForInline) {
  const Bytes original(Text());
  const Bytes copy = original;
  EXPECT_EQ(copy.data() == original.data(), GetParam() > Bytes::kInlineBytesMax);
}

INSTANTIATE_TEST_SUITE_P(Sizes, BytesOfSize, testing::Values(0, 1, 23, 24, 25, 4096));

TEST(Bytes, UninitializedIsAlignedWhenItIsLarge) {
  std::vector<Bytes> all;  // kept, so that every allocation has another address
  for (const size_t size :
       {size_t{25}, size_t{100}, Bytes::kLargeBytesMin, Bytes::kLargeBytesMin + 1, size_t{100'000}}) {
    for (int i = 0; i < 8; ++i) {
      char* data = nullptr;
      all.push_back(Bytes::Uninitialized(size, &data));
      std::memset(data, 1, size);
      EXPECT_EQ(static_cast<const void*>(all.back().data()), data);
      const size_t alignment = size >= Bytes::kLargeBytesMin ? Bytes::kLargeAlignment : 16;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % alignment, 0u) << size;
    }
  }
}

}  // namespace
}  // namespace manta

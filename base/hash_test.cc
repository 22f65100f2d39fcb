#include "base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace manta::base {
namespace {

TEST(Hash64, IsXxh3) {
  EXPECT_EQ(Hash64(""), 0x2D06800538D394C2u);  // the published value for no bytes and seed 0
  EXPECT_NE(Hash64("a"), Hash64("b"));
}

TEST(Hasher64, AgreesWithTheHashOfTheWhole) {
  const std::string text(100'000, 'z');
  Hasher64 hasher;
  for (size_t at = 0; at < text.size(); at += 777)
    hasher.Update(text.data() + at, std::min<size_t>(777, text.size() - at));
  EXPECT_EQ(hasher.Digest(), Hash64(text));
  hasher.Reset();
  EXPECT_EQ(hasher.Digest(), Hash64(""));
}

TEST(Fnv1a64, HasItsPublishedValues) {
  static_assert(Fnv1a64("") == 0xCBF29CE484222325u);
  static_assert(Fnv1a64("a") == 0xAF63DC4C8601EC8Cu);
  static_assert(Fnv1a64("foobar") == 0x85944171F73967E8u);
}

}  // namespace
}  // namespace manta::base

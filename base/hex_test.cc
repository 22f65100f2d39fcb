#include "base/hex.h"

#include <gtest/gtest.h>

namespace manta::base {
namespace {

TEST(Hex, WritesTwoDigitsAByte) {
  EXPECT_EQ(Hex(""), "");
  EXPECT_EQ(Hex(std::string_view("\0\x7f\xff\x0a", 4)), "007fff0a");
}

TEST(Hex, IsReadBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(Unhex(Hex(all)).value(), all);
  EXPECT_EQ(Unhex("Ab").value(), "\xab");
  EXPECT_EQ(Unhex("").value(), "");
}

TEST(Hex, WhatIsNoneIsRefused) {
  for (const char* text : {"a", "abc", "0x", "g0", "-1", "+1", " 1", "a "}) EXPECT_FALSE(Unhex(text).ok()) << text;
}

}  // namespace
}  // namespace manta::base

#include "tools/cli/log_tail.h"

#include <gtest/gtest.h>

namespace manta::cli {
namespace {

TEST(LastLines, CutsAtLines) {
  EXPECT_EQ(LastLines("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(LastLines("a\nb\nc", 2), "b\nc");
  EXPECT_EQ(LastLines("a\nb\nc\n", 9), "a\nb\nc\n");
  EXPECT_EQ(LastLines("a\n\n\n", 2), "\n\n");
  EXPECT_EQ(LastLines("a\nb", 0), "");
  EXPECT_EQ(LastLines("", 3), "");
}

}  // namespace
}  // namespace manta::cli

#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

namespace manta::base {
namespace {

TEST(Rng, GivesThePublishedSequences) {
  uint64_t state = 1234567;  // splitmix64's reference values for this seed
  EXPECT_EQ(SplitMix64(&state), 6457827717110365317u);
  EXPECT_EQ(SplitMix64(&state), 3203168211198807973u);
  // Ours, pinned: recorded runs and golden traces depend on it.
  Rng rng(42);
  const uint64_t first = rng.Next();
  EXPECT_EQ(first, 1546998764402558742u);
}

TEST(Rng, OneSeedOneSequence) {
  Rng a(7), b(7), c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t next = a.Next();
    EXPECT_EQ(next, b.Next());
    differs |= next != c.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, UniformIsEven) {
  Rng rng(1);
  std::vector<int> counts(7);
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.Uniform(counts.size()));
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7.0, 5 * std::sqrt(kDraws / 7.0));
  EXPECT_EQ(rng.Uniform(1), 0u);
}

TEST(Rng, BetweenTakesTheWholeRange) {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    const int64_t value = rng.Between(-2, 2);
    EXPECT_TRUE(value >= -2 && value <= 2);
  }
  rng.Between(INT64_MIN, INT64_MAX);
  EXPECT_EQ(rng.Between(5, 5), 5);
}

TEST(Rng, DoubleAndBernoulliHaveTheirMeans) {
  Rng rng(3);
  double sum = 0;
  int heads = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double value = rng.Double();
    ASSERT_TRUE(value >= 0 && value < 1);
    sum += value;
    heads += rng.Bernoulli(0.25);
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.005);
  EXPECT_NEAR(heads / 100'000.0, 0.25, 0.007);
  EXPECT_FALSE(rng.Bernoulli(0));
  EXPECT_TRUE(rng.Bernoulli(1));
}

TEST(Rng, ShuffleKeepsEveryItem) {
  Rng rng(5);
  std::vector<int> items(50);
  std::iota(items.begin(), items.end(), 0);
  std::vector<int> shuffled = items;
  rng.Shuffle(&shuffled);
  EXPECT_NE(shuffled, items);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, items);
}

}  // namespace
}  // namespace manta::base

#include "base/dense_window.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"

namespace manta::base {
namespace {

std::vector<uint64_t> Keys(const DenseWindow<int>& window) {
  std::vector<uint64_t> keys;
  for (const auto& [key, value] : window) keys.push_back(key);
  return keys;
}

TEST(DenseWindow, FindsWhatWasAddedAndNothingElse) {
  DenseWindow<int> window;
  EXPECT_EQ(window.Find(0), nullptr);
  EXPECT_TRUE(window.TryEmplace(1000, 1).second);
  EXPECT_TRUE(window.TryEmplace(1003, 2).second);
  EXPECT_EQ(*window.Find(1003), 2);
  for (const uint64_t absent : {uint64_t{0}, uint64_t{999}, uint64_t{1001}, uint64_t{1004}, UINT64_MAX}) {
    EXPECT_EQ(window.Find(absent), nullptr) << absent;
  }
  EXPECT_EQ(window.size(), 2u);
  EXPECT_EQ(Keys(window), (std::vector<uint64_t>{1000, 1003}));
}

TEST(DenseWindow, KeepsTheFirstOfTwoValues) {
  DenseWindow<int> window;
  window.TryEmplace(5, 1);
  const auto [value, added] = window.TryEmplace(5, 2);
  EXPECT_FALSE(added);
  EXPECT_EQ(*value, 1);
}

TEST(DenseWindow, GrowsDownwardsToo) {
  DenseWindow<int> window;
  window.TryEmplace(10, 10);
  window.TryEmplace(7, 7);
  EXPECT_EQ(Keys(window), (std::vector<uint64_t>{7, 10}));
  EXPECT_EQ(window.lowest_key(), 7u);
  EXPECT_EQ(window.highest_key(), 10u);
}

TEST(DenseWindow, RefusesKeysTooFarApartButFollowsWhenTheOldOnesGo) {
  DenseWindow<int> window(100);
  window.TryEmplace(50, 0);
  EXPECT_EQ(window.TryEmplace(150, 0).first, nullptr);
  EXPECT_EQ(window.TryEmplace(UINT64_MAX, 0).first, nullptr);
  EXPECT_NE(window.TryEmplace(149, 0).first, nullptr);
  EXPECT_EQ(window.TryEmplace(49, 0).first, nullptr);
  window.Erase(50);
  EXPECT_EQ(window.lowest_key(), 149u);
  EXPECT_NE(window.TryEmplace(248, 0).first, nullptr);
  EXPECT_EQ(window.TryEmplace(0, 0).first, nullptr);
}

TEST(DenseWindow, PointersStayGoodWhileOthersComeAndGo) {
  DenseWindow<std::string> window;
  std::string* value = window.TryEmplace(500, "kept").first;
  for (uint64_t key = 501; key < 2000; ++key) window.TryEmplace(key, "x");
  for (uint64_t key = 499; key > 100; --key) window.TryEmplace(key, "x");
  for (uint64_t key = 100; key < 500; ++key) window.Erase(key);
  EXPECT_EQ(window.Find(500), value);
  EXPECT_EQ(*value, "kept");
}

TEST(DenseWindow, HoldsValuesThatOnlyMove) {
  DenseWindow<std::unique_ptr<int>> window;
  window.TryEmplace(1, std::make_unique<int>(3));
  EXPECT_EQ(**window.Take(1), 3);
  EXPECT_FALSE(window.Take(1).has_value());
  EXPECT_TRUE(window.empty());
}

TEST(DenseWindow, BehavesAsAMapDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    DenseWindow<int> window;
    std::map<uint64_t, int> model;
    for (int step = 0; step < 2000; ++step) {
      const uint64_t key = 1000 + rng.Uniform(60);
      if (rng.Bernoulli(0.5)) {
        ASSERT_EQ(window.TryEmplace(key, step).second, model.emplace(key, step).second) << "seed " << seed;
      } else {
        ASSERT_EQ(window.Erase(key), model.erase(key) == 1) << "seed " << seed;
      }
      ASSERT_EQ(window.size(), model.size()) << "seed " << seed;
      auto expected = model.begin();
      for (auto [found_key, value] : window) {
        ASSERT_EQ(found_key, expected->first) << "seed " << seed;
        ASSERT_EQ(value, (expected++)->second) << "seed " << seed;
      }
      ASSERT_EQ(expected, model.end()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace manta::base

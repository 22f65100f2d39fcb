#include "base/resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace manta::base {
namespace {

using testing::HasSubstr;

Fixed Amount(double value) { return *Fixed::FromDouble(value); }

TEST(Fixed, AddsTenthsExactly) {
  Fixed sum;
  for (int i = 0; i < 10; ++i) sum += Amount(0.1);
  EXPECT_EQ(sum, Fixed(1));
  EXPECT_EQ(Amount(0.1) + Amount(0.2), Amount(0.3));
  EXPECT_LT(Amount(0.4999), Amount(0.5));
}

TEST(Fixed, RefusesWhatIsNoAmount) {
  for (const double bad : {std::nan(""), -1.0, -0.5, std::numeric_limits<double>::infinity(), 1e13, 0.00001}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Fixed::FromDouble(bad).status())) << bad;
  }
  EXPECT_EQ(Amount(0), Fixed());
  EXPECT_EQ(Amount(-0.0), Fixed());
  EXPECT_EQ(Amount(0x1p40).units(), Fixed::kUnitsMax);
}

TEST(Fixed, PrintsWithoutTrailingZeros) {
  EXPECT_EQ(Fixed(2).ToString(), "2");
  EXPECT_EQ(Amount(0.5).ToString(), "0.5");
  EXPECT_EQ(Amount(1.0203).ToString(), "1.0203");
  EXPECT_EQ((Fixed() - Amount(0.25)).ToString(), "-0.25");
  EXPECT_EQ(Fixed::FromUnits(INT64_MIN).ToString(), "-922337203685477.5808");
}

TEST(ResourceSet, FitsSubtractsAndAddsBack) {
  ResourceSet node{{"CPU", Fixed(2)}, {"x", Amount(0.5)}};
  const ResourceSet before = node;
  const ResourceSet demand{{"CPU", Fixed(1)}, {"x", Amount(0.5)}};
  ASSERT_TRUE(node.Fits(demand));
  node.Subtract(demand);
  EXPECT_EQ(node.ToString(), "{CPU: 1}");
  EXPECT_FALSE(node.Fits(demand));
  EXPECT_TRUE(node.Fits({}));
  EXPECT_TRUE(node.Fits(ResourceSet{{"absent", Fixed()}}));
  node.Add(demand);
  EXPECT_EQ(node, before);
}

TEST(ResourceSet, MayGoNegativeWhenAsked) {
  ResourceSet node{{"CPU", Fixed(1)}};
  node.SubtractAllowNegative({{"CPU", Fixed(2)}});
  EXPECT_TRUE(node.HasNegative());
  EXPECT_TRUE(node.Fits({}));  // nothing asked for, nothing missing
  EXPECT_FALSE(node.Fits({{"CPU", Amount(0.0001)}}));
  node.Add({{"CPU", Fixed(1)}});
  EXPECT_TRUE(node.empty());
}

TEST(ResourceSet, ReadsAndWritesJson) {
  const ResourceSet set = *ResourceSet::FromJson(R"({"CPU": 2, "x": 0.5, "none": 0})");
  EXPECT_EQ(set.ToString(), "{CPU: 2, x: 0.5}");
  EXPECT_EQ(*ResourceSet::FromJson(set.ToJson()), set);
  EXPECT_TRUE(ResourceSet::FromJson("{}")->empty());
}

TEST(ResourceSet, RefusesOtherJsonAndSaysWhy) {
  const auto error = [](std::string_view text) { return Message(ResourceSet::FromJson(text).status()); };
  EXPECT_THAT(error(""), HasSubstr("not JSON"));
  EXPECT_THAT(error("{\"a\": 1"), HasSubstr("not JSON"));
  EXPECT_THAT(error("3"), HasSubstr("not an object"));
  EXPECT_THAT(error("[1]"), HasSubstr("not an object"));
  EXPECT_THAT(error("{\"a\": \"1\"}"), HasSubstr("'a' is not a number"));
  EXPECT_THAT(error("{\"a\": {\"b\": 1}}"), HasSubstr("'a' is not a number"));
  EXPECT_THAT(error("{\"a\": 1, \"a\": 0}"), HasSubstr("twice"));
  EXPECT_THAT(error("{\"\": 1}"), HasSubstr("0 bytes"));
  EXPECT_THAT(error("{\"a\": 1e999}"), HasSubstr("not JSON"));
  EXPECT_THAT(error("{\"a\": 1e300}"), HasSubstr("2^40"));
}

}  // namespace
}  // namespace manta::base

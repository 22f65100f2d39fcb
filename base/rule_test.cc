// Built twice: in base_test, and with MANTA_MUTANTS in base_mutants_test.
#include "base/rule.h"

#include <gtest/gtest.h>

namespace manta::base {
namespace {

bool Refuses(int lease, int current) { return MANTA_RULE("lease_fence") && lease < current; }

#ifdef MANTA_MUTANTS

TEST(Rule, IsOffWhenItIsTheActiveMutantOnly) {
  SetActiveMutant("lease_fence");
  EXPECT_FALSE(Refuses(1, 2));
  EXPECT_EQ(AskedRules(), std::vector<std::string>{"lease_fence"});
  SetActiveMutant("another");
  EXPECT_TRUE(Refuses(1, 2));
  SetActiveMutant("");
  EXPECT_TRUE(AskedRules().empty());
  EXPECT_TRUE(Refuses(1, 2));
}

#else

static_assert(MANTA_RULE("x"), "a constant in production");

TEST(Rule, HoldsInProduction) { EXPECT_TRUE(Refuses(1, 2)); }

#endif

}  // namespace
}  // namespace manta::base

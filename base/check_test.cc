#include "base/check.h"

#include <gtest/gtest.h>

#include "base/status.h"

namespace manta::base {
namespace {

TEST(CheckDeathTest, EndsTheProcessAndSaysWhy) {
  EXPECT_DEATH(MANTA_CHECK(1 + 1 == 3) << "sum " << 2, "check_test.cc:[0-9]+: check failed: 1 \\+ 1 == 3 sum 2");
  EXPECT_DEATH(MANTA_CHECK_OK(absl::NotFoundError("gone")), "gone");
}

TEST(Check, EvaluatesTheMessageOnlyOnFailure) {
  int evaluated = 0;
  MANTA_CHECK(true) << ++evaluated;
  EXPECT_EQ(evaluated, 0);
  if (evaluated == 0)
    MANTA_CHECK(true);  // one statement, so that `else` belongs to this `if`
  else
    FAIL();
}

TEST(Check, DcheckEvaluatesNothingInReleaseBuilds) {
  int evaluated = 0;
  MANTA_DCHECK(++evaluated > 0);
#ifdef NDEBUG
  EXPECT_EQ(evaluated, 0);
#else
  EXPECT_EQ(evaluated, 1);
#endif
}

}  // namespace
}  // namespace manta::base

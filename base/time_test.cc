#include "base/time.h"

#include <gtest/gtest.h>

namespace manta {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(Time, PrintsInTheLargestUnitThatFits) {
  EXPECT_EQ(ToString(Duration::zero()), "0s");
  EXPECT_EQ(ToString(Duration(999)), "999ns");
  EXPECT_EQ(ToString(Duration(microseconds(1500))), "1.5ms");
  EXPECT_EQ(ToString(Duration(hours(36))), "36h");
  EXPECT_EQ(ToString(Duration(-milliseconds(2))), "-2ms");
}

TEST(Time, SaturatesInsteadOfOverflowing) {
  EXPECT_EQ(SaturatingAdd(kInfiniteFuture, Duration(1)), kInfiniteFuture);
  EXPECT_EQ(SaturatingAdd(TimeFromNanos(5), Duration::max()), kInfiniteFuture);
  EXPECT_EQ(SaturatingAdd(TimeFromNanos(5), Duration(-3)), TimeFromNanos(2));
}

TEST(SystemClock, NeverGoesBack) {
  const base::SystemClock clock;
  Time last = clock.Now();
  for (int i = 0; i < 1000; ++i) {
    const Time now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(FakeClock, StandsStillUntilItIsMoved) {
  base::FakeClock clock(TimeFromNanos(100));
  EXPECT_EQ(clock.Now(), clock.Now());
  clock.Advance(Duration(11));
  EXPECT_EQ(ToNanos(clock.Now()), 111);
}

}  // namespace
}  // namespace manta

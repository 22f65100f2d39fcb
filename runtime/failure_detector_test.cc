#include "runtime/failure_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class FailureDetectorTest : public ::testing::Test {
 protected:
  // Ticks as the detector wants them, until `until`; collects what it says.
  void RunUntil(Duration until) {
    while (detector_.next_deadline() <= start_ + until) {
      now_ = detector_.next_deadline();
      const auto verdict = detector_.Advance(now_);
      for (const NodeId node : verdict.suspected) suspected_.push_back(node);
      for (const NodeId node : verdict.dead) dead_.push_back(node);
    }
    now_ = start_ + until;
  }
  const Time start_ = TimeFromNanos(1'000'000'000);
  Time now_ = start_;
  FailureDetector detector_{{}};
  std::vector<NodeId> suspected_, dead_;
};

TEST_F(FailureDetectorTest, SuspectsAfterOneSecondAndGivesUpAfterThree) {
  detector_.Watch(1, now_);
  RunUntil(milliseconds(900));
  EXPECT_THAT(suspected_, IsEmpty());
  RunUntil(milliseconds(1300));
  EXPECT_THAT(suspected_, ElementsAre(1));
  EXPECT_TRUE(detector_.suspected(1));
  RunUntil(milliseconds(2900));
  EXPECT_THAT(dead_, IsEmpty());
  RunUntil(milliseconds(3300));
  EXPECT_THAT(dead_, ElementsAre(1));
  EXPECT_EQ(detector_.next_deadline(), kInfiniteFuture);
}

TEST_F(FailureDetectorTest, WhoSpeaksIsNotSuspectedAnyMore) {
  detector_.Watch(1, now_);
  detector_.Watch(2, now_);
  RunUntil(milliseconds(1500));
  EXPECT_TRUE(detector_.Heard(1, now_));
  RunUntil(milliseconds(3300));
  EXPECT_THAT(dead_, ElementsAre(2));
  EXPECT_TRUE(detector_.suspected(1));
}

TEST_F(FailureDetectorTest, BlamesNobodyAfterItWasStoppedItself) {
  detector_.Watch(1, now_);
  RunUntil(milliseconds(500));
  now_ = start_ + seconds(20);  // SIGSTOP
  EXPECT_THAT(detector_.Advance(now_).dead, IsEmpty());
  EXPECT_FALSE(detector_.suspected(1));
  EXPECT_LT(detector_.next_deadline(), now_ + seconds(1));
  RunUntil(seconds(22));
  EXPECT_THAT(dead_, IsEmpty());
  RunUntil(seconds(24));
  EXPECT_THAT(dead_, ElementsAre(1));
}

}  // namespace
}  // namespace manta::runtime

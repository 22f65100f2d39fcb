#include "runtime/node/pull_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/node/node_core.h"

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const ObjectId kObject{{3, 1}, 1, 0};
constexpr ProcessId kAsker{1, 1};
constexpr ProcessId kAlso{1, 2};
constexpr ProcessId kLate{1, 3};

rpc::ObjectResolved Answer(ProcessId asker, NodeId source, uint32_t attempt = 0) {
  rpc::ObjectResolved answer;
  answer.object = kObject;
  answer.asker = asker;
  answer.attempt = attempt;
  answer.value.kind = rpc::Value::Kind::kStored;
  answer.value.location = {source, 1, 0, 100'000};
  return answer;
}

rpc::ObjectPulled Bytes(uint32_t attempt = 0) {
  rpc::ObjectPulled pulled;
  pulled.object = kObject;
  pulled.attempt = attempt;
  pulled.found = true;
  return pulled;
}

constexpr uint64_t kLargeBytes = kPulledInlineBytesMax + 1;
constexpr rpc::StoreLocation kRoom{1, 8, 0, kLargeBytes};

class PullTableTest : public ::testing::Test {
 protected:
  bool Want(const rpc::ObjectResolved& answer) { return pulls_.Want(answer, &out_); }
  // It is being written at kRoom.
  uint64_t Write() {
    rpc::ObjectPulled pulled = Bytes();
    pulled.size_bytes = kLargeBytes;
    const uint64_t number = pulls_.Arrived(pulled).value();
    EXPECT_NE(pulls_.Write(number, kRoom), nullptr);
    return number;
  }

  PullTable pulls_;
  PullTable::Output out_;
};

TEST_F(PullTableTest, PullsOnceForAllWhoAsk) {
  EXPECT_TRUE(Want(Answer(kAsker, 2)));
  EXPECT_FALSE(Want(Answer(kAlso, 2)));
  const auto number = pulls_.Arrived(Bytes());
  ASSERT_TRUE(number);
  EXPECT_EQ(pulls_.Arrived(Bytes()), std::nullopt) << "twice";
  EXPECT_NE(pulls_.Write(*number, kRoom), nullptr);
  EXPECT_FALSE(Want(Answer(kLate, 2))) << "while it is written";
  const auto written = pulls_.TakeWritten(*number);
  ASSERT_TRUE(written && written->pull);
  EXPECT_THAT(written->pull->askers, ElementsAre(kAsker, kAlso, kLate));
  EXPECT_EQ(written->room, kRoom);
  EXPECT_EQ(pulls_.size(), 0u);
  EXPECT_FALSE(pulls_.TakeWritten(*number)) << "twice";
}

TEST_F(PullTableTest, ANewerAttemptReplacesThePull) {
  Want(Answer(kAsker, 2));
  EXPECT_TRUE(Want(Answer(kAlso, 4, 1)));
  EXPECT_EQ(pulls_.Arrived(Bytes(0)), std::nullopt);
  EXPECT_TRUE(pulls_.Arrived(Bytes(1)));
  EXPECT_THAT(out_.abandoned, IsEmpty()) << "nothing was written";
}

TEST_F(PullTableTest, AsksAgainWhenTheSourceDoesNotHaveItOrDies) {
  Want(Answer(kAsker, 2));
  pulls_.NotFound(kObject, 9, &out_);
  EXPECT_THAT(out_.asks, IsEmpty());
  pulls_.NotFound(kObject, 2, &out_);
  EXPECT_THAT(out_.asks, ElementsAre(rpc::ObjectResolve{kObject, kAsker}));
  out_ = {};
  Want(Answer(kAsker, 4));
  pulls_.AskerDied(kAsker, &out_);
  EXPECT_EQ(pulls_.size(), 0u) << "nobody wants it";
  Want(Answer(kAlso, 4));
  pulls_.SourceDied(4, &out_);
  EXPECT_THAT(out_.asks, ElementsAre(rpc::ObjectResolve{kObject, kAlso}));
  EXPECT_EQ(pulls_.size(), 0u);
}

TEST_F(PullTableTest, ASmallPullThatHasArrivedDoesNotNeedItsSource) {
  Want(Answer(kAsker, 2));
  const auto number = pulls_.Arrived(Bytes());
  pulls_.SourceDied(2, &out_);
  EXPECT_THAT(out_.asks, IsEmpty());
  EXPECT_NE(pulls_.Write(*number, kRoom), nullptr);
}

TEST_F(PullTableTest, ALargeOneNeedsItsSourceUntilItIsWritten) {
  Want(Answer(kAsker, 2));
  const uint64_t number = Write();
  pulls_.SourceDied(2, &out_);
  EXPECT_THAT(out_.asks, ElementsAre(rpc::ObjectResolve{kObject, kAsker}));
  EXPECT_THAT(out_.abandoned, ElementsAre(number));
  EXPECT_TRUE(Want(Answer(kAsker, 3))) << "another pull may begin meanwhile";
  EXPECT_EQ(pulls_.size(), 2u);
  const auto written = pulls_.TakeWritten(number);
  ASSERT_TRUE(written);
  EXPECT_EQ(written->room, kRoom);
  EXPECT_FALSE(written->pull);
  EXPECT_EQ(pulls_.size(), 1u);
}

TEST_F(PullTableTest, PullsDamagedBytesOnceMoreButNotForEver) {
  Want(Answer(kAsker, 2));
  for (int damaged = 1; damaged < PullTable::kDamagedMax; ++damaged) {
    auto written = pulls_.TakeWritten(Write());
    ASSERT_TRUE(written && written->pull);
    EXPECT_TRUE(pulls_.PullAgain(&*written->pull)) << damaged;
    EXPECT_FALSE(Want(Answer(kAlso, 2))) << "it is being pulled";
  }
  auto last = pulls_.TakeWritten(Write());
  ASSERT_TRUE(last && last->pull);
  EXPECT_FALSE(pulls_.PullAgain(&*last->pull));
  EXPECT_EQ(last->pull->askers.front(), kAsker);
  EXPECT_EQ(pulls_.size(), 0u);
  EXPECT_TRUE(Want(Answer(kAsker, 3)));
  auto other = pulls_.TakeWritten(Write());
  EXPECT_TRUE(pulls_.PullAgain(&*other->pull)) << "another source begins anew";
}

TEST_F(PullTableTest, ForgetsPullsOfADeadHome) {
  Want(Answer(kAsker, 2));
  const auto number = pulls_.Arrived(Bytes());
  pulls_.HomeDied(3, &out_);
  EXPECT_EQ(pulls_.Write(*number, kRoom), nullptr);
  EXPECT_FALSE(pulls_.TakeRefused(*number));
  EXPECT_THAT(out_.asks, IsEmpty());
}

TEST_F(PullTableTest, StopsWhatNobodyWaitsForAnyMore) {
  Want(Answer(kAsker, 2));
  Want(Answer(kAlso, 2));
  const uint64_t number = Write();
  pulls_.AskerDied(kAsker, &out_);
  EXPECT_THAT(out_.abandoned, IsEmpty());
  pulls_.AskerDied(kAlso, &out_);
  EXPECT_THAT(out_.abandoned, ElementsAre(number));
  EXPECT_THAT(out_.asks, IsEmpty());
}

}  // namespace
}  // namespace manta::runtime::node

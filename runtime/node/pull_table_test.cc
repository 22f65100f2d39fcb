#include "runtime/node/pull_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const ObjectId kObject{{3, 1}, 1, 0};
constexpr ProcessId kAsker{1, 1};
constexpr ProcessId kAlso{1, 2};

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

TEST(PullTable, PullsOnceForAllWhoAsk) {
  PullTable pulls;
  EXPECT_TRUE(pulls.Want(Answer(kAsker, 2)));
  EXPECT_FALSE(pulls.Want(Answer(kAlso, 2)));
  const auto request = pulls.Arrived(Bytes());
  ASSERT_TRUE(request);
  EXPECT_EQ(pulls.Arrived(Bytes()), std::nullopt) << "twice";
  EXPECT_THAT(pulls.TakeByRequest(*request)->askers, ElementsAre(kAsker, kAlso));
  EXPECT_EQ(pulls.size(), 0u);
}

TEST(PullTable, ANewerAttemptReplacesThePull) {
  PullTable pulls;
  pulls.Want(Answer(kAsker, 2));
  EXPECT_TRUE(pulls.Want(Answer(kAlso, 4, 1)));
  EXPECT_EQ(pulls.Arrived(Bytes(0)), std::nullopt);
  EXPECT_TRUE(pulls.Arrived(Bytes(1)));
}

TEST(PullTable, AsksAgainWhenTheSourceDoesNotHaveItOrDies) {
  PullTable pulls;
  pulls.Want(Answer(kAsker, 2));
  EXPECT_THAT(pulls.NotFound(kObject, 9), IsEmpty());
  EXPECT_THAT(pulls.NotFound(kObject, 2), ElementsAre(rpc::ObjectResolve{kObject, kAsker}));
  pulls.Want(Answer(kAsker, 4));
  pulls.AskerDied(kAsker);
  pulls.Want(Answer(kAlso, 4));
  EXPECT_THAT(pulls.SourceDied(4), ElementsAre(rpc::ObjectResolve{kObject, kAlso}));
  EXPECT_EQ(pulls.size(), 0u);
}

TEST(PullTable, AnArrivedPullDoesNotNeedItsSource) {
  PullTable pulls;
  pulls.Want(Answer(kAsker, 2));
  const auto request = pulls.Arrived(Bytes());
  EXPECT_THAT(pulls.SourceDied(2), IsEmpty());
  EXPECT_TRUE(pulls.TakeByRequest(*request));
}

TEST(PullTable, ForgetsPullsOfADeadHome) {
  PullTable pulls;
  pulls.Want(Answer(kAsker, 2));
  const auto request = pulls.Arrived(Bytes());
  pulls.HomeDied(3);
  EXPECT_EQ(pulls.TakeByRequest(*request), std::nullopt);
}

}  // namespace
}  // namespace manta::runtime::node

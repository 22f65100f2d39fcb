#include "runtime/head/redis_kv_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "runtime/head/redis_fixture.h"

namespace manta::runtime {
namespace {

using testing::HasSubstr;
using Facts = std::map<std::string, std::string>;

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class RedisKvStoreTest : public RedisTest {
 protected:
  void SetUp() override { StartServer(); }
};

TEST_F(RedisKvStoreTest, BeginsEmptyWithEpochOne) {
  const auto head = OpenHead();
  ASSERT_TRUE(head->opened->ok()) << head->opened->status();
  EXPECT_EQ(head->facts().epoch, 1u);
  EXPECT_TRUE(head->facts().facts.empty());
  EXPECT_EQ(head->store->commit_seq(), 1u);
  EXPECT_EQ(head->store->health(), "");
}

TEST_F(RedisKvStoreTest, WritesSurviveKillOfServerAndHead) {
  auto head = OpenHead();
  ASSERT_TRUE(Write(head.get(), {{"a", "1"}, {"b", "2"}, {"a", "3"}, {"empty", ""}}));
  const std::string binary("k\0\r\n$9\xff", 7);
  ASSERT_TRUE(Write(head.get(), {{"b", std::nullopt}, {binary, binary}}));
  ASSERT_TRUE(Write(head.get(), {}));
  const uint64_t commit_seq = head->store->commit_seq();
  head.reset();
  KillServer();
  StartServer();
  RedisKvStore::Options options = Options();
  options.commit_seq_floor = commit_seq;
  head = OpenHead(options);
  ASSERT_TRUE(head->opened->ok()) << head->opened->status();
  EXPECT_EQ(head->facts().epoch, 2u);
  EXPECT_EQ(head->facts().facts, (Facts{{"a", "3"}, {"empty", ""}, {binary, binary}}));
}

TEST_F(RedisKvStoreTest, ClustersOfOneRedisDoNotDisturbEachOther) {
  const auto one = OpenHead();
  RedisKvStore::Options options = Options();
  options.cluster_id = "c2";
  const auto two = OpenHead(options);
  ASSERT_TRUE(Write(one.get(), {{"a", "1"}}));
  ASSERT_TRUE(Write(two.get(), {{"a", "2"}}));
  EXPECT_EQ(OpenHead()->facts().facts, (Facts{{"a", "1"}}));
}

TEST_F(RedisKvStoreTest, WritesThatWaitShareATransaction) {
  const auto head = OpenHead();
  const uint64_t before = ExecCalls();
  WriteStream stream(head->store.get(), 1000, 1000);
  stream.Start(1000);
  ASSERT_TRUE(Wait([&] { return stream.all_acknowledged(); }));
  EXPECT_LT(ExecCalls() - before, 20u);
  EXPECT_EQ(head->commits, 1 + ExecCalls() - before);
}

TEST_F(RedisKvStoreTest, ThousandInFlight) {
  const auto head = OpenHead();
  const uint64_t before = ExecCalls();
  WriteStream stream(head->store.get(), 1000, 5000);
  const Time start = loop_.Now();
  stream.Start(20'000);
  ASSERT_TRUE(Wait([&] { return stream.all_acknowledged(); }));
  const Duration took = loop_.Now() - start;
  std::printf("20000 writes, 1000 in flight, appendfsync always: %.0f/s, %llu transactions\n", 20'000 / Seconds(took),
              static_cast<unsigned long long>(ExecCalls() - before));
  EXPECT_LT(ExecCalls() - before, 20'000u / 10);
}

TEST_F(RedisKvStoreTest, LoadsHundredThousandFacts) {
  auto head = OpenHead();
  KvBatch batch;
  for (int i = 0; i < 100'000; ++i) batch.emplace_back("actor/" + std::to_string(i), std::string(100, 'x'));
  ASSERT_TRUE(Write(head.get(), batch));
  EXPECT_EQ(head->commits, 2u) << "a batch is one transaction";
  const Time start = loop_.Now();
  head = OpenHead();
  std::printf("100000 facts opened in %.0f ms\n", Seconds(loop_.Now() - start) * 1000);
  ASSERT_TRUE(head->opened->ok()) << head->opened->status();
  EXPECT_EQ(head->facts().facts.size(), 100'000u);
}

TEST_F(RedisKvStoreTest, NewerHeadFencesTheOlder) {
  const auto old_head = OpenHead();
  ASSERT_TRUE(Write(old_head.get(), {{"a", "old"}}));
  const auto new_head = OpenHead();
  EXPECT_EQ(new_head->facts().epoch, 2u);
  bool done = false;
  old_head->store->Write({{"a", "older still"}}, [&] { done = true; });
  ASSERT_TRUE(Wait([&] { return old_head->ended.has_value(); }));
  EXPECT_TRUE(absl::IsAborted(*old_head->ended)) << *old_head->ended;
  EXPECT_THAT(base::Message(*old_head->ended), HasSubstr("another head"));
  EXPECT_THAT(old_head->store->health(), HasSubstr("another head"));
  ASSERT_TRUE(Write(new_head.get(), {{"b", "new"}}));
  EXPECT_FALSE(done);
  EXPECT_EQ(OpenHead()->facts().facts, (Facts{{"a", "old"}, {"b", "new"}}));
}

TEST_F(RedisKvStoreTest, WhatWasAcknowledgedBeforeATakeoverIsSeenByIt) {
  for (int round = 0; round < 20; ++round) {
    const auto old_head = OpenHead();
    WriteStream stream(old_head->store.get(), 50, 100);
    stream.Start(1'000'000);
    RunFor(std::chrono::milliseconds(round % 5));
    const auto new_head = OpenHead();
    ASSERT_TRUE(Wait([&] { return old_head->ended.has_value(); }));
    EXPECT_TRUE(absl::IsAborted(*old_head->ended)) << *old_head->ended;
    stream.ExpectIn(new_head->facts().facts);
  }
}

TEST_F(RedisKvStoreTest, TwoHeadsThatOpenAtOnceGetTwoEpochs) {
  std::vector<std::optional<absl::StatusOr<KvOpened>>> opened(5);
  std::vector<std::unique_ptr<RedisKvStore>> stores;
  for (auto& result : opened) {
    stores.push_back(std::make_unique<RedisKvStore>(&loop_, Options(), RedisKvStore::Callbacks{}));
    stores.back()->Open([&result](absl::StatusOr<KvOpened> value) { result = std::move(value); });
  }
  std::map<uint64_t, int> epochs;
  for (auto& result : opened) {
    ASSERT_TRUE(Wait([&] { return result.has_value(); }));
    ASSERT_TRUE(result->ok()) << result->status();
    ++epochs[(*result)->epoch];
  }
  EXPECT_EQ(epochs.size(), opened.size());
}

TEST_F(RedisKvStoreTest, StoreMayBeDestroyedAtAnyTime) {
  for (int milliseconds = 0; milliseconds < 10; ++milliseconds) {
    RedisKvStore store(&loop_, Options(), {});
    store.Open([](const absl::StatusOr<KvOpened>&) {});
    RunFor(std::chrono::milliseconds(milliseconds));
  }
  auto head = OpenHead();
  head->store->Write({{"a", "1"}}, [] { ADD_FAILURE() << "done after the end"; });
  head.reset();
  RunFor(std::chrono::milliseconds(20));
}

}  // namespace
}  // namespace manta::runtime

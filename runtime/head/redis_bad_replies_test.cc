#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "runtime/head/fake_redis.h"
#include "runtime/head/redis_fixture.h"

namespace manta::runtime {
namespace {

using testing::HasSubstr;

std::string Nested(int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += "*1\r\n";
  return text + ":1\r\n";
}

// What no Redis would answer to anything that we ask (or not in this place).
std::vector<std::string> Nonsense() {
  return {"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
          std::string("\0\xff\x16\x03\x01 binary", 12),
          "$99999999999999999999\r\n",
          "$-17\r\n",
          "*-5\r\n",
          "*99999999999999999999\r\n",
          ":twelve\r\n",
          "\r\n",
          "-\r\n",
          "-ERR no\r\n",
          "-NOPERM this user has no permissions\r\n",
          ":7\r\n",
          "*0\r\n",
          "*-1\r\n",
          "*1\r\n*-1\r\n",
          "*2\r\n:1\r\n:2\r\n",
          "*2\r\n$1\r\n0\r\n:1\r\n",
          "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n",
          "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
          Nested(6),
          Nested(50),
          "$3\r\nfooo\r\n"};
}

class RedisBadRepliesTest : public RedisTest {
 protected:
  RedisKvStore::Options Options() const {
    RedisKvStore::Options options = RedisTest::Options();
    options.open_timeout = std::chrono::milliseconds(60);
    options.reply_timeout = std::chrono::milliseconds(20);
    return options;
  }
  std::unique_ptr<FakeRedis> Fake(FakeRedis::Answer answer) {
    std::filesystem::remove(folder_ + "/redis.sock");
    return std::make_unique<FakeRedis>(&loop_, folder_ + "/redis.sock", std::move(answer));
  }
  // Answers everything right but `command`.
  std::unique_ptr<FakeRedis> FakeBut(const std::string& command, const std::string& bytes) {
    return Fake([=](const FakeRedis::Words& words) { return words[0] == command ? bytes : FakeRedis::Right(words); });
  }
};

TEST_F(RedisBadRepliesTest, RightAnswersOpen) {
  const auto fake = Fake(FakeRedis::Right);
  const auto head = OpenHead(Options());
  ASSERT_TRUE(head->opened->ok()) << head->opened->status();
  EXPECT_EQ(head->facts().epoch, 1u);
}

TEST_F(RedisBadRepliesTest, NonsenseIsATypedErrorAtEachStepOfOpening) {
  for (const char* command : {"PING", "INFO", "CONFIG", "MGET", "EXEC", "HSCAN"}) {
    for (const std::string& bytes : Nonsense()) {
      // One more fact or list than there is to an empty reply is no nonsense.
      if (bytes == "*0\r\n" && std::string(command) == "EXEC") continue;
      const auto fake = FakeBut(command, bytes);
      const auto head = OpenHead(Options());
      const absl::Status status = head->opened->status();
      if (status.ok()) {
        // A list that answers EXEC is an acknowledgement, whatever it lists; the read-back finds it out.
        EXPECT_EQ(std::string(command), "EXEC") << bytes;
        EXPECT_TRUE(Wait([&] { return head->ended.has_value(); })) << bytes;
      } else {
        EXPECT_THAT(base::Message(status), HasSubstr(folder_)) << command << " " << bytes;
      }
    }
  }
}

TEST_F(RedisBadRepliesTest, WebServerIsNamedAsNoRedis) {
  const auto fake = FakeBut("PING", "HTTP/1.1 400 Bad Request\r\n\r\n");
  const absl::Status status = OpenHead(Options())->opened->status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(base::Message(status), HasSubstr("no Redis"));
}

TEST_F(RedisBadRepliesTest, ReplyThatNobodyAskedForEndsTheConnection) {
  const auto fake = FakeBut("HSCAN", "*2\r\n$1\r\n0\r\n*0\r\n+OK\r\n");
  bool away = false;
  const auto head = OpenHead(Options(), [&] { away = true; });
  EXPECT_TRUE(Wait([&] { return away; }));
}

TEST_F(RedisBadRepliesTest, SilenceIsTimedOut) {
  const auto fake = Fake([](const FakeRedis::Words&) { return ""; });
  EXPECT_TRUE(absl::IsUnavailable(OpenHead(Options())->opened->status()));
}

TEST_F(RedisBadRepliesTest, TooOldIsRefused) {
  for (const char* version : {"6.0.16", "5.0.14", "2.8.0", "6", "x", ""}) {
    const auto fake = FakeBut("INFO", FakeRedis::Text("redis_version:" + std::string(version) + "\r\nrole:master\r\n"));
    const absl::Status status = OpenHead(Options())->opened->status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
  const auto fake = FakeBut("INFO", FakeRedis::Text("redis_version:6.2.0\r\nrole:master\r\n"));
  EXPECT_TRUE(OpenHead(Options())->opened->ok());
}

TEST_F(RedisBadRepliesTest, RedisClusterIsRefused) {
  const auto fake = FakeBut("INFO", FakeRedis::Text("redis_version:7.0.0\r\nrole:master\r\ncluster_enabled:1\r\n"));
  EXPECT_THAT(base::Message(OpenHead(Options())->opened->status()), HasSubstr("Redis Cluster"));
}

// A Redis that counts, and refuses transactions while it is told to.
TEST_F(RedisBadRepliesTest, RefusedTransactionIsSentAgain) {
  std::map<std::string, std::string> numbers;
  std::vector<FakeRedis::Words> queued;
  bool refuses = false;
  const auto fake = Fake([&](const FakeRedis::Words& words) -> std::string {
    if (words[0] == "SET" && refuses) return "-MISCONF Errors writing to the AOF file: No space left on device\r\n";
    if (words[0] == "SET") queued.push_back(words);
    if (words[0] == "MGET" && !numbers.empty()) return FakeRedis::List({numbers[words[1]], numbers[words[2]]});
    if (words[0] != "EXEC") return FakeRedis::Right(words);
    if (refuses) return "-EXECABORT Transaction discarded because of previous errors.\r\n";
    for (const FakeRedis::Words& write : queued) numbers[write[1]] = write[2];
    queued.clear();
    return "*1\r\n+OK\r\n";
  });
  const auto head = OpenHead(Options());
  ASSERT_TRUE(head->opened->ok()) << head->opened->status();
  ASSERT_TRUE(Write(head.get(), {{"a", "1"}}));
  refuses = true;
  bool done = false;
  head->store->Write({{"a", "2"}}, [&] { done = true; });
  ASSERT_TRUE(Wait([&] { return !head->store->health().empty(); }));
  RunFor(std::chrono::milliseconds(50));
  EXPECT_THAT(head->store->health(), HasSubstr("No space left"));
  EXPECT_FALSE(done);
  refuses = false;
  EXPECT_TRUE(Wait([&] { return done; }));
  EXPECT_EQ(head->store->health(), "");
}

TEST_F(RedisBadRepliesTest, RepliesWithFlippedBytesNeverCrash) {
  base::Rng rng(20);
  for (int round = 0; round < 300; ++round) {
    const auto fake = Fake([&](const FakeRedis::Words& words) {
      std::string bytes = FakeRedis::Right(words);
      if (rng.Bernoulli(0.2)) bytes[rng.Uniform(bytes.size())] = static_cast<char>(rng.Uniform(256));
      if (rng.Bernoulli(0.05)) bytes.erase(rng.Uniform(bytes.size()));
      if (rng.Bernoulli(0.05)) bytes += bytes;
      return bytes;
    });
    RedisKvStore::Options options = Options();
    options.open_timeout = std::chrono::milliseconds(15);
    options.reply_timeout = std::chrono::milliseconds(5);
    const auto head = OpenHead(options);
    if (!head->opened->ok()) continue;
    head->store->Write({{"a", "1"}, {"b", std::nullopt}}, [] {});
    RunFor(std::chrono::milliseconds(2));
  }
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/head/redis_address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime {
namespace {

using testing::HasSubstr;
using testing::Not;

RedisAddress Parse(const char* url) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl(url);
  EXPECT_TRUE(address.ok()) << url << ": " << address.status();
  return address.value_or(RedisAddress{});
}

TEST(RedisAddress, TcpWithAllParts) {
  const RedisAddress address = Parse("redis://me:p%40ss:word@db.example:7000/3");
  EXPECT_EQ(address.host, "db.example");
  EXPECT_EQ(address.port, 7000);
  EXPECT_EQ(address.user, "me");
  EXPECT_EQ(address.password, "p@ss:word");
  EXPECT_EQ(address.database, 3);
  EXPECT_EQ(ToString(address), "redis://db.example:7000/3");
  EXPECT_EQ(RedisCli(address), "redis-cli -h db.example -p 7000 -n 3");
}

TEST(RedisAddress, TcpDefaults) {
  for (const char* url : {"redis://host", "redis://host/", "redis://host:6379", "redis://:@host/0"}) {
    const RedisAddress address = Parse(url);
    EXPECT_EQ(address.host, "host");
    EXPECT_EQ(address.port, 6379);
    EXPECT_EQ(address.password, "");
    EXPECT_EQ(address.database, 0);
  }
  EXPECT_EQ(RedisCli(Parse("redis://host")), "redis-cli -h host -p 6379");
}

TEST(RedisAddress, Ipv6) {
  const RedisAddress address = Parse("redis://[::1]:7000");
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, 7000);
  EXPECT_EQ(ToString(address), "redis://[::1]:7000/0");
}

TEST(RedisAddress, Unix) {
  const RedisAddress address = Parse("unix://:secret@/run/redis.sock?db=2");
  EXPECT_EQ(address.unix_path, "/run/redis.sock");
  EXPECT_EQ(address.password, "secret");
  EXPECT_EQ(address.database, 2);
  EXPECT_EQ(ToString(address), "unix:///run/redis.sock?db=2");
  EXPECT_EQ(RedisCli(Parse("unix:///run/redis.sock")), "redis-cli -s /run/redis.sock");
}

TEST(RedisAddress, OthersAreRefusedWithoutThePassword) {
  for (const char* url : {"",
                          "redis",
                          "host:6379",
                          "http://host",
                          "rediss://:secret@host",
                          "redis://",
                          "redis://:secret@",
                          "redis://:secret@:6379",
                          "redis://:secret@host:",
                          "redis://:secret@host:0",
                          "redis://:secret@host:65536",
                          "redis://:secret@host:6379x",
                          "redis://:secret@host/x",
                          "redis://:secret@host/-1",
                          "redis://:secret@host/1/2",
                          "redis://:secret%@host",
                          "redis://:secret%4@host",
                          "redis://:secret%zz@host",
                          "redis://secret@host",
                          "redis://[::1",
                          "redis://[]:1",
                          "redis://[::1]6379",
                          "unix://",
                          "unix://relative",
                          "unix:///x?db=",
                          "unix:///x?db=a"}) {
    const absl::StatusOr<RedisAddress> address = ParseRedisUrl(url);
    EXPECT_TRUE(absl::IsInvalidArgument(address.status())) << url;
    EXPECT_THAT(base::Message(address.status()), Not(HasSubstr("secret"))) << url;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl(std::string("redis://ho\0st", 13)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl("unix:///" + std::string(200, 'x')).status()));
}

}  // namespace
}  // namespace manta::runtime

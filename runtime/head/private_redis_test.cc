#include "runtime/head/private_redis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "base/process.h"
#include "base/socket.h"
#include "runtime/head/redis_fixture.h"

namespace manta::runtime {
namespace {

using testing::HasSubstr;

class PrivateRedisTest : public RedisTest {};

TEST_F(PrivateRedisTest, StartsAdoptsAndStops) {
  const Time start = loop_.Now();
  StartServer();
  std::printf("private Redis answers after %.1f ms\n",
              std::chrono::duration<double>(loop_.Now() - start).count() * 1e3);
  EXPECT_FALSE(server_->adopted());
  const pid_t pid = server_->pid();
  ASSERT_NE(pid, 0);
  EXPECT_NE(getsid(pid), getsid(0)) << "a session of its own";
  struct stat file;
  ASSERT_EQ(stat((folder_ + "/redis.sock").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
  ASSERT_EQ(stat((folder_ + "/redis").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0700u);

  const absl::StatusOr<PrivateRedis> again = PrivateRedis::Start(Spec());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->adopted());
  EXPECT_EQ(again->pid(), pid);

  const Time stop = loop_.Now();
  EXPECT_TRUE(server_->Stop().ok());
  std::printf("and is stopped after %.1f ms\n", std::chrono::duration<double>(loop_.Now() - stop).count() * 1e3);
  EXPECT_EQ(server_->pid(), 0);
  EXPECT_TRUE(server_->Stop().ok());
  EXPECT_TRUE(absl::IsNotFound(PrivateRedis::Find(Spec()).status()));
}

TEST_F(PrivateRedisTest, ServerThatDoesNotReactIsKilled) {
  StartServer();
  kill(server_->pid(), SIGSTOP);
  PrivateRedis::Spec spec = Spec();
  spec.ready_timeout = std::chrono::milliseconds(50);
  const absl::Status status = PrivateRedis::Start(spec).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(base::Message(status), HasSubstr("process " + std::to_string(server_->pid())));
  absl::StatusOr<PrivateRedis> found = PrivateRedis::Find(Spec());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->Stop().ok());
  EXPECT_EQ(server_->pid(), 0);
}

TEST_F(PrivateRedisTest, PidFileOfAnEndedServerMeansNothing) {
  StartServer();
  KillServer();
  std::ofstream(folder_ + "/redis/redis.pid") << getpid() << "\n";
  EXPECT_EQ(server_->pid(), 0);
  StartServer();
  EXPECT_FALSE(server_->adopted());
  EXPECT_NE(server_->pid(), getpid());
}

TEST_F(PrivateRedisTest, RevivedManyTimesAtOnceOneServerRuns) {
  StartServer();
  KillServer();
  ASSERT_TRUE(Wait([&] {
    EXPECT_TRUE(server_->Revive().ok());
    return server_->pid() != 0;
  }));
  StartServer();
  EXPECT_TRUE(server_->adopted());
  std::ifstream log(folder_ + "/redis/redis.log");
  int starts = 0;
  for (std::string line; std::getline(log, line);) starts += line.find("Redis is starting") != std::string::npos;
  EXPECT_EQ(starts, 2);
}

TEST_F(PrivateRedisTest, MissingProgramSaysWhatToDo) {
  PrivateRedis::Spec spec = Spec();
  for (const char* program : {"redis-server-that-is-not-there", "/none/redis-server"}) {
    spec.program = program;
    const absl::Status status = PrivateRedis::Start(spec).status();
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_THAT(base::Message(status), HasSubstr("apt-get install redis-server"));
    EXPECT_THAT(base::Message(status), HasSubstr("--metadata memory"));
  }
}

TEST_F(PrivateRedisTest, ProgramThatIsNoRedisIsAnError) {
  PrivateRedis::Spec spec = Spec();
  spec.ready_timeout = std::chrono::milliseconds(100);
  spec.program = "/bin/false";
  EXPECT_TRUE(absl::IsUnavailable(PrivateRedis::Start(spec).status()));
  spec.program = "/bin/true";
  EXPECT_TRUE(absl::IsUnavailable(PrivateRedis::Start(spec).status()));
}

TEST_F(PrivateRedisTest, PathsThatCannotBeAreRefused) {
  PrivateRedis::Spec spec = Spec();
  spec.socket_path = folder_ + "/" + std::string(base::kSocketPathBytesMax, 's');
  EXPECT_TRUE(absl::IsInvalidArgument(PrivateRedis::Start(spec).status()));
  spec = Spec();
  spec.data_dir = "relative";
  EXPECT_TRUE(absl::IsInvalidArgument(PrivateRedis::Start(spec).status()));
}

TEST_F(PrivateRedisTest, FilesThatRedisCannotReadAreAnErrorWithItsLog) {
  StartServer();
  Ask({{"SET", "a", "1"}});
  ASSERT_TRUE(server_->Stop().ok());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ + "/redis")) {
    if (entry.path().string().ends_with(".incr.aof")) std::ofstream(entry.path()) << "this is no command\n";
  }
  PrivateRedis::Spec spec = Spec();
  spec.ready_timeout = std::chrono::milliseconds(200);
  const absl::Status status = PrivateRedis::Start(spec).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(base::Message(status), HasSubstr("ended"));
  EXPECT_THAT(base::Message(status), HasSubstr("aof"));
}

TEST_F(PrivateRedisTest, TwoServersOfOneMachineDoNotDisturbEachOther) {
  StartServer();
  PrivateRedis::Spec spec{.data_dir = folder_ + "/other", .socket_path = folder_ + "/other.sock"};
  absl::StatusOr<PrivateRedis> other = PrivateRedis::Start(spec);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_NE(other->pid(), server_->pid());
  spec.data_dir = folder_ + "/third";
  EXPECT_FALSE(PrivateRedis::Start(spec).ok()) << "the socket is another server's";
  EXPECT_TRUE(other->Stop().ok());
  EXPECT_NE(server_->pid(), 0);
}

}  // namespace
}  // namespace manta::runtime

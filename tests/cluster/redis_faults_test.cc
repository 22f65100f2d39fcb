// The head's Redis dies, stops, refuses, forgets, or its disk is full: FAULTS.md's rows, with real daemons.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/cluster/fault_story.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::ReadFile;
using embedded::WriteFile;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

constexpr int kRounds = 3;

}  // namespace

TEST_F(Faults, AKilledRedisIsStartedAgainAndNothingIsLost) {
  StartHead();
  AddNode("w1");
  Attach();
  ExpectNamesCanBeGiven("before", kRecovered);
  for (int round = 0; round < kRounds; ++round) {
    const pid_t killed = redis();
    Send(SIGKILL, killed);
    ExpectNamesCanBeGiven("after-" + std::to_string(round), kRecovered);
    EXPECT_NE(redis(), killed);
  }
  KillHead();
  RestartHead();
  for (const char* name : {"before", "after-0", "after-1", "after-2"}) EXPECT_TRUE(GetActor<Counter>(name)) << name;
}

TEST_F(Faults, AStoppedRedisDelaysOnlyWhatMustBeRemembered) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Name("before").Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "meanwhile-" + std::to_string(round);
    Send(SIGSTOP, redis());
    const Stopwatch watch;
    const auto waits = On("w1", Actor<Counter>()).Name(name).Remote();
    const auto call = waits.Call<&Counter::Add>().Remote(1);
    ExpectCallsSucceed(actor);
    ExpectRunsOn({"w1"});
    Sleep(seconds(5) - watch.elapsed());
    Send(SIGCONT, redis());
    EXPECT_EQ(Get(call, kRecovered), 1);
    EXPECT_TRUE(GetActor<Counter>(name));
  }
}

TEST_F(Faults, ConnectionsToRedisThatAreCutAreMadeAgain) {
  StartHead();
  AddNode("w1");
  Attach();
  for (int round = 0; round < 5; ++round) {
    EXPECT_THAT(Redis({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}), Not(HasSubstr("ERR")));
    ExpectNamesCanBeGiven("after-" + std::to_string(round), kRecovered);
  }
}

TEST_F(Faults, ARedisThatRefusesWritesDelaysWhatMustBeRemembered) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto before = On("w1", Actor<Counter>()).Name("before").Remote();
  Get(before.Call<&Counter::Add>().Remote(1));
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = "meanwhile-" + std::to_string(round);
    EXPECT_THAT(Redis({"CONFIG", "SET", "maxmemory", "1"}), HasSubstr("OK"));
    const auto waits = On("w1", Actor<Counter>()).Name(name).Remote();
    const auto call = waits.Call<&Counter::Add>().Remote(1);
    EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(call, milliseconds(500)); })) << "it was acknowledged, not stored";
    ExpectCallsSucceed(before);
    EXPECT_THAT(Redis({"CONFIG", "SET", "maxmemory", "0"}), HasSubstr("OK"));
    EXPECT_EQ(Get(call, kRecovered), 1);
  }
  KillHead();
  RestartHead();
  for (const char* name : {"before", "meanwhile-0", "meanwhile-1", "meanwhile-2"}) {
    EXPECT_TRUE(GetActor<Counter>(name)) << name;
  }
}

TEST_F(Faults, AHeadRefusesARedisThatWasEmptied) {
  StartHead();
  AddNode("w1");
  Attach();
  ExpectNamesCanBeGiven("known", kRecovered);
  Sleep(milliseconds(300));  // commit_seq's file is at most 100 ms and one fsync behind
  KillHead();
  Redis({"FLUSHALL"});
  ExpectHeadRefusesLostHistory();
}

TEST_F(Faults, AHeadWhoseRedisIsEmptiedEndsAndSaysWhy) {
  StartHead();
  AddNode("w1");
  Attach();
  ExpectNamesCanBeGiven("known", kRecovered);
  Redis({"FLUSHALL"});
  const auto unheard = On("w1", Actor<Counter>()).Name("unheard").Remote();
  EXPECT_TRUE(Within(kRecovered, [this] { return !IsAlive(head()); })) << "it serves on without its memory";
  EXPECT_THAT(ReadFile(File("state/logs/head.log")), HasSubstr("facts are gone"));
}

TEST_F(Faults, AHeadRefusesARedisWhoseFileWasCut) {
  StartHead();
  AddNode("w1");
  Attach();
  for (int i = 0; i < 5; ++i) ExpectNamesCanBeGiven("known-" + std::to_string(i), kRecovered);
  Sleep(milliseconds(300));
  Detach();
  ASSERT_EQ(Manta({"stop"}).status, 0);
  std::string path;
  for (const auto& file : std::filesystem::directory_iterator(File("state/redis/appendonlydir"))) {
    if (file.path().string().ends_with(".incr.aof")) path = file.path().string();
  }
  const std::string whole = ReadFile(path);
  ASSERT_FALSE(whole.empty());
  for (const size_t quarters : {3, 2, 1}) {
    WriteFile(path, whole.substr(0, whole.size() * quarters / 4));
    ExpectHeadRefusesLostHistory();
    const pid_t server = redis();
    if (server != 0 && IsAlive(server)) KillNow(server);  // the next one reads its file anew
  }
}

// ------------------------------------------------------------------ a full disk

// The state directory is a small file system of this test's own.
class FullDisk : public Faults {
 protected:
  void SetUp() override {
    Faults::SetUp();
    std::filesystem::create_directory(state_dir());
    ASSERT_TRUE(unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                mount("none", state_dir().c_str(), "tmpfs", 0, "size=16m,mode=0700") == 0)
        << std::strerror(errno) << ": this test needs a mount namespace of its own; run it as root";
  }
  void TearDown() override {
    Faults::TearDown();
    umount2(state_dir().c_str(), MNT_DETACH);
  }
  void Fill() {
    std::ofstream file(File("state/filler"), std::ios::binary);
    const std::string block(64 << 10, 'x');
    while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
    file.clear();
    while (file.put('x').flush()) {
    }
  }
};

TEST_F(FullDisk, UnderTheRedisDelaysWhatMustBeRememberedAndLosesNothing) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto before = On("w1", Actor<Counter>()).Name("before").Remote();
  EXPECT_EQ(Get(before.Call<&Counter::Add>().Remote(1), kRecovered), 1);
  Fill();
  const auto waits = On("w1", Actor<Counter>()).Name("meanwhile").Remote();
  const auto call = waits.Call<&Counter::Add>().Remote(1);
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(call, seconds(2)); })) << "it was acknowledged without being stored";
  ExpectCallsSucceed(before);
  std::filesystem::remove(File("state/filler"));
  EXPECT_EQ(Get(call, seconds(10)), 1);
  KillHead();
  RestartHead();
  EXPECT_TRUE(GetActor<Counter>("before") && GetActor<Counter>("meanwhile"));
}

}  // namespace manta::cluster

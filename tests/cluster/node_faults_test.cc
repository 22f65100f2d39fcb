// Nodes of a cluster that die, stop and come back: FAULTS.md's rows, with real daemons.
#include <signal.h>

#include <string>
#include <vector>

#include "base/process.h"
#include "runtime/cluster_files.h"
#include "tests/cluster/fault_story.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::WriteFile;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

TEST_F(Faults, AKilledNodeIsNoticedAtOnce) {
  StartHead();
  const Node whole = AddNode("w1"), daemon = AddNode("w2");
  Attach();
  const auto on_whole = On("w1", Actor<Counter>()).Remote();
  const auto on_daemon = On("w2", Actor<Counter>()).Remote();
  const auto first = on_whole.Call<&Counter::WaitFor>().Remote(File("never"));
  const auto second = on_daemon.Call<&Counter::WaitFor>().Remote(File("never"));
  Get(On("w1", Task<&OwnPid>()).Remote());
  Get(On("w2", Task<&OwnPid>()).Remote());
  KillAllOf(whole);
  ReportBar("node's processes killed -> caller's error", TimeToEnd(first, kSilenceNoticed), milliseconds(100));
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(first); }));
  Send(SIGKILL, daemon.pid);
  ReportBar("node's daemon alone killed -> caller's error", TimeToEnd(second, kSilenceNoticed), milliseconds(100));
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(second); }));
  EXPECT_TRUE(Within(kNoticed, [&] { return WorkersOf(daemon).empty(); })) << "its workers live on";
}

TEST_F(Faults, ANodeThatIsKilledAgainAndAgainIsReplacedEachTime) {
  StartHead();
  Attach();
  for (int round = 0; round < 5; ++round) {
    const Node node = AddNode("w1");
    const auto call = On("w1", Actor<Counter>()).Remote().Call<&Counter::WaitFor>().Remote(File("never"));
    EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), node.number) << "round " << round;
    Send(SIGKILL, node.pid);
    TimeToEnd(call, kNoticed);
    EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
    EXPECT_TRUE(Within(kNoticed, [&] { return WorkersOf(node).empty(); })) << "its workers live on";
  }
  const Node last = AddNode("w1");
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), last.number);
}

TEST_F(Faults, WhatRanOnAKilledNodeIsRunElsewhere) {
  StartHead();
  const Node one = AddNode("w1"), two = AddNode("w2");
  Attach();
  const auto actor = On(kAnywhere, Actor<Counter>()).Name("moves").MaxRestarts(3).MaxTaskRetries(-1).Remote();
  const auto task = On(kAnywhere, Task<&SayPidAndWait>()).Remote(File("pid"), File("go"));
  AwaitPid("pid");
  WriteFile(File("go"), "");
  std::string where = Get(actor.Call<&Counter::Node>().Remote());
  const Stopwatch watch;
  KillAllOf(where == one.number ? one : two);
  EXPECT_NE(Get(actor.Call<&Counter::Node>().Remote(), kRecovered), where);
  ReportBar("node killed -> its restarted actor answers elsewhere", watch.elapsed(), kRecovered);
  Get(task, kRecovered);
  EXPECT_EQ(Get(GetActor<Counter>("moves")->Call<&Counter::Life>().Remote(), kRecovered), 2);
}

TEST_F(Faults, WhatOnlyAKilledNodeHadIsLost) {
  StartHead();
  const Node node = AddNode("w1");
  AddNode("w2");
  Attach();
  const auto ref = On("w1", Task<&Bytes>()).MaxRetries(0).Remote(uint64_t{4} << 20);
  Wait(std::vector{On("w1", Task<&SizeOf>()).Remote(ref)}, 1, kRecovered);
  KillAllOf(node);
  const Stopwatch watch;
  const Result<std::vector<uint8_t>> result = TryGet(ref, kRecovered);
  EXPECT_FALSE(result.ok());
  EXPECT_THAT(result.error().code(), AnyOf(ErrorCode::kObjectLost, ErrorCode::kNodeDied));
  EXPECT_LE(watch.elapsed(), kSilenceNoticed);
}

TEST_F(Faults, ADriverWhoseNodeDiesIsToldSoAndCanComeBack) {
  StartHead();
  const Node node = AddNode("w1");
  Send(SIGTERM, node_beside_head());
  ASSERT_TRUE(Within(seconds(2), [this] { return !IsAlive(node_beside_head()); }));
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  KillAllOf(node);
  const auto call = actor.Call<&Counter::Add>().Remote(1);
  ReportBar("driver's node killed -> error", TimeToEnd(call, kNoticed), milliseconds(100));
  EXPECT_FALSE(TryGet(call).ok());
  Detach();
  AddNode("w1");
  Attach();
  EXPECT_EQ(Get(Task<&SlowOne>().Remote(1), kRecovered), 1);
}

TEST_F(Faults, ANodeThatStopsForTwoSecondsCostsNothingButTheWait) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1)), 1);
  Send(SIGSTOP, node.pid);
  Sleep(seconds(2));
  Send(SIGCONT, node.pid);
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 2);
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), node.number) << "it is the node that it was";
}

TEST_F(Faults, ANodeThatStopsForTenSecondsIsDeadAndComesBackAsAnother) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  const int worker = Get(actor.Call<&Counter::Pid>().Remote());
  const auto call = actor.Call<&Counter::WaitFor>().Remote(File("never"));
  Send(SIGSTOP, node.pid);
  const Stopwatch stopped;
  ReportBar("node stopped -> caller's error", TimeToEnd(call, seconds(8)), kSilenceNoticed);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
  const auto waits = On("w1", Task<&Where>()).Remote();
  Sleep(seconds(10) - stopped.elapsed());
  Send(SIGCONT, node.pid);
  const Stopwatch continued;
  const std::string number = Get(waits, kRecovered);
  ReportBar("node continued -> it is used again", continued.elapsed(), seconds(2));
  EXPECT_NE(number, node.number) << "an old incarnation is not taken back";
  EXPECT_TRUE(Within(kNoticed, [worker] { return !IsAlive(worker); })) << "its old workers live on";
  EXPECT_TRUE(IsAlive(node.pid)) << "the daemon is the same process";
}

TEST_F(Faults, AStoppedNodeWhoseNameIsTakenComesBackBesideTheOther) {
  StartHead();
  const Node old = AddNode("w1");
  Attach();
  ExpectRunsOn({"w1"});
  Send(SIGSTOP, old.pid);
  const Node young = AddNode("w1");
  Sleep(seconds(4));
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), young.number);
  Send(SIGCONT, old.pid);
  Sleep(seconds(1));
  for (int i = 0; i < 20; ++i) EXPECT_NE(Get(On("w1", Task<&Where>()).Remote(), kRecovered), old.number);
}

// Another process has got the pid of a daemon that is gone: nobody may take it for that daemon.
TEST_F(Faults, AStopDoesNotEndWhoeverGotADaemonsPid) {
  StartHead();
  const std::vector<runtime::ClusterHere> clusters = runtime::ClustersHere(run_directory());
  ASSERT_THAT(clusters, SizeIs(1));
  runtime::DaemonFile old;
  old.pid = getpid();
  old.start_time_ticks = base::ReadProcessStat(getpid())->start_time_ticks - 1;
  old.name = "gone";
  ASSERT_TRUE(runtime::WriteDaemonFile(clusters.front().run_dir, old).ok());
  const Ran stop = Manta({"stop"});
  EXPECT_EQ(stop.status, 0) << stop.output;
  EXPECT_THAT(stop.output, Not(HasSubstr("gone")));
}

}  // namespace manta::cluster

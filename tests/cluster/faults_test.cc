// Processes of a cluster that die, stop and come back: FAULTS.md's rows, with real daemons.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/process.h"
#include "rpc/socket_address.h"
#include "runtime/cluster_files.h"
#include "tests/cluster/cluster.h"

namespace manta::cluster {

using embedded::AwaitFile;
using embedded::IsAlive;
using embedded::ReadFile;
using embedded::Say;
using embedded::WriteFile;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

namespace {

constexpr milliseconds kNoticed = seconds(1);
constexpr milliseconds kRecovered = seconds(5);
constexpr milliseconds kSilenceNoticed(3500);

}  // namespace

// ------------------------------------------------------------------ what runs in workers

int OwnPid() { return getpid(); }
std::string Where() { return CurrentContext().node(); }
std::string SayPidAndWait(std::string pid_file, std::string go) {
  WriteFile(pid_file, std::to_string(getpid()));
  AwaitFile(go);
  return CurrentContext().node();
}
std::vector<uint8_t> Bytes(uint64_t count) { return std::vector<uint8_t>(count, 42); }
uint64_t SizeOf(std::vector<uint8_t> data) { return data.size(); }
int SlowOne(int ms) {
  std::this_thread::sleep_for(milliseconds(ms));
  return 1;
}
class Counter {
 public:
  Counter() = default;
  explicit Counter(std::string pid_file) { SayPidAndWait(pid_file, pid_file + ".go"); }
  int Add(int by) { return value_ += by; }
  int Pid() { return getpid(); }
  std::string Node() { return CurrentContext().node(); }
  int Life() { return static_cast<int>(CurrentContext().incarnation()); }
  void WaitFor(std::string path) { AwaitFile(path); }

 private:
  int value_ = 0;
};
// Calls another actor, whose handle it holds.
class Caller {
 public:
  explicit Caller(ActorHandle<Counter> counter) : counter_(counter) {}
  int Call() { return Get(counter_.Call<&Counter::Add>().Remote(1), seconds(5)); }
  // One call after another until the file is there; how many came back.
  int CallUntil(std::string path) {
    int calls = 0;
    for (; !embedded::Exists(path); ++calls) Call();
    return calls;
  }
  int Ready() { return 1; }
  // What Get says when its own timeout, or that of the call, is over.
  std::string GetWithin(int ms) { return WhatOf(counter_.Call<&Counter::Add>().Remote(1), milliseconds(ms)); }
  std::string CallWithin(int ms) {
    return WhatOf(counter_.Call<&Counter::Add>().Timeout(milliseconds(ms)).Remote(1), seconds(20));
  }

 private:
  static std::string WhatOf(const ObjectRef<int>& ref, milliseconds timeout) {
    const Result<int> result = TryGet(ref, timeout);
    if (result.ok()) return "it has a value";
    return (result.error().code() == ErrorCode::kTimeout ? "timeout: " : "another: ") + result.error().what();
  }
  ActorHandle<Counter> counter_;
};

SCENARIO(NameAnActorAndWait) {
  const Runtime runtime = Init(argc, argv);
  const auto actor = On(kAnywhere, Actor<Counter>()).Name("theirs").Namespace("shared").Remote();
  Say("pid " + std::to_string(Get(actor.Call<&Counter::Pid>().Remote())));
  while (true) pause();
}

SCENARIO(CallSlowly) {
  const Runtime runtime = Init(argc, argv);
  const auto counter = On("w1", Actor<Counter>()).Remote();
  Say("begins");
  for (int i = 1; i <= 40; ++i) {
    if (Get(counter.Call<&Counter::Add>().Remote(1), seconds(5)) != i) return 1;
    std::this_thread::sleep_for(milliseconds(50));
  }
  Say("done");
  return 0;
}

class Faults : public ClusterTest {
 protected:
  Faults() : ClusterTest(seconds(60)) {}

  int AwaitPid(const std::string& name) {
    AwaitFile(File(name));
    return std::stoi(ReadFile(File(name)));
  }
  // How long until `ref` is ready, one way or the other.
  template <class T>
  milliseconds TimeToEnd(const ObjectRef<T>& ref, milliseconds limit) {
    const Stopwatch watch;
    EXPECT_TRUE(Wait(std::vector<ObjectRef<T>>{ref}, 1, limit).pending.empty()) << "not noticed in time";
    return watch.elapsed();
  }
  void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }
  void KillNow(pid_t pid) {
    Send(SIGKILL, pid);
    EXPECT_TRUE(Within(seconds(2), [pid] { return !IsAlive(pid); }));
  }
  // Calls go through that the head has no part in.
  void ExpectCallsSucceed(const ActorHandle<Counter>& counter, int calls = 100) {
    for (int i = 0; i < calls; ++i) EXPECT_GT(Get(counter.Call<&Counter::Add>().Remote(1), seconds(5)), 0);
  }
  void ExpectNamesCanBeGiven(const std::string& name, milliseconds limit) {
    const auto actor = On(kAnywhere, Actor<Counter>()).Name(name).Remote();
    EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1), limit), 1);
    EXPECT_TRUE(GetActor<Counter>(name));
  }
};

// ------------------------------------------------------------------ workers

TEST_F(Faults, AWorkerThatIsKilledOnAnotherNodeIsNoticedAtOnce) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto once = On("w1", Task<&SayPidAndWait>()).MaxRetries(0).Remote(File("once"), File("never"));
  Send(SIGKILL, AwaitPid("once"));
  ReportBar("worker of another node killed -> error", TimeToEnd(once, kNoticed), milliseconds(100));
  const auto error = ErrorOf<WorkerDiedError>([&] { Get(once); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("signal 9"));
  EXPECT_TRUE(error->may_have_run());
  // Tried again there, if it may be.
  const auto retried = On("w1", Task<&SayPidAndWait>()).Remote(File("first"), File("go"));
  const int pid = AwaitPid("first");
  WriteFile(File("go"), "");
  KillNow(pid);
  Get(retried, kRecovered);
}

TEST_F(Faults, AWorkerThatIsKilledInItsConstructorIsMadeAnew) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).MaxRestarts(1).Remote(File("pid"));
  const int pid = AwaitPid("pid");
  WriteFile(File("pid.go"), "");
  KillNow(pid);
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(2), kRecovered), 2);
  // And dies with it, if it may not.
  std::filesystem::remove(File("pid"));
  std::filesystem::remove(File("pid.go"));
  const auto mortal = On("w1", Actor<Counter>()).Remote(File("pid"));
  const auto call = mortal.Call<&Counter::Add>().Remote(1);
  KillNow(AwaitPid("pid"));
  TimeToEnd(call, kNoticed);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
}

TEST_F(Faults, WhatAKilledWorkerHadStoredIsStillThere) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  constexpr uint64_t kBytes = 4 << 20;
  const auto ref = On("w1", Task<&Bytes>()).Remote(kBytes);
  Wait(std::vector{ref}, 1, kRecovered);
  for (const Relative& worker : WorkersOf(node)) KillNow(worker.pid);
  EXPECT_EQ(Get(On("w1", Task<&SizeOf>()).Remote(ref), kRecovered), kBytes);
  EXPECT_EQ(Get(ref, kRecovered).size(), kBytes);
}

TEST_F(Faults, AllWorkersKilledAtOnceComeBack) {
  StartHead();
  const Node one = AddNode("w1", {"--num-cpus=2"}), two = AddNode("w2", {"--num-cpus=2"});
  Attach();
  const auto actor = On(kAnywhere, Actor<Counter>()).MaxRestarts(-1).MaxTaskRetries(-1).Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  for (int round = 0; round < 3; ++round) {
    std::vector<ObjectRef<int>> refs;
    for (int i = 0; i < 8; ++i) refs.push_back(Task<&SlowOne>().MaxRetries(-1).Remote(100));
    Sleep(milliseconds(120));
    for (const Node& node : {one, two}) {
      for (const Relative& worker : WorkersOf(node)) kill(worker.pid, SIGKILL);
    }
    EXPECT_THAT(Get(refs, kRecovered), SizeIs(8));
    EXPECT_GT(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 0);
  }
}

TEST_F(Faults, AStoppedWorkerCostsNothingButTheWait) {
  StartHead();
  AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  const int pid = Get(actor.Call<&Counter::Pid>().Remote());
  Send(SIGSTOP, pid);
  const auto call = actor.Call<&Counter::Add>().Remote(7);
  const Stopwatch watch;
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(call, seconds(2)); }));
  EXPECT_LE(watch.elapsed(), seconds(3)) << "a wait outlived its deadline by more than 1 s";
  Send(SIGCONT, pid);
  EXPECT_EQ(Get(call, kNoticed), 7);
}

// ------------------------------------------------------------------ nodes

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

// ------------------------------------------------------------------ the head

TEST_F(Faults, WithoutAHeadCallsGoOnAndItsNextLifeKnowsWhatItKnew) {
  StartHead();
  const Node one = AddNode("w1"), two = AddNode("w2");
  Attach();
  const auto named = On("w1", Actor<Counter>()).Name("known").Remote();
  const auto caller = On("w2", Actor<Caller>()).Remote(named);
  Get(named.Call<&Counter::Add>().Remote(1));
  Get(caller.Call<&Caller::Call>().Remote());
  const auto calls = caller.Call<&Caller::CallUntil>().Remote(File("enough"));
  KillHead();
  ExpectCallsSucceed(named);
  Sleep(milliseconds(500));
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), one.number)
      << "nodes that know each other need no head";
  const Stopwatch watch;
  RestartHead();
  ExpectNamesCanBeGiven("new", kRecovered);
  ReportBar("head restarted -> first new named actor", watch.elapsed(), seconds(1));
  WriteFile(File("enough"), "");
  EXPECT_GT(Get(calls, kRecovered), 100) << "calls between actors, all of which succeeded";
  const auto found = GetActor<Counter>("known");
  ASSERT_TRUE(found);
  EXPECT_GT(Get(found->Call<&Counter::Add>().Remote(1), kRecovered), 100) << "the same life of it";
  EXPECT_EQ(Get(On("w2", Task<&Where>()).Remote(), kRecovered), two.number) << "nodes keep their numbers";
  AddNode("w3");
  ExpectRunsOn({"w1", "w2", "w3"});
}

TEST_F(Faults, WithoutAHeadNothingIsWaitedForBeyondItsTimeout) {
  StartHead();
  AddNode("w1"), AddNode("w2");
  Attach();
  const auto named = On("w1", Actor<Counter>()).Name("known").Remote();
  EXPECT_EQ(Get(named.Call<&Counter::Add>().Remote(1)), 1);
  const auto caller = On("w2", Actor<Caller>()).Remote(named);  // which has not called it yet
  Get(caller.Call<&Caller::Ready>().Remote());
  KillHead();
  EXPECT_TRUE(ErrorOf<TimeoutError>([] { GetActor<Counter>("known", "", milliseconds(300)); }));
  EXPECT_THAT(Get(caller.Call<&Caller::GetWithin>().Remote(300), kRecovered),
              AllOf(HasSubstr("timeout: "), HasSubstr("not answered yet: by the head")));
  EXPECT_THAT(Get(caller.Call<&Caller::CallWithin>().Remote(300), kRecovered), HasSubstr("timeout: "));
  RestartHead();
  EXPECT_EQ(Get(caller.Call<&Caller::Call>().Remote(), kRecovered), 3)
      << "a Get that gives up leaves its call as it is";
  EXPECT_TRUE(GetActor<Counter>("known"));
}

TEST_F(Faults, AJobThatEndedWhileTheHeadWasAwayIsOver) {
  StartHead();
  AddNode("w1");
  Attach();
  Scenario driver = Drive("NameAnActorAndWait");
  const int pid = std::atoi(driver.Await("pid").c_str());
  ASSERT_TRUE(GetActor<Counter>("theirs", "shared"));
  KillHead();
  driver.Signal(SIGKILL);
  driver.Join();
  RestartHead();
  EXPECT_TRUE(Within(kRecovered, [pid] { return !IsAlive(pid); })) << "its actor lives on";
  EXPECT_TRUE(Within(kRecovered, [] { return !GetActor<Counter>("theirs", "shared"); })) << "its name is taken still";
}

TEST_F(Faults, ANodeThatDiedWhileTheHeadWasAwayIsDead) {
  StartHead();
  const Node node = AddNode("w1");
  AddNode("w2");
  Attach();
  const auto actor = On(kAnywhere, Actor<Counter>()).Name("moves").MaxRestarts(1).MaxTaskRetries(-1).Remote();
  const auto lost = On("w1", Actor<Counter>()).Remote();
  const auto call = lost.Call<&Counter::WaitFor>().Remote(File("never"));
  Get(actor.Call<&Counter::Add>().Remote(1));
  Get(On("w1", Task<&OwnPid>()).Remote());
  KillHead();
  KillAllOf(node);
  RestartHead();
  TimeToEnd(call, seconds(10));
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
  EXPECT_GT(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 0);
}

TEST_F(Faults, AHeadThatIsKilledOftenLosesNothing) {
  StartHead();
  AddNode("w1");
  Attach();
  for (int life = 0; life < 5; ++life) {
    const auto actor = On("w1", Actor<Counter>()).Name("life-" + std::to_string(life)).Remote();
    if (life % 2 == 0) {
      EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 1);
    }
    KillHead();
    RestartHead();
    EXPECT_GT(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 0);
    for (int known = 0; known <= life; ++known) {
      EXPECT_TRUE(GetActor<Counter>("life-" + std::to_string(known))) << known << " in life " << life;
    }
  }
}

TEST_F(Faults, AStoppedHeadDeclaresNobodyDead) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Name("known").Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  for (const seconds stop : {seconds(2), seconds(10)}) {
    Send(SIGSTOP, head());
    const Stopwatch watch;
    ExpectCallsSucceed(actor);
    Sleep(stop - watch.elapsed());
    Send(SIGCONT, head());
    ExpectNamesCanBeGiven("after-" + std::to_string(stop.count()), kRecovered);
    EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), node.number);
    ExpectCallsSucceed(actor);
  }
}

// A stranger sits on the head's port when it wants to come back.
TEST_F(Faults, NodesWaitForTheirHeadWhileAStrangerHasItsPort) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  KillHead();
  {
    const auto stranger = rpc::ListenOn(address(), 16);
    ASSERT_TRUE(stranger.ok()) << stranger.status();
    Sleep(milliseconds(500));
    const Ran refused = Manta({"start", "--head", "--port=" + address().substr(address().rfind(':') + 1),
                               "--state-dir=" + state_dir(), "--num-cpus=0"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.output, HasSubstr("in use"));
    ExpectCallsSucceed(actor);
  }
  RestartHead();
  ExpectNamesCanBeGiven("new", kRecovered);
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kRecovered), node.number);
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

// ------------------------------------------------------------------ drivers

TEST_F(Faults, AStoppedDriverFindsEverythingAsItWas) {
  StartHead();
  AddNode("w1");
  Scenario driver = Drive("CallSlowly");
  driver.Await("begins");
  Sleep(milliseconds(300));
  driver.Signal(SIGSTOP);
  Sleep(seconds(4));
  driver.Signal(SIGCONT);
  EXPECT_EQ(driver.Join().status, 0) << driver.output();
}

// ------------------------------------------------------------------ Redis

TEST_F(Faults, AKilledRedisIsStartedAgainAndNothingIsLost) {
  StartHead();
  AddNode("w1");
  Attach();
  ExpectNamesCanBeGiven("before", kRecovered);
  for (int round = 0; round < 3; ++round) {
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
  Send(SIGSTOP, redis());
  const Stopwatch watch;
  const auto waits = On("w1", Actor<Counter>()).Name("meanwhile").Remote();
  const auto call = waits.Call<&Counter::Add>().Remote(1);
  ExpectCallsSucceed(actor);
  ExpectRunsOn({"w1"});
  Sleep(seconds(5) - watch.elapsed());
  Send(SIGCONT, redis());
  EXPECT_EQ(Get(call, kRecovered), 1);
  EXPECT_TRUE(GetActor<Counter>("meanwhile"));
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

TEST_F(Faults, AHeadRefusesARedisThatWasEmptied) {
  StartHead();
  AddNode("w1");
  Attach();
  ExpectNamesCanBeGiven("known", kRecovered);
  Sleep(milliseconds(300));  // commit_seq's file is at most 100 ms and one fsync behind
  KillHead();
  Redis({"FLUSHALL"});
  const Ran refused = Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), "--num-cpus=0"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("was acknowledged"));
  EXPECT_THAT(refused.output, HasSubstr("--new"));
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
  for (const auto& file : std::filesystem::directory_iterator(File("state/redis/appendonlydir"))) {
    if (!file.path().string().ends_with(".incr.aof")) continue;
    std::filesystem::resize_file(file.path(), file.file_size() / 2);
  }
  const Ran refused = Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), "--num-cpus=0"});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("was acknowledged"));
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

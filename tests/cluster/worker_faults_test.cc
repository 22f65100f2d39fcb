// Workers and drivers of a cluster that die or stop: FAULTS.md's rows, with real daemons.
#include <signal.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/fault_story.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::Say;
using embedded::WriteFile;
using ::testing::HasSubstr;
using ::testing::SizeIs;

namespace {

constexpr int kRounds = 3;

}  // namespace

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
  for (int round = 0; round < kRounds; ++round) {
    const std::string first = "first-" + std::to_string(round), only = "only-" + std::to_string(round);
    const auto actor = On("w1", Actor<Counter>()).MaxRestarts(1).Remote(File(first));
    const int pid = AwaitPid(first);
    WriteFile(File(first + ".go"), "");
    KillNow(pid);
    EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(2), kRecovered), 2);
    // And dies with it, if it may not.
    const auto mortal = On("w1", Actor<Counter>()).Remote(File(only));
    const auto call = mortal.Call<&Counter::Add>().Remote(1);
    KillNow(AwaitPid(only));
    TimeToEnd(call, kNoticed);
    EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
  }
}

TEST_F(Faults, WhatAKilledWorkerHadStoredIsStillThere) {
  StartHead();
  const Node node = AddNode("w1");
  Attach();
  constexpr uint64_t kBytes = 4 << 20;
  for (int round = 0; round < kRounds; ++round) {
    const auto ref = On("w1", Task<&Bytes>()).Remote(kBytes);
    Wait(std::vector{ref}, 1, kRecovered);
    for (const Relative& worker : WorkersOf(node)) KillNow(worker.pid);
    EXPECT_EQ(Get(On("w1", Task<&SizeOf>()).Remote(ref), kRecovered), kBytes);
    EXPECT_EQ(Get(ref, kRecovered).size(), kBytes);
  }
}

TEST_F(Faults, AllWorkersKilledAtOnceComeBack) {
  StartHead();
  const Node one = AddNode("w1", {"--num-cpus=2"}), two = AddNode("w2", {"--num-cpus=2"});
  Attach();
  const auto actor = On(kAnywhere, Actor<Counter>()).MaxRestarts(-1).MaxTaskRetries(-1).Remote();
  Get(actor.Call<&Counter::Add>().Remote(1));
  for (int round = 0; round < 5; ++round) {
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

}  // namespace manta::cluster

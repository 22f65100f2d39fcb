// A head that dies, stops and comes back, and who waits for it: FAULTS.md's rows, with real daemons.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "rpc/socket_address.h"
#include "tests/cluster/fault_story.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::Say;
using embedded::WriteFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// Writes down each of its lives.
class Chronicler {
 public:
  explicit Chronicler(std::string journal) { embedded::AppendLine(journal, std::to_string(getpid())); }
  int Life() { return static_cast<int>(CurrentContext().incarnation()); }
  int Pid() { return getpid(); }
};

SCENARIO(NameAnActorAndWait) {
  const Runtime runtime = Init(argc, argv);
  const auto actor = On(kAnywhere, Actor<Counter>()).Name("theirs").Namespace("shared").Remote();
  Say("pid " + std::to_string(Get(actor.Call<&Counter::Pid>().Remote())));
  while (true) pause();
}

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
  for (int life = 0; life < 6; ++life) {  // every other one is killed while it registers
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

// The worker dies, and the head before it has seen to it that there is another.
TEST_F(Faults, AHeadThatIsKilledWhileAnActorIsRestartedMakesItOnce) {
  StartHead();
  AddNode("w1");
  AddNode("w2");
  Attach();
  const auto actor =
      On(kAnywhere, Actor<Chronicler>()).Name("chronicler").MaxRestarts(-1).MaxTaskRetries(-1).Remote(File("lives"));
  for (int life = 1; life <= 3; ++life) {
    ASSERT_EQ(Get(actor.Call<&Chronicler::Life>().Remote(), kRecovered), life);
    Send(SIGKILL, Get(actor.Call<&Chronicler::Pid>().Remote(), kRecovered));
    Sleep(milliseconds(5 * (life - 1)));  // before it hears of it, and after
    KillHead();
    RestartHead();
    EXPECT_EQ(Get(actor.Call<&Chronicler::Life>().Remote(), kRecovered), life + 1);
    EXPECT_THAT(embedded::Lines(File("lives")), SizeIs(life + 1)) << "it was made twice";
  }
  EXPECT_TRUE(GetActor<Chronicler>("chronicler"));
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

// Another cluster's head listens where theirs did.
TEST_F(Faults, NodesAreNotTakenByAnotherClusterAtTheirHeadsAddress) {
  StartHead();
  const Node node = AddNode("w1");
  const std::string port = address().substr(address().rfind(':') + 1);
  const std::string other = "--state-dir=" + File("state2");
  KillHead();
  const Ran started = Manta({"start", "--head", "--port=" + port, other, "--num-cpus=0"});
  ASSERT_EQ(started.status, 0) << started.output;
  Sleep(seconds(2));
  const Ran list = Manta({"list", "nodes", "--address=" + address(), other, "--format=json"});
  EXPECT_EQ(list.status, 0) << list.output;
  EXPECT_THAT(list.output, Not(HasSubstr("\"w1\""))) << "it has joined another cluster";
  EXPECT_EQ(Manta({"stop", "--address=" + address(), other}).status, 0);
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
    auto stranger = rpc::ListenOn(address(), 16);
    for (int tries = 0; !stranger.ok() && tries < 50; ++tries) {  // the head's process may still be closing its own
      Sleep(milliseconds(100));
      stranger = rpc::ListenOn(address(), 16);
    }
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

}  // namespace manta::cluster

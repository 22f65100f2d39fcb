// `manta drill` against a cluster with a program on it: what it says it did is what happened, and the program holds.
#include <signal.h>

#include <string>
#include <thread>

#include "tests/cluster/cluster.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::Say;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

int AddOne(int value) {
  std::this_thread::sleep_for(milliseconds(5));
  return value + 1;
}

// Tasks, one after another, until it is told to end.
SCENARIO(AddForEver) {
  const Runtime runtime = Init(argc, argv);
  const std::string end = embedded::ArgumentOf(argc, argv, "dir") + "/end";
  for (int value = 0; !embedded::Exists(end);) {
    const int next = Get(On(kAnywhere, Task<&AddOne>()).MaxRetries(-1).Remote(value), seconds(20));
    if (next != value + 1) return 1;
    if (value == 0) Say("adds");
    value = next;
  }
  return 0;
}

class Drill : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    StartHead();
    one_ = AddNode("w1");
    AddNode("w2");
  }
  // While a program runs that must not notice.
  Ran DrillOf(std::vector<std::string> command) {
    Scenario program = Drive("AddForEver");
    program.Await("adds");
    command.insert(command.begin(), "drill");
    const Ran ran = Manta(command);
    embedded::WriteFile(File("end"), "");
    EXPECT_EQ(program.Join().status, 0) << program.output();
    return ran;
  }

  Node one_;
};

TEST_F(Drill, KillsWorkersForAWhile) {
  const Ran ran = DrillOf({"kill-worker", "--every=300ms", "--for=1s", "--yes"});
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("killed worker n"), HasSubstr(" faults in")));
}

TEST_F(Drill, KillsANodeAndStartsItAgain) {
  const Ran ran = DrillOf({"kill-node", "--down=200ms", "--yes"});
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("killed node w"), HasSubstr("again in"), HasSubstr("1 fault in")));
  Attach();
  ExpectRunsOn({"w1", "w2"});
}

TEST_F(Drill, StopsANodeAndLetsItGoOn) {
  const Ran ran = DrillOf({"stop-node", "--pause=500ms", "--yes"});
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("stopped node w"), HasSubstr("continued node w")));
}

TEST_F(Drill, KillsTheHeadAndStartsItAgain) {
  const pid_t before = head();
  const Ran ran = DrillOf({"kill-head", "--every=500ms", "--for=1s", "--down=100ms", "--yes"});
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, AllOf(HasSubstr("killed the head"), HasSubstr("again in")));
  EXPECT_FALSE(IsAlive(before));
  ExpectItWorks();
}

TEST_F(Drill, KillsRedis) {
  const pid_t before = redis();
  const Ran ran = DrillOf({"kill-redis", "--yes"});
  EXPECT_EQ(ran.status, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("killed its redis-server"));
  EXPECT_FALSE(IsAlive(before));
  ExpectItWorks();
}

TEST_F(Drill, DoesNothingUnlessItIsTold) {
  const Ran asked = Manta({"drill", "kill-head"});  // nobody answers
  EXPECT_EQ(asked.status, 1);
  EXPECT_THAT(asked.output, AllOf(HasSubstr("Go on?"), HasSubstr(address()), HasSubstr("nothing was done")));
  EXPECT_TRUE(IsAlive(head()));
  EXPECT_EQ(Manta({"drill"}).status, 2);
  EXPECT_EQ(Manta({"drill", "kill-everybody"}).status, 2);
  EXPECT_EQ(Manta({"drill", "kill-head", "--yes", "--every=often"}).status, 2);
  EXPECT_EQ(Manta({"drill", "kill-head", "--yes", "--address=127.0.0.1:1"}).status, 3);
  const Ran help = Manta({"drill", "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("kill-worker"), HasSubstr("Example")));
}

TEST_F(Drill, SaysWhenThereIsNobodyToHit) {
  KillAllOf(one_);
  ASSERT_EQ(Manta({"drill", "kill-node", "--no-restart", "--yes"}).status, 0);
  const Ran nobody = Manta({"drill", "kill-node", "--yes"});
  EXPECT_EQ(nobody.status, 1);
  EXPECT_THAT(nobody.output, AllOf(HasSubstr("nobody to hit"), HasSubstr("0 faults")));
}

}  // namespace manta::cluster

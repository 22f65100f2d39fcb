// Where tasks and actors of a real cluster run, what outlives its job, and what is computed again.
#include <signal.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::Say;
using ::testing::HasSubstr;
using ::testing::SizeIs;

namespace {

constexpr milliseconds kRecovered = seconds(10);

// Tasks that run on this node while it lives.
struct SoftTo {
  std::string node;
  template <class Builder>
  Builder operator()(Builder builder) const {
    builder.SchedulingStrategy(NodeAffinity(node).Soft());
    return builder;
  }
};

}  // namespace

// ------------------------------------------------------------------ what runs in workers

std::string Where() { return CurrentContext().node(); }
std::vector<uint64_t> Numbers(uint64_t count, uint64_t first) {
  std::vector<uint64_t> numbers(count);
  for (uint64_t i = 0; i < count; ++i) numbers[i] = first + i;
  return numbers;
}
std::vector<uint64_t> Doubled(std::vector<uint64_t> numbers) {
  for (uint64_t& number : numbers) number *= 2;
  return numbers;
}
uint64_t Sum(const std::vector<uint64_t>& numbers) {
  uint64_t sum = 0;
  for (const uint64_t number : numbers) sum += number;
  return sum;
}
class Counter {
 public:
  int Add(int by) { return value_ += by; }
  int Pid() { return getpid(); }
  std::string Node() { return CurrentContext().node(); }

 private:
  int value_ = 0;
};

SCENARIO(LeaveAnActorBehind) {
  const Runtime runtime = Init(argc, argv);
  const auto kept = Actor<Counter>()
                        .Name("kept")
                        .Namespace("services")
                        .NumCpus(0)
                        .MaxRestarts(-1)
                        .Lifetime(Lifetime::kDetached)
                        .SchedulingStrategy(NodeAffinity(embedded::ArgumentOf(argc, argv, "node")).Soft())
                        .Remote();
  const auto gone = Actor<Counter>().Name("gone").Namespace("services").NumCpus(0).Remote();
  Say("counts " +
      std::to_string(Get(kept.Call<&Counter::Add>().Remote(5)) + Get(gone.Call<&Counter::Add>().Remote(1))));
  return 0;
}

class Placement : public ClusterTest {};

// ------------------------------------------------------------------ where it runs

TEST_F(Placement, NodesAreListedByTheirIds) {
  StartHead();
  const Node one = AddNode("w1"), two = AddNode("w2");
  Attach();
  ASSERT_TRUE(Within(seconds(5), [] { return Nodes().size() == 3; }));
  std::map<std::string, NodeInfo> nodes;
  for (const NodeInfo& node : Nodes()) nodes[node.id] = node;
  EXPECT_EQ(nodes.at(one.number).total.at("CPU"), 1);
  EXPECT_EQ(nodes.at(two.number).total.count("w2"), 1u);
  EXPECT_FALSE(nodes.at(two.number).address.empty());
  EXPECT_FALSE(nodes.at(one.number).is_head);
}

TEST_F(Placement, AffinityIsKeptAndSpreadUsesEveryNode) {
  StartHead();
  const Node one = AddNode("w1"), two = AddNode("w2");
  Attach();
  for (const std::string& node : {one.number, two.number, one.number}) {
    EXPECT_EQ(Get(Task<&Where>().SchedulingStrategy(NodeAffinity(node)).Remote(), kRecovered), node);
    const auto actor = Actor<Counter>().SchedulingStrategy(NodeAffinity(node)).Remote();
    EXPECT_EQ(Get(actor.Call<&Counter::Node>().Remote(), kRecovered), node);
  }
  std::map<std::string, int> ran;
  for (int i = 0; i < 20; ++i) {
    ++ran[Get(Task<&Where>().SchedulingStrategy(Spread()).Remote(), kRecovered)];
  }
  EXPECT_THAT(ran, SizeIs(2));
}

TEST_F(Placement, ADeadNodeIsAnErrorAndNoWait) {
  StartHead();
  const Node one = AddNode("w1");
  AddNode("w2");
  Attach();
  const auto actor = Actor<Counter>().MaxRestarts(5).SchedulingStrategy(NodeAffinity(one.number)).Remote();
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1), kRecovered), 1);
  KillAllOf(one);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] {
    for (int i = 0; i < 100; ++i) Get(actor.Call<&Counter::Add>().Remote(1), kRecovered);
  }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>(
      [&] { Get(Task<&Where>().SchedulingStrategy(NodeAffinity(one.number)).Remote(), kRecovered); }));
  EXPECT_NE(Get(Task<&Where>().SchedulingStrategy(NodeAffinity(one.number).Soft()).Remote(), kRecovered), one.number);
}

// ------------------------------------------------------------------ detached actors

TEST_F(Placement, ADetachedActorOutlivesItsDriverItsProcessAndItsNode) {
  StartHead();
  const Node one = AddNode("w1");
  const Node two = AddNode("w2");
  Scenario driver = Drive("LeaveAnActorBehind", {"--node=" + one.number});
  EXPECT_EQ(driver.Await("counts"), "6");
  EXPECT_EQ(driver.Join().status, 0) << driver.output();
  Attach();
  auto kept = GetActor<Counter>("kept", "services");
  ASSERT_TRUE(kept);
  EXPECT_EQ(Get(kept->Call<&Counter::Add>().Remote(1), kRecovered), 6);
  EXPECT_EQ(Get(kept->Call<&Counter::Node>().Remote(), kRecovered), one.number);
  EXPECT_TRUE(Within(seconds(5), [] { return !GetActor<Counter>("gone", "services"); }));

  Send(SIGKILL, Get(kept->Call<&Counter::Pid>().Remote(), kRecovered));
  EXPECT_EQ(Get(kept->Call<&Counter::Add>().MaxRetries(-1).Remote(2), kRecovered), 2) << "constructed anew";

  KillAllOf(one);
  EXPECT_EQ(Get(kept->Call<&Counter::Add>().MaxRetries(-1).Remote(3), kRecovered), 3);
  const int pid = Get(kept->Call<&Counter::Pid>().Remote(), kRecovered);
  EXPECT_EQ(Get(kept->Call<&Counter::Node>().Remote(), kRecovered), two.number);
  Kill(*kept);
  EXPECT_TRUE(Within(seconds(5), [&] { return !IsAlive(pid); }));
  EXPECT_TRUE(Within(seconds(5), [] { return !GetActor<Counter>("kept", "services"); }));
}

// ------------------------------------------------------------------ lineage

TEST_F(Placement, WhatAKilledNodeHadIsComputedAgainWithWhatItWasComputedFrom) {
  StartHead();
  const Node one = AddNode("w1");
  AddNode("w2");
  Attach();
  const SoftTo there{one.number};
  constexpr uint64_t kCount = 1 << 20;
  auto numbers = there(Task<&Numbers>()).Remote(kCount, uint64_t{1});
  const auto doubled = there(Task<&Doubled>()).Remote(numbers);
  Wait(std::vector{doubled}, 1, kRecovered);
  numbers = {};  // its driver keeps what it needs to compute `doubled` again
  EXPECT_EQ(Get(there(Task<&Sum>()).Remote(doubled), kRecovered), kCount * (kCount + 1));
  KillAllOf(one);
  EXPECT_EQ(Get(Task<&Sum>().Remote(doubled), kRecovered), kCount * (kCount + 1));
  EXPECT_EQ(Sum(Get(doubled, kRecovered)), kCount * (kCount + 1));
}

TEST_F(Placement, TheErrorSaysWhyALostResultIsNotComputedAgain) {
  StartHead();
  const Node one = AddNode("w1");
  AddNode("w2");
  Attach();
  const auto once = SoftTo{one.number}(Task<&Numbers>()).MaxRetries(0).Remote(uint64_t{1} << 20, uint64_t{1});
  EXPECT_NE(Get(SoftTo{one.number}(Task<&Sum>()).Remote(once), kRecovered), 0u);
  KillAllOf(one);
  const auto result = TryGet(once, kRecovered);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kObjectLost);
  EXPECT_THAT(result.error().what(), HasSubstr("MaxRetries"));
}

}  // namespace manta::cluster

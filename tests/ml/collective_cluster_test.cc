// A process group whose members are on several nodes: messages, pulled from node to node.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "manta/ml/process_group.h"
#include "tests/cluster/cluster.h"

namespace manta::ml {

using cluster::ErrorOf;
using cluster::On;
using cluster::Stopwatch;
using ::testing::HasSubstr;

class NodeMember {
 public:
  NodeMember(const ProcessGroup& group, uint64_t rank) : all_(group.Join(rank)) {}

  bool SharesWindow() const { return all_.shares_window(); }
  std::string Costs() const { return all_.cost_model().ToString(); }
  // The number of wrong values of AllReduces of so many.
  uint64_t Reduce(uint64_t count, Algorithm algorithm) {
    uint64_t wrong = 0;
    for (const Reduction reduction : {Reduction::kSum, Reduction::kMean, Reduction::kMax}) {
      std::vector<double> values(count);
      for (size_t i = 0; i < count; ++i) values[i] = double((all_.rank() + 1) * (i % 101));
      all_.AllReduce(std::span<double>(values), reduction, algorithm);
      const double n = double(all_.size());
      const double factor = reduction == Reduction::kMax ? n : (n + 1) / 2 * (reduction == Reduction::kSum ? n : 1);
      for (size_t i = 0; i < count; ++i) wrong += values[i] != factor * double(i % 101);
    }
    return wrong;
  }
  // The median time of some AllReduces of so many, in ms.
  double Millis(uint64_t count, Algorithm algorithm) {
    std::vector<float> values(count);
    std::vector<double> millis;
    for (int i = 0; i < 7; ++i) {
      all_.Barrier();
      const auto start = std::chrono::steady_clock::now();
      all_.AllReduce(std::span<float>(values), Reduction::kSum, algorithm);
      millis.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
    }
    std::ranges::sort(millis);
    return millis[millis.size() / 2];
  }
  // Until a member dies; then of those that live, the size of their group.
  uint64_t ReduceUntilADeath() {
    try {
      for (;;) Reduce(1000, Algorithm::kAuto);
    } catch (const MemberDiedError&) {
      all_ = all_.Reform();
      return all_.size();
    }
  }

 private:
  Communicator all_;
};

class CollectiveNodes : public cluster::ClusterTest {};

TEST_F(CollectiveNodes, ReduceAcrossNodesAndOutliveOne) {
  StartHead();
  AddNode("w1");
  const Node second = AddNode("w2");
  Attach();
  const auto group = ProcessGroup::Create({.members = 4});
  std::vector<ActorHandle<NodeMember>> members;
  for (const char* node : {"w1", "w2", "w1", "w2"}) {
    members.push_back(On(node, Actor<NodeMember>()).Remote(group, uint64_t(members.size())));
  }
  EXPECT_FALSE(Get(members[0].Call<&NodeMember::SharesWindow>().Remote()));
  for (uint64_t count : {0, 100, 50'000, 1'500'000}) {
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kRing, Algorithm::kTree, Algorithm::kHalvingDoubling,
                                Algorithm::kStar, Algorithm::kHierarchical}) {
      std::vector<ObjectRef<uint64_t>> wrong;
      for (auto& member : members) wrong.push_back(member.Call<&NodeMember::Reduce>().Remote(count, algorithm));
      EXPECT_THAT(Get(wrong), ::testing::Each(0u)) << count << " values by " << AlgorithmName(algorithm);
    }
  }
  const std::string costs = Get(members[2].Call<&NodeMember::Costs>().Remote());
  EXPECT_EQ(costs, Get(members[0].Call<&NodeMember::Costs>().Remote()));
  EXPECT_THAT(costs, HasSubstr("within each of 2 nodes"));
  std::printf("%s", costs.c_str());
  for (Algorithm algorithm : {Algorithm::kHierarchical, Algorithm::kRing, Algorithm::kHalvingDoubling}) {
    for (const uint64_t count : {16 << 10, 1 << 20}) {
      std::vector<ObjectRef<double>> millis;
      for (auto& member : members) millis.push_back(member.Call<&NodeMember::Millis>().Remote(count, algorithm));
      std::printf("%zu KiB by %s: %.2f ms\n", size_t(count) * sizeof(float) / 1024, AlgorithmName(algorithm),
                  Get(millis)[0]);
    }
  }
  EXPECT_THAT(ErrorOf<TaskError>([&] {
                Get(members[0].Call<&NodeMember::Reduce>().Remote(uint64_t(1), Algorithm::kSharedMemory));
              })->what(),
              HasSubstr("several nodes"));

  std::vector<ObjectRef<uint64_t>> survivors;
  for (auto& member : members) survivors.push_back(member.Call<&NodeMember::ReduceUntilADeath>().Remote());
  survivors = {survivors[0], survivors[2]};
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const Stopwatch watch;
  KillAllOf(second);
  EXPECT_THAT(Get(survivors, std::chrono::seconds(30)), ::testing::Each(2u));
  cluster::ReportBar("node killed -> its member's group formed anew", watch.elapsed(), std::chrono::seconds(2));
}

}  // namespace manta::ml

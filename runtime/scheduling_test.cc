#include "runtime/scheduling.h"

#include <gtest/gtest.h>

#include <set>

namespace manta::runtime {
namespace {

rpc::NodeInfo Node(NodeId node, int cpus, int free_cpus, int gpus = 0) {
  rpc::NodeInfo info;
  info.node = node;
  info.total.Set("CPU", base::Fixed(cpus));
  info.available.Set("CPU", base::Fixed(free_cpus));
  if (gpus != 0) {
    info.total.Set("GPU", base::Fixed(gpus));
    info.available.Set("GPU", base::Fixed(gpus));
  }
  return info;
}

SchedulingDemand Cpus(int cpus, NodeId preferred = 0) {
  return {.resources = {{"CPU", base::Fixed(cpus)}}, .preferred = preferred};
}

TEST(Scheduling, PicksOnlyWhereItFitsNow) {
  EXPECT_EQ(PickNode(Cpus(2), {Node(1, 8, 1), Node(2, 4, 2)}, 1), 2u);
  EXPECT_EQ(PickNode(Cpus(3), {Node(1, 8, 1), Node(2, 4, 2)}, 1), 0u);
  EXPECT_EQ(PickNode(Cpus(1), {}, 1), 0u);
}

TEST(Scheduling, PacksOnThePreferredNodeUntilItIsHalfFull) {
  EXPECT_EQ(PickNode(Cpus(1, 2), {Node(1, 8, 8), Node(2, 8, 6)}, 1), 2u);
  EXPECT_EQ(PickNode(Cpus(1, 2), {Node(1, 8, 8), Node(2, 8, 3)}, 1), 1u);
}

TEST(Scheduling, AboveTheThresholdTheLeastUsedWins) {
  EXPECT_EQ(PickNode(Cpus(1), {Node(1, 8, 2), Node(2, 8, 3), Node(3, 8, 1)}, 1), 2u);
}

TEST(Scheduling, SpreadTakesTheLeastUsed) {
  SchedulingDemand demand = Cpus(1, 1);
  demand.strategy = SchedulingDemand::Strategy::kSpread;
  EXPECT_EQ(PickNode(demand, {Node(1, 8, 7), Node(2, 8, 8)}, 1), 2u);
}

TEST(Scheduling, DecidersWithOneSnapshotDoNotAllChooseOneNode) {
  const std::vector<rpc::NodeInfo> nodes = {Node(1, 8, 8), Node(2, 8, 8), Node(3, 8, 8), Node(4, 8, 8)};
  std::set<NodeId> chosen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const NodeId node = PickNode(Cpus(1), nodes, seed);
    EXPECT_EQ(PickNode(Cpus(1), nodes, seed), node) << "the same seed gives the same node";
    chosen.insert(node);
  }
  EXPECT_EQ(chosen.size(), kTopK);
}

TEST(Scheduling, HardAffinityWaitsAndSoftAffinityDoesNot) {
  SchedulingDemand demand = Cpus(2);
  demand.affinity = 1;
  EXPECT_EQ(PickNode(demand, {Node(1, 8, 2), Node(2, 8, 8)}, 1), 1u);
  EXPECT_EQ(PickNode(demand, {Node(1, 8, 1), Node(2, 8, 8)}, 1), 2u);
  demand.affinity_hard = true;
  EXPECT_EQ(PickNode(demand, {Node(1, 8, 1), Node(2, 8, 8)}, 1), 0u);
}

TEST(Scheduling, SaysWhyAndWhatToDo) {
  const base::ResourceSet gpu{{"GPU", base::Fixed(1)}};
  EXPECT_EQ(WhyWaiting(gpu, {Node(1, 8, 8)}), "needs {GPU: 1}; node n1 has none: start a node with --num-gpus=1");
  EXPECT_EQ(WhyWaiting(gpu, {Node(1, 8, 8), Node(2, 8, 8)}),
            "needs {GPU: 1}; no node has any GPU: start a node with --num-gpus=1");
  EXPECT_EQ(WhyWaiting(Cpus(16).resources, {Node(1, 8, 8), Node(2, 4, 4)}),
            "needs {CPU: 16}; no node has more than {CPU: 8}: start a node with --num-cpus=16");
  EXPECT_EQ(WhyWaiting({{"tpu", base::Fixed(2)}}, {Node(1, 8, 8)}),
            "needs {tpu: 2}; node n1 has none: start a node with --resources='{\"tpu\": 2}'");
  EXPECT_EQ(WhyWaiting(Cpus(8).resources, {Node(1, 8, 8), Node(2, 4, 4)}),
            "needs {CPU: 8}; the nodes that have that much have it not free now");
  EXPECT_EQ(WhyWaiting({{"CPU", base::Fixed(8)}, {"GPU", base::Fixed(1)}}, {Node(1, 8, 8), Node(2, 4, 4, 1)}),
            "needs {CPU: 8, GPU: 1}; no one node has all of that: start a larger node, or ask for less");
  EXPECT_EQ(WhyWaiting(gpu, {}), "needs {GPU: 1}; there is no node yet");
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/scheduling.h"

#include <algorithm>

#include "base/random.h"

namespace manta::runtime {
namespace {

using base::Fixed;
using base::ResourceSet;

struct Candidate {
  const rpc::NodeInfo* info;
  double usage;  // after taking the demand, of its critical resource
  bool preferred;
};

// 0 (empty) to 1 (full): the most used of the demanded resources, once the demand is taken.
double UsageAfter(const ResourceSet& demand, const rpc::NodeInfo& node) {
  double critical = 0;
  for (const auto& [name, amount] : demand.amounts()) {
    const double total = node.total.Get(name).ToDouble();
    if (total <= 0) continue;
    const double left = (node.available.Get(name) - amount).ToDouble();
    critical = std::max(critical, 1 - left / total);
  }
  return critical;
}

// The order of hybrid: all below the threshold count alike.
double Crowding(const Candidate& candidate, SchedulingDemand::Strategy strategy) {
  const bool packs = strategy == SchedulingDemand::Strategy::kHybrid && candidate.usage <= kSpreadThreshold;
  return packs ? 0 : candidate.usage;
}

// One of the best kTopK that are as crowded as the best.
NodeId PickAmong(std::vector<Candidate> candidates, SchedulingDemand::Strategy strategy, uint64_t seed) {
  std::sort(candidates.begin(), candidates.end(), [strategy](const Candidate& a, const Candidate& b) {
    const double a_crowding = Crowding(a, strategy);
    const double b_crowding = Crowding(b, strategy);
    if (a_crowding != b_crowding) return a_crowding < b_crowding;
    if (a.preferred != b.preferred) return a.preferred;
    return a.info->node < b.info->node;
  });
  if (candidates.front().preferred) return candidates.front().info->node;
  const double best = Crowding(candidates.front(), strategy);
  size_t equals = 1;
  while (equals < candidates.size() && equals < kTopK && Crowding(candidates[equals], strategy) == best) ++equals;
  return candidates[base::Rng(seed).Uniform(equals)].info->node;
}

const rpc::NodeInfo* Find(const std::vector<rpc::NodeInfo>& nodes, NodeId node) {
  const auto found =
      std::find_if(nodes.begin(), nodes.end(), [node](const rpc::NodeInfo& info) { return info.node == node; });
  return found == nodes.end() ? nullptr : &*found;
}

// "start a node with --num-gpus=1"
std::string WhatToStart(const std::string& name, Fixed amount) {
  const std::string text = amount.ToString();
  if (name == "CPU") return "start a node with --num-cpus=" + text;
  if (name == "GPU") return "start a node with --num-gpus=" + text;
  return "start a node with --resources='{\"" + name + "\": " + text + "}'";
}

std::string NodeName(const rpc::NodeInfo& info) {
  return "node n" + std::to_string(info.node) + (info.name.empty() ? "" : " (" + info.name + ")");
}

// The one resource that no node has enough of, or "" if it is their combination.
std::string ScarceResource(const ResourceSet& demand, const std::vector<rpc::NodeInfo>& nodes) {
  for (const auto& [name, amount] : demand.amounts()) {
    const bool enough = std::any_of(nodes.begin(), nodes.end(), [&name = name, &amount = amount](const auto& info) {
      return info.total.Get(name) >= amount;
    });
    if (!enough) return name;
  }
  return "";
}

}  // namespace

NodeId PickNode(const SchedulingDemand& demand, const std::vector<rpc::NodeInfo>& nodes, uint64_t seed) {
  if (demand.affinity != 0) {
    const rpc::NodeInfo* wanted = Find(nodes, demand.affinity);
    if (wanted != nullptr && wanted->available.Fits(demand.resources)) return wanted->node;
    if (demand.affinity_hard) return 0;
  }
  std::vector<Candidate> candidates;
  for (const rpc::NodeInfo& info : nodes) {
    if (!info.available.Fits(demand.resources)) continue;
    candidates.push_back({&info, UsageAfter(demand.resources, info), info.node == demand.preferred});
  }
  if (candidates.empty()) return 0;
  return PickAmong(std::move(candidates), demand.strategy, seed);
}

SchedulingDemand ToDemand(const ResourceSet& resources, const rpc::SchedulingHint& hint) {
  SchedulingDemand demand{.resources = resources, .affinity = hint.affinity, .affinity_hard = hint.affinity_hard};
  if (hint.spreading == rpc::Spreading::kSpread) demand.strategy = SchedulingDemand::Strategy::kSpread;
  return demand;
}

std::string WhyNever(NodeId node, bool existed) {
  return "NodeAffinity allows only node n" + std::to_string(node) +
         (existed ? ", which has died: " : ", and there is no such node: ") +
         "choose one of manta::Nodes(), or allow others with NodeAffinity(...).Soft()";
}

bool FitsSomewhere(const ResourceSet& demand, const std::vector<rpc::NodeInfo>& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [&demand](const auto& info) { return info.total.Fits(demand); });
}

std::string WhyWaiting(const ResourceSet& demand, const std::vector<rpc::NodeInfo>& nodes) {
  const std::string needs = "needs " + demand.ToString() + "; ";
  if (nodes.empty()) return needs + "there is no node yet";
  if (FitsSomewhere(demand, nodes)) {
    return needs + (nodes.size() == 1 ? NodeName(nodes.front()) + " has that much, but not free now"
                                      : "the nodes that have that much have it not free now");
  }
  const std::string scarce = ScarceResource(demand, nodes);
  if (scarce.empty()) return needs + "no one node has all of that: start a larger node, or ask for less";
  Fixed most;
  for (const rpc::NodeInfo& info : nodes) most = std::max(most, info.total.Get(scarce));
  const std::string who = nodes.size() == 1 ? NodeName(nodes.front()) + " has " : "no node has more than ";
  const std::string amount = most == Fixed() ? "none" : "{" + scarce + ": " + most.ToString() + "}";
  return needs + (most == Fixed() && nodes.size() > 1 ? "no node has any " + scarce : who + amount) + ": " +
         WhatToStart(scarce, demand.Get(scarce));
}

}  // namespace manta::runtime

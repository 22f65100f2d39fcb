// Scheduling chooses a node for a demand: one pure function for leases, actors and placement groups.
//
// Problem:    with every request on the emptiest node, small ones break up the room that large ones need; with every
// request on
//             the fullest, one node is hot while others idle.
// How:        hybrid, as in Ray: nodes whose critical resource (the most used one of those demanded) would stay below
//             kSpreadThreshold count as equally empty and are filled in the order of their numbers, the preferred node
//             first; above it, the least used wins. Among the best few, a seeded random choice keeps several deciders
//             with the same old snapshot from all choosing one node.
// Threads:    pure functions.
// See:        docs/task.md, docs/actor_call.md
#ifndef MANTA_RUNTIME_SCHEDULING_H_
#define MANTA_RUNTIME_SCHEDULING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/resources.h"
#include "rpc/message.h"

namespace manta::runtime {

struct SchedulingDemand {
  base::ResourceSet resources;
  enum class Strategy : uint8_t { kHybrid, kSpread };
  Strategy strategy = Strategy::kHybrid;
  NodeId preferred = 0;  // wins among equals: the caller's own node, or where the arguments lie. 0: none
  NodeId affinity = 0;   // this node, or (soft) another if it has no room. 0: none
  bool affinity_hard = false;
};

// What an actor or a task asks of a node; hybrid, unless the hint says otherwise.
SchedulingDemand ToDemand(const base::ResourceSet& resources, const rpc::SchedulingHint& hint);

// Usage below which nodes count as equally empty.
inline constexpr double kSpreadThreshold = 0.5;
// How many of the best nodes the random choice is among.
inline constexpr size_t kTopK = 3;

// The node for `demand` by what is available now, or 0: it fits nowhere now. The same arguments give the same node.
NodeId PickNode(const SchedulingDemand& demand, const std::vector<rpc::NodeInfo>& nodes, uint64_t seed);

// Whether some node could ever hold `demand`, if it were empty.
bool FitsSomewhere(const base::ResourceSet& demand, const std::vector<rpc::NodeInfo>& nodes);

// Why a hard affinity to `node` can never be met. `existed`: there was such a node.
std::string WhyNever(NodeId node, bool existed);

// Why `demand` waits, for people, with what to do: "needs {GPU: 1}; node n1 has none: start a node with --num-gpus=1",
// or "needs {CPU: 2}; all nodes that have that much are in use". Stable: it names no amounts that change from moment to
// moment.
std::string WhyWaiting(const base::ResourceSet& demand, const std::vector<rpc::NodeInfo>& nodes);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_SCHEDULING_H_

#include "ml/collective/hierarchical.h"

#include "ml/collective/reduce.h"
#include "ml/collective/window_collectives.h"

namespace manta::ml::internal {

Traffic RunHierarchical(Generation& generation, const NodePlan& nodes, Window* window, Algorithm among_leaders,
                        const Operation& operation, const Label& label, TimePoint deadline) {
  Traffic traffic;
  Operation part = operation;
  part.root = 0;                                                                  // the leader's index in the window
  if (operation.reduction == Reduction::kMean) part.reduction = Reduction::kSum;  // until the end
  if (window != nullptr) {
    part.kind = CollectiveKind::kReduce;
    traffic.bytes += RunOnWindow(*window, part, label);
    if (nodes.is_leader()) part.in = part.out;  // what is reduced lies there
  }
  if (nodes.is_leader()) {
    if (!nodes.is_one_node()) {
      part.kind = CollectiveKind::kAllReduce;
      part.algorithm = among_leaders;
      const Traffic messages = RunByMessages(generation, part, label, deadline, nodes.leaders());
      traffic.messages = messages.messages;
      traffic.bytes += messages.bytes;
      traffic.chain = messages.chain;
    }
    if (operation.reduction == Reduction::kMean) {
      DivideValues(operation.dtype, operation.out, operation.count, generation.size());
    }
  }
  if (window != nullptr) {
    part.kind = CollectiveKind::kBroadcast;
    part.in = part.out;
    traffic.bytes += RunOnWindow(*window, part, label);
  }
  return traffic;
}

}  // namespace manta::ml::internal

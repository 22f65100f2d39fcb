// An AllReduce of a group on several nodes: up to a leader of each node through its window, an AllReduce of the leaders
// by messages, down through the window.
//
// The leaders have the same bits after their part, so all have: what goes down is copied.
// See:        window_collectives.h and message_collectives.h, which do the parts.
#ifndef MANTA_ML_COLLECTIVE_HIERARCHICAL_H_
#define MANTA_ML_COLLECTIVE_HIERARCHICAL_H_

#include "ml/collective/message_collectives.h"
#include "ml/collective/node_plan.h"
#include "ml/collective/window.h"

namespace manta::ml::internal {

// `window`: of the members of this node; null if this is the only one. `among_leaders`: an algorithm of messages.
// REQUIRES: operation.kind is kAllReduce. Throws what RunOnWindow and RunByMessages throw.
Traffic RunHierarchical(Generation& generation, const NodePlan& nodes, Window* window, Algorithm among_leaders,
                        const Operation& operation, const Label& label, TimePoint deadline);

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_HIERARCHICAL_H_

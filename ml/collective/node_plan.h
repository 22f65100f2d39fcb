// NodePlan says how the members of a generation lie on nodes: the same on all of them.
//
//   node a:  ranks 0 2 3      node b:  ranks 1 4         leaders: 0 1, the first of each node
//
// Threads:    immutable.
#ifndef MANTA_ML_COLLECTIVE_NODE_PLAN_H_
#define MANTA_ML_COLLECTIVE_NODE_PLAN_H_

#include <cstddef>
#include <vector>

#include "ml/collective/group_actor.h"

namespace manta::ml::internal {

class NodePlan {
 public:
  // As member `rank` sees it.
  NodePlan(const std::vector<Seat>& seats, size_t rank);

  // Ranks, ascending: the members of this one's node, and the first of each node.
  const std::vector<size_t>& here() const { return here_; }
  const std::vector<size_t>& leaders() const { return leaders_; }
  size_t nodes() const { return leaders_.size(); }
  bool is_one_node() const { return nodes() == 1; }
  size_t leader() const { return here_.front(); }    // of this node
  size_t index_here() const { return index_here_; }  // of this member, in here()
  bool is_leader() const { return index_here_ == 0; }
  // The leader of a node that has the most members: the first of such.
  size_t leader_of_most() const { return leader_of_most_; }

 private:
  std::vector<size_t> here_;
  std::vector<size_t> leaders_;
  size_t index_here_ = 0;
  size_t leader_of_most_ = 0;
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_NODE_PLAN_H_

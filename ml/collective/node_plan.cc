#include "ml/collective/node_plan.h"

#include <algorithm>
#include <map>
#include <string>

namespace manta::ml::internal {

NodePlan::NodePlan(const std::vector<Seat>& seats, size_t rank) {
  std::map<std::string, std::vector<size_t>> members;
  for (size_t i = 0; i < seats.size(); ++i) {
    std::vector<size_t>& there = members[seats[i].node];
    if (there.empty()) leaders_.push_back(i);
    if (i == rank) index_here_ = there.size();
    there.push_back(i);
  }
  here_ = members.at(seats.at(rank).node);
  size_t most = 0;
  for (const size_t leader : leaders_) {
    const size_t count = members.at(seats[leader].node).size();
    if (count > most) leader_of_most_ = leader;
    most = std::max(most, count);
  }
}

}  // namespace manta::ml::internal

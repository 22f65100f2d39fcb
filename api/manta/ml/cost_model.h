// CostModel says how long an AllReduce takes by each algorithm, and which is fastest.
//
//   std::cout << communicator.cost_model().ToString();
//
// It is the alpha-beta model (Hockney 1994; Thakur, Rabenseifner and Gropp 2005 for the formulas): a message of s bytes
// takes alpha + beta s. Both are measured by the group itself, once, when its members first meet: messages around a
// ring, all at the same time; and, among those that share a node, AllReduces through their window.
//
// Threads:    a value.
#ifndef MANTA_ML_COST_MODEL_H_
#define MANTA_ML_COST_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "manta/ml/collective.h"

namespace manta::ml {

struct MANTA_EXPORT CostModel {
  uint64_t members = 0;             // 0: not measured
  bool shares_window = false;       // all members are on one node
  double message_seconds = 0;       // alpha: a message from one member to another
  double message_byte_seconds = 0;  // beta: each of its bytes, reduced or stored at its end
  double window_seconds = 0;        // an AllReduce of nothing through a node's window; 0: no node has one
  double window_byte_seconds = 0;   // each byte of one member's values
  uint64_t nodes = 1;               // that the members are on

  // An AllReduce of `bytes` a member, in seconds; infinity where the group cannot use the algorithm. For kAuto: the
  // fastest.
  double Predict(Algorithm algorithm, size_t bytes) const;
  // The algorithm of the smallest prediction; never kAuto.
  Algorithm Choose(size_t bytes) const;
  // The same of a group of one member on each node: what the leaders of kHierarchical are.
  CostModel OfLeaders() const;
  // The constants, and a table: bytes, the prediction of each algorithm, the choice.
  std::string ToString() const;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(members, shares_window, message_seconds, message_byte_seconds, window_seconds, window_byte_seconds, nodes);
  }
};

}  // namespace manta::ml

#endif  // MANTA_ML_COST_MODEL_H_

// The collectives by messages: ring, tree, halving-doubling and star.
//
// A message's values are an object of the store: read in place on one node, pulled to another. Values of more than
// kSegmentBytes go one segment after another, so that a group needs no more store memory than a few of them.
// See: collective.h for where the algorithms come from.
#ifndef MANTA_ML_COLLECTIVE_MESSAGE_COLLECTIVES_H_
#define MANTA_ML_COLLECTIVE_MESSAGE_COLLECTIVES_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "manta/ml/communicator.h"
#include "ml/collective/generation.h"
#include "ml/collective/label.h"

namespace manta::ml::internal {

inline constexpr size_t kSegmentBytes = 8 << 20;

// What one member sent and received in one operation.
struct Traffic {
  uint64_t messages = 0;
  uint64_t bytes = 0;
  uint32_t chain = 0;  // the longest chain of messages that ended here
};

// Does `operation`, by its algorithm, as the generation's member; together with `ranks` (ascending, this member's among
// them), or, if that is empty, with all. A root is an index of them.
// Throws what Generation::Take throws, and InvalidArgumentError: another member called something else.
Traffic RunByMessages(Generation& generation, const Operation& operation, const Label& label, TimePoint deadline,
                      std::span<const size_t> ranks = {});

// A message to the next member and one from the member before, of `bytes` each; for the cost model.
void ShiftAround(Generation& generation, uint64_t operation, uint32_t step, size_t bytes, TimePoint deadline);

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_MESSAGE_COLLECTIVES_H_

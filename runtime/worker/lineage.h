// Lineage keeps what it takes to run completed tasks again whose results were lost with the node that stored them.
//
// Problem:    a large result lies in the store of the node that computed it, and dies with that node; the task can be
//             run again as long as its arguments can be had.
// How:        a task that has a result in another node's store and a try left keeps its arguments (docs/objects.md).
//             The objects among them are held as `lineage`: what nothing else in this process refers to counts, like
//             inline arguments, against kBytesMax, and the oldest tasks forget theirs first.
// Ownership:  borrows Outbox and RefTable; the calls are CallStore's.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) call->kept: it is in this list, and its arguments are held as lineage.
//             (2) a kept call is completed, and some result of it is referred to (or Release is noted).
#ifndef MANTA_RUNTIME_WORKER_LINEAGE_H_
#define MANTA_RUNTIME_WORKER_LINEAGE_H_

#include <cstdint>
#include <string>

#include "runtime/worker/call_store.h"
#include "runtime/worker/ref_table.h"

namespace manta::runtime::worker {

class Lineage {
 public:
  static constexpr uint64_t kBytesMax = 64 << 20;

  explicit Lineage(RefTable* refs) : refs_(refs) {}
  Lineage(const Lineage&) = delete;
  Lineage& operator=(const Lineage&) = delete;

  // REQUIRES: the task has been completed under `call->queue`, and its arguments are held.
  void Keep(Call* call, Demand demand);
  // Why its results cannot be made again; empty: they can.
  std::string WhyNot(const Call& call) const;
  // The arguments are held again as those of a call that is not over. REQUIRES: call->kept.
  void Take(Call* call);
  // Its arguments go.
  void Release(Call* call);
  // Forgets the oldest until the limit is kept. True: some.
  bool Trim();

  uint64_t bytes() const { return inline_bytes_ + refs_->pinned_bytes(); }

 private:
  void Unlist(Call* call);

  RefTable* const refs_;
  CallList calls_;  // the oldest first
  uint64_t inline_bytes_ = 0;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_LINEAGE_H_

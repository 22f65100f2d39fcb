// ObjectEntry is what a process knows about one object: its value so far, who here refers to it, and what its home
// counts.
//
// Ownership:  own results lie in their Call, borrowed ones in RefTable.
// Threads:    externally synchronised (ProcessCore).
// See:        runtime/worker/ref_table.h (the rules), docs/objects.md
#ifndef MANTA_RUNTIME_WORKER_OBJECT_ENTRY_H_
#define MANTA_RUNTIME_WORKER_OBJECT_ENTRY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "rpc/message.h"
#include "runtime/worker/process_core.h"

namespace manta::runtime::worker {

// Who goes on when an object is known: an own call that has it as an argument (it needs to know what the object is, not
// to have it here), or a call in the mailbox (it needs it on this node).
struct Waiter {
  enum class Kind : uint8_t { kCall, kMailbox };
  Kind kind = Kind::kCall;
  uint64_t number = 0;  // of the call; of the mailbox call (its serial)
};

struct ObjectEntry {
  enum class Phase : uint8_t { kPending, kValue, kError };

  Phase phase = Phase::kPending;
  bool owned = false;       // a result or Put of this process
  bool dropped = false;     // owned: nobody here refers to it any more, and the home has been told
  bool wanted = false;      // Get or Wait was called
  bool resolving = false;   // an ObjectResolve is under way
  bool registered = false;  // the home counts this process as a holder (owned: borrow 0)
  bool published = false;   // owned: the home knows the value, or that it is pending
  bool lent = false;        // borrowed: passed on while only the tickets of calls from others covered it
  uint32_t handles = 0;     // in user code
  uint32_t holds = 0;       // by own calls that are not over, and by values that this process keeps
  uint32_t calls = 0;       // by calls in the mailbox: their tickets cover the object
  uint32_t lineage = 0;     // by calls that may be run again (Lineage)
  uint64_t borrow = 0;      // registered: the number of this borrow
  NodeId sealed_on = 0;     // owned, sealed by another process: where, and by which attempt
  uint32_t sealed_attempt = 0;
  uint64_t pinned_bytes = 0;              // counted, for lineage alone holds it
  Cookie waiting = 0;                     // a handle that has not been completed; more are in more_waiting
  rpc::Value value;                       // kValue
  std::unique_ptr<rpc::ErrorInfo> error;  // kError
  std::unique_ptr<std::vector<Cookie>> more_waiting;
  std::unique_ptr<std::vector<Waiter>> waiters;

  bool in_use() const { return (handles | holds | calls) != 0; }
  bool referenced() const { return in_use() || lineage != 0; }
  bool pending() const { return phase == Phase::kPending; }

  // For reuse. REQUIRES: nobody waits.
  void Reset() {
    phase = Phase::kPending;
    owned = dropped = wanted = resolving = registered = published = lent = false;
    handles = holds = calls = lineage = 0;
    pinned_bytes = 0;
    borrow = 0;
    sealed_on = 0;
    sealed_attempt = 0;
    waiting = 0;
    value.kind = rpc::Value::Kind::kInline;
    value.bytes = {};
    value.refs.clear();
    error.reset();
    more_waiting.reset();
    waiters.reset();
  }
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_OBJECT_ENTRY_H_

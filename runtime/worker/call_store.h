// Call is the record of one call that this process made (a task, an actor call, an actor's creation, a Put), and
// CallStore is where the records live.
//
//            Submit               arguments ready            Send                 reply, death, NotExecuted
//   (none) ─────────► waiting ──────────────────► queued ──────────► sent ─────────────────────────────► over
//                     deps > 0                    in a list          in a list       │ retry, NotExecuted
//                                                    ▲                               │
//                                                    └───────────────────────────────┘
//
// A call that timed out is completed while its attempt is still out: the record stays until the reply, or the
// worker's death, has told what became of the attempt's refs.
//
// Ownership:  CallStore owns the records; LeaseClient and ActorStreams link them into their lists.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) a record is freed when the call is completed, no attempt is out, and nobody refers to a result.
//             (2) records are recycled, with what their vectors have allocated.
#ifndef MANTA_RUNTIME_WORKER_CALL_STORE_H_
#define MANTA_RUNTIME_WORKER_CALL_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/worker/number_table.h"
#include "runtime/worker/object_entry.h"
#include "runtime/worker/process_core.h"

namespace manta::runtime::worker {

struct Call;
struct Lease;
struct ShapeQueue;
struct FunctionStats;
class ActorStream;
using CallList = LinkedList<Call>;

// What a task asks of the worker that is to run it.
struct Demand {
  ResourceSet shape;
  rpc::SchedulingHint hint;
  bool operator==(const Demand&) const = default;
};

struct Call {
  enum class Kind : uint8_t { kTask, kActorCall, kActorCreation, kPut };

  uint64_t number = 0;
  Kind kind = Kind::kTask;
  bool sent = false;          // an attempt is out
  bool completed = false;     // its results are known
  bool cancelled = false;     // Cancel was called while an attempt was out
  bool has_refs = false;      // some argument is or holds a ref
  bool may_have_run = false;  // an earlier attempt was lost with its worker
  bool retry_on_exception = false;
  bool retries_of_actor = false;
  uint32_t attempt = 0;      // the one that is out, or the next one
  uint32_t tries = 0;        // attempts sent so far
  int32_t retries_left = 0;  // -1: for ever; retries_of_actor: known when it is sent
  uint32_t deps = 0;         // top-level ref arguments that are not ready
  uint32_t depth = 0;
  uint32_t return_count = 0;
  uint64_t function = 0;
  uint64_t trace = 0;
  uint64_t event = 0;  // its record in TaskEvents
  CallId parent;
  Time deadline = kInfiniteFuture;
  std::string function_name;     // SubmitCall::function_name; of a creation: the class
  std::vector<rpc::Value> args;  // kept for the next attempt

  // Where it is.
  LinkedList<Call>* list = nullptr;
  Call* prev = nullptr;
  Call* next = nullptr;
  ProcessId worker;  // sent: to whom
  // Tasks.
  std::unique_ptr<Demand> demand;  // while it waits for arguments, and while it is kept
  ShapeQueue* queue = nullptr;
  Lease* lease = nullptr;  // sent under it
  FunctionStats* stats = nullptr;
  uint64_t expected_ns = 0;  // the mean run time when it was pushed
  bool pushed_slow = false;  // it was not known to be fast then
  // Actor calls.
  ActorStream* stream = nullptr;
  uint64_t order = 0;  // position in the stream, over all incarnations
  // Creations.
  std::unique_ptr<rpc::ActorSpec> spec;
  bool created = false;      // ActorCreate has been sent
  bool tickets_out = false;  // and its tickets have not been ended
  bool actor_over = false;   // the actor is dead for good: the arguments are not needed any more
  bool retired = false;      // freed in this Handle
  bool kept = false;         // completed, and its arguments are kept to run it again (Lineage)

  ObjectEntry result;  // result 0; a creation's: the handle
  std::unique_ptr<ObjectEntry[]> more_results;

  ObjectEntry& result_at(uint32_t index) { return index == 0 ? result : more_results[index - 1]; }
  uint32_t entry_count() const { return kind == Kind::kTask || kind == Kind::kActorCall ? return_count : 1; }
};

class CallStore {
 public:
  explicit CallStore(ProcessId self) : self_(self) {}
  CallStore(const CallStore&) = delete;
  CallStore& operator=(const CallStore&) = delete;

  Call* Find(uint64_t number) const { return table_.Find(number); }
  // REQUIRES: the number is new.
  Call* Add(uint64_t number);
  // The record is found no more; it stays as it is until Recycle. REQUIRES: it is in no list.
  void Retire(Call* call);
  // Between two events: nobody has a pointer to a retired record.
  void Recycle() {
    if (!retired_.empty()) RecycleRetired();
  }

  CallId id(const Call& call) const { return {self_, call.number}; }
  ObjectId result_id(const Call& call, uint32_t index) const {
    if (call.kind == Call::Kind::kActorCreation) return ActorId{self_, call.number}.handle();
    return {self_, call.number, index};
  }
  // The entry of an own result; null: not ours, or dropped. REQUIRES: id.owner is this process.
  ObjectEntry* FindResult(const ObjectId& id) const;
  // No call has had this number or a higher one yet: a peer made the id up.
  bool NotYetAllotted(const ObjectId& id) const { return id.owner == self_ && id.number > highest_; }

  size_t size() const { return table_.size(); }
  template <typename Visit>
  void ForEach(Visit visit) const {
    table_.ForEach(visit);
  }

 private:
  void RecycleRetired();

  ProcessId self_;
  uint64_t highest_ = 0;
  NumberTable<Call> table_;
  Pool<Call> pool_;
  std::vector<Call*> retired_;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_CALL_STORE_H_

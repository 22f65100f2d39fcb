// CallTable takes a call of this process from its submission to its one outcome: arguments, attempts, results,
// deadline.
//
// Problem:    a call may be retried, refused, cancelled, timed out and answered late, in any order, and must end once.
// Parts:      what a record is: CallStore. Where an attempt goes: LeaseClient (tasks), ActorStreams (actor calls).
// Ownership:  borrows ProcessOptions, Outbox, CallStore, RefTable and Lineage.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) a call is completed once; whatever comes later only ends its refs' tickets.
//             (2) the refs of a call's arguments are held until the call is completed and no attempt is out; then, as
//             long as Lineage keeps it.
//             (3) each attempt sent is ended once: by its reply, or by its worker's death.
// See:        docs/task.md, docs/actor_call.md
#ifndef MANTA_RUNTIME_WORKER_CALL_TABLE_H_
#define MANTA_RUNTIME_WORKER_CALL_TABLE_H_

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/worker/call_store.h"
#include "runtime/worker/lineage.h"
#include "runtime/worker/outbox.h"
#include "runtime/worker/ref_table.h"

namespace manta::runtime::worker {

class CallTable {
 public:
  CallTable(const ProcessOptions* options, Outbox* out, CallStore* store, RefTable* refs, Lineage* lineage)
      : options_(*options), out_(out), store_(store), refs_(refs), lineage_(lineage) {}
  CallTable(const CallTable&) = delete;
  CallTable& operator=(const CallTable&) = delete;

  // A task or actor call. Its arguments stay in `submit` when none of them is or holds a ref (has_refs is false); the
  // sender moves them. The record may be completed already (an argument is an error), or wait (deps > 0).
  Call* Submit(SubmitCall* submit);
  // An actor's creation: the arguments are taken out of the spec.
  Call* SubmitCreation(SubmitActor submit);
  // `refused` (kNone: it is not): there can be no such object, and `why`.
  void SubmitPut(runtime::SubmitPut submit, rpc::ErrorCode refused, std::string why);

  // An argument is known. True: the call has all of them now; or it failed (completed).
  bool OnArgument(Call* call, const ObjectId& object);

  // Tickets, then the request; the caller fills in `lease`, or actor, incarnation and sequence, at once.
  // `fresh`: the arguments as submitted, to be moved, or null.
  rpc::CallRequest& Send(Call* call, ProcessId worker, std::vector<rpc::Value>* fresh);

  // The attempt that is out has been answered / was lost with its worker.
  void EndAttempt(Call* call, const std::vector<uint32_t>& kept);
  void LoseAttempt(Call* call);
  // Whether one more try is allowed after a failure of the system or an exception; counts it.
  bool UseRetry(Call* call);

  // A kept task is not over any more: it is to be sent once more, which counts as a try.
  void Revive(Call* call);

  // The outcome. Fail takes an unsent call out of the list it is in. REQUIRES: not completed.
  void Succeed(Call* call, std::vector<rpc::Value>&& returns);
  void Fail(Call* call, rpc::ErrorInfo error);
  // A reply to a call that is completed, or to another attempt: only its refs are dealt with.
  void Discard(const rpc::CallReply& reply, ProcessId callee);
  // Frees what a completed call held, once no attempt is out.
  void Finish(Call* call);
  // Holds on the arguments end (creations: when the actor is dead for good).
  void DropArguments(Call* call);

  // What people call it; empty: not known.
  std::string NameOf(const Call& call) const;
  // The typed errors that a process makes itself. `message` says what happened and what to do.
  rpc::ErrorInfo Error(const Call& call, rpc::ErrorCode code, std::string message) const;
  // An error that came from elsewhere, as this call's: the chain of calls begins with it.
  rpc::ErrorInfo ErrorOf(const Call& call, rpc::ErrorInfo error) const;

  // Calls whose deadline has passed, in the order of their deadlines; none is reported twice.
  std::vector<Call*> TakeExpired(Time now);
  Time next_deadline() const { return timers_.empty() ? kInfiniteFuture : timers_.begin()->first; }

 private:
  void Record(Call* call, ActorId actor);
  void AddResults(Call* call, const std::vector<Cookie>& handles);
  void TakeArguments(Call* call, std::vector<rpc::Value> args);
  bool TakeArgument(Call* call, rpc::Value* arg);
  bool MayBeLost(const Call& call) const;
  void RefuseIfTooLarge(Call* call, const std::vector<rpc::Value>& args);

  const ProcessOptions& options_;
  Outbox* const out_;
  CallStore* const store_;
  RefTable* const refs_;
  Lineage* const lineage_;
  std::set<std::pair<Time, uint64_t>> timers_;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_CALL_TABLE_H_

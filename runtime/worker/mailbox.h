// Mailbox orders the calls that other processes push to this one, and says what to run next.
//
// Problem:    tasks must not wait behind a slow one while other workers idle; an actor's calls must run in each
// caller's order,
//             also when they come early or wait for an argument; whoever is too late must be told so.
//
//   arrive ──► in order? ──► arguments here? ──► ready ──► running ──► replied
//     │ no: early              no: waiting (holds up its own caller's stream only)
//     └ wrong lease, wrong incarnation, behind a slow task, the actor ends: NotExecuted
//
// Lanes:      one for tasks (one at a time), one for each hosted actor (max_concurrency at a time): first in, first
// out. Refs:       a call's refs are held while it is here; at its end, before the reply, what user code still refers
// to is
//             registered (docs/objects.md, 5). When the caller dies they are registered at once.
// Ownership:  owns the calls and the hosted actors' lanes. Borrows the other parts.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) each request is answered once, unless its caller is dead.
//             (2) an actor's calls of one caller start in the order of their sequence numbers.
//             (3) a task is refused if its lease is lower than the highest seen.
// See:        docs/task.md, docs/actor_call.md, rpc/schema/task.capnp
#ifndef MANTA_RUNTIME_WORKER_MAILBOX_H_
#define MANTA_RUNTIME_WORKER_MAILBOX_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/worker/number_table.h"
#include "runtime/worker/outbox.h"
#include "runtime/worker/ref_table.h"

namespace manta::runtime::worker {

struct Lane;
struct HostedActor;
struct CallerQueue;

// A call from another process (or an actor's construction). `request` loses its arguments when it runs.
struct MailboxCall {
  rpc::CallRequest request;
  std::vector<ObjectId> refs;  // held for it, by index
  Lane* lane = nullptr;
  CallerQueue* caller = nullptr;  // actor calls
  Time expires = kInfiniteFuture;
  Time started{};       // or since when it waits for its arguments
  uint64_t serial = 0;  // while arguments are missing
  uint64_t event = 0;   // while it runs: its record in TaskEvents
  uint32_t missing = 0;
  bool caller_dead = false;
  bool blocked = false;
  std::unique_ptr<rpc::ErrorInfo> failed_argument;
  LinkedList<MailboxCall>* list = nullptr;
  MailboxCall* prev = nullptr;
  MailboxCall* next = nullptr;
};
using MailboxList = LinkedList<MailboxCall>;

struct Lane {
  MailboxList ready;
  uint32_t running = 0;
  uint32_t running_max = 1;
  bool open = true;              // false: the actor is being constructed
  HostedActor* actor = nullptr;  // null: tasks
};

// The calls of one caller to one actor.
struct CallerQueue {
  uint64_t next_sequence = 1;
  std::map<uint64_t, MailboxCall*> early;  // null: cancelled
  MailboxList waiting;                     // in order, for an argument or behind one that waits
  bool dead = false;
};

struct HostedActor {
  ActorId id;
  uint64_t incarnation = 0;
  Lane lane;
  MailboxCall* construction = nullptr;  // until Constructed
  rpc::ActorSpec spec;                  // until it is constructed; without the arguments
  LeaseId lease;
  bool has_cpu = false;  // while it lives
  uint32_t blocked = 0;  // of the calls that run
  bool lends = false;    // its CPU is lent: all that run are blocked
  bool ending = false;   // takes no more calls; ends after those it has
  std::map<ProcessId, CallerQueue> callers;
  std::pair<ProcessId, CallerQueue*> last_caller{{}, nullptr};
};

class Mailbox {
 public:
  Mailbox(const ProcessOptions* options, Outbox* out, RefTable* refs) : options_(*options), out_(out), refs_(refs) {}
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // ---- from callers
  void OnRequest(rpc::CallRequest&& request);
  void OnCancel(const rpc::CallCancel& cancel);

  // ---- from user code
  void OnExecuted(Executed&& executed);
  void OnConstructed(Constructed constructed);
  void OnBlocked(const BlockedChanged& changed);

  // ---- from the own node
  void OnConstruct(rpc::ActorConstruct construct);
  void OnKill(const rpc::ActorKill& kill);
  void OnFence(const rpc::LeaseFence& fence);
  void OnExit(const rpc::ProcessExit& exit);
  void OnCallerDied(ProcessId caller) { OnCallersDied(caller, caller); }
  void OnNodeDied(NodeId node) { OnCallersDied({node, 0}, {node, UINT64_MAX}); }

  // An argument is here now (or an error).
  void OnArgument(uint64_t serial, const ObjectId& object);
  void OnTick();
  Time next_deadline() const { return std::min(slow_check_, lend_check_); }
  size_t size() const { return size_; }

 private:
  struct Running {
    CallId id;
    uint32_t attempt = 0;
    MailboxCall* call = nullptr;
  };

  // tasks
  void OnTask(MailboxCall* call);
  void RefuseTasks(const char* why, LeaseId below);
  bool TaskIsSlow() const;
  void CheckSlow();
  void LendWhileWaiting();
  // actors
  HostedActor* FindActor(ActorId id);
  void OnActorCall(MailboxCall* call);
  void Admit(MailboxCall* call);
  void AdmitWaiting(HostedActor* actor, CallerQueue* caller);
  void StartConstruction(HostedActor* actor);
  void OnConstructionBlocked(const BlockedChanged& changed);
  void RefuseCallsOf(HostedActor* actor, const char* why);
  void LendCpu(HostedActor* actor);
  void EndIfDone(HostedActor* actor);
  void EndActor(HostedActor* actor);
  // both
  void OnCallersDied(ProcessId first, ProcessId last);
  void DropCallersOf(HostedActor* actor, ProcessId first, ProcessId last);
  void AwaitArguments(MailboxCall* call);
  void RunLane(Lane* lane);
  void Start(MailboxCall* call);
  void Record(MailboxCall* call, TaskKind kind, ActorId actor);
  void RecordEnd(const MailboxCall& call, const rpc::ErrorInfo& error);
  void Reply(MailboxCall* call, Executed&& executed);
  void Refuse(MailboxCall* call, rpc::ErrorCode code, std::string why);
  void Forget(MailboxCall* call);
  void ExitIfIdle();
  template <typename Visit>
  void ForEachCall(Visit visit);

  const ProcessOptions& options_;
  Outbox* const out_;
  RefTable* const refs_;
  uint64_t highest_lease_ = 0;
  bool exiting_ = false;  // ProcessExit was received
  bool exited_ = false;   // ExitProcess was asked for
  std::string exit_reason_;
  Time slow_check_ = kInfiniteFuture;
  Time lend_check_ = kInfiniteFuture;
  LeaseId lent_;  // its task waits for arguments, and its CPU is lent
  size_t size_ = 0;
  uint64_t last_serial_ = 0;
  Lane tasks_;
  MailboxList waiting_tasks_;  // for arguments
  std::map<ActorId, std::unique_ptr<HostedActor>> actors_;
  HostedActor* last_actor_ = nullptr;
  std::vector<Running> running_;
  std::map<uint64_t, MailboxCall*> by_serial_;
  Pool<MailboxCall> pool_;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_MAILBOX_H_

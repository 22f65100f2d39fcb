// ProcessCore decides for one user process (driver or worker): what to send when user code makes calls, drops refs or
// waits, and what to run when calls arrive.
//
// Problem:    calls, results, refs, leases and actors change under deaths and retries; user code must see each
//             call end exactly once.
// Parts:      CallTable (own calls and results), LeaseClient (tasks), ActorStream (calls to one actor),
//             Mailbox (calls from others), RefTable (what this process holds). One file each.
// Ownership:  owns all state; borrows nothing.
// Threads:    externally synchronised (the process's core lock).
// Invariants: (1) every submitted call is completed exactly once.
//             (2) a ticket is sent to the own daemon before the message that carries its ref.
//             (3) an Execute is answered by exactly one Executed.
// See:        docs/task.md, docs/actor_call.md, docs/objects.md, rpc/schema/
#ifndef MANTA_RUNTIME_WORKER_PROCESS_CORE_H_
#define MANTA_RUNTIME_WORKER_PROCESS_CORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "runtime/core.h"
#include "runtime/task_events.h"

namespace manta::runtime {

// Opaque to the core: the shell's name for one handle (its RefState). 0: none.
using Cookie = uint64_t;

// ------------------------------------------------------------------ events

// A task or an actor call. Call numbers are allotted by the shell, rising per thread, never reused.
struct SubmitCall {
  uint64_t number = 0;
  uint64_t function = 0;
  std::vector<rpc::Value> args;  // kRef: a top-level ref, to be resolved first
  std::vector<Cookie> returns;   // one per result
  CallId parent;
  uint32_t depth = 0;
  uint64_t trace = 0;
  std::optional<Duration> timeout;  // of the whole call, from submission
  std::string function_name;        // what people call this call; empty: the function's name
  // tasks
  ResourceSet shape;
  rpc::SchedulingHint hint;
  int32_t max_retries = 3;  // -1: for ever; of system failures (and of exceptions, if retry_on_exception)
  bool retry_on_exception = false;
  // actor calls (actor set)
  ActorId actor;
  bool retries_of_actor = false;  // as often as the actor's MaxTaskRetries says, instead of max_retries
};
struct SubmitActor {
  rpc::ActorSpec spec;  // args may be kRef; spec.actor.number allotted by the shell
  Cookie handle = 0;    // completed when the actor is alive (a value) or dead (an error)
  // spec.get_if_exists: answered by ActorLookedUp once it is decided: this actor, or the live one that has the name.
  Cookie decided = 0;
};
// A Put: the value is complete. kStored: already sealed by the shell's writer (the core sends ObjectSeal).
struct SubmitPut {
  uint64_t number = 0;
  rpc::Value value;
  Cookie handle = 0;
};
// User code made a handle (or view) of `object` by deserialising it. The core answers with Complete when known.
struct RefAdded {
  ObjectId object;
  rpc::StoreLocation location;  // the hint that came with it
  Cookie handle = 0;
};
// A handle is gone (results' cookies included). Its cookie is not used again by the core. The handles in arguments or
// returns must be dropped after the SubmitCall or Executed that carries their refs.
struct RefDropped {
  ObjectId object;
  Cookie handle = 0;
};
// Get or Wait is called on it: resolve if nobody has yet. For a stored object whose handles are completed: the copy was
// not there any more; the home is asked again, and handles added from now on are completed with its answer.
struct RefWanted {
  ObjectId object;
};
// An Execute has run.
struct Executed {
  CallId call;
  uint32_t attempt = 0;
  std::vector<rpc::Value> returns;
  rpc::ErrorInfo error;  // set: the user's code threw
  uint64_t run_ns = 0;
  bool exit_actor = false;  // ExitActor() was called
};
// A ConstructActor has run.
struct Constructed {
  ActorId actor;
  uint64_t incarnation = 0;
  rpc::ErrorInfo error;
};
// The thread that runs `call` blocks in Get/Wait (after 1 ms) or goes on.
struct BlockedChanged {
  CallId call;
  bool blocked = false;
};
struct CancelCall {
  ObjectId object;
};
struct KillActor {
  ActorId actor;
  bool no_restart = true;
};
struct FindActor {
  std::string name_space;
  std::string name;
  Cookie cookie = 0;  // answered by ActorLookedUp
};
// OnDeath: tell the shell about every ActorUpdate of this actor.
struct WatchActor {
  ActorId actor;
};
// Asks the own node which nodes there are; answered by NodesListed.
struct ListNodes {
  Cookie cookie = 0;
};
struct PeerConnected {
  ProcessId peer;
};
// No channel could be made (the peer is dead or dying): its death will be reported by the daemon.
struct PeerUnreachable {
  ProcessId peer;
  std::string why;
};
// The own daemon is gone: everything pending ends with kNodeDied.
struct DaemonLost {};
// Shutdown: send what can be sent, then complete the rest as kCancelled.
struct BeginShutdown {};
struct Tick {};

using ProcessEventVariant =
    std::variant<MessageReceived, SubmitCall, SubmitActor, SubmitPut, RefAdded, RefDropped, RefWanted, Executed,
                 Constructed, BlockedChanged, CancelCall, KillActor, FindActor, WatchActor, ListNodes, PeerConnected,
                 PeerUnreachable, DaemonLost, BeginShutdown, Tick>;
// Classes, as rpc::Message is.
struct ProcessEvent : ProcessEventVariant {
  using ProcessEventVariant::ProcessEventVariant;
  using ProcessEventVariant::operator=;
  ProcessEvent() noexcept;
  ProcessEvent(const ProcessEvent& other);
  ProcessEvent(ProcessEvent&& other) noexcept;
  ProcessEvent& operator=(const ProcessEvent& other);
  ProcessEvent& operator=(ProcessEvent&& other) noexcept;
  ~ProcessEvent();
};

// ------------------------------------------------------------------ actions

struct Connect {
  ProcessId peer;
  std::string address;
};
struct Disconnect {
  ProcessId peer;
};
// The object of `handle` is ready: `value` (kInline, or kStored at this node) or `error`. Sent once per handle.
struct Complete {
  Cookie handle = 0;
  rpc::Value value;
  rpc::ErrorInfo error;
};
// The call that `handle` is the result of has ended; its value lies on another node and stays there until somebody
// wants it (RefWanted). Then Complete follows. May be said again.
struct Elsewhere {
  Cookie handle = 0;
};
// Run a task or a method of the hosted actor. At most max_concurrency of an actor, one task, at a time.
struct Execute {
  rpc::CallRequest request;
};
struct ConstructActor {
  rpc::ActorSpec spec;
  uint64_t incarnation = 0;
};
struct ActorLookedUp {
  Cookie cookie = 0;
  ActorId actor;
  uint32_t max_concurrency = 1;
};
// In the order of their numbers. None: the own node is gone.
struct NodesListed {
  Cookie cookie = 0;
  std::vector<rpc::NodeInfo> nodes;
};
// For OnDeath, and for the shell's table of what Get waits for.
struct ActorChanged {
  rpc::ActorUpdate update;
};
// Why a pending call waits (LeasePending, actor not placed), for Get's context and the log.
struct WaitingFor {
  ObjectId object;
  std::string reason;
};
// The process ends: flush and _exit (worker), or every API call throws (driver).
struct ExitProcess {
  std::string reason;
  bool graceful = true;
};

using ProcessActionVariant =
    std::variant<SendMessage, Connect, Disconnect, Complete, Elsewhere, Execute, ConstructActor, ActorLookedUp,
                 NodesListed, ActorChanged, WaitingFor, ExitProcess, LogLine>;
struct ProcessAction : ProcessActionVariant {
  using ProcessActionVariant::ProcessActionVariant;
  using ProcessActionVariant::operator=;
  ProcessAction() noexcept;
  ProcessAction(const ProcessAction& other);
  ProcessAction(ProcessAction&& other) noexcept;
  ProcessAction& operator=(const ProcessAction& other);
  ProcessAction& operator=(ProcessAction&& other) noexcept;
  ~ProcessAction();
};

// ------------------------------------------------------------------ the machine

struct ProcessOptions {
  ProcessId self;
  JobId job = 0;
  std::string name_space;
  // What people call a function, for errors. Pure; none: only calls that have a name of their own are named.
  std::function<std::string(uint64_t function)> function_name;
  Duration lease_linger = std::chrono::milliseconds(2);
  Duration slow_task = std::chrono::milliseconds(1);  // above it nothing waits behind a task
  uint32_t calls_at_worker_max = 1000;                // tasks outstanding at one worker
  uint32_t lease_requests_max = 16;                   // outstanding per shape
  uint64_t inline_bytes_max = 64 << 10;
  TaskEvents* task_events = nullptr;  // borrowed; null: nobody will ask
};

struct ProcessCounts {         // for leak audits and `status`
  uint64_t calls_pending = 0;  // not completed
  uint64_t calls_late = 0;     // completed (timed out), but the worker has not answered yet
  uint64_t objects_owned = 0;
  uint64_t objects_borrowed = 0;
  uint64_t leases = 0;
  uint64_t mailbox_calls = 0;
  uint64_t streams = 0;
};

class ProcessCore {
 public:
  explicit ProcessCore(ProcessOptions options);
  ~ProcessCore();
  ProcessCore(const ProcessCore&) = delete;
  ProcessCore& operator=(const ProcessCore&) = delete;

  void Handle(Time now, ProcessEvent event, std::vector<ProcessAction>* actions);
  // When Tick is wanted next; Time::max() when nothing is timed.
  Time next_deadline() const;
  ProcessCounts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_PROCESS_CORE_H_

// Every message between two Manta processes, as the plain value that cores exchange.
//
// rpc/schema/*.capnp is the protocol's manual: who sends what to whom, order, retry, and what a lost
// connection destroys. This header mirrors it struct by struct; rpc/codec.h converts between the two.
// (A new field goes into the schema, its codec_*.cc, and random_message.cc, which does not compile without it.)
// Threads: immutable values.
#ifndef MANTA_RPC_MESSAGE_H_
#define MANTA_RPC_MESSAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/resources.h"

namespace manta::rpc {

using base::ResourceSet;

// ---------------------------------------------------------------- values (schema/common.capnp)

// Where a sealed object lies: `offset` and `size_bytes` inside segment `segment` of node `node`.
struct StoreLocation {
  NodeId node = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  auto operator<=>(const StoreLocation&) const = default;
};

enum class ErrorCode : uint16_t {
  kNone = 0,
  kTaskError,  // the user's code threw; type, message, where are its own
  kWorkerDied,
  kActorDied,
  kObjectLost,
  kOwnerDied,
  kNodeDied,
  kOutOfMemory,
  kTimeout,
  kCancelled,
  kBackPressure,
  kFunctionNotFound,
  kNameTaken,
  kWorkerLimit,
  kInvalidArgument,
  kSerialization,
  kShutdown,
  kInternal,
};

// How a call ended when it did not end well; becomes a typed manta::Error at the public surface.
struct ErrorInfo {
  ErrorCode code = ErrorCode::kNone;
  std::string type;                // the user's exception type, demangled
  std::string message;             // what happened and what to do
  std::string where;               // process, function
  std::vector<std::string> chain;  // the calls from the outermost to this one
  bool may_have_run = false;
  explicit operator bool() const { return code != ErrorCode::kNone; }
  bool operator==(const ErrorInfo&) const = default;
};

// A ref nested in a value. `location` is a hint (node 0: none): where a sealed object lies, so that a
// reader on that node needs to ask nobody. An actor handle is a ref too (ObjectId::is_actor).
struct NestedRef {
  ObjectId object;
  StoreLocation location;
  auto operator<=>(const NestedRef&) const = default;
};

// A value on its way: inline bytes, or a location in a store. `refs` are the refs nested in it, in the
// order in which they appear.
struct Value {
  enum class Kind : uint8_t { kInline, kStored, kRef };
  Kind kind = Kind::kInline;
  Bytes bytes;                  // kInline
  ObjectId object;              // kStored, kRef (kRef: only inside a process, until the ref is ready)
  StoreLocation location;       // kStored
  std::vector<NestedRef> refs;  // kInline, kStored
  bool operator==(const Value&) const = default;
};

// What the values of one message may take together. Whoever makes values refuses what is above it, so that no message
// is too large to be sent: everything else in one is small.
inline constexpr size_t kValuesBytesMax = 896 << 10;
// At least what `value` takes in a message.
inline size_t EncodedBytesMax(const Value& value) { return 160 + value.bytes.size() + 64 * value.refs.size(); }
inline size_t EncodedBytesMax(const std::vector<Value>& values) {
  size_t bytes = 0;
  for (const Value& value : values) bytes += EncodedBytesMax(value);
  return bytes;
}
// Says that `values` are above the limit, and what to do. `what`: "the arguments".
std::string TooLargeText(const std::string& what, const std::vector<Value>& values);

enum class Outcome : uint8_t { kOk, kError, kNotExecuted, kUnknown };

// ---------------------------------------------------------------- calls (schema/task.capnp)

// caller -> worker. Runs a task under `lease`, or a method of `actor`.
struct CallRequest {
  CallId call;
  uint32_t attempt = 0;
  JobId job = 0;
  std::string name_space;
  uint64_t function = 0;  // hash of the registered name
  std::string name;       // what the caller calls this call; empty: the function's name
  LeaseId lease;          // tasks
  ActorId actor;          // actor calls
  uint64_t actor_incarnation = 0;
  uint64_t sequence = 0;  // actor calls: position in the stream (caller, actor incarnation), from 1
  std::vector<Value> args;
  uint32_t return_count = 1;
  uint64_t deadline_ns = 0;  // remaining time when sent; 0: none
  CallId parent;             // the call that made this one
  uint32_t depth = 0;        // of the chain of parents
  uint64_t trace = 0;
  uint32_t concurrency_group = 0;
  uint64_t cancel_token = 0;
  bool retry_on_exception = false;  // this attempt's exception will be retried
  bool operator==(const CallRequest&) const = default;
};

// worker -> caller. One per attempt, whatever happened.
struct CallReply {
  CallId call;
  uint32_t attempt = 0;
  Outcome outcome = Outcome::kOk;
  std::vector<Value> returns;  // kOk
  ErrorInfo error;             // kError
  std::vector<uint32_t> kept;  // indices of the request's refs that the callee registered (docs/objects.md)
  uint64_t run_ns = 0;         // time in user code, for the pipelining rule
  bool operator==(const CallReply&) const = default;
};

// caller -> worker. Takes back a call that has not started; answered by its CallReply (kNotExecuted
// with kCancelled, or the real outcome if it had started).
struct CallCancel {
  CallId call;
  uint32_t attempt = 0;
  bool operator==(const CallCancel&) const = default;
};

// ---------------------------------------------------------------- leases (schema/lease.capnp)

// Where a task or actor should run. `affinity` (0: none): that node, or, unless `affinity_hard`, another one if it has
// no room there.
enum class Spreading : uint8_t { kHybrid, kSpread };
struct SchedulingHint {
  Spreading spreading = Spreading::kHybrid;
  NodeId affinity = 0;
  bool affinity_hard = false;
  auto operator<=>(const SchedulingHint&) const = default;
};

// caller -> own node [-> other node]. Asks for a worker of the job with `shape`.
struct LeaseRequest {
  ProcessId caller;
  uint64_t request = 0;  // caller-minted, rising
  JobId job = 0;
  ResourceSet shape;
  uint32_t depth = 0;      // deeper is granted first
  bool forwarded = false;  // came from another node: grant or queue here, do not forward again
  SchedulingHint hint;
  bool operator==(const LeaseRequest&) const = default;
};
struct LeaseCancel {
  ProcessId caller;
  uint64_t request = 0;
  bool operator==(const LeaseCancel&) const = default;
};
// node -> caller.
struct LeaseGrant {
  ProcessId caller;
  uint64_t request = 0;
  LeaseId lease;
  ProcessId worker;
  std::string address;  // where the worker listens
  ErrorInfo error;      // set: refused, and the rest is empty
  bool operator==(const LeaseGrant&) const = default;
};
// caller -> node of the lease. The worker is free again (or dead, as far as the caller knows).
struct LeaseReturn {
  LeaseId lease;
  bool operator==(const LeaseReturn&) const = default;
};
// node -> worker. Pushes under a lease with a lower number are refused (NotExecuted) from now on.
struct LeaseFence {
  LeaseId lowest;
  bool operator==(const LeaseFence&) const = default;
};
// worker -> node. The running task blocks in Get (its CPU is free) / goes on.
struct LeaseBlocked {
  LeaseId lease;
  bool blocked = false;
  bool operator==(const LeaseBlocked&) const = default;
};
// node -> caller. Why a request waits (for the log and Get's context); sent when it changes.
struct LeasePending {
  ProcessId caller;
  uint64_t request = 0;
  std::string reason;
  bool worker_limit = false;  // the node runs as many workers as it may
  bool operator==(const LeasePending&) const = default;
};

// ---------------------------------------------------------------- actors (schema/actor.capnp)

struct ActorSpec {
  ActorId actor;
  JobId job = 0;
  std::string name;  // empty: anonymous
  std::string name_space;
  bool get_if_exists = false;
  std::string class_name;    // demangled, for people
  uint64_t constructor = 0;  // hash of the registered constructor
  std::vector<Value> args;
  ResourceSet placement;     // to be placed
  ResourceSet lifetime;      // while it lives
  int32_t max_restarts = 0;  // -1: for ever
  uint32_t max_concurrency = 1;
  CallId parent;
  int32_t max_task_retries = 0;  // of its calls that do not say otherwise; -1: for ever
  bool detached = false;         // outlives its job: ends by Kill or ExitActor only
  SchedulingHint hint;
  bool operator==(const ActorSpec&) const = default;
  bool registered() const { return !name.empty() || max_restarts != 0 || detached; }  // kept by the head
};

enum class ActorState : uint8_t { kPending, kAlive, kRestarting, kDead };

// creator -> own node [-> head, if registered]. An upsert: sent again after a head restart.
struct ActorCreate {
  ActorSpec spec;
  bool operator==(const ActorCreate&) const = default;
};
// directory (head, or the creator's node) -> node. Place incarnation `incarnation` there.
struct ActorStart {
  ActorSpec spec;
  uint64_t incarnation = 0;
  bool operator==(const ActorStart&) const = default;
};
// node -> worker. Construct the actor; answered by ActorStarted.
struct ActorConstruct {
  ActorSpec spec;
  uint64_t incarnation = 0;
  LeaseId lease;
  bool operator==(const ActorConstruct&) const = default;
};
// worker -> node -> directory. `error` set: the constructor threw, or no worker could be had.
struct ActorStarted {
  ActorId actor;
  uint64_t incarnation = 0;
  ProcessId worker;
  std::string address;
  ErrorInfo error;
  std::vector<uint32_t> kept;  // refs of the constructor's arguments that the actor registered
  // The same would come of another try: a worker has answered that the constructor threw, or cannot be run. Of a node's
  // answers want of room is not, nor that it could start no worker.
  bool is_final() const {
    const bool from_worker = worker.is_user_process();
    return error && (from_worker || (error.code != ErrorCode::kWorkerLimit && error.code != ErrorCode::kWorkerDied));
  }
  bool operator==(const ActorStarted&) const = default;
};
// worker or node -> directory. This incarnation ended. `intended`: ExitActor, Kill, or a final ActorStarted that a head
// which was away may not have had: no restart.
struct ActorEnded {
  ActorId actor;
  uint64_t incarnation = 0;
  bool intended = false;
  ErrorInfo error;
  bool operator==(const ActorEnded&) const = default;
};
// process -> own node [-> directory]. Asks for updates about an actor, now and whenever it changes.
struct ActorWatch {
  ActorId actor;
  ProcessId watcher;
  bool operator==(const ActorWatch&) const = default;
};
// directory -> watcher (relayed by its node). Level-triggered: `version` rises with each change.
struct ActorUpdate {
  ActorId actor;
  ProcessId watcher;
  uint64_t version = 0;
  ActorState state = ActorState::kPending;
  uint64_t incarnation = 0;
  ProcessId worker;
  std::string address;
  ErrorInfo error;             // kDead: why
  std::vector<uint32_t> kept;  // to the creator: as in ActorStarted
  bool will_restart = false;
  std::string waiting;           // kPending, kRestarting: what it lacks, and how much of that there is
  int32_t max_task_retries = 0;  // ActorSpec's
  ActorId instead;               // kDead, if get_if_exists was asked for: the live actor that has the name
  bool operator==(const ActorUpdate&) const = default;
};
// process -> directory. `no_restart` false: kill this incarnation only. A worker told to `graceful`ly
// end first runs the calls it already has (the last handle is gone).
struct ActorKill {
  ActorId actor;
  bool no_restart = true;
  bool graceful = false;
  uint64_t incarnation = 0;  // this one (directory -> node: and older ones); 0: whichever lives
  bool operator==(const ActorKill&) const = default;
};
// process -> own node -> head; the answer comes back the same way.
struct ActorLookup {
  ProcessId asker;
  uint64_t request = 0;
  std::string name_space;
  std::string name;
  bool operator==(const ActorLookup&) const = default;
};
struct ActorFound {
  ProcessId asker;
  uint64_t request = 0;
  ActorId actor;  // none: no such name
  uint32_t max_concurrency = 1;
  bool operator==(const ActorFound&) const = default;
};

// ---------------------------------------------------------------- objects (schema/object.capnp)

// worker or driver -> own node -> home. A sealed object exists; `holder` (the caller) holds it.
struct ObjectSeal {
  ObjectId object;
  uint32_t attempt = 0;
  StoreLocation location;
  ProcessId holder;
  std::vector<NestedRef> refs;  // nested in it: held by the object's own entry at its home
  bool operator==(const ObjectSeal&) const = default;
};
// owner -> own node (= home), before the ref leaves the process for the first time, and again when a
// pending one resolves. The owner becomes a holder.
struct ObjectPublish {
  ObjectId object;
  bool pending = false;  // else `value` or `error`
  Value value;           // kInline, or kStored (then a Seal has been sent)
  ErrorInfo error;
  bool operator==(const ObjectPublish&) const = default;
};
// holder of the message -> own node -> home, written before the message that carries the ref.
struct RefTicket {
  TicketId ticket;
  ObjectId object;
  ProcessId holder;    // who sends the message
  ProcessId receiver;  // replies: the caller; requests: none (they may be re-routed)
  bool operator==(const RefTicket&) const = default;
};
// caller -> own node -> home: call `call`'s attempt has ended. The ticket of each ref ends now, or, if
// the callee kept it, when the callee's registration arrives (or the callee is dead).
struct RefOutcome {
  TicketId ticket;
  ObjectId object;
  ProcessId kept_by;         // none: not kept
  ProcessId ticket_by = {};  // replies: the callee, whose RefTicket may come later
  bool operator==(const RefOutcome&) const = default;
};
// borrower -> own node -> home. Ends `ticket`. `borrow` rises with each new borrow of this object by
// this holder; lower ones are ignored.
struct RefRegister {
  ObjectId object;
  ProcessId holder;
  uint64_t borrow = 0;
  TicketId ticket;           // call.number 0: none
  ProcessId ticket_by = {};  // as in RefOutcome
  bool operator==(const RefRegister&) const = default;
};
struct RefRelease {
  ObjectId object;
  ProcessId holder;
  uint64_t borrow = 0;          // the owner's own hold is borrow 0
  NodeId sealed_on = 0;         // the owner releases a sealed result: the Seal may still be on its way from here
  uint32_t sealed_attempt = 0;  // sealed_on: by which attempt
  bool operator==(const RefRelease&) const = default;
};
// process -> own node -> home. Asks where an object is; answered when it is no longer pending and, if
// stored, once a copy is on the asker's node.
struct ObjectResolve {
  ObjectId object;
  ProcessId asker;
  bool operator==(const ObjectResolve&) const = default;
};
struct ObjectResolved {
  ObjectId object;
  ProcessId asker;
  uint32_t attempt = 0;
  Value value;
  ErrorInfo error;
  bool operator==(const ObjectResolved&) const = default;
};
// node -> node. Pull: the bytes are in `data`, or, of larger objects, there to be fetched (docs/objects.md).
struct ObjectPull {
  ObjectId object;
  uint32_t attempt = 0;
  NodeId puller = 0;
  bool operator==(const ObjectPull&) const = default;
};
struct ObjectPulled {
  ObjectId object;
  uint32_t attempt = 0;
  bool found = false;
  uint64_t size_bytes = 0;
  Bytes data;
  std::vector<NestedRef> refs;
  bool operator==(const ObjectPulled&) const = default;
};
// home -> node with a copy: drop it, if it is of `attempt` or a lower one.
struct ObjectDrop {
  ObjectId object;
  uint32_t attempt = 0xFFFFFFFF;  // all: nobody refers to the object
  bool operator==(const ObjectDrop&) const = default;
};
// node -> home: a copy came (after a pull) or went. `damaged`: it is kept where it is, for who reads it there, but came
// damaged to the sender again and again.
struct ObjectCopy {
  ObjectId object;
  uint32_t attempt = 0;
  StoreLocation location;
  bool present = false;
  bool damaged = false;
  bool operator==(const ObjectCopy&) const = default;
};
// process -> own node: lease me room for writing / I am done with it.
struct SegmentRequest {
  uint64_t request = 0;
  uint64_t size_bytes = 0;
  bool operator==(const SegmentRequest&) const = default;
};
// node -> process. The segment's descriptor comes with the message over the unix socket.
struct SegmentGrant {
  uint64_t request = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;  // 0: refused, `error` says why
  ErrorInfo error;
  bool operator==(const SegmentGrant&) const = default;
};
struct SegmentReturn {
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;  // the unused rest
  bool operator==(const SegmentReturn&) const = default;
};
// process -> node: I want to read this segment; the answer carries its descriptor (socket).
struct SegmentMap {
  uint64_t segment = 0;
  bool operator==(const SegmentMap&) const = default;
};

// node -> process that was given its descriptor: the segment is no more; what is mapped of it is only in the way.
struct SegmentGone {
  uint64_t segment = 0;
  bool operator==(const SegmentGone&) const = default;
};

// ---------------------------------------------------------------- processes and nodes (schema/node.capnp)

enum class ProcessKind : uint8_t { kDriver, kWorker, kZygote };

// process -> own node, first on the channel.
struct ProcessHello {
  ProcessKind kind = ProcessKind::kDriver;
  ProcessId process;  // workers: as told when started; drivers: none, the node allots one
  JobId job = 0;
  int32_t pid = 0;
  std::string address;             // where it listens for callers
  std::string program;             // path, for people
  std::string name_space;          // drivers: of the job's named actors; empty: one of its own
  std::vector<std::string> argv;   // drivers: the program's command line, for its workers
  std::vector<std::string> files;  // drivers: what its workers on other nodes need, relative to where it works
  bool operator==(const ProcessHello&) const = default;
};
struct ProcessWelcome {
  ProcessId process;
  JobId job = 0;
  std::string name_space;
  uint32_t polling_slot = 0;  // of the node's polling page, whose descriptor comes with the message
  bool operator==(const ProcessWelcome&) const = default;
};
// node -> its processes and all nodes, after the dead process's rings have been drained.
struct ProcessDied {
  ProcessId process;
  std::string reason;      // "killed by signal 9", "exited with status 3", "node died"
  NodeId newest_node = 0;  // the highest node number that the reporter has heard of: a home that has not
                           // waits for it before it counts who must have drained
  bool operator==(const ProcessDied&) const = default;
};
// process -> own node: nothing of `process` is left unread here, and every ref that came from it is
// registered; node -> every home: all my processes have said so.
struct DeathDrained {
  ProcessId process;  // number 0: the whole node
  NodeId by = 0;
  bool operator==(const DeathDrained&) const = default;
};
// node -> worker / driver: end now (idle, its job ended, Kill).
struct ProcessExit {
  bool graceful = true;
  std::string reason;
  bool operator==(const ProcessExit&) const = default;
};
// driver -> own node -> head -> nodes: the job ends: its workers, actors and refs go.
struct JobEnd {
  JobId job = 0;
  bool operator==(const JobEnd&) const = default;
};
// node [-> driver's node] -> driver: what workers of its job printed.
struct Output {
  ProcessId process;
  bool is_stderr = false;
  Bytes text;
  uint64_t dropped_bytes = 0;
  JobId job = 0;
  bool operator==(const Output&) const = default;
};

// process -> own node -> other process of that node: let us share a ring. The descriptors of the ring, the offerer's
// attention page and its bells travel with it, over the sockets; the node vouches for `from`. `to` a daemon: the
// process's ring to its own node.
struct PeerOffer {
  ProcessId from;
  ProcessId to;
  uint32_t mark = 0;  // by which the peer notifies the sender (rpc/attention.h)
  bool operator==(const PeerOffer&) const = default;
};
// The way back, with the descriptors of the answerer's attention page and bells.
struct PeerAnswer {
  ProcessId from;           // who answers
  ProcessId to;             // who offered
  uint32_t mark = 0;        // as in the offer
  uint32_t offer_mark = 0;  // the offer's
  std::string refused;      // empty: accepted; else why not
  bool operator==(const PeerAnswer&) const = default;
};
// process -> own node: `peer` wrote what no process of ours writes into the ring that we share. Ends one of the two.
struct PeerBroke {
  ProcessId peer;
  std::string why;
  bool operator==(const PeerBroke&) const = default;
};

// process -> own node, on the socket: connect me to `peer`, a process of another node. Answered by PeerLink.
struct PeerDial {
  ProcessId peer;
  bool operator==(const PeerDial&) const = default;
};
// node -> process, on the socket. A connected, authenticated TCP socket to `peer` comes with it, unless it is refused.
struct PeerLink {
  ProcessId peer;
  bool dialled = false;  // by this process; else by the peer
  Bytes early;           // what the peer has written already, read with the end of the handshake
  std::string refused;   // empty: here it is
  bool dead = false;     // refused: nobody listens there any more
  bool operator==(const PeerLink&) const = default;
};
// node -> head -> node of the job's driver. Asks for the program that `job` runs. Answered by ProgramInfo, directly.
struct ProgramRequest {
  JobId job = 0;
  NodeId asker = 0;
  bool operator==(const ProgramRequest&) const = default;
};
// A file that belongs to a program: `path` relative to the program's folder.
struct ProgramFile {
  std::string path;
  Bytes sha256;  // 32 bytes
  uint64_t size_bytes = 0;
  bool executable = false;
  bool operator==(const ProgramFile&) const = default;
};
// node of the job's driver (or the head, which knows no such job) -> asker. The first file is the executable.
struct ProgramInfo {
  JobId job = 0;
  NodeId node = 0;         // where the files can be fetched from
  std::string name_space;  // of the job's named actors
  std::vector<ProgramFile> files;
  std::vector<std::string> argv;
  std::string error;  // not empty: there is none, and why
  bool operator==(const ProgramInfo&) const = default;
};

// ---------------------------------------------------------------- state (schema/state.capnp)

enum class StateKind : uint8_t {
  kStatus,
  kNodes,
  kWorkers,
  kActors,
  kTasks,
  kObjects,
  kJobs,
  kPrograms,
  kLogs,       // reads a log file: `subject` names it
  kKillActor,  // `subject`: the actor's id, or its name; members only
};
inline constexpr char kStateSummary[] = "summary";
// client -> head, head -> node. What there is of a kind, at most `limit` rows.
struct StateQuery {
  uint64_t request = 0;  // the asker's number
  StateKind kind = StateKind::kStatus;
  NodeId node = 0;          // only this node's; 0: all
  std::string subject;      // of kLogs and kKillActor; lists: kStateSummary asks for counts instead of rows
  uint64_t offset = 0;      // kLogs: bytes from the start
  uint64_t limit = 1000;    // rows; kLogs: bytes
  bool no_restart = false;  // kKillActor: for good, else this incarnation
  // Lists: "KEY=VALUE", "KEY!=VALUE". A row that has another value there is left out; one without the column is not.
  std::vector<std::string> filters;
  bool operator==(const StateQuery&) const = default;
};
// One column of one row. `is_json`: the value is a JSON number, bool, object or array; else a string.
struct StateField {
  std::string key;
  std::string value;
  bool is_json = false;
  bool operator==(const StateField&) const = default;
};
struct StateRow {
  std::vector<StateField> fields;
  bool operator==(const StateRow&) const = default;
};
// The way back.
struct StateReply {
  uint64_t request = 0;
  NodeId node = 0;  // who answers; 0: the head
  std::vector<StateRow> rows;
  Bytes text;              // kLogs
  bool truncated = false;  // there are more
  std::string error;       // not empty: why there is no answer
  bool operator==(const StateReply&) const = default;
};

// ---------------------------------------------------------------- head (schema/head.capnp)

struct NodeInfo {
  NodeId node = 0;
  std::string name;
  std::string address;
  ResourceSet total;
  ResourceSet available;
  uint64_t version = 0;
  int32_t pid = 0;           // of the daemon
  std::string machine;       // boot id: the same for all nodes of one machine
  bool beside_head = false;  // it was started with the head
  bool operator==(const NodeInfo&) const = default;
};
// node -> head, first on the connection and after every head restart. `node` 0: a new life.
struct NodeRegister {
  NodeInfo info;
  std::vector<ActorStarted> actors;  // registered actors that live here (reconciliation)
  std::vector<ActorEnded> ended;     // ... and that ended here lately: the head may have missed it
  bool operator==(const NodeRegister&) const = default;
};
struct NodeAccepted {
  NodeId node = 0;
  uint64_t head_epoch = 0;
  bool operator==(const NodeAccepted&) const = default;
};
// head -> node that was declared dead and came back: you are fenced; kill your workers, join anew.
struct NodeFenced {
  NodeId node = 0;
  bool operator==(const NodeFenced&) const = default;
};
struct Heartbeat {
  NodeId node = 0;
  uint64_t number = 0;
  bool operator==(const Heartbeat&) const = default;
};
// node -> head, on change, coalesced to 100 ms.
struct NodeReport {
  NodeInfo info;
  bool operator==(const NodeReport&) const = default;
};
// head -> nodes: the live nodes. Level-triggered, `version` rises.
struct ClusterView {
  uint64_t version = 0;
  std::vector<NodeInfo> nodes;
  bool operator==(const ClusterView&) const = default;
};
// head -> nodes.
struct NodeDied {
  NodeId node = 0;
  std::string reason;
  bool operator==(const NodeDied&) const = default;
};
// driver's node -> head; the answer goes back with the same request number.
struct JobRegister {
  uint64_t request = 0;
  NodeId node = 0;
  ProcessId driver;
  std::string program;
  bool operator==(const JobRegister&) const = default;
};
struct JobAccepted {
  uint64_t request = 0;
  ProcessId driver;
  JobId job = 0;
  bool has_detached = false;  // detached actors of it live: only the head ends it
  bool operator==(const JobAccepted&) const = default;
};

// process -> own node. Which nodes are there? Answered by NodesReply, from the node's last view.
struct NodesQuery {
  uint64_t request = 0;  // the asker's number
  bool operator==(const NodesQuery&) const = default;
};
struct NodesReply {
  uint64_t request = 0;
  std::vector<NodeInfo> nodes;  // in the order of their numbers
  bool operator==(const NodesReply&) const = default;
};

using MessageVariant =
    std::variant<CallRequest, CallReply, CallCancel,  //
                 LeaseRequest, LeaseCancel, LeaseGrant, LeaseReturn, LeaseFence, LeaseBlocked, LeasePending,
                 ActorCreate, ActorStart, ActorConstruct, ActorStarted, ActorEnded, ActorWatch, ActorUpdate, ActorKill,
                 ActorLookup, ActorFound, ObjectSeal, ObjectPublish, RefTicket, RefOutcome, RefRegister, RefRelease,
                 ObjectResolve, ObjectResolved, ObjectPull, ObjectPulled, ObjectDrop, ObjectCopy, SegmentRequest,
                 SegmentGrant, SegmentReturn, SegmentMap, ProcessHello, ProcessWelcome, ProcessDied, DeathDrained,
                 ProcessExit, JobEnd, Output, PeerOffer, PeerAnswer, NodeRegister, NodeAccepted, NodeFenced, Heartbeat,
                 NodeReport, ClusterView, NodeDied, JobRegister, JobAccepted, PeerBroke, SegmentGone, PeerDial,
                 PeerLink, ProgramRequest, ProgramInfo, StateQuery, StateReply, NodesQuery, NodesReply>;
// Any message. A class, so that files which pass messages on do not each compile how sixty types are copied and freed.
struct Message : MessageVariant {
  using MessageVariant::MessageVariant;
  using MessageVariant::operator=;
  Message() noexcept;
  Message(const Message& other);
  Message(Message&& other) noexcept;
  Message& operator=(const Message& other);
  Message& operator=(Message&& other) noexcept;
  ~Message();
};

// The message's name, for logs and counters ("CallRequest").
const char* MessageName(const Message& message);
inline constexpr size_t kMessageTypeCount = std::variant_size_v<MessageVariant>;

}  // namespace manta::rpc

#endif  // MANTA_RPC_MESSAGE_H_

// NodeCore decides for one node daemon: which process gets a lease, which workers are started and stopped, where
// actors are placed, which objects live, and who is told of a death.
//
// Parts:      ProcessTable (local processes), WorkerPool (demand, idle ones), LeaseQueue (grants), HomeTable
//             (references counted here), store::ObjectTable (this node's memory), ActorDirectory (anonymous
//             actors created here), PeerTable (other nodes, the head, relays). One file each.
// Threads:    externally synchronised (the daemon's loop).
// Invariants: (1) resources granted never exceed the total, but for tasks that resume from a blocked Get.
//             (2) a death is reported only after the dead process's rings are drained.
//             (3) relayed messages of one process to one node leave in the order in which they came.
// See:        docs/task.md, docs/actor_call.md, docs/objects.md
#ifndef MANTA_RUNTIME_NODE_NODE_CORE_H_
#define MANTA_RUNTIME_NODE_NODE_CORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "runtime/core.h"

namespace manta::runtime {

// ------------------------------------------------------------------ events (and runtime::MessageReceived)

// A process said hello on a new, authenticated connection. Workers carry the id they were started with; a driver
// gets one. Answered by Welcome (or Refuse) with the same connection.
struct HelloReceived {
  uint64_t connection = 0;
  rpc::ProcessHello hello;
};
// A StartWorker could not be carried out.
struct StartFailed {
  ProcessId worker;
  std::string why;
};
// The process has ended and its rings are drained.
struct ProcessEnded {
  ProcessId process;
  std::string reason;
};
// The connection to another daemon (or the head) is up. Loss is reported only as NodeDied by the head; a lost head is
// HeadLost, after which the core registers again when HeadConnected comes.
struct HeadConnected {};
struct HeadLost {};
// A segment asked for by CreateSegment is mapped and populated (or could not be).
struct SegmentCreated {
  uint64_t segment = 0;
  uint64_t size_bytes = 0;
  std::string error;
};
// The shell has scanned the pin tables for a PinScan: these objects' ranges are not read by anybody.
struct PinsScanned {
  std::vector<ObjectId> unpinned;
  std::vector<ObjectId> pinned;
};
// A WriteObject has ended, for better or worse, and the shell writes there no more.
struct ObjectWritten {
  uint64_t pull = 0;
  std::string error;     // "": the bytes are there, whole
  bool damaged = false;  // with an error: what the source sends is not what it has
};
struct NodeTick {};

using NodeEventVariant = std::variant<MessageReceived, HelloReceived, StartFailed, ProcessEnded, HeadConnected,
                                      HeadLost, SegmentCreated, PinsScanned, ObjectWritten, NodeTick>;
// Classes, as rpc::Message is.
struct NodeEvent : NodeEventVariant {
  using NodeEventVariant::NodeEventVariant;
  using NodeEventVariant::operator=;
  NodeEvent() noexcept;
  NodeEvent(const NodeEvent& other);
  NodeEvent(NodeEvent&& other) noexcept;
  NodeEvent& operator=(const NodeEvent& other);
  NodeEvent& operator=(NodeEvent&& other) noexcept;
  ~NodeEvent();
};

// ------------------------------------------------------------------ actions (and SendMessage, LogLine)

struct Welcome {
  uint64_t connection = 0;
  rpc::ProcessWelcome welcome;
};
struct Refuse {
  uint64_t connection = 0;
  std::string why;
};
struct StartWorker {
  ProcessId worker;
  JobId job = 0;
};
struct KillProcess {
  ProcessId process;
  std::string why;
};
struct CreateSegment {
  uint64_t segment = 0;
  uint64_t size_bytes = 0;
};
struct DestroySegment {
  uint64_t segment = 0;
};
// Send `message` (SegmentGrant, SegmentMap's answer) together with the descriptor of `segment`.
struct SendSegment {
  ProcessId to;
  rpc::Message message;
  uint64_t segment = 0;
};
// Mark these ranges `leaving`, fence, scan the pin tables, answer with PinsScanned.
struct PinScan {
  struct Range {
    ObjectId object;
    rpc::StoreLocation location;
  };
  std::vector<Range> ranges;
};
// An object of more bytes than this is fetched by the shell that wants it; smaller ones travel inside ObjectPulled.
inline constexpr uint64_t kPulledInlineBytesMax = 256 << 10;
// Send `pulled` to node `to`: with the bytes at `location` if there are at most kPulledInlineBytesMax; else other nodes
// may fetch them from now on, until a PinScan names the range and finds nobody who reads it.
struct SendObject {
  NodeId to = 0;
  rpc::ObjectPulled pulled;
  rpc::StoreLocation location;
};
// Write the object's bytes at `location` (reserved by the core): `data`, or, of more than kPulledInlineBytesMax, what
// the shell fetches from node `source`. Answered by one ObjectWritten.
struct WriteObject {
  uint64_t pull = 0;
  ObjectId object;
  uint32_t attempt = 0;
  NodeId source = 0;
  rpc::StoreLocation location;
  Bytes data;
};
// Nobody waits for it any more: end it soon. ObjectWritten still answers.
struct AbandonWrite {
  uint64_t pull = 0;
};
// The job has ended here: its zygote may go.
struct JobGone {
  JobId job = 0;
};
// The daemon ends (fenced nodes start a new life instead: the shell makes a new core).
struct EndDaemon {
  std::string reason;
  bool new_life = false;
};

using NodeActionVariant =
    std::variant<SendMessage, LogLine, Welcome, Refuse, StartWorker, KillProcess, CreateSegment, DestroySegment,
                 SendSegment, PinScan, SendObject, WriteObject, AbandonWrite, JobGone, EndDaemon>;
struct NodeAction : NodeActionVariant {
  using NodeActionVariant::NodeActionVariant;
  using NodeActionVariant::operator=;
  NodeAction() noexcept;
  NodeAction(const NodeAction& other);
  NodeAction(NodeAction&& other) noexcept;
  NodeAction& operator=(const NodeAction& other);
  NodeAction& operator=(NodeAction&& other) noexcept;
  ~NodeAction();
};

// ------------------------------------------------------------------ the machine

struct NodeOptions {
  std::string name;
  std::string address;
  int32_t pid = 0;           // of the daemon
  std::string machine;       // boot id
  bool beside_head = false;  // started with the head
  ResourceSet total;         // CPU, GPU, custom ones
  uint64_t store_bytes_max = 256 << 20;
  uint32_t task_workers_max = 64;
  uint32_t actor_workers_max = 4096;
  Duration worker_idle = std::chrono::seconds(1);  // an idle worker is stopped after this
  uint32_t workers_kept = 0;                       // idle ones kept however long (per job)
  Duration worker_start_timeout = std::chrono::seconds(10);
  Duration report_interval = std::chrono::milliseconds(100);
  Duration heartbeat = std::chrono::milliseconds(500);
  uint64_t seed = 1;  // of every random choice (policy top-k)
};

struct NodeCounts {  // for leak audits and `status`
  uint64_t processes = 0;
  uint64_t workers_idle = 0;
  uint64_t leases = 0;
  uint64_t lease_requests = 0;
  uint64_t home_entries = 0;
  uint64_t home_tickets = 0;
  uint64_t home_tombstones = 0;
  uint64_t store_objects = 0;
  uint64_t store_bytes = 0;
  uint64_t pulls = 0;
  uint64_t actors = 0;
  uint64_t directory_actors = 0;
  ResourceSet available;
};

class NodeCore {
 public:
  explicit NodeCore(NodeOptions options);
  ~NodeCore();
  NodeCore(const NodeCore&) = delete;
  NodeCore& operator=(const NodeCore&) = delete;

  void Handle(Time now, NodeEvent event, std::vector<NodeAction>* actions);
  Time next_deadline() const;
  NodeCounts counts() const;
  NodeId node() const;  // 0 until the head has accepted it
  // Where other nodes reach it; before HeadConnected.
  void SetAddress(std::string address);
  // The state API, no side effects: what this node knows of what is asked for. Tasks and logs are the shell's.
  rpc::StateReply Describe(const rpc::StateQuery& query) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_NODE_CORE_H_

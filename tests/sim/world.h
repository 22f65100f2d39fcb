// World is one simulated cluster and one run of it: a head, nodes, drivers and their workers, a workload, and faults.
//
//   start  ->  the workload runs while faults happen  ->  faults end, everything heals  ->  every wait must end
//          ->  everything is dropped: the leak audit of processes and nodes  ->  drivers end: the audit of the cluster
//
// Threads:    externally synchronised; worlds are independent of one another.
// Invariants: (1) (seed, workload, mix) determine the run: the hash of its trace is the same every time.
// See:        tests/sim/oracle.h (what must hold), tests/sim/workloads.h, tests/sim/faults.h
#ifndef MANTA_TESTS_SIM_WORLD_H_
#define MANTA_TESTS_SIM_WORLD_H_

#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "runtime/head/head_core.h"
#include "runtime/head/kv_store.h"
#include "runtime/node/node_core.h"
#include "tests/sim/disk.h"
#include "tests/sim/event_queue.h"
#include "tests/sim/faults.h"
#include "tests/sim/network.h"
#include "tests/sim/oracle.h"
#include "tests/sim/redis.h"
#include "tests/sim/trace.h"
#include "tests/sim/workloads.h"

namespace manta::sim {

class HeadHost;
class NodeHost;
class ProcessHost;

struct RunOptions {
  uint64_t seed = 1;
  const Workload* workload = nullptr;  // null: by the seed
  const FaultMix* mix = nullptr;       // null: by the seed
  // The workload goes on until so many calls were made, and so many faults have happened.
  uint64_t calls_min = 1000;
  uint64_t faults_min = 20;
  std::FILE* trace = nullptr;
};

struct RunReport {
  uint64_t seed = 0;
  std::string workload, mix;
  uint64_t hash = 0;
  uint64_t calls = 0, ok = 0, errors = 0;
  std::map<rpc::ErrorCode, uint64_t> errors_by_code;
  FaultCounts faults;
  Coverage coverage;
  uint64_t events = 0, messages = 0;
  Duration virtual_time{};
  std::vector<std::string> violations;
};

class World {
 public:
  explicit World(const RunOptions& options);
  ~World();
  RunReport Run();

  // ---- for hosts
  EventQueue& queue() { return queue_; }
  Time now() const { return queue_.now(); }
  Trace& trace() { return trace_; }
  base::Rng& rng() { return rng_; }
  Network& network() { return network_; }
  Oracle& oracle() { return oracle_; }
  SimRedis& redis() { return redis_; }
  SimDisk& disk() { return disk_; }
  // The one that serves; null: none does.
  HeadHost* head() const;
  // What a head finds must be what was acknowledged to those before it, and perhaps what they did not hear about.
  void HeadOpened(HeadHost* head, const RedisFacts& facts);
  // It writes, and hears, in the same order, that it has written.
  void Writes(HeadHost* head, const runtime::KvBatch& batch);
  void Wrote(HeadHost* head, uint64_t commit_seq);
  ProcessHost* NewWorker(NodeHost* node, ProcessId id, JobId job);
  bool StartFails();
  void Joined(ProcessHost* process);
  void NodeJoined(NodeHost* node);
  // Its last life by that number; null: none yet.
  NodeHost* FindNode(NodeId node) const;
  // Whether a chunk of an object is damaged or lost with its connection.
  bool TransferFails();
  // Whether a node sends damaged bytes of this attempt of the object, whenever it is asked for them.
  bool IsDamagedAt(NodeId source, const ObjectId& object, uint32_t attempt) const;
  // kRefused: nobody is there. kLater: cut off, or not known there yet: try again.
  enum class Connected { kYes, kRefused, kLater };
  Connected ConnectNodes(NodeHost* from, NodeId to, bool data);
  Connected ConnectProcesses(ProcessHost* from, ProcessId to);
  void Constructs(ActorId actor, uint64_t incarnation, ProcessId where);
  void CheckNumber(const ObjectId& object, ProcessId holder, int64_t number);
  // A process ended: by itself, or not.
  void Exited(ProcessHost* process);
  void Gone(ProcessHost* process, const std::string& reason);
  void NodeGone(NodeHost* node);
  void HeadGone(HeadHost* head);
  void DaemonEnds(NodeHost* node, bool new_life);

  // ---- for workloads
  bool WantsMore() const {
    return !faults_over_ && (oracle_.calls() < options_.calls_min || FaultCount() < options_.faults_min);
  }
  const Workload& workload() const { return *workload_; }

 private:
  struct Machine {
    NodeHost* node = nullptr;  // its present life; null: between two
    runtime::NodeOptions options;
  };
  struct PlannedFault {
    uint64_t at_calls = 0;  // when so many calls have been made
    enum class What : uint8_t { kWorker, kDriver, kNode, kHead, kPartition, kReconnect, kRedis, kReplace } what;
    auto operator<=>(const PlannedFault&) const = default;
  };

  void Start();
  void PlanFaults();
  void StartHead();
  void StartNode(int machine);
  void KeepDriversRunning();
  bool StartDriver(Function main);
  void RunLastDriver();
  void FireDueFaults();
  void Fire(PlannedFault::What what);
  void Kill(ProcessHost* process, const std::string& why);
  void KillNode(NodeHost* node, const std::string& why);
  uint64_t FaultCount() const { return faults_.total() + network_.packet_faults(); }
  void Partition();
  void Heal();
  void BreakRedis();
  void LosePower();
  void ReplaceHead();
  bool AnyReplacedHeadLives() const;
  ProcessHost* PickProcess(bool driver);
  NodeHost* PickNode();

  // Runs until `done`, or `limit` has passed; whether done.
  bool RunUntil(const std::function<bool()>& done, Duration limit);
  void RunFor(Duration time);
  bool MainsAreDone() const;
  std::string WhoIsNotDone() const;
  void AuditHeld();
  void AuditEnd();
  RunReport Report();

  const RunOptions options_;
  const Workload* workload_;
  FaultMix mix_;
  base::Rng rng_;
  EventQueue queue_;
  Trace trace_;
  Network network_;
  Oracle oracle_;
  SimRedis redis_;
  SimDisk disk_;
  std::deque<std::unique_ptr<Host>> hosts_;  // all that ever lived
  HeadHost* head_ = nullptr;
  std::vector<HeadHost*> replaced_;
  uint64_t lives_ = 0;                           // of the head
  uint64_t writer_ = 0;                          // the life that has opened the store last
  RedisFacts acknowledged_;                      // to the lives of the head, up to the writer
  std::deque<runtime::KvBatch> unacknowledged_;  // of the writer
  std::vector<Machine> machines_;                // [0] is the head's
  std::map<NodeId, NodeHost*> nodes_;
  std::map<ProcessId, ProcessHost*> processes_;  // joined, by id
  std::vector<ProcessHost*> drivers_;            // all that were started
  size_t drivers_started_ = 0;
  std::set<std::pair<ActorId, uint64_t>> constructed_;
  std::deque<PlannedFault> planned_;
  bool faults_over_ = false;
  bool ending_ = false;
  FaultCounts faults_;  // packets are counted by network_
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_WORLD_H_

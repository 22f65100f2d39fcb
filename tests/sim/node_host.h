// NodeHost is the simulated shell of one life of a node daemon: a NodeCore, its processes, its store memory, its
// connections to the head and to other daemons.
//
// Threads:    externally synchronised.
#ifndef MANTA_TESTS_SIM_NODE_HOST_H_
#define MANTA_TESTS_SIM_NODE_HOST_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/node/node_core.h"
#include "tests/sim/network.h"
#include "tests/sim/transfers.h"

namespace manta::sim {

class World;
class HeadHost;
class ProcessHost;

class NodeHost : public Host {
 public:
  NodeHost(World* world, int machine, runtime::NodeOptions options);
  ~NodeHost() override;

  void Start();
  void OnMessage(Pipe* pipe, int side, rpc::Message message) override;
  // The daemon dies; its processes notice.
  void Die(const std::string& why) override;
  bool is_daemon() const override { return true; }

  NodeId id() const { return id_; }
  runtime::NodeCounts counts() const { return core_->counts(); }
  // Those that are connected or have been started, in the order in which they came.
  std::vector<ProcessHost*> processes() const;
  const runtime::NodeOptions& options() const { return options_; }

  // ---- processes
  void Accept(ProcessHost* process, Pipe* ring, Pipe* descriptors);
  // What the process wrote is still to be read; then the core hears that it has ended.
  void ProcessGone(ProcessHost* process, const std::string& reason);

  // ---- the head
  void OnHeadGone();
  // The connection breaks, and is made anew.
  void Reconnect();
  Pipe* head_pipe() const { return head_pipe_; }  // null: not connected

  // ---- other daemons. `data`: objects' bytes.
  void AddPeer(NodeId node, bool data, Pipe* pipe) { peers_[{node, data}] = pipe; }
  // It has been told that `node` is dead, and refuses connections from it.
  bool takes_for_dead(NodeId node) const { return dead_nodes_.contains(node); }
  // The nodes that the head's views have shown it, dead ones too.
  const std::set<NodeId>& heard_of() const { return heard_of_; }

  // ---- store memory
  struct Blob {
    ObjectId object;
    uint32_t attempt = 0;
    uint64_t size_bytes = 0;
    int64_t number = 0;
  };
  void Write(const rpc::StoreLocation& location, const Blob& blob, const std::string& who);
  int64_t Read(const rpc::StoreLocation& location, ObjectId object, ProcessId reader);
  size_t segments() const { return segments_.size(); }
  Transfers& transfers() { return transfers_; }
  // A WriteObject has ended.
  void Written(uint64_t pull, const std::string& error, bool damaged = false) {
    Handle(runtime::ObjectWritten{pull, error, damaged});
  }

 private:
  struct Segment {
    uint64_t size_bytes = 0;
    std::map<uint64_t, Blob> blobs;  // by offset
  };
  struct Connection {
    ProcessHost* process = nullptr;
    Pipe* ring = nullptr;
    Pipe* descriptors = nullptr;
    ProcessId id;  // known once welcome
  };

  void Handle(runtime::NodeEvent event);
  void CarryOut(runtime::NodeAction& action);
  void Run(runtime::SendMessage& action);
  void Run(runtime::LogLine& action);
  void Run(runtime::Welcome& action);
  void Run(runtime::Refuse& action);
  void Run(runtime::StartWorker& action);
  void Run(runtime::KillProcess& action);
  void Run(runtime::CreateSegment& action);
  void Run(runtime::DestroySegment& action);
  void Run(runtime::SendSegment& action);
  void Run(runtime::PinScan& action);
  void Run(runtime::SendObject& action);
  void Run(runtime::WriteObject& action);
  void Run(runtime::AbandonWrite& action);
  void Run(runtime::JobGone& action);
  void Run(runtime::EndDaemon& action);
  void ToNode(NodeId node, rpc::Message message);
  void ToPeer(std::pair<NodeId, bool> peer, rpc::Message message);
  void ConnectTo(std::pair<NodeId, bool> peer);
  void ConnectToHead();
  void ClosePeers(NodeId node);
  bool ReadByAnybody(const rpc::StoreLocation& range) const;
  void ArmTick();

  World* const world_;
  const runtime::NodeOptions options_;
  std::unique_ptr<runtime::NodeCore> core_;
  NodeId id_ = 0;
  bool handling_ = false;
  std::deque<runtime::NodeEvent> inbox_;
  Time tick_ = kInfiniteFuture;

  Pipe* head_pipe_ = nullptr;
  std::map<uint64_t, Connection> connections_;   // by the ring's id
  std::map<ProcessId, ProcessHost*> processes_;  // that live, as far as the daemon knows
  std::map<ProcessId, ProcessHost*> started_;    // workers that have not said hello
  std::map<std::pair<NodeId, bool>, Pipe*> peers_;
  std::map<std::pair<NodeId, bool>, std::deque<rpc::Message>> unsent_;  // until connected
  std::set<NodeId> dead_nodes_;
  std::set<NodeId> heard_of_;
  std::map<uint64_t, Segment> segments_;
  Transfers transfers_;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_NODE_HOST_H_

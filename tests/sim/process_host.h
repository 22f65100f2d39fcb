// ProcessHost is the simulated shell of one user process: a ProcessCore, its channels, its part of the store, and
// scripts as user code.
//
// Threads:    externally synchronised.
// Invariants: (1) an event that comes while another is handled waits its turn.
#ifndef MANTA_TESTS_SIM_PROCESS_HOST_H_
#define MANTA_TESTS_SIM_PROCESS_HOST_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/worker/process_core.h"
#include "tests/sim/network.h"
#include "tests/sim/script.h"

namespace manta::sim {

class World;
class NodeHost;

class ProcessHost : public Host {
 public:
  // `worker`: none for a driver, which runs `main`.
  ProcessHost(World* world, NodeHost* node, ProcessId worker, JobId job, Function main);
  ~ProcessHost() override;

  // Says hello to its node.
  void Join();
  void OnMessage(Pipe* pipe, int side, rpc::Message message) override;
  void Die(const std::string& why) override;
  // The daemon's ring has been read to its end, and the daemon is gone.
  void OnDaemonGone();
  void BeginShutdown() { Submit(runtime::BeginShutdown{}); }

  World* world() const { return world_; }
  NodeHost* node() const { return node_; }
  ProcessId id() const { return id_; }
  JobId job() const { return job_; }
  bool is_driver() const { return main_ != nullptr; }
  bool joined() const { return core_ != nullptr && alive_; }
  bool main_done() const { return main_done_; }
  bool daemon_gone() const { return daemon_gone_; }
  runtime::ProcessCounts counts() const { return core_->counts(); }
  // What user code still has: frames that have not ended, handles, pins.
  size_t frames() const { return frames_.size(); }
  size_t handles() const { return refs_.size(); }
  std::string WhatRuns() const;
  bool ReadsAt(const rpc::StoreLocation& range) const;

  // ---- for Frame, RefState and View
  void Submit(runtime::ProcessEvent event);
  uint64_t NextNumber() { return ++last_number_; }
  Ref NewRef(ObjectId object);
  void ForgetRef(const RefState& ref);
  uint64_t Pin(const rpc::StoreLocation& location);
  void Unpin(uint64_t pin) { pins_.erase(pin); }
  rpc::Value Encode(const UserValue& value);
  // `value`'s segment is mapped first. `done` is not called if the process dies meanwhile.
  void Decode(const rpc::Value& value, std::function<void(UserValue)> done);
  void MapFor(const rpc::Value& value, std::function<void()> done);
  UserValue DecodeNow(const rpc::Value& value);
  void Allocate(uint64_t size_bytes, std::function<void(std::optional<rpc::StoreLocation>)> done);
  void WriteBlob(const rpc::StoreLocation& location, ObjectId object, uint32_t attempt, int64_t number);
  Frame* FindFrame(uint64_t number);
  void FindActor(const std::string& name, std::function<void(ActorId)> done);
  void StartThread(Function function);
  void RunFrame(Frame* frame);
  void FrameEnded(Frame* frame);
  // What a script submits counts in the oracle.
  uint64_t NextOrder(ActorId actor) { return ++order_[actor]; }
  // Handles that dropped while another event was handled.
  Pipe* peer_pipe(ProcessId peer) const;
  void AddPeer(ProcessId peer, Pipe* pipe) { peers_[peer] = pipe; }
  void DropPeer(ProcessId peer);

 private:
  struct Room {
    uint64_t size_bytes;
    std::function<void(std::optional<rpc::StoreLocation>)> done;
  };

  void OnWelcome(const rpc::ProcessWelcome& welcome);
  void OnPeersGone(const rpc::Message& message);
  void CarryOut(runtime::ProcessAction& action);
  void Run(runtime::SendMessage& action);
  void Run(runtime::Connect& action);
  void Run(runtime::Disconnect& action);
  void Run(runtime::Complete& action);
  void Run(runtime::Elsewhere&) {}  // its scripts want what they wait for
  void Run(runtime::Execute& action);
  void Run(runtime::ConstructActor& action);
  void Run(runtime::ActorLookedUp& action);
  void Run(runtime::NodesListed&) {}
  void Run(runtime::ActorChanged& action);
  void Run(runtime::WaitingFor& action);
  void Run(runtime::ExitProcess& action);
  void Run(runtime::LogLine& action);
  void ConnectTo(ProcessId peer);
  void StartFrame(Frame* frame, std::vector<rpc::Value> args, size_t next);
  void NextRoom();
  void OnGrant(const rpc::SegmentGrant& grant);
  void ArmTick();
  void Clear();

  World* const world_;
  NodeHost* const node_;
  ProcessId id_;
  JobId job_ = 0;
  const Function main_;
  bool main_done_ = false;
  bool daemon_gone_ = false;
  bool exiting_ = false;

  std::unique_ptr<runtime::ProcessCore> core_;
  Pipe* ring_ = nullptr;         // to the daemon; side 0 is ours
  Pipe* descriptors_ = nullptr;  // for segments
  std::map<ProcessId, Pipe*> peers_;
  std::deque<runtime::ProcessEvent> inbox_;
  bool handling_ = false;
  Time tick_ = kInfiniteFuture;

  uint64_t last_number_ = 0;
  uint64_t last_cookie_ = 0;
  std::map<runtime::Cookie, RefState*> refs_;   // handles that live
  std::map<runtime::Cookie, int> completions_;  // of handles that the core knows
  std::map<uint64_t, std::unique_ptr<Frame>> frames_;
  uint64_t last_frame_ = 0;
  std::map<ActorId, std::unique_ptr<ActorState>> actors_;
  std::map<ActorId, uint64_t> order_;
  std::map<uint64_t, std::function<void(ActorId)>> lookups_;

  std::map<uint64_t, rpc::StoreLocation> pins_;
  uint64_t last_pin_ = 0;
  std::set<uint64_t> mapped_;
  std::map<uint64_t, std::vector<std::function<void()>>> mapping_;  // by segment
  std::deque<Room> rooms_;                                          // the first is being asked for
  bool asking_ = false;
  uint64_t last_request_ = 0;
  struct {
    uint64_t segment = 0, offset = 0, end = 0;
  } lease_;  // for small objects
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_PROCESS_HOST_H_

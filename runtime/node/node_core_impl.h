// The inside of NodeCore: its parts, and the steps that involve more than one of them.
//
//   node_core.cc           events, processes, jobs, the head, timers
//   node_core_deaths.cc    who is told of a death, and what ends with it
//   node_core_leases.cc    requests, grants, workers
//   node_core_hints.cc     requests that say on which node
//   node_core_actors.cc    actors that live here, and the directory of those created here
//   node_core_objects.cc   references, the store, pulls
//   node_core_state.cc     what there is, for people
//
// Threads:    externally synchronised; pure.
#ifndef MANTA_RUNTIME_NODE_NODE_CORE_IMPL_H_
#define MANTA_RUNTIME_NODE_NODE_CORE_IMPL_H_

#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "runtime/actor_directory.h"
#include "runtime/node/actor_hosts.h"
#include "runtime/node/actor_routes.h"
#include "runtime/node/death_table.h"
#include "runtime/node/home_table.h"
#include "runtime/node/lease_queue.h"
#include "runtime/node/lease_table.h"
#include "runtime/node/node_core.h"
#include "runtime/node/number_set.h"
#include "runtime/node/peer_table.h"
#include "runtime/node/process_table.h"
#include "runtime/node/pull_table.h"
#include "runtime/node/worker_pool.h"
#include "runtime/state_rows.h"
#include "store/object_table.h"

namespace manta::runtime {

struct NodeCore::Impl {
  // A worker that was told to end (its job ended, it gave its actor up) is killed after this.
  static constexpr Duration kExitGrace = std::chrono::milliseconds(500);
  // An actor that found no room here in this time is placed anew by its directory.
  static constexpr Duration kActorWait = std::chrono::seconds(2);

  explicit Impl(NodeOptions node_options);

  void Handle(Time now, NodeEvent event, std::vector<NodeAction>* actions);
  Time next_deadline() const;
  NodeCounts counts() const;

  // ---- events
  void On(MessageReceived& event);
  void On(HelloReceived& event);
  void On(StartFailed& event);
  void On(ProcessEnded& event);
  void On(HeadConnected& event);
  void On(HeadLost& event);
  void On(SegmentCreated& event);
  void On(PinsScanned& event);
  void On(ObjectWritten& event);
  void On(NodeTick&) {}

  // ---- messages; `from`: a process of this node, another daemon, or the head
  void OnMessage(ProcessId from, rpc::LeaseRequest& message);
  void OnMessage(ProcessId from, rpc::LeaseCancel& message);
  void OnMessage(ProcessId from, rpc::LeaseGrant& message);
  void OnMessage(ProcessId from, rpc::LeaseReturn& message);
  void OnMessage(ProcessId from, rpc::LeaseBlocked& message);
  void OnMessage(ProcessId from, rpc::LeasePending& message);
  void OnMessage(ProcessId from, rpc::ActorCreate& message);
  void OnMessage(ProcessId from, rpc::ActorStart& message);
  void OnMessage(ProcessId from, rpc::ActorStarted& message);
  void OnMessage(ProcessId from, rpc::ActorEnded& message);
  void OnMessage(ProcessId from, rpc::ActorWatch& message);
  void OnMessage(ProcessId from, rpc::ActorUpdate& message);
  void OnMessage(ProcessId from, rpc::ActorKill& message);
  void OnMessage(ProcessId from, rpc::ActorLookup& message);
  void OnMessage(ProcessId from, rpc::ActorFound& message);
  void OnMessage(ProcessId from, rpc::ObjectSeal& message);
  void OnMessage(ProcessId from, rpc::ObjectPublish& message);
  void OnMessage(ProcessId from, rpc::RefTicket& message);
  void OnMessage(ProcessId from, rpc::RefOutcome& message);
  void OnMessage(ProcessId from, rpc::RefRegister& message);
  void OnMessage(ProcessId from, rpc::RefRelease& message);
  void OnMessage(ProcessId from, rpc::ObjectResolve& message);
  void OnMessage(ProcessId from, rpc::ObjectResolved& message);
  void OnMessage(ProcessId from, rpc::ObjectPull& message);
  void OnMessage(ProcessId from, rpc::ObjectPulled& message);
  void OnMessage(ProcessId from, rpc::ObjectDrop& message);
  void OnMessage(ProcessId from, rpc::ObjectCopy& message);
  void OnMessage(ProcessId from, rpc::SegmentRequest& message);
  void OnMessage(ProcessId from, rpc::SegmentReturn& message);
  void OnMessage(ProcessId from, rpc::SegmentMap& message);
  void OnMessage(ProcessId from, rpc::ProcessDied& message);
  void OnMessage(ProcessId from, rpc::DeathDrained& message);
  void OnMessage(ProcessId from, rpc::PeerBroke& message);
  void OnMessage(ProcessId from, rpc::JobEnd& message);
  void OnMessage(ProcessId from, rpc::NodeAccepted& message);
  void OnMessage(ProcessId from, rpc::NodeFenced& message);
  void OnMessage(ProcessId from, rpc::ClusterView& message);
  void OnMessage(ProcessId from, rpc::NodeDied& message);
  void OnMessage(ProcessId from, rpc::NodesQuery& message);
  void OnMessage(ProcessId from, rpc::JobAccepted& message);
  void OnMessage(ProcessId from, rpc::StateQuery& message);
  template <typename Other>
  void OnMessage(ProcessId, Other&) {}  // not for a daemon

  // ---- node_core.cc
  void Settle();
  bool AdmitHello(HelloReceived& hello);
  void WelcomeWorker(const HelloReceived& hello);
  void DriverDone(JobId job);
  void EndJob(JobId job);
  void TellJobGone(JobId job);
  void RegisterAtHead();
  void ResendToHead();
  void StartNewLife(const std::string& reason);
  void AdvanceWorkers();
  void AdvanceReports();
  rpc::NodeInfo OwnInfo() const;
  std::vector<rpc::NodeInfo> AllInfos() const;

  // ---- node_core_deaths.cc
  void BeginDeath(const rpc::ProcessDied& death);
  void EndWorker(ProcessId worker, const std::string& reason);
  void EndWhatBelongedTo(ProcessId dead, const std::string& reason);
  void CarryOut(node::DeathTable::Output output);

  // ---- node_core_leases.cc
  void ServeLeases();
  bool GrantFirst(node::LeaseQueue::Class* of);
  bool ForwardWaiting(const node::LeaseQueue::Class& of);
  void Forward(const node::LeaseQueue::Key& key, NodeId node);
  uint32_t CountGrantable(const node::LeaseQueue::Class& of, base::ResourceSet* reserved) const;
  std::string WhyStuck(const node::LeaseQueue::Class& of, bool has_room, bool at_cap) const;
  void TellReason(node::LeaseQueue::Class* of, const std::string& reason, bool at_cap);
  void StartWorkers(const std::map<JobId, uint32_t>& task_demand);
  void FailWaiting(JobId job, const std::string& why);
  void RefuseRequest(const rpc::LeaseRequest& request, rpc::ErrorCode code, const std::string& why);
  void WorkerStartFailed(ProcessId worker, const std::string& why, bool gone);
  void StopWorker(ProcessId worker, bool graceful, Time kill_at, const std::string& reason);
  void KillWorker(ProcessId worker, const std::string& why);
  void RevokeLease(LeaseId lease, const std::string& why);
  void SendToCaller(ProcessId caller, rpc::Message message);

  // ---- node_core_hints.cc
  void HeedHints();
  void HeedAffinity(const node::LeaseQueue::Key& key, const rpc::LeaseRequest& request);
  void HeedSpread(const node::LeaseQueue::Key& key, const rpc::LeaseRequest& request);
  void RefusedThere(const rpc::LeaseGrant& refusal);
  std::string WhyElsewhere(const node::LeaseQueue::Class& of) const;
  bool IsImpossible(const rpc::SchedulingHint& hint) const;

  // ---- node_core_actors.cc
  void ServeHosts();
  void PlaceActors();
  void TellWhyUnplaced(const rpc::ActorSpec& spec);
  void StartHere(const rpc::ActorStart& start);
  void RefuseHost(ActorId actor, rpc::ErrorCode code, const std::string& why);
  void EndHost(ActorId actor, const std::string& why);
  void WorkerOfActorEnded(node::ActorHosts::Host* host, const std::string& reason);
  void TellDirectory(const rpc::ActorSpec& spec, const rpc::ActorStarted& message);
  void TellDirectory(const rpc::ActorSpec& spec, const rpc::ActorEnded& message);
  void KillHere(const rpc::ActorKill& message);
  void RouteWatch(const rpc::ActorWatch& watch);
  void AnswerWatch(const rpc::ActorWatch& watch);
  void RouteKill(ProcessId from, const rpc::ActorKill& kill);
  void RouteUpdate(rpc::ActorUpdate update, bool from_head);
  void HandlesGone(ActorId actor);
  void CarryOut(const ActorDirectory::Output& output);

  // ---- node_core_objects.cc
  template <typename Message, typename Here>
  void Route(ProcessId from, NodeId home, Message& message, Here here);
  void ResolvedHere(const rpc::ObjectResolved& answer);
  void GiveSegment(ProcessId to, rpc::Message message, uint64_t segment);
  void GrantedToPull(const rpc::SegmentGrant& grant);
  void PullFailed(node::PullTable::Pull pull, const ObjectWritten& event);
  void FinishPull(node::PullTable::Pull pull);
  void GiveBack(const rpc::SegmentReturn& range);
  void CarryOut(node::HomeTable::Output output);
  void CarryOut(const node::PullTable::Output& output);
  void CarryOut(store::ObjectTable::Actions actions);

  // ---- node_core_state.cc
  rpc::StateReply Describe(const rpc::StateQuery& query) const;
  void DescribeSelf(StateRows* rows, bool as_status) const;
  void DescribeWorkers(StateRows* rows) const;
  void DescribeActors(StateRows* rows) const;
  void DescribeDemand(StateRows* rows) const;
  void DescribeDeaths(StateRows* rows) const;
  void DescribeObjects(StateRows* rows) const;
  void SummarizeObjects(StateRows* rows) const;
  StateRow ObjectRow(const node::HomeTable::Holding& holding) const;
  void RememberDeath(const node::LocalProcess& gone, const node::WorkerPool::Worker* worker, const std::string& reason);

  // ---- output
  template <typename Action>
  void Emit(Action action) {
    actions_->emplace_back(std::move(action));
  }
  void Send(ProcessId to, rpc::Message message) { Emit(SendMessage{to, std::move(message)}); }
  void SendNode(NodeId node, rpc::Message message);  // or handled here
  void SendHead(rpc::Message message);
  void Log(LogLine::Level level, std::string text) { Emit(LogLine{level, std::move(text)}); }
  bool IsMe(NodeId node) const { return node == self_; }

  const NodeOptions options_;
  std::string address_;
  base::Rng rng_;
  NodeId self_ = 0;
  bool ended_ = false;

  // ---- parts
  node::ProcessTable processes_;
  node::WorkerPool pool_;
  node::LeaseTable leases_;
  node::LeaseQueue queue_;
  node::ActorHosts hosts_;
  node::ActorRoutes routes_;
  ActorDirectory directory_;
  node::DeathTable deaths_;
  node::HomeTable home_;
  node::PeerTable peers_;
  node::PullTable pulls_;
  store::ObjectTable store_;
  std::map<uint64_t, std::set<ProcessId>> segment_holders_;  // who has been given its descriptor, and lives

  // ---- jobs
  node::NumberSet ended_jobs_;
  std::set<JobId> detached_jobs_;    // outlive their drivers, until the head ends them
  std::set<JobId> jobs_here_;        // have had a process here; JobGone is owed
  std::set<JobId> job_ends_untold_;  // the head has not said so itself yet

  // ---- the head
  bool head_connected_ = false;
  bool head_accepted_ = false;               // ... and has taken our registration
  std::vector<rpc::Message> head_backlog_;   // said between the two
  std::vector<HelloReceived> early_hellos_;  // before this node has a number
  uint64_t report_version_ = 0;
  base::ResourceSet reported_;
  bool asked_by_others_ = false;  // since then: they count what they asked for until we report
  Time report_at_{};              // not before
  Time heartbeat_at_{};
  uint64_t heartbeats_ = 0;
  std::map<std::pair<ActorId, ProcessId>, rpc::ActorUpdate> held_updates_;  // name a node that no view has shown yet

  // ---- for people
  static constexpr size_t kDeathsMax = 10;
  std::deque<std::pair<ProcessId, std::string>> recent_deaths_;  // of workers that nobody had told to end

  // ---- what Settle has to look at
  bool serve_leases_ = false;
  bool serve_actors_ = false;

  // ---- of the Handle call that runs
  Time now_{};
  std::vector<NodeAction>* actions_ = nullptr;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_NODE_CORE_IMPL_H_

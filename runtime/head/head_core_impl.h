// The inside of HeadCore: its parts, and the steps that involve more than one of them. For head_core*.cc only.
//
//   head_core.cc        events, nodes, jobs, actors, what is persisted
//   head_core_state.cc  what there is, for people
//
// Threads:    externally synchronised; pure.
#ifndef MANTA_RUNTIME_HEAD_HEAD_CORE_IMPL_H_
#define MANTA_RUNTIME_HEAD_HEAD_CORE_IMPL_H_

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "runtime/actor_directory.h"
#include "runtime/failure_detector.h"
#include "runtime/head/head_core.h"
#include "runtime/head/job_table.h"
#include "runtime/head/name_table.h"
#include "runtime/state_rows.h"

namespace manta::runtime {

struct HeadCore::Impl {
  struct Node {
    rpc::NodeInfo info;
    base::ResourceSet placed;  // given to actors since its last report
    bool registered = false;   // in this life of the head
    bool connected = false;
  };
  struct Held {
    uint64_t batch = 0;
    HeadAction action;
  };

  Impl(HeadOptions options, Time now, const std::map<std::string, std::string>& stored);

  void Handle(Time now, HeadEvent event, std::vector<HeadAction>* actions);
  Time next_deadline() const;

  // ---- restoring
  void Restore(Time now, const std::map<std::string, std::string>& stored);
  absl::Status RestoreOne(Time now, const std::string& key, const std::string& value);

  // ---- events
  void OnEvent(HeadHello& hello);
  void OnEvent(NodeConnectionLost& lost);
  void OnEvent(Persisted& persisted);
  void OnEvent(HeadTick&) {}
  void OnEvent(KillActorAsked& asked);
  void OnEvent(MessageReceived& received);

  // ---- messages from daemons
  void OnMessage(NodeId from, rpc::Heartbeat& message);
  void OnMessage(NodeId from, rpc::NodeReport& message);
  void OnMessage(NodeId from, rpc::NodeRegister& message);
  void OnMessage(NodeId from, rpc::JobRegister& message);
  void OnMessage(NodeId from, rpc::ProgramRequest& message);
  void OnMessage(NodeId from, rpc::JobEnd& message);
  void OnMessage(NodeId from, rpc::ProcessDied& message);
  void OnMessage(NodeId from, rpc::ActorCreate& message);
  void OnMessage(NodeId from, rpc::ActorStarted& message);
  void OnMessage(NodeId from, rpc::ActorEnded& message);
  void OnMessage(NodeId from, rpc::ActorWatch& message);
  void OnMessage(NodeId from, rpc::ActorKill& message);
  void OnMessage(NodeId from, rpc::ActorLookup& message);
  template <typename Other>
  void OnMessage(NodeId from, Other& message) {
    Log(LogLine::Level::kWarning, ToString(DaemonOf(from)) + " sent " + rpc::MessageName(rpc::Message(message)) +
                                      ", which is not for the head: ignored");
  }

  // ---- nodes
  void Welcome(NodeId node, uint64_t connection, rpc::NodeRegister message);
  void DeclareDead(NodeId node, const std::string& reason);
  void SendView();
  void SendObituaries(NodeId node);
  void AdvanceTimers();

  // ---- jobs and actors
  void EndJob(JobId job);
  void TellOfDetached(JobId job);
  void Refuse(const rpc::ActorSpec& spec, rpc::ErrorInfo error, ActorId instead = {});
  void AnswerLate(const rpc::ActorWatch& watch);
  void CarryOut(const ActorDirectory::Output& output);
  void PlaceActors();
  void TellWhyUnplaced(const rpc::ActorSpec& spec);
  NodeId ChooseNode(const rpc::ActorSpec& spec, NodeId last_node);

  // ---- head_core_state.cc
  void DescribeNodes(StateRows* rows, bool as_status) const;
  void DescribeJobs(StateRows* rows) const;
  void DescribePrograms(StateRows* rows) const;
  void DescribeFailures(StateRows* rows) const;

  // ---- output
  void Send(NodeId node, rpc::Message message);
  void Emit(HeadAction action);
  void Write(const std::string& key, std::optional<std::string> value);
  void Remember(std::deque<std::string>* keys, const std::string& key, const std::string& value);
  void Log(LogLine::Level level, std::string text);

  const HeadOptions options_;
  const Time grace_end_;  // nothing is restarted before it
  base::Rng rng_;

  NodeId next_node_ = 1;
  std::map<NodeId, Node> nodes_;  // alive (or, after a restart, not known to be dead)
  FailureDetector detector_;
  bool view_changed_ = false;  // the set of nodes: told at once
  bool view_stale_ = false;    // what they have: told when the interval is over
  Time view_due_{};
  uint64_t view_version_ = 0;
  JobTable jobs_;
  NameTable names_;
  ActorDirectory directory_;
  Time place_due_ = kInfiniteFuture;  // look at all that wait
  std::vector<ActorDirectory::Place> wanted_;
  std::deque<std::string> gone_nodes_;  // keys, oldest first
  std::deque<std::string> gone_jobs_;
  std::map<std::string, std::string> obituaries_;    // by key: the reason
  std::map<std::string, rpc::NodeInfo> gone_infos_;  // of nodes that died in this life of the head, by key

  uint64_t batch_ = 0;  // the last one issued
  uint64_t persisted_ = 0;
  std::deque<Held> held_;  // in order: a send never overtakes another

  // of the Handle call that runs
  Time now_{};
  bool wrote_ = false;
  std::vector<HeadAction>* actions_ = nullptr;
  std::vector<std::string> startup_warnings_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HEAD_CORE_IMPL_H_

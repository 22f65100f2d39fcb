// DeathTable follows every death until nothing of the dead process is on its way anywhere.
//
// Problem:    a process that died may have left messages with refs in rings and sockets. Its holds and tickets may be
// dropped
//             only after all of them have been read and what was kept of them has been registered (docs/objects.md).
//
//      reported ──► every process of this node has answered DeathDrained ──► we tell all nodes so
//         │                                                                       │
//         └──────────► every node that was alive has told us so ◄─────────────────┘
//                        └──► drained: the homes drop what the dead process held
//
// A death is a process, or a whole node (number 0), which takes in those of its processes. Answers may come before the
// report. A drain takes effect only while no node's drain is open: what the dead sent to a node that died too may have
// been passed on from there. Ownership:  owned by NodeCore. Threads:    externally synchronised; pure. Invariants: (1)
// IsDead and IsDrained never become false again.
//             (2) what a reporter knew of (newest_node) is known here before the nodes that must answer are counted.
//             (3) a node that joins while deaths are recent is told of them (Recent): else who counts on its answer
//             waits for ever.
// See:        docs/objects.md (Deaths), rpc/schema/node.capnp
#ifndef MANTA_RUNTIME_NODE_DEATH_TABLE_H_
#define MANTA_RUNTIME_NODE_DEATH_TABLE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "rpc/message.h"
#include "runtime/node/number_set.h"

namespace manta::runtime::node {

class DeathTable {
 public:
  // How long newcomers are told of a death, and answers without a report are kept: far longer than a node can be alive
  // without hearing from the head.
  static constexpr Duration kRecent = std::chrono::seconds(30);

  // What the last calls brought about.
  struct Output {
    std::vector<ProcessId> drained_here;  // send DeathDrained to all nodes
    std::vector<ProcessId> drained;       // everywhere: drop what it held
  };

  DeathTable() = default;
  DeathTable(const DeathTable&) = delete;
  DeathTable& operator=(const DeathTable&) = delete;

  void SetSelf(NodeId self) { self_ = self; }
  // The live nodes, this one included, and the highest number ever heard of (they only rise).
  void SetNodes(std::set<NodeId> alive, NodeId newest, Output* out);

  // This node's first view of the cluster: who is older than this node and not in it died before its time. Nothing of
  // those ever came here; they are dead and drained, and whoever asks is told so. Only the first call counts.
  void BeginAmong(const std::set<NodeId>& alive, Output* out);

  // Reported dead. `process`: number 0, a whole node.
  bool IsDead(ProcessId process) const;
  // ... and nothing of it is under way any more.
  bool IsDrained(ProcessId process) const;

  // A death is reported. `local`: the processes here that must answer. False if it was known.
  bool Report(const rpc::ProcessDied& death, std::set<ProcessId> local, Output* out);
  // A process of this node says that it is done with `dead`.
  void AnsweredHere(ProcessId dead, ProcessId by, Output* out);
  // A process of this node is gone: it has answered everything.
  void LocalGone(ProcessId process, Output* out);
  // Node `by` says that all its processes are done.
  void Answered(ProcessId dead, NodeId by, Output* out);

  // For a node that is new in the view: what all were told lately.
  std::vector<rpc::Message> Recent() const;
  // What time it is; to be called before the others. Forgets what is not recent.
  void Advance(Time now);

  size_t open() const { return open_.size(); }

 private:
  struct Death {
    Time since;
    bool reported = false;
    NodeId newest_node = 0;     // of the reporter
    std::set<ProcessId> local;  // have not answered
    bool drained_here = false;
    bool counted = false;       // `nodes` is filled
    std::set<NodeId> nodes;     // have not answered
    std::set<NodeId> answered;  // before they were counted
    bool applied = false;       // IsDrained
    bool done() const { return reported && drained_here && counted && nodes.empty(); }
  };
  struct Past {
    Time when;
    rpc::Message message;
  };
  using Deaths = std::map<ProcessId, Death>;

  void CloseHere(ProcessId dead, Death* death, Output* out);
  void Count(Death* death);
  void Settle(Output* out);
  void Apply(ProcessId dead, Death* death, Output* out);
  void TakeInProcessesOf(NodeId node);
  void AnswerForEarlier(NodeId node, Output* out);
  void Remember(rpc::Message message);

  NodeId self_ = 0;
  std::set<NodeId> alive_;
  NodeId newest_ = 0;
  Deaths open_;
  std::map<NodeId, NumberSet> dead_;  // process numbers
  std::map<NodeId, NumberSet> drained_;
  NumberSet dead_nodes_;
  NumberSet drained_nodes_;
  bool began_ = false;
  NumberSet earlier_nodes_;           // died before this one's time
  NumberSet earlier_nodes_answered_;  // all nodes have been told that they are drained here
  std::deque<Past> past_;
  Time now_;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_DEATH_TABLE_H_

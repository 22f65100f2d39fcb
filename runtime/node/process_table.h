// ProcessTable knows the connected processes of this node, and the drivers that wait to be admitted.
//
// Problem:    a driver is a process only once the head has given it a job, and the head may be away.
//
//      hello ──► waiting (no node number yet, or no answer from the head) ──► connected ──► gone
//
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) numbers rise and are never used twice, workers' included.
// See:        rpc/schema/node.capnp
#ifndef MANTA_RUNTIME_NODE_PROCESS_TABLE_H_
#define MANTA_RUNTIME_NODE_PROCESS_TABLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "rpc/message.h"

namespace manta::runtime::node {

struct LocalProcess {
  ProcessId id;
  rpc::ProcessKind kind = rpc::ProcessKind::kWorker;
  JobId job = 0;
  int32_t pid = 0;
  std::string address;
  std::string program;
};

class ProcessTable {
 public:
  // A driver that waits for its job.
  struct Applicant {
    uint64_t connection = 0;
    ProcessId id;
    std::string address;
    std::string program;
    int32_t pid = 0;
  };

  ProcessTable() = default;
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  ProcessId NextId(NodeId node) { return {node, ++last_number_}; }

  // The driver's JobRegister, to be sent to the head (and again to another head).
  rpc::JobRegister Apply(NodeId node, uint64_t connection, const rpc::ProcessHello& hello);
  // The head has answered. None: there is no such applicant (any more).
  std::optional<Applicant> Admit(const rpc::JobAccepted& accepted);
  std::vector<rpc::JobRegister> waiting() const;

  void Add(LocalProcess process);
  // Null: not connected (or gone).
  const LocalProcess* Find(ProcessId id) const;
  void Remove(ProcessId id);
  const std::map<ProcessId, LocalProcess>& all() const { return processes_; }
  std::set<ProcessId> ids() const;
  bool HasDriverOf(JobId job) const;

 private:
  uint64_t last_number_ = 0;
  std::map<ProcessId, LocalProcess> processes_;
  uint64_t last_request_ = 0;
  std::map<uint64_t, Applicant> applicants_;  // by request
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_PROCESS_TABLE_H_

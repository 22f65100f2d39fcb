// TaskRings are the nodes' view of what its processes have called and run lately, also of those that have just died.
//
// Problem:    the most interesting tasks are those of a process that is no more.
// Ownership:  owns the mappings of its processes' TaskEvents.
// Threads:    loop-confined.
// Invariants: (1) of the dead, the last kDeadMax are kept, with at most kDeadBytesMax of records.
// See:        runtime/task_events.h
#ifndef MANTA_RUNTIME_NODE_TASK_RINGS_H_
#define MANTA_RUNTIME_NODE_TASK_RINGS_H_

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <string>

#include "base/ids.h"
#include "base/time.h"
#include "rpc/message.h"
#include "runtime/task_events.h"

namespace manta::runtime {

class StateRow;
class StateRows;

class TaskRings {
 public:
  static constexpr size_t kDeadMax = 64;
  static constexpr size_t kDeadBytesMax = 32 << 20;

  // Of all rings, for one list: the daemon's loop waits meanwhile.
  static constexpr size_t kRecordsMax = 100'000;

  struct Owner {
    ProcessId process;
    JobId job = 0;
    pid_t pid = 0;
  };

  // `connection`: the shell's number of the process.
  void Add(uint64_t connection, pid_t pid, TaskEventsView view);
  // The process has been given its name.
  void SetOwner(uint64_t connection, ProcessId process, JobId job);
  void Ended(uint64_t connection);

  // Rows of tasks, the newest first, or (kStateSummary) how many of a name are in which state. `wall_offset_ns`: what
  // is to be added to a Time to get nanoseconds since 1970.
  rpc::StateReply Describe(const rpc::StateQuery& query, NodeId node, int64_t wall_offset_ns) const;

 private:
  struct Ring {
    Owner owner;
    TaskEventsView view;
    bool is_dead = false;
  };
  struct Task;
  void DescribeTasks(const rpc::StateQuery& query, NodeId node, int64_t wall_offset_ns, StateRows* rows) const;
  static StateRow RowOf(const Task& task, NodeId node, int64_t wall_offset_ns);
  void Summarize(StateRows* rows) const;
  // visit(ring): the living, then the dead, the last one first.
  template <typename Visit>
  void ForEachRing(Visit visit) const;

  std::map<uint64_t, Ring> live_;  // by connection
  std::deque<Ring> dead_;          // the last one first
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_TASK_RINGS_H_

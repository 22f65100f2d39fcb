// TaskEvents is a process's memory of its last calls: a ring of records in shared memory that its node reads when a
// person asks, and keeps after the process's death.
//
// Problem:    who wonders what a cluster does wants to see its tasks, also those of a process that has just died, and a
//             call must not pay for it: no message, no system call, some tens of nanoseconds.
// Protocol:   the process alone writes. A record's number is 0 while it is being made; the reader looks at it before
//             and after it copies the rest. What changes later (state, times) is told as it is at the moment.
// Threads:    TaskEvents: externally synchronised (the process's core lock). TaskEventsView: loop-confined.
// Invariants: (1) records are made in the order of their numbers; the last kRecords of them are there.
// See:        docs/cli.md
#ifndef MANTA_RUNTIME_TASK_EVENTS_H_
#define MANTA_RUNTIME_TASK_EVENTS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/memfd.h"
#include "base/time.h"
#include "base/unique_fd.h"
#include "rpc/message.h"

namespace manta::runtime {

enum class TaskState : uint8_t { kPendingArgs, kPendingNode, kSubmitted, kRunning, kFinished, kFailed };
// As people call it: "PENDING_ARGS".
const char* TaskStateName(TaskState state);

enum class TaskKind : uint8_t { kTask, kActorCall, kActorCreation };

// What a process knows of one call that it makes, or of one attempt that it runs.
struct TaskRecord {
  uint64_t number = 0;  // from 1; 0: nothing here
  CallId call;
  ActorId actor;             // none: a task
  CallId parent;             // the call that made it
  ProcessId worker;          // from kSubmitted on
  int64_t submitted_ns = 0;  // Time since its epoch; 0: not yet (or not known to this process)
  int64_t started_ns = 0;
  int64_t ended_ns = 0;
  uint32_t attempt = 0;
  TaskKind kind = TaskKind::kTask;
  TaskState state = TaskState::kPendingArgs;
  uint8_t is_own = 0;        // made by this process; else run by it
  uint8_t has_own_name = 0;  // the call has; else it is its function's
  rpc::ErrorCode error = rpc::ErrorCode::kNone;
  std::array<char, 30> error_type = {};  // kTaskError: the user's exception, cut
  std::array<char, 64> name = {};        // cut
};

class TaskEvents {
 public:
  static constexpr size_t kRecords = 10'000;
  // What people call a function; "": not known.
  using NameOfFunction = std::function<std::string(uint64_t function)>;

  static absl::StatusOr<TaskEvents> Create(NameOfFunction name_of);
  // bytes() at `memory`, all zero, which outlive it.
  TaskEvents(char* memory, NameOfFunction name_of);
  TaskEvents(TaskEvents&&) = default;

  static size_t bytes();
  // For the node; it is not needed here any more once the node has it.
  base::UniqueFd TakeFd() { return std::move(fd_); }

  // Begins the next record. `name` empty: the function's own. The result names it in the calls below; they do nothing
  // once it has been overwritten, or for 0.
  uint64_t Add(TaskRecord record, std::string_view name, uint64_t function);
  void SetPendingArgs(uint64_t number);
  void SetPendingNode(uint64_t number);
  void SetSubmitted(uint64_t number, uint32_t attempt, ProcessId worker);
  void SetFinished(uint64_t number, Time now);
  void SetFailed(uint64_t number, Time now, const rpc::ErrorInfo& error);

 private:
  struct Shared;
  TaskRecord* Find(uint64_t number) const;
  const std::array<char, 64>& NameOf(uint64_t function);

  base::UniqueFd fd_;
  base::Mapping mapping_;
  char* memory_ = nullptr;
  uint64_t last_number_ = 0;
  NameOfFunction name_of_;
  std::map<uint64_t, std::array<char, 64>> names_;
  std::pair<uint64_t, const std::array<char, 64>*> last_name_{0, nullptr};
};

// The node's view of one process's ring. It believes nothing that it reads there.
class TaskEventsView {
 public:
  // kInvalidArgument: not a sealed memfd of the right size.
  static absl::StatusOr<TaskEventsView> Map(const base::UniqueFd& fd);
  explicit TaskEventsView(const char* memory) : memory_(memory) {}

  // visit(const TaskRecord&) -> bool (go on), the newest first.
  void ForEach(const std::function<bool(const TaskRecord&)>& visit) const;
  // Of records that are there.
  size_t used_bytes() const;

 private:
  explicit TaskEventsView(base::Mapping mapping) : mapping_(std::move(mapping)), memory_(mapping_.data()) {}
  base::Mapping mapping_;
  const char* memory_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_TASK_EVENTS_H_

#include "runtime/node/task_rings.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

constexpr int64_t kNsPerMs = 1'000'000;

const char* KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kTask:
      return "NORMAL_TASK";
    case TaskKind::kActorCall:
      return "ACTOR_TASK";
    case TaskKind::kActorCreation:
      return "ACTOR_CREATION_TASK";
  }
  return "UNKNOWN";
}

// The class of manta::Error that the caller sees.
const char* ErrorName(rpc::ErrorCode code) {
  static constexpr const char* kNames[] = {
      "",
      "TaskError",
      "WorkerDiedError",
      "ActorDiedError",
      "ObjectLostError",
      "OwnerDiedError",
      "NodeDiedError",
      "OutOfMemoryError",
      "TimeoutError",
      "CancelledError",
      "BackPressureError",
      "FunctionNotFoundError",
      "NameTakenError",
      "WorkerLimitError",
      "InvalidArgumentError",
      "SerializationError",
      "ShutdownError",
      "InternalError",
  };
  const size_t index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "Error";
}

bool IsOver(TaskState state) { return state == TaskState::kFinished || state == TaskState::kFailed; }

using TaskKey = std::pair<CallId, uint32_t>;  // attempt
TaskKey KeyOf(const TaskRecord& record) { return {record.call, record.attempt}; }

// What the dead left unfinished will never be finished by them.
void EndWithItsProcess(TaskRecord* record) {
  if (IsOver(record->state)) return;
  record->state = TaskState::kFailed;
  record->error = record->is_own != 0 ? rpc::ErrorCode::kOwnerDied : rpc::ErrorCode::kWorkerDied;
}

// Adds to what the caller (or the worker) knows of an attempt what the other one does.
void Merge(const TaskRecord& other, TaskRecord* record) {
  if (record->submitted_ns == 0) record->submitted_ns = other.submitted_ns;
  if (record->started_ns == 0) record->started_ns = other.started_ns;
  if (other.worker.number != 0) record->worker = other.worker;
  // The caller's word is the last one: its worker may have finished what a timeout had failed.
  const bool decides = other.is_own != 0 ? IsOver(other.state) : !IsOver(record->state);
  if (!decides || other.state < record->state) return;
  record->state = other.state;
  record->ended_ns = other.ended_ns;
  record->error = other.error;
  record->error_type = other.error_type;
}

}  // namespace

// What is known of one attempt: by its caller, by its worker, or by both.
struct TaskRings::Task {
  TaskRecord record;
  JobId job = 0;
  pid_t worker_pid = 0;
};

void TaskRings::Add(uint64_t connection, pid_t pid, TaskEventsView view) {
  live_.insert_or_assign(connection, Ring{{{}, 0, pid}, std::move(view), false});
}

void TaskRings::SetOwner(uint64_t connection, ProcessId process, JobId job) {
  const auto at = live_.find(connection);
  if (at == live_.end()) return;
  at->second.owner.process = process;
  at->second.owner.job = job;
}

void TaskRings::Ended(uint64_t connection) {
  const auto at = live_.find(connection);
  if (at == live_.end()) return;
  if (at->second.view.used_bytes() != 0) {
    dead_.push_front(std::move(at->second));
    dead_.front().is_dead = true;
  }
  live_.erase(at);
  size_t bytes = 0;
  size_t kept = 0;
  while (kept < dead_.size() && kept < kDeadMax) {
    bytes += dead_[kept].view.used_bytes();
    if (bytes > kDeadBytesMax) break;
    ++kept;
  }
  while (dead_.size() > kept) dead_.pop_back();
}

template <typename Visit>
void TaskRings::ForEachRing(Visit visit) const {
  for (const auto& [connection, ring] : live_) visit(ring);
  for (const Ring& ring : dead_) visit(ring);
}

rpc::StateReply TaskRings::Describe(const rpc::StateQuery& query, NodeId node, int64_t wall_offset_ns) const {
  StateRows rows(query, node);
  if (query.subject == rpc::kStateSummary) {
    Summarize(&rows);
  } else {
    DescribeTasks(query, node, wall_offset_ns, &rows);
  }
  return rows.Take();
}

void TaskRings::DescribeTasks(const rpc::StateQuery& query, NodeId node, int64_t wall_offset_ns,
                              StateRows* rows) const {
  std::map<TaskKey, Task> tasks;
  bool left_out = false;
  size_t looked_at = 0;
  ForEachRing([&](const Ring& ring) {
    uint64_t seen = 0;
    ring.view.ForEach([&](const TaskRecord& found) {
      const bool enough = ++seen > query.limit && query.filters.empty();
      if (enough || ++looked_at > kRecordsMax) {
        left_out = true;
        return false;
      }
      TaskRecord record = found;
      if (ring.is_dead) EndWithItsProcess(&record);
      const auto [at, fresh] = tasks.try_emplace(KeyOf(record), Task{record, ring.owner.job, 0});
      Task& task = at->second;
      if (record.is_own == 0) task.worker_pid = ring.owner.pid;
      if (!fresh) Merge(record, &task.record);
      return true;
    });
  });
  std::vector<const Task*> newest_first;
  for (const auto& [key, task] : tasks) newest_first.push_back(&task);
  std::stable_sort(newest_first.begin(), newest_first.end(), [](const Task* a, const Task* b) {
    return std::max(a->record.submitted_ns, a->record.started_ns) >
           std::max(b->record.submitted_ns, b->record.started_ns);
  });
  for (const Task* task : newest_first) {
    if (!rows->SkipsNext() && !rows->Add(RowOf(*task, node, wall_offset_ns))) return;
  }
  if (left_out) rows->SetTruncated();
}

StateRow TaskRings::RowOf(const Task& task, NodeId node, int64_t wall_offset_ns) {
  const TaskRecord& record = task.record;
  const auto ms = [wall_offset_ns](int64_t ns) { return ns == 0 ? 0 : (ns + wall_offset_ns) / kNsPerMs; };
  const bool is_user_error = record.error == rpc::ErrorCode::kTaskError && record.error_type[0] != '\0';
  StateRow row;
  row.Text("task_id", ToString(record.call)).Number("attempt", record.attempt).Text("name", record.name.data());
  row.Text("state", TaskStateName(record.state)).Number("job_id", static_cast<int64_t>(task.job));
  row.Text("actor_id", record.actor ? ToString(record.actor) : "").Text("type", KindName(record.kind));
  row.Text("function", record.has_own_name != 0 ? "" : record.name.data());
  row.Text("parent", record.parent.number == 0 ? "" : ToString(record.parent));
  row.Text("node_id", record.worker.node == 0 ? "" : ToString(DaemonOf(record.worker.node)));
  row.Text("worker_id", record.worker.number == 0 ? "" : ToString(record.worker));
  row.NumberOrNull("pid", record.worker.node == node ? task.worker_pid : 0);
  row.Text("error_type", is_user_error ? record.error_type.data() : ErrorName(record.error));
  row.NumberOrNull("submitted_ms", ms(record.submitted_ns)).NumberOrNull("started_ms", ms(record.started_ns));
  row.NumberOrNull("ended_ms", ms(record.ended_ns));
  return row;
}

// Each call is counted where it was made; a creation, where it ran.
void TaskRings::Summarize(StateRows* rows) const {
  std::set<TaskKey> running;
  ForEachRing([&](const Ring& ring) {
    if (ring.is_dead) return;
    ring.view.ForEach([&](const TaskRecord& record) {
      if (record.is_own == 0 && record.state == TaskState::kRunning) running.insert(KeyOf(record));
      return true;
    });
  });
  std::map<std::tuple<std::string, std::string, std::string>, int64_t> counts;  // name, type, state
  ForEachRing([&](const Ring& ring) {
    ring.view.ForEach([&](const TaskRecord& found) {
      if (found.is_own == 0 && found.kind != TaskKind::kActorCreation) return true;
      TaskRecord record = found;
      if (ring.is_dead) EndWithItsProcess(&record);
      if (!IsOver(record.state) && running.contains(KeyOf(record))) record.state = TaskState::kRunning;
      ++counts[{record.name.data(), KindName(record.kind), TaskStateName(record.state)}];
      return true;
    });
  });
  for (const auto& [what, count] : counts) {
    const auto& [name, type, state] = what;
    if (!rows->Add(StateRow().Text("name", name).Text("type", type).Text("state", state).Number("count", count)))
      return;
  }
}

}  // namespace manta::runtime

#include "runtime/task_events.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>
#include <utility>

namespace manta::runtime {
namespace {

using Name = std::array<char, 64>;

// The number of the newest record, then the ring: record n lies at n % kRecords.
constexpr size_t kHeaderBytes = 64;
constexpr size_t kBytes = kHeaderBytes + TaskEvents::kRecords * sizeof(TaskRecord);
static_assert(std::is_trivially_copyable_v<TaskRecord>);
static_assert(std::atomic_ref<uint64_t>::is_always_lock_free);

template <size_t kSize>
void Cut(std::string_view text, std::array<char, kSize>* out) {
  const size_t size = std::min(text.size(), kSize - 1);
  std::memcpy(out->data(), text.data(), size);
  std::memset(out->data() + size, 0, kSize - size);
}

char* RecordAt(char* memory, uint64_t number) {
  return memory + kHeaderBytes + number % TaskEvents::kRecords * sizeof(TaskRecord);
}

std::atomic_ref<uint64_t> NumberAt(char* at) { return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at)); }

}  // namespace

const char* TaskStateName(TaskState state) {
  switch (state) {
    case TaskState::kPendingArgs:
      return "PENDING_ARGS";
    case TaskState::kPendingNode:
      return "PENDING_NODE";
    case TaskState::kSubmitted:
      return "SUBMITTED_TO_WORKER";
    case TaskState::kRunning:
      return "RUNNING";
    case TaskState::kFinished:
      return "FINISHED";
    case TaskState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

// ---------------------------------------------------------------- the process

absl::StatusOr<TaskEvents> TaskEvents::Create(NameOfFunction name_of) {
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd fd, base::CreateSealedMemfd("manta-tasks", kBytes));
  MANTA_ASSIGN_OR_RETURN(base::Mapping mapping,
                         base::Mapping::Map(fd.get(), kBytes, base::Mapping::Access::kReadWrite));
  TaskEvents events(mapping.mutable_data(), std::move(name_of));
  events.fd_ = std::move(fd);
  events.mapping_ = std::move(mapping);
  return events;
}

TaskEvents::TaskEvents(char* memory, NameOfFunction name_of) : memory_(memory), name_of_(std::move(name_of)) {}

size_t TaskEvents::bytes() { return kBytes; }

uint64_t TaskEvents::Add(TaskRecord record, std::string_view name, uint64_t function) {
  const uint64_t number = ++last_number_;
  if (name.empty()) {
    record.name = NameOf(function);
  } else {
    Cut(name, &record.name);
    record.has_own_name = record.kind != TaskKind::kActorCreation;
  }
  char* const at = RecordAt(memory_, number);
  NumberAt(at).store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  constexpr size_t kNumberBytes = sizeof(record.number);
  std::memcpy(at + kNumberBytes, reinterpret_cast<const char*>(&record) + kNumberBytes, sizeof record - kNumberBytes);
  NumberAt(at).store(number, std::memory_order_release);
  NumberAt(memory_).store(number, std::memory_order_release);
  return number;
}

TaskRecord* TaskEvents::Find(uint64_t number) const {
  if (number == 0 || number + kRecords <= last_number_) return nullptr;
  return reinterpret_cast<TaskRecord*>(RecordAt(memory_, number));
}

const Name& TaskEvents::NameOf(uint64_t function) {
  if (last_name_.second != nullptr && last_name_.first == function) return *last_name_.second;
  const auto [at, fresh] = names_.try_emplace(function);
  if (fresh) Cut(name_of_ ? name_of_(function) : "", &at->second);
  last_name_ = {function, &at->second};
  return at->second;
}

void TaskEvents::SetPendingArgs(uint64_t number) {
  if (TaskRecord* record = Find(number)) record->state = TaskState::kPendingArgs;
}

void TaskEvents::SetPendingNode(uint64_t number) {
  if (TaskRecord* record = Find(number)) record->state = TaskState::kPendingNode;
}

void TaskEvents::SetSubmitted(uint64_t number, uint32_t attempt, ProcessId worker) {
  TaskRecord* record = Find(number);
  if (record == nullptr) return;
  record->attempt = attempt;
  record->worker = worker;
  record->state = TaskState::kSubmitted;
}

void TaskEvents::SetFinished(uint64_t number, Time now) {
  TaskRecord* record = Find(number);
  if (record == nullptr) return;
  record->ended_ns = now.time_since_epoch().count();
  record->state = TaskState::kFinished;
}

void TaskEvents::SetFailed(uint64_t number, Time now, const rpc::ErrorInfo& error) {
  TaskRecord* record = Find(number);
  if (record == nullptr) return;
  record->ended_ns = now.time_since_epoch().count();
  record->error = error.code;
  Cut(error.type, &record->error_type);
  record->state = TaskState::kFailed;
}

// ---------------------------------------------------------------- its node

absl::StatusOr<TaskEventsView> TaskEventsView::Map(const base::UniqueFd& fd) {
  MANTA_RETURN_IF_ERROR(base::CheckSealed(fd.get(), kBytes).status());
  MANTA_ASSIGN_OR_RETURN(base::Mapping mapping, base::Mapping::Map(fd.get(), kBytes, base::Mapping::Access::kReadOnly));
  return TaskEventsView(std::move(mapping));
}

void TaskEventsView::ForEach(const std::function<bool(const TaskRecord&)>& visit) const {
  char* const memory = const_cast<char*>(memory_);
  const uint64_t newest = NumberAt(memory).load(std::memory_order_acquire);
  const uint64_t count = std::min<uint64_t>(newest, TaskEvents::kRecords);
  for (uint64_t back = 0; back < count; ++back) {
    const uint64_t number = newest - back;
    char* const at = RecordAt(memory, number);
    if (NumberAt(at).load(std::memory_order_acquire) != number) continue;  // being made, or overwritten
    TaskRecord record;
    std::memcpy(&record, at, sizeof record);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (NumberAt(at).load(std::memory_order_relaxed) != number) continue;
    if (record.state > TaskState::kFailed || record.kind > TaskKind::kActorCreation) continue;
    record.name.back() = record.error_type.back() = '\0';
    if (!visit(record)) return;
  }
}

size_t TaskEventsView::used_bytes() const {
  const uint64_t newest = NumberAt(const_cast<char*>(memory_)).load(std::memory_order_acquire);
  return std::min<uint64_t>(newest, TaskEvents::kRecords) * sizeof(TaskRecord);
}

}  // namespace manta::runtime

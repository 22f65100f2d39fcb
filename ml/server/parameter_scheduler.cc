#include "manta/ml/parameter_scheduler.h"

#include <algorithm>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <system_error>

#include "manta/error.h"
#include "ml/server/state_cell.h"

namespace manta::ml {
namespace {

// waited_ | number of streams | [worker, stream] of each | the words of clocks_: gaps, [worker, finished] of each, and
// [group, reached] of each.
constexpr size_t kStateWordsMax = 4 + ClockTable::kGapMax + 1 + 3 * 2 * ParameterScheduler::kWorkersMax;

void CheckIndex(uint32_t worker) {
  if (worker < ParameterScheduler::kWorkersMax) return;
  throw InvalidArgumentError("worker " + std::to_string(worker) + " of a parameter server: it has " +
                             std::to_string(ParameterScheduler::kWorkersMax) + " at most");
}

}  // namespace

uint64_t ParameterScheduler::NewNumber() {
  std::random_device random;
  return (uint64_t(random()) << 32 | random()) | 1;
}

ParameterScheduler::ParameterScheduler(Consistency consistency, uint32_t workers, std::string path, uint64_t server)
    : clocks_(consistency, workers) {
  if (path.empty()) return;
  std::error_code ignored;  // StateCell says what cannot be made
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  cell_ = std::make_unique<StateCell>(path, server, kStateWordsMax);
  cell_->value().empty() ? Changed() : Restore();
}

ParameterScheduler::~ParameterScheduler() = default;

WorkerPlace ParameterScheduler::Join(uint32_t worker, uint64_t stream) {
  std::lock_guard lock(mutex_);
  for (const auto& [other, its] : streams_) {
    if (its == stream) worker = other;  // the call comes again
  }
  if (worker == kAnyWorker) {
    for (worker = 0; streams_.contains(worker);) ++worker;
  }
  CheckIndex(worker);
  WorkerPlace place{.worker = worker, .stream = stream, .came_back = streams_.contains(worker)};
  streams_[worker] = stream;
  place.finished = clocks_.Join(worker);
  place.closed = clocks_.FinishedByGroup(clocks_.consistency().GroupOf(worker));
  Changed();
  return place;
}

void ParameterScheduler::Expect(const std::vector<uint32_t>& workers) {
  std::ranges::for_each(workers, CheckIndex);
  std::lock_guard lock(mutex_);
  for (const uint32_t worker : workers) clocks_.Join(worker);
  Changed();
}

void ParameterScheduler::Leave(uint32_t worker, uint64_t stream) {
  std::lock_guard lock(mutex_);
  const auto member = streams_.find(worker);
  if (stream != 0 && (member == streams_.end() || member->second != stream)) return;
  if (member != streams_.end()) streams_.erase(member);
  clocks_.Leave(worker);
  Changed();
}

WorkerTurn ParameterScheduler::Finish(uint32_t worker, uint64_t stream, uint64_t count) {
  std::unique_lock lock(mutex_);
  const auto owns_place = [&] {
    const auto member = streams_.find(worker);
    return member != streams_.end() && member->second == stream;
  };
  if (!owns_place()) {
    throw InvalidArgumentError("worker " + std::to_string(worker) + " has left, or another one has its place");
  }
  clocks_.Finish(worker, count);
  Changed();
  const auto begin = std::chrono::steady_clock::now();
  changed_.wait_until(lock, begin + kWaitMax, [&] { return !owns_place() || clocks_.MayEnter(worker); });
  waited_ += std::chrono::steady_clock::now() - begin;
  if (!owns_place()) throw InvalidArgumentError("worker " + std::to_string(worker) + " was made to leave");
  return {clocks_.MayEnter(worker), clocks_.FinishedByGroup(clocks_.consistency().GroupOf(worker)),
          clocks_.SlowestBeside(worker)};
}

bool ParameterScheduler::AwaitAll(uint64_t count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kWaitMax, [&] { return clocks_.FinishedByAll() >= count; });
}

std::vector<std::pair<uint64_t, uint64_t>> ParameterScheduler::ClosedByGroup() {
  std::lock_guard lock(mutex_);
  return clocks_.FinishedByGroups();
}

SchedulerStats ParameterScheduler::Stats() {
  std::lock_guard lock(mutex_);
  return {streams_.size(), clocks_.gaps(), std::chrono::duration<double>(waited_).count()};
}

std::vector<uint64_t> ParameterScheduler::SetRecovering(uint64_t shard, uint64_t life) {
  std::lock_guard lock(mutex_);
  if (life == 0) {
    recovering_.erase(shard);
  } else {
    recovering_[shard] = life;
  }
  changed_.notify_all();
  std::vector<uint64_t> streams;
  for (const auto& [worker, stream] : streams_) streams.push_back(stream);
  return streams;
}

std::vector<std::pair<uint64_t, uint64_t>> ParameterScheduler::AwaitRecovering(
    std::vector<std::pair<uint64_t, uint64_t>> seen) {
  std::unique_lock lock(mutex_);
  const auto has_new = [&] {
    return std::any_of(recovering_.begin(), recovering_.end(), [&](const std::pair<const uint64_t, uint64_t>& shard) {
      return std::find(seen.begin(), seen.end(), std::pair<uint64_t, uint64_t>(shard)) == seen.end();
    });
  };
  changed_.wait_for(lock, kWaitMax, has_new);
  return {recovering_.begin(), recovering_.end()};
}

void ParameterScheduler::Restore() {
  const std::span<const uint64_t> words = cell_->value();
  const size_t streams = words.size() < 2 ? 0 : words[1];
  if (words.size() < 2 || streams > (words.size() - 2) / 2) {
    throw InvalidArgumentError("ParameterScheduler: its file is not what its last life wrote");
  }
  waited_ = std::chrono::nanoseconds(words[0]);
  for (size_t i = 0; i < streams; ++i) streams_[uint32_t(words[2 + 2 * i])] = words[3 + 2 * i];
  clocks_ = ClockTable::FromWords(clocks_.consistency(), words.subspan(2 + 2 * streams));
}

// Before anybody is told.
void ParameterScheduler::Changed() {
  if (cell_) {
    std::vector<uint64_t> words{uint64_t(waited_.count()), streams_.size()};
    for (const auto& [worker, stream] : streams_) words.insert(words.end(), {worker, stream});
    const std::vector<uint64_t> clocks = clocks_.ToWords();
    words.insert(words.end(), clocks.begin(), clocks.end());
    cell_->Put(words);
  }
  changed_.notify_all();
}

}  // namespace manta::ml

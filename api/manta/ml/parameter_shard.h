// ParameterShard is the actor that owns one part of a parameter server's table, and the order in which pushes become
// updates of it.
//
//   a push comes ─▶ had it before? ─yes─▶ kDuplicate
//        │ no
//        ├─ SSP, ASP: one update, at once
//        └─ BSP, GroupSync: waits with the others of its group's iteration; when a call says that all of the group have
//           finished that iteration, they are added in the order of workers and become one update
//
// A worker finishes an iteration when all shards have admitted its pushes; so whoever knows that an iteration is
// finished by all knows that its pushes are here.
//
// With a checkpoint directory it outlives its process: it begins with its checkpoint, learns from its journal which
// pushes came after that, waits until their workers have offered them again, and applies them in the order that they
// had. Until then calls get kRecovering. If nobody has one of them any more, it refuses to go on.
//
// Table: DenseTable or SparseTable.
// Threads:    an actor; one call at a time.
// Errors:     (as TaskError) InvalidArgumentError: a push that does not fit the table; PushesLostError; FileError.
#ifndef MANTA_ML_PARAMETER_SHARD_H_
#define MANTA_ML_PARAMETER_SHARD_H_

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "manta/actor.h"
#include "manta/context.h"
#include "manta/get.h"
#include "manta/ml/consistency.h"
#include "manta/ml/error.h"
#include "manta/ml/parameter_scheduler.h"
#include "manta/ml/push.h"
#include "manta/ml/push_window.h"
#include "manta/ml/shard_recovery.h"
#include "manta/ml/shard_storage.h"
#include "manta/ml/update_log.h"

namespace manta::ml {

struct ShardStats {
  static constexpr size_t kStalenessMax = 31;

  uint64_t pushes = 0;      // admitted
  uint64_t duplicates = 0;  // that were not applied again
  uint64_t updates = 0;
  uint64_t published = 0;  // versions that were handed to readers
  // staleness[s]: pushes computed from values that s pushes of others had overtaken; the last one counts all above.
  std::array<uint64_t, kStalenessMax + 1> staleness{};

  // The mean of all pushes, or of those since `before`.
  double MeanStaleness() const { return MeanStaleness(ShardStats()); }
  double MeanStaleness(const ShardStats& before) const {
    double sum = 0;
    for (size_t s = 0; s <= kStalenessMax; ++s) sum += double(s) * double(staleness[s] - before.staleness[s]);
    return pushes == before.pushes ? 0 : sum / double(pushes - before.pushes);
  }
  ShardStats& operator+=(const ShardStats& other) {
    pushes += other.pushes;
    duplicates += other.duplicates;
    updates += other.updates;
    published += other.published;
    for (size_t i = 0; i < staleness.size(); ++i) staleness[i] += other.staleness[i];
    return *this;
  }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(pushes, duplicates, updates, published, staleness);
  }
};

struct ShardOptions {
  uint64_t index = 0;
  Consistency consistency;
  bool average = false;          // BSP, GroupSync: an update is the mean of its pushes, not their sum
  std::string record_path = {};  // of the log of updates; empty: none
  CheckpointOptions checkpoint = {};

  template <class Archive>
  void serialize(Archive& archive) {
    archive(index, consistency, average, record_path, checkpoint);
  }
};

template <class Table>
class ParameterShard {
 public:
  using Update = typename Table::Update;
  using Query = typename Table::Query;
  using Answer = ShardAnswer<typename Table::Values>;

  ParameterShard(Table table, ShardOptions options, ActorHandle<ParameterScheduler> scheduler)
      : table_(std::move(table)), options_(std::move(options)), scheduler_(std::move(scheduler)) {
    // Calls end with what it threw, as a TaskError of theirs, rather than with the death of the shard.
    try {
      std::string initial;
      if (!options_.record_path.empty()) table_.AppendTo(&initial);
      if (!options_.checkpoint.directory.empty()) ReadStorage();
      if (!options_.record_path.empty()) {
        log_ = std::make_unique<UpdateLog>(options_.record_path, initial, stats_.updates);
      }
      if (storage_) BeginRecovery();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  Answer Push(const PushHeader& header, const Update& update) {
    Answer answer;
    answer.outcome = Admit(header, update);
    return Finished(std::move(answer));
  }

  // Some pushes of one worker, in their order; the outcome is the worst one. After a gap none is admitted.
  Answer PushMany(const std::vector<KeptPush<Update>>& pushes) {
    Answer answer;
    for (const KeptPush<Update>& push : pushes) {
      answer.outcome = std::max(answer.outcome, Admit(push.header, push.update));
      if (answer.outcome >= PushOutcome::kGap) break;
    }
    return Finished(std::move(answer));
  }

  // The values that `query` asks for, with the updates of all iterations that `at` says are closed.
  Answer Pull(PullHeader at, const Query& query) {
    RethrowFailure();
    if (recovery_) return Finished({.outcome = PushOutcome::kRecovering});
    Close(at.group, at.closed);
    return WithValues({}, query);
  }

  // Both; the values have the push in them, if it is an update already.
  Answer PushPull(const PushHeader& header, const Update& update, const Query& query) {
    Answer answer;
    answer.outcome = Admit(header, update);
    if (answer.outcome >= PushOutcome::kGap) return Finished(std::move(answer));
    return WithValues(std::move(answer), query);
  }

  // Applies the iterations that each group ([group, closed]) has finished.
  void CloseAll(const std::vector<std::pair<uint64_t, uint64_t>>& closed_by_group) {
    if (recovery_) return;
    for (const auto& [group, closed] : closed_by_group) Close(group, closed);
  }

  // See PushWindow::Retire.
  void Retire(uint64_t epoch, uint64_t lease) {
    if (recovery_) {
      retired_meanwhile_.emplace_back(epoch, lease);
    } else {
      window_.Retire(epoch, lease);
    }
  }

  ShardStats Stats() const {
    RethrowFailure();
    return stats_;
  }
  // Parameters.
  uint64_t Size() const { return table_.size(); }

  // Writes a checkpoint, unless the newest one has all pushes; how many pushes it has. 0: the server has none.
  uint64_t Checkpoint() {
    RethrowFailure();
    if (!storage_) return 0;
    if (!recovery_ && storage_->covered() != stats_.pushes) WriteCheckpoint();
    return storage_->covered();
  }

  // A worker offers what it keeps, in its order, to a shard that has been restarted. Whether the shard has all that it
  // lost. PushesLostError: never.
  bool Offer(const std::vector<KeptPush<Update>>& kept) {
    RethrowFailure();
    if (!recovery_) return true;
    for (const KeptPush<Update>& push : kept) {
      if (const auto index = recovery_->Take(push.header.stream, push.header.id)) offered_[*index] = push;
    }
    if (recovery_->is_complete()) {
      EndRecovery();
      return true;
    }
    RefuseIfLost();
    return recovery_ == nullptr;
  }

 private:
  struct Waiting {
    uint64_t worker;
    double rate;
    Update update;
  };

  // --------------------------------------------------------------- pushes become updates

  PushOutcome Admit(const PushHeader& header, const Update& update) {
    RethrowFailure();
    table_.Check(update);
    if (storage_ && !header.is_named()) {
      throw InvalidArgumentError("a push without a name to a parameter server that keeps checkpoints");
    }
    if (recovery_) {
      RefuseIfLost();
      if (recovery_) return PushOutcome::kRecovering;
    }
    if (header.is_named()) {
      const PushWindow::Verdict verdict = window_.Admit(header.id);
      if (verdict == PushWindow::Verdict::kGap) return PushOutcome::kGap;
      if (verdict == PushWindow::Verdict::kDuplicate) {
        ++stats_.duplicates;
        return PushOutcome::kDuplicate;
      }
    }
    Enter(header, update);
    if (storage_) {
      storage_->journal().Append({stats_.pushes, header.worker, header.stream, header.id});
      if (storage_->journal().size() >= options_.checkpoint.every_pushes) WriteCheckpoint();
    }
    return PushOutcome::kAdmitted;
  }

  void Enter(const PushHeader& header, const Update& update) {
    const uint64_t behind = stats_.pushes - std::min(header.seen, stats_.pushes);
    ++stats_.staleness[std::min<size_t>(behind, ShardStats::kStalenessMax)];
    ++stats_.pushes;
    if (options_.consistency.adds_pushes()) {
      waiting_[{header.at.group, header.clock}].push_back({header.worker, header.rate, update});
      Close(header.at.group, header.at.closed);
    } else {
      Apply(header.rate, update);
    }
  }

  // Makes one update of each of the group's iterations before `closed`.
  void Close(uint64_t group, uint64_t closed) {
    for (auto it = waiting_.lower_bound({group, 0}); it != waiting_.end() && it->first.first == group;) {
      if (it->first.second >= closed) return;
      ApplyTogether(std::move(it->second));
      it = waiting_.erase(it);
    }
  }

  void ApplyTogether(std::vector<Waiting> pushes) {
    std::ranges::stable_sort(pushes, {}, &Waiting::worker);
    if (pushes.size() == 1) return Apply(pushes.front().rate, pushes.front().update);
    std::vector<Update> updates;
    for (Waiting& push : pushes) updates.push_back(std::move(push.update));
    Apply(pushes.front().rate, Table::Add(updates, options_.average ? 1.0f / float(updates.size()) : 1.0f));
  }

  void Apply(double rate, const Update& update) {
    table_.Apply({++stats_.updates, rate}, update);
    if (!log_) return;
    log_bytes_.clear();
    Table::AppendTo(update, &log_bytes_);
    log_->Append(stats_.updates, rate, log_bytes_);
  }

  Answer WithValues(Answer answer, const Query& query) {
    if (!table_.is_published()) ++stats_.published;
    answer.values = table_.Read(query);
    return Finished(std::move(answer));
  }

  Answer Finished(Answer answer) const {
    answer.version = stats_.pushes;
    answer.covered = storage_ ? storage_->covered() : 0;
    return answer;
  }

  // --------------------------------------------------------------- checkpoints

  void WriteCheckpoint() {
    ShardState state;
    table_.Save(state);
    state.Put("window", std::span<const uint64_t>(window_.ToWords()));
    std::vector<uint64_t> numbers{stats_.pushes, stats_.duplicates, stats_.updates, stats_.published};
    numbers.insert(numbers.end(), stats_.staleness.begin(), stats_.staleness.end());
    state.Put("stats", std::span<const uint64_t>(numbers));
    std::vector<uint64_t> waiting;
    std::string bytes;
    for (const auto& [place, pushes] : waiting_) {
      for (const Waiting& push : pushes) {
        const size_t before = bytes.size();
        Table::AppendTo(push.update, &bytes);
        waiting.insert(waiting.end(), {place.first, place.second, push.worker, std::bit_cast<uint64_t>(push.rate),
                                       uint64_t(bytes.size() - before)});
      }
    }
    state.Put("waiting", std::span<const uint64_t>(waiting));
    state.Put("waiting_updates", std::string_view(bytes));
    storage_->WriteCheckpoint(stats_.pushes, state);
  }

  void ReadStorage() {
    storage_ = std::make_unique<ShardStorage>(options_.checkpoint, options_.index,
                                              options_.checkpoint.resume || CurrentContext().WasRestarted());
    const std::optional<ShardState> state = storage_->ReadCheckpoint();
    if (!state) return;
    table_.Load(*state);
    window_ = PushWindow::FromWords(state->GetWords("window"));
    const std::vector<uint64_t> numbers = state->GetWords("stats"), waiting = state->GetWords("waiting");
    constexpr size_t kNumbers = 4, kWaitingWords = 5;
    if (numbers.size() != kNumbers + stats_.staleness.size() || waiting.size() % kWaitingWords != 0) {
      throw InvalidArgumentError("the checkpoint is of another version of this library");
    }
    stats_ = {numbers[0], numbers[1], numbers[2], numbers[3], {}};
    std::copy(numbers.begin() + kNumbers, numbers.end(), stats_.staleness.begin());
    std::string_view bytes = state->GetBytes("waiting_updates");
    for (size_t i = 0; i < waiting.size(); i += kWaitingWords) {
      const size_t size = std::min<size_t>(waiting[i + 4], bytes.size());
      waiting_[{waiting[i], waiting[i + 1]}].push_back(
          {waiting[i + 2], std::bit_cast<double>(waiting[i + 3]), Table::FromBytes(bytes.substr(0, size))});
      bytes.remove_prefix(size);
    }
  }

  // --------------------------------------------------------------- recovery

  void BeginRecovery() {
    if (storage_->journal().size() == 0) return;
    recovery_ = std::make_unique<ShardRecovery>(storage_->journal().entries());
    recovery_began_ = std::chrono::steady_clock::now();
    SetRecovering(CurrentContext().incarnation());
  }

  // In the order in which they were admitted the first time: the same bits come of it.
  void EndRecovery() {
    const std::map<size_t, KeptPush<Update>> offered = std::move(offered_);
    offered_.clear();
    recovery_.reset();
    for (const auto& [index, push] : offered) {
      window_.Admit(push.header.id);
      Enter(push.header, push.update);
    }
    for (const auto& [epoch, lease] : retired_meanwhile_) window_.Retire(epoch, lease);
    retired_meanwhile_.clear();
    WriteCheckpoint();
    SetRecovering(0);
  }

  // Looks, now and then, whether workers that have missing pushes still live. With CheckpointOptions::accept_loss, goes
  // on without those pushes; else throws PushesLostError, now and from now on.
  void RefuseIfLost() {
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ < kLookEvery) return;
    looked_ = now;
    const bool is_late = now - recovery_began_ > kRecoveryMax;
    std::vector<uint64_t> living;
    if (!is_late) living = SetRecovering(CurrentContext().incarnation());
    const std::vector<JournalEntry> lost = recovery_->Lost(living);
    if (lost.empty()) return;
    if (!options_.checkpoint.accept_loss) {
      failure_ =
          std::make_exception_ptr(PushesLostError(ShardRecovery::Describe(lost, options_.index, storage_->covered())));
      RethrowFailure();
    }
    for (const JournalEntry& entry : lost) recovery_->Take(entry.stream, entry.id);
    if (recovery_->is_complete()) EndRecovery();
  }

  std::vector<uint64_t> SetRecovering(uint64_t life) const {
    constexpr std::chrono::seconds kMax{60};
    return Get(scheduler_.Call<&ParameterScheduler::SetRecovering>().Remote(options_.index, life), kMax);
  }

  void RethrowFailure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  static constexpr std::chrono::milliseconds kLookEvery{20};
  static constexpr std::chrono::seconds kRecoveryMax{60};  // for living workers to offer what they keep

  Table table_;
  const ShardOptions options_;
  const ActorHandle<ParameterScheduler> scheduler_;
  PushWindow window_;
  std::map<std::pair<uint64_t, uint64_t>, std::vector<Waiting>> waiting_;  // (group, iteration)
  ShardStats stats_;
  std::unique_ptr<UpdateLog> log_;  // null: not recorded
  std::string log_bytes_;
  std::unique_ptr<ShardStorage> storage_;    // null: no checkpoints
  std::unique_ptr<ShardRecovery> recovery_;  // null: all pushes are here
  std::map<size_t, KeptPush<Update>> offered_;
  std::vector<std::pair<uint64_t, uint64_t>> retired_meanwhile_;
  std::chrono::steady_clock::time_point recovery_began_, looked_;
  std::exception_ptr failure_;  // why it cannot go on; all calls throw it
};

}  // namespace manta::ml

#endif  // MANTA_ML_PARAMETER_SHARD_H_

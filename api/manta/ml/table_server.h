// TableServer is what ParameterServer and SparseParameterServer have in common: the shards of a table, and the
// scheduler of its workers.
//
// Threads:    thread-safe, as ActorHandle is. A handle: cheap to copy, may be an argument or part of one. The actors
//             live as long as a handle does.
#ifndef MANTA_ML_TABLE_SERVER_H_
#define MANTA_ML_TABLE_SERVER_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "manta/actor.h"
#include "manta/context.h"
#include "manta/get.h"
#include "manta/ml/parameter_scheduler.h"
#include "manta/ml/parameter_shard.h"
#include "manta/scheduling.h"

namespace manta::ml {

// Of a parameter server whose shards run the optimiser `Opt`.
template <class Opt>
struct TableOptions {
  size_t shards = 1;
  Opt optimizer = {};
  // Workers 0..workers-1 take part from the beginning: nobody runs ahead of those that are still starting. Others may
  // join later. 0: whoever has joined.
  uint32_t workers = 0;
  Consistency consistency = Asp();
  bool average = false;  // BSP, GroupSync: an update is the mean of the pushes of an iteration, not their sum
  // Workers that may wait in the scheduler at the same time; beyond that they wait by turns.
  uint32_t workers_max = 64;
  CheckpointOptions checkpoint = {};
  // The shards log their updates to files of this name, and ".0", ".1", ...; ReplayParameters, ReplaySparse read them.
  // Empty: none.
  std::string record = {};
  // How long a worker waits for the others to finish an iteration; then TimeoutError.
  std::chrono::milliseconds patience = std::chrono::minutes(10);
};

template <class Table>
class TableServer {
 public:
  using Shard = ParameterShard<Table>;

  TableServer() = default;

  size_t shard_count() const { return shards_.size(); }
  const ActorHandle<Shard>& shard(size_t i) const { return shards_[i]; }
  const ActorHandle<ParameterScheduler>& scheduler() const { return scheduler_; }
  const Consistency& consistency() const { return consistency_; }
  std::chrono::milliseconds patience() const { return patience_; }
  bool keeps_checkpoints() const { return keeps_checkpoints_; }

  // The sum over all shards: n shards count a push n times.
  ShardStats Stats() const {
    ShardStats sum;
    for (const ShardStats& stats :
         OfAllShards([](const ActorHandle<Shard>& shard) { return shard.template Call<&Shard::Stats>().Remote(); })) {
      sum += stats;
    }
    return sum;
  }
  SchedulerStats ClockStats() const { return Get(scheduler_.Call<&ParameterScheduler::Stats>().Remote()); }

  // All of a lease's pushes have been admitted by all shards (its worker has flushed them), and its rows are
  // committed: shards forget its steps, and take no more of them.
  void Retire(uint64_t epoch, uint64_t lease) const {
    OfAllShards(
        [&](const ActorHandle<Shard>& shard) { return shard.template Call<&Shard::Retire>().Remote(epoch, lease); });
  }

  // Has all shards write checkpoints, each of what it has at that moment. How many pushes they have, by shard. Without
  // CheckpointOptions::directory it does nothing. FileError (as TaskError).
  std::vector<uint64_t> Checkpoint() const { return Get(CheckpointSoon()); }

  // Workers `indices` take part from here on, all from the same iteration (of their group), whether they have joined or
  // still start: nobody runs ahead of them. So a BSP training comes out the same whichever of them is the first. Who
  // takes part already stays where it is; who does not come is to Leave.
  void Expect(const std::vector<uint32_t>& indices) const {
    Get(scheduler_.Call<&ParameterScheduler::Expect>().Remote(indices));
  }
  // Worker `index` holds nobody up from here on. What it pushed stays.
  void Leave(uint32_t index) const {
    Get(LeaveSoon(index));
    Checkpoint();
  }
  // Has worker `index` leave when `actor`, which it lives in, is dead for good.
  template <class T>
  void Watch(uint32_t index, const ActorHandle<T>& actor) const {
    actor.OnDeath([server = *this, index](const ActorDiedError&) {
      server.LeaveSoon(index);
      server.CheckpointSoon();  // what the worker kept is nowhere else
    });
  }

  template <class Archive>
  void serialize(Archive& archive) {
    int64_t patience_ms = patience_.count();
    archive(shards_, scheduler_, consistency_, patience_ms, keeps_checkpoints_);
    patience_ = std::chrono::milliseconds(patience_ms);
  }

 protected:
  // InvalidArgumentError: no shards, too many workers, a group of 0, checkpoints never, or a directory that has some.
  template <class Opt>
  void Start(const TableOptions<Opt>& options, const std::function<Table(size_t shard)>& table) {
    if (options.shards == 0) throw InvalidArgumentError("ParameterServer: 0 shards");
    if (options.workers > ParameterScheduler::kWorkersMax) {
      throw InvalidArgumentError("ParameterServer: " + std::to_string(options.workers) + " workers, of " +
                                 std::to_string(ParameterScheduler::kWorkersMax) + " at most");
    }
    if (options.consistency.kind == Consistency::kGroupSync) GroupSync(options.consistency.bound);
    const CheckpointOptions& checkpoint = options.checkpoint;
    if (!checkpoint.directory.empty() && checkpoint.every_pushes == 0) {
      throw InvalidArgumentError("CheckpointOptions: a checkpoint every 0 pushes");
    }
    if (!checkpoint.resume && ShardStorage::HasState(checkpoint.directory)) {
      throw InvalidArgumentError(checkpoint.directory +
                                 " has the state of a parameter server: set CheckpointOptions::resume to go on from "
                                 "it, or name another directory");
    }
    consistency_ = options.consistency;
    patience_ = options.patience;
    constexpr uint32_t kThreadsMax = 1000;  // of an actor
    const uint32_t threads = std::min(kThreadsMax, 2 * std::max(options.workers, options.workers_max) + 8);
    Actor<ParameterScheduler> scheduler;
    scheduler.NumCpus(0).MaxConcurrency(threads);
    // Near its maker, while there is room: a worker's node may come and go.
    const std::string node = CurrentContext().node();
    if (!node.empty()) scheduler.SchedulingStrategy(NodeAffinity(node).Soft());
    keeps_checkpoints_ = !checkpoint.directory.empty();
    // A call that had begun runs again, here and below: it has its effect once.
    if (keeps_checkpoints_) scheduler.MaxRestarts(int(checkpoint.restarts_max)).MaxTaskRetries(-1);
    scheduler_ = scheduler.Remote(consistency_, options.workers,
                                  keeps_checkpoints_ ? checkpoint.directory + "/scheduler.state" : std::string(),
                                  ParameterScheduler::NewNumber());
    for (size_t i = 0; i < options.shards; ++i) {
      ShardOptions shard{i, consistency_, options.average, options.record, options.checkpoint};
      if (!shard.record_path.empty()) shard.record_path += "." + std::to_string(i);
      Actor<Shard> actor;
      actor.NumCpus(0);
      if (!node.empty()) actor.SchedulingStrategy(NodeAffinity(node).Soft());
      if (keeps_checkpoints_) actor.MaxRestarts(int(options.checkpoint.restarts_max)).MaxTaskRetries(-1);
      shards_.push_back(actor.Remote(table(i), std::move(shard), scheduler_));
    }
    if (keeps_checkpoints_ || !options.record.empty()) {  // they could read and write their files
      Stats();
      ClockStats();
    }
  }

  // Has all shards apply the iterations that are finished.
  void CloseFinished() const {
    if (!consistency_.adds_pushes()) return;
    const auto closed = Get(scheduler_.Call<&ParameterScheduler::ClosedByGroup>().Remote());
    OfAllShards(
        [&](const ActorHandle<Shard>& shard) { return shard.template Call<&Shard::CloseAll>().Remote(closed); });
  }

  // What `queries[i]` says of shard i, asked at the same time; waits for shards that recover.
  std::vector<typename Shard::Answer> PullAll(const std::vector<typename Table::Query>& queries) const {
    constexpr std::chrono::milliseconds kAgain{5};
    for (;; std::this_thread::sleep_for(kAgain)) {
      CloseFinished();
      size_t i = 0;
      auto answers = OfAllShards([&](const ActorHandle<Shard>& shard) {
        return shard.template Call<&Shard::Pull>().Remote(PullHeader(), queries[i++]);
      });
      bool is_recovering = false;
      for (const auto& answer : answers) is_recovering |= answer.outcome == PushOutcome::kRecovering;
      if (!is_recovering) return answers;
      // Says whether it ever will.
      OfAllShards([](const ActorHandle<Shard>& shard) {
        return shard.template Call<&Shard::Offer>().Remote(std::vector<KeptPush<typename Table::Update>>());
      });
    }
  }

  // What `call` says of each shard; all are asked at the same time.
  template <class Call>
  auto OfAllShards(Call call) const {
    std::vector<decltype(call(shards_.front()))> refs;
    for (const ActorHandle<Shard>& shard : shards_) refs.push_back(call(shard));
    return Get(refs);
  }

 private:
  std::vector<ObjectRef<uint64_t>> CheckpointSoon() const {
    std::vector<ObjectRef<uint64_t>> written;
    for (const ActorHandle<Shard>& shard : shards_) {
      if (keeps_checkpoints_) written.push_back(shard.template Call<&Shard::Checkpoint>().Remote());
    }
    return written;
  }
  ObjectRef<void> LeaveSoon(uint32_t index) const {
    return scheduler_.Call<&ParameterScheduler::Leave>().Remote(index, uint64_t(0));
  }

  std::vector<ActorHandle<Shard>> shards_;
  ActorHandle<ParameterScheduler> scheduler_;
  Consistency consistency_;
  std::chrono::milliseconds patience_{};
  bool keeps_checkpoints_ = false;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TABLE_SERVER_H_

// ParameterScheduler is the actor that knows the workers of a parameter server: who takes part, in which iteration each
// is, and who waits for whom (Li et al., OSDI 2014, call it that). It sees no parameters.
//
// Its calls are of the server's own classes (ParameterServer, WorkerSession); users call those.
//
// With a file it outlives its process: what it decides is in the file before anybody hears of it, and calls that were
// under way are made again. Every call may be made twice for that reason. Shards that recover say so again, by
// themselves.
//
// Threads:    thread-safe: an actor that runs many calls at a time, because workers wait in them.
// Invariants: (1) a call waits for kWaitMax at most; its caller asks again.
// Errors:     (as TaskError) InvalidArgumentError. FileError, of which the actor dies: its file cannot be made.
#ifndef MANTA_ML_PARAMETER_SCHEDULER_H_
#define MANTA_ML_PARAMETER_SCHEDULER_H_

#include <cereal/types/array.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/utility.hpp>
#include <cereal/types/vector.hpp>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "manta/internal/export.h"
#include "manta/ml/clock_table.h"

namespace manta::ml {

// What a worker is when it has joined.
struct WorkerPlace {
  uint32_t worker = 0;
  uint64_t stream = 0;
  uint64_t finished = 0;
  uint64_t closed = 0;     // see PullHeader
  bool came_back = false;  // it was a member before, and what that one held is lost

  template <class Archive>
  void serialize(Archive& archive) {
    archive(worker, stream, finished, closed, came_back);
  }
};

// Whether a worker may enter its next iteration, and who is the slowest of its group.
struct WorkerTurn {
  bool may_enter = false;
  uint64_t closed = 0;
  uint32_t slowest = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(may_enter, closed, slowest);
  }
};

struct SchedulerStats {
  uint64_t workers = 0;
  std::array<uint64_t, ClockTable::kGapMax + 1> gaps{};  // ClockTable::gaps
  double waited_seconds = 0;                             // of all workers together

  template <class Archive>
  void serialize(Archive& archive) {
    archive(workers, gaps, waited_seconds);
  }
};

class StateCell;

class MANTA_EXPORT ParameterScheduler {
 public:
  static constexpr std::chrono::milliseconds kWaitMax{250};  // an orderly end of the actor waits for such calls
  static constexpr uint32_t kAnyWorker = ~uint32_t(0);
  static constexpr uint32_t kWorkersMax = 4096;

  // A number that nobody else draws; never 0.
  static uint64_t NewNumber();

  // `path`: of the file by which it outlives its process; empty: none. `server`: a NewNumber; a file of another
  // server's is replaced. REQUIRES: workers <= kWorkersMax.
  ParameterScheduler(Consistency consistency, uint32_t workers, std::string path, uint64_t server);
  ~ParameterScheduler();

  // `stream`: this life of a worker, a NewNumber. kAnyWorker: as the lowest index that is free. An index that is taken:
  // its worker is dead, or leaves it to this one. InvalidArgumentError: an index from kWorkersMax on.
  WorkerPlace Join(uint32_t worker, uint64_t stream);
  // All of them take part from here on, as if they had joined together at this moment; each is still to Join.
  // InvalidArgumentError: an index from kWorkersMax on; nobody is expected then.
  void Expect(const std::vector<uint32_t>& workers);
  // No effect if the place is not the stream's (any more). `stream` 0: whoever has it, or is expected.
  void Leave(uint32_t worker, uint64_t stream);
  // `worker` has finished `count` iterations; waits until it may enter the next one. InvalidArgumentError: see
  // ClockTable, or another stream has its place.
  WorkerTurn Finish(uint32_t worker, uint64_t stream, uint64_t count);
  // Waits until all members have finished `count`; whether they have.
  bool AwaitAll(uint64_t count);

  // See ClockTable::FinishedByGroups.
  std::vector<std::pair<uint64_t, uint64_t>> ClosedByGroup();
  SchedulerStats Stats();

  // Shard `shard` waits for pushes that its process took with it; `life` tells its restarts apart. 0: no longer. The
  // streams of all members: whoever has another one is gone.
  std::vector<uint64_t> SetRecovering(uint64_t shard, uint64_t life);
  // Waits until there are recovering shards that `seen` has not; all of them, [shard, life].
  std::vector<std::pair<uint64_t, uint64_t>> AwaitRecovering(std::vector<std::pair<uint64_t, uint64_t>> seen);

 private:
  void Restore();
  void Changed();  // has it written down, and waiting calls look again

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  ClockTable clocks_;
  std::map<uint32_t, uint64_t> streams_;     // of members that have joined; others are still to come
  std::map<uint64_t, uint64_t> recovering_;  // shard -> life
  std::chrono::nanoseconds waited_{0};
  std::unique_ptr<StateCell> cell_;  // null: no file
};

}  // namespace manta::ml

#endif  // MANTA_ML_PARAMETER_SCHEDULER_H_

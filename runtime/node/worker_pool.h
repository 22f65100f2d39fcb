// WorkerPool knows every worker process of this node, from the decision to start it to its end.
//
// Problem:    starting a process costs a millisecond or many, keeping an idle one costs memory, and one that never says
// hello must
//             not be waited for.
//
//      StartWorker         hello           Take                    Release
//        ────────► kStarting ─────► kIdle ─────► kLeased or kActor ────────► kIdle
//                      │               │                │
//        too long ─────┤  too long, or its job ended ───┴───► kStopping (asked to end; killed if it does not)
//                      └──────────────────────────────────────────► (gone)
//
// Ownership:  owned by NodeCore, which carries out what it decides.
// Threads:    externally synchronised; pure.
// Invariants: (1) a worker is of one job, and serves one lease or hosts one actor at a time.
//             (2) kStarting and kStopping workers are never taken.
// See:        docs/task.md
#ifndef MANTA_RUNTIME_NODE_WORKER_POOL_H_
#define MANTA_RUNTIME_NODE_WORKER_POOL_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace manta::runtime::node {

class WorkerPool {
 public:
  enum class State : uint8_t { kStarting, kIdle, kLeased, kActor, kStopping };
  struct Worker {
    ProcessId id;
    JobId job = 0;
    State state = State::kStarting;
    Time since;              // of the state
    Time kill_at;            // kStopping: kInfiniteFuture if it may take its time
    bool connected = false;  // has said hello
    std::string last_word;   // why it ends, if it has said so itself
  };
  struct Options {
    uint32_t task_workers_max = 64;
    uint32_t actor_workers_max = 4096;
    Duration worker_idle{};
    uint32_t workers_kept = 0;  // idle ones of a job that stay however long
    Duration start_timeout{};
  };
  // After so many failures in a row the waiting requests of a job are told.
  static constexpr uint32_t kStartFailuresMax = 3;

  explicit WorkerPool(Options options) : options_(options) {}
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // How many workers to start for `job`, so that it soon has `task_demand` and `actor_demand` more.
  uint32_t ToStart(JobId job, uint32_t task_demand, uint32_t actor_demand) const;
  // True if `task_demand` cannot be met because of task_workers_max. An idle worker of another job could make room:
  // `*victim`.
  bool AtCap(JobId job, ProcessId* victim) const;

  void Started(ProcessId worker, JobId job, Time now);
  // False: nobody waits for a hello of this worker.
  bool Connected(ProcessId worker, Time now);
  // It did not come up (or the shell could not start it). How many of the job's starts have failed in a row.
  uint32_t StartFailed(ProcessId worker);
  // It has ended, in whatever state.
  void Remove(ProcessId worker);

  // The idle worker of the job that was used last: its memory is warm.
  std::optional<ProcessId> Take(JobId job, State as, Time now);
  void Release(ProcessId worker, Time now);
  // It has been asked to end, and is killed at `kill_at`.
  void Stop(ProcessId worker, Time now, Time kill_at);
  void SetLastWord(ProcessId worker, std::string why);

  const Worker* Find(ProcessId worker) const;
  std::vector<ProcessId> OfJob(JobId job) const;
  bool HasJob(JobId job) const;
  uint32_t idle(JobId job) const;
  uint32_t starting(JobId job) const;
  uint32_t idle() const;
  uint32_t task_workers() const { return static_cast<uint32_t>(workers_.size()) - actor_workers_; }
  uint32_t actor_workers() const { return actor_workers_; }
  const Options& options() const { return options_; }
  void ForgetFailures(JobId job) { failures_.erase(job); }

  // Workers that have not come up in time.
  std::vector<ProcessId> TooSlow(Time now) const;
  // Idle ones that nobody has wanted for long.
  std::vector<ProcessId> TooIdle(Time now) const;
  // Stopping ones that have had their time; each is named once.
  std::vector<ProcessId> ToKill(Time now);
  Time next_deadline() const;

 private:
  struct Crew {  // of one job
    uint32_t starting = 0;
    std::set<std::pair<Time, ProcessId>> idle;  // since when
  };
  void Enter(Worker* worker, State state, Time now);
  void Leave(Worker* worker);

  const Options options_;
  std::map<ProcessId, Worker> workers_;
  std::map<JobId, Crew> crews_;
  std::set<std::pair<Time, ProcessId>> starting_;  // since when
  std::set<std::pair<Time, ProcessId>> stopping_;  // when to kill
  std::map<JobId, uint32_t> failures_;             // in a row
  uint32_t actor_workers_ = 0;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_WORKER_POOL_H_

// SweepDriver runs a sweep: it has the runners, the journal and the clock, and asks the core what to do.
//
// A round of its loop:  assign trials to runners that have room ▷ commit the journal ▷ send each runner its orders ▷
// wait for events, and hand them to the core. Nothing is sent before what it follows from is on the disk; all events of
// a round share one sync.
//
// Problem:    a runner may die at any time, and then it is not known which of the trials that it was given had begun.
//             Only the one that surely ran is charged with the death. If there were others, all of them go elsewhere,
//             and the first is run with none behind it, so that its next death is surely its own.
// Threads:    externally synchronised.
// See:        tuner.h (errors), sweep_core.h, journal.h
#ifndef MANTA_ML_TUNE_SWEEP_DRIVER_H_
#define MANTA_ML_TUNE_SWEEP_DRIVER_H_

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "manta/ml/tuner.h"
#include "ml/tune/append_file.h"
#include "ml/tune/checkpoint_files.h"
#include "ml/tune/interrupt_watch.h"
#include "ml/tune/journal.h"
#include "ml/tune/live_table.h"
#include "ml/tune/sweep_core.h"

namespace manta::ml::internal {

class SweepDriver {
 public:
  // A new sweep, not begun; `out` etc. of `run`.
  SweepDriver(SearchSpace space, TuneConfig tune, RunConfig run, MakeRunner make_runner,
              OpenAppendFile open_journal = &OpenOnDisk);
  // The sweep in `run.storage`, with what `run` says about printing.
  SweepDriver(RunConfig run, RestoreOptions options, MakeRunner make_runner, OpenAppendFile open_journal = &OpenOnDisk);
  ~SweepDriver();

  ResultGrid Fit();

 private:
  using Clock = std::chrono::steady_clock;

  struct Assigned {
    TrialId trial = 0;
    int64_t attempt = 0;
    bool is_unwinding = false;  // the core has done with this run of it
    int64_t ignored = 0;        // reports since then: it caught what Report threw
  };
  struct Runner {
    RunnerCalls calls;                            // empty: none yet, or dead
    ObjectRef<std::vector<TrialEvent>> exchange;  // empty: it waits for orders
    bool is_ready = false;                        // its process answers
    std::deque<Assigned> trials;                  // the first runs, the others wait there
    TrialOrders orders;                           // of the next exchange
    Clock::time_point begun;                      // when the first one was
    Clock::time_point heard;                      // ... or when it was last heard of
    Clock::time_point start_after;                // a dead one
    int64_t deaths = 0;                           // since its last event
  };

  void Begin();
  bool Round();
  void CheckResources() const;
  int64_t RunnersMax() const;
  void StartRunners();
  void Assign();
  void Give(Runner* runner, const SweepCore::Start& start, bool is_next);
  size_t Depth() const;
  void Commit();
  void Send();
  void Await();
  void OnEvent(Runner* runner, TrialEvent& event);
  void OnReport(Runner* runner, TrialEvent& event);
  void OnEnd(Runner* runner, const TrialEvent& event);
  void OnDeath(Runner* runner, const std::string& what, bool is_certain, bool may_have_run);
  void LookAtClock();
  void EndHung(Runner* runner, const std::string& what);
  void EndProcess(const Runner& runner);
  void CloseRunners();
  void Interrupt();
  ResultGrid Finish();
  double Seconds() const;
  void SayEnd(TrialId trial);
  std::string LeftBehind() const;

  const RunConfig run_;
  const MakeRunner make_runner_;
  const OpenAppendFile open_journal_;
  std::unique_ptr<SweepCore> core_;
  std::optional<Journal> journal_;
  CheckpointFiles checkpoints_;
  std::string dropped_;  // what Restore cut off the journal
  bool is_restored_ = false;
  bool is_begun_ = false;

  std::vector<Runner> runners_;
  int64_t runners_max_ = 0;
  Clock::time_point look_at_nodes_after_;
  std::set<TrialId> suspects_;     // a runner died while they were first of several
  std::set<TrialId> left_behind_;  // they hung in this process
  bool has_none_left_ = false;     // the core had no trial in this round though a runner had room
  bool was_any_ready_ = false;
  bool is_new_best_ = false;
  double trial_seconds_ = 1;  // a moving average
  Clock::time_point start_;
  Clock::time_point time_over_at_;
  double seconds_before_ = 0;  // of the sweep, when this driver began
  std::optional<LiveTable> table_;
  std::optional<InterruptWatch> interrupt_;
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_TUNE_SWEEP_DRIVER_H_

// TrialScheduler decides, from what running trials report, which go on, which stop early, which wait for others, and
// which start again from a better trial's checkpoint.
//
// A trial's life, as the one who runs trials tells it:
//
//             OnAdd            OnRun               OnComplete, OnFailure, Action::kStop, Action::kDone
//   (new) ───────────▶ waits ─────────▶ runs ─────────────────────────────────────────────▶ over
//                        ▲               │
//                        └───────────────┘ Action::kPause; OnPause (it failed and is tried again, or was preempted)
//
// Whenever there is room for a trial, its owner asks NextToRun; if that has none, it adds a new trial (from a Searcher)
// and asks again; if there are no more, it says OnNoMoreTrials once and asks again.
//
// A scheduler is deterministic: the same calls in the same order get the same answers. All that it knows, its random
// state included, is in SaveState; it reads no clock. One's own scheduler derives from this class and keeps to the
// same.
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_TRIAL_SCHEDULER_H_
#define MANTA_ML_TRIAL_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manta/internal/export.h"
#include "manta/ml/config.h"
#include "manta/ml/search_space.h"
#include "manta/ml/sweep.h"

namespace manta::ml {

// What a trial reports of itself.
struct TrialReport {
  TrialId trial = 0;
  int64_t step = 0;             // how far it is, in whatever unit (epochs, say), from 1; the resource of ASHA
  double metric = 0;            // NaN: worse than all others
  bool has_checkpoint = false;  // there is a checkpoint of this step
};

struct Decision {
  enum class Action : uint8_t {
    kContinue,
    kStop,     // the trial is over: it was not worth going on with
    kPause,    // it waits; it goes on from its checkpoint of this step
    kExploit,  // it goes on at once, from the checkpoint of step `source_step` of trial `source`, with `config`
    kDone,     // the trial is over: it has done all of its steps
  };
  Action action = Action::kContinue;
  // --- of kExploit
  TrialId source = 0;
  int64_t source_step = 0;
  Config config = {};
  // For people: why, if it is not kContinue: "0.41 at step 3 is below the cutoff 0.57 of 12 trials".
  std::string reason = {};

  friend bool operator==(const Decision&, const Decision&) = default;
};

// A step at which trials are compared, for people to look at.
struct Rung {
  int64_t step = 0;
  size_t trials = 0;                  // that got there
  std::optional<double> best = {};    // of them; none if all are NaN
  std::optional<double> cutoff = {};  // what the next one has to reach; none yet if there are no trials

  friend bool operator==(const Rung&, const Rung&) = default;
};

class MANTA_EXPORT TrialScheduler {
 public:
  enum class TrialState : uint8_t { kWaits, kRuns };

  virtual ~TrialScheduler();

  // "fifo", "median_stopping", "asha", "pbt"; one's own: any other name.
  virtual std::string name() const = 0;

  // Comes first, once; not after LoadState. InvalidArgumentError if an option makes no sense: it names the option.
  virtual void Begin(const SearchSpace& space, Mode mode) = 0;

  // The steps of a trial's life. InvalidArgumentError for one that the trial cannot take (see the diagram).
  void OnAdd(TrialId trial, const Config& config);
  void OnRun(TrialId trial);
  void OnPause(TrialId trial);
  void OnComplete(TrialId trial);
  void OnFailure(TrialId trial);
  // What is to become of a trial that runs. Its state changes as the decision says. A trial that was tried again may
  // report a step for the second time.
  Decision OnReport(const TrialReport& report);
  // Who is to run next, of those that wait; nullopt: nobody, a new trial may be added. Changes nothing.
  virtual std::optional<TrialId> NextToRun() const;
  // There is no new trial to be had.
  void OnNoMoreTrials() { no_more_trials_ = true; }

  // For people; from the first step to the last. Empty: it compares at no particular steps.
  virtual std::vector<Rung> Rungs() const { return {}; }

  // JSON, as with Searcher.
  virtual std::string SaveState() const = 0;
  // Becomes what wrote `state`, whatever it was before. SerializationError if that was no scheduler of this name.
  virtual void LoadState(std::string_view state) = 0;

 protected:
  // --- what a scheduler does. Decide: the trial runs; Added: it waits; Ended: it is in trials() no more.
  virtual Decision Decide(const TrialReport& report) = 0;
  virtual void Added(TrialId, const Config&) {}
  virtual void Ended(TrialId) {}

  // Trials that are over are not in it.
  const std::map<TrialId, TrialState>& trials() const { return trials_; }
  bool no_more_trials() const { return no_more_trials_; }
  // For SaveState and LoadState: JSON of the two above.
  std::string SaveTrials() const;
  void LoadTrials(std::string_view state);

 private:
  // InvalidArgumentError, which says that it cannot `verb`, if it is in another state than `wanted`.
  TrialState& StateOf(TrialId trial, TrialState wanted, const char* verb);
  void End(TrialId trial);

  std::map<TrialId, TrialState> trials_;
  bool no_more_trials_ = false;
};

// The scheduler of this library that wrote `state`. SerializationError if none did; the text then names what did.
MANTA_EXPORT std::unique_ptr<TrialScheduler> LoadTrialScheduler(std::string_view state);

}  // namespace manta::ml

#endif  // MANTA_ML_TRIAL_SCHEDULER_H_

// Tuner runs a function with many configurations, on a cluster, and finds the best one.
//
//   void Train(manta::ml::Trial& trial, const Dataset& data);     // see trial.h
//
//   manta::ml::SearchSpace space;
//   space.LogUniform("rate", 1e-4, 1).Choice("hidden", {32, 64, 128});
//   manta::ml::Tuner<&Train> tuner(space,
//       {.metric = "loss", .num_samples = 100, .scheduler = std::make_shared<manta::ml::Asha>()},
//       {.name = "mlp", .resources = {.cpus = 0.5}}, data);
//   manta::ml::ResultGrid results = tuner.Fit();
//
//   manta::ml::Tuner<&Train>::Restore("mlp", "manta-sweeps", data).Fit();   // after a crash, Ctrl-C, kill -9
//
// Trials run in actors that live as long as the sweep: a new trial costs a call, not a process. What searcher and
// scheduler decide, and everything that they decided it from, is in a journal on the disk before a trial learns of it.
// So whatever ends the program, Restore goes on where it was: trials that ran go on from their last checkpoint, and
// every decision that was taken is taken again, and compared with what the journal says.
//
// Errors:     InvalidArgumentError for what a configuration cannot mean; sweep_error.h; DataError: the journal is
//             damaged, or its decisions are not those that this program takes; FileError: it cannot be written. What
//             trials do wrong is in the ResultGrid, and no error of Fit.
// Threads:    externally synchronised.
// See:        Liaw et al., "Tune: a research platform for distributed model selection and training", 2018.
#ifndef MANTA_ML_TUNER_H_
#define MANTA_ML_TUNER_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "manta/get.h"
#include "manta/ml/internal/trial_runner.h"
#include "manta/ml/result_grid.h"
#include "manta/ml/search_space.h"
#include "manta/ml/sweep_error.h"
#include "manta/ml/trial.h"
#include "manta/ml/tune_config.h"

namespace manta::ml {

// What a restored sweep does not have in its journal.
struct RestoreOptions {
  // One's own classes (others are made anew): an object to load the state into.
  std::shared_ptr<Searcher> searcher = {};
  std::shared_ptr<TrialScheduler> scheduler = {};
  int verbosity = 1;
  std::FILE* out = stdout;
  std::optional<bool> is_terminal = {};
};

namespace internal {

// One actor that runs trials.
struct RunnerCalls {
  std::function<ObjectRef<std::vector<TrialEvent>>(TrialOrders)> exchange;
  // At the end of a sweep: no trial begins any more, and the one that runs is unwound at its next report. Whether
  // nothing runs any more after at most `limit`.
  std::function<bool(std::chrono::milliseconds limit)> close;
  std::function<void()> kill;
};
using MakeRunner = std::function<RunnerCalls(const RunConfig::Resources&)>;

class SweepDriver;

class MANTA_EXPORT SweepRun {
 public:
  SweepRun(SearchSpace space, TuneConfig tune, RunConfig run, MakeRunner make_runner);
  SweepRun(const std::string& name, const std::string& storage, RestoreOptions options, MakeRunner make_runner);
  SweepRun(SweepRun&&) noexcept;
  ~SweepRun();
  ResultGrid Fit();

 private:
  std::unique_ptr<SweepDriver> driver_;
};

}  // namespace internal

// F: void(Trial&), or with further parameters, which the tuner is given as data: once per runner, not per trial.
template <auto F>
class Tuner {
  using Runner = internal::TrialRunner<F>;
  using Data = typename Runner::Data;

 public:
  // InvalidArgumentError, which names the field: no metric, no name, a number that makes no sense, no parameters, what
  // the searcher or scheduler does not take.
  template <class... D>
  Tuner(SearchSpace space, TuneConfig tune, RunConfig run, D&&... data)
      : run_(std::move(space), std::move(tune), std::move(run), RunnersWith(Data(std::forward<D>(data)...))) {}

  // The sweep `name` of `storage`, as its last tuner has left it; Fit goes on with it. NoSuchSweepError,
  // SweepLockedError, DataError.
  template <class... D>
  static Tuner Restore(const std::string& name, const std::string& storage = RunConfig().storage, D&&... data) {
    return RestoreWith({}, name, storage, std::forward<D>(data)...);
  }
  template <class... D>
  static Tuner RestoreWith(RestoreOptions options, const std::string& name, const std::string& storage, D&&... data) {
    return Tuner(internal::SweepRun(name, storage, std::move(options), RunnersWith(Data(std::forward<D>(data)...))));
  }

  // Runs the sweep to its end; once. SweepExistsError, SweepLockedError, SweepInterruptedError, TrialsLeftBehindError;
  // InvalidArgumentError: no node has a trial's resources, or the first trial to report does not report the metric; and
  // what is said above.
  ResultGrid Fit() { return run_.Fit(); }

 private:
  explicit Tuner(internal::SweepRun run) : run_(std::move(run)) {}

  static internal::MakeRunner RunnersWith(Data data) {
    return [data = std::move(data)](const RunConfig::Resources& resources) {
      auto actor = Actor<Runner>()
                       .NumCpus(resources.cpus)
                       .NumGpus(resources.gpus)
                       .Resources(resources.custom)
                       .MaxConcurrency(3)  // Work, Exchange, Close
                       .Remote(data);
      const ObjectRef<void> work = actor.template Call<&Runner::Work>().Remote();
      internal::RunnerCalls calls;
      calls.exchange = [actor](internal::TrialOrders orders) {
        return actor.template Call<&Runner::Exchange>().Remote(std::move(orders));
      };
      calls.close = [actor, work](std::chrono::milliseconds limit) {
        actor.template Call<&Runner::Close>().Remote();
        return !Wait(std::vector{work}, 1, limit).ready.empty();
      };
      calls.kill = [actor] { Kill(actor); };
      return calls;
    };
  }

  internal::SweepRun run_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TUNER_H_

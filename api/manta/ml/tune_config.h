// TuneConfig says what a sweep looks for and how; RunConfig where it runs and where its journal is.
#ifndef MANTA_ML_TUNE_CONFIG_H_
#define MANTA_ML_TUNE_CONFIG_H_

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "manta/ml/searcher.h"
#include "manta/ml/sweep.h"
#include "manta/ml/trial_scheduler.h"

namespace manta::ml {

struct TuneConfig {
  std::string metric = {};  // the one of a trial's reports that counts; a trial's last report is its result
  Mode mode = Mode::kMin;   // whether less of it is better, or more
  int64_t num_samples = 1;  // trials; -1: as many as the searcher has (a Grid), or the time allows
  // Trials that run at the same time; 0: as many as the cluster has resources for.
  int64_t max_concurrent = 0;
  // From the sweep's start, times before a restore included; then running trials stop at their next report (those that
  // report none for 5 s more are ended), and no new one begins. 0: none.
  std::chrono::milliseconds time_budget{0};
  // The step at which a trial is done, though its function would go on. 0: none. Asha has one of its own.
  int64_t steps_max = 0;
  std::shared_ptr<Searcher> searcher = {};         // default: Random of seed 0; the tuner takes it over
  std::shared_ptr<TrialScheduler> scheduler = {};  // default: Fifo; the tuner takes it over
  // How often a trial is tried again, each time from its last checkpoint, after its function threw, its process died,
  // it hung or its metric was not finite; then it has failed. The sweep goes on in any case.
  int64_t max_failures = 2;
  // A trial that reports nothing for so long hangs: its process is ended.
  std::chrono::milliseconds report_timeout = std::chrono::hours(1);
};

struct RunConfig {
  // The resources that each running trial holds; fractions allowed.
  struct Resources {
    double cpus = 1;
    double gpus = 0;
    std::map<std::string, double> custom = {};  // by name
  };

  std::string name = {};  // of the sweep: its directory in `storage`; no '/'
  // A directory of the machine on which the tuner runs; relative to where that runs. All of the sweep is in
  // storage/name: journal, checkpoints and, at the end, results.csv, results.json and report.html.
  std::string storage = "manta-sweeps";
  Resources resources = {};  // per trial
  int verbosity = 1;         // 0: print nothing; 1: how it goes; 2: also a line per trial that ends
  std::FILE* out = stdout;
  std::optional<bool> is_terminal = {};  // unset: ask isatty(out)
};

}  // namespace manta::ml

#endif  // MANTA_ML_TUNE_CONFIG_H_

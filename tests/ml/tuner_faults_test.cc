// Sweeps whose trials, and whose driver, die at any moment.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "manta/ml/asha.h"
#include "manta/ml/grid_searcher.h"
#include "manta/ml/pbt.h"
#include "manta/ml/random_searcher.h"
#include "manta/ml/tpe_searcher.h"
#include "manta/ml/tuner.h"
#include "ml/tune/journal.h"
#include "ml/tune/sweep_core.h"
#include "tests/embedded/story.h"

namespace manta::embedded {

using ml::ResultGrid;
using ml::SearchSpace;
using ml::Trial;
using ml::TrialResult;
using ml::TrialState;
using ml::TuneConfig;
using ml::Tuner;
using ::testing::AllOf;
using ::testing::HasSubstr;

namespace {

// How a sweep of Climb is decided.
struct Policy {
  const char* name;
  int64_t trials, steps;
  std::shared_ptr<ml::Searcher> (*searcher)();
  std::shared_ptr<ml::TrialScheduler> (*scheduler)();
};
const Policy kPolicies[] = {
    {"asha", 150, 6,
     [] { return std::shared_ptr<ml::Searcher>(std::make_shared<ml::Tpe>(ml::Tpe::Options{.seed = 3})); },
     [] {
       return std::shared_ptr<ml::TrialScheduler>(
           std::make_shared<ml::Asha>(ml::Asha::Options{.steps_max = 7, .eta = 2}));
     }},
    {"pbt", 16, 24,
     [] { return std::shared_ptr<ml::Searcher>(std::make_shared<ml::Random>(ml::Random::Options{.seed = 3})); },
     [] {
       return std::shared_ptr<ml::TrialScheduler>(
           std::make_shared<ml::Pbt>(ml::Pbt::Options{.population = 16, .interval = 4, .fixed = {}}));
     }}};

const Policy& PolicyOf(const std::string& name) { return name == "pbt" ? kPolicies[1] : kPolicies[0]; }

SearchSpace Line() {
  SearchSpace space;
  space.Uniform("x", 0, 1);
  return space;
}

TuneConfig TuneBy(const Policy& policy, int64_t trials, int64_t failures_max = 2) {
  TuneConfig tune{.metric = "loss", .num_samples = trials, .max_failures = failures_max};
  tune.searcher = policy.searcher();
  tune.scheduler = policy.scheduler();
  return tune;
}

// What a trial's checkpoint has of one step: who made it, and with what.
std::string Footprint(uint64_t trial, int64_t step, double x) {
  return std::to_string(trial) + ":" + std::to_string(step) + ":" + std::to_string(x) + " ";
}

}  // namespace

// ------------------------------------------------------------------ what runs in workers

// Its checkpoint has all of its past, and that of those it took over from, so that a wrong one shows. `notes`: a file
// with a line before each report, and one after it.
void Climb(Trial& trial, const std::string& notes, int64_t steps) {
  std::string past = trial.has_checkpoint() ? std::string(trial.checkpoint_bytes()) : "";
  if (std::count(past.begin(), past.end(), ' ') != trial.step()) {
    throw std::logic_error("goes on from step " + std::to_string(trial.step()) + " with " + past);
  }
  const double x = trial.config().Double("x");
  for (int64_t step = trial.step() + 1; step <= steps; ++step) {
    past += Footprint(trial.id(), step, x);
    const std::string line = std::to_string(trial.id()) + " " + std::to_string(trial.attempt());
    std::this_thread::sleep_for(milliseconds(1));
    AppendLine(notes, "reports " + line);
    const ml::Metrics metrics{{"loss", x + 1.0 / double(step)}};
    step % 2 == 0 ? trial.Report(metrics, past) : trial.Report(metrics);
    AppendLine(notes, "reported " + line);
  }
}

struct SleepsAtItsEnd {
  ~SleepsAtItsEnd() { std::this_thread::sleep_for(std::chrono::hours(1)); }
};

void Misbehave(Trial& trial) {
  const std::string& how = trial.config().String("how");
  trial.Report({{"loss", 1}});
  std::optional<SleepsAtItsEnd> sleep;
  if (how == "hangs at its end") sleep.emplace();
  while (how == "ignores its end") {
    try {
      trial.Report({{"loss", 0.5}});
    } catch (...) {
    }
  }
  if (how == "exits") _exit(3);
  if (how == "is killed") raise(SIGKILL);
  if (how == "hangs") std::this_thread::sleep_for(std::chrono::hours(1));
  if (how == "throws") throw std::runtime_error("on purpose");
  if (how == "crashes once" && trial.attempt() == 0) abort();
  trial.Report({{"loss", 0.5}});
}

// ------------------------------------------------------------------ the driver as a process of its own

SCENARIO(Sweep) {
  const std::string storage = ArgumentOf(argc, argv, "storage"), name = ArgumentOf(argc, argv, "name"),
                    notes = ArgumentOf(argc, argv, "notes");
  const bool is_restore = ArgumentOf(argc, argv, "restore") == "1";
  const int64_t trials = std::stoll(ArgumentOf(argc, argv, "trials"));
  const Policy& policy = PolicyOf(ArgumentOf(argc, argv, "policy"));
  const Runtime runtime = Init(argc, argv);
  const TuneConfig tune = TuneBy(policy, trials);
  const ml::RunConfig run{.name = name, .storage = storage};
  Say("begins");
  const ResultGrid results =
      is_restore ? Tuner<&Climb>::RestoreWith({.verbosity = 1}, name, storage, notes, policy.steps).Fit()
                 : Tuner<&Climb>(Line(), tune, run, notes, policy.steps).Fit();
  Say("over " + std::to_string(results.size()));
  return 0;
}

// A trial that hangs in one process with the sweep.
SCENARIO(LocalSweep) {
  const std::string storage = ArgumentOf(argc, argv, "storage");
  const Runtime runtime = Init(argc, argv);
  SearchSpace space;
  space.Grid("how", {std::string("behaves"), std::string("hangs"), std::string("hangs at its end")});
  TuneConfig tune{
      .metric = "loss", .num_samples = -1, .steps_max = 2, .max_failures = 1, .report_timeout = milliseconds(500)};
  tune.searcher = std::make_shared<ml::Grid>();
  try {
    Tuner<&Misbehave>(space, tune, {.name = "local", .storage = storage}).Fit();
  } catch (const ml::TrialsLeftBehindError& error) {
    Say(std::string("left: ") + error.what());
    for (const TrialResult& trial : error.results().trials()) Say(ml::NameOf(trial.state) + (": " + trial.error));
  }
  return 0;
}

namespace {

class TunerFaults : public EmbeddedTest {
 protected:
  TunerFaults() : EmbeddedTest(seconds(170)) {}

  std::vector<std::string> Arguments(const std::string& name, const Policy& policy, bool is_restore,
                                     int64_t trials) const {
    return {"--storage=" + directory(),
            "--name=" + name,
            "--notes=" + File(name + ".notes"),
            std::string("--policy=") + policy.name,
            std::string("--restore=") + (is_restore ? "1" : "0"),
            "--trials=" + std::to_string(trials)};
  }
  bool HasJournal(const std::string& name) const { return Exists(File(name + "/journal-000000")); }
  std::vector<std::string> Entries(const std::string& name) const {
    ml::Journal::Contents contents;
    ml::Journal::Open(File(name), &contents);
    return contents.entries;
  }

  using Runs = std::map<std::pair<uint64_t, int64_t>, int64_t>;  // by trial and attempt

  // How many lines of the notes begin with `word`.
  Runs Noted(const std::string& name, const std::string& word) const {
    Runs runs;
    for (const std::string& line : Lines(File(name + ".notes"))) {
      uint64_t trial = 0;
      int64_t attempt = 0;
      if (std::sscanf(line.c_str(), (word + " %lu %ld").c_str(), &trial, &attempt) == 2) ++runs[{trial, attempt}];
    }
    return runs;
  }
  // How many reports the journal has.
  static Runs Journaled(const std::vector<std::string>& entries) {
    Runs runs;
    std::map<uint64_t, int64_t> attempts;
    for (const std::string& entry : entries) {
      const auto json = nlohmann::json::parse(entry);
      if (json.value("op", "") == "run") attempts[json.at("trial")] = json.at("attempt");
      if (json.value("op", "") != "report") continue;
      int64_t& attempt = attempts[json.at("trial")];
      ++runs[{json.at("trial"), attempt}];
      if (json.at("decision") == "exploit") ++attempt;
    }
    return runs;
  }

  // What trials were told is in the journal, and of each of their runs at most one report is not.
  void ExpectNothingLost(const std::string& name, const std::vector<std::string>& entries) const {
    const Runs known = Journaled(entries);
    const auto of = [&](const auto& run) { return known.contains(run) ? known.at(run) : 0; };
    for (const auto& [run, count] : Noted(name, "reported")) {
      EXPECT_LE(count, of(run)) << "trial " << run.first << " was told to go on by a report that is lost";
    }
    for (const auto& [run, count] : Noted(name, "reports")) {
      EXPECT_LE(count, of(run) + 1) << "trial " << run.first << " lost more than one report";
    }
  }

  // The entries, done again from the first, take the same decisions and lead to trials that are all over, each step of
  // theirs once; checkpoints are those of the lineage. The number of times that a trial took over from another.
  size_t ExpectWhole(const std::string& name, const std::vector<std::string>& entries, size_t trials) const {
    ml::SweepCore core(entries.at(0), nullptr, nullptr, "the journal");
    for (size_t i = 1; i < entries.size(); ++i) core.Replay(entries[i], "the journal");
    EXPECT_EQ(core.trials().size(), trials);
    const std::map<uint64_t, std::string> pasts = Pasts(entries);
    size_t exploits = 0;
    for (const TrialResult& trial : core.trials()) {
      EXPECT_THAT(trial.state, ::testing::AnyOf(TrialState::kDone, TrialState::kStopped))
          << trial.id << ": " << trial.error;
      auto exploit = trial.lineage.begin();
      int64_t next = 1;
      for (const ml::TrialReportRecord& report : trial.reports) {
        EXPECT_EQ(report.step, next) << "trial " << trial.id;
        next = report.step + 1;
        if (exploit != trial.lineage.end() && exploit->step == report.step) next = (exploit++)->source_step + 1;
      }
      EXPECT_EQ(exploit, trial.lineage.end()) << "trial " << trial.id << " took over at a step that it did not report";
      exploits += trial.lineage.size();
      if (!trial.checkpoint.empty()) {
        EXPECT_EQ(ReadFile(File(name + "/" + trial.checkpoint)), pasts.at(trial.id)) << "trial " << trial.id;
      }
    }
    return exploits;
  }

  // What each trial's newest checkpoint must hold.
  static std::map<uint64_t, std::string> Pasts(const std::vector<std::string>& entries) {
    struct Past {
      double x = 0;
      int64_t step = 0;  // of the checkpoint
      std::string text = {};
    };
    std::map<uint64_t, Past> pasts;
    for (const std::string& entry : entries) {
      const auto json = nlohmann::json::parse(entry);
      const auto op = json.value("op", "");
      if (op == "add") pasts[json.at("trial")].x = json.at("config").at("x");
      if (op != "report" || json.at("decision") == "fail") continue;
      Past& past = pasts.at(json.at("trial"));
      if (json.contains("checkpoint")) {
        for (const int64_t step = json.at("step"); past.step < step;) {
          ++past.step;
          past.text += Footprint(json.at("trial"), past.step, past.x);
        }
      }
      if (json.at("decision") != "exploit") continue;
      const Past& source = pasts.at(json.at("source"));
      EXPECT_EQ(source.step, json.at("source_step"));
      past = {json.at("config").at("x"), source.step, source.text};
    }
    std::map<uint64_t, std::string> texts;
    for (auto& [trial, past] : pasts) texts[trial] = std::move(past.text);
    return texts;
  }
};

TEST_F(TunerFaults, ADriverThatIsKilledAtAnyMomentLosesNothing) {
  constexpr int kKills = 30;  // half of them with each policy, or a few more
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  int kills = 0, restores = 0;
  size_t exploits = 0;
  for (const Policy& policy : kPolicies) {
    const int kills_max = kills < kKills / 2 ? kKills / 2 : kKills;
    for (int sweep = 0; kills < kills_max; ++sweep) {
      const std::string name = policy.name + std::to_string(sweep);
      std::vector<std::string> before;
      for (bool is_over = false; !is_over;) {
        const bool is_restore = HasJournal(name);
        restores += is_restore;
        Scenario driver = Run("Sweep", Arguments(name, policy, is_restore, policy.trials));
        driver.Await("begins");
        if (kills < kills_max) {
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 300'000));
          kills += !driver.Said("over ");
          driver.Signal(SIGKILL);
          driver.Join();
          is_over = driver.Said("over ");
        } else {
          EXPECT_TRUE(driver.Join(seconds(60)).exited) << driver.output();
          is_over = true;
          EXPECT_THAT(driver.output(), HasSubstr("over " + std::to_string(policy.trials)));
        }
        if (!HasJournal(name)) continue;
        std::vector<std::string> entries = Entries(name);
        ASSERT_GE(entries.size(), before.size());
        ASSERT_TRUE(std::equal(before.begin(), before.end(), entries.begin())) << "the journal's past has changed";
        ExpectNothingLost(name, entries);
        before = std::move(entries);
      }
      exploits += ExpectWhole(name, before, size_t(policy.trials));
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(restores, 5) << "kills were too late or too early to mean something";
  EXPECT_GT(exploits, 0u);
}

TEST_F(TunerFaults, TrialProcessesThatAreKilledAtAnyMomentLoseNothing) {
  constexpr int kKills = 30;
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  StartCluster();
  std::atomic<int> kills = 0;
  std::atomic<bool> is_over = false;
  std::thread killer([&] {
    std::mt19937_64 random(seed);
    while (!is_over) {
      std::this_thread::sleep_for(milliseconds(40 + random() % 160));
      const std::vector<Relative> workers = Family::Workers();
      if (!workers.empty() && kills < kKills) kills += kill(workers[random() % workers.size()].pid, SIGKILL) == 0;
    }
  });
  size_t exploits = 0;
  for (int sweep = 0; kills < kKills || sweep < 2; ++sweep) {
    const Policy& policy = kPolicies[sweep % 2];
    const std::string name = policy.name + std::to_string(sweep);
    const TuneConfig tune = TuneBy(policy, policy.trials, kKills);
    const ml::RunConfig run{.name = name, .storage = directory(), .verbosity = 0};
    const ResultGrid results = Tuner<&Climb>(Line(), tune, run, File(name + ".notes"), policy.steps).Fit();
    EXPECT_EQ(results.size(), size_t(policy.trials));
    EXPECT_EQ(results.Count(TrialState::kFailed), 0u);
    const std::vector<std::string> entries = Entries(name);
    ExpectNothingLost(name, entries);
    exploits += ExpectWhole(name, entries, size_t(policy.trials));
    if (HasFailure()) break;
  }
  EXPECT_GT(exploits, 0u);
  is_over = true;
  killer.join();
}

TEST_F(TunerFaults, TrialsThatMisbehaveAreTriedAgainAndThenReported) {
  StartCluster();
  SearchSpace space;
  space.Grid("how", {std::string("behaves"), std::string("exits"), std::string("is killed"), std::string("hangs"),
                     std::string("throws"), std::string("crashes once"), std::string("ignores its end"),
                     std::string("hangs at its end")});
  TuneConfig tune{.metric = "loss", .num_samples = -1, .steps_max = 2, .max_failures = 1, .report_timeout = seconds(3)};
  tune.searcher = std::make_shared<ml::Grid>();
  const ResultGrid results =
      Tuner<&Misbehave>(space, tune, {.name = "bad", .storage = directory(), .verbosity = 0}).Fit();
  ASSERT_EQ(results.size(), 8u);
  const auto expect = [&](size_t trial, TrialState state, const std::string& word, int64_t failures) {
    EXPECT_EQ(results.trials()[trial].state, state) << trial << ": " << results.trials()[trial].error;
    EXPECT_THAT(results.trials()[trial].error, HasSubstr(word));
    EXPECT_EQ(results.trials()[trial].failures, failures) << trial;
  };
  expect(0, TrialState::kDone, "", 0);
  expect(1, TrialState::kFailed, "exit", 2);
  expect(2, TrialState::kFailed, "signal 9", 2);
  expect(3, TrialState::kFailed, "reported nothing for 3.0 s", 2);
  expect(4, TrialState::kFailed, "std::runtime_error: on purpose", 2);
  expect(5, TrialState::kDone, "signal 6", 1);
  expect(6, TrialState::kDone, "", 0);
  expect(7, TrialState::kDone, "", 0);
  // Nothing that hung holds what the next sweep needs: all CPUs there are.
  space = SearchSpace();
  space.Choice("how", {std::string("behaves")});
  const ml::RunConfig run{.name = "next", .storage = directory(), .resources = {.cpus = 2}, .verbosity = 0};
  EXPECT_EQ(Tuner<&Misbehave>(space, {.metric = "loss"}, run).Fit().Count(TrialState::kDone), 1u);
}

TEST_F(TunerFaults, TrialsThatHangInTheDriversProcessAreNamedAndItEnds) {
  Scenario driver = Run("LocalSweep", {"--manta-local", "--storage=" + directory()});
  const Scenario::End end = driver.Join(seconds(60));
  EXPECT_TRUE(end.exited && end.status == 0) << end.Describe() << driver.output();
  EXPECT_THAT(driver.output(),
              AllOf(HasSubstr("left: the sweep \"local\" is over"), HasSubstr("(--manta-local): 1, 2."),
                    HasSubstr("failed: it reported nothing for 0.5 s"), HasSubstr("done: ")));
}

TEST_F(TunerFaults, AnInterruptedSweepSaysHowToGoOn) {
  constexpr int kTrials = 2000;
  const Policy& policy = kPolicies[0];
  {
    Scenario driver = Run("Sweep", Arguments("long", policy, false, kTrials));
    driver.Await("begins");
    AwaitFile(File("long.notes"));
    driver.Signal(SIGINT);
    const Scenario::End end = driver.Join();
    EXPECT_EQ(end.signal, SIGINT) << end.Describe() << driver.output();
    EXPECT_THAT(driver.output(), HasSubstr("Tuner::Restore(\"long\", \"" + directory() + "\")"));
  }
  const std::vector<std::string> entries = Entries("long");
  EXPECT_GT(entries.size(), 1u);
  ExpectNothingLost("long", entries);
  Scenario restored = Run("Sweep", Arguments("long", policy, true, kTrials));
  EXPECT_THAT(restored.Await("long: restored from"), HasSubstr("trials, of which"));
  EXPECT_TRUE(Within(seconds(20), [&] { return Lines(File("long.notes")).size() > 2 * entries.size(); }));
  // While it runs, the sweep is its own.
  EXPECT_THAT(
      ErrorOf<ml::SweepLockedError>([&] { Tuner<&Climb>::Restore("long", directory(), "", int64_t{6}); })->what(),
      HasSubstr("process " + std::to_string(restored.pid())));
  restored.Signal(SIGKILL);
  restored.Join();
}

}  // namespace
}  // namespace manta::embedded

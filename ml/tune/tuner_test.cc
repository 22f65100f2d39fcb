// Sweeps inside one process; what needs processes that die is in tests/ml.
#include "manta/ml/tuner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <thread>

#include "manta/ml/asha.h"
#include "manta/ml/error.h"
#include "manta/ml/grid_searcher.h"
#include "manta/ml/pbt.h"
#include "manta/ml/tpe_searcher.h"
#include "ml/data/durable_file.h"
#include "ml/testing/local_test.h"
#include "ml/tune/checkpoint_files.h"

namespace manta::ml {

// ------------------------------------------------------------------ what trials run

std::atomic<int> runs, unwound;

struct CountsUnwinding {
  ~CountsUnwinding() { unwound += std::uncaught_exceptions() > 0; }
};

void Parabola(Trial& trial) {
  ++runs;
  const double x = trial.config().Double("x");
  trial.Report({{"loss", x * x}, {"x", x}});
}

void Slope(Trial& trial) {
  const CountsUnwinding guard;
  for (int64_t step = trial.step() + 1; step <= 9; ++step)
    trial.Report({{"loss", trial.config().Double("x") / double(step)}});
}

void ThrowsAtFirst(Trial& trial) {
  if (trial.attempt() < trial.config().Int("failures"))
    throw std::out_of_range("attempt " + std::to_string(trial.attempt()));
  trial.Report({{"loss", double(trial.attempt())}});
}

void ThrowsAnInt(Trial&) { throw 42; }

void ThrowsNoText(Trial& trial) {
  trial.Report({{"loss", 1}, {"m\xe9tric", 2}});
  throw std::runtime_error("bytes \xff\xfe, and \"quotes\"\n\x01");
}

void GivesNan(Trial& trial) {
  for (int step = 1; step <= 5; ++step)
    trial.Report({{"loss", step == 3 && trial.id() == 1 ? std::nan("") : 1.0 / step}});
}

void SaysNothing(Trial&) {}

void ReportsAnother(Trial& trial) { trial.Report({{"accuracy", 1}, {"error", 0}}); }

// The checkpoint is all of the trial's past: "3:0.5 4:0.5 ": the steps, with the x that each was made with.
void KeepsItsPast(Trial& trial) {
  std::string past = trial.has_checkpoint() ? std::string(trial.checkpoint_bytes()) : "";
  if (int64_t(std::count(past.begin(), past.end(), ' ')) != trial.step())
    throw std::logic_error("not its past: " + past);
  for (int64_t step = trial.step() + 1; step <= 12; ++step) {
    past += std::to_string(step) + ":" + std::to_string(trial.config().Double("x")) + " ";
    trial.Report({{"loss", trial.config().Double("x") + 1.0 / double(step)}}, past);
  }
}

void KeepsATensor(Trial& trial) {
  Tensor weights(DType::kFloat64, {2, 600});
  if (trial.has_checkpoint()) weights = trial.checkpoint().Clone();
  for (int64_t step = trial.step() + 1; step <= 3; ++step) {
    for (double& weight : weights.mutable_values<double>()) weight += 1;
    trial.Report({{"loss", 1}}, weights);
    if (step == 2 && trial.attempt() == 0) throw std::runtime_error("once");
  }
  for (const double weight : weights.values<double>()) {
    if (weight != 3) throw std::runtime_error("weights of " + std::to_string(weight));
  }
}

void UsesData(Trial& trial, const std::vector<double>& values, std::string name) {
  trial.Report({{"loss", values.at(size_t(trial.config().Int("i")))}, {"name_length", double(name.size())}});
}

void SaysMuch(Trial& trial) {
  Metrics metrics{{"loss", trial.config().Double("x")}};
  for (int i = 0; i < 300; ++i) metrics["metric number " + std::to_string(i)] = double(i) / 7;
  trial.Report(metrics);
}

void Naps(Trial& trial) {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    trial.Report({{"loss", trial.config().Double("x")}});
  }
}

std::atomic<bool> released;

void Blocks() {
  while (!released) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

struct BlocksAtItsEnd {
  ~BlocksAtItsEnd() { Blocks(); }
};

void HangsAt1And2(Trial& trial) {
  trial.Report({{"loss", 1}});
  std::optional<BlocksAtItsEnd> at_its_end;
  if (trial.config().Int("i") == 1) Blocks();
  if (trial.config().Int("i") == 2) at_its_end.emplace();
  trial.Report({{"loss", 0.5}});
}

void SwallowsAll(Trial& trial) {
  for (int i = 0; i < 1000; ++i) {
    try {
      trial.Report({{"loss", 1}});
    } catch (...) {
    }
  }
}

namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class TunerTest : public LocalTest {
 protected:
  TunerTest() : LocalTest({.num_cpus = 2}) {
    std::string path = fs::temp_directory_path() / "tuner_test.XXXXXX";
    storage_ = mkdtemp(path.data());
    runs = unwound = 0;
  }
  ~TunerTest() override { fs::remove_all(storage_); }

  RunConfig Named(const std::string& name) const { return {.name = name, .storage = storage_, .verbosity = 0}; }
  static SearchSpace Line() {
    SearchSpace space;
    space.Uniform("x", -1, 1);
    return space;
  }
  static TuneConfig Samples(int64_t count) { return {.metric = "loss", .num_samples = count}; }

  std::string storage_;
};

TEST_F(TunerTest, RunsEveryTrialOnceAndFindsTheBest) {
  const ResultGrid results = Tuner<&Parabola>(Line(), Samples(50), Named("parabola")).Fit();
  EXPECT_EQ(runs, 50);
  ASSERT_EQ(results.size(), 50u);
  EXPECT_EQ(results.Count(TrialState::kDone), 50u);
  double best = 1;
  for (const TrialResult& trial : results.trials()) {
    Line().Check(trial.config);
    ASSERT_EQ(trial.reports.size(), 1u);
    EXPECT_EQ(*trial.Last("x"), trial.config.Double("x"));
    best = std::min(best, *trial.Last("loss"));
  }
  EXPECT_EQ(results.Best().Last("loss"), best);
  for (const char* file : {"results.csv", "results.json", "report.html"}) {
    EXPECT_TRUE(fs::exists(storage_ + "/parabola/" + file)) << file;
  }
}

TEST_F(TunerTest, ASweepThatIsOverIsRestoredWithoutRunningAnything) {
  const ResultGrid results = Tuner<&Parabola>(Line(), Samples(20), Named("parabola")).Fit();
  const ResultGrid again = Tuner<&Parabola>::RestoreWith({.verbosity = 0}, "parabola", storage_).Fit();
  EXPECT_EQ(runs, 20);
  EXPECT_EQ(again.ToJson(), results.ToJson());
}

TEST_F(TunerTest, ALongJournalGivesWayToSnapshots) {
  const ResultGrid results = Tuner<&SaysMuch>(Line(), Samples(150), Named("long")).Fit();
  EXPECT_FALSE(fs::exists(storage_ + "/long/journal-000000"));
  EXPECT_TRUE(fs::exists(storage_ + "/long/snapshot-000001"));
  const ResultGrid again = Tuner<&SaysMuch>::RestoreWith({.verbosity = 0}, "long", storage_).Fit();
  EXPECT_EQ(again.ToJson(), results.ToJson());
}

TEST_F(TunerTest, TheSameSeedSearchesTheSame) {
  const auto configs = [&](const std::string& name) {
    TuneConfig tune = Samples(30);
    tune.searcher = std::make_shared<Tpe>(Tpe::Options{.seed = 5});
    tune.max_concurrent = 1;  // else the order of results is a matter of luck
    const ResultGrid results = Tuner<&Parabola>(Line(), tune, Named(name)).Fit();
    std::string text;
    for (const TrialResult& trial : results.trials()) text += trial.config.ToJson();
    return text;
  };
  const std::string first = configs("first");
  EXPECT_GT(first.size(), 300u);
  EXPECT_EQ(configs("second"), first);
}

TEST_F(TunerTest, AshaStopsTrialsWhichUnwind) {
  TuneConfig tune = Samples(40);
  tune.scheduler = std::make_shared<Asha>(Asha::Options{.steps_max = 9, .eta = 3});
  const ResultGrid results = Tuner<&Slope>(Line(), tune, Named("asha")).Fit();
  EXPECT_GT(results.Count(TrialState::kStopped), 10u);
  EXPECT_GT(results.Count(TrialState::kDone), 0u);
  EXPECT_EQ(results.Count(TrialState::kStopped) + results.Count(TrialState::kDone), 40u);
  EXPECT_EQ(unwound, 40);  // those at steps_max, too
  for (const TrialResult& trial : results.trials()) {
    EXPECT_EQ(trial.reports.size(), size_t(trial.step()));
    EXPECT_EQ(trial.state == TrialState::kDone, trial.step() == 9) << trial.id << ": " << trial.reason;
  }
}

TEST_F(TunerTest, ATrialThatThrowsIsTriedAgainAndThenReported) {
  SearchSpace space;
  space.Grid("failures", {int64_t{0}, int64_t{2}, int64_t{3}});
  TuneConfig tune = Samples(-1);
  tune.searcher = std::make_shared<Grid>();
  tune.max_failures = 2;
  const ResultGrid results = Tuner<&ThrowsAtFirst>(space, tune, Named("throws")).Fit();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results.trials()[0].failures, 0);
  EXPECT_EQ(results.trials()[1].state, TrialState::kDone);
  EXPECT_EQ(results.trials()[1].failures, 2);
  EXPECT_EQ(results.trials()[1].Last("loss"), 2);
  EXPECT_EQ(results.trials()[2].state, TrialState::kFailed);
  EXPECT_EQ(results.trials()[2].error, "std::out_of_range: attempt 2");
  EXPECT_EQ(results.Best().id, 0u);
}

TEST_F(TunerTest, WhatIsNoExceptionIsReportedToo) {
  const ResultGrid results = Tuner<&ThrowsAnInt>(Line(), Samples(2), Named("int")).Fit();
  EXPECT_EQ(results.Count(TrialState::kFailed), 2u);
  EXPECT_EQ(results.trials()[0].error, "threw int");
  EXPECT_THROW((void)results.Best(), InvalidArgumentError);
}

TEST_F(TunerTest, BytesThatAreNoTextAreReportedAndRestored) {
  const ResultGrid results = Tuner<&ThrowsNoText>(Line(), Samples(2), Named("bytes")).Fit();
  EXPECT_EQ(results.Count(TrialState::kFailed), 2u);
  EXPECT_THAT(results.trials()[0].error, HasSubstr("std::runtime_error: bytes "));
  const ResultGrid again = Tuner<&ThrowsNoText>::RestoreWith({.verbosity = 0}, "bytes", storage_).Fit();
  EXPECT_EQ(again.ToJson(), results.ToJson());
}

TEST_F(TunerTest, ANanFailsItsTrialAndNamesTheStep) {
  const ResultGrid results = Tuner<&GivesNan>(Line(), Samples(4), Named("nan")).Fit();
  EXPECT_EQ(results.Count(TrialState::kDone), 3u);
  EXPECT_EQ(results.trials()[1].state, TrialState::kFailed);
  EXPECT_EQ(results.trials()[1].failures, 3);
  EXPECT_EQ(results.trials()[1].error, "loss is nan at step 3");
}

TEST_F(TunerTest, ATrialThatReportsNothingHasFailed) {
  const ResultGrid results = Tuner<&SaysNothing>(Line(), Samples(2), Named("nothing")).Fit();
  EXPECT_EQ(results.Count(TrialState::kFailed), 2u);
}

TEST_F(TunerTest, AnUnknownMetricEndsTheSweepWithItsNameAndThoseReported) {
  try {
    Tuner<&ReportsAnother>(Line(), Samples(10), Named("unknown")).Fit();
    FAIL();
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("\"loss\""), HasSubstr("accuracy, error")));
  }
}

TEST_F(TunerTest, ANameThatExistsIsRefused) {
  Tuner<&Parabola>(Line(), Samples(1), Named("taken")).Fit();
  EXPECT_THROW(Tuner<&Parabola>(Line(), Samples(1), Named("taken")).Fit(), SweepExistsError);
  EXPECT_THROW(Tuner<&Parabola>::Restore("taken2", storage_), NoSuchSweepError);
}

TEST_F(TunerTest, ASecondFitIsRefused) {
  Tuner<&Parabola> tuner(Line(), Samples(1), Named("twice"));
  tuner.Fit();
  EXPECT_THROW(tuner.Fit(), InvalidArgumentError);
}

TEST_F(TunerTest, TwoTunersOfOneSweepAreOneTooMany) {
  Tuner<&Parabola>(Line(), Samples(1), Named("locked")).Fit();
  const auto first = Tuner<&Parabola>::RestoreWith({.verbosity = 0}, "locked", storage_);
  EXPECT_THROW(Tuner<&Parabola>::Restore("locked", storage_), SweepLockedError);
}

TEST_F(TunerTest, RefusesWhatMakesNoSense) {
  const auto refuses = [&](SearchSpace space, TuneConfig tune, RunConfig run, const std::string& word) {
    try {
      Tuner<&Parabola>(std::move(space), std::move(tune), std::move(run));
      ADD_FAILURE() << "no error about " << word;
    } catch (const InvalidArgumentError& error) {
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
  };
  refuses(Line(), Samples(0), Named("a"), "num_samples is 0");
  refuses(Line(), Samples(-2), Named("a"), "num_samples is -2");
  refuses(Line(), Samples(-1), Named("a"), "num_samples is -1");  // Random has no end
  refuses(Line(), {.num_samples = 1}, Named("a"), "metric");
  refuses(SearchSpace(), Samples(1), Named("a"), "no parameters");
  refuses(Line(), Samples(1), Named(""), "name is empty");
  refuses(Line(), Samples(1), Named("a/b"), "a/b");
  refuses(Line(), Samples(1), Named(".."), "..");
  refuses(Line(), {.metric = "loss", .max_concurrent = -1}, Named("a"), "max_concurrent");
  refuses(Line(), {.metric = "loss", .max_failures = -1}, Named("a"), "max_failures");
  refuses(Line(), {.metric = "loss", .report_timeout = std::chrono::milliseconds(0)}, Named("a"), "report_timeout");
  RunConfig many = Named("a");
  many.resources.cpus = -1;
  refuses(Line(), Samples(1), many, "resources");
  many.resources.cpus = std::nan("");
  refuses(Line(), Samples(1), many, "resources");
  EXPECT_TRUE(fs::is_empty(storage_));
}

TEST_F(TunerTest, ResourcesThatNoNodeHasAreAnErrorAtOnce) {
  RunConfig run = Named("large");
  run.resources = {.cpus = 1, .custom = {{"fpga", 2}}};
  try {
    Tuner<&Parabola>(Line(), Samples(1), run).Fit();
    FAIL();
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("0 of 2 fpga"), HasSubstr("2 of 1 CPU")));
  }
  EXPECT_FALSE(fs::exists(storage_ + "/large"));
}

TEST_F(TunerTest, DataGoesToEveryTrial) {
  SearchSpace space;
  space.Grid("i", {int64_t{0}, int64_t{1}, int64_t{2}});
  TuneConfig tune = Samples(-1);
  tune.searcher = std::make_shared<Grid>();
  const ResultGrid results = Tuner<&UsesData>(space, tune, Named("data"), std::vector<double>{3, 1, 2}, "four").Fit();
  EXPECT_EQ(results.Best().id, 1u);
  EXPECT_EQ(results.Best().Last("name_length"), 4);
}

TEST_F(TunerTest, ARetriedTrialHasTheTensorThatItReported) {
  const ResultGrid results = Tuner<&KeepsATensor>(Line(), Samples(3), Named("tensor")).Fit();
  for (const TrialResult& trial : results.trials()) {
    EXPECT_EQ(trial.state, TrialState::kDone) << trial.error;
    EXPECT_EQ(trial.failures, 1);
    EXPECT_EQ(fs::file_size(trial.checkpoint), 2u * 600 * 8);
  }
}

TEST_F(TunerTest, PbtPassesCheckpointsOnAndPausesThroughThem) {
  TuneConfig tune = Samples(8);
  tune.scheduler = std::make_shared<Pbt>(Pbt::Options{.population = 8, .interval = 3, .fixed = {}});
  tune.max_failures = 0;
  const ResultGrid results = Tuner<&KeepsItsPast>(Line(), tune, Named("pbt")).Fit();
  size_t exploits = 0;
  for (const TrialResult& trial : results.trials()) {
    EXPECT_EQ(trial.state, TrialState::kDone) << trial.error;
    const std::string past = ReadWhole(trial.checkpoint);
    EXPECT_EQ(std::count(past.begin(), past.end(), ' '), 12) << past;
    exploits += trial.lineage.size();
    for (const TrialLineage& exploit : trial.lineage) EXPECT_NE(exploit.source, trial.id);
  }
  EXPECT_GT(exploits, 0u);  // 2 runners for 8 members: they pause, too
}

TEST_F(TunerTest, TheTimeBudgetEndsASweep) {
  TuneConfig tune = Samples(-1);
  tune.time_budget = std::chrono::milliseconds(300);
  const ResultGrid results = Tuner<&Naps>(Line(), tune, Named("budget")).Fit();
  EXPECT_GE(results.size(), 2u);
  EXPECT_EQ(results.Count(TrialState::kStopped), results.size());
  EXPECT_EQ(results.trials()[0].reason, "the time is over");
  EXPECT_GT(results.trials()[0].reports.size(), 1u);
}

TEST_F(TunerTest, ATrialThatCatchesAllIsStoppedAllTheSame) {
  TuneConfig tune = Samples(2);
  tune.steps_max = 3;
  const ResultGrid results = Tuner<&SwallowsAll>(Line(), tune, Named("swallows")).Fit();
  EXPECT_EQ(results.Count(TrialState::kDone), 2u);
  EXPECT_EQ(results.trials()[0].reports.size(), 3u);
}

// More hang than there are CPUs: what is left behind keeps nothing from the others.
TEST_F(TunerTest, TrialsThatHangInThisProcessFailAndAreNamedAtTheEnd) {
  released = false;
  SearchSpace space;
  space.Grid("i", {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{3}});
  TuneConfig tune = Samples(-1);
  tune.searcher = std::make_shared<Grid>();
  tune.steps_max = 2;
  tune.max_failures = 2;
  tune.report_timeout = std::chrono::milliseconds(300);
  std::string results;
  try {
    Tuner<&HangsAt1And2>(space, tune, Named("hangs")).Fit();
    ADD_FAILURE() << "no error";
  } catch (const TrialsLeftBehindError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("\"hangs\""), HasSubstr("(--manta-local): 1, 2."),
                                    HasSubstr("Tuner::Restore(\"hangs\", \"" + storage_ + "\")")));
    ASSERT_EQ(error.results().size(), 4u);
    const TrialResult& hung = error.results().trials()[1];
    EXPECT_EQ(hung.state, TrialState::kFailed);
    EXPECT_EQ(hung.failures, 3);
    EXPECT_THAT(hung.error, HasSubstr("reported nothing for 0.3 s (TuneConfig::report_timeout)"));
    EXPECT_EQ(error.results().Count(TrialState::kDone), 3u);
    results = error.results().ToJson();
  }
  released = true;
  EXPECT_EQ(Tuner<&HangsAt1And2>::RestoreWith({.verbosity = 0}, "hangs", storage_).Fit().ToJson(), results);
}

TEST_F(TunerTest, ACheckpointsFileIsWhatWasWrittenOrAnError) {
  CheckpointFiles files(storage_);
  Tensor tensor(DType::kInt32, {2, 3});
  tensor.mutable_data<int32_t>()[5] = 7;
  const CheckpointRecord record = files.Write(1, 12, 3, tensor);
  EXPECT_EQ(record.file, "checkpoints/trial-000012-step-000003-1.bin");
  files.ForgetObjects();
  EXPECT_EQ(files.Read(record).shape(), (Shape{2, 3}));
  EXPECT_EQ(files.Read(record).values<int32_t>()[5], 7);
  const std::string path = storage_ + "/" + record.file;
  const auto refuses = [&](const std::string& word) {
    try {
      files.Read(record);
      ADD_FAILURE() << "no error";
    } catch (const DataError& error) {
      EXPECT_EQ(error.file(), path);
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
  };
  std::ofstream(path, std::ios::binary | std::ios::in).write("x", 1);
  refuses("checksum");
  fs::resize_file(path, 23);
  refuses("23 bytes long, and was written with 24");
  fs::remove(path);
  refuses("cannot be opened");
  files.DropAllBut({});
  EXPECT_TRUE(fs::is_empty(storage_ + "/checkpoints"));
}

}  // namespace
}  // namespace manta::ml

// Sweeps of trials that do nothing but report once.
#include <fcntl.h>
#include <manta/manta.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "manta/ml/tuner.h"
#include "tools/bench/bench.h"

namespace manta::bench {
namespace {

constexpr int kTrials = 1000;

void Trivial(ml::Trial& trial) { trial.Report({{"loss", trial.config().Double("x")}}); }

class Echo {
 public:
  int Say(int value) { return value; }
};

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string path = std::filesystem::temp_directory_path() / "manta-bench.XXXXXX";
    if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a directory for the journal");
    path_ = path;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

double TrialsPerSecond(const std::string& storage, int number) {
  ml::SearchSpace space;
  space.Uniform("x", 0, 1);
  ml::Tuner<&Trivial> tuner(space, {.metric = "loss", .num_samples = kTrials},
                            {.name = "bench" + std::to_string(number), .storage = storage, .verbosity = 0});
  const Stopwatch watch;
  const ml::ResultGrid results = tuner.Fit();
  if (results.Count(ml::TrialState::kDone) != kTrials) throw std::runtime_error("not all trials are done");
  return kTrials / watch.seconds();
}

// What a trial cannot do without, one at a time: a call to an actor, and its record on the disk.
double CallsAndSyncsPerSecond(const std::string& directory) {
  constexpr int kCalls = 500;
  const auto echo = Actor<Echo>().Remote();
  Get(echo.Call<&Echo::Say>().Remote(0));
  const std::string path = directory + "/records", record(300, 'x');
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const Stopwatch watch;
  for (int i = 0; i < kCalls; ++i) {
    Get(echo.Call<&Echo::Say>().Remote(i));
    if (write(fd, record.data(), record.size()) < 0 || fdatasync(fd) != 0)
      throw std::runtime_error("cannot write " + path);
  }
  const double rate = kCalls / watch.seconds();
  close(fd);
  return rate;
}

// From Fit to its results: runners start, trials run, the report is written.
std::vector<Sample> TuneTrials(const Context& context) {
  Context copy = context;
  const auto runtime = Init(copy.argc, copy.argv);
  const ScratchDirectory directory;
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double value = TrialsPerSecond(directory.path(), i);
    samples.push_back({value, CallsAndSyncsPerSecond(directory.path())});
  }
  return samples;
}

}  // namespace

void AddSweepBenchmarks(std::vector<Benchmark>* all) {
  all->push_back({"tune_trials_per_s", "per s", "an actor call, waited for, and an fdatasync", true, TuneTrials});
}

}  // namespace manta::bench

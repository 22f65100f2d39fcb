// The benchmarks of `manta bench`: each measures one figure and, in the same run, what the machine itself can do.
//
// Each benchmark runs in a fresh process (`manta bench-one NAME`) with an embedded cluster of its own, so that none
// inherits another's state. The figure is the median of its repeats; ratio = value / limit.
#ifndef MANTA_TOOLS_BENCH_BENCH_H_
#define MANTA_TOOLS_BENCH_BENCH_H_

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace manta::bench {

// One repeat: the figure, and the limit measured beside it (none: there is none).
struct Sample {
  double value = 0;
  std::optional<double> limit;
};

struct Context {
  int argc = 0;
  char** argv = nullptr;
  int repeats = 5;
};

struct Benchmark {
  std::string name;
  std::string unit;
  std::string limit;  // what the limit is, for people; empty: none
  bool higher_is_better = false;
  std::function<std::vector<Sample>(const Context&)> run;
};

const std::vector<Benchmark>& AllBenchmarks();

// The parts, one file each.
void AddCallBenchmarks(std::vector<Benchmark>* all);
void AddObjectBenchmarks(std::vector<Benchmark>* all);
void AddProcessBenchmarks(std::vector<Benchmark>* all);
void AddClusterBenchmarks(std::vector<Benchmark>* all);
void AddCollectiveBenchmarks(std::vector<Benchmark>* all);
void AddSearchBenchmarks(std::vector<Benchmark>* all);
void AddMlDataBenchmarks(std::vector<Benchmark>* all);
void AddSweepBenchmarks(std::vector<Benchmark>* all);
void AddServerBenchmarks(std::vector<Benchmark>* all);
void AddTrainBenchmarks(std::vector<Benchmark>* all);

// The verbs of children: `manta bench-limit NAME`, and `manta bench-init` (an embedded cluster from nothing to its
// first actor's first result). Both print one number.
int BenchLimitMain(const std::string& name);
int BenchInitMain(int argc, char** argv);

double Median(std::vector<double> values);

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  double micros() const { return seconds() * 1e6; }
  double millis() const { return seconds() * 1e3; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Runs this program again with `arguments` and gives its stdout; throws when it fails.
std::string RunSelf(const std::vector<std::string>& arguments);

}  // namespace manta::bench

#endif  // MANTA_TOOLS_BENCH_BENCH_H_

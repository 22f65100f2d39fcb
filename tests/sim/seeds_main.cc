// sim_seeds runs many seeds of the simulator in a few threads, and prints what was covered.
//
//   sim_seeds [COUNT [THREADS [FIRST]]]      500 seeds in 2 threads
// Fails on any violation, on a run with fewer than kCallsMin calls or kFaultsMin faults, and on a message that travels
// but was hit too rarely in one of the ways in which it can be hit (tests/sim/faults.h).
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/sim/world.h"

namespace {

using namespace manta;
using namespace manta::sim;

constexpr uint64_t kCallsMin = 1000;
constexpr uint64_t kFaultsMin = 20;
// Below this many seeds the coverage says nothing.
constexpr uint64_t kSeedsForCoverage = 500;

struct Sums {
  std::mutex mutex;
  Coverage coverage;
  FaultCounts faults;
  uint64_t calls = 0, ok = 0, errors = 0, events = 0, messages = 0;
  std::map<std::string, uint64_t> by_workload;
  std::vector<std::string> failures;
};

void Check(const RunReport& report, std::vector<std::string>* failures) {
  const std::string seed =
      "seed " + std::to_string(report.seed) + " (workload " + report.workload + ", faults " + report.mix + "): ";
  for (const std::string& violation : report.violations) failures->push_back(seed + violation);
  if (!report.violations.empty()) return;
  if (report.calls < kCallsMin) failures->push_back(seed + "only " + std::to_string(report.calls) + " calls");
  if (report.faults.total() < kFaultsMin)
    failures->push_back(seed + "only " + std::to_string(report.faults.total()) + " faults");
}

unsigned long long Ull(uint64_t number) { return number; }

}  // namespace

int main(int argc, char** argv) {
  const uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 500;
  const uint64_t threads = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 2;
  const uint64_t first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  Sums sums;
  std::atomic<uint64_t> next{first};
  const auto start = std::chrono::steady_clock::now();
  const auto work = [&] {
    for (uint64_t seed = next++; seed < first + count; seed = next++) {
      RunOptions options;
      options.seed = seed;
      options.calls_min = kCallsMin;
      options.faults_min = kFaultsMin;
      const RunReport report = World(options).Run();
      const std::lock_guard<std::mutex> lock(sums.mutex);
      Check(report, &sums.failures);
      sums.coverage.Add(report.coverage);
      sums.faults.Add(report.faults);
      sums.calls += report.calls;
      sums.ok += report.ok;
      sums.errors += report.errors;
      sums.events += report.events;
      sums.messages += report.messages;
      ++sums.by_workload[report.workload + " x " + report.mix];
    }
  };
  std::vector<std::thread> workers;
  for (uint64_t i = 0; i < threads; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::printf("%s\n", sums.coverage.Table().c_str());
  std::printf(
      "%llu seeds in %.1f s (%.1f per second): %llu calls, %llu handles ok, %llu with an error, %llu messages, %llu "
      "events\n",
      Ull(count), took, static_cast<double>(count) / took, Ull(sums.calls), Ull(sums.ok), Ull(sums.errors),
      Ull(sums.messages), Ull(sums.events));
  std::printf("faults: %s\n", sums.faults.ToString().c_str());
  if (count >= kSeedsForCoverage) {
    for (const std::string& cell : sums.coverage.EmptyCells())
      sums.failures.push_back("did not happen often enough: " + cell);
  }
  for (size_t i = 0; i < sums.failures.size() && i < 40; ++i) std::printf("FAILED: %s\n", sums.failures[i].c_str());
  if (!sums.failures.empty())
    std::printf("%zu failures; replay one with: sim --seed N --trace\n", sums.failures.size());
  return sums.failures.empty() ? 0 : 1;
}

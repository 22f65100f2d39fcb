// sim replays one seed of the simulator, or runs a range of them.
//
//   sim --seed 17 --trace               what happened, line by line, and the violations
//   sim --seeds 1..500                  as the test does, in one thread
//   sim --seed 17 --workload refs --mix workers --mutant session.dedup
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/rule.h"
#include "tests/sim/world.h"

namespace {

using namespace manta;
using namespace manta::sim;

void Print(const RunReport& report) {
  std::printf(
      "seed %llu workload %s mix %s: hash %016llx, %llu calls, %llu ok, %llu errors, %llu faults (%s), %llu events, "
      "%llu messages, %s of virtual time\n",
      static_cast<unsigned long long>(report.seed), report.workload.c_str(), report.mix.c_str(),
      static_cast<unsigned long long>(report.hash), static_cast<unsigned long long>(report.calls),
      static_cast<unsigned long long>(report.ok), static_cast<unsigned long long>(report.errors),
      static_cast<unsigned long long>(report.faults.total()), report.faults.ToString().c_str(),
      static_cast<unsigned long long>(report.events), static_cast<unsigned long long>(report.messages),
      ToString(report.virtual_time).c_str());
  for (const auto& [code, count] : report.errors_by_code) {
    std::printf("  error %d: %llu\n", static_cast<int>(code), static_cast<unsigned long long>(count));
  }
  for (const std::string& violation : report.violations) std::printf("VIOLATION: %s\n", violation.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  RunOptions options;
  uint64_t first = 1, last = 1;
  bool brief = false;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : "";
    if (arg == "--seed") {
      first = last = std::strtoull(value, nullptr, 10);
      ++i;
    } else if (arg == "--seeds") {
      char* rest = nullptr;
      first = std::strtoull(value, &rest, 10);
      last = std::strtoull(rest + std::strspn(rest, "."), nullptr, 10);
      ++i;
      brief = true;
    } else if (arg == "--workload") {
      options.workload = FindWorkload(value);
      if (options.workload == nullptr) {
        std::fprintf(stderr, "there is no workload '%s'; there are:", value);
        for (const Workload& workload : Workloads()) std::fprintf(stderr, " %s", workload.name);
        std::fprintf(stderr, "\n");
        return 2;
      }
      ++i;
    } else if (arg == "--mix") {
      for (const FaultMix& mix : FaultMixes()) {
        if (std::string(mix.name) == value) options.mix = &mix;
      }
      if (options.mix == nullptr) {
        std::fprintf(stderr, "there is no mix of faults '%s'; there are:", value);
        for (const FaultMix& mix : FaultMixes()) std::fprintf(stderr, " %s", mix.name);
        std::fprintf(stderr, "\n");
        return 2;
      }
      ++i;
    } else if (arg == "--calls") {
      options.calls_min = std::strtoull(value, nullptr, 10);
      ++i;
    } else if (arg == "--trace") {
      options.trace = stdout;
#ifdef MANTA_MUTANTS
    } else if (arg == "--mutant") {
      base::SetActiveMutant(value);
      ++i;
#endif
    } else {
      std::fprintf(stderr,
                   "usage: sim [--seed N | --seeds N..M] [--workload NAME] [--mix NAME] [--calls N] [--trace]%s\n",
#ifdef MANTA_MUTANTS
                   " [--mutant RULE]"
#else
                   ""
#endif
      );
      return 2;
    }
  }
  int failed = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    options.seed = seed;
    World world(options);
    const RunReport report = world.Run();
    if (!brief || !report.violations.empty()) Print(report);
    if (!report.violations.empty()) ++failed;
  }
  if (brief) std::printf("%llu seeds, %d failed\n", static_cast<unsigned long long>(last - first + 1), failed);
  return failed == 0 ? 0 : 1;
}

// Random interleavings of real process cores, with workers that die at any step: see process_world.h.
#include <cstdint>
#include <cstdlib>

#include "gtest/gtest.h"
#include "runtime/worker/process_world.h"

namespace manta::runtime {
namespace {

// MANTA_SEED and MANTA_SEEDS choose what is run.
uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(ProcessCoreRandom, EachCallEndsOnceAndNothingIsLeft) {
  const uint64_t first = Setting("MANTA_SEED", 1);
  const uint64_t seeds = Setting("MANTA_SEEDS", 60);
  uint64_t calls = 0, deaths = 0, completed = 0;
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    ProcessWorld world(seed);
    for (int step = 0; step < 4000 && world.violations().empty(); ++step) world.Step();
    if (world.violations().empty()) world.Settle();
    for (const std::string& violation : world.violations()) ADD_FAILURE() << "seed " << seed << ": " << violation;
    if (!world.violations().empty()) break;
    calls += world.calls();
    deaths += world.deaths();
    completed += world.completed();
  }
  if (HasFailure()) return;
  EXPECT_GT(calls, 100 * seeds) << "the world does nothing";
  EXPECT_GT(deaths, 2 * seeds);
  EXPECT_GT(completed, 50 * seeds);
}

}  // namespace
}  // namespace manta::runtime

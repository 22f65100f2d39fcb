// main of the tests in this folder: a Manta program whose driver is a test or a scenario.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "manta/manta.h"
#include "tests/embedded/story.h"

// A process that writes into a view dies by SIGSEGV under a sanitizer, too.
extern "C" const char* __asan_default_options() { return "handle_segv=0"; }
extern "C" const char* __tsan_default_options() { return "handle_segv=0"; }

// In a forked child the other threads are gone, and what only they point to looks leaked.
const pid_t first_process = getpid();
extern "C" int __lsan_is_turned_off() { return getpid() != first_process; }

int main(int argc, char** argv) {
  // Node, zygote and workers of this program: Init does not return.
  if (std::getenv("MANTA_INTERNAL_ROLE") != nullptr) {
    const manta::Runtime runtime = manta::Init(argc, argv);
    std::fprintf(stderr, "Init returned in a process that Manta started\n");
    return 98;
  }
  try {
    if (const std::optional<int> status = manta::embedded::RunScenario(argc, argv)) return *status;
  } catch (const manta::Error& error) {
    manta::embedded::Say("threw " + std::to_string(static_cast<int>(error.code())) + " " + error.what());
    return 97;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "api/api_test.h"

namespace manta::api_test {
namespace {

std::vector<std::string> own_flags;  // --manta-*, which Init removes
Runtime runtime;

int Forever() {
  for (;;) std::this_thread::sleep_for(1h);
}

}  // namespace

void StartRuntime() {
  std::vector<std::string> args = {"api_test"};
  args.insert(args.end(), own_flags.begin(), own_flags.end());
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  runtime = Init(argc, argv.data(), {.num_cpus = 2, .resources = {{"token", 1}}, .store_memory_bytes = kStoreBytes});
}

void StopRuntime() { runtime = Runtime(); }

}  // namespace manta::api_test

bool worker_was_started = false;

int main(int argc, char** argv) {
  using namespace manta::api_test;
  manta::OnWorkerStart([] { worker_was_started = true; });
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--manta-", 8) == 0) own_flags.push_back(argv[i]);
  }
  // --wait: for the test of Ctrl-C, a program that waits for a task that never ends.
  const bool wait = argc > 1 && std::strcmp(argv[1], "--wait") == 0;
  bool list_only = false;
  for (int i = 1; i < argc; ++i) list_only = list_only || std::strcmp(argv[i], "--gtest_list_tests") == 0;
  if (!list_only) StartRuntime();
  if (wait) {
    auto ref = manta::Task<&Forever>().Remote();
    std::puts("waiting");
    std::fflush(stdout);
    return manta::Get(ref);
  }
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  StopRuntime();
  return result;
}

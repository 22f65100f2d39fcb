// The runtime itself: Init, Shutdown, fork, Ctrl-C.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "api/api_test.h"

namespace manta::api_test {
namespace {

int InitWith(std::vector<std::string> args, const Options& options = {}) {
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  int argc = static_cast<int>(argv.size());
  argv.push_back(nullptr);
  Runtime second = Init(argc, argv.data(), options);
  return argc;
}

TEST(Init, IsForOneRuntimeAtATime) {
  EXPECT_THROW(InitWith({"program"}), InvalidArgumentError);
  EXPECT_EQ(Get(Put(1)), 1);
}

TEST(Init, RemovesItsFlagsAndRefusesUnknownOnes) {
  StopRuntime();
  EXPECT_EQ(InitWith({"program", "--mine", "--manta-local", "--manta-num-cpus=1", "file"}), 3);
  EXPECT_THROW(InitWith({"program", "--manta-lokal"}), InvalidArgumentError);
  EXPECT_THROW(InitWith({"program", "--manta-local", "--manta-num-cpus=-1"}), InvalidArgumentError);
  EXPECT_THROW(InitWith({"program", "--manta-local"}, {.num_cpus = -1}), InvalidArgumentError);
  EXPECT_THROW(InitWith({"program", "--manta-local"}, {.resources = {{"x", -1}}}), InvalidArgumentError);
  EXPECT_THROW(InitWith({"program", "--manta-local"}, {.store_memory_bytes = 1}), InvalidArgumentError);
  StartRuntime();
  EXPECT_EQ(Get(Put(1)), 1);
}

TEST(Shutdown, EndsRefsAndTheApiUntilTheNextInit) {
  ObjectRef<int> old = Put(1);
  auto old_actor = Actor<Gate>().Remote();
  Tensor old_tensor = Get(Put(Tensor::From(std::vector<int>(10'000, 3))));
  Tensor unsealed = Create<int>({10'000});
  StopRuntime();
  EXPECT_THROW(Put(1), ShutdownError);
  EXPECT_THROW(Get(old), ShutdownError);
  EXPECT_THROW(CurrentContext(), ShutdownError);
  EXPECT_EQ(old_tensor.values<int>()[9'999], 3);  // memory that is looked at stays
  StartRuntime();
  EXPECT_THROW(Get(old), InvalidArgumentError);
  EXPECT_THROW(Wait(std::vector<ObjectRef<int>>{old}), InvalidArgumentError);
  EXPECT_THROW(old_actor.Call<&Gate::Open>().Remote(), InvalidArgumentError);
  EXPECT_THROW(Task<[](int x) { return x; }>().Remote(old), InvalidArgumentError);
  EXPECT_EQ(Get(Put(old_tensor)).values<int>()[9'999], 3);
  unsealed.mutable_data<int>()[9'999] = 4;
  EXPECT_EQ(Get(Put(unsealed)).values<int>()[9'999], 4);
  EXPECT_EQ(Get(Task<[](int x) { return x; }>().Remote(2)), 2);
}

TEST(Shutdown, CancelsWhatHasNotBegun) {
  auto never = Task<[] {}>().Resources({{"unobtainium", 1}}).Remote();
  auto behind =
      Task<[](int x) { return x; }>().Remote(Task<[] { return 1; }>().Resources({{"unobtainium", 1}}).Remote());
  StopRuntime();
  StartRuntime();
}

int NestedShutdown() {
  Shutdown();
  return 1;
}

TEST(Shutdown, IsTheDriversAlone) {
  EXPECT_THAT(ErrorOf<TaskError>(Task<&NestedShutdown>().Remote()).type(), HasSubstr("InvalidArgumentError"));
}

TEST(Drain, WaitsForAllCalls) {
  auto gate = Actor<Gate>().Remote();
  Get(gate.Call<&Gate::IsOpen>().Remote());
  ObjectRef<int> slow = Task<&PassGate>().Remote(gate, 1);
  EXPECT_FALSE(Drain(20ms));
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_TRUE(Drain(kLong));
  EXPECT_EQ(Get(slow, 0s), 1);
  EXPECT_TRUE(Drain());
}

TEST(Fork, LeavesTheApiToTheParent) {
  ObjectRef<int> ref = Put(1);
  const pid_t child = fork();
  if (child == 0) {
    ObjectRef<int> copy = ref;
    int refused = 0;
    const auto expect_refused = [&](auto call) {
      try {
        call();
      } catch (const ShutdownError&) {
        ++refused;
      }
    };
    expect_refused([&] { Get(copy); });
    expect_refused([&] { Put(1); });
    expect_refused([&] { Task<[] {}>().Remote(); });
    expect_refused([&] { InitWith({"program", "--manta-local"}); });
    copy = ObjectRef<int>();
    ref = ObjectRef<int>();  // dropping is no API call
    _exit(refused);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 4);
  EXPECT_EQ(Get(ref), 1);
}

// This program again, with --wait: its main waits for a task that never ends.
class WaitingProgram {
 public:
  WaitingProgram() {
    int out[2];
    if (pipe(out) != 0) return;
    const std::string flag = IsLocal() ? "--manta-local" : "--manta-num-cpus=1";
    pid_ = fork();
    if (pid_ == 0) {
      dup2(out[1], STDOUT_FILENO);
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDERR_FILENO);
      execl("/proc/self/exe", "api_test", "--wait", flag.c_str(), nullptr);
      _exit(127);
    }
    close(out[1]);
    char byte;
    while (read(out[0], &byte, 1) == 1 && byte != '\n') {
    }
    close(out[0]);
  }
  void Interrupt() const { kill(pid_, SIGINT); }
  int Wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return status;
  }

 private:
  pid_t pid_ = 0;
};

TEST(Interrupt, EndsTheProgramBySigint) {
  WaitingProgram program;
  const auto start = std::chrono::steady_clock::now();
  program.Interrupt();
  const int status = program.Wait();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << "status " << status;
  EXPECT_LT(std::chrono::steady_clock::now() - start, 30s);
}

TEST(Interrupt, EndsItAtOnceWhenItComesTwice) {
  WaitingProgram program;
  const auto start = std::chrono::steady_clock::now();
  program.Interrupt();
  std::this_thread::sleep_for(20ms);
  program.Interrupt();
  const int status = program.Wait();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << "status " << status;
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

}  // namespace
}  // namespace manta::api_test

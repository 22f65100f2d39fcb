// Starting, ending and idling.
#include <manta/manta.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <thread>

#include "tools/bench/bench.h"
#include "tools/bench/family.h"

extern char** environ;

namespace manta::bench {
namespace {

class Victim {
 public:
  int Pid() { return getpid(); }
  int Sleep() {
    std::this_thread::sleep_for(std::chrono::seconds(60));
    return 0;
  }
};

void SpawnNothing() {
  std::string program = "/proc/self/exe", verb = "bench-nothing";
  char* argv[] = {program.data(), verb.data(), nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv, environ) != 0) throw std::runtime_error("spawn");
  waitpid(pid, nullptr, 0);
}

std::vector<Sample> InitFirstResult(const Context& context) {
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats + 1; ++i) {
    const double millis = std::stod(RunSelf({"bench-init"}));
    const Stopwatch watch;
    SpawnNothing();
    SpawnNothing();
    if (i > 0) samples.push_back({millis, watch.millis()});  // the first run reads the program from disk
  }
  return samples;
}

std::vector<Sample> ActorCreate(const Context& context) {
  constexpr int kActors = 100;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    double rate = 0;
    {
      const Stopwatch watch;
      std::vector<ActorHandle<Victim>> actors;
      std::vector<ObjectRef<int>> pids;
      for (int k = 0; k < kActors; ++k) {
        actors.push_back(Actor<Victim>().NumCpus(0).Remote());
        pids.push_back(actors.back().Call<&Victim::Pid>().Remote());
      }
      Get(pids);
      rate = kActors / watch.seconds();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // they end
    const Stopwatch fork_watch;
    for (int k = 0; k < kActors; ++k) {
      const pid_t child = fork();
      if (child == 0) _exit(0);
      waitpid(child, nullptr, 0);
    }
    samples.push_back({rate, kActors / fork_watch.seconds()});
  }
  return samples;
}

std::vector<Sample> KillWorkerToError(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    auto victim = Actor<Victim>().NumCpus(0).Remote();
    const int pid = Get(victim.Call<&Victim::Pid>().Remote());
    auto asleep = victim.Call<&Victim::Sleep>().Remote();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Stopwatch watch;
    kill(pid, SIGKILL);
    try {
      Get(asleep);
      throw std::runtime_error("the killed actor answered");
    } catch (const ActorDiedError&) {
      samples.push_back({watch.millis(), std::nullopt});
    }
  }
  return samples;
}

std::vector<Sample> RestartToCall(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  auto victim = Actor<Victim>().NumCpus(0).MaxRestarts(-1).MaxTaskRetries(-1).Remote();
  for (int i = 0; i < context.repeats; ++i) {
    const int pid = Get(victim.Call<&Victim::Pid>().Remote());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Stopwatch watch;
    kill(pid, SIGKILL);
    int now = pid;
    while (now == pid) {
      try {
        now = Get(victim.Call<&Victim::Pid>().Remote());
      } catch (const ActorDiedError&) {
      }
    }
    samples.push_back({watch.millis(), std::nullopt});
  }
  return samples;
}

// Kills its worker the first time.
int DieOnce(std::string marker) {
  if (access(marker.c_str(), F_OK) == 0) {
    unlink(marker.c_str());
    kill(getpid(), SIGKILL);
  }
  return 1;
}

std::vector<Sample> TaskRetry(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    std::string marker = "/tmp/manta-bench-XXXXXX";
    const int fd = mkstemp(marker.data());
    if (fd < 0) throw std::runtime_error("mkstemp");
    close(fd);
    const Stopwatch watch;
    Get(Task<&DieOnce>().Remote(marker));
    samples.push_back({watch.millis(), std::nullopt});
    unlink(marker.c_str());
  }
  return samples;
}

// The driver, the daemon, the zygote, and one idle worker that has answered a task.
std::vector<Sample> IdleCpu(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Get(Task<&DieOnce>().Remote("/nowhere"));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const std::set<pid_t> family = FamilyOf({getpid()});
    const double before = CpuSeconds(family);
    const Stopwatch watch;
    std::this_thread::sleep_for(std::chrono::seconds(6));
    samples.push_back({100 * (CpuSeconds(family) - before) / watch.seconds(), std::nullopt});
  }
  return samples;
}

std::vector<Sample> IdlePss(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Get(Task<&DieOnce>().Remote("/nowhere"));
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    samples.push_back({PssMiB(FamilyOf({getpid()})), std::nullopt});
  }
  return samples;
}

}  // namespace

int BenchInitMain(int argc, char** argv) {
  const Stopwatch watch;
  auto runtime = Init(argc, argv);
  auto victim = Actor<Victim>().Remote();
  Get(victim.Call<&Victim::Pid>().Remote());
  std::printf("%.3f\n", watch.millis());
  return 0;
}

void AddProcessBenchmarks(std::vector<Benchmark>* all) {
  all->push_back({"init_first_result", "ms", "exec of this program, twice", false, InitFirstResult});
  all->push_back({"actor_create", "per s", "fork, exit and wait of this process", true, ActorCreate});
  all->push_back({"kill_worker_to_error", "ms", "", false, KillWorkerToError});
  all->push_back({"restart_to_call", "ms", "", false, RestartToCall});
  all->push_back({"task_retry", "ms", "", false, TaskRetry});
  all->push_back({"idle_cpu", "% of a core", "", false, IdleCpu});
  all->push_back({"idle_pss", "MiB", "", false, IdlePss});
}

}  // namespace manta::bench

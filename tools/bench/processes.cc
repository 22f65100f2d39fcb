// Starting, ending and idling.
#include <dirent.h>
#include <manta/manta.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tools/bench/bench.h"

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

// All processes below this one, and itself.
std::set<pid_t> Family() {
  std::map<pid_t, pid_t> parent_of;
  DIR* const proc = opendir("/proc");
  while (const dirent* entry = readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    std::ifstream stat("/proc/" + std::string(entry->d_name) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos) continue;
    std::istringstream fields(text.substr(after_name + 2));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    parent_of[pid] = parent;
  }
  closedir(proc);
  std::set<pid_t> family{getpid()};
  for (bool grown = true; grown;) {
    grown = false;
    for (const auto& [pid, parent] : parent_of) {
      if (family.count(parent) != 0) grown |= family.insert(pid).second;
    }
  }
  return family;
}

double CpuSeconds(const std::set<pid_t>& family) {
  double ticks = 0;
  for (const pid_t pid : family) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text((std::istreambuf_iterator<char>(stat)), {});
    const size_t after_name = text.rfind(')');
    if (after_name == std::string::npos) continue;
    std::istringstream fields(text.substr(after_name + 2));
    std::string skip;
    for (int i = 0; i < 11; ++i) fields >> skip;
    double user = 0, system = 0;
    fields >> user >> system;
    ticks += user + system;
  }
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double PssMiB(const std::set<pid_t>& family) {
  double kib = 0;
  for (const pid_t pid : family) {
    std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(rollup, line);) {
      if (line.rfind("Pss:", 0) == 0) kib += std::atof(line.c_str() + 4);
    }
  }
  return kib / 1024;
}

// The driver, the daemon, the zygote, and one idle worker that has answered a task.
std::vector<Sample> IdleCpu(const Context& context) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  Get(Task<&DieOnce>().Remote("/nowhere"));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const std::set<pid_t> family = Family();
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
    samples.push_back({PssMiB(Family()), std::nullopt});
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

#include "tools/drill/drill.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/random.h"
#include "base/status.h"
#include "base/time.h"
#include "runtime/cluster_files.h"
#include "tools/cluster/start.h"
#include "tools/drill/targets.h"

extern char** environ;

namespace manta::tools {
namespace {

constexpr int kRestartAttemptsMax = 3;
constexpr int kEndedByThemselvesMax = 10;  // of those that one fault was meant for
constexpr Duration kRecoveryMax = std::chrono::seconds(5);
constexpr Duration kLookAgainAfter = std::chrono::milliseconds(20);

struct DrillOptions {
  std::string address;
  std::string state_dir;
  std::string run_dir;
  std::string every = "5s";
  std::string time;
  std::string pause = "2s";
  std::string down = "1s";
  uint64_t seed = 0;
  bool yes = false;
  bool no_restart = false;
};

volatile std::sig_atomic_t interrupted = 0;

// One drill on one cluster: a fault, then a pause, as long as it lasts.
class Drill {
 public:
  struct Times {
    Duration every{};
    Duration whole{};  // 0: one fault
    Duration pause{};  // of a stopped node
    Duration down{};   // before what was killed is started again
  };
  Drill(runtime::ClusterHere cluster, std::string run_dir, Times times, bool restart, uint64_t seed)
      : cluster_(std::move(cluster)), run_dir_(std::move(run_dir)), times_(times), restart_(restart), random_(seed) {}

  using Targets = std::function<std::vector<Target>(const runtime::ClusterHere&)>;
  using Fault = std::function<absl::Status(Drill&, const Target&)>;

  int Run(const Targets& targets, const Fault& fault) {
    const Time end = clock_.Now() + times_.whole;
    do {
      if (count_ + failures_ > 0) Sleep(std::min(times_.every, end - clock_.Now()));
      if (interrupted != 0) break;
      InjectOne(targets, fault);
    } while (clock_.Now() < end && interrupted == 0);
    Summarise();
    return failures_ == 0 ? 0 : kExitFailed;
  }

  absl::Status KillOne(const Target& target) {
    MANTA_RETURN_IF_ERROR(Kill(target));
    Say("killed " + Describe(target));
    return absl::OkStatus();
  }

  absl::Status StopOne(const Target& target) {
    MANTA_RETURN_IF_ERROR(SendTo(target, SIGSTOP));
    Say("stopped " + Describe(target));
    Sleep(times_.pause);
    MANTA_RETURN_IF_ERROR(SendTo(target, SIGCONT));
    Say("continued " + Describe(target));
    return absl::OkStatus();
  }

  // By the command that it was started with.
  absl::Status KillNode(const Target& target) {
    const Command command = CommandOf(target.pid);
    MANTA_RETURN_IF_ERROR(KillOne(target));
    if (!restart_) return absl::OkStatus();
    Sleep(times_.down);
    return StartAgain(target, command);
  }

  absl::Status KillHead(const Target& target) {
    MANTA_RETURN_IF_ERROR(KillOne(target));
    if (!restart_) return absl::OkStatus();
    Sleep(times_.down);
    const size_t colon = cluster_.address.rfind(':');
    return StartAgain(target, {{Self(), "start", "--head", "--host=" + cluster_.address.substr(0, colon),
                                "--port=" + cluster_.address.substr(colon + 1), "--state-dir=" + cluster_.state_dir},
                               "/"});
  }

 private:
  struct Command {
    std::vector<std::string> words;
    std::string directory;  // that its relative paths begin at
  };

  static std::string Self() { return std::filesystem::read_symlink("/proc/self/exe").string(); }
  static std::string Describe(const Target& target) {
    return target.name + " (pid " + std::to_string(target.pid) + ")";
  }

  static Command CommandOf(pid_t pid) {
    const std::string process = "/proc/" + std::to_string(pid);
    std::ifstream file(process + "/cmdline", std::ios::binary);
    Command command;
    for (std::string word; std::getline(file, word, '\0');) command.words.push_back(word);
    if (!command.words.empty()) command.words[0] = Self();
    std::error_code gone;
    command.directory = std::filesystem::read_symlink(process + "/cwd", gone).string();
    return command;
  }

  void InjectOne(const Targets& targets, const Fault& fault) {
    // What the last fault has killed takes a moment to come back, and who was about to be hit may end by himself.
    Time give_up_at = clock_.Now() + (count_ > 0 ? kRecoveryMax : Duration::zero());
    int ended_by_themselves = 0;
    while (true) {
      const std::vector<Target> found = targets(LookAtCluster());
      if (found.empty()) {
        if (clock_.Now() >= give_up_at || interrupted != 0) return Fail("there is nobody to hit just now");
        Sleep(kLookAgainAfter);
        continue;
      }
      const Target& target = found[random_.Uniform(found.size())];
      const absl::Status injected = fault(*this, target);
      if (injected.ok()) break;
      if (!absl::IsNotFound(injected) || ++ended_by_themselves > kEndedByThemselvesMax) {
        return Fail(Describe(target) + ": " + base::Message(injected));
      }
      give_up_at = clock_.Now() + kRecoveryMax;
    }
    ++count_;
  }

  const runtime::ClusterHere& LookAtCluster() {
    for (const runtime::ClusterHere& now : runtime::ClustersHere(run_dir_)) {
      if (now.cluster_id == cluster_.cluster_id) cluster_ = now;
    }
    return cluster_;
  }

  absl::Status StartAgain(const Target& target, Command command) {
    std::vector<std::string>& words = command.words;
    if (words.size() < 2 || words[1] != "start") return absl::InternalError("it was not started by `manta start`");
    std::erase(words, "--block");
    setenv("MANTA_RUN_DIR", run_dir_.c_str(), 1);
    int status = 0;
    for (int attempt = 0; attempt < kRestartAttemptsMax; ++attempt) {
      const Time before = clock_.Now();
      MANTA_ASSIGN_OR_RETURN(status, RunToEnd(command));
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        Say("started " + target.name + " again in " + ToString(clock_.Now() - before));
        return absl::OkStatus();
      }
    }
    return absl::UnavailableError("it could not be started again: " + words[1] + " ended with status " +
                                  std::to_string(WEXITSTATUS(status)));
  }

  static absl::StatusOr<int> RunToEnd(Command& command) {
    std::vector<char*> words;
    for (std::string& word : command.words) words.push_back(word.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, command.directory.c_str());
    pid_t pid = 0;
    const int error = posix_spawn(&pid, words[0], &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return base::ErrnoStatus(error, "start " + command.words[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
  }

  // Ends early when the person has had enough.
  void Sleep(Duration time) const {
    const Time end = clock_.Now() + time;
    while (clock_.Now() < end && interrupted == 0) {
      std::this_thread::sleep_for(std::min<Duration>(end - clock_.Now(), std::chrono::milliseconds(20)));
    }
  }

  void Say(const std::string& what) const {
    const std::time_t now = std::time(nullptr);
    char text[16];
    std::strftime(text, sizeof text, "%H:%M:%S", std::localtime(&now));
    std::cout << text << "  " << what << std::endl;
  }
  void Fail(const std::string& why) {
    ++failures_;
    Say("no fault: " + why);
  }
  void Summarise() const {
    std::cout << count_ << (count_ == 1 ? " fault" : " faults") << " in " << ToString(clock_.Now() - begin_);
    if (failures_ > 0) std::cout << "; " << failures_ << " could not be injected";
    std::cout << std::endl;
  }

  const base::SystemClock clock_;
  runtime::ClusterHere cluster_;
  const std::string run_dir_;
  const Times times_;
  const bool restart_;
  base::Rng random_;
  const Time begin_ = clock_.Now();
  int count_ = 0;
  int failures_ = 0;
};

absl::StatusOr<runtime::ClusterHere> FindHere(const DrillOptions& options, const std::string& run_dir) {
  std::vector<runtime::ClusterHere> clusters = runtime::ClustersHere(run_dir);
  std::erase_if(clusters, [&](const runtime::ClusterHere& cluster) {
    return (!options.address.empty() && cluster.address != options.address) ||
           (!options.state_dir.empty() && cluster.state_dir != options.state_dir);
  });
  if (clusters.empty()) {
    return base::Error(absl::StatusCode::kNotFound, "no such cluster runs on this machine (looked in " + run_dir + ")");
  }
  if (clusters.size() == 1) return clusters.front();
  std::string list;
  for (const runtime::ClusterHere& cluster : clusters) list += "\n  " + cluster.address;
  return base::Error(absl::StatusCode::kInvalidArgument,
                     "several clusters run on this machine: choose one with --address:" + list);
}

absl::StatusOr<Drill::Times> TimesOf(const DrillOptions& options) {
  Drill::Times times;
  const std::pair<const std::string*, Duration*> all[] = {
      {&options.every, &times.every}, {&options.pause, &times.pause}, {&options.down, &times.down}};
  for (const auto& [text, time] : all) {
    MANTA_ASSIGN_OR_RETURN(*time, base::ParseDuration(*text));
  }
  if (!options.time.empty()) {
    MANTA_ASSIGN_OR_RETURN(times.whole, base::ParseDuration(options.time));
  }
  return times;
}

bool IsAgreed(const std::string& what, const runtime::ClusterHere& cluster) {
  std::cout << "This will " << what << " of the cluster at " << cluster.address
            << ". Programs that run on it may fail. Go on? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

struct Kind {
  const char* name;
  const char* help;
  const char* what;
  Drill::Targets targets;
  Drill::Fault fault;
};

std::vector<Kind> Kinds() {
  return {{"kill-worker", "Kill a worker, any of them (SIGKILL)", "kill workers", &WorkersOf, &Drill::KillOne},
          {"kill-node", "Kill a node's daemon, and start it again", "kill nodes", &NodesOf, &Drill::KillNode},
          {"stop-node", "Stop a node's daemon for a while (SIGSTOP), and let it go on", "stop nodes", &NodesOf,
           &Drill::StopOne},
          {"kill-head", "Kill the head, and start it again", "kill the head", &HeadOf, &Drill::KillHead},
          {"kill-redis", "Kill the head's own redis-server; the head starts it again", "kill the redis-server",
           &RedisOf, &Drill::KillOne}};
}

int RunDrill(const DrillOptions& options, const Kind& kind) {
  const auto fail = [](const absl::Status& why) {
    std::cerr << "manta drill: " << base::Message(why) << "\n";
    if (absl::IsNotFound(why)) return kExitNoCluster;
    return absl::IsInvalidArgument(why) ? kExitUsage : kExitFailed;
  };
  const absl::StatusOr<Drill::Times> times = TimesOf(options);
  if (!times.ok()) return fail(times.status());
  const absl::StatusOr<std::string> run_dir = runtime::RunDirectory(options.run_dir);
  if (!run_dir.ok()) return fail(run_dir.status());
  const absl::StatusOr<runtime::ClusterHere> cluster = FindHere(options, *run_dir);
  if (!cluster.ok()) return fail(cluster.status());
  if (!options.yes && !IsAgreed(kind.what, *cluster)) {
    std::cerr << "manta drill: nothing was done\n";
    return kExitFailed;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { interrupted = 1; });
  return Drill(*cluster, *run_dir, *times, !options.no_restart, options.seed).Run(kind.targets, kind.fault);
}

void AddCommonOptions(CLI::App* verb, DrillOptions* options) {
  verb->add_option("--address", options->address, "The cluster whose head is at this address")
      ->envname("MANTA_ADDRESS")
      ->type_name("HOST:PORT");
  verb->add_option("--state-dir", options->state_dir, "The cluster of this state directory")->type_name("DIR");
  verb->add_option("--run-dir", options->run_dir, "Where its sockets are")->envname("MANTA_RUN_DIR")->type_name("DIR");
  verb->add_option("--for", options->time, "How long to go on (default: one fault)")->type_name("TIME");
  verb->add_option("--every", options->every, "Time between two faults (default 5s)")->type_name("TIME");
  verb->add_option("--seed", options->seed, "Which of several is hit; the same again with the same seed");
  verb->add_flag("--yes", options->yes, "Do not ask");
}

}  // namespace

void AddDrillVerb(CLI::App* app, int* status) {
  auto options = std::make_shared<DrillOptions>();
  CLI::App* drill = app->add_subcommand("drill", "Kill and stop parts of a cluster on this machine, to see what holds");
  drill->require_subcommand(1);
  for (const Kind& kind : Kinds()) {
    CLI::App* verb = drill->add_subcommand(kind.name, kind.help);
    AddCommonOptions(verb, options.get());
    const std::string name = kind.name;
    if (name == "stop-node") {
      verb->add_option("--pause", options->pause, "How long it is stopped (default 2s; from 3s on it counts as dead)")
          ->type_name("TIME");
    }
    if (name == "kill-node" || name == "kill-head") {
      verb->add_option("--down", options->down, "How long until it is started again (default 1s)")->type_name("TIME");
      verb->add_flag("--no-restart", options->no_restart, "Leave it dead");
    }
    verb->footer("Example:\n  manta drill " + name + " --every=10s --for=2m --yes");
    verb->callback([options, kind, status] { *status = RunDrill(*options, kind); });
  }
  drill->footer(
      "Example:\n  manta drill kill-worker --every=5s --for=1m\nExit status: 0 done, 1 failed, 2 usage, 3 no cluster.");
}

}  // namespace manta::tools

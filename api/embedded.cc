#include "api/embedded.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "base/process.h"
#include "base/socket.h"
#include "base/uv_event_loop.h"
#include "runtime/cluster_files.h"
#include "runtime/head/head_shell.h"
#include "runtime/node/daemon.h"
#include "runtime/node/spawn.h"
#include "runtime/node/zygote.h"

namespace manta::internal {
namespace {

constexpr int kChildSocket = 3;
constexpr auto kEndTimeout = std::chrono::seconds(2);

// A run directory's name is its driver's pid and start time; one whose driver is gone is stale.
bool IsStale(const std::string& name) {
  long pid = 0;
  unsigned long long start = 0;
  if (std::sscanf(name.c_str(), "run-%ld-%llu", &pid, &start) != 2) return false;
  absl::StatusOr<base::ProcessStat> stat = base::ReadProcessStat(static_cast<pid_t>(pid));
  return !stat.ok() || stat->start_time_ticks != start;
}

void RemoveStale(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    std::error_code ignored;
    if (IsStale(entry.path().filename().string())) std::filesystem::remove_all(entry.path(), ignored);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> EnvironmentOf(const base::Config& config) {
  std::vector<std::pair<std::string, std::string>> environment;
  for (const auto& [name, value] : config.ToMap()) {
    if (value.empty()) continue;
    std::string variable = "MANTA_";
    for (const char c : name) variable.push_back(c == '-' ? '_' : static_cast<char>(std::toupper(c)));
    environment.emplace_back(std::move(variable), value);
  }
  return environment;
}

std::vector<std::string> OwnCommandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  if (arguments.empty()) arguments.emplace_back("manta");
  return arguments;
}

absl::StatusOr<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::Start(const base::Config& config) {
  std::unique_ptr<EmbeddedCluster> cluster(new EmbeddedCluster);
  MANTA_ASSIGN_OR_RETURN(const std::string parent, runtime::RunDirectory(config.run_dir));
  RemoveStale(parent);
  MANTA_ASSIGN_OR_RETURN(const base::ProcessStat self, base::ReadProcessStat(getpid()));
  static int started = 0;  // an Init after a Shutdown has a directory of its own
  cluster->run_dir_ = parent + "/run-" + std::to_string(getpid()) + "-" + std::to_string(self.start_time_ticks) + "-" +
                      std::to_string(++started);
  if (mkdir(cluster->run_dir_.c_str(), 0700) != 0) {
    return base::ErrnoStatus(errno, "make the run directory " + cluster->run_dir_);
  }
  cluster->owns_run_dir_ = true;
  const std::string log_dir = config.log_dir.empty() ? cluster->run_dir_ + "/logs" : config.log_dir;
  std::error_code error;
  std::filesystem::create_directories(log_dir, error);
  if (error) return base::ErrnoStatus(error.value(), "make the log directory " + log_dir);
  cluster->log_dir_ = log_dir;

  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  base::UniqueFd program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program) return base::ErrnoStatus(errno, "open /proc/self/exe (is /proc mounted?)");
  runtime::SpawnSpec spawn;
  spawn.program = program.get();
  spawn.argv = OwnCommandLine();
  spawn.environment = {{runtime::kRoleVariable, runtime::RoleName(runtime::ProcessRole::kEmbeddedCluster)},
                       {runtime::kSocketVariable, std::to_string(kChildSocket)},
                       {runtime::kDetailVariable, cluster->run_dir_ + "\n" + log_dir}};
  for (auto& entry : EnvironmentOf(config)) spawn.environment.push_back(std::move(entry));
  spawn.pass = {{pair.second.get(), kChildSocket}};
  MANTA_ASSIGN_OR_RETURN(runtime::SpawnedProcess child, runtime::SpawnProgram(spawn));
  cluster->pid_ = child.pid;
  cluster->pidfd_ = std::move(child.pidfd);
  cluster->socket_ = std::move(pair.first);
  return cluster;
}

EmbeddedCluster::~EmbeddedCluster() { End(); }

void EmbeddedCluster::End() {
  socket_.reset();
  if (pid_ != 0) {
    pollfd ended{pidfd_.get(), POLLIN, 0};
    if (poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(kEndTimeout).count())) <= 0) {
      MANTA_LOG(kWarning) << "the embedded cluster did not end in time and is killed";
      (void)base::SendSignal(pidfd_.get(), SIGKILL);
    }
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
    pidfd_.reset();
  }
  if (owns_run_dir_) {
    std::error_code ignored;
    std::filesystem::remove_all(run_dir_, ignored);
    owns_run_dir_ = false;
  }
}

void RunEmbeddedCluster(base::UniqueFd socket, const std::string& detail, int argc, char** argv) {
  const size_t split = detail.find('\n');
  const std::string run_dir = detail.substr(0, split);
  const std::string log_dir = split == std::string::npos ? run_dir : detail.substr(split + 1);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "manta-node");
  absl::StatusOr<base::Config> config = base::Config::FromArgs(&argc, argv);
  if (!config.ok()) {
    std::fprintf(stderr, "manta: %s\n", base::Message(config.status()).c_str());
    _exit(2);
  }
  (void)base::Log::Open(log_dir + "/node-" + std::to_string(getpid()) + ".log", "node", config->log_level);

  base::UvEventLoop loop;
  runtime::DaemonSpec spec;
  spec.node.name = "embedded";
  spec.log_dir = log_dir;
  spec.argv = OwnCommandLine();
  absl::Status filled = runtime::FillNodeOptions(*config, &spec.node);
  if (!filled.ok()) {
    std::fprintf(stderr, "manta: %s\n", base::Message(filled).c_str());
    _exit(2);
  }
  spec.driver_socket = std::move(socket);
  spec.on_driver_gone = [&loop] { loop.Stop(); };
  std::unique_ptr<runtime::Daemon> daemon;
  runtime::HeadShell head(
      &loop, {.embedded = true}, std::make_unique<runtime::MemoryKvStore>(), [&](NodeId, rpc::Message message) {
        // Never inside the daemon's own turn.
        loop.Post([&, message = std::move(message)]() mutable { daemon->ReceiveFromHead(std::move(message)); });
      });
  spec.send_to_head = [&](rpc::Message message) {
    loop.Post([&, message = std::move(message)]() mutable {
      if (auto* registration = std::get_if<rpc::NodeRegister>(&message)) {
        head.Register(std::move(*registration), [&](rpc::NodeAccepted accepted) {
          loop.Post([&, accepted] { daemon->ReceiveFromHead(accepted); });
        });
      } else {
        head.Receive(daemon->node(), std::move(message));
      }
    });
  };
  absl::StatusOr<std::unique_ptr<runtime::Daemon>> made = runtime::Daemon::Create(&loop, std::move(spec));
  if (!made.ok()) {
    std::fprintf(stderr, "manta: the node could not start: %s\n", base::Message(made.status()).c_str());
    _exit(1);
  }
  daemon = *std::move(made);
  daemon->Start();
  loop.Run();
  daemon->KillAll();
  std::error_code ignored;
  std::filesystem::remove_all(run_dir, ignored);
  _exit(0);
}

}  // namespace manta::internal

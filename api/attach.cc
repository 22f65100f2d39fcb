#include "api/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "api/embedded.h"
#include "base/log.h"
#include "base/process.h"
#include "base/socket.h"
#include "runtime/cluster_files.h"
#include "runtime/daemon_process.h"
#include "runtime/node/daemon.h"
#include "runtime/node/node_main.h"
#include "runtime/node/zygote.h"

namespace manta::internal {
namespace {

constexpr int kChildSocket = 3;
constexpr int kChildReady = 4;
constexpr auto kNodeStartTimeout = std::chrono::seconds(5);
constexpr int kNodeEndMs = 2000;

runtime::FindOptions FindOptionsOf(const base::Config& config) {
  return {config.address, config.state_dir, config.secret_file, config.run_dir};
}

// A node of that cluster on this machine that takes drivers: the head's own first.
absl::StatusOr<base::UniqueFd> ConnectToNodeHere(const std::string& cluster_run_dir) {
  absl::Status last = absl::NotFoundError("no node of it runs on this machine");
  for (const runtime::DaemonFile& daemon : runtime::LiveDaemons(cluster_run_dir)) {
    if (daemon.is_head || daemon.of_driver) continue;
    absl::StatusOr<base::UniqueFd> socket = base::ConnectUnix(daemon.socket, base::SocketKind::kSeqPacket);
    if (socket.ok()) return socket;
    last = socket.status();
  }
  return last;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AttachedNode>> AttachedNode::Attach(const base::Config& config) {
  MANTA_ASSIGN_OR_RETURN(const runtime::ClusterIdentity cluster, runtime::FindCluster(FindOptionsOf(config)));
  MANTA_ASSIGN_OR_RETURN(const std::string run_dir, runtime::RunDirectory(config.run_dir));
  std::unique_ptr<AttachedNode> node(new AttachedNode);
  node->log_dir_ = config.log_dir.empty() ? cluster.state_dir + "/logs" : config.log_dir;
  absl::StatusOr<base::UniqueFd> socket = ConnectToNodeHere(runtime::ClusterRunDirectory(run_dir, cluster.cluster_id));
  if (socket.ok()) {
    node->socket_ = *std::move(socket);
  } else {
    MANTA_LOG(kInfo) << base::Message(socket.status()) << "; a node of this program's own is started";
    MANTA_RETURN_IF_ERROR(node->StartOwnNode(config));
  }
  return node;
}

absl::Status AttachedNode::StartOwnNode(const base::Config& config) {
  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return base::ErrnoStatus(errno, "pipe");
  base::UniqueFd reader(ends[0]), writer(ends[1]);
  base::UniqueFd program(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!program) return base::ErrnoStatus(errno, "open /proc/self/exe (is /proc mounted?)");
  runtime::SpawnSpec spawn;
  spawn.program = program.get();
  spawn.argv = OwnCommandLine();
  spawn.environment = EnvironmentOf(config);
  spawn.environment.emplace_back(runtime::kRoleVariable, runtime::RoleName(runtime::ProcessRole::kNode));
  spawn.environment.emplace_back(runtime::kSocketVariable, std::to_string(kChildSocket));
  spawn.environment.emplace_back(runtime::kDetailVariable, "driver-" + std::to_string(getpid()));
  spawn.pass = {{pair.second.get(), kChildSocket}, {writer.get(), kChildReady}};
  MANTA_ASSIGN_OR_RETURN(own_node_, runtime::SpawnProgram(spawn));
  writer.reset();
  const absl::StatusOr<std::string> ready = runtime::AwaitReady(std::move(reader), kNodeStartTimeout);
  if (!ready.ok()) {
    End();
    return base::Annotate(ready.status(), "join the cluster at " + config.address);
  }
  socket_ = std::move(pair.first);
  return absl::OkStatus();
}

AttachedNode::~AttachedNode() { End(); }

void AttachedNode::End() {
  socket_.reset();
  if (own_node_.pid == 0) return;
  pollfd ended{own_node_.pidfd.get(), POLLIN, 0};
  if (poll(&ended, 1, kNodeEndMs) <= 0) (void)base::SendSignal(own_node_.pidfd.get(), SIGKILL);
  waitpid(own_node_.pid, nullptr, 0);
  own_node_ = {};
}

void RunDriversNode(base::UniqueFd socket, const std::string& detail, int argc, char** argv) {
  runtime::ReadyPipe ready{base::UniqueFd(kChildReady)};
  (void)base::SetCloexec(kChildReady);
  const auto fail = [&ready](const absl::Status& why) {
    ready.Failed(why);
    _exit(1);
  };
  absl::StatusOr<base::Config> config = base::Config::FromArgs(&argc, argv);
  if (!config.ok()) fail(config.status());
  absl::StatusOr<runtime::ClusterIdentity> cluster = runtime::FindCluster(FindOptionsOf(*config));
  if (!cluster.ok()) fail(cluster.status());
  absl::StatusOr<std::string> run_dir = runtime::RunDirectory(config->run_dir);
  if (!run_dir.ok()) fail(run_dir.status());
  runtime::NodeProcessSpec spec;
  spec.cluster = *cluster;
  spec.run_dir = runtime::ClusterRunDirectory(*run_dir, cluster->cluster_id);
  spec.log_dir = cluster->state_dir + "/logs/" + detail;
  std::error_code error;
  std::filesystem::create_directories(spec.log_dir, error);
  if (error) fail(base::ErrnoStatus(error.value(), "make the log directory " + spec.log_dir));
  if (absl::Status filled = runtime::FillNodeOptions(*config, &spec.node); !filled.ok()) fail(filled);
  spec.node.total = config->resources;  // it runs what its driver asks for by name, and no more
  if (config->num_cpus) spec.node.total.Set("CPU", base::Fixed(*config->num_cpus));
  spec.node.name = detail;
  spec.driver_socket = std::move(socket);
  spec.driver_argv = OwnCommandLine();
  spec.ready = std::move(ready);
  _exit(runtime::RunNode(std::move(spec)));
}

}  // namespace manta::internal

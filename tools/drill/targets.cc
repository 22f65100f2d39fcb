#include "tools/drill/targets.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "base/process.h"
#include "base/status.h"
#include "runtime/head/metadata.h"

namespace manta::tools {
namespace {

// What a worker calls itself (api/cluster_connect.cc): "manta-n2.p3", cut to 15 bytes.
constexpr char kWorkerPrefix[] = "manta-n";
constexpr int kEndTimeoutMs = 5000;

std::optional<Target> TargetOf(std::string name, pid_t pid) {
  const absl::StatusOr<base::ProcessStat> stat = base::ReadProcessStat(pid);
  if (!stat.ok() || stat->state == 'Z') return std::nullopt;
  return Target{std::move(name), pid, stat->start_time_ticks};
}

std::string CommandName(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

absl::StatusOr<base::UniqueFd> Open(const Target& target) {
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd pidfd, base::OpenPidfd(target.pid));
  MANTA_ASSIGN_OR_RETURN(const base::ProcessStat stat, base::ReadProcessStat(target.pid));
  if (stat.start_time_ticks != target.start_time_ticks) return absl::NotFoundError("it has ended");
  return pidfd;
}

bool DescendsFrom(pid_t pid, const std::set<pid_t>& ancestors) {
  constexpr int kGenerationsMax = 16;
  for (int i = 0; i < kGenerationsMax && pid > 1; ++i) {
    const absl::StatusOr<base::ProcessStat> stat = base::ReadProcessStat(pid);
    if (!stat.ok()) return false;
    pid = stat->parent;
    if (ancestors.contains(pid)) return true;
  }
  return false;
}

}  // namespace

std::vector<Target> WorkersOf(const runtime::ClusterHere& cluster) {
  std::set<pid_t> daemons;
  for (const runtime::DaemonFile& daemon : cluster.daemons) daemons.insert(daemon.pid);
  std::vector<Target> workers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    const std::string name = pid > 0 ? CommandName(pid) : "";
    if (!name.starts_with(kWorkerPrefix) || name.find('.') == std::string::npos || !DescendsFrom(pid, daemons))
      continue;
    if (std::optional<Target> target = TargetOf("worker " + name.substr(name.find('-') + 1), pid)) {
      workers.push_back(*std::move(target));
    }
  }
  std::sort(workers.begin(), workers.end(), [](const Target& a, const Target& b) { return a.pid < b.pid; });
  return workers;
}

std::vector<Target> NodesOf(const runtime::ClusterHere& cluster) {
  std::vector<Target> nodes;
  for (const runtime::DaemonFile& daemon : cluster.daemons) {
    if (daemon.is_head || daemon.beside_head || daemon.of_driver) continue;
    nodes.push_back({"node " + daemon.name, daemon.pid, daemon.start_time_ticks});
  }
  return nodes;
}

std::vector<Target> HeadOf(const runtime::ClusterHere& cluster) {
  for (const runtime::DaemonFile& daemon : cluster.daemons) {
    if (daemon.is_head) return {{"the head", daemon.pid, daemon.start_time_ticks}};
  }
  return {};
}

std::vector<Target> RedisOf(const runtime::ClusterHere& cluster) {
  const absl::StatusOr<runtime::PrivateRedis> redis =
      runtime::PrivateRedis::Find(runtime::Metadata::PrivateSpec(cluster.state_dir, cluster.run_dir));
  const std::optional<Target> target = redis.ok() ? TargetOf("its redis-server", redis->pid()) : std::nullopt;
  return target ? std::vector<Target>{*target} : std::vector<Target>();
}

absl::Status SendTo(const Target& target, int signal) {
  MANTA_ASSIGN_OR_RETURN(const base::UniqueFd pidfd, Open(target));
  return base::SendSignal(pidfd.get(), signal);
}

absl::Status Kill(const Target& target) {
  MANTA_ASSIGN_OR_RETURN(const base::UniqueFd pidfd, Open(target));
  MANTA_RETURN_IF_ERROR(base::SendSignal(pidfd.get(), SIGKILL));
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (poll(&ended, 1, kEndTimeoutMs) > 0) return absl::OkStatus();
  return absl::DeadlineExceededError("it was killed, but does not end");
}

}  // namespace manta::tools

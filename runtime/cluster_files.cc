#include "runtime/cluster_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/hex.h"
#include "base/log.h"
#include "base/process.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace manta::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kClusterIdBytes = 6;
constexpr size_t kSmallFileBytesMax = 64 << 10;

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return errno == ENOENT ? base::Error(absl::StatusCode::kNotFound, "there is no " + path)
                           : base::ErrnoStatus(errno, "read " + path);
  }
  std::string text(kSmallFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// Whole or not at all.
absl::Status WriteSmallFile(const std::string& path, const std::string& text, mode_t mode) {
  const std::string temporary = path + ".new";
  base::UniqueFd file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!file) return base::ErrnoStatus(errno, "make " + temporary);
  const std::string line = text + "\n";
  if (write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) || fsync(file.get()) != 0 ||
      fchmod(file.get(), mode) != 0) {
    return base::ErrnoStatus(errno, "write " + temporary);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) return base::ErrnoStatus(errno, "rename " + temporary);
  return absl::OkStatus();
}

absl::StatusOr<rpc::Bits256> ReadSecret(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return base::ErrnoStatus(errno, "the cluster's secret " + path);
  if (info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    return base::Error(absl::StatusCode::kPermissionDenied,
                       "the cluster's secret " + path + " can be read by others, or is another user's: chmod 600 " +
                           path + ", and make a new cluster if others may have read it");
  }
  MANTA_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  const absl::StatusOr<std::string> bytes = base::Unhex(text);
  rpc::Bits256 secret;
  if (!bytes.ok() || bytes->size() != secret.size()) {
    return base::Error(absl::StatusCode::kInvalidArgument, path + " is not a cluster's secret (64 hexadecimal digits)");
  }
  std::memcpy(secret.data(), bytes->data(), secret.size());
  return secret;
}

std::string StateRoot() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state != '\0') return std::string(state) + "/manta";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr && *home != '\0' ? home : "/tmp") + "/.local/state/manta";
}

// `what[key]`, if it is there and of that kind.
template <typename T>
T Field(const json& what, const char* key) {
  const auto found = what.find(key);
  if (found == what.end()) return T();
  if constexpr (std::is_same_v<T, bool>) return found->is_boolean() && found->template get<bool>();
  if constexpr (std::is_same_v<T, std::string>) return found->is_string() ? found->template get<T>() : T();
  if constexpr (std::is_integral_v<T>) return found->is_number_integer() ? found->template get<T>() : T();
}

bool IsAlive(const DaemonFile& daemon) {
  const absl::StatusOr<base::ProcessStat> stat = base::ReadProcessStat(daemon.pid);
  return stat.ok() && stat->start_time_ticks == daemon.start_time_ticks && stat->state != 'Z';
}

std::string NameOf(const DaemonFile& daemon) { return daemon.is_head ? "head" : "node-" + std::to_string(daemon.pid); }

// A daemon that was killed has left its programs, too.
void RemoveFilesOf(const DaemonFile& daemon, const std::string& cluster_run_dir) {
  const std::string file = cluster_run_dir + "/" + NameOf(daemon);
  std::error_code ignored;
  fs::remove_all(file + ".programs", ignored);
  fs::remove(file, ignored);
  if (!daemon.socket.empty()) fs::remove(daemon.socket, ignored);
}

std::optional<DaemonFile> ReadDaemonFile(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return std::nullopt;
  const json what = json::parse(*text, nullptr, false);
  if (!what.is_object()) return std::nullopt;
  DaemonFile daemon;
  daemon.is_head = Field<bool>(what, "is_head");
  daemon.pid = Field<int>(what, "pid");
  daemon.start_time_ticks = Field<uint64_t>(what, "start_time_ticks");
  daemon.name = Field<std::string>(what, "name");
  daemon.socket = Field<std::string>(what, "socket");
  daemon.beside_head = Field<bool>(what, "beside_head");
  daemon.of_driver = Field<bool>(what, "of_driver");
  return daemon;
}

absl::StatusOr<ClusterIdentity> ReadIdentity(const std::string& state_dir, const std::string& secret_file) {
  ClusterIdentity identity;
  identity.state_dir = state_dir;
  MANTA_ASSIGN_OR_RETURN(identity.cluster_id, ReadSmallFile(state_dir + "/cluster_id"));
  MANTA_ASSIGN_OR_RETURN(identity.secret, ReadSecret(secret_file.empty() ? state_dir + "/secret" : secret_file));
  const absl::StatusOr<std::string> address = ReadSmallFile(state_dir + "/address");
  if (address.ok()) identity.address = *address;
  return identity;
}

// "localhost:7400" and "127.0.0.1:7400" are one address.
std::string Canonical(std::string address) {
  if (address.starts_with("localhost:")) address.replace(0, 9, "127.0.0.1");
  return address;
}

// The state directory of the cluster at `address`, by what its daemons here say, or by the default place.
std::optional<std::string> StateDirectoryOf(const std::string& address, const std::string& run_dir) {
  for (const ClusterHere& cluster : ClustersHere(run_dir)) {
    if (Canonical(cluster.address) == address) return cluster.state_dir;
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(StateRoot(), error)) {
    const absl::StatusOr<std::string> known = ReadSmallFile(entry.path().string() + "/address");
    if (known.ok() && Canonical(*known) == address) return entry.path().string();
  }
  return std::nullopt;
}

absl::StatusOr<ClusterIdentity> FindAt(const FindOptions& options, const std::string& run_dir) {
  const std::string address = Canonical(options.address);
  std::string state_dir = options.state_dir;
  if (state_dir.empty()) state_dir = StateDirectoryOf(address, run_dir).value_or("");
  if (state_dir.empty()) {
    return base::Error(absl::StatusCode::kNotFound,
                       "no secret is known for the cluster at " + address + ": looked for its daemons in " + run_dir +
                           " and for its state under " + StateRoot() +
                           "; check the address, or name its state directory with --state-dir");
  }
  MANTA_ASSIGN_OR_RETURN(ClusterIdentity identity, ReadIdentity(state_dir, options.secret_file));
  identity.address = address;
  return identity;
}

}  // namespace

// ------------------------------------------------------------------ directories

absl::StatusOr<std::string> OwnDirectory(const std::string& path, const std::string& flag) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return base::ErrnoStatus(errno, "make the directory " + path + " (choose another with " + flag + ")");
  }
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return base::ErrnoStatus(errno, "look at the directory " + path);
  if (!S_ISDIR(info.st_mode) || info.st_uid != getuid() || access(path.c_str(), W_OK | X_OK) != 0) {
    return base::Error(absl::StatusCode::kPermissionDenied,
                       path + " is not a writable directory of this user: remove it, or choose another with " + flag);
  }
  return path;
}

absl::StatusOr<std::string> RunDirectory(const std::string& configured) {
  if (!configured.empty()) return OwnDirectory(configured, "--manta-run-dir");
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::error_code ignored;
  return OwnDirectory(runtime != nullptr && *runtime != '\0'
                          ? std::string(runtime) + "/manta"
                          : fs::temp_directory_path(ignored).string() + "/manta-" + std::to_string(getuid()),
                      "--manta-run-dir");
}

absl::StatusOr<std::string> StateDirectory(const std::string& configured, int port) {
  std::error_code ignored;  // what is missing afterwards is said below
  if (configured.empty()) fs::create_directories(StateRoot(), ignored);
  return OwnDirectory(configured.empty() ? StateRoot() + "/" + std::to_string(port) : configured, "--state-dir");
}

// ------------------------------------------------------------------ finding

absl::StatusOr<ClusterIdentity> FindCluster(const FindOptions& options) {
  MANTA_ASSIGN_OR_RETURN(const std::string run_dir, RunDirectory(options.run_dir));
  if (!options.address.empty()) return FindAt(options, run_dir);
  if (!options.state_dir.empty()) {
    MANTA_ASSIGN_OR_RETURN(ClusterIdentity identity, ReadIdentity(options.state_dir, options.secret_file));
    if (identity.address.empty()) {
      return base::Error(absl::StatusCode::kNotFound, "no cluster has been started on " + options.state_dir);
    }
    return identity;
  }
  const std::vector<ClusterHere> clusters = ClustersHere(run_dir);
  if (clusters.empty()) {
    return base::Error(absl::StatusCode::kNotFound,
                       "no cluster runs on this machine (looked in " + run_dir +
                           "): start one with `manta start --head`, or name one with --address");
  }
  if (clusters.size() > 1) {
    std::string list;
    for (const ClusterHere& cluster : clusters) list += "\n  " + cluster.address;
    return base::Error(absl::StatusCode::kFailedPrecondition,
                       "several clusters run on this machine: choose one with --address:" + list);
  }
  FindOptions found = options;
  found.address = clusters.front().address;
  found.state_dir = clusters.front().state_dir;
  return FindAt(found, run_dir);
}

// ------------------------------------------------------------------ the head's side

absl::StatusOr<ClusterIdentity> LoadOrMakeIdentity(const std::string& state_dir, bool make_new, bool* is_new) {
  *is_new = make_new || !fs::exists(state_dir + "/cluster_id");
  if (!*is_new) return ReadIdentity(state_dir, "");
  ClusterIdentity identity;
  identity.state_dir = state_dir;
  identity.secret = rpc::RandomBits256();
  identity.cluster_id = base::Hex(rpc::BytesOf(rpc::RandomBits256()).substr(0, kClusterIdBytes));
  std::error_code ignored;
  fs::remove(state_dir + "/commit_seq", ignored);
  fs::remove(state_dir + "/address", ignored);
  fs::remove(state_dir + "/metadata", ignored);
  fs::remove_all(state_dir + "/redis", ignored);
  MANTA_RETURN_IF_ERROR(WriteSmallFile(state_dir + "/secret", base::Hex(rpc::BytesOf(identity.secret)), 0600));
  MANTA_RETURN_IF_ERROR(WriteSmallFile(state_dir + "/cluster_id", identity.cluster_id, 0644));
  return identity;
}

absl::StatusOr<base::UniqueFd> LockState(const std::string& state_dir) {
  base::UniqueFd lock(open((state_dir + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return base::ErrnoStatus(errno, "open " + state_dir + "/lock");
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return base::ErrnoStatus(errno, "lock " + state_dir);
  return base::Error(absl::StatusCode::kAlreadyExists,
                     "a live head has the state directory " + state_dir +
                         ": stop it with `manta stop`, or choose another with --state-dir");
}

absl::Status WriteAddress(const std::string& state_dir, const std::string& address) {
  return WriteSmallFile(state_dir + "/address", address, 0644);
}

std::string ReadMetadataChoice(const std::string& state_dir) {
  return ReadSmallFile(state_dir + "/metadata").value_or("");
}

absl::Status WriteMetadataChoice(const std::string& state_dir, const std::string& choice) {
  return WriteSmallFile(state_dir + "/metadata", choice, 0600);
}

// ------------------------------------------------------------------ daemons that live here

std::string ClusterRunDirectory(const std::string& run_dir, const std::string& cluster_id) {
  return run_dir + "/" + cluster_id;
}

absl::Status WriteClusterFile(const std::string& cluster_run_dir, const std::string& address,
                              const std::string& state_dir) {
  MANTA_RETURN_IF_ERROR(OwnDirectory(cluster_run_dir, "--manta-run-dir").status());
  return WriteSmallFile(cluster_run_dir + "/cluster", json{{"address", address}, {"state_dir", state_dir}}.dump(),
                        0600);
}

absl::Status WriteDaemonFile(const std::string& cluster_run_dir, const DaemonFile& daemon) {
  MANTA_RETURN_IF_ERROR(OwnDirectory(cluster_run_dir, "--manta-run-dir").status());
  const json what{
      {"is_head", daemon.is_head},    {"pid", daemon.pid},       {"start_time_ticks", daemon.start_time_ticks},
      {"name", daemon.name},          {"socket", daemon.socket}, {"beside_head", daemon.beside_head},
      {"of_driver", daemon.of_driver}};
  return WriteSmallFile(cluster_run_dir + "/" + NameOf(daemon), what.dump(), 0600);
}

absl::StatusOr<DaemonFile> OwnDaemonFile() {
  DaemonFile daemon;
  daemon.pid = getpid();
  MANTA_ASSIGN_OR_RETURN(const base::ProcessStat stat, base::ReadProcessStat(daemon.pid));
  daemon.start_time_ticks = stat.start_time_ticks;
  return daemon;
}

void RemoveDaemonFile(const std::string& cluster_run_dir, const DaemonFile& daemon) {
  RemoveFilesOf(daemon, cluster_run_dir);
  if (!LiveDaemons(cluster_run_dir).empty()) return;
  std::error_code ignored;
  // By the cluster's file `manta stop` finds what else is left, the head's private server above all.
  const auto left = std::distance(fs::directory_iterator(cluster_run_dir, ignored), fs::directory_iterator());
  if (left == 1) fs::remove(cluster_run_dir + "/cluster", ignored);
  fs::remove(cluster_run_dir, ignored);
}

std::vector<DaemonFile> LiveDaemons(const std::string& cluster_run_dir) {
  std::vector<DaemonFile> daemons;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(cluster_run_dir, error)) {
    const std::string name = entry.path().filename().string();
    if (name != "head" && (!name.starts_with("node-") || name.find('.') != std::string::npos)) continue;
    const std::optional<DaemonFile> daemon = ReadDaemonFile(entry.path().string());
    if (!daemon) continue;
    if (IsAlive(*daemon)) {
      daemons.push_back(*daemon);
      continue;
    }
    RemoveFilesOf(*daemon, cluster_run_dir);
  }
  std::sort(daemons.begin(), daemons.end(), [](const DaemonFile& a, const DaemonFile& b) {
    return std::make_tuple(!a.beside_head, a.start_time_ticks, a.pid) <
           std::make_tuple(!b.beside_head, b.start_time_ticks, b.pid);
  });
  return daemons;
}

std::vector<ClusterHere> ClustersHere(const std::string& run_dir) {
  std::vector<ClusterHere> clusters = ClustersEverHere(run_dir);
  std::erase_if(clusters, [](const ClusterHere& cluster) { return cluster.daemons.empty(); });
  return clusters;
}

std::vector<ClusterHere> ClustersEverHere(const std::string& run_dir) {
  std::vector<ClusterHere> clusters;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run_dir, error)) {
    const absl::StatusOr<std::string> text = ReadSmallFile(entry.path().string() + "/cluster");
    if (!text.ok()) continue;
    const json what = json::parse(*text, nullptr, false);
    if (!what.is_object()) continue;
    ClusterHere cluster;
    cluster.run_dir = entry.path().string();
    cluster.cluster_id = entry.path().filename().string();
    cluster.address = Field<std::string>(what, "address");
    cluster.state_dir = Field<std::string>(what, "state_dir");
    cluster.daemons = LiveDaemons(cluster.run_dir);
    clusters.push_back(std::move(cluster));
  }
  std::sort(clusters.begin(), clusters.end(),
            [](const ClusterHere& a, const ClusterHere& b) { return a.address < b.address; });
  return clusters;
}

}  // namespace manta::runtime

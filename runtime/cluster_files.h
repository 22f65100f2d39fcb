// What a cluster leaves on a machine for those who look for it: its secret and identity in a state directory, its
// daemons in the run directory.
//
//   <state dir>/cluster_id, secret (0600), address, commit_seq, redis/, lock (held by the head while it lives)
//   <run dir>/<cluster id>/cluster          address, state directory
//                          head, node-<pid>   one per daemon that lives: pid, start time, name, its socket
//                          node-<pid>.sock    where drivers of this user come in
//                          node-<pid>.programs/  what its workers run
//
// The state directory is --state-dir, else $XDG_STATE_HOME/manta/<port> (~/.local/state); the run directory
// $XDG_RUNTIME_DIR/manta, else a directory of this user's under the system's temp (0700).
// Errors:     kNotFound: no cluster (the text says where was looked); kFailedPrecondition: several; kPermissionDenied:
//             a secret that others can read, a directory that is not ours. All say what to do.
// Threads:    thread-safe functions; they read and write files, and may block for as long as the disk takes.
#ifndef MANTA_RUNTIME_CLUSTER_FILES_H_
#define MANTA_RUNTIME_CLUSTER_FILES_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "rpc/crypto.h"

namespace manta::runtime {

struct ClusterIdentity {
  std::string address;  // of the head: "127.0.0.1:7400"
  std::string cluster_id;
  rpc::Bits256 secret = {};
  std::string state_dir;
};

// One daemon of a cluster on this machine.
struct DaemonFile {
  bool is_head = false;
  pid_t pid = 0;
  uint64_t start_time_ticks = 0;
  std::string name;    // of a node
  std::string socket;  // of a node: for drivers; "" of the head
  bool beside_head = false;
  bool of_driver = false;  // started by a driver for itself
};

// A directory of this user's own, 0700; made if it is not there.
absl::StatusOr<std::string> OwnDirectory(const std::string& path, const std::string& flag);
// `configured`, else the default. Made if it is not there.
absl::StatusOr<std::string> RunDirectory(const std::string& configured);
absl::StatusOr<std::string> StateDirectory(const std::string& configured, int port);

// Finds a cluster: at `address`, else by `state_dir`, else the one that lives on this machine. The secret is read from
// `secret_file`, else from the state directory of the cluster with that address.
struct FindOptions {
  std::string address;
  std::string state_dir;
  std::string secret_file;
  std::string run_dir;
};
absl::StatusOr<ClusterIdentity> FindCluster(const FindOptions& options);

// ---- the head's side

// Reads the identity in `state_dir`, or makes one (`make_new`: even if there is one).
absl::StatusOr<ClusterIdentity> LoadOrMakeIdentity(const std::string& state_dir, bool make_new, bool* is_new);
// Holds the state directory until closed. kAlreadyExists: a live head has it.
absl::StatusOr<base::UniqueFd> LockState(const std::string& state_dir);
absl::Status WriteAddress(const std::string& state_dir, const std::string& address);
// What the head of this state directory keeps its facts in; "": none has said so yet.
std::string ReadMetadataChoice(const std::string& state_dir);
absl::Status WriteMetadataChoice(const std::string& state_dir, const std::string& choice);

// ---- daemons that live here

// Where the files of a cluster's daemons are.
std::string ClusterRunDirectory(const std::string& run_dir, const std::string& cluster_id);
absl::Status WriteClusterFile(const std::string& cluster_run_dir, const std::string& address,
                              const std::string& state_dir);
absl::Status WriteDaemonFile(const std::string& cluster_run_dir, const DaemonFile& daemon);
// What a daemon needs to know of itself for its file: its pid and start time.
absl::StatusOr<DaemonFile> OwnDaemonFile();
void RemoveDaemonFile(const std::string& cluster_run_dir, const DaemonFile& daemon);
// Those that live; files of dead ones are removed. Nodes beside the head first, then by age.
std::vector<DaemonFile> LiveDaemons(const std::string& cluster_run_dir);

struct ClusterHere {
  std::string run_dir;  // of the cluster
  std::string cluster_id;
  std::string address;
  std::string state_dir;
  std::vector<DaemonFile> daemons;
};
// The clusters with live daemons on this machine (of this user).
std::vector<ClusterHere> ClustersHere(const std::string& run_dir);
// Those, too, all whose daemons were killed, so that their files, and perhaps a server of theirs, are left.
std::vector<ClusterHere> ClustersEverHere(const std::string& run_dir);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_CLUSTER_FILES_H_

// How a driver comes to a cluster that runs already: by a node of it on this machine, or by one that it starts itself.
//
// Threads:    functions; called before the process has joined.
#ifndef MANTA_API_ATTACH_H_
#define MANTA_API_ATTACH_H_

#include <memory>
#include <string>

#include "base/config.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "runtime/node/spawn.h"

namespace manta::internal {

// The way to the node of the cluster at config.address; what was started for it ends with this object.
class AttachedNode {
 public:
  // Errors: kNotFound: no such cluster is known here (the text says where was looked); kFailedPrecondition: it refused
  // us; others from the system.
  static absl::StatusOr<std::unique_ptr<AttachedNode>> Attach(const base::Config& config);
  ~AttachedNode();

  base::UniqueFd TakeSocket() { return std::move(socket_); }
  const std::string& log_dir() const { return log_dir_; }
  void End();

 private:
  AttachedNode() = default;
  absl::Status StartOwnNode(const base::Config& config);

  std::string log_dir_;
  base::UniqueFd socket_;
  runtime::SpawnedProcess own_node_;
};

// The main of a node that a driver started for itself (its own image, with 0 CPUs). Never returns.
[[noreturn]] void RunDriversNode(base::UniqueFd socket, const std::string& detail, int argc, char** argv);

}  // namespace manta::internal

#endif  // MANTA_API_ATTACH_H_

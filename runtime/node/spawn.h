// SpawnProgram starts a process image with a set of descriptors and environment entries of ours.
//
// Ownership:  the child gets a session of its own (Ctrl-C on the terminal reaches only the driver), and the
//             descriptors named in `pass` at the numbers given there; all others of ours are close-on-exec.
// Errors:     kNotFound / kPermissionDenied / kResourceExhausted with what to do.
#ifndef MANTA_RUNTIME_NODE_SPAWN_H_
#define MANTA_RUNTIME_NODE_SPAWN_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"

namespace manta::runtime {

struct SpawnSpec {
  int program = -1;  // descriptor of the executable
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::string>> environment;  // added to, or replacing, this process's own
  std::vector<std::pair<int, int>> pass;                         // (ours, the child's number)
  std::string directory;                                         // to work in; empty: this process's
};

struct SpawnedProcess {
  pid_t pid = 0;
  base::UniqueFd pidfd;
};

absl::StatusOr<SpawnedProcess> SpawnProgram(const SpawnSpec& spec);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_SPAWN_H_

// The embedded cluster: head and node in one child of the driver, made of the driver's own executable.
//
// Problem:    a program must run with no daemon installed, and leave nothing behind, however it ends.
// Tie:        one socketpair. Its end of file at the child (the driver ended, in whatever way) ends the child and with
// it all
//             workers; its end of file at the driver is NodeDiedError.
// Files:      one private directory for logs and workers' output, removed at the end (by the driver after an orderly
// end, else by the
//             child), unless --manta-log-dir names a place for them.
#ifndef MANTA_API_EMBEDDED_H_
#define MANTA_API_EMBEDDED_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace manta::internal {

class EmbeddedCluster {
 public:
  // Starts it. Errors: no directory, no descriptors, no memory: each says what to do.
  static absl::StatusOr<std::unique_ptr<EmbeddedCluster>> Start(const base::Config& config);
  ~EmbeddedCluster();

  base::UniqueFd TakeSocket() { return std::move(socket_); }
  const std::string& log_dir() const { return log_dir_; }
  // Waits for the child to end (it has seen our end of file), kills it if it takes longer than 2 s, removes the files.
  void End();

 private:
  EmbeddedCluster() = default;

  std::string run_dir_;
  std::string log_dir_;
  bool owns_run_dir_ = false;
  pid_t pid_ = 0;
  base::UniqueFd pidfd_;
  base::UniqueFd socket_;
};

// The child's main. Never returns.
[[noreturn]] void RunEmbeddedCluster(base::UniqueFd socket, const std::string& detail, int argc, char** argv);

// What Init was told in code, as environment variables for a child; flags it finds on its own command line.
std::vector<std::pair<std::string, std::string>> EnvironmentOf(const base::Config& config);
// The program's own argv, from the kernel (before Init removed its flags).
std::vector<std::string> OwnCommandLine();

}  // namespace manta::internal

#endif  // MANTA_API_EMBEDDED_H_

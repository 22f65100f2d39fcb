// The zygote: per program a node keeps one process that has run static initialisation and waits, single-threaded, to be
// forked into workers.
//
// Problem:    exec, dynamic linking and static initialisation cost many times a fork.
// Protocol:   node -> zygote over a SOCK_SEQPACKET pair: ForkCommand with the worker's end of its socket to the node
// and its output
//             files; zygote -> node: ForkResult with a pidfd, and later ExitNotice. The zygote is the workers' parent
//             and reaps them.
// Threads:    the zygote has one. A program whose static initialisers start threads is not forked: ForkResult says so,
//             and the node starts the worker by exec instead.
// See:        DESIGN: "The zygote"; docs/architecture.md
#ifndef MANTA_RUNTIME_NODE_ZYGOTE_H_
#define MANTA_RUNTIME_NODE_ZYGOTE_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace manta::runtime {

// What a process image learns from the environment about its part; the variables are unset on reading.
enum class ProcessRole { kDriver, kEmbeddedCluster, kNode, kZygote, kWorker };
struct RoleFromEnvironment {
  ProcessRole role = ProcessRole::kDriver;
  base::UniqueFd socket;  // to whoever started us
  std::string detail;     // role-specific text
};
// kInvalidArgument: the variables are there but make no sense (set by hand).
absl::StatusOr<RoleFromEnvironment> TakeRoleFromEnvironment();
inline constexpr char kRoleVariable[] = "MANTA_INTERNAL_ROLE";
inline constexpr char kSocketVariable[] = "MANTA_INTERNAL_SOCKET";
inline constexpr char kDetailVariable[] = "MANTA_INTERNAL_DETAIL";
const char* RoleName(ProcessRole role);

// Of all processes of a node a worker is the one to be killed when memory is short: this process is one.
void DieFirst();

// What a worker starts with.
struct WorkerStart {
  ProcessId self;
  JobId job = 0;
  base::UniqueFd node_socket;
};
std::string EncodeWorkerStart(const WorkerStart& start);  // without the socket
absl::StatusOr<WorkerStart> DecodeWorkerStart(const std::string& text);

// Runs the zygote on `socket` until its end of file (then _exit). Returns only in a forked worker.
WorkerStart RunZygote(base::UniqueFd socket);

// The node's side of one zygote.
class ZygoteClient {
 public:
  struct Callbacks {
    // `pid` 0: could not fork, `why` says so; `use_exec`: start it by exec.
    std::function<void(uint64_t worker, pid_t pid, base::UniqueFd pidfd, bool use_exec, const std::string& why)> forked;
    std::function<void(pid_t pid, int wait_status)> exited;
    std::function<void(JobId job)> lost;  // the zygote died; its workers live on
  };
  // `job`: whose program it is; 0: not known yet.
  ZygoteClient(base::EventLoop* loop, base::UniqueFd socket, JobId job, Callbacks callbacks);
  ~ZygoteClient();
  void set_job(JobId job) { job_ = job; }

  // Asks for a worker. Descriptors are duplicated on their way.
  absl::Status Fork(const WorkerStart& start, int stdout_fd, int stderr_fd);

 private:
  void OnReadable();

  base::EventLoop* const loop_;
  base::UniqueFd socket_;
  JobId job_;
  Callbacks callbacks_;
  base::FdWatch watch_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_ZYGOTE_H_

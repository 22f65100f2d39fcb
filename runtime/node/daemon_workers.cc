// Daemon's children: the zygote, and workers forked from it or started by exec.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/process.h"
#include "base/socket.h"
#include "runtime/node/daemon.h"
#include "runtime/node/spawn.h"

namespace manta::runtime {
namespace {

constexpr int kChildSocket = 3;
constexpr int kZygotesLostMax = 5;
constexpr uint32_t kAsksMax = 100;
constexpr Duration kAskAgain = std::chrono::milliseconds(10);

}  // namespace

absl::Status Daemon::StartZygote() {
  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  SpawnSpec spawn;
  spawn.program = program_.get();
  spawn.argv = spec_.argv;
  spawn.environment = {{kRoleVariable, RoleName(ProcessRole::kZygote)},
                       {kSocketVariable, std::to_string(kChildSocket)},
                       {kDetailVariable, spec_.log_dir}};
  spawn.pass = {{pair.second.get(), kChildSocket}};
  MANTA_ASSIGN_OR_RETURN(SpawnedProcess child, SpawnProgram(spawn));
  zygote_pid_ = child.pid;
  zygote_pidfd_ = std::move(child.pidfd);
  ZygoteClient::Callbacks callbacks;
  callbacks.forked = [this](uint64_t worker, pid_t pid, base::UniqueFd pidfd, bool use_exec, const std::string& why) {
    OnForked(worker, pid, std::move(pidfd), use_exec, why);
  };
  callbacks.exited = [this](pid_t pid, int wait_status) { OnChildExited(pid, wait_status); };
  callbacks.lost = [this] {
    if (!ending_) loop_->Post([this] { OnZygoteLost(); });
  };
  zygote_ = std::make_unique<ZygoteClient>(loop_, std::move(pair.first), std::move(callbacks));
  return absl::OkStatus();
}

// Workers that it was asked for and has not told of are asked for again. (If it did make one: that one's socket is
// closed.)
void Daemon::OnZygoteLost() {
  if (ending_) return;
  zygote_.reset();
  if (zygote_pid_ != 0) waitpid(zygote_pid_, nullptr, WNOHANG);
  absl::Status started =
      absl::UnavailableError("the program's zygote dies time and again, before it can make a worker");
  if (++zygotes_lost_ <= kZygotesLostMax) started = StartZygote();
  MANTA_LOG(kWarning) << "the zygote died; its workers live on; "
                      << (started.ok() ? "another is started" : base::Message(started));
  std::vector<uint64_t> not_started;
  for (const auto& [id, connection] : connections_) {
    if (connection->kind == rpc::ProcessKind::kWorker && connection->pid == 0 && !connection->ended) {
      not_started.push_back(id);
    }
  }
  for (const uint64_t id : not_started) {
    auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    absl::Status asked = started.ok() ? AskForWorker(*found->second) : started;
    if (!asked.ok()) OnForked(found->second->process.number, 0, {}, false, base::Message(asked));
  }
}

void Daemon::Run(StartWorker& action) {
  if (zygote_ == nullptr) {
    zygotes_lost_ = 0;
    if (absl::Status started = StartZygote(); !started.ok()) {
      later_.push_back(StartFailed{action.worker, base::Message(started)});
      return;
    }
  }
  Connection& connection = AddConnection({});
  connection.process = action.worker;
  connection.job = action.job;
  by_process_[action.worker] = connection.id;
  absl::Status asked = AskForWorker(connection);
  if (!asked.ok()) OnForked(action.worker.number, 0, {}, false, base::Message(asked));
}

absl::Status Daemon::AskForWorker(Connection& connection) {
  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  SetControl(connection, std::move(pair.first));
  output_->Close(connection.process);
  OutputFiles::Fds output = output_->Open(connection.process);
  const WorkerStart start{connection.process, connection.job, std::move(pair.second)};
  absl::Status asked = zygote_->Fork(start, output.out.get(), output.err.get());
  const uint32_t ask = ++connection.asks;
  if (asked.ok() || ask > kAsksMax) return asked;
  // Its socket is full of such questions, or it is dead and its loss about to be told.
  loop_->RunAfter(kAskAgain, [this, id = connection.id, ask] {
    auto found = connections_.find(id);
    if (found == connections_.end() || found->second->asks != ask || zygote_ == nullptr || ending_) return;
    absl::Status again = AskForWorker(*found->second);
    if (!again.ok()) OnForked(found->second->process.number, 0, {}, false, base::Message(again));
  });
  return absl::OkStatus();
}

void Daemon::OnForked(uint64_t worker, pid_t pid, base::UniqueFd pidfd, bool use_exec, const std::string& why) {
  Connection* connection = Find({core_.node(), worker});
  if (connection == nullptr) {
    if (pidfd) (void)base::SendSignal(pidfd.get(), SIGKILL);  // it is not wanted any more
    return;
  }
  if (use_exec) {
    MANTA_LOG(kInfo) << "worker " << ToString(connection->process) << " is started by exec: " << why;
    StartByExec(*connection);
    return;
  }
  if (pid == 0 || !pidfd) {
    const ProcessId process = connection->process;
    output_->Close(process);
    const uint64_t id = connection->id;
    by_process_.erase(process);
    std::shared_ptr<Connection> gone(std::move(connections_[id]));
    connections_.erase(id);
    gone->control_watch.Reset();
    loop_->Post([gone] {});
    Handle(StartFailed{process, why});
    return;
  }
  zygotes_lost_ = 0;
  WatchProcess(*connection, std::move(pidfd), pid);
  if (!connection->kill_reason.empty()) (void)base::SendSignal(connection->pidfd.get(), SIGKILL);
}

void Daemon::StartByExec(Connection& connection) {
  const ProcessId worker = connection.process;
  absl::StatusOr<std::pair<base::UniqueFd, base::UniqueFd>> pair = base::SocketPair(base::SocketKind::kSeqPacket);
  absl::StatusOr<SpawnedProcess> child = absl::InternalError("no socket");
  if (!pair.ok()) {
    child = pair.status();
  } else {
    SetControl(connection, std::move(pair->first));  // the first pair's other end went to the zygote
    output_->Close(worker);
    OutputFiles::Fds output = output_->Open(worker);
    SpawnSpec spawn;
    spawn.program = program_.get();
    spawn.argv = spec_.argv;
    spawn.environment = {{kRoleVariable, RoleName(ProcessRole::kWorker)},
                         {kSocketVariable, std::to_string(kChildSocket)},
                         {kDetailVariable, EncodeWorkerStart({worker, 0, {}}) + ";" + spec_.log_dir}};
    spawn.pass = {
        {pair->second.get(), kChildSocket}, {output.out.get(), STDOUT_FILENO}, {output.err.get(), STDERR_FILENO}};
    child = SpawnProgram(spawn);
  }
  if (child.ok()) {
    WatchProcess(connection, std::move(child->pidfd), child->pid);
  } else {
    OnForked(worker.number, 0, {}, false, base::Message(child.status()));
  }
}

void Daemon::OnChildExited(pid_t pid, int wait_status) {
  auto found = by_pid_.find(pid);
  if (found == by_pid_.end()) return;
  const uint64_t id = found->second;
  Connection& connection = *connections_[id];
  if (WIFSIGNALED(wait_status)) {
    connection.exit_reason =
        "killed by signal " + std::to_string(WTERMSIG(wait_status)) + " (" + strsignal(WTERMSIG(wait_status)) + ")";
  } else {
    connection.exit_reason = "exited with status " + std::to_string(WEXITSTATUS(wait_status));
  }
  OnProcessGone(id);
}

}  // namespace manta::runtime

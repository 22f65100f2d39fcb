// Daemon's children: the zygote of each program, and workers forked from it or started by exec.
//
//   StartWorker(job) --> the job's program: here (its driver's), or asked for (ProgramRequest) and brought
//                   --> its zygote --> fork --> the worker says hello
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
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
constexpr char kLibraryPathVariable[] = "LD_LIBRARY_PATH";
constexpr char kLoaderComplains[] = "error while loading shared libraries";
constexpr size_t kComplaintBytesMax = 4096;
constexpr Duration kAskForProgramAgain = std::chrono::seconds(1);
constexpr Duration kAskAgain = std::chrono::milliseconds(10);

// The last line that is not empty, of what was written there.
std::string LastLineOf(int fd) {
  std::array<char, kComplaintBytesMax> bytes;
  const off_t end = lseek(fd, 0, SEEK_END);
  const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(bytes.size()));
  const ssize_t size = pread(fd, bytes.data(), bytes.size(), begin);
  std::string text(bytes.data(), static_cast<size_t>(std::max<ssize_t>(0, size)));
  text.erase(text.find_last_not_of("\n ") + 1);
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

// ------------------------------------------------------------------ programs

Daemon::Program* Daemon::FindProgram(JobId job) {
  const auto found = programs_.find(job);
  return found == programs_.end() ? nullptr : &found->second;
}

// A driver of this node has been given its job.
void Daemon::DriverJoined(Connection& driver) {
  Program& program = programs_[driver.job];
  if (own_program_) {
    program = *std::move(own_program_);
    own_program_.reset();
    program.zygote->set_job(driver.job);
  } else {
    program.image = std::move(driver.program);
    program.argv = std::move(driver.argv);
  }
  program.directory = driver.directory;
  program.files = std::move(driver.files);
  program.state = Program::State::kReady;
  program.driver_node = core_.node();
  program.name_space = driver.name_space;
}

void Daemon::AskForProgram(JobId job) {
  if (network_ == nullptr) return ProgramReady(job, absl::NotFoundError("its driver is not here"));
  network_->SendToHead(rpc::ProgramRequest{job, core_.node()});
  // The head, or the node that it passes the question on to, may be away just now.
  loop_->RunAfter(kAskForProgramAgain, [this, job] {
    const Program* program = FindProgram(job);
    if (!ending_ && program != nullptr && program->state == Program::State::kAsked) AskForProgram(job);
  });
}

void Daemon::OnProgramRequest(const rpc::ProgramRequest& request) {
  const auto answer = [this, request](absl::StatusOr<ProgramFiles::Description> described) {
    rpc::ProgramInfo info;
    info.job = request.job;
    info.node = core_.node();
    Program* program = FindProgram(request.job);
    if (program == nullptr) described = base::Error(absl::StatusCode::kNotFound, "the job's driver has ended");
    if (described.ok()) {
      program->described = *std::move(described);
      info.files = program->described.files;
      info.argv = program->argv;
      info.name_space = program->name_space;
    } else {
      info.error = base::Message(described.status());
    }
    network_->SendToNode(request.asker, info);
  };
  const Program* program = FindProgram(request.job);
  if (program == nullptr || !program->image) return answer(absl::NotFoundError("this node does not have the program"));
  if (!program->described.files.empty()) return answer(program->described);
  program_files_->Describe(program->image.get(), program->directory, program->files, answer);
}

void Daemon::OnProgramInfo(NodeId from, rpc::ProgramInfo info) {
  Program* program = FindProgram(info.job);
  if (program == nullptr || program->state != Program::State::kAsked) return;
  if (!info.error.empty()) return ProgramReady(info.job, base::Error(absl::StatusCode::kNotFound, info.error));
  if (info.files.empty()) return ProgramReady(info.job, absl::InvalidArgumentError("it has no executable"));
  program->state = Program::State::kComing;
  program->argv = std::move(info.argv);
  program->name_space = std::move(info.name_space);
  program->driver_node = from;
  program->directory = program_files_->DirectoryOf(info.files);
  for (size_t i = 1; i < info.files.size(); ++i) program->files.push_back(info.files[i].path);
  program_files_->Bring(from, std::move(info.files), [this, job = info.job](absl::StatusOr<base::UniqueFd> image) {
    ProgramReady(job, std::move(image));
  });
}

void Daemon::ProgramReady(JobId job, absl::StatusOr<base::UniqueFd> image) {
  Program* program = FindProgram(job);
  if (program == nullptr) return;
  const std::vector<ProcessId> waiting = std::exchange(program->waiting, {});
  if (!image.ok()) {
    const std::string why = "the program of job " + std::to_string(job) +
                            " could not be brought to this node: " + base::Message(image.status());
    MANTA_LOG(kWarning) << why;
    programs_.erase(job);  // the next start asks again
    for (const ProcessId worker : waiting) StartHasFailed(worker, why);
    return;
  }
  program->image = *std::move(image);
  program->state = Program::State::kReady;
  for (const ProcessId worker : waiting) {
    Connection* connection = Find(worker);
    program = FindProgram(job);  // a start that fails may end the job here
    if (connection != nullptr && program != nullptr) StartFromProgram(*connection, *program);
  }
}

void Daemon::Run(JobGone& action) {
  const auto found = programs_.find(action.job);
  if (found == programs_.end()) return;
  // Its zygote reads the end of its socket.
  std::shared_ptr<Program> gone = std::make_shared<Program>(std::move(found->second));
  programs_.erase(found);
  loop_->Post([gone] { gone->zygote.reset(); });
}

// ------------------------------------------------------------------ the zygote

absl::Status Daemon::StartZygote(JobId job, Program& program) {
  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  SpawnSpec spawn;
  spawn.program = program.image.get();
  spawn.argv = program.argv;
  spawn.directory = program.directory;
  spawn.environment = {{kRoleVariable, RoleName(ProcessRole::kZygote)},
                       {kSocketVariable, std::to_string(kChildSocket)},
                       {kDetailVariable, spec_.log_dir}};
  spawn.pass = {{pair.second.get(), kChildSocket}};
  AddLibraryPath(program, &spawn.environment);
  program.complaint.reset();
  if (program.zygotes_lost > 0) {
    program.complaint.reset(memfd_create("zygote-stderr", MFD_CLOEXEC));
    if (program.complaint) spawn.pass.emplace_back(program.complaint.get(), STDERR_FILENO);
  }
  MANTA_ASSIGN_OR_RETURN(SpawnedProcess child, SpawnProgram(spawn));
  program.zygote_pid = child.pid;
  program.zygote_pidfd = std::move(child.pidfd);
  ZygoteClient::Callbacks callbacks;
  callbacks.forked = [this](uint64_t worker, pid_t pid, base::UniqueFd pidfd, bool use_exec, const std::string& why) {
    OnForked(worker, pid, std::move(pidfd), use_exec, why);
  };
  callbacks.exited = [this](pid_t pid, int wait_status) { OnChildExited(pid, wait_status); };
  callbacks.lost = [this](JobId of) {
    if (!ending_) loop_->Post([this, of] { OnZygoteLost(of); });
  };
  program.zygote = std::make_unique<ZygoteClient>(loop_, std::move(pair.first), job, std::move(callbacks));
  return absl::OkStatus();
}

// The program's shared libraries are found where they are here; the loader looks there before it looks elsewhere.
void Daemon::AddLibraryPath(const Program& program, std::vector<std::pair<std::string, std::string>>* environment) {
  std::string path = ProgramFiles::LibraryPath(program.directory, program.files);
  if (path.empty()) return;
  const char* const given = std::getenv(kLibraryPathVariable);
  if (given != nullptr && *given != 0) path += std::string(":") + given;
  environment->emplace_back(kLibraryPathVariable, std::move(path));
}

// What the second one in a row says before it dies is why: "error while loading shared libraries: libx.so.1: ...".
absl::Status Daemon::RestartZygote(JobId job, Program& program) {
  if (program.zygote_pid != 0) waitpid(program.zygote_pid, nullptr, WNOHANG);
  const std::string said = program.complaint ? LastLineOf(program.complaint.get()) : "";
  if (said.find(kLoaderComplains) != std::string::npos) {
    return base::Error(absl::StatusCode::kFailedPrecondition,
                       "the program cannot start on this machine: " + said +
                           ". Libraries outside of /lib and /usr/lib come with the program if its driver has loaded "
                           "them; install others here");
  }
  if (++program.zygotes_lost > kZygotesLostMax) {
    return base::Error(absl::StatusCode::kUnavailable,
                       "the program's zygote dies time and again, before it can make a worker" +
                           (said.empty() ? "" : "; the last one said: " + said));
  }
  return StartZygote(job, program);
}

// Workers that it was asked for and has not told of are asked for again. (If it did make one: that one's socket is
// closed.)
void Daemon::OnZygoteLost(JobId job) {
  Program* const program = job == 0 && own_program_ ? &*own_program_ : FindProgram(job);
  if (ending_ || program == nullptr) return;
  program->zygote.reset();
  const absl::Status started = RestartZygote(job, *program);
  MANTA_LOG(kWarning) << "the zygote of job " << job << " died; its workers live on; "
                      << (started.ok() ? "another is started" : base::Message(started));
  std::vector<uint64_t> not_started;
  for (const auto& [id, connection] : connections_) {
    if (connection->kind == rpc::ProcessKind::kWorker && connection->job == job && connection->pid == 0 &&
        !connection->ended) {
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
  Connection& connection = AddConnection({});
  connection.process = action.worker;
  connection.job = action.job;
  by_process_[action.worker] = connection.id;
  Program* program = FindProgram(action.job);
  const bool is_new = program == nullptr;
  if (is_new) program = &programs_[action.job];
  if (program->state == Program::State::kReady) return StartFromProgram(connection, *program);
  program->waiting.push_back(action.worker);
  if (is_new) AskForProgram(action.job);
}

void Daemon::StartFromProgram(Connection& connection, Program& program) {
  absl::Status started;
  if (program.zygote == nullptr) {
    program.zygotes_lost = 0;
    started = StartZygote(connection.job, program);
  }
  if (started.ok()) started = AskForWorker(connection);
  if (!started.ok()) StartHasFailed(connection.process, base::Message(started));
}

void Daemon::StartHasFailed(ProcessId worker, const std::string& why) { OnForked(worker.number, 0, {}, false, why); }

absl::Status Daemon::AskForWorker(Connection& connection) {
  Program* const program = FindProgram(connection.job);
  if (program == nullptr || program->zygote == nullptr) return absl::UnavailableError("its job has ended");
  MANTA_ASSIGN_OR_RETURN(auto pair, base::SocketPair(base::SocketKind::kSeqPacket));
  SetControl(connection, std::move(pair.first));
  output_->Close(connection.process);
  OutputFiles::Fds output = output_->Open(connection.process, connection.job);
  const WorkerStart start{connection.process, connection.job, std::move(pair.second)};
  absl::Status asked = program->zygote->Fork(start, output.out.get(), output.err.get());
  const uint32_t ask = ++connection.asks;
  if (asked.ok() || ask > kAsksMax) return asked;
  // Its socket is full of such questions, or it is dead and its loss about to be told.
  loop_->RunAfter(kAskAgain, [this, id = connection.id, ask] {
    auto found = connections_.find(id);
    if (found == connections_.end() || found->second->asks != ask || ending_) return;
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
  if (Program* const program = FindProgram(connection->job)) program->zygotes_lost = 0;
  WatchProcess(*connection, std::move(pidfd), pid);
  if (!connection->kill_reason.empty()) (void)base::SendSignal(connection->pidfd.get(), SIGKILL);
}

void Daemon::StartByExec(Connection& connection) {
  const ProcessId worker = connection.process;
  absl::StatusOr<std::pair<base::UniqueFd, base::UniqueFd>> pair = base::SocketPair(base::SocketKind::kSeqPacket);
  absl::StatusOr<SpawnedProcess> child = absl::UnavailableError("its job has ended");
  const Program* const program = FindProgram(connection.job);
  if (!pair.ok()) {
    child = pair.status();
  } else if (program != nullptr) {
    SetControl(connection, std::move(pair->first));  // the first pair's other end went to the zygote
    output_->Close(worker);
    OutputFiles::Fds output = output_->Open(worker, connection.job);
    SpawnSpec spawn;
    spawn.program = program->image.get();
    spawn.argv = program->argv;
    spawn.directory = program->directory;
    spawn.environment = {{kRoleVariable, RoleName(ProcessRole::kWorker)},
                         {kSocketVariable, std::to_string(kChildSocket)},
                         {kDetailVariable, EncodeWorkerStart({worker, 0, {}}) + ";" + spec_.log_dir}};
    AddLibraryPath(*program, &spawn.environment);
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

// Daemon on the network: what comes from the head, from other nodes and from drivers that knock.
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/socket.h"
#include "runtime/node/daemon.h"

namespace manta::runtime {
namespace {

constexpr size_t kSilentDriversMax = 64;  // that have connected and not said hello
constexpr Duration kDialLook = std::chrono::milliseconds(20);

}  // namespace

absl::Status Daemon::OpenNetwork() {
  if (spec_.network) {
    MANTA_ASSIGN_OR_RETURN(network_, NodeNetwork::Create(loop_, *spec_.network, this));
    spec_.node.address = network_->address();
    core_.SetAddress(network_->address());
  }
  program_files_ = std::make_unique<ProgramFiles>(
      loop_, spec_.programs_dir,
      [this](NodeId from, const rpc::ProgramFile& file, const std::string& path,
             std::function<void(absl::Status)> done) { FetchFile(from, file, path, std::move(done)); });
  return spec_.drivers_path.empty() ? absl::OkStatus() : ListenForDrivers();
}

// ------------------------------------------------------------------ the head

void Daemon::OnHeadConnected() {
  MANTA_LOG(kInfo) << "connected to the head";
  Handle(HeadConnected{});
}

void Daemon::OnHeadLost(const absl::Status& why, bool fatal) {
  if (ending_) return;
  if (!accepted_ && (fatal || loop_->Now() >= join_deadline_)) return spec_.on_end(base::Message(why), false);
  if (!head_lost_) MANTA_LOG(kWarning) << "the head is not reachable: " << base::Message(why) << "; trying on";
  head_lost_ = true;
  Handle(HeadLost{});
}

void Daemon::OnHeadMessage(rpc::Message message) {
  if (ending_) return;
  if (const auto* request = std::get_if<rpc::ProgramRequest>(&message)) return OnProgramRequest(*request);
  if (auto* info = std::get_if<rpc::ProgramInfo>(&message)) return OnProgramInfo(0, std::move(*info));
  if (const auto* view = std::get_if<rpc::ClusterView>(&message)) network_->UpdateNodes(*view);
  const auto* died = std::get_if<rpc::NodeDied>(&message);
  const NodeId dead = died == nullptr ? 0 : died->node;
  const bool is_answer = std::holds_alternative<rpc::NodeAccepted>(message);
  if (is_answer && std::get<rpc::NodeAccepted>(message).node != 0) {
    head_lost_ = false;
    network_->SetSelf(std::get<rpc::NodeAccepted>(message).node);
  }
  ReceiveFromHead(std::move(message));
  if (dead != 0) {
    network_->NodeDied(dead);
    transfers_.Drop(dead);
  }
  if (is_answer && !ending_ && !std::exchange(accepted_, true)) spec_.on_accepted();
}

// ------------------------------------------------------------------ other nodes

void Daemon::OnNodeMessage(NodeId from, rpc::Message message) {
  if (ending_) return;
  if (auto* info = std::get_if<rpc::ProgramInfo>(&message)) return OnProgramInfo(from, std::move(*info));
  if (auto* output = std::get_if<rpc::Output>(&message)) return PassOutput(std::move(*output));
  Handle(MessageReceived{DaemonOf(from), std::move(message)});
}

// What was lost cannot be asked for again: this node's view of the other one is wrong for good.
void Daemon::OnSessionLost(NodeId node, const absl::Status& why) {
  if (ending_) return;
  EndDaemon action{"messages between this node and n" + std::to_string(node) + " were lost: " + base::Message(why),
                   true};
  Run(action);
}

bool Daemon::HasProcess(ProcessId process) {
  const Connection* connection = Find(process);
  return connection != nullptr && !connection->ended && connection->store != nullptr;
}

void Daemon::DialPeer(ProcessId from, ProcessId peer) {
  if (network_ != nullptr && peer.node != core_.node()) return network_->Dial(from, peer);
  rpc::PeerLink link;
  link.peer = peer;
  link.dialled = true;
  link.refused = ToString(peer) + " is not on another node";
  link.dead = true;
  OnPeerLink(from, std::move(link), {});
}

void Daemon::OnPeerLink(ProcessId to, rpc::PeerLink link, base::UniqueFd socket) {
  Connection* connection = Find(to);
  if (connection == nullptr || connection->ended) return;  // the peer reads the end of its socket
  if (connection->ring == nullptr) {                       // it still joins
    rpc::MessageWithDescriptors waiting{std::move(link), {}};
    if (socket) waiting.descriptors.push_back(std::move(socket));
    connection->links.push_back(std::move(waiting));
    return;
  }
  const int fd = socket.get();
  const absl::Status sent =
      connection->control->Send(link, fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>());
  // A link that did not reach it is asked for again by the one that dialled; this is the other's, or its answer.
  if (!sent.ok() && link.dialled) Kill(*connection, "it does not read its socket: " + base::Message(sent));
}

// To the driver of the job, which is here or on another node.
void Daemon::PassOutput(rpc::Output output) {
  const Program* const program = FindProgram(output.job);
  if (program != nullptr && program->driver_node != core_.node()) {
    if (network_ != nullptr && program->driver_node != 0) network_->SendToNode(program->driver_node, output);
    return;
  }
  for (auto& [id, connection] : connections_) {
    if (connection->kind == rpc::ProcessKind::kDriver && connection->job == output.job && connection->ring != nullptr) {
      (void)connection->ring->Send(output);  // a driver that does not read misses it
    }
  }
  port_->RingBells();
}

// ------------------------------------------------------------------ data

void Daemon::OnDataSocket(NodeId from, base::UniqueFd socket, std::string early) {
  transfers_.Serve(std::move(socket), from, std::move(early));
}

void Daemon::FetchFile(NodeId from, const rpc::ProgramFile& file, const std::string& path,
                       std::function<void(absl::Status)> done) {
  rpc::Bits256 sha256{};
  if (file.sha256.size() != sha256.size()) return done(absl::InvalidArgumentError("its hash does not have 32 bytes"));
  std::memcpy(sha256.data(), file.sha256.data(), sha256.size());
  transfers_.FetchFile(from, sha256, file.size_bytes, path, std::move(done));
}

std::optional<store::TransferServer::Opened> Daemon::OpenFile(const rpc::Bits256& sha256) {
  absl::StatusOr<base::UniqueFd> file = program_files_->Open(Bytes(rpc::BytesOf(sha256)));
  struct stat info;
  if (!file.ok() || fstat(file->get(), &info) != 0) return std::nullopt;
  const auto hold = std::make_shared<const base::UniqueFd>(std::move(*file));
  return store::TransferServer::Opened{hold->get(), 0, static_cast<uint64_t>(info.st_size), hold};
}

// The connection is made on the loop; its end of the wait here, too, if the daemon ends.
absl::StatusOr<base::UniqueFd> Daemon::DialData(NodeId node, Duration patience) {
  struct Dialling {
    base::Mutex mutex;
    base::CondVar changed;
    std::optional<absl::StatusOr<base::UniqueFd>> result;
  };
  auto dialling = std::make_shared<Dialling>();
  loop_->Post([this, node, dialling] {
    const auto finish = [dialling](absl::StatusOr<base::UniqueFd> socket) {
      const base::MutexLock lock(&dialling->mutex);
      dialling->result = std::move(socket);
      dialling->changed.NotifyAll();
    };
    if (network_ == nullptr) return finish(absl::FailedPreconditionError("there are no other nodes"));
    network_->DialData(node, finish);
  });
  const Time deadline = base::SystemClock().Now() + patience;
  base::MutexLock lock(&dialling->mutex);
  while (!dialling->result && !dials_end_ && base::SystemClock().Now() < deadline) {
    dialling->changed.WaitFor(&dialling->mutex, kDialLook);
  }
  if (!dialling->result) return absl::DeadlineExceededError("no data connection in time");
  return *std::move(dialling->result);
}

// ------------------------------------------------------------------ drivers

absl::Status Daemon::ListenForDrivers() {
  MANTA_ASSIGN_OR_RETURN(drivers_socket_, base::ListenUnix(spec_.drivers_path, base::SocketKind::kSeqPacket));
  drivers_watch_ = loop_->WatchFd(drivers_socket_.get(), base::kReadable, [this](int) { AcceptDrivers(); });
  return absl::OkStatus();
}

void Daemon::AcceptDrivers() {
  while (true) {
    absl::StatusOr<base::UniqueFd> socket = base::AcceptUnix(drivers_socket_.get());
    if (!socket.ok()) return;
    const absl::StatusOr<base::PeerCredentials> peer = base::GetPeerCredentials(socket->get());
    if (!peer.ok() || peer->uid != geteuid()) continue;
    std::vector<uint64_t> silent;
    for (const auto& [id, connection] : connections_) {
      if (connection->kind == rpc::ProcessKind::kDriver && connection->store == nullptr) silent.push_back(id);
    }
    if (silent.size() >= kSilentDriversMax) OnProcessGone(silent.front());
    AddConnection(*std::move(socket)).kind = rpc::ProcessKind::kDriver;
  }
}

// The kernel knows who connected, whatever it says.
void Daemon::WatchDriver(Connection& driver) {
  const absl::StatusOr<base::PeerCredentials> peer = base::GetPeerCredentials(driver.control->fd());
  if (!peer.ok()) return;
  std::array<char, PATH_MAX> directory;
  const std::string link = "/proc/" + std::to_string(peer->pid) + "/cwd";
  const ssize_t size = readlink(link.c_str(), directory.data(), directory.size());
  if (size > 0) driver.directory.assign(directory.data(), static_cast<size_t>(size));
  absl::StatusOr<base::UniqueFd> pidfd = base::OpenPidfd(peer->pid);
  if (pidfd.ok()) WatchProcess(driver, *std::move(pidfd), peer->pid);
}

}  // namespace manta::runtime

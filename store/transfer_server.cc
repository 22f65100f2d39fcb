#include "store/transfer_server.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/log.h"

namespace manta::store {
namespace {

// Signals are other threads' business, and a reader that goes away is no reason to end the process.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// The bytes as they are now, for their checksum: what is sent is read again, by the kernel.
absl::Status ReadAt(int fd, uint64_t offset, char* to, size_t size) {
  while (size > 0) {
    const ssize_t got = pread(fd, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, "pread");
    if (got == 0) return absl::DataLossError("the file is shorter than it was");
    to += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

}  // namespace

TransferServer::TransferServer(Options options) : options_(std::move(options)) {}

TransferServer::~TransferServer() {
  Connections all;
  {
    base::MutexLock lock(&mutex_);
    for (Connection& connection : connections_) connection.socket.Shutdown();
    all.splice(all.end(), connections_);
  }
  for (Connection& connection : all) connection.thread.join();
}

void TransferServer::Serve(base::UniqueFd fd, NodeId peer, std::string early) {
  Connections ended;
  {
    base::MutexLock lock(&mutex_);
    Reap(&ended);
    if (MakeRoom(peer)) {
      Connection& added = connections_.emplace_back(std::move(fd), options_.limits, std::move(early), peer);
      added.thread = std::thread([this, &added] { Run(&added); });
    }
  }
  for (Connection& connection : ended) connection.thread.join();
}

void TransferServer::Reap(Connections* ended) {
  for (auto it = connections_.begin(); it != connections_.end();) {
    const auto next = std::next(it);
    if (it->ended) ended->splice(ended->end(), connections_, it);
    it = next;
  }
}

bool TransferServer::MakeRoom(NodeId peer) {
  size_t all = 0, of_peer = 0;
  Connection* idle = nullptr;
  Connection* idle_of_peer = nullptr;
  const auto take_longest = [](Connection** longest, Connection* connection) {
    if (*longest == nullptr || connection->idle_since < (*longest)->idle_since) *longest = connection;
  };
  for (Connection& connection : connections_) {
    if (connection.closing) continue;
    ++all;
    of_peer += connection.peer == peer ? 1 : 0;
    if (connection.busy) continue;
    take_longest(&idle, &connection);
    if (connection.peer == peer) take_longest(&idle_of_peer, &connection);
  }
  Connection* replaced = nullptr;
  if (of_peer >= options_.connections_per_peer_max) {
    replaced = idle_of_peer;
  } else if (all >= options_.connections_max) {
    replaced = idle;
  } else {
    return true;
  }
  if (replaced == nullptr) return false;
  replaced->closing = true;
  replaced->socket.Shutdown();
  return true;
}

void TransferServer::Drop(NodeId peer) {
  base::MutexLock lock(&mutex_);
  for (Connection& connection : connections_) {
    if (connection.peer != peer) continue;
    connection.closing = true;
    connection.socket.Shutdown();
  }
}

size_t TransferServer::connections() const {
  base::MutexLock lock(&mutex_);
  return static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(),
                                           [](const Connection& c) { return !c.closing && !c.ended; }));
}

// ---------------------------------------------------------------- on a connection's thread

void TransferServer::Run(Connection* connection) {
  BlockSignals();
  absl::Status status;
  while (status.ok()) {
    SetBusy(connection, false);
    status = connection->socket.AwaitReadable(options_.idle);
    SetBusy(connection, true);
    if (status.ok()) status = Answer(connection);
  }
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) {
    MANTA_LOG(kWarning) << "the data connection of node n" << connection->peer
                        << " is closed: " << base::Message(status);
  }
  connection->socket.Shutdown();
  base::MutexLock lock(&mutex_);
  connection->ended = true;
}

void TransferServer::SetBusy(Connection* connection, bool busy) {
  base::MutexLock lock(&mutex_);
  connection->busy = busy;
  if (!busy) connection->idle_since = base::SystemClock().Now();
}

absl::Status TransferServer::Answer(Connection* connection) {
  std::array<char, kTransferRequestBytes> bytes;
  MANTA_RETURN_IF_ERROR(connection->socket.Read(bytes.data(), bytes.size()));
  MANTA_ASSIGN_OR_RETURN(const TransferRequest request, DecodeTransferRequest(bytes.data()));
  const std::optional<Opened> opened = options_.source(request.item);
  TransferReply reply{TransferStatus::kNotThere, 0};
  if (opened) {
    const bool inside = request.offset + request.length <= opened->size_bytes;
    reply = {inside ? TransferStatus::kThere : TransferStatus::kBadRange, opened->size_bytes};
  }
  std::array<char, kTransferReplyBytes> head;
  EncodeTransferReply(reply, head.data());
  const bool there = reply.status == TransferStatus::kThere;
  MANTA_RETURN_IF_ERROR(connection->socket.Write(head.data(), head.size(), there));
  return there ? Send(connection, *opened, request) : absl::OkStatus();
}

absl::Status TransferServer::Send(Connection* connection, const Opened& opened, const TransferRequest& request) {
  const auto chunk = std::make_unique_for_overwrite<char[]>(std::min(request.length, kTransferChunkBytes));
  const uint64_t end = request.offset + request.length;
  for (uint64_t at = request.offset; at < end; at += kTransferChunkBytes) {
    const size_t size = std::min(end - at, kTransferChunkBytes);
    MANTA_RETURN_IF_ERROR(ReadAt(opened.fd, opened.offset + at, chunk.get(), size));
    const uint64_t checksum = base::Hash64(chunk.get(), size);
    char head[sizeof checksum];
    std::memcpy(head, &checksum, sizeof checksum);
    MANTA_RETURN_IF_ERROR(connection->socket.Write(head, sizeof head, true));
    MANTA_RETURN_IF_ERROR(connection->socket.SendFile(opened.fd, opened.offset + at, size));
  }
  return absl::OkStatus();
}

}  // namespace manta::store

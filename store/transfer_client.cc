#include "store/transfer_client.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/hash.h"
#include "base/memfd.h"

namespace manta::store {
namespace {

constexpr Duration kPause = std::chrono::milliseconds(20);  // before a connection that broke at once is made again
constexpr Duration kIdleCheck = std::chrono::seconds(1);
constexpr size_t kIdlePerPeerMax = TransferClient::kWorkersPerPeer;

Time Now() { return base::SystemClock().Now(); }

// Signals are other threads' business.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// Into a file rather than into a mapping of it: a fault per page costs more than the copy, and that there is no room is
// a status, not a signal.
absl::Status WriteAt(int fd, uint64_t offset, const char* from, size_t size) {
  while (size > 0) {
    const ssize_t written = pwrite(fd, from, size, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return base::ErrnoStatus(errno, "write what was fetched");
    from += written;
    offset += static_cast<uint64_t>(written);
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::StatusOr<rpc::Bits256> HashFile(int fd, uint64_t size_bytes) {
  base::Mapping mapping;
  if (size_bytes > 0) {
    MANTA_ASSIGN_OR_RETURN(mapping, base::Mapping::Map(fd, size_bytes, base::Mapping::Access::kReadOnly));
  }
  return rpc::Sha256({mapping.data(), mapping.size()});
}

}  // namespace

TransferClient::TransferClient(Options options) : options_(std::move(options)) {}

TransferClient::~TransferClient() {
  std::deque<std::unique_ptr<Job>> waiting;
  std::vector<std::thread> workers;
  {
    base::MutexLock lock(&mutex_);
    ending_ = true;
    waiting.swap(waiting_);
    workers.swap(workers_);
    for (auto& [id, job] : running_) {
      job->cancelled = true;
      if (job->socket != nullptr) job->socket->Shutdown();
    }
    wake_.NotifyAll();
  }
  for (const std::unique_ptr<Job>& job : waiting) job->done(absl::CancelledError("the node ends"));
  for (std::thread& worker : workers) worker.join();
}

TransferClient::FetchId TransferClient::Fetch(NodeId peer, const TransferItem& item, Destination destination,
                                              Done done) {
  auto job = std::make_unique<Job>();
  job->peer = peer;
  job->item = item;
  job->destination = std::move(destination);
  job->done = std::move(done);
  return Add(std::move(job));
}

TransferClient::FetchId TransferClient::FetchFile(NodeId peer, const rpc::Bits256& sha256, uint64_t size_bytes,
                                                  std::string path, Done done) {
  auto job = std::make_unique<Job>();
  job->peer = peer;
  job->item = TransferItem::File(sha256);
  job->destination.size_bytes = size_bytes;
  job->path = std::move(path);
  job->done = std::move(done);
  return Add(std::move(job));
}

TransferClient::FetchId TransferClient::Add(std::unique_ptr<Job> job) {
  base::MutexLock lock(&mutex_);
  const FetchId id = job->id = ++last_id_;
  waiting_.push_back(std::move(job));
  if (workers_idle_ < waiting_.size() && workers_.size() < kWorkersMax) {
    workers_.emplace_back([this] { RunWorker(); });
  }
  wake_.NotifyAll();
  return id;
}

void TransferClient::Cancel(FetchId fetch) {
  std::unique_ptr<Job> waiting;
  {
    base::MutexLock lock(&mutex_);
    const auto it =
        std::find_if(waiting_.begin(), waiting_.end(), [fetch](const auto& job) { return job->id == fetch; });
    if (it != waiting_.end()) {
      waiting = std::move(*it);
      waiting_.erase(it);
    } else if (const auto running = running_.find(fetch); running != running_.end()) {
      running->second->cancelled = true;
      if (running->second->socket != nullptr) running->second->socket->Shutdown();
      wake_.NotifyAll();
    }
  }
  if (waiting != nullptr) waiting->done(absl::CancelledError("nobody waits for it"));
}

void TransferClient::Drop(NodeId peer) {
  base::MutexLock lock(&mutex_);
  idle_.erase(peer);
}

// ---------------------------------------------------------------- workers

void TransferClient::RunWorker() {
  BlockSignals();
  mutex_.Lock();
  while (true) {
    CloseIdle(Now());
    std::unique_ptr<Job> job = TakeJob();
    if (job == nullptr) {
      if (ending_) break;
      ++workers_idle_;
      if (idle_.empty()) {
        wake_.Wait(&mutex_);
      } else {
        wake_.WaitFor(&mutex_, kIdleCheck);
      }
      --workers_idle_;
      continue;
    }
    running_[job->id] = job.get();
    ++running_of_[job->peer];
    mutex_.Unlock();
    const absl::Status status = RunJob(job.get());
    mutex_.Lock();
    running_.erase(job->id);
    if (--running_of_[job->peer] == 0) running_of_.erase(job->peer);
    wake_.NotifyAll();  // another of this peer's may begin
    mutex_.Unlock();
    job->done(status);
    job.reset();
    mutex_.Lock();
  }
  mutex_.Unlock();
}

std::unique_ptr<TransferClient::Job> TransferClient::TakeJob() {
  const auto it = std::find_if(waiting_.begin(), waiting_.end(), [this](const auto& job) {
    mutex_.AssertHeld();
    const auto running = running_of_.find(job->peer);
    return running == running_of_.end() || running->second < kWorkersPerPeer;
  });
  if (it == waiting_.end()) return nullptr;
  std::unique_ptr<Job> job = std::move(*it);
  waiting_.erase(it);
  return job;
}

void TransferClient::CloseIdle(Time now) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    std::erase_if(it->second, [now](const Idle& idle) { return now - idle.since >= kIdleMax; });
    it = it->second.empty() ? idle_.erase(it) : std::next(it);
  }
}

// ---------------------------------------------------------------- one fetch

absl::Status TransferClient::RunJob(Job* job) { return job->path.empty() ? Receive(job) : MakeFile(job); }

absl::Status TransferClient::MakeFile(Job* job) {
  const std::string part = job->path + ".part" + std::to_string(getpid()) + "." + std::to_string(job->id);
  const auto receive = [&]() -> absl::Status {
    auto fd = std::make_shared<const base::UniqueFd>(open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700));
    if (!*fd) return base::ErrnoStatus(errno, "open " + part);
    job->destination.fd = fd;
    if (job->destination.size_bytes > 0) MANTA_RETURN_IF_ERROR(Receive(job));
    MANTA_ASSIGN_OR_RETURN(const rpc::Bits256 sha256, HashFile(fd->get(), job->destination.size_bytes));
    if (sha256 != job->item.sha256) {
      return absl::DataLossError(
          base::AbslView(ToString(job->item) + " has another content at node n" + std::to_string(job->peer)));
    }
    if (fsync(fd->get()) != 0) return base::ErrnoStatus(errno, "fsync " + part);
    return absl::OkStatus();
  };
  absl::Status status = receive();
  job->destination.fd.reset();  // an executable that is open for writing cannot be started
  if (status.ok() && rename(part.c_str(), job->path.c_str()) != 0) status = base::ErrnoStatus(errno, "rename " + part);
  if (!status.ok()) (void)unlink(part.c_str());
  return status;
}

absl::Status TransferClient::Receive(Job* job) {
  Progress progress{0, Now(), false};
  absl::Status last = absl::UnavailableError("not connected");
  while (true) {
    const Duration patience = options_.limits.stall - (Now() - progress.at);
    if (patience <= Duration::zero()) {
      return absl::DeadlineExceededError(base::AbslView("no more of " + ToString(job->item) + " comes from node n" +
                                                        std::to_string(job->peer) + ": " + base::Message(last)));
    }
    std::unique_ptr<DataSocket> socket = TakeIdle(job->peer);
    const bool reused = socket != nullptr;
    if (!reused) {
      absl::StatusOr<std::unique_ptr<DataSocket>> connected = Connect(job->peer, patience);
      if (!connected.ok()) {
        last = connected.status();
        if (!Pause(job, kPause)) return absl::CancelledError("nobody waits for it");
        continue;
      }
      socket = *std::move(connected);
    }
    if (!Use(job, socket.get())) return absl::CancelledError("nobody waits for it");
    const uint64_t had = progress.begin;
    last = ReceiveMissing(socket.get(), *job, &progress);
    const bool wanted = Use(job, nullptr);
    if (last.ok() || absl::IsNotFound(last)) {
      KeepIdle(job->peer, std::move(socket));
      return last;
    }
    if (!wanted) return absl::CancelledError("nobody waits for it");
    const bool may_go_on = absl::IsUnavailable(last) || absl::IsDeadlineExceeded(last) || absl::IsAborted(last);
    if (!may_go_on) return last;
    if (!reused && progress.begin == had && !Pause(job, kPause)) return absl::CancelledError("nobody waits for it");
  }
}

// kAborted: a chunk is damaged, for the first time.
absl::Status TransferClient::ReceiveMissing(DataSocket* socket, const Job& job, Progress* progress) {
  const uint64_t size_bytes = job.destination.size_bytes;
  std::array<char, kTransferRequestBytes> request;
  EncodeTransferRequest({job.item, progress->begin, size_bytes - progress->begin}, request.data());
  MANTA_RETURN_IF_ERROR(socket->Write(request.data(), request.size()));
  std::array<char, kTransferReplyBytes> bytes;
  MANTA_RETURN_IF_ERROR(socket->Read(bytes.data(), bytes.size()));
  MANTA_ASSIGN_OR_RETURN(const TransferReply reply, DecodeTransferReply(bytes.data()));
  const std::string source = ToString(job.item) + " at node n" + std::to_string(job.peer);
  if (reply.status == TransferStatus::kNotThere) {
    return absl::NotFoundError(base::AbslView(source + " is not there any more"));
  }
  if (reply.size_bytes != size_bytes || reply.status != TransferStatus::kThere) {
    return absl::DataLossError(base::AbslView(source + " has " + std::to_string(reply.size_bytes) + " bytes, not " +
                                              std::to_string(size_bytes)));
  }
  const auto chunk = std::make_unique_for_overwrite<char[]>(std::min(size_bytes, kTransferChunkBytes));
  while (progress->begin < size_bytes) {
    const size_t size = std::min(size_bytes - progress->begin, kTransferChunkBytes);
    char head[sizeof(uint64_t)];
    MANTA_RETURN_IF_ERROR(socket->Read(head, sizeof head));
    MANTA_RETURN_IF_ERROR(socket->Read(chunk.get(), size));
    uint64_t checksum = 0;
    std::memcpy(&checksum, head, sizeof checksum);
    if (base::Hash64(chunk.get(), size) != checksum) {
      const std::string what = "the chunk at " + std::to_string(progress->begin) + " of " + source + " came damaged";
      if (std::exchange(progress->damaged, true)) return absl::DataLossError(base::AbslView(what + ", twice"));
      return absl::AbortedError(base::AbslView(what));
    }
    MANTA_RETURN_IF_ERROR(
        WriteAt(job.destination.fd->get(), job.destination.offset + progress->begin, chunk.get(), size));
    *progress = {progress->begin + size, Now(), false};
  }
  return absl::OkStatus();
}

std::unique_ptr<DataSocket> TransferClient::TakeIdle(NodeId peer) {
  base::MutexLock lock(&mutex_);
  CloseIdle(Now());
  const auto it = idle_.find(peer);
  if (it == idle_.end()) return nullptr;
  std::unique_ptr<DataSocket> socket = std::move(it->second.back().socket);
  it->second.pop_back();
  if (it->second.empty()) idle_.erase(it);
  return socket;
}

void TransferClient::KeepIdle(NodeId peer, std::unique_ptr<DataSocket> socket) {
  base::MutexLock lock(&mutex_);
  if (ending_) return;
  std::vector<Idle>& idle = idle_[peer];
  if (idle.size() >= kIdlePerPeerMax) idle.erase(idle.begin());
  idle.push_back({std::move(socket), Now()});
}

absl::StatusOr<std::unique_ptr<DataSocket>> TransferClient::Connect(NodeId peer, Duration patience) {
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd fd, options_.dial(peer, patience));
  return std::make_unique<DataSocket>(std::move(fd), options_.limits);
}

bool TransferClient::Use(Job* job, DataSocket* socket) {
  base::MutexLock lock(&mutex_);
  job->socket = socket;
  return !job->cancelled;
}

bool TransferClient::Pause(Job* job, Duration time) {
  base::MutexLock lock(&mutex_);
  const Time end = Now() + time;
  while (!job->cancelled && Now() < end) wake_.WaitFor(&mutex_, end - Now());
  return !job->cancelled;
}

}  // namespace manta::store

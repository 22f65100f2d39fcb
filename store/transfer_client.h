// TransferClient fetches objects and files from other nodes, straight to where they shall lie.
//
// Problem:    connections break, chunks come damaged, sources stop, lie or no longer have it. A fetch survives what it
//             can and otherwise ends, in bounded time, with an error that says what was the matter.
//
//   a worker takes a fetch ─► an idle connection to its peer, or Options::dial ─► the chunks that are missing, each
//   checked ─► Done. A connection that breaks: the same again from the first missing chunk. A chunk that is damaged
//   comes again, once.
//
// Ownership:  owns its threads and the idle connections. Borrows destinations until Done is called.
// Threads:    thread-safe. Done is called on a worker, or inside Cancel() or the destructor; Options::dial on a worker.
// The
//             destructor cancels what is left and waits for the workers: as long as Options::dial takes.
// Invariants: (1) Done is called once for each fetch; nothing is written to its destination after that.
//             (2) a peer has at most kWorkersPerPeer fetches under way, so that one that hangs holds up no other
//             peer's.
// Errors:     of Done: kNotFound: the source does not have it; kDataLoss: damaged twice, or of another size or content;
//             kDeadlineExceeded: no byte in limits.stall, or no chunk in
//             limits.piece; kCancelled; kResourceExhausted: no memory or disk here.
// See:        store/transfer_wire.h, docs/objects.md (Transfer)
#ifndef MANTA_STORE_TRANSFER_CLIENT_H_
#define MANTA_STORE_TRANSFER_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "rpc/crypto.h"
#include "store/data_socket.h"
#include "store/transfer_wire.h"

namespace manta::store {

class TransferClient {
 public:
  static constexpr size_t kWorkersMax = 8;
  static constexpr size_t kWorkersPerPeer = 2;
  static constexpr Duration kIdleMax = std::chrono::seconds(10);

  // A connected, authenticated stream socket to node `peer`. May block for `patience`.
  using Dial = std::function<absl::StatusOr<base::UniqueFd>(NodeId peer, Duration patience)>;
  using Done = std::function<void(absl::Status)>;
  struct Options {
    Dial dial;
    DataSocket::Limits limits = {};
  };
  // Bytes [offset, offset + size_bytes) of a file or memfd that is at least as long. `fd` is kept open meanwhile.
  struct Destination {
    std::shared_ptr<const base::UniqueFd> fd;
    uint64_t offset = 0;
    uint64_t size_bytes = 0;
  };
  // Names a fetch. Never used twice.
  using FetchId = uint64_t;

  explicit TransferClient(Options options);
  ~TransferClient();
  TransferClient(const TransferClient&) = delete;
  TransferClient& operator=(const TransferClient&) = delete;

  // Fetches the whole item, of destination.size_bytes > 0, from `peer`.
  FetchId Fetch(NodeId peer, const TransferItem& item, Destination destination, Done done);
  // Fetches the file with this content to `path`, where it appears whole (mode 0700) or not at all.
  FetchId FetchFile(NodeId peer, const rpc::Bits256& sha256, uint64_t size_bytes, std::string path, Done done);
  // Done comes soon, with kCancelled, or with what it was to be had it been there already.
  void Cancel(FetchId fetch);
  // Closes what is idle to a node, which has died.
  void Drop(NodeId peer);

 private:
  struct Job {
    FetchId id = 0;
    NodeId peer = 0;
    TransferItem item;
    Destination destination;
    std::string path;  // not empty: of a file that is yet to be made, the destination
    Done done;
    // Guarded by mutex_.
    bool cancelled = false;
    DataSocket* socket = nullptr;  // in use
  };
  struct Idle {
    std::unique_ptr<DataSocket> socket;
    Time since;
  };
  // How far a fetch has come.
  struct Progress {
    uint64_t begin = 0;    // what is before it is there
    Time at;               // when the last chunk came
    bool damaged = false;  // the chunk at `begin`, once
  };

  FetchId Add(std::unique_ptr<Job> job);
  void RunWorker();
  // The next job whose peer has not enough of them already; null: none.
  std::unique_ptr<Job> TakeJob() MANTA_REQUIRES(mutex_);
  void CloseIdle(Time now) MANTA_REQUIRES(mutex_);

  absl::Status RunJob(Job* job);
  absl::Status MakeFile(Job* job);
  absl::Status Receive(Job* job);
  absl::Status ReceiveMissing(DataSocket* socket, const Job& job, Progress* progress);
  std::unique_ptr<DataSocket> TakeIdle(NodeId peer);
  void KeepIdle(NodeId peer, std::unique_ptr<DataSocket> socket);
  absl::StatusOr<std::unique_ptr<DataSocket>> Connect(NodeId peer, Duration patience);
  // False: it is cancelled.
  bool Use(Job* job, DataSocket* socket);
  bool Pause(Job* job, Duration time);

  const Options options_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool ending_ MANTA_GUARDED_BY(mutex_) = false;
  FetchId last_id_ MANTA_GUARDED_BY(mutex_) = 0;
  std::deque<std::unique_ptr<Job>> waiting_ MANTA_GUARDED_BY(mutex_);
  std::map<FetchId, Job*> running_ MANTA_GUARDED_BY(mutex_);
  std::map<NodeId, size_t> running_of_ MANTA_GUARDED_BY(mutex_);
  std::map<NodeId, std::vector<Idle>> idle_ MANTA_GUARDED_BY(mutex_);
  std::vector<std::thread> workers_ MANTA_GUARDED_BY(mutex_);
  size_t workers_idle_ MANTA_GUARDED_BY(mutex_) = 0;
};

}  // namespace manta::store

#endif  // MANTA_STORE_TRANSFER_CLIENT_H_

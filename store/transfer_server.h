// TransferServer sends objects and files to other nodes, on connections that they have made.
//
// Problem:    objects are up to GiBs, and readers slow, stopped, or lying: none of that may reach the daemon's loop,
// the
//             other readers, or the memory that is read.
// Ownership:  owns the connections, each with a thread of its own, and what is being sent (Opened::hold).
// Threads:    thread-safe. Serve() and Drop() do not block; the destructor waits for Options::source to return, and for
//             nothing else.
// Invariants: (1) of connections_max connections at most connections_per_peer_max are one node's. One more replaces the
//                 one that has been idle longest, or is closed: the node tries again.
//             (2) a reader that takes no byte for limits.stall, or not a chunk in limits.piece, is closed.
// See:        store/transfer_wire.h, docs/objects.md (Transfer)
#ifndef MANTA_STORE_TRANSFER_SERVER_H_
#define MANTA_STORE_TRANSFER_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "store/data_socket.h"
#include "store/transfer_wire.h"

namespace manta::store {

class TransferServer {
 public:
  // Where an item's bytes lie. They stay as they are while `hold` lives.
  struct Opened {
    int fd = -1;
    uint64_t offset = 0;
    uint64_t size_bytes = 0;
    std::shared_ptr<const void> hold;
  };
  // Called on the connections' threads. None: it is not there (any more).
  using Source = std::function<std::optional<Opened>(const TransferItem&)>;

  struct Options {
    Source source;
    size_t connections_max = 16;
    size_t connections_per_peer_max = 4;
    Duration idle = std::chrono::seconds(30);  // then a connection without a request is closed
    DataSocket::Limits limits = {};
  };

  explicit TransferServer(Options options);
  ~TransferServer();
  TransferServer(const TransferServer&) = delete;
  TransferServer& operator=(const TransferServer&) = delete;

  // Answers what node `peer` asks for on this connected, authenticated stream socket, until it or the peer ends.
  // `early`: what has been read from it already.
  void Serve(base::UniqueFd fd, NodeId peer, std::string early = {});
  // Closes the connections of a node, which has died.
  void Drop(NodeId peer);
  size_t connections() const;

 private:
  struct Connection {
    Connection(base::UniqueFd fd, DataSocket::Limits limits, std::string early, NodeId from)
        : socket(std::move(fd), limits, std::move(early)), peer(from) {}
    DataSocket socket;
    const NodeId peer;
    std::thread thread;
    // Guarded by mutex_.
    bool busy = true;  // else it awaits a request, since `idle_since`
    Time idle_since;
    bool closing = false;
    bool ended = false;  // the thread is about to return
  };
  using Connections = std::list<Connection>;

  void Run(Connection* connection);
  absl::Status Answer(Connection* connection);
  absl::Status Send(Connection* connection, const Opened& opened, const TransferRequest& request);
  void SetBusy(Connection* connection, bool busy);
  bool MakeRoom(NodeId peer) MANTA_REQUIRES(mutex_);
  // Those whose thread has ended.
  void Reap(Connections* ended) MANTA_REQUIRES(mutex_);

  const Options options_;
  mutable base::Mutex mutex_;
  Connections connections_ MANTA_GUARDED_BY(mutex_);
};

}  // namespace manta::store

#endif  // MANTA_STORE_TRANSFER_SERVER_H_

// ObjectTransfers is the daemon's part in moving objects and files between nodes: it carries out SendObject,
// WriteObject and AbandonWrite.
//
// Problem:    what is decided on the daemon's loop is carried out on threads of store::TransferServer and
// TransferClient,
//             while the core goes on to free, recycle and destroy memory.
// Ownership:  owns the server, the client and the offers. Borrows the loop and the segments' files.
// Threads:    loop-confined, but for Serve(). Options::dial and Options::open_file are called on other threads; the
//             other callbacks on the loop.
// Invariants: (1) each WriteObject is answered by one Options::written, but for those that the destructor cuts off.
//             (2) a range for which Revoke() said false is not read, nor will be.
// See:        store/transfer_client.h, store/transfer_server.h, store/offer_table.h, docs/objects.md (Transfer)
#ifndef MANTA_RUNTIME_NODE_OBJECT_TRANSFERS_H_
#define MANTA_RUNTIME_NODE_OBJECT_TRANSFERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "runtime/node/node_core.h"
#include "store/offer_table.h"
#include "store/segment_files.h"
#include "store/transfer_client.h"
#include "store/transfer_server.h"

namespace manta::runtime {

class ObjectTransfers {
 public:
  struct Options {
    // A connected, authenticated data connection to another node's daemon; may block for `patience`.
    store::TransferClient::Dial dial;
    std::function<void(NodeId to, rpc::ObjectPulled pulled)> send;
    std::function<void(ObjectWritten written)> written;
    // A file that others may fetch, by the SHA-256 of its content. None: it is not here.
    std::function<std::optional<store::TransferServer::Opened>(const rpc::Bits256& sha256)> open_file;
  };

  ObjectTransfers(base::EventLoop* loop, const store::SegmentFiles* segments, Options options);
  ObjectTransfers(const ObjectTransfers&) = delete;
  ObjectTransfers& operator=(const ObjectTransfers&) = delete;

  // ---- the core's actions
  void Send(SendObject action);
  void Write(WriteObject action);
  void Abandon(const AbandonWrite& action);
  // A PinScan names `range`: whether a transfer reads it. None begins to from now on.
  bool Revoke(const rpc::StoreLocation& range) { return offers_.Revoke(range); }

  // ---- connections and files
  // A connection that node `peer` has made for fetching. `early`: what has been read from it already. Thread-safe.
  void Serve(base::UniqueFd fd, NodeId peer, std::string early = {}) {
    server_.Serve(std::move(fd), peer, std::move(early));
  }
  // Fetches the file with this content to `path`, where it appears whole (mode 0700) or not at all; `done` is called on
  // the loop. Errors: store::TransferClient's.
  void FetchFile(NodeId peer, const rpc::Bits256& sha256, uint64_t size_bytes, std::string path,
                 store::TransferClient::Done done);
  // Node `peer` has died.
  void Drop(NodeId peer);

 private:
  std::optional<store::TransferServer::Opened> Open(const store::TransferItem& item);
  absl::Status ReadInline(SendObject* action) const;
  absl::Status WriteInline(const WriteObject& action) const;
  // `done` on the loop, unless this has ended.
  store::TransferClient::Done OnLoop(store::TransferClient::Done done);
  void Ended(uint64_t pull, const absl::Status& status);

  base::EventLoop* const loop_;
  const store::SegmentFiles* const segments_;
  const Options options_;
  std::map<uint64_t, store::TransferClient::FetchId> fetches_;  // by pull
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  store::OfferTable offers_;
  store::TransferServer server_;
  store::TransferClient client_;  // ends first: it calls back
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_OBJECT_TRANSFERS_H_

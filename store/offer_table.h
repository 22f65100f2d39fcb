// OfferTable knows which objects of this node others may fetch, and which of them are being read for that.
//
// Problem:    the memory of an object that is dropped is used again, and must not be while a transfer reads it; nor may
// a
//             transfer that begins later find another object's bytes.
// Protocol:   as with pins (store/pin_table.h): whoever decides that memory is free asks Revoke() first. From then on
//             nobody opens the object, and when Revoke() says that nobody reads it, nobody ever will.
// Threads:    thread-safe.
// Invariants: (1) what Open() gives lies where the object lies for as long as Opened::hold lives.
// See:        docs/objects.md (Transfer)
#ifndef MANTA_STORE_OFFER_TABLE_H_
#define MANTA_STORE_OFFER_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/ids.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "rpc/message.h"
#include "store/transfer_server.h"

namespace manta::store {

class OfferTable {
 public:
  OfferTable() : state_(std::make_shared<State>()) {}
  OfferTable(const OfferTable&) = delete;
  OfferTable& operator=(const OfferTable&) = delete;

  // The object lies at `location`, in the segment behind `fd`, and is not leaving.
  void Offer(const ObjectId& object, uint32_t attempt, const rpc::StoreLocation& location,
             std::shared_ptr<const base::UniqueFd> fd);
  // None: it is not offered (any more).
  std::optional<TransferServer::Opened> Open(const ObjectId& object, uint32_t attempt);
  // The object at `location` is leaving: nobody opens it any more. Whether somebody still reads it.
  bool Revoke(const rpc::StoreLocation& location);
  size_t size() const;

 private:
  using Key = std::pair<ObjectId, uint32_t>;    // object, attempt
  using Place = std::pair<uint64_t, uint64_t>;  // segment, offset
  struct Entry {
    rpc::StoreLocation location;
    std::shared_ptr<const base::UniqueFd> fd;
  };
  // Outlives the table while something is read.
  struct State {
    mutable base::Mutex mutex;
    std::map<Key, Entry> offers MANTA_GUARDED_BY(mutex);
    std::map<Place, Key> at MANTA_GUARDED_BY(mutex);  // of `offers`
    std::map<Place, uint64_t> readers MANTA_GUARDED_BY(mutex);
  };
  struct Hold;

  const std::shared_ptr<State> state_;
};

}  // namespace manta::store

#endif  // MANTA_STORE_OFFER_TABLE_H_

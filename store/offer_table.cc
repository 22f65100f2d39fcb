#include "store/offer_table.h"

namespace manta::store {

struct OfferTable::Hold {
  Hold(std::shared_ptr<State> of, Place where, std::shared_ptr<const base::UniqueFd> open)
      : state(std::move(of)), place(where), fd(std::move(open)) {}
  ~Hold() {
    base::MutexLock lock(&state->mutex);
    const auto it = state->readers.find(place);
    if (--it->second == 0) state->readers.erase(it);
  }

  const std::shared_ptr<State> state;
  const Place place;
  const std::shared_ptr<const base::UniqueFd> fd;
};

void OfferTable::Offer(const ObjectId& object, uint32_t attempt, const rpc::StoreLocation& location,
                       std::shared_ptr<const base::UniqueFd> fd) {
  base::MutexLock lock(&state_->mutex);
  const Key key{object, attempt};
  const Place place{location.segment, location.offset};
  // It may have left and come back elsewhere before its old place is revoked.
  if (const auto old = state_->offers.find(key); old != state_->offers.end()) {
    state_->at.erase({old->second.location.segment, old->second.location.offset});
  }
  state_->offers[key] = {location, std::move(fd)};
  state_->at[place] = key;
}

std::optional<TransferServer::Opened> OfferTable::Open(const ObjectId& object, uint32_t attempt) {
  base::MutexLock lock(&state_->mutex);
  const auto offer = state_->offers.find({object, attempt});
  if (offer == state_->offers.end()) return std::nullopt;
  const auto& [location, fd] = offer->second;
  const Place place{location.segment, location.offset};
  ++state_->readers[place];
  return TransferServer::Opened{fd->get(), location.offset, location.size_bytes,
                                std::make_shared<const Hold>(state_, place, fd)};
}

bool OfferTable::Revoke(const rpc::StoreLocation& location) {
  base::MutexLock lock(&state_->mutex);
  const Place place{location.segment, location.offset};
  if (const auto at = state_->at.find(place); at != state_->at.end()) {
    state_->offers.erase(at->second);
    state_->at.erase(at);
  }
  return state_->readers.contains(place);
}

size_t OfferTable::size() const {
  base::MutexLock lock(&state_->mutex);
  return state_->offers.size();
}

}  // namespace manta::store

#include "store/pin_table.h"

#include <cstddef>

namespace manta::store {
namespace {

// One header word (slots ever used), then the slots.
constexpr size_t kTableBytes = (PinTable::kSlotsMax + 1) * sizeof(uint64_t);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

}  // namespace

uint64_t PinKey(uint64_t segment, uint64_t offset) { return ((segment << 40) | (offset >> 6)) + 1; }

absl::StatusOr<PinTable> PinTable::Create() {
  absl::StatusOr<base::UniqueFd> fd = base::CreateSealedMemfd("manta-pins", kTableBytes);
  if (!fd.ok()) return fd.status();
  absl::StatusOr<base::Mapping> mapping = base::Mapping::Map(fd->get(), kTableBytes, base::Mapping::Access::kReadWrite);
  if (!mapping.ok()) return mapping.status();
  return PinTable(*std::move(fd), *std::move(mapping));
}

PinTable::PinTable(base::UniqueFd fd, base::Mapping mapping)
    : fd_(std::move(fd)), mapping_(std::move(mapping)), free_(std::make_unique<Free>()) {}

absl::StatusOr<uint32_t> PinTable::Pin(uint64_t segment, uint64_t offset) {
  uint32_t slot = 0;
  {
    base::MutexLock lock(&free_->mutex);
    if (!free_->slots.empty()) {
      slot = free_->slots.back();
      free_->slots.pop_back();
    } else if (free_->used_max < kSlotsMax) {
      slot = ++free_->used_max;
      slots()[0].store(slot, std::memory_order_release);
    } else {
      return absl::ResourceExhaustedError("more than " + std::to_string(kSlotsMax) +
                                          " objects of the store are read at once: drop some views");
    }
  }
  slots()[slot].store(PinKey(segment, offset), std::memory_order_seq_cst);
  return slot;
}

void PinTable::Unpin(uint32_t slot) {
  slots()[slot].store(0, std::memory_order_release);
  base::MutexLock lock(&free_->mutex);
  free_->slots.push_back(slot);
}

absl::StatusOr<PinTableView> PinTableView::Map(const base::UniqueFd& fd) {
  absl::StatusOr<size_t> size = base::CheckSealed(fd.get(), kTableBytes);
  if (!size.ok()) return size.status();
  absl::StatusOr<base::Mapping> mapping = base::Mapping::Map(fd.get(), kTableBytes, base::Mapping::Access::kReadOnly);
  if (!mapping.ok()) return mapping.status();
  return PinTableView(*std::move(mapping));
}

void PinTableView::Collect(std::set<uint64_t>* keys) const {
  const auto* slots = reinterpret_cast<const std::atomic<uint64_t>*>(mapping_.data());
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // The process writes the count, so it is checked.
  const uint64_t used = std::min<uint64_t>(slots[0].load(std::memory_order_acquire), PinTable::kSlotsMax);
  for (uint64_t slot = 1; slot <= used; ++slot) {
    const uint64_t key = slots[slot].load(std::memory_order_acquire);
    if (key != 0) keys->insert(key);
  }
}

}  // namespace manta::store

// PinTable is how a process tells its node, without a message, which objects it reads in place.
//
// Problem:    the node must not reuse memory that somebody reads, and a read must cost no system call.
// Protocol:   hazard pointers (Michael 2004). The reader publishes the object's place in a slot of a memfd that it
// alone writes
//             and the node maps read-only, then fences; the node, before it reuses a range, marks the object as
//             leaving, fences, and scans the tables. A reader holds a counted reference while it publishes, so the
//             object is not leaving yet.
// Threads:    Pin and Unpin: thread-safe. PinTableView: externally synchronised.
// Invariants: (1) a slot that is not 0 names a range that is being read.
#ifndef MANTA_STORE_PIN_TABLE_H_
#define MANTA_STORE_PIN_TABLE_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "base/memfd.h"
#include "base/mutex.h"
#include "base/unique_fd.h"

namespace manta::store {

// Segment (24 bits) and offset in units of 64 bytes (40 bits), plus one, so that 0 is "free".
uint64_t PinKey(uint64_t segment, uint64_t offset);

class PinTable {
 public:
  static constexpr size_t kSlotsMax = 64 << 10;

  static absl::StatusOr<PinTable> Create();
  PinTable(PinTable&&) = default;

  int fd() const { return fd_.get(); }
  // The slot, to be given to Unpin. kResourceExhausted: kSlotsMax objects are being read at once.
  absl::StatusOr<uint32_t> Pin(uint64_t segment, uint64_t offset);
  void Unpin(uint32_t slot);

 private:
  PinTable(base::UniqueFd fd, base::Mapping mapping);
  std::atomic<uint64_t>* slots() const { return reinterpret_cast<std::atomic<uint64_t>*>(mapping_.mutable_data()); }

  base::UniqueFd fd_;
  base::Mapping mapping_;
  struct Free {
    base::Mutex mutex;
    std::vector<uint32_t> slots MANTA_GUARDED_BY(mutex);
    uint32_t used_max MANTA_GUARDED_BY(mutex) = 0;  // slots above were never used
  };
  std::unique_ptr<Free> free_;
};

// The node's view of one process's table.
class PinTableView {
 public:
  // kInvalidArgument: not a sealed memfd of the right size.
  static absl::StatusOr<PinTableView> Map(const base::UniqueFd& fd);
  // Adds the keys of everything pinned there.
  void Collect(std::set<uint64_t>* keys) const;

 private:
  explicit PinTableView(base::Mapping mapping) : mapping_(std::move(mapping)) {}
  base::Mapping mapping_;
};

}  // namespace manta::store

#endif  // MANTA_STORE_PIN_TABLE_H_

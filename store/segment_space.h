// SegmentSpace knows which ranges of a node's segments are free, being written, or in use.
//
// Problem:    the memory of dead writers and freed objects must be used again, and no allocator state may live in the
// segments
//             themselves: a writer can die at any point.
//
//              Lease               Seal              Free
//      free ─────────► leased ─────────────► used ─────────► free
//        ▲                │ Free, FreeWriter
//        └────────────────┘
//
// A segment with no leased and no used range is *warm*: its pages have been written once, which makes the next writing
// many times faster (DESIGN: measured facts). Threads:    externally synchronised; pure. Invariants: (1) the ranges of
// a segment are disjoint and cover it; adjacent free ones are joined.
//             (2) a segment has at most one writer at a time: the process that its leased ranges belong to.
// See:        store/object_table.h
#ifndef MANTA_STORE_SEGMENT_SPACE_H_
#define MANTA_STORE_SEGMENT_SPACE_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "base/ids.h"

namespace manta::store {

// A range of one segment.
struct Extent {
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
  auto operator<=>(const Extent&) const = default;
};

class SegmentSpace {
 public:
  // All free. REQUIRES: size_bytes > 0, a new number.
  void Add(uint64_t segment, uint64_t size_bytes);
  // REQUIRES: it is warm.
  void Remove(uint64_t segment);
  bool Contains(uint64_t segment) const { return segments_.contains(segment); }

  // The smallest warm segment of size_min to size_max bytes.
  std::optional<uint64_t> FindWarm(uint64_t size_min, uint64_t size_max) const;
  // The smallest free range of at least size_min bytes in a segment that small objects share and that nobody but
  // `writer` writes in. Warm segments are left out.
  std::optional<Extent> FindShared(ProcessId writer, uint64_t size_min) const;

  // `shared`: for many small objects; false: the segment is for one large one, its rest is not leased to anybody.
  // REQUIRES: the extent is free, and the segment has no other writer.
  void Lease(const Extent& extent, ProcessId writer, bool shared);
  // Whether the extent lies within what `writer` leases.
  bool IsLeased(const Extent& extent, ProcessId writer) const;
  // REQUIRES: IsLeased.
  void Seal(const Extent& extent);
  // REQUIRES: the extent lies within a leased or used range.
  void Free(const Extent& extent);
  // All that `writer` leases.
  void FreeWriter(ProcessId writer);

  std::vector<uint64_t> warm() const;  // largest first
  uint64_t size_bytes(uint64_t segment) const { return segments_.at(segment).size_bytes; }
  uint64_t total_bytes() const { return total_bytes_; }
  uint64_t warm_bytes() const { return warm_bytes_; }
  uint64_t leased_bytes() const { return leased_bytes_; }
  uint64_t used_bytes() const { return used_bytes_; }

 private:
  enum class Kind : uint8_t { kFree, kLeased, kUsed };
  struct Range {
    uint64_t size_bytes = 0;
    Kind kind = Kind::kFree;
  };
  struct Segment {
    uint64_t size_bytes = 0;
    bool shared = false;
    ProcessId writer;  // of the leased ranges, if there are any
    uint64_t leased_bytes = 0;
    uint64_t used_bytes = 0;
    std::map<uint64_t, Range> ranges;  // by offset
    bool warm() const { return leased_bytes == 0 && used_bytes == 0; }
  };
  using FreeKey = std::tuple<uint64_t, uint64_t, uint64_t>;  // size, segment, offset

  void Change(const Extent& extent, Kind to);
  std::map<uint64_t, Range>::iterator Split(uint64_t id, Segment* segment, uint64_t offset);
  void Join(uint64_t id, Segment* segment, std::map<uint64_t, Range>::iterator at);
  void Count(Segment* segment, const Range& range, int sign);
  void Index(uint64_t id, uint64_t offset, const Range& range, bool add);

  std::map<uint64_t, Segment> segments_;
  std::set<FreeKey> free_;                              // of all segments
  std::set<std::pair<uint64_t, uint64_t>> warm_;        // size, segment
  std::set<std::pair<ProcessId, uint64_t>> by_writer_;  // writer, segment
  uint64_t total_bytes_ = 0;
  uint64_t warm_bytes_ = 0;
  uint64_t leased_bytes_ = 0;
  uint64_t used_bytes_ = 0;
};

}  // namespace manta::store

#endif  // MANTA_STORE_SEGMENT_SPACE_H_

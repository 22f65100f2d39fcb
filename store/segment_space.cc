#include "store/segment_space.h"

#include <iterator>

#include "base/check.h"

namespace manta::store {

void SegmentSpace::Add(uint64_t segment, uint64_t size_bytes) {
  MANTA_CHECK(size_bytes > 0 && !segments_.contains(segment));
  Segment& added = segments_[segment];
  added.size_bytes = size_bytes;
  added.ranges[0] = {size_bytes, Kind::kFree};
  free_.insert({size_bytes, segment, 0});
  warm_.insert({size_bytes, segment});
  total_bytes_ += size_bytes;
  warm_bytes_ += size_bytes;
}

void SegmentSpace::Remove(uint64_t segment) {
  const auto it = segments_.find(segment);
  MANTA_CHECK(it != segments_.end() && it->second.warm());
  const uint64_t size = it->second.size_bytes;
  free_.erase({size, segment, 0});
  warm_.erase({size, segment});
  total_bytes_ -= size;
  warm_bytes_ -= size;
  segments_.erase(it);
}

std::optional<uint64_t> SegmentSpace::FindWarm(uint64_t size_min, uint64_t size_max) const {
  const auto it = warm_.lower_bound({size_min, 0});
  if (it == warm_.end() || it->first > size_max) return std::nullopt;
  return it->second;
}

std::optional<Extent> SegmentSpace::FindShared(ProcessId writer, uint64_t size_min) const {
  for (auto it = free_.lower_bound({size_min, 0, 0}); it != free_.end(); ++it) {
    const auto& [size, id, offset] = *it;
    const Segment& segment = segments_.at(id);
    if (!segment.shared || segment.warm()) continue;
    if (segment.leased_bytes != 0 && segment.writer != writer) continue;
    return Extent{id, offset, size};
  }
  return std::nullopt;
}

void SegmentSpace::Lease(const Extent& extent, ProcessId writer, bool shared) {
  Segment& segment = segments_.at(extent.segment);
  MANTA_CHECK(segment.leased_bytes == 0 || segment.writer == writer);
  if (segment.warm()) {
    segment.shared = shared;
    warm_.erase({segment.size_bytes, extent.segment});
    warm_bytes_ -= segment.size_bytes;
  }
  segment.writer = writer;
  by_writer_.insert({writer, extent.segment});
  Change(extent, Kind::kLeased);
}

bool SegmentSpace::IsLeased(const Extent& extent, ProcessId writer) const {
  const auto found = segments_.find(extent.segment);
  if (found == segments_.end() || extent.size_bytes == 0) return false;
  const Segment& segment = found->second;
  if (segment.leased_bytes == 0 || segment.writer != writer) return false;
  if (extent.offset >= segment.size_bytes || extent.size_bytes > segment.size_bytes - extent.offset) return false;
  const auto at = std::prev(segment.ranges.upper_bound(extent.offset));
  return at->second.kind == Kind::kLeased && extent.offset + extent.size_bytes <= at->first + at->second.size_bytes;
}

void SegmentSpace::Seal(const Extent& extent) { Change(extent, Kind::kUsed); }

void SegmentSpace::Free(const Extent& extent) { Change(extent, Kind::kFree); }

void SegmentSpace::FreeWriter(ProcessId writer) {
  std::vector<Extent> leased;
  for (auto it = by_writer_.lower_bound({writer, 0}); it != by_writer_.end() && it->first == writer; ++it) {
    for (const auto& [offset, range] : segments_.at(it->second).ranges) {
      if (range.kind == Kind::kLeased) leased.push_back({it->second, offset, range.size_bytes});
    }
  }
  for (const Extent& extent : leased) Free(extent);
}

std::vector<uint64_t> SegmentSpace::warm() const {
  std::vector<uint64_t> ids;
  for (auto it = warm_.rbegin(); it != warm_.rend(); ++it) ids.push_back(it->second);
  return ids;
}

// Makes `extent`, which lies within one range, a range of kind `to`.
void SegmentSpace::Change(const Extent& extent, Kind to) {
  Segment& segment = segments_.at(extent.segment);
  const bool was_written = segment.leased_bytes != 0;
  const auto at = Split(extent.segment, &segment, extent.offset);
  MANTA_CHECK(extent.size_bytes > 0 && extent.size_bytes <= at->second.size_bytes);
  Split(extent.segment, &segment, extent.offset + extent.size_bytes);
  Count(&segment, at->second, -1);
  Index(extent.segment, at->first, at->second, false);
  at->second.kind = to;
  Count(&segment, at->second, +1);
  Index(extent.segment, at->first, at->second, true);
  Join(extent.segment, &segment, at);
  if (was_written && segment.leased_bytes == 0) by_writer_.erase({segment.writer, extent.segment});
  if (segment.warm()) {
    warm_.insert({segment.size_bytes, extent.segment});
    warm_bytes_ += segment.size_bytes;
  }
}

// The range that begins at `offset`, cut out of the one that covers it; end() at the segment's end.
std::map<uint64_t, SegmentSpace::Range>::iterator SegmentSpace::Split(uint64_t id, Segment* segment, uint64_t offset) {
  if (offset == segment->size_bytes) return segment->ranges.end();
  MANTA_CHECK(offset < segment->size_bytes);
  const auto at = std::prev(segment->ranges.upper_bound(offset));
  if (at->first == offset) return at;
  const uint64_t end = at->first + at->second.size_bytes;
  Index(id, at->first, at->second, false);
  at->second.size_bytes = offset - at->first;
  Index(id, at->first, at->second, true);
  const auto cut = segment->ranges.emplace_hint(std::next(at), offset, Range{end - offset, at->second.kind});
  Index(id, cut->first, cut->second, true);
  return cut;
}

// Joins the range at `at` with neighbours of its kind; used ones stay apart, each is an object.
void SegmentSpace::Join(uint64_t id, Segment* segment, std::map<uint64_t, Range>::iterator at) {
  if (at->second.kind == Kind::kUsed) return;
  const auto absorb_next = [&](std::map<uint64_t, Range>::iterator first) {
    const auto next = std::next(first);
    if (next == segment->ranges.end() || next->second.kind != first->second.kind) return;
    Index(id, first->first, first->second, false);
    Index(id, next->first, next->second, false);
    first->second.size_bytes += next->second.size_bytes;
    segment->ranges.erase(next);
    Index(id, first->first, first->second, true);
  };
  absorb_next(at);
  if (at != segment->ranges.begin()) absorb_next(std::prev(at));
}

void SegmentSpace::Count(Segment* segment, const Range& range, int sign) {
  const uint64_t change = sign > 0 ? range.size_bytes : 0 - range.size_bytes;
  if (range.kind == Kind::kLeased) {
    segment->leased_bytes += change;
    leased_bytes_ += change;
  } else if (range.kind == Kind::kUsed) {
    segment->used_bytes += change;
    used_bytes_ += change;
  }
}

void SegmentSpace::Index(uint64_t id, uint64_t offset, const Range& range, bool add) {
  if (range.kind != Kind::kFree) return;
  const FreeKey key{range.size_bytes, id, offset};
  if (add) {
    free_.insert(key);
  } else {
    free_.erase(key);
  }
}

}  // namespace manta::store

#include "store/object_table.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace manta::store {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kMiB = 1 << 20;

uint64_t AlignUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

// Eight classes per doubling: a recycled segment is at most an eighth larger than what it was made for.
uint64_t SizeClass(uint64_t bytes) {
  const uint64_t step = std::max(std::bit_floor(bytes) / 8, kPageBytes);
  return AlignUp(bytes, step);
}

std::string MiBText(uint64_t bytes) {
  const uint64_t tenths = bytes * 10 / kMiB;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
}

Extent ExtentOf(const rpc::StoreLocation& location) {
  const uint64_t bytes = AlignUp(std::max<uint64_t>(location.size_bytes, 1), ObjectTable::kAlignmentBytes);
  return {location.segment, location.offset, bytes};
}

}  // namespace

void ObjectTable::Request(Time now, ProcessId writer, const rpc::SegmentRequest& request, Actions* actions) {
  Wanted wanted{writer, request.request, 0, 0, SaturatingAdd(now, kWaitMax)};
  if (request.size_bytes > bytes_max_) {
    wanted.size_bytes = request.size_bytes;
    return Refuse(wanted, FullMessage(request.size_bytes), actions);
  }
  wanted.size_bytes = AlignUp(std::max<uint64_t>(request.size_bytes, 1), kAlignmentBytes);
  for (const bool pressed : {false, true}) {
    if (GrantRoom(wanted, pressed, actions)) return;
    if (CreateRoom(&wanted, pressed, actions)) break;
  }
  waiting_.push_back(wanted);
}

void ObjectTable::Created(uint64_t segment, uint64_t size_bytes, const std::string& error, Actions* actions) {
  const auto created = creating_.find(segment);
  if (created == creating_.end()) return;
  const uint64_t asked_bytes = created->second;
  creating_bytes_ -= asked_bytes;
  creating_.erase(created);
  const bool usable = error.empty() && size_bytes >= asked_bytes;
  if (usable) space_.Add(segment, asked_bytes);
  const auto wanted = std::find_if(waiting_.begin(), waiting_.end(),
                                   [segment](const Wanted& waiting) { return waiting.segment == segment; });
  if (wanted != waiting_.end()) {
    const Wanted served = *wanted;
    waiting_.erase(wanted);
    if (usable) {
      if (!served.own()) {
        uint64_t& next = lease_bytes_[served.writer];
        next = std::min(std::max(next, kLeaseBytesMin) * 2, kLeaseBytesMax);
      }
      GrantExtent(served, {segment, 0, served.own() ? served.size_bytes : asked_bytes}, actions);
    } else {
      Refuse(served, "the node could not make a segment of " + MiBText(asked_bytes) + ": " + error, actions);
    }
  }
  ServeWaiting(actions);
}

bool ObjectTable::Return(ProcessId writer, const rpc::SegmentReturn& range, Actions* actions) {
  const Extent extent{range.segment, range.offset, range.size_bytes};
  if (range.size_bytes == 0) return true;
  if (range.offset % kAlignmentBytes != 0 || range.size_bytes % kAlignmentBytes != 0) return false;
  if (!space_.IsLeased(extent, writer)) return false;
  space_.Free(extent);
  ServeWaiting(actions);
  return true;
}

bool ObjectTable::Seal(ProcessId writer, const rpc::ObjectSeal& seal) {
  const Extent extent = ExtentOf(seal.location);
  if (seal.location.node != node_ || seal.location.offset % kAlignmentBytes != 0) return false;
  if (!space_.IsLeased(extent, writer)) return false;
  space_.Seal(extent);
  sealed_bytes_ += extent.size_bytes;
  const auto known = objects_.find(seal.object);
  if (known != objects_.end()) {
    if (known->second.attempt >= seal.attempt) {
      Leave(seal.object, extent);
      return true;
    }
    if (known->second.was_pulled) {
      replaced_.emplace(seal.object, std::move(known->second));
    } else {
      Leave(seal.object, ExtentOf(known->second.location));
    }
  }
  objects_[seal.object] = {seal.attempt, seal.location, seal.refs};
  return true;
}

void ObjectTable::ProcessDied(ProcessId writer, Actions* actions) {
  space_.FreeWriter(writer);
  lease_bytes_.erase(writer);
  std::erase_if(waiting_, [writer](const Wanted& waiting) { return waiting.writer == writer; });
  ServeWaiting(actions);
}

const ObjectTable::Object* ObjectTable::Find(const ObjectId& object) const {
  const auto it = objects_.find(object);
  return it == objects_.end() ? nullptr : &it->second;
}

const ObjectTable::Object* ObjectTable::FindForOthers(const ObjectId& object, uint32_t attempt) {
  const auto it = objects_.find(object);
  if (it == objects_.end() || it->second.attempt != attempt) return nullptr;
  it->second.was_pulled = true;
  return &it->second;
}

void ObjectTable::Drop(const ObjectId& object, uint32_t attempt) {
  for (auto [older, end] = replaced_.equal_range(object); older != end;) {
    if (older->second.attempt <= attempt) {
      Leave(object, ExtentOf(older->second.location));
      older = replaced_.erase(older);
    } else {
      ++older;
    }
  }
  const auto it = objects_.find(object);
  if (it == objects_.end() || it->second.attempt > attempt) return;
  Leave(object, ExtentOf(it->second.location));
  objects_.erase(it);
}

void ObjectTable::DropHomedAt(NodeId home) {
  std::erase_if(replaced_, [this, home](const auto& item) {
    if (item.first.home() != home) return false;
    Leave(item.first, ExtentOf(item.second.location));
    return true;
  });
  for (auto it = objects_.begin(); it != objects_.end();) {
    if (it->first.home() == home) {
      Leave(it->first, ExtentOf(it->second.location));
      it = objects_.erase(it);
    } else {
      ++it;
    }
  }
}

void ObjectTable::Scanned(Time now, const std::vector<ObjectId>& unpinned, const std::vector<ObjectId>& pinned,
                          Actions* actions) {
  for (const ObjectId& object : unpinned) {
    const auto it = scanning_.find(object);
    if (it == scanning_.end()) continue;
    space_.Free(it->second);
    scanning_.erase(it);
  }
  for (const ObjectId& object : pinned) {
    const auto it = scanning_.find(object);
    if (it == scanning_.end()) continue;
    pinned_bytes_ += it->second.size_bytes;
    leaving_.push_back({object, it->second, SaturatingAdd(now, kRescan)});
    scanning_.erase(it);
  }
  ServeWaiting(actions);
}

void ObjectTable::Advance(Time now, Actions* actions) {
  std::erase_if(waiting_, [&](const Wanted& wanted) {
    if (wanted.segment != 0 || wanted.give_up_at > now) return false;
    Refuse(wanted, FullMessage(wanted.size_bytes), actions);
    return true;
  });
  if (!scanning_.empty()) return;
  Scan scan;
  std::deque<Leaving> later;
  for (Leaving& leaving : leaving_) {
    // An object may leave twice, by attempts: one range of it at a time.
    if (leaving.scan_at > now || scanning_.contains(leaving.object)) {
      later.push_back(leaving);
      continue;
    }
    if (leaving.scan_at != Time()) pinned_bytes_ -= leaving.extent.size_bytes;
    const Extent& extent = leaving.extent;
    scanning_[leaving.object] = extent;
    scan.ranges.push_back({leaving.object, {node_, extent.segment, extent.offset, extent.size_bytes}});
  }
  leaving_ = std::move(later);
  if (!scan.ranges.empty()) actions->emplace_back(std::move(scan));
}

Time ObjectTable::next_deadline() const {
  Time next = kInfiniteFuture;
  for (const Wanted& wanted : waiting_) {
    if (wanted.segment == 0) next = std::min(next, wanted.give_up_at);
  }
  if (!scanning_.empty()) return next;
  for (const Leaving& leaving : leaving_) next = std::min(next, leaving.scan_at);
  return next;
}

// ---------------------------------------------------------------- room

// From segments that are there. `pressed`: whatever is large enough, else only what suits.
bool ObjectTable::GrantRoom(const Wanted& wanted, bool pressed, Actions* actions) {
  const uint64_t lease_bytes = wanted.own() ? wanted.size_bytes : LeaseBytes(wanted.writer);
  uint64_t size_min = wanted.size_bytes;
  if (!wanted.own()) {
    if (!pressed) size_min = std::max(size_min, std::min(lease_bytes / 2, kReusedBytesMin));
    if (const auto extent = space_.FindShared(wanted.writer, size_min)) {
      GrantExtent(wanted, *extent, actions);
      return true;
    }
  }
  const uint64_t size_max = pressed ? UINT64_MAX : SizeClass(lease_bytes) * 2;
  const auto segment = space_.FindWarm(size_min, size_max);
  if (!segment) return false;
  GrantExtent(wanted, {*segment, 0, wanted.own() ? wanted.size_bytes : space_.size_bytes(*segment)}, actions);
  return true;
}

// A new segment. `pressed`: a small one, and at the cost of warm ones.
bool ObjectTable::CreateRoom(Wanted* wanted, bool pressed, Actions* actions) {
  uint64_t size = SizeClass(wanted->own() ? wanted->size_bytes : LeaseBytes(wanted->writer));
  if (pressed) {
    const uint64_t possible = bytes_max_ - (segment_bytes() - warm_bytes());
    const uint64_t needed = AlignUp(wanted->size_bytes, kPageBytes);
    size = possible >= size ? size : needed;
    if (!MakeQuota(size, actions)) return false;
  } else if (segment_bytes() + size > bytes_max_) {
    return false;
  }
  wanted->segment = next_segment_++;
  creating_[wanted->segment] = size;
  creating_bytes_ += size;
  actions->emplace_back(Create{wanted->segment, size});
  return true;
}

// Destroys warm segments until there is quota for `size_bytes`, or none at all if that cannot be.
bool ObjectTable::MakeQuota(uint64_t size_bytes, Actions* actions) {
  if (segment_bytes() - warm_bytes() + size_bytes > bytes_max_) return false;
  for (const uint64_t segment : space_.warm()) {
    if (segment_bytes() + size_bytes <= bytes_max_) break;
    space_.Remove(segment);
    actions->emplace_back(Destroy{segment});
  }
  return true;
}

void ObjectTable::GrantExtent(const Wanted& wanted, Extent extent, Actions* actions) {
  space_.Lease(extent, wanted.writer, !wanted.own());
  rpc::SegmentGrant grant;
  grant.request = wanted.request;
  grant.segment = extent.segment;
  grant.offset = extent.offset;
  grant.size_bytes = extent.size_bytes;
  actions->emplace_back(Grant{wanted.writer, std::move(grant)});
}

void ObjectTable::Refuse(const Wanted& wanted, const std::string& why, Actions* actions) {
  rpc::SegmentGrant grant;
  grant.request = wanted.request;
  grant.error.code = rpc::ErrorCode::kOutOfMemory;
  grant.error.message = why;
  actions->emplace_back(Grant{wanted.writer, std::move(grant)});
}

// In the order of the requests.
void ObjectTable::ServeWaiting(Actions* actions) {
  std::deque<Wanted> still;
  for (Wanted& wanted : waiting_) {
    if (wanted.segment == 0) {
      if (GrantRoom(wanted, true, actions)) continue;
      CreateRoom(&wanted, true, actions);
    }
    still.push_back(wanted);
  }
  waiting_ = std::move(still);
}

uint64_t ObjectTable::LeaseBytes(ProcessId writer) const {
  const auto it = lease_bytes_.find(writer);
  const uint64_t wanted = it == lease_bytes_.end() ? kLeaseBytesMin : it->second;
  return std::min(wanted, std::max(kLeaseBytesMin, bytes_max_ / 64));
}

// The range of a sealed object that nobody may open any more.
void ObjectTable::Leave(const ObjectId& object, const Extent& extent) {
  sealed_bytes_ -= extent.size_bytes;
  leaving_.push_back({object, extent, Time()});
}

std::string ObjectTable::FullMessage(uint64_t size_bytes) const {
  return "the store of node n" + std::to_string(node_) + " is full: " + MiBText(size_bytes) + " asked for, " +
         MiBText(segment_bytes() - warm_bytes()) + " of " + MiBText(bytes_max_) + " in use (" + MiBText(sealed_bytes_) +
         " referenced, " + MiBText(pinned_bytes_) + " released but still read, " + MiBText(space_.leased_bytes()) +
         " being written): drop refs, or start the node with a larger --store-memory";
}

}  // namespace manta::store

// ObjectTable decides about one node's memory: who may write where, which objects lie where, and when memory is used
// again.
//
// Problem:    writers and readers share memory with no lock and no message per object, die at any point, and may
// together want
//             more than there is.
//
//   Request ──► Grant (a range to write in) ──► Seal ──► sealed ──► Drop ──► leaving ──► Scan ──► Scanned: nobody reads
//   ──► free
//                                                                              ▲                    │ somebody reads it
//                                                                              └── kRescan later ◄──┘
//
// Objects of kOwnSegmentBytesMin or more have a segment of their own, smaller ones share segments that are leased to
// one writer at a time. The quota bounds the sum of the segments' sizes. A request that finds no room waits kWaitMax
// for others to drop or return something, then is refused. Ownership:  owns its state; the caller carries out the
// actions, in order. Threads:    externally synchronised; pure. Invariants: (1) the segments' sizes, those being
// created included, never exceed bytes_max.
//             (2) a range is leased again only after a scan that began when the object was leaving found no reader.
//             (3) a sealed range is inside what its writer leases; of an object, the highest attempt stays.
// Errors:     a refused Grant carries kOutOfMemory and says what is used; Seal and Return tell whether the request was
// legal. See:        docs/objects.md, rpc/schema/object.capnp
#ifndef MANTA_STORE_OBJECT_TABLE_H_
#define MANTA_STORE_OBJECT_TABLE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "rpc/message.h"
#include "store/segment_space.h"

namespace manta::store {

class ObjectTable {
 public:
  static constexpr uint64_t kAlignmentBytes = 64;
  static constexpr uint64_t kOwnSegmentBytesMin = 1 << 20;
  // The first segment of a writer of small objects; each new one is twice as large, and at most 1/64 of the quota.
  static constexpr uint64_t kLeaseBytesMin = 1 << 20;
  static constexpr uint64_t kLeaseBytesMax = 64 << 20;
  // A range that is free again is leased before a new segment is made, if it is so large: whose objects live for a
  // short time writes the same few pages, which are mapped and in a cache, again and again.
  static constexpr uint64_t kReusedBytesMin = 2 << 20;
  static constexpr Duration kRescan = std::chrono::milliseconds(100);
  static constexpr Duration kWaitMax = std::chrono::seconds(2);

  struct Object {
    uint32_t attempt = 0;
    rpc::StoreLocation location;
    std::vector<rpc::NestedRef> refs;
    bool was_pulled = false;
  };

  // ---- actions
  struct Grant {  // size_bytes 0: refused
    ProcessId to;
    rpc::SegmentGrant grant;
  };
  struct Create {
    uint64_t segment = 0;
    uint64_t size_bytes = 0;
  };
  struct Destroy {
    uint64_t segment = 0;
  };
  struct Scan {  // at most one at a time; names each object once
    std::vector<std::pair<ObjectId, rpc::StoreLocation>> ranges;
  };
  using Action = std::variant<Grant, Create, Destroy, Scan>;
  using Actions = std::vector<Action>;

  explicit ObjectTable(uint64_t bytes_max) : bytes_max_(bytes_max) {}
  ObjectTable(const ObjectTable&) = delete;
  ObjectTable& operator=(const ObjectTable&) = delete;

  // The node that locations name and error messages speak of.
  void SetNode(NodeId node) { node_ = node; }

  // ---- writers (processes of this node, and its daemon for pulled copies). Answered by one Grant.
  void Request(Time now, ProcessId writer, const rpc::SegmentRequest& request, Actions* actions);
  void Created(uint64_t segment, uint64_t size_bytes, const std::string& error, Actions* actions);
  // False: it was not leased to `writer`.
  bool Return(ProcessId writer, const rpc::SegmentReturn& range, Actions* actions);
  // False: the location is not inside what `writer` leases: it misbehaves. A lower attempt than the known one is freed.
  bool Seal(ProcessId writer, const rpc::ObjectSeal& seal);
  // Its leased ranges are free, its requests forgotten.
  void ProcessDied(ProcessId writer, Actions* actions);

  // ---- objects
  const Object* Find(const ObjectId& object) const;
  // For another node that pulls this attempt of it. Null: it is not here. Who pulls has the home's word that the object
  // is final, and so may processes here: an attempt that replaces this one does not free it, only Drop does.
  const Object* FindForOthers(const ObjectId& object, uint32_t attempt);
  bool HasSegment(uint64_t segment) const { return space_.Contains(segment); }
  // The object leaves if its attempt is at most `attempt`.
  void Drop(const ObjectId& object, uint32_t attempt);
  // Every object whose home is `home` leaves.
  void DropHomedAt(NodeId home);

  // ---- memory that becomes free
  void Scanned(Time now, const std::vector<ObjectId>& unpinned, const std::vector<ObjectId>& pinned, Actions* actions);
  // To be called after any of the others, and at next_deadline(): starts the next scan, refuses who waited too long.
  void Advance(Time now, Actions* actions);
  Time next_deadline() const;

  // visit(object, bytes): those that nobody refers to and whose memory may still be read.
  template <typename Visit>
  void ForEachLeaving(Visit visit) const {
    for (const Leaving& leaving : leaving_) visit(leaving.object, leaving.extent.size_bytes);
    for (const auto& [object, extent] : scanning_) visit(object, extent.size_bytes);
  }
  size_t object_count() const { return objects_.size(); }
  uint64_t sealed_bytes() const { return sealed_bytes_; }  // referenced
  uint64_t leaving_bytes() const { return space_.used_bytes() - sealed_bytes_; }
  uint64_t segment_bytes() const { return space_.total_bytes() + creating_bytes_; }
  uint64_t warm_bytes() const { return space_.warm_bytes(); }

 private:
  struct Wanted {
    ProcessId writer;
    uint64_t request = 0;
    uint64_t size_bytes = 0;  // aligned
    uint64_t segment = 0;     // that is being created for it; 0: it waits for room
    Time give_up_at;
    bool own() const { return size_bytes >= kOwnSegmentBytesMin; }
  };
  struct Leaving {
    ObjectId object;
    Extent extent;
    Time scan_at;  // not before
  };

  bool GrantRoom(const Wanted& wanted, bool pressed, Actions* actions);
  bool CreateRoom(Wanted* wanted, bool pressed, Actions* actions);
  bool MakeQuota(uint64_t size_bytes, Actions* actions);
  void GrantExtent(const Wanted& wanted, Extent extent, Actions* actions);
  void Refuse(const Wanted& wanted, const std::string& why, Actions* actions);
  void ServeWaiting(Actions* actions);
  uint64_t LeaseBytes(ProcessId writer) const;
  void Leave(const ObjectId& object, const Extent& extent);
  std::string FullMessage(uint64_t size_bytes) const;

  const uint64_t bytes_max_;
  NodeId node_ = 0;
  SegmentSpace space_;
  uint64_t next_segment_ = 1;
  std::map<uint64_t, uint64_t> creating_;  // segment -> size
  uint64_t creating_bytes_ = 0;
  std::deque<Wanted> waiting_;                 // in the order of their requests
  std::map<ProcessId, uint64_t> lease_bytes_;  // of the next lease

  std::map<ObjectId, Object> objects_;
  std::multimap<ObjectId, Object> replaced_;  // by later attempts, but kept
  uint64_t sealed_bytes_ = 0;
  std::deque<Leaving> leaving_;  // not being scanned
  std::map<ObjectId, Extent> scanning_;
  uint64_t pinned_bytes_ = 0;  // of leaving_: found to be read
};

}  // namespace manta::store

#endif  // MANTA_STORE_OBJECT_TABLE_H_

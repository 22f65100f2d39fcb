// StoreClient is a process's access to its node's store: room for writing, and segments mapped for reading.
//
// Problem:    Put must cost one memcpy and Get no copy and no system call once a segment is mapped.
// Ownership:  owns the mappings. Borrows the descriptor socket to the node, on which it asks and waits itself.
// Threads:    thread-safe. Allocate and Read may wait for the daemon (bounded by kAnswerTimeout).
// Invariants: (1) a segment is mapped read-only but for the ranges this process writes, which have a mapping of their
// own. Errors:     kResourceExhausted: the store is full (the message says used and limit); kUnavailable: the daemon is
// gone. See:        store/object_table.h (the node's side), rpc/schema/object.capnp (SegmentRequest, SegmentMap)
#ifndef MANTA_STORE_STORE_CLIENT_H_
#define MANTA_STORE_STORE_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "base/memfd.h"
#include "base/mutex.h"
#include "rpc/descriptor_socket.h"
#include "rpc/message.h"

namespace manta::store {

class StoreClient {
 public:
  static constexpr Duration kAnswerTimeout = std::chrono::seconds(30);
  static constexpr uint64_t kAlignmentBytes = 64;

  StoreClient(NodeId node, std::unique_ptr<rpc::DescriptorSocket> socket);
  ~StoreClient();

  // Room for one object of `size_bytes` > 0, writable until it is sealed or given back.
  struct Room {
    rpc::StoreLocation location;
    char* data = nullptr;
    std::shared_ptr<const void> keep;  // of the mapping that `data` lies in
  };
  absl::StatusOr<Room> Allocate(uint64_t size_bytes);
  // Gives unsealed room back.
  void Abandon(const Room& room);

  struct View {
    const char* data = nullptr;
    std::shared_ptr<const void> keep;  // of the mapping
  };
  // The bytes at `location` (of this node). Maps the segment on first use.
  absl::StatusOr<View> Read(const rpc::StoreLocation& location);

  // The node has destroyed the segment: it is unmapped once the last View and Room in it is gone. False: somebody waits
  // for the daemon just now, try again later.
  bool Forget(uint64_t segment);

  // Closes the socket; what is mapped stays until the last View and Room in it is gone. From then on: kUnavailable.
  void Close();

  // True for an address inside a mapping for reading (a view of the store).
  bool IsMapped(const void* address) const;

 private:
  struct Segment {
    std::shared_ptr<base::Mapping> read_only;
    std::shared_ptr<base::Mapping> writable;
    uint64_t populated_bytes = 0;  // of `writable`, from its start: pages that are mapped and in memory
  };
  struct Lease {
    uint64_t segment = 0;
    uint64_t offset = 0;
    uint64_t end = 0;
  };

  absl::StatusOr<rpc::SegmentGrant> RequestSegment(uint64_t size_bytes) MANTA_REQUIRES(mutex_);
  absl::StatusOr<rpc::MessageWithDescriptors> Ask(const rpc::Message& question) MANTA_REQUIRES(mutex_);
  absl::Status MapWritable(uint64_t segment, const base::UniqueFd& fd) MANTA_REQUIRES(mutex_);

  const NodeId node_;
  mutable base::Mutex mutex_;
  std::unique_ptr<rpc::DescriptorSocket> socket_ MANTA_GUARDED_BY(mutex_);
  std::map<uint64_t, Segment> segments_ MANTA_GUARDED_BY(mutex_);
  Lease small_ MANTA_GUARDED_BY(mutex_);
  uint64_t next_request_ MANTA_GUARDED_BY(mutex_) = 1;
};

}  // namespace manta::store

#endif  // MANTA_STORE_STORE_CLIENT_H_

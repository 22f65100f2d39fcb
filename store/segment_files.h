// SegmentFiles keeps the memfds of one node's segments.
//
// Ownership:  the node owns them; processes get duplicates and map them.
// Threads:    loop-confined. Populating is the writer's work, never the daemon's.
#ifndef MANTA_STORE_SEGMENT_FILES_H_
#define MANTA_STORE_SEGMENT_FILES_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "base/unique_fd.h"

namespace manta::store {

class SegmentFiles {
 public:
  // A new sealed memfd of `size_bytes` (no page of it in memory yet).
  absl::Status Create(uint64_t segment, uint64_t size_bytes);
  void Destroy(uint64_t segment) { files_.erase(segment); }
  // -1: no such segment.
  int fd(uint64_t segment) const;
  // For threads that read or write it. Null: no such segment.
  std::shared_ptr<const base::UniqueFd> Share(uint64_t segment) const;
  uint64_t size_bytes(uint64_t segment) const;
  size_t count() const { return files_.size(); }

 private:
  struct File {
    std::shared_ptr<const base::UniqueFd> fd;
    uint64_t size_bytes = 0;
  };
  std::map<uint64_t, File> files_;
};

}  // namespace manta::store

#endif  // MANTA_STORE_SEGMENT_FILES_H_

#include "store/segment_files.h"

#include "base/memfd.h"

namespace manta::store {

absl::Status SegmentFiles::Create(uint64_t segment, uint64_t size_bytes) {
  absl::StatusOr<base::UniqueFd> fd = base::CreateSealedMemfd("manta-segment-" + std::to_string(segment), size_bytes);
  if (!fd.ok()) return fd.status();
  files_[segment] = {std::make_shared<const base::UniqueFd>(*std::move(fd)), size_bytes};
  return absl::OkStatus();
}

int SegmentFiles::fd(uint64_t segment) const {
  auto found = files_.find(segment);
  return found == files_.end() ? -1 : found->second.fd->get();
}

std::shared_ptr<const base::UniqueFd> SegmentFiles::Share(uint64_t segment) const {
  auto found = files_.find(segment);
  return found == files_.end() ? nullptr : found->second.fd;
}

uint64_t SegmentFiles::size_bytes(uint64_t segment) const {
  auto found = files_.find(segment);
  return found == files_.end() ? 0 : found->second.size_bytes;
}

}  // namespace manta::store

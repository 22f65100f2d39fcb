#include "store/store_client.h"

#include <algorithm>
#include <string>

namespace manta::store {
namespace {

constexpr uint64_t kSmallObjectBytesMax = 1 << 20;  // from here on an object has a segment of its own

uint64_t Aligned(uint64_t bytes) {
  return (bytes + StoreClient::kAlignmentBytes - 1) / StoreClient::kAlignmentBytes * StoreClient::kAlignmentBytes;
}

}  // namespace

StoreClient::StoreClient(NodeId node, std::unique_ptr<rpc::DescriptorSocket> socket)
    : node_(node), socket_(std::move(socket)) {}

StoreClient::~StoreClient() = default;

absl::StatusOr<StoreClient::Room> StoreClient::Allocate(uint64_t size_bytes) {
  const uint64_t bytes = Aligned(std::max<uint64_t>(size_bytes, 1));
  base::MutexLock lock(&mutex_);
  if (socket_ == nullptr) return absl::UnavailableError("the node daemon is gone");
  Lease own;
  Lease* lease = &own;
  if (bytes < kSmallObjectBytesMax) lease = &small_;
  if (lease->end - lease->offset < bytes) {
    if (lease->end > lease->offset) {
      (void)socket_->Send(rpc::SegmentReturn{lease->segment, lease->offset, lease->end - lease->offset});
    }
    *lease = {};
    absl::StatusOr<rpc::SegmentGrant> grant = RequestSegment(bytes);
    if (!grant.ok()) return grant.status();
    *lease = {grant->segment, grant->offset, grant->offset + grant->size_bytes};
  }
  Room room;
  room.location = {node_, lease->segment, lease->offset, size_bytes};
  room.keep = segments_[lease->segment].writable;
  room.data = segments_[lease->segment].writable->mutable_data() + lease->offset;
  lease->offset += bytes;
  if (lease == &own && own.end > own.offset) {
    (void)socket_->Send(rpc::SegmentReturn{own.segment, own.offset, own.end - own.offset});
  }
  return room;
}

void StoreClient::Abandon(const Room& room) {
  base::MutexLock lock(&mutex_);
  if (socket_ == nullptr) return;
  const uint64_t bytes = Aligned(std::max<uint64_t>(room.location.size_bytes, 1));
  (void)socket_->Send(rpc::SegmentReturn{room.location.segment, room.location.offset, bytes});
}

bool StoreClient::Forget(uint64_t segment) {
  if (!mutex_.TryLock()) return false;
  const auto gone = segments_.extract(segment);  // unmapped after the lock is given up
  mutex_.Unlock();
  return true;
}

void StoreClient::Close() {
  base::MutexLock lock(&mutex_);
  socket_.reset();
  segments_.clear();
  small_ = {};
}

absl::StatusOr<StoreClient::View> StoreClient::Read(const rpc::StoreLocation& location) {
  base::MutexLock lock(&mutex_);
  if (socket_ == nullptr) return absl::UnavailableError("the node daemon is gone");
  Segment& segment = segments_[location.segment];
  if (!segment.read_only) {
    absl::StatusOr<rpc::MessageWithDescriptors> answer = Ask(rpc::SegmentMap{location.segment});
    if (!answer.ok()) return answer.status();
    if (answer->descriptors.size() != 1) {
      return absl::NotFoundError("segment " + std::to_string(location.segment) + " is not in this node's store");
    }
    absl::StatusOr<size_t> size = base::CheckSealed(answer->descriptors[0].get(), 1);
    if (!size.ok()) return size.status();
    absl::StatusOr<base::Mapping> mapping =
        base::Mapping::Map(answer->descriptors[0].get(), *size, base::Mapping::Access::kReadOnly);
    if (!mapping.ok()) return mapping.status();
    segment.read_only = std::make_shared<base::Mapping>(*std::move(mapping));
  }
  const size_t size_bytes = segment.read_only->size();
  if (location.offset > size_bytes || location.size_bytes > size_bytes - location.offset) {
    return absl::InvalidArgumentError("a location outside of its segment");
  }
  return View{segment.read_only->data() + location.offset, segment.read_only};
}

bool StoreClient::IsMapped(const void* address) const {
  base::MutexLock lock(&mutex_);
  const char* const at = static_cast<const char*>(address);
  return std::any_of(segments_.begin(), segments_.end(), [at](const auto& entry) {
    const std::shared_ptr<base::Mapping>& mapping = entry.second.read_only;
    return mapping != nullptr && at >= mapping->data() && at < mapping->data() + mapping->size();
  });
}

absl::StatusOr<rpc::SegmentGrant> StoreClient::RequestSegment(uint64_t size_bytes) {
  absl::StatusOr<rpc::MessageWithDescriptors> answer = Ask(rpc::SegmentRequest{next_request_++, size_bytes});
  if (!answer.ok()) return answer.status();
  const auto* grant = std::get_if<rpc::SegmentGrant>(&answer->message);
  if (grant == nullptr) return absl::InternalError("the daemon answered with another message than SegmentGrant");
  if (grant->size_bytes == 0) {
    return absl::ResourceExhaustedError({grant->error.message.data(), grant->error.message.size()});
  }
  if (answer->descriptors.size() == 1) {
    absl::Status mapped = MapWritable(grant->segment, answer->descriptors[0]);
    if (!mapped.ok()) return mapped;
  }
  Segment& segment = segments_[grant->segment];
  const uint64_t end = grant->offset + grant->size_bytes;
  if (!segment.writable || end > segment.writable->size() || grant->size_bytes < size_bytes) {
    return absl::InternalError("the daemon granted a range that is not there");
  }
  if (segment.populated_bytes < end) {
    constexpr uint64_t kPageBytes = 4096;
    const uint64_t start = segment.populated_bytes / kPageBytes * kPageBytes;
    absl::Status populated = base::Populate(segment.writable->mutable_data() + start, end - start);
    if (!populated.ok() && !absl::IsUnimplemented(populated)) return populated;
    segment.populated_bytes = end;
  }
  return *grant;
}

absl::StatusOr<rpc::MessageWithDescriptors> StoreClient::Ask(const rpc::Message& question) {
  absl::Status sent = socket_->Send(question);
  if (!sent.ok()) return absl::UnavailableError("the node daemon is gone");
  absl::StatusOr<rpc::MessageWithDescriptors> answer =
      socket_->ReceiveBefore(base::SystemClock().Now() + kAnswerTimeout);
  if (!answer.ok() && !absl::IsDeadlineExceeded(answer.status())) {
    return absl::UnavailableError("the node daemon is gone");
  }
  return answer;
}

absl::Status StoreClient::MapWritable(uint64_t segment, const base::UniqueFd& fd) {
  if (segments_[segment].writable) return absl::OkStatus();
  absl::StatusOr<size_t> size = base::CheckSealed(fd.get(), 1);
  if (!size.ok()) return size.status();
  absl::StatusOr<base::Mapping> mapping = base::Mapping::Map(fd.get(), *size, base::Mapping::Access::kReadWrite);
  if (!mapping.ok()) return mapping.status();
  segments_[segment].writable = std::make_shared<base::Mapping>(*std::move(mapping));
  return absl::OkStatus();
}

}  // namespace manta::store

#include "runtime/node/object_transfers.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/log.h"

namespace manta::runtime {

ObjectTransfers::ObjectTransfers(base::EventLoop* loop, const store::SegmentFiles* segments, Options options)
    : loop_(loop),
      segments_(segments),
      options_(std::move(options)),
      server_({.source = [this](const store::TransferItem& item) { return Open(item); }}),
      client_({.dial = options_.dial}) {}

// ------------------------------------------------------------------ as a source

void ObjectTransfers::Send(SendObject action) {
  if (action.location.size_bytes > kPulledInlineBytesMax) {
    offers_.Offer(action.pulled.object, action.pulled.attempt, action.location,
                  segments_->Share(action.location.segment));
  } else if (const absl::Status read = ReadInline(&action); !read.ok()) {
    MANTA_LOG(kError) << ToString(action.pulled.object) << " cannot be sent: " << base::Message(read);
    action.pulled.found = false;
  }
  options_.send(action.to, std::move(action.pulled));
}

absl::Status ObjectTransfers::ReadInline(SendObject* action) const {
  const size_t size = action->location.size_bytes;
  char* data = nullptr;
  Bytes bytes = Bytes::Uninitialized(size, &data);
  const ssize_t got =
      pread(segments_->fd(action->location.segment), data, size, static_cast<off_t>(action->location.offset));
  if (got < 0) return base::ErrnoStatus(errno, "read a segment");
  if (static_cast<size_t>(got) != size) return absl::DataLossError("the segment is shorter");
  action->pulled.data = std::move(bytes);
  return absl::OkStatus();
}

std::optional<store::TransferServer::Opened> ObjectTransfers::Open(const store::TransferItem& item) {
  if (item.kind == store::TransferItem::Kind::kFile) return options_.open_file(item.sha256);
  return offers_.Open(item.object, item.attempt);
}

// ------------------------------------------------------------------ as a destination

void ObjectTransfers::Write(WriteObject action) {
  const uint64_t pull = action.pull;
  if (action.location.size_bytes <= kPulledInlineBytesMax) return Ended(pull, WriteInline(action));
  const store::TransferClient::Destination to{segments_->Share(action.location.segment), action.location.offset,
                                              action.location.size_bytes};
  fetches_[pull] = client_.Fetch(action.source, store::TransferItem::Object(action.object, action.attempt), to,
                                 OnLoop([this, pull](const absl::Status& status) { Ended(pull, status); }));
}

// The bytes came in a message, from another node.
absl::Status ObjectTransfers::WriteInline(const WriteObject& action) const {
  const size_t size = action.location.size_bytes;
  if (action.data.size() != size) {
    return absl::DataLossError(
        base::AbslView(std::to_string(action.data.size()) + " of " + std::to_string(size) + " bytes came"));
  }
  const ssize_t written = pwrite(segments_->fd(action.location.segment), action.data.data(), size,
                                 static_cast<off_t>(action.location.offset));
  if (written < 0) return base::ErrnoStatus(errno, "write to a segment");
  return static_cast<size_t>(written) == size ? absl::OkStatus() : absl::ResourceExhaustedError("no memory");
}

void ObjectTransfers::Abandon(const AbandonWrite& action) {
  if (const auto fetch = fetches_.find(action.pull); fetch != fetches_.end()) client_.Cancel(fetch->second);
}

void ObjectTransfers::Ended(uint64_t pull, const absl::Status& status) {
  fetches_.erase(pull);
  options_.written({pull, status.ok() ? "" : base::Message(status), absl::IsDataLoss(status)});
}

// ------------------------------------------------------------------ connections and files

void ObjectTransfers::FetchFile(NodeId peer, const rpc::Bits256& sha256, uint64_t size_bytes, std::string path,
                                store::TransferClient::Done done) {
  client_.FetchFile(peer, sha256, size_bytes, std::move(path), OnLoop(std::move(done)));
}

void ObjectTransfers::Drop(NodeId peer) {
  server_.Drop(peer);
  client_.Drop(peer);
}

store::TransferClient::Done ObjectTransfers::OnLoop(store::TransferClient::Done done) {
  return [loop = loop_, alive = std::weak_ptr<const bool>(alive_), done = std::move(done)](absl::Status status) {
    loop->Post([alive, done, status = std::move(status)] {
      if (!alive.expired()) done(status);
    });
  };
}

}  // namespace manta::runtime

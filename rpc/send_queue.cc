#include "rpc/send_queue.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/socket.h"
#include "base/status.h"

namespace manta::rpc {
namespace {
constexpr size_t kRunsMax = 64;  // in one system call
}

void SendQueue::Append(FrameHeader header, const FrameBuffer* body, std::vector<base::UniqueFd> descriptors) {
  header.descriptors = static_cast<uint8_t>(descriptors.size());
  if (body != nullptr) {
    header.type = body->type();
    header.capnp_bytes = static_cast<uint32_t>(body->capnp_bytes());
    header.body_bytes = static_cast<uint32_t>(body->size());
  }
  char encoded[kFrameHeaderBytes];
  EncodeFrameHeader(header, encoded);
  if (!descriptors.empty()) {
    MANTA_CHECK(body != nullptr && !body->is_gathered());
    const size_t size = kFrameHeaderBytes + body->size();
    Chunk chunk;
    chunk.own = std::make_unique_for_overwrite<char[]>(size);
    chunk.size = chunk.capacity = size;  // full: no frame may follow in it
    chunk.descriptors = std::move(descriptors);
    std::memcpy(chunk.own.get(), encoded, kFrameHeaderBytes);
    std::memcpy(chunk.own.get() + kFrameHeaderBytes, body->data(), body->size());
    chunks_.push_back(std::move(chunk));
    bytes_ += size;
    return;
  }
  AppendBytes(encoded, kFrameHeaderBytes);
  if (body == nullptr) return;
  body->ForEachRun([this](const FrameBuffer::Run& run) {
    if (run.bytes == nullptr) return AppendBytes(run.data, run.size);
    Chunk chunk;
    chunk.part = *run.bytes;
    chunk.size = chunk.capacity = run.size;
    chunks_.push_back(std::move(chunk));
    bytes_ += run.size;
  });
}

void SendQueue::AppendBytes(const char* data, size_t size) {
  Chunk* chunk = ChunkFor(size);
  std::memcpy(chunk->own.get() + chunk->size, data, size);
  chunk->size += size;
  bytes_ += size;
}

SendQueue::Chunk* SendQueue::ChunkFor(size_t size) {
  if (!chunks_.empty() && chunks_.back().own && chunks_.back().capacity - chunks_.back().size >= size) {
    return &chunks_.back();
  }
  Chunk chunk;
  chunk.capacity = std::max(size, kChunkBytes);
  chunk.own = chunk.capacity == kChunkBytes && spare_ ? std::move(spare_)
                                                      : std::make_unique_for_overwrite<char[]>(chunk.capacity);
  chunks_.push_back(std::move(chunk));
  return &chunks_.back();
}

absl::Status SendQueue::Flush(int socket) {
  while (!chunks_.empty()) {
    absl::StatusOr<size_t> sent = SendSome(socket);
    if (absl::IsUnavailable(sent.status())) return absl::OkStatus();
    if (!sent.ok()) return sent.status();
    Sent(*sent);
  }
  return absl::OkStatus();
}

// kUnavailable: the socket is full.
absl::StatusOr<size_t> SendQueue::SendSome(int socket) {
  Chunk& front = chunks_.front();
  if (!front.descriptors.empty()) {
    int fds[kFrameDescriptorsMax];
    for (size_t i = 0; i < front.descriptors.size(); ++i) fds[i] = front.descriptors[i].get();
    absl::StatusOr<size_t> sent =
        base::SendWithFds(socket, {front.data(), front.size}, {fds, front.descriptors.size()});
    if (sent.ok()) front.descriptors.clear();  // they went with the first byte; the rest follows as bytes
    return sent;
  }
  iovec runs[kRunsMax];
  size_t count = 0;
  for (auto chunk = chunks_.begin(); chunk != chunks_.end() && count < kRunsMax; ++chunk) {
    if (!chunk->descriptors.empty()) break;
    runs[count++] = {const_cast<char*>(chunk->data()) + chunk->begin, chunk->size - chunk->begin};
  }
  msghdr message{};
  message.msg_iov = runs;
  message.msg_iovlen = count;
  while (true) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return absl::UnavailableError("the socket is full");
    // Not kUnavailable, which means full here.
    return base::Error(absl::StatusCode::kAborted, base::Message(base::ErrnoStatus(errno, "send")));
  }
}

void SendQueue::Sent(size_t size) {
  bytes_ -= size;
  while (size != 0) {
    Chunk& front = chunks_.front();
    const size_t taken = std::min(size, front.size - front.begin);
    front.begin += taken;
    size -= taken;
    if (front.begin != front.size) return;
    if (front.own && front.capacity == kChunkBytes && !spare_) spare_ = std::move(front.own);
    chunks_.pop_front();
  }
}

void SendQueue::Clear() {
  chunks_.clear();
  bytes_ = 0;
}

}  // namespace manta::rpc

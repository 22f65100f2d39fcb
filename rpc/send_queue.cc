#include "rpc/send_queue.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/rule.h"
#include "base/socket.h"
#include "base/status.h"

namespace manta::rpc {
namespace {

constexpr size_t kRunsMax = 64;  // in one system call

absl::StatusOr<size_t> WriteToSocket(int socket, std::span<const iovec> runs, std::span<const int> descriptors) {
  if (!descriptors.empty()) {
    const char* const data = static_cast<const char*>(runs[0].iov_base);
    return base::SendWithFds(socket, {data, runs[0].iov_len}, descriptors);
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(runs.data());
  message.msg_iovlen = runs.size();
  while (true) {
    const ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<size_t>(sent);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return absl::UnavailableError("the socket is full");
    // Not kUnavailable, which means full here.
    return base::Error(absl::StatusCode::kAborted, base::Message(base::ErrnoStatus(errno, "send")));
  }
}

}  // namespace

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
  return Flush([socket](std::span<const iovec> runs, std::span<const int> descriptors) {
    return WriteToSocket(socket, runs, descriptors);
  });
}

absl::Status SendQueue::Flush(Writer write) {
  while (!chunks_.empty()) {
    absl::StatusOr<size_t> sent = SendSome(write);
    if (absl::IsUnavailable(sent.status())) return absl::OkStatus();
    if (!sent.ok()) return sent.status();
    Sent(*sent);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> SendQueue::SendSome(Writer write) {
  Chunk& front = chunks_.front();
  if (!front.descriptors.empty()) {
    int fds[kFrameDescriptorsMax];
    for (size_t i = 0; i < front.descriptors.size(); ++i) fds[i] = front.descriptors[i].get();
    const iovec run = {const_cast<char*>(front.data()), front.size};
    absl::StatusOr<size_t> sent = write({&run, 1}, {fds, front.descriptors.size()});
    if (sent.ok()) front.descriptors.clear();  // they went with the first byte; the rest follows as bytes
    return sent;
  }
  iovec runs[kRunsMax];
  size_t count = 0;
  for (auto chunk = chunks_.begin(); chunk != chunks_.end() && count < kRunsMax; ++chunk) {
    if (!chunk->descriptors.empty()) break;
    runs[count++] = {const_cast<char*>(chunk->data()) + chunk->begin, chunk->size - chunk->begin};
  }
  return write({runs, count}, {});
}

void SendQueue::Sent(size_t size) {
  bytes_ -= size;
  while (size != 0) {
    Chunk& front = chunks_.front();
    const size_t taken = std::min(size, front.size - front.begin);
    front.begin += taken;
    size -= taken;
    if (front.begin != front.size && MANTA_RULE("send_queue.short_write")) return;
    if (front.own && front.capacity == kChunkBytes && !spare_) spare_ = std::move(front.own);
    chunks_.pop_front();
  }
}

void SendQueue::Clear() {
  chunks_.clear();
  bytes_ = 0;
}

}  // namespace manta::rpc

#include "rpc/frame_buffer.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace manta::rpc {
namespace {
constexpr std::align_val_t kAlignment{16};
constexpr size_t kCapacityBytesMin = 2048;
constexpr size_t kTrimmedBytes = 64 * 1024;
}  // namespace

void FrameBuffer::Free::operator()(uint64_t* words) const { ::operator delete[](words, kAlignment); }

void FrameBuffer::Reserve(size_t bytes) {
  if (bytes <= capacity_bytes_) return;
  const size_t capacity = (std::max({bytes, capacity_bytes_ * 2, kCapacityBytesMin}) + 15) / 16 * 16;
  std::unique_ptr<uint64_t[], Free> words(static_cast<uint64_t*>(::operator new[](capacity, kAlignment)));
  if (words_) std::memcpy(words.get(), words_.get(), stored_bytes_);
  words_ = std::move(words);
  capacity_bytes_ = capacity;
  dirty_bytes_ = capacity;
}

void FrameBuffer::Append(const char* data, size_t size) {
  const size_t padded = (size + 7) / 8 * 8;
  Reserve(stored_bytes_ + padded);
  char* to = reinterpret_cast<char*>(words_.get()) + stored_bytes_;
  if (size != 0) std::memcpy(to, data, size);
  if (padded != size) std::memset(to + size, 0, padded - size);
  stored_bytes_ += padded;
}

void FrameBuffer::Trim() {
  if (capacity_bytes_ <= kTrimmedBytes) return;
  words_.reset();
  gathered_.clear();
  capacity_bytes_ = dirty_bytes_ = stored_bytes_ = size_ = capnp_bytes_ = 0;
}

}  // namespace manta::rpc

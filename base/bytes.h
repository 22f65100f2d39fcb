// Bytes is an immutable, counted run of bytes: what a value is while it travels between cores.
//
// Problem:    most values of calls are a few bytes; neither they nor large ones want a copy per hand-over.
// Ownership:  up to kInlineBytesMax bytes live in the object itself, larger ones in one counted allocation.
// Threads:    immutable; copies may be used from any thread.
#ifndef MANTA_BASE_BYTES_H_
#define MANTA_BASE_BYTES_H_

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <utility>

namespace manta {

class Bytes {
 public:
  static constexpr size_t kInlineBytesMax = 24;
  static constexpr size_t kLargeBytesMin = 4096;
  static constexpr size_t kLargeAlignment = 64;

  Bytes() = default;
  explicit Bytes(std::string_view data) : Bytes(data.data(), data.size()) {}
  Bytes(const void* data, size_t size) {
    char* to = Allocate(size);
    if (size != 0) std::memcpy(to, data, size);
  }
  Bytes(const Bytes& other) { CopyFrom(other); }
  Bytes(Bytes&& other) noexcept { MoveFrom(other); }
  Bytes& operator=(const Bytes& other) {
    if (this != &other) {
      Drop();
      CopyFrom(other);
    }
    return *this;
  }
  Bytes& operator=(Bytes&& other) noexcept {
    if (this != &other) {
      Drop();
      MoveFrom(other);
    }
    return *this;
  }
  ~Bytes() { Drop(); }

  // A buffer of `size` bytes for the caller to fill before anybody else sees it: 16-byte aligned when it does not fit
  // inline, kLargeAlignment-aligned from kLargeBytesMin on.
  static Bytes Uninitialized(size_t size, char** data) {
    Bytes bytes;
    *data = bytes.Allocate(size);
    return bytes;
  }

  const char* data() const { return size_ <= kInlineBytesMax ? inline_ : heap_->data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {data(), size_}; }
  std::string ToString() const { return std::string(view()); }
  friend bool operator==(const Bytes& a, const Bytes& b) { return a.view() == b.view(); }

 private:
  struct alignas(16) Heap {
    explicit Heap(uint32_t offset) : data_offset(offset) {}
    std::atomic<uint32_t> count{1};
    const uint32_t data_offset;  // from this header: its size, or more for alignment
    char* data() { return reinterpret_cast<char*>(this) + data_offset; }
    const char* data() const { return reinterpret_cast<const char*>(this) + data_offset; }
  };
  static_assert(alignof(Heap) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  char* Allocate(size_t size) {
    size_ = size;
    if (size <= kInlineBytesMax) return inline_;
    size_t offset = sizeof(Heap);
    size_t room = offset + size;
    if (size >= kLargeBytesMin) room += kLargeAlignment - alignof(Heap);
    char* const start = static_cast<char*>(::operator new(room));
    if (size >= kLargeBytesMin) {
      const size_t past = (reinterpret_cast<uintptr_t>(start) + offset) % kLargeAlignment;
      if (past != 0) offset += kLargeAlignment - past;
    }
    heap_ = new (start) Heap(static_cast<uint32_t>(offset));
    return heap_->data();
  }
  void CopyFrom(const Bytes& other) {
    size_ = other.size_;
    if (size_ <= kInlineBytesMax) {
      std::memcpy(inline_, other.inline_, kInlineBytesMax);
    } else {
      heap_ = other.heap_;
      heap_->count.fetch_add(1, std::memory_order_relaxed);
    }
  }
  void MoveFrom(Bytes& other) {
    size_ = other.size_;
    std::memcpy(inline_, other.inline_, kInlineBytesMax);
    other.size_ = 0;
  }
  void Drop() {
    if (size_ > kInlineBytesMax && heap_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      heap_->~Heap();
      ::operator delete(heap_);
    }
    size_ = 0;
  }

  size_t size_ = 0;
  union {
    char inline_[kInlineBytesMax] = {};
    Heap* heap_;
  };
};

}  // namespace manta

#endif  // MANTA_BASE_BYTES_H_

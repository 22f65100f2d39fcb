#include "rpc/allocation_count.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MANTA_SANITIZED_ALLOCATOR
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MANTA_SANITIZED_ALLOCATOR
#endif

namespace manta::rpc {
namespace {

thread_local size_t live_bytes = 0;
thread_local size_t peak_bytes = 0;

}  // namespace

size_t LiveBytes() { return live_bytes; }
size_t PeakBytes() { return peak_bytes; }
void ResetPeakBytes() { peak_bytes = live_bytes; }

}  // namespace manta::rpc

#ifdef MANTA_SANITIZED_ALLOCATOR

// A sanitizer's allocator is not to be replaced, but tells.
#include <sanitizer/allocator_interface.h>

namespace manta::rpc {
namespace {

__attribute__((no_sanitize("thread"))) void OnAllocated(const volatile void*, size_t size) {
  live_bytes += size;
  if (live_bytes > peak_bytes) peak_bytes = live_bytes;
}
__attribute__((no_sanitize("thread"))) void OnFreed(const volatile void* memory) {
  if (memory != nullptr) live_bytes -= __sanitizer_get_allocated_size(memory);
}
const int kInstalled = __sanitizer_install_malloc_and_free_hooks(&OnAllocated, &OnFreed);

}  // namespace
}  // namespace manta::rpc

#else

#include <malloc.h>

namespace manta::rpc {
namespace {

void* New(size_t size, size_t alignment = 16) {
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  live_bytes += malloc_usable_size(memory);
  peak_bytes = std::max(peak_bytes, live_bytes);
  return memory;
}

void Delete(void* memory) {
  if (memory == nullptr) return;
  live_bytes -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace
}  // namespace manta::rpc

using manta::rpc::Delete;
using manta::rpc::New;

void* operator new(size_t size) { return New(size); }
void* operator new[](size_t size) { return New(size); }
void* operator new(size_t size, std::align_val_t alignment) { return New(size, static_cast<size_t>(alignment)); }
void* operator new[](size_t size, std::align_val_t alignment) { return New(size, static_cast<size_t>(alignment)); }
void operator delete(void* memory) noexcept { Delete(memory); }
void operator delete[](void* memory) noexcept { Delete(memory); }
void operator delete(void* memory, size_t) noexcept { Delete(memory); }
void operator delete[](void* memory, size_t) noexcept { Delete(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { Delete(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { Delete(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { Delete(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { Delete(memory); }

#endif

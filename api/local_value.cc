#include "api/local_value.h"

#include <algorithm>
#include <new>
#include <string>

#include "api/layout.h"
#include "manta/error.h"

namespace manta::internal {

std::shared_ptr<void> LocalMemory::Allocate(size_t size_bytes, bool in_store) {
  constexpr std::align_val_t kAlignment{kPartAlignment};
  const uint64_t counted = in_store ? size_bytes : 0;
  if (used_->fetch_add(counted) + counted > max_) {
    const uint64_t used = used_->fetch_sub(counted) - counted;
    throw OutOfMemoryError(ErrorCode::kOutOfMemory,
                           "the object store is full: " + std::to_string(size_bytes) + " bytes more than " +
                               std::to_string(used) + " of " + std::to_string(max_) +
                               " (--manta-store-memory); drop refs and views that are not needed");
  }
  void* const data = ::operator new(std::max<size_t>(size_bytes, 1), kAlignment, std::nothrow);
  if (data == nullptr) {
    used_->fetch_sub(counted);
    throw OutOfMemoryError(ErrorCode::kOutOfMemory, "no memory for " + std::to_string(size_bytes) + " bytes");
  }
  return {data, [used = used_, counted](void* memory) {
            ::operator delete(memory, kAlignment);
            used->fetch_sub(counted);
          }};
}

std::shared_ptr<const LocalValue> LocalMemory::Store(const Serialized& value) {
  const size_t size_bytes = EncodedBytes(value);
  std::shared_ptr<void> memory = Allocate(size_bytes, size_bytes > kInlineBytesMax);
  char* const data = static_cast<char*>(memory.get());
  Encode(value, data);
  auto stored = std::make_shared<LocalValue>();
  stored->memory = std::move(memory);
  stored->data = data;
  stored->size_bytes = size_bytes;
  stored->refs = value.refs;
  return stored;
}

}  // namespace manta::internal

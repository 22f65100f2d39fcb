// LocalMemory and LocalValue: where --manta-local keeps the bytes of values.
//
// Problem:    a program must behave in --manta-local as on a cluster: values go through their serialised form, and a
// store
//             that is full says so.
// Threads:    LocalMemory is thread-safe; a LocalValue is immutable.
#ifndef MANTA_API_LOCAL_VALUE_H_
#define MANTA_API_LOCAL_VALUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "manta/internal/backend.h"

namespace manta::internal {

struct LocalValue {
  std::shared_ptr<const void> memory;
  const char* data = nullptr;
  size_t size_bytes = 0;
  std::vector<RefHandle> refs;

  // `object`: what a view of it belongs to; empty for a value that is no object.
  Payload ToPayload(const RefHandle& object) const { return {data, size_bytes, memory, object, refs}; }
};

class LocalMemory {
 public:
  // Values of more than kInlineBytesMax count as the store's.
  static constexpr size_t kInlineBytesMax = 64 << 10;

  explicit LocalMemory(uint64_t store_bytes_max)
      : used_(std::make_shared<std::atomic<uint64_t>>(0)), max_(store_bytes_max) {}

  // 64-byte aligned. Throws OutOfMemoryError.
  std::shared_ptr<void> Allocate(size_t size_bytes, bool in_store);
  // `value` in its written form. Throws OutOfMemoryError.
  std::shared_ptr<const LocalValue> Store(const Serialized& value);

 private:
  const std::shared_ptr<std::atomic<uint64_t>> used_;
  const uint64_t max_;
};

}  // namespace manta::internal

#endif  // MANTA_API_LOCAL_VALUE_H_

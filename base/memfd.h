// Shared memory: memfds whose size is sealed, and mappings of them.
//
// Problem:    a peer that shrinks a file we have mapped kills us with SIGBUS; a sealed one cannot be resized.
// Threads:    functions are thread-safe; a Mapping is externally synchronised.
#ifndef MANTA_BASE_MEMFD_H_
#define MANTA_BASE_MEMFD_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "base/unique_fd.h"

namespace manta::base {

// A close-on-exec memfd of `size` bytes (> 0), sealed F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL. `name` shows in
// /proc/PID/maps. No page of it is in memory yet.
absl::StatusOr<UniqueFd> CreateSealedMemfd(const std::string& name, size_t size);

// The size of a memfd that came from a peer. kInvalidArgument unless it is a memfd with those three seals and of at
// least `expected_min_size` bytes; call it before mapping.
absl::StatusOr<size_t> CheckSealed(int fd, size_t expected_min_size);

// Allocates the pages of a mapped range ahead of its first write (MADV_POPULATE_WRITE): blocks 0.8 ms per MiB.
// kResourceExhausted when there is no memory; kUnimplemented before Linux 5.14.
absl::Status Populate(void* address, size_t size);

// One mmap'ed range, unmapped at the end.
class Mapping {
 public:
  enum class Access { kReadOnly, kReadWrite };

  // Maps bytes [offset, offset + size) shared; `offset` is a multiple of the page size. The mapping outlives the fd.
  static absl::StatusOr<Mapping> Map(int fd, size_t size, Access access, uint64_t offset = 0);

  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  const char* data() const { return data_; }
  // REQUIRES: mapped kReadWrite.
  char* mutable_data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const char> bytes() const { return {data_, size_}; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Mapping(char* data, size_t size) : data_(data), size_(size) {}
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace manta::base

#endif  // MANTA_BASE_MEMFD_H_

#include "base/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace manta::base {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

absl::StatusOr<UniqueFd> CreateSealedMemfd(const std::string& name, size_t size) {
  if (size == 0) return absl::InvalidArgumentError("memfd of 0 bytes");
  UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return ErrnoStatus(errno, "memfd_create " + name);
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return ErrnoStatus(errno, "ftruncate memfd " + name + " to " + std::to_string(size) + " bytes");
  }
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return ErrnoStatus(errno, "seal memfd " + name);
  return fd;
}

absl::StatusOr<size_t> CheckSealed(int fd, size_t expected_min_size) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return absl::InvalidArgumentError("descriptor is not a memfd");
  if ((seals & kSeals) != kSeals) {
    return absl::InvalidArgumentError("memfd is not sealed (seals " + std::to_string(seals) + ")");
  }
  struct stat file;
  if (fstat(fd, &file) != 0) return ErrnoStatus(errno, "fstat memfd");
  const size_t size = static_cast<size_t>(file.st_size);
  if (size < expected_min_size) {
    return absl::InvalidArgumentError("memfd has " + std::to_string(size) + " bytes, " +
                                      std::to_string(expected_min_size) + " expected");
  }
  return size;
}

absl::Status Populate(void* address, size_t size) {
  while (madvise(address, size, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    if (error == EINVAL) return absl::UnimplementedError("this kernel has no MADV_POPULATE_WRITE");
    if (error == ENOMEM || error == EFAULT) {
      return absl::ResourceExhaustedError("no memory for " + std::to_string(size) + " bytes");
    }
    return ErrnoStatus(error, "madvise MADV_POPULATE_WRITE");
  }
  return absl::OkStatus();
}

absl::StatusOr<Mapping> Mapping::Map(int fd, size_t size, Access access, uint64_t offset) {
  const int protection = access == Access::kReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* data = mmap(nullptr, size, protection, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) return ErrnoStatus(errno, "mmap " + std::to_string(size) + " bytes");
  return Mapping(static_cast<char*>(data), size);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace manta::base

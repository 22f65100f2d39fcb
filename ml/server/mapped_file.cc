#include "ml/server/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/unique_fd.h"
#include "manta/ml/error.h"

namespace manta::ml {

MappedFile::MappedFile(const std::string& path, size_t bytes_min) {
  const auto fail = [&](const char* what, int error) {
    throw FileError(path, std::string("cannot ") + what + ": " + std::strerror(error));
  };
  const base::UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) fail("open", errno);
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0) fail("look at", errno);
  bytes_before_ = size_t(status.st_size);
  bytes_ = std::max(bytes_before_, bytes_min);
  // Reserved, so that a full disk is an error here and not a signal at a write.
  if (const int error = ::posix_fallocate(fd.get(), 0, off_t(bytes_)); error != 0) fail("reserve", error);
  void* const memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) fail("map", errno);
  words_ = static_cast<uint64_t*>(memory);
}

MappedFile::~MappedFile() { ::munmap(words_, bytes_); }

}  // namespace manta::ml

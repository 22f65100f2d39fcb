// MappedFile is a file mapped into memory: what is stored there is there when the process is killed at any moment. When
// the machine fails, any page of it may be as it was before, or zeros.
//
// Threads:    externally synchronised.
// Errors:     FileError names the path and the system's reason.
#ifndef MANTA_ML_SERVER_MAPPED_FILE_H_
#define MANTA_ML_SERVER_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace manta::ml {

class MappedFile {
 public:
  // The file at `path`, made if there is none, and made longer, by zeros, if it is shorter than `bytes_min`.
  MappedFile(const std::string& path, size_t bytes_min);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  // All whole words of it.
  std::span<uint64_t> words() const { return {words_, bytes_ / sizeof(uint64_t)}; }
  size_t bytes_before() const { return bytes_before_; }  // that it had

 private:
  size_t bytes_before_ = 0;
  uint64_t* words_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SERVER_MAPPED_FILE_H_

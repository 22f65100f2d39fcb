// AppendFile is a file that grows at its end: what a Journal writes its entries to. Tests put another in its place,
// whose disk is full, breaks, or forgets what was not synced.
//
// Threads:    externally synchronised.
// Errors:     those of the system, as error codes.
#ifndef MANTA_ML_TUNE_APPEND_FILE_H_
#define MANTA_ML_TUNE_APPEND_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace manta::ml {

class AppendFile {
 public:
  virtual ~AppendFile() = default;

  // Writes all of `bytes` behind what is there; after an error, some of them may be there.
  virtual std::error_code Append(std::string_view bytes) = 0;
  // What was appended outlives a crash of the machine once this has returned without an error.
  virtual std::error_code Sync() = 0;
  // Forgets what is behind the first `size_bytes`.
  virtual std::error_code CutTo(uint64_t size_bytes) = 0;
};

using OpenAppendFile = std::function<std::unique_ptr<AppendFile>(const std::string& path)>;

// The file `path`, which is there. FileError: it cannot be opened.
std::unique_ptr<AppendFile> OpenOnDisk(const std::string& path);

}  // namespace manta::ml

#endif  // MANTA_ML_TUNE_APPEND_FILE_H_

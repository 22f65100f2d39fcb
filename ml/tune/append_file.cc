#include "ml/tune/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/unique_fd.h"
#include "manta/ml/error.h"

namespace manta::ml {
namespace {

std::error_code LastError() { return {errno, std::generic_category()}; }

class FileOnDisk final : public AppendFile {
 public:
  explicit FileOnDisk(base::UniqueFd fd) : fd_(std::move(fd)) {}

  std::error_code Append(std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return LastError();
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return {};
  }

  std::error_code Sync() override { return ::fdatasync(fd_.get()) == 0 ? std::error_code() : LastError(); }

  std::error_code CutTo(uint64_t size_bytes) override {
    return ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)) == 0 ? std::error_code() : LastError();
  }

 private:
  const base::UniqueFd fd_;
};

}  // namespace

std::unique_ptr<AppendFile> OpenOnDisk(const std::string& path) {
  base::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (!fd) throw FileError(path, "cannot open to append: " + LastError().message());
  return std::make_unique<FileOnDisk>(std::move(fd));
}

}  // namespace manta::ml

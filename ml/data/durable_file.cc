#include "ml/data/durable_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/unique_fd.h"
#include "manta/ml/error.h"

namespace manta::ml {
namespace {

[[noreturn]] void Fail(const std::string& path, const char* what) {
  throw FileError(path, std::string("cannot ") + what + ": " + std::strerror(errno));
}

}  // namespace

void WriteAll(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) Fail(path, "write");
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void WriteDurably(const std::string& path, std::span<const std::string_view> parts) {
  const std::string temporary = path + std::string(kTemporarySuffix);
  try {
    const base::UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) Fail(path, "create a file beside it");
    for (const std::string_view part : parts) WriteAll(fd.get(), path, part);
    if (::fsync(fd.get()) != 0) Fail(path, "sync");
    if (::rename(temporary.c_str(), path.c_str()) != 0) Fail(path, "rename to");
  } catch (const FileError&) {
    ::unlink(temporary.c_str());
    throw;
  }
  SyncDirectory(std::filesystem::path(path).parent_path().string());
}

void SyncDirectory(const std::string& directory) {
  const std::string path = directory.empty() ? "." : directory;
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) Fail(path, "sync the directory");
}

std::string ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw DataError(path, 0, std::string("cannot be opened: ") + std::strerror(errno));
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) throw DataError(path, 0, "cannot be read");
  return std::move(text).str();
}

}  // namespace manta::ml

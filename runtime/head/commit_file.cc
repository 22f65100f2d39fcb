#include "runtime/head/commit_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <utility>

#include "base/log.h"
#include "base/unique_fd.h"

namespace manta::runtime {
namespace {

absl::Status Failed(const char* what, const std::string& path) { return base::ErrnoStatus(errno, what + path); }

absl::Status SyncFolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const base::UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Failed("open ", folder);
  return fsync(fd.get()) == 0 ? absl::OkStatus() : Failed("fsync ", folder);
}

absl::Status WriteNumber(const std::string& path, uint64_t number) {
  const std::string temporary = path + ".new";
  const std::string text = std::to_string(number) + "\n";
  base::UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return Failed("open ", temporary);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Failed("write ", temporary);
  }
  if (fsync(fd.get()) != 0) return Failed("fsync ", temporary);
  if (rename(temporary.c_str(), path.c_str()) != 0) return Failed("rename ", temporary);
  return SyncFolderOf(path);
}

}  // namespace

CommitFile::CommitFile(std::string path) : path_(std::move(path)), writer_([this] { WriteNoted(); }) {}

CommitFile::~CommitFile() {
  {
    base::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.NotifyAll();
  }
  writer_.join();
}

void CommitFile::Note(uint64_t commit_seq) {
  base::MutexLock lock(&mutex_);
  if (commit_seq <= noted_) return;
  noted_ = commit_seq;
  changed_.NotifyAll();
}

void CommitFile::WriteNoted() {
  const base::SystemClock clock;
  uint64_t written = 0;
  Time not_before = clock.Now();
  for (;;) {
    uint64_t next = 0;
    {
      base::MutexLock lock(&mutex_);
      while (!ending_ && (noted_ == written || clock.Now() < not_before)) {
        if (noted_ == written) {
          changed_.Wait(&mutex_);
        } else {
          changed_.WaitFor(&mutex_, not_before - clock.Now());
        }
      }
      if (noted_ == written) return;
      next = noted_;
    }
    if (absl::Status status = WriteNumber(path_, next); !status.ok()) {
      MANTA_LOG(kWarning) << "head: the highest commit could not be noted: " << base::StdView(status.message());
    }
    written = next;
    not_before = clock.Now() + kWriteEvery;
  }
}

absl::StatusOr<uint64_t> CommitFile::Read(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) return 0;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return absl::DataLossError(path + " is empty, or cannot be read");
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc() || end != line.data() + line.size()) return absl::DataLossError(path + " holds no number");
  return number;
}

}  // namespace manta::runtime

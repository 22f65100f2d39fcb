#include "base/log.h"

#include <fcntl.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/pattern_formatter.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"

namespace manta::base {
namespace {

spdlog::level::level_enum SpdLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

// spdlog formats the lines; the file is ours, because spdlog's throws when the disk is full.
class LogFile {
 public:
  absl::Status Open(const std::string& path, std::string_view prefix) MANTA_EXCLUDES(mutex_);
  void SetPrefix(std::string_view prefix) MANTA_EXCLUDES(mutex_);
  void Close() MANTA_EXCLUDES(mutex_);
  void AfterFork() MANTA_EXCLUDES(mutex_);
  void Write(LogLevel level, const char* file, int line, std::string_view text) MANTA_EXCLUDES(mutex_);
  uint64_t dropped_lines() MANTA_EXCLUDES(mutex_);

 private:
  std::string Format(LogLevel level, const char* file, int line, std::string_view text) MANTA_REQUIRES(mutex_);
  void WriteLine(const std::string& line) MANTA_REQUIRES(mutex_);
  bool WriteFully(std::string_view bytes) MANTA_REQUIRES(mutex_);

  Mutex mutex_;
  UniqueFd fd_ MANTA_GUARDED_BY(mutex_);
  std::string prefix_ MANTA_GUARDED_BY(mutex_);
  std::unique_ptr<spdlog::pattern_formatter> formatter_ MANTA_GUARDED_BY(mutex_);
  std::vector<std::string> early_lines_ MANTA_GUARDED_BY(mutex_);
  uint64_t dropped_lines_ MANTA_GUARDED_BY(mutex_) = 0;
  uint64_t dropped_lines_told_ MANTA_GUARDED_BY(mutex_) = 0;
  bool in_mid_line_ MANTA_GUARDED_BY(mutex_) = false;  // the disk was full after part of a line
};

// Never destroyed: destructors of others may log.
LogFile& TheLogFile() {
  static LogFile& file = *new LogFile;
  return file;
}

}  // namespace

std::atomic<int> Log::level_{static_cast<int>(LogLevel::kInfo)};

absl::Status Log::Open(const std::string& path, std::string_view prefix, LogLevel level) {
  SetLevel(level);
  return TheLogFile().Open(path, prefix);
}
void Log::SetPrefix(std::string_view prefix) { TheLogFile().SetPrefix(prefix); }
void Log::SetLevel(LogLevel level) { level_.store(static_cast<int>(level), std::memory_order_relaxed); }
void Log::Close() { TheLogFile().Close(); }
void Log::AfterFork() { TheLogFile().AfterFork(); }
uint64_t Log::dropped_lines() { return TheLogFile().dropped_lines(); }
void Log::Write(LogLevel level, const char* file, int line, std::string_view text) {
  const int saved_errno = errno;
  try {
    TheLogFile().Write(level, file, line, text);
  } catch (...) {
    // Out of memory while formatting: a line is lost, the process is not.
  }
  errno = saved_errno;
}

namespace {

absl::Status LogFile::Open(const std::string& path, std::string_view prefix) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus(error.value(), "make folder " + folder.string());
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) return ErrnoStatus(errno, "open log " + path);

  MutexLock lock(&mutex_);
  fd_ = std::move(fd);
  prefix_ = prefix;
  for (const std::string& line : early_lines_) WriteLine(line);
  early_lines_.clear();
  return absl::OkStatus();
}

void LogFile::SetPrefix(std::string_view prefix) {
  MutexLock lock(&mutex_);
  prefix_ = prefix;
}

void LogFile::Close() {
  MutexLock lock(&mutex_);
  fd_.reset();
}

void LogFile::AfterFork() {
  MutexLock lock(&mutex_);
  fd_.reset();
  early_lines_.clear();
  dropped_lines_ = dropped_lines_told_ = 0;
}

uint64_t LogFile::dropped_lines() {
  MutexLock lock(&mutex_);
  return dropped_lines_;
}

void LogFile::Write(LogLevel level, const char* file, int line, std::string_view text) {
  MutexLock lock(&mutex_);
  std::string formatted = Format(level, file, line, text);
  if (fd_) {
    WriteLine(formatted);
    return;
  }
  if (level >= LogLevel::kWarning) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, formatted.data(), formatted.size());
  }
  if (early_lines_.size() < Log::kEarlyLinesMax) {
    early_lines_.push_back(std::move(formatted));
  } else {
    ++dropped_lines_;
  }
}

// 2024-11-21 10:39:01.123456 I n3.p7 4711 mailbox.cc:52] text
std::string LogFile::Format(LogLevel level, const char* file, int line, std::string_view text) {
  if (!formatter_) {
    formatter_ = std::make_unique<spdlog::pattern_formatter>("%Y-%m-%d %H:%M:%S.%f %L %n %t %s:%#] %v");
  }
  const std::string_view prefix = prefix_.empty() ? "-" : std::string_view(prefix_);
  spdlog::details::log_msg message(spdlog::source_loc{file, line, ""},
                                   spdlog::string_view_t(prefix.data(), prefix.size()), SpdLevel(level),
                                   spdlog::string_view_t(text.data(), text.size()));
  spdlog::memory_buf_t buffer;
  formatter_->format(message, buffer);
  return std::string(buffer.data(), buffer.size());
}

void LogFile::WriteLine(const std::string& line) {
  if (dropped_lines_ != dropped_lines_told_) {
    const std::string note = std::string(in_mid_line_ ? "\n" : "") + "(" +
                             std::to_string(dropped_lines_ - dropped_lines_told_) + " lines dropped here)\n";
    if (!WriteFully(note)) {
      ++dropped_lines_;
      return;
    }
    dropped_lines_told_ = dropped_lines_;
  }
  if (!WriteFully(line)) ++dropped_lines_;
}

bool LogFile::WriteFully(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    in_mid_line_ = static_cast<size_t>(written) < bytes.size();
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text) {
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warning") return LogLevel::kWarning;
  if (text == "error") return LogLevel::kError;
  if (text == "off") return LogLevel::kOff;
  return absl::InvalidArgumentError("'" + std::string(text) + "' is none of debug, info, warning, error, off");
}

}  // namespace manta::base

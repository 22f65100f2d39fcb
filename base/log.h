// Log writes the process's one log file.
//
// Problem:    a process must be able to say what it did, before it knows its own id, on a full disk, and across fork.
// Threads:    thread-safe. No thread and no buffer: a line is in the file when MANTA_LOG returns, kill -9 or not.
// Invariants: (1) logging never throws and never ends the process; lines that could not be written are counted.
//             (2) before Open(): lines of kWarning and above go to stderr, and up to kEarlyLinesMax of every level
//                 wait for the file.
//   MANTA_LOG(kInfo) << "node " << id << " registered";
#ifndef MANTA_BASE_LOG_H_
#define MANTA_BASE_LOG_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "base/status.h"

namespace manta::base {

enum class LogLevel : int { kDebug = 0, kInfo, kWarning, kError, kOff };

class Log {
 public:
  static constexpr size_t kEarlyLinesMax = 1000;

  // Opens (appends to) `path`, makes its folder, writes the early lines. `prefix` stands in every line: "n3.p7".
  static absl::Status Open(const std::string& path, std::string_view prefix, LogLevel level);
  static void SetPrefix(std::string_view prefix);  // when the process learns its id
  static void SetLevel(LogLevel level);
  // Closes the file; lines after it are early lines again.
  static void Close();
  // In a child right after fork, single-threaded: forgets the parent's file and early lines.
  static void AfterFork();
  // Lines lost since the start: the disk was full, or more than kEarlyLinesMax came before Open.
  static uint64_t dropped_lines();

  static bool IsOn(LogLevel level) { return static_cast<int>(level) >= level_.load(std::memory_order_relaxed); }
  static void Write(LogLevel level, const char* file, int line, std::string_view text);

 private:
  static std::atomic<int> level_;
};

// "debug", "info", "warning", "error", "off".
absl::StatusOr<LogLevel> ParseLogLevel(std::string_view text);

namespace internal {

class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  ~LogLine() { Log::Write(level_, file_, line_, stream_.view()); }
  std::ostream& stream() { return stream_; }

 private:
  const LogLevel level_;
  const char* const file_;
  const int line_;
  std::ostringstream stream_;
};

struct LogVoidify {
  void operator&(std::ostream&) {}
};

}  // namespace internal
}  // namespace manta::base

#define MANTA_LOG(level) MANTA_LOG_AT(::manta::base::LogLevel::level)

// For a level that is known when it runs.
#define MANTA_LOG_AT(level)        \
  !::manta::base::Log::IsOn(level) \
      ? (void)0                    \
      : ::manta::base::internal::LogVoidify() & ::manta::base::internal::LogLine(level, __FILE__, __LINE__).stream()

#endif  // MANTA_BASE_LOG_H_

// Files that are there whole or not at all, and that outlive a crash of the machine once their writer has returned.
//
//   PATH.tmp ──written, synced──▶ renamed over PATH ──▶ its directory synced
//
// A writer that is killed leaves PATH.tmp at most, which the next one overwrites.
//
// Threads:    thread-safe, but for two writers of one path.
// Errors:     FileError names the path and the system's reason.
#ifndef MANTA_ML_DATA_DURABLE_FILE_H_
#define MANTA_ML_DATA_DURABLE_FILE_H_

#include <span>
#include <string>
#include <string_view>

namespace manta::ml {

inline constexpr std::string_view kTemporarySuffix = ".tmp";

// Writes all of `bytes` to the descriptor, of the file `path`.
void WriteAll(int fd, const std::string& path, std::string_view bytes);
// Replaces `path` by a file of `parts`, one after the other.
void WriteDurably(const std::string& path, std::span<const std::string_view> parts);
inline void WriteDurably(const std::string& path, std::string_view text) { WriteDurably(path, {&text, 1}); }
// Has names that were made in, or taken out of, `directory` outlive a crash.
void SyncDirectory(const std::string& directory);
// The whole file. DataError: it cannot be read.
std::string ReadWhole(const std::string& path);

}  // namespace manta::ml

#endif  // MANTA_ML_DATA_DURABLE_FILE_H_

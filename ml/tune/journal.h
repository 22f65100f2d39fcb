// Journal keeps the entries of one sweep in a directory, so that they survive the process and the machine's power.
//
//   lock                  held (flock) by the process that runs the sweep; its text says which
//   snapshot-000007       one frame: the state that all entries before journal-000007 have led to
//   journal-000007        the entries since; generation 0 has no snapshot
//
// A file is an 8-byte magic and frames; a frame is what one Commit wrote:
//
//   u32 "MJF1" | u32 payload bytes | u64 sequence | u64 XXH3 of the payload | u64 XXH3 of the 24 bytes before | payload
//   payload: for each entry  u32 bytes | the entry
//
// Problem:    a crash may cut the last write short, and nothing else. So a bad frame with no good one behind it is the
//             tail of a crash, and is dropped; a bad frame with a good one behind it is damage, and an error.
// Ownership:  one Journal per directory, by the lock.
// Threads:    externally synchronised.
// Invariants: (1) after Commit, all that was appended is on the disk.
//             (2) a frame's sequence is that of the frame before it + 1, across files.
//             (3) a generation's journal is there before its snapshot is, and goes after the next one's snapshot came.
// Errors:     FileError: the disk is full, ...; what was committed before stays readable, and nothing more is taken.
//             DataError: damage, with file and offset. SweepExistsError, SweepLockedError, NoSuchSweepError.
#ifndef MANTA_ML_TUNE_JOURNAL_H_
#define MANTA_ML_TUNE_JOURNAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/unique_fd.h"
#include "ml/tune/append_file.h"

namespace manta::ml {

class Journal {
 public:
  struct Contents {
    std::string snapshot;              // empty: none
    std::vector<std::string> entries;  // since then, in their order
    std::string dropped;               // what was cut off at the end and why, for people; empty: nothing
  };

  // A new journal in `directory`, which is made, with `first` as its first entry.
  static Journal Create(const std::string& directory, std::string_view first, OpenAppendFile open = &OpenOnDisk);
  // The journal in `directory`, as its last writer has left it.
  static Journal Open(const std::string& directory, Contents* contents, OpenAppendFile open = &OpenOnDisk);

  // An entry of at most 1 GiB. Not on the disk before Commit.
  void Append(std::string_view entry);
  void Commit();
  // Whether entries have grown past the snapshot that they follow, so that a new one pays.
  bool WantsSnapshot() const;
  // `state` takes the place of all entries so far, which are committed.
  void Snapshot(std::string_view state);

  const std::string& directory() const { return directory_; }

 private:
  Journal(std::string directory, base::UniqueFd lock, OpenAppendFile open)
      : directory_(std::move(directory)), lock_(std::move(lock)), open_(std::move(open)) {}

  std::string PathOf(const char* kind, uint64_t generation) const;
  void Continue(uint64_t size_bytes);
  [[noreturn]] void Fail(const char* what, const std::error_code& error);
  void DropOthers() const;

  std::string directory_;
  base::UniqueFd lock_;
  OpenAppendFile open_;
  std::unique_ptr<AppendFile> file_;  // journal-<generation_>; null after an error
  uint64_t generation_ = 0;
  uint64_t sequence_ = 0;    // of the next frame
  uint64_t size_bytes_ = 0;  // of the file's good frames
  uint64_t snapshot_bytes_ = 0;
  std::string pending_;  // the payload of the next frame
};

}  // namespace manta::ml

#endif  // MANTA_ML_TUNE_JOURNAL_H_

// PushJournal remembers which pushes a shard has admitted since its checkpoint, and in which order: their names, not
// what is in them, which their workers keep. It is a file mapped into memory, so that an entry costs a copy of 48 bytes
// and is there when the process is killed at any moment. It is not synced: when the machine fails, entries may be
// missing, or all of them.
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_PUSH_JOURNAL_H_
#define MANTA_ML_PUSH_JOURNAL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "manta/internal/export.h"
#include "manta/ml/push.h"

namespace manta::ml {

struct JournalEntry {
  uint64_t arrival = 0;  // which push of the shard's it was, from 1
  uint64_t worker = 0;
  uint64_t stream = 0;
  PushId id = {};

  std::string ToString() const {
    return "push " + std::to_string(arrival) + " (" + id.ToString() + ", from worker " + std::to_string(worker) + ")";
  }
};

class MappedFile;

class MANTA_EXPORT PushJournal {
 public:
  // The file at `path`, made if there is none, for up to `capacity` entries more than it has.
  // FileError: cannot be made, mapped or read. DataError: it is no journal.
  PushJournal(const std::string& path, uint64_t capacity);
  PushJournal(const PushJournal&) = delete;
  PushJournal& operator=(const PushJournal&) = delete;
  ~PushJournal();

  std::span<const JournalEntry> entries() const { return {entries_, size()}; }
  uint64_t size() const { return *count_; }
  bool is_full() const { return size() == capacity_; }
  // REQUIRES: !is_full().
  void Append(const JournalEntry& entry);

 private:
  const std::unique_ptr<MappedFile> file_;
  uint64_t capacity_ = 0;
  uint64_t* count_ = nullptr;
  JournalEntry* entries_ = nullptr;
};

}  // namespace manta::ml

#endif  // MANTA_ML_PUSH_JOURNAL_H_

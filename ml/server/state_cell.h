// StateCell keeps one value, some words, in a file that is mapped into memory: a process that is killed at any moment
// leaves the last value that it Put, whole. It is not synced, for machines that fail.
//
//   "mantasc1" | owner | which slot is in force (0: none, 1, 2) | slot 1 | slot 2        slot: count | words
//
// Put writes the slot that is not in force, and then says that it is.
//
// Threads:    externally synchronised.
// Errors:     FileError.
#ifndef MANTA_ML_SERVER_STATE_CELL_H_
#define MANTA_ML_SERVER_STATE_CELL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "ml/server/mapped_file.h"

namespace manta::ml {

class StateCell {
 public:
  // A file at `path` that is another owner's is replaced. `words_max`: the same for all lives of an owner.
  StateCell(const std::string& path, uint64_t owner, size_t words_max);

  // Empty: there was no Put.
  std::span<const uint64_t> value() const;
  // REQUIRES: 0 < words.size() <= words_max.
  void Put(std::span<const uint64_t> words);

 private:
  // 1 or 2.
  std::span<uint64_t> Slot(uint64_t number) const {
    return slots_.subspan((number - 1) * slots_.size() / 2, slots_.size() / 2);
  }

  const std::unique_ptr<MappedFile> file_;
  std::span<uint64_t> slots_;
  uint64_t& in_force_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SERVER_STATE_CELL_H_

// ShardStorage is the files by which a shard of a parameter server outlives its process: its newest checkpoint, and the
// journal of the pushes that it has admitted since.
//
//   DIRECTORY/shard-I-V.safetensors     the state after V pushes; written whole, then the one before it is removed
//   DIRECTORY/shard-I-V.journal         the names of the pushes after it
//
// Checkpoints are synced, their directory too; journals are not: what is here outlives processes as it says, and a
// crash of the machine as its newest checkpoint.
//
// Invariants: (1) at any moment the newest checkpoint and its journal name every push that was acknowledged.
// Threads:    externally synchronised.
// Errors:     FileError, DataError.
#ifndef MANTA_ML_SHARD_STORAGE_H_
#define MANTA_ML_SHARD_STORAGE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "manta/internal/export.h"
#include "manta/ml/push_journal.h"
#include "manta/ml/shard_state.h"

namespace manta::ml {

// How a parameter server outlives the processes of its shards and of its scheduler. Without a directory the death of
// one ends the training.
//
// When the machine fails (or all workers die with the shards), what there was after the newest checkpoints is lost: a
// server that resumes says so (PushesLostError) as far as the journals came to the disk.
struct CheckpointOptions {
  std::string directory = {};   // of this server alone; made if there is none
  uint64_t every_pushes = 200;  // to a shard; its workers keep as many in memory
  bool resume = false;          // begin with what is in the directory; else it must have nothing
  // With `resume`, or when a shard is restarted: go on without the pushes that nobody has any more.
  bool accept_loss = false;
  uint32_t restarts_max = 1000;  // of a shard

  template <class Archive>
  void serialize(Archive& archive) {
    archive(directory, every_pushes, resume, accept_loss, restarts_max);
  }
};

class MANTA_EXPORT ShardStorage {
 public:
  // Whether `directory` has the state of a server.
  static bool HasState(const std::string& directory);

  // `may_resume`: InvalidArgumentError if there is a state, and this is false.
  ShardStorage(const CheckpointOptions& options, uint64_t shard, bool may_resume);

  // Pushes that the newest checkpoint has; 0 if there is none.
  uint64_t covered() const { return covered_; }
  std::optional<ShardState> ReadCheckpoint() const;
  PushJournal& journal() { return *journal_; }

  void WriteCheckpoint(uint64_t covered, const ShardState& state);

 private:
  void RemoveIfLeftBehind(const std::filesystem::path& file) const;
  std::string PathOf(uint64_t covered, std::string_view extension) const;

  const CheckpointOptions options_;
  const uint64_t shard_;
  uint64_t covered_ = 0;
  std::unique_ptr<PushJournal> journal_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SHARD_STORAGE_H_

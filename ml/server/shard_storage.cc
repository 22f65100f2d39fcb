#include "manta/ml/shard_storage.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include "manta/error.h"
#include "manta/ml/error.h"
#include "ml/data/durable_file.h"

namespace manta::ml {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kCheckpoint = ".safetensors", kJournal = ".journal";

std::optional<uint64_t> NumberIn(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// V of "shard-I-V" + extension.
std::optional<uint64_t> CoveredBy(const std::string& name, uint64_t shard, std::string_view extension) {
  const std::string prefix = "shard-" + std::to_string(shard) + "-";
  if (!name.starts_with(prefix) || !name.ends_with(extension)) return std::nullopt;
  return NumberIn(std::string_view(name).substr(prefix.size(), name.size() - prefix.size() - extension.size()));
}

}  // namespace

bool ShardStorage::HasState(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (entry.path().filename().string().starts_with("shard-")) return true;
  }
  return false;
}

ShardStorage::ShardStorage(const CheckpointOptions& options, uint64_t shard, bool may_resume)
    : options_(options), shard_(shard) {
  std::error_code error;
  fs::create_directories(options_.directory, error);
  if (error) throw FileError(options_.directory, "cannot make the directory: " + error.message());
  const std::string own = "shard-" + std::to_string(shard) + "-";
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(options_.directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(own)) files.push_back(entry.path());
    if (const auto covered = CoveredBy(name, shard, kCheckpoint)) covered_ = std::max(covered_, *covered);
  }
  if (!files.empty() && !may_resume) {
    throw InvalidArgumentError(options_.directory +
                               " has the state of a parameter server: set CheckpointOptions::resume to go on from it, "
                               "or name another directory");
  }
  for (const fs::path& file : files) RemoveIfLeftBehind(file);
  journal_ = std::make_unique<PushJournal>(PathOf(covered_, kJournal), options_.every_pushes + 1);
}

// By a life that was killed while it wrote a checkpoint, or before it removed the one before.
void ShardStorage::RemoveIfLeftBehind(const std::filesystem::path& file) const {
  std::error_code ignored;  // it is in nobody's way
  const std::string name = file.filename().string();
  bool is_left = name.ends_with(kTemporarySuffix);
  for (const std::string_view extension : {kCheckpoint, kJournal}) {
    const auto covered = CoveredBy(name, shard_, extension);
    is_left |= covered && *covered < covered_;
  }
  if (is_left) fs::remove(file, ignored);
}

std::optional<ShardState> ShardStorage::ReadCheckpoint() const {
  const std::string path = PathOf(covered_, kCheckpoint);
  if (covered_ == 0 && !fs::exists(path)) return std::nullopt;
  return ShardState::ReadFrom(path);
}

void ShardStorage::WriteCheckpoint(uint64_t covered, const ShardState& state) {
  state.WriteTo(PathOf(covered, kCheckpoint));
  const uint64_t before = std::exchange(covered_, covered);
  if (before == covered) return;
  journal_ = std::make_unique<PushJournal>(PathOf(covered, kJournal), options_.every_pushes + 1);
  std::error_code ignored;  // what is older is in nobody's way
  fs::remove(PathOf(before, kJournal), ignored);
  fs::remove(PathOf(before, kCheckpoint), ignored);
}

std::string ShardStorage::PathOf(uint64_t covered, std::string_view extension) const {
  return options_.directory + "/shard-" + std::to_string(shard_) + "-" + std::to_string(covered) +
         std::string(extension);
}

}  // namespace manta::ml

#include "manta/ml/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "ml/data/durable_file.h"
#include "ml/data/safetensors.h"

namespace manta::ml {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr size_t kVersionDigitsMin = 12;

// The names in the directory that begin with `prefix`, without it.
std::vector<std::string> NamesIn(const std::string& directory, const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
  }
  if (error) throw FileError(directory, "cannot be listed: " + error.message());
  return names;
}

// The version in "000000000042.safetensors".
std::optional<uint64_t> VersionOf(std::string_view name) {
  if (!name.ends_with(kSuffix)) return std::nullopt;
  name.remove_suffix(kSuffix.size());
  if (name.size() < kVersionDigitsMin || name.size() > 19) return std::nullopt;
  uint64_t version = 0;
  for (const char c : name) {
    if (c < '0' || c > '9') return std::nullopt;
    version = 10 * version + uint64_t(c - '0');
  }
  return version;
}

}  // namespace

CheckpointStore::CheckpointStore(CheckpointStoreOptions options) : options_(std::move(options)) {
  if (options_.directory.empty() || options_.prefix.empty() || options_.prefix.find('/') != std::string::npos) {
    throw InvalidArgumentError("CheckpointStore: directory '" + options_.directory + "', prefix '" + options_.prefix +
                               "': both must be given, and the prefix is a part of file names");
  }
  std::error_code error;
  fs::create_directories(options_.directory, error);
  if (error) throw FileError(options_.directory, "the directory cannot be made: " + error.message());
}

uint64_t CheckpointStore::Save(std::span<const NamedTensor> tensors, const std::map<std::string, std::string>& metadata,
                               std::optional<uint64_t> version) {
  const std::vector<uint64_t> versions = Versions();
  const uint64_t next = versions.empty() ? 1 : versions.back() + 1;
  if (version && *version < next && !versions.empty()) {
    throw InvalidArgumentError("CheckpointStore: version " + std::to_string(*version) + " is to be saved, but " +
                               PathOf(versions.back()) + " is there already");
  }
  RemoveLeftovers();
  WriteCheckedSafetensors(PathOf(version.value_or(next)), tensors, metadata);
  RemoveOld();
  return version.value_or(next);
}

std::optional<Checkpoint> CheckpointStore::LoadNewest(const ModelFileOptions& options) const {
  std::vector<uint64_t> versions = Versions();
  std::vector<DamagedCheckpoint> skipped;
  std::optional<DataError> newest_error;
  for (; !versions.empty(); versions.pop_back()) {
    try {
      Checkpoint found = Load(versions.back(), options);
      found.skipped = std::move(skipped);
      return found;
    } catch (const DataError& error) {
      if (!fs::exists(PathOf(versions.back()))) continue;  // its writer has removed it meanwhile
      if (!newest_error) newest_error = error;
      skipped.push_back({versions.back(), PathOf(versions.back()), error.what()});
      if (options_.warnings != nullptr) {
        std::fprintf(options_.warnings, "checkpoint %llu is skipped: %s\n",
                     static_cast<unsigned long long>(versions.back()), error.what());
      }
    }
  }
  if (newest_error) throw *newest_error;
  return std::nullopt;
}

Checkpoint CheckpointStore::Load(uint64_t version, const ModelFileOptions& options) const {
  ModelFile content = ReadSafetensors(PathOf(version), options);
  if (!content.metadata.contains(kChecksumKey))
    throw DataError(content.path, 8, "has no checksum: no checkpoint of Manta's");
  content.metadata.erase(kChecksumKey);
  return {version, std::move(content), {}};
}

std::vector<uint64_t> CheckpointStore::Versions() const {
  std::vector<uint64_t> versions;
  for (const std::string& name : NamesIn(options_.directory, options_.prefix + "-")) {
    if (const std::optional<uint64_t> version = VersionOf(name)) versions.push_back(*version);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

std::string CheckpointStore::PathOf(uint64_t version) const {
  std::string digits = std::to_string(version);
  if (digits.size() < kVersionDigitsMin) digits.insert(0, kVersionDigitsMin - digits.size(), '0');
  return (fs::path(options_.directory) / (options_.prefix + "-" + digits + std::string(kSuffix))).string();
}

void CheckpointStore::RemoveOld() const {
  std::vector<uint64_t> versions = Versions();
  if (options_.keep_last == 0 || versions.size() <= options_.keep_last) return;
  versions.resize(versions.size() - options_.keep_last);
  for (uint64_t version : versions) {
    std::error_code error;
    fs::remove(PathOf(version), error);
    if (error) throw FileError(PathOf(version), "an old checkpoint cannot be removed: " + error.message());
  }
}

// Temporary files of a writer that was killed.
void CheckpointStore::RemoveLeftovers() const {
  for (const std::string& name : NamesIn(options_.directory, options_.prefix + "-")) {
    if (!name.ends_with(kTemporarySuffix)) continue;
    if (!VersionOf(std::string_view(name).substr(0, name.size() - kTemporarySuffix.size()))) continue;
    std::error_code ignored;  // another one tries it at the next checkpoint
    fs::remove(fs::path(options_.directory) / (options_.prefix + "-" + name), ignored);
  }
}

}  // namespace manta::ml

#include "ml/tune/checkpoint_files.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "base/hash.h"
#include "manta/ml/error.h"
#include "ml/data/durable_file.h"

namespace manta::ml {
namespace {

constexpr uint64_t kObjectBytesMax = 256 << 20;

std::string Padded(uint64_t number, size_t digits) {
  std::string text = std::to_string(number);
  return text.insert(0, text.size() < digits ? digits - text.size() : 0, '0');
}

}  // namespace

CheckpointRecord CheckpointFiles::Write(uint64_t number, TrialId trial, int64_t step, const Tensor& checkpoint) {
  const std::string_view bytes(static_cast<const char*>(checkpoint.raw_data()), checkpoint.size_bytes());
  CheckpointRecord record{.file = "checkpoints/trial-" + Padded(trial, 6) + "-step-" + Padded(uint64_t(step), 6) + "-" +
                                  std::to_string(number) + ".bin",
                          .step = step,
                          .bytes = bytes.size(),
                          .hash = base::Hash64(bytes),
                          .dtype = static_cast<int>(checkpoint.dtype()),
                          .shape = {checkpoint.shape().dims().begin(), checkpoint.shape().dims().end()}};
  std::error_code ignored;  // the file says it, too
  if (std::filesystem::create_directory(directory_ + "/checkpoints", ignored)) SyncDirectory(directory_);
  WriteDurably(directory_ + "/" + record.file, bytes);
  if (object_bytes_ + bytes.size() <= kObjectBytesMax) {
    object_bytes_ += bytes.size();
    objects_[record.file] = checkpoint;
  }
  return record;
}

Tensor CheckpointFiles::Read(const CheckpointRecord& record) {
  const auto object = objects_.find(record.file);
  if (object != objects_.end()) return object->second;
  const std::string path = directory_ + "/" + record.file;
  const std::string bytes = ReadWhole(path);
  if (bytes.size() != record.bytes) {
    throw DataError(
        path, bytes.size(),
        "is " + std::to_string(bytes.size()) + " bytes long, and was written with " + std::to_string(record.bytes));
  }
  if (base::Hash64(bytes) != record.hash) throw DataError(path, 0, "is not what was written: its checksum differs");
  Tensor tensor = Tensor::CreateInStore(static_cast<DType>(record.dtype), Shape(record.shape));
  if (!bytes.empty()) std::memcpy(tensor.raw_mutable_data(), bytes.data(), bytes.size());
  return tensor;
}

void CheckpointFiles::Drop(const std::vector<std::string>& files) {
  std::error_code ignored;  // a file that stays is dropped after the next restore
  for (const std::string& file : files) {
    Forget(file);
    std::filesystem::remove(directory_ + "/" + file, ignored);
  }
}

void CheckpointFiles::ForgetObjects() {
  objects_.clear();
  object_bytes_ = 0;
}

void CheckpointFiles::DropAllBut(const std::vector<std::string>& files) {
  std::error_code error;
  std::vector<std::string> others;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/checkpoints", error)) {
    const std::string file = "checkpoints/" + entry.path().filename().string();
    if (std::find(files.begin(), files.end(), file) == files.end()) others.push_back(file);
  }
  Drop(others);
}

void CheckpointFiles::Forget(const std::string& file) {
  const auto object = objects_.find(file);
  if (object == objects_.end()) return;
  object_bytes_ -= object->second.size_bytes();
  objects_.erase(object);
}

}  // namespace manta::ml

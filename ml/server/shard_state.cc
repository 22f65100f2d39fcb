#include "manta/ml/shard_state.h"

#include <cstring>
#include <utility>

#include "manta/ml/error.h"
#include "manta/ml/model_file.h"
#include "ml/data/safetensors.h"

namespace manta::ml {

void ShardState::Put(const std::string& name, std::span<const float> values) {
  arrays_.insert_or_assign(name, Tensor::Copy(values, {int64_t(values.size())}));
}

void ShardState::Put(const std::string& name, std::span<const uint64_t> words) {
  arrays_.insert_or_assign(name, Tensor::Copy(words, {int64_t(words.size())}));
}

void ShardState::Put(const std::string& name, std::string_view bytes) {
  const std::span<const uint8_t> numbers(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  arrays_.insert_or_assign(name, Tensor::Copy(numbers, {int64_t(numbers.size())}));
}

const Tensor& ShardState::Find(const std::string& name, DType type) const {
  const auto found = arrays_.find(name);
  if (found == arrays_.end()) throw DataError(path_, 0, "there is no array '" + name + "'");
  if (found->second.dtype() != type) {
    throw DataError(path_, 0,
                    "array '" + name + "' is of " + DTypeName(found->second.dtype()) + ", not " + DTypeName(type));
  }
  return found->second;
}

void ShardState::Get(const std::string& name, std::span<float> values) const {
  const Tensor& array = Find(name, DType::kFloat32);
  if (array.size() != values.size()) {
    throw DataError(path_, 0,
                    "array '" + name + "' has " + std::to_string(array.size()) + " values, and the table " +
                        std::to_string(values.size()) + ": it is of another model, or of another number of shards");
  }
  if (!values.empty()) std::memcpy(values.data(), array.raw_data(), array.size_bytes());
}

std::vector<uint64_t> ShardState::GetWords(const std::string& name) const {
  const std::span<const uint64_t> words = Find(name, DType::kUint64).values<uint64_t>();
  return {words.begin(), words.end()};
}

std::string_view ShardState::GetBytes(const std::string& name) const {
  const Tensor& array = Find(name, DType::kUint8);
  return {static_cast<const char*>(array.raw_data()), array.size_bytes()};
}

void ShardState::WriteTo(const std::string& path) const {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, array] : arrays_) tensors.push_back({name, {array.size()}, array});
  WriteCheckedSafetensors(path, tensors, {});
}

ShardState ShardState::ReadFrom(const std::string& path) {
  ModelFile file = ReadSafetensors(path);
  if (!file.metadata.contains(kChecksumKey)) throw DataError(path, 0, "has no checksum: no state of a shard");
  ShardState state;
  state.path_ = path;
  state.arrays_ = std::move(file.tensors);
  return state;
}

}  // namespace manta::ml

#include "manta/ml/model_file.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "ml/data/durable_file.h"
#include "ml/data/safetensors.h"

namespace manta::ml {
namespace {

// In the order of the file: wider elements first, so that each tensor is aligned.
std::vector<const NamedTensor*> InFileOrder(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> ordered;
  for (const NamedTensor& tensor : tensors) ordered.push_back(&tensor);
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return ItemBytes(a->values.dtype()) > ItemBytes(b->values.dtype());
  });
  return ordered;
}

std::string_view TypeName(DType dtype) {
  return std::find_if(std::begin(kSafetensorsTypes), std::end(kSafetensorsTypes),
                      [dtype](const SafetensorsType& type) { return type.dtype == dtype; })
      ->name;
}

void CheckTensor(const NamedTensor& tensor) {
  uint64_t count = 1;
  for (uint64_t extent : tensor.shape) count *= extent;
  if (count != tensor.values.size()) {
    throw InvalidArgumentError("WriteSafetensors: tensor '" + tensor.name + "' has a shape of " +
                               std::to_string(count) + " values, but " + std::to_string(tensor.values.size()) +
                               " were given");
  }
}

std::string Header(const std::vector<const NamedTensor*>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const NamedTensor* tensor : tensors) {
    CheckTensor(*tensor);
    if (tensor->name == "__metadata__" || header.contains(tensor->name)) {
      throw InvalidArgumentError("WriteSafetensors: the name '" + tensor->name + "' is taken");
    }
    const uint64_t end = offset + tensor->values.size_bytes();
    header[tensor->name] = {
        {"dtype", TypeName(tensor->values.dtype())}, {"shape", tensor->shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    return text;
  } catch (const nlohmann::json::exception& error) {
    throw InvalidArgumentError(std::string("WriteSafetensors: names and metadata are UTF-8: ") + error.what());
  }
}

void Write(const std::string& path, const std::string& header, const std::vector<const NamedTensor*>& tensors) {
  char size[8];
  for (int i = 0; i < 8; ++i) size[i] = char(uint64_t(header.size()) >> (8 * i));
  std::vector<std::string_view> parts{{size, sizeof size}, header};
  for (const NamedTensor* tensor : tensors) {
    parts.emplace_back(static_cast<const char*>(tensor->values.data()), tensor->values.size_bytes());
  }
  WriteDurably(path, parts);
}

}  // namespace

void WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  const auto ordered = InFileOrder(tensors);
  Write(path, Header(ordered, metadata), ordered);
}

void WriteCheckedSafetensors(const std::string& path, std::span<const NamedTensor> tensors,
                             const std::map<std::string, std::string>& metadata) {
  std::map<std::string, std::string> checked = metadata;
  if (!checked.emplace(kChecksumKey, std::string(kChecksumDigits, '0')).second) {
    throw InvalidArgumentError(std::string("WriteSafetensors: the metadata key '") + kChecksumKey + "' is taken");
  }
  const auto ordered = InFileOrder(tensors);
  std::string header = Header(ordered, checked);
  base::Hasher64 hasher;
  hasher.Update(header.data(), header.size());
  for (const NamedTensor* tensor : ordered) hasher.Update(tensor->values.data(), tensor->values.size_bytes());
  header.replace(FindChecksum(header), kChecksumDigits, ChecksumText(hasher.Digest()));
  Write(path, header, ordered);
}

// A quote inside of a JSON string has a backslash before it: this is found nowhere else than at the key itself.
size_t FindChecksum(std::string_view header) {
  const std::string key = std::string("\"") + kChecksumKey + "\":\"";
  const size_t at = header.find(key);
  if (at == header.npos || header.size() - at - key.size() <= kChecksumDigits) return header.npos;
  return header[at + key.size() + kChecksumDigits] == '"' ? at + key.size() : header.npos;
}

std::string ChecksumText(uint64_t checksum) {
  char text[kChecksumDigits + 1];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(checksum));
  return text;
}

}  // namespace manta::ml

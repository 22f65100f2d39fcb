// ShardState is what a shard of a parameter server knows, as named arrays, and the file it is kept in: safetensors
// (which Python reads with safetensors.numpy.load_file), with a checksum of all of it in its metadata.
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_SHARD_STATE_H_
#define MANTA_ML_SHARD_STATE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "manta/internal/export.h"
#include "manta/tensor.h"

namespace manta::ml {

class MANTA_EXPORT ShardState {
 public:
  void Put(const std::string& name, std::span<const float> values);
  void Put(const std::string& name, std::span<const uint64_t> words);
  void Put(const std::string& name, std::string_view bytes);

  // DataError, which names the file: no such array, of another type, or (with both numbers) of another size.
  void Get(const std::string& name, std::span<float> values) const;
  std::vector<uint64_t> GetWords(const std::string& name) const;
  std::string_view GetBytes(const std::string& name) const;  // valid while the state is

  // All or nothing, and on disk when it returns, for a crash of the machine, too. FileError, with the system's reason.
  void WriteTo(const std::string& path) const;
  // DataError, with the offset: missing, cut short, damaged, or another kind of file.
  static ShardState ReadFrom(const std::string& path);

 private:
  const Tensor& Find(const std::string& name, DType type) const;

  std::string path_;  // that it was read from
  std::map<std::string, Tensor> arrays_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SHARD_STATE_H_

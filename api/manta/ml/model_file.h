// WriteSafetensors saves named tensors in the safetensors format of Hugging Face:
//   u64 (little endian) bytes of the header | header, JSON, padded with spaces to 8 bytes | the tensors' bytes
// which Python reads with safetensors.numpy.load_file(path).
#ifndef MANTA_ML_MODEL_FILE_H_
#define MANTA_ML_MODEL_FILE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "manta/internal/export.h"

namespace manta::ml {

// One tensor of 32-bit floats, row-major. `values` is not copied.
struct NamedTensor {
  std::string name;
  std::vector<uint64_t> shape;
  std::span<const float> values;
};

// Writes all or nothing: into a temporary file beside `path`, synced, then renamed over it, then the directory synced.
// A reader never sees half a model, and after a crash `path` is the old file or the new one.
// Throws InvalidArgumentError if a shape and its number of values differ (with both) or two tensors share a name, and
// FileError, which names the path and the system's reason, when the file cannot be written.
MANTA_EXPORT void WriteSafetensors(const std::string& path, std::span<const NamedTensor> tensors,
                                   const std::map<std::string, std::string>& metadata = {});

}  // namespace manta::ml

#endif  // MANTA_ML_MODEL_FILE_H_

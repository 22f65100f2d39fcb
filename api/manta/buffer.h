// Buffer is a run of bytes: in memory of its own, or a view of the object store's. A Tensor without a type.
//
//   manta::Buffer page = manta::Buffer::Copy(text);
//   std::string_view bytes = page.view();
//
// See tensor.h for sharing, sealing and threads.
#ifndef MANTA_BUFFER_H_
#define MANTA_BUFFER_H_

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "manta/tensor.h"

namespace manta {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(Tensor bytes) : bytes_(bytes.Reshape({static_cast<int64_t>(bytes.size())})) {
    (void)bytes_.data<std::byte>();  // InvalidArgumentError: not of uint8
  }
  static Buffer Copy(std::string_view bytes) {
    const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
    return Buffer(Tensor::Copy(std::span<const std::byte>(data, bytes.size()), {static_cast<int64_t>(bytes.size())}));
  }
  // Writable store memory, as manta::Create.
  static Buffer Create(size_t size_bytes) {
    return Buffer(manta::Create<std::byte>({static_cast<int64_t>(size_bytes)}));
  }

  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool in_store() const { return bytes_.in_store(); }
  const char* data() const { return reinterpret_cast<const char*>(bytes_.data<std::byte>()); }
  std::string_view view() const { return {data(), size()}; }
  char* mutable_data() { return reinterpret_cast<char*>(bytes_.mutable_data<std::byte>()); }
  const Tensor& tensor() const { return bytes_; }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(bytes_);
  }

 private:
  Tensor bytes_{DType::kUint8, {0}};
};

}  // namespace manta

#endif  // MANTA_BUFFER_H_

// Tensor is a contiguous, row-major array of numbers: in memory of its own, or a view of the object store's.
//
//   manta::Tensor gradient = manta::Create<float>({784, 128});      // writable store memory
//   Fill(gradient.mutable_values<float>());
//   server.Call<&Server::Push>().Remote(gradient);                  // seals it; not a byte is copied
//
//   manta::Tensor weights = manta::Get(weights_ref);                // a view of store memory
//   for (float w : weights.values<float>()) ...
//
// A Tensor is a value: copies are cheap because they share memory, and behave as if they did not. mutable_data() of a
// tensor whose memory is shared, with another Tensor or with the store, first moves it to a copy of its own. Writing
// to a view by other means (const_cast) ends the process: the store's memory is mapped read-only.
//
// In a value that is sent, fewer than kOutOfBandBytesMin bytes travel in line; more that lie in the store travel as a
// ref to where they lie, and are read there; others are copied once.
//
// Threads:    as an int; copies may be used by different threads.
#ifndef MANTA_TENSOR_H_
#define MANTA_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "manta/dtype.h"
#include "manta/internal/backend.h"
#include "manta/internal/export.h"
#include "manta/shape.h"

namespace manta {

class OutputArchive;
class InputArchive;

namespace internal {
struct TensorStorage;
}

class MANTA_EXPORT Tensor {
 public:
  // No elements: float32, shape {0}.
  Tensor();
  // Zeros, in memory of its own (64-byte aligned). Throws std::bad_alloc.
  Tensor(DType dtype, Shape shape);
  // Takes over `values`. InvalidArgumentError: `shape` has another number of elements.
  template <TensorElement T>
  static Tensor From(std::vector<T> values, Shape shape) {
    auto owner = std::make_shared<std::vector<T>>(std::move(values));
    return Tensor(owner, owner->data(), owner->size(), DTypeOf<T>(), shape);
  }
  template <TensorElement T>
  static Tensor From(std::vector<T> values) {
    const Shape shape{static_cast<int64_t>(values.size())};
    return From(std::move(values), shape);
  }
  // A copy of `values`.
  template <TensorElement T>
  static Tensor Copy(std::span<const T> values, Shape shape) {
    return CopyOf(values.data(), values.size(), DTypeOf<T>(), shape);
  }

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(size_t i) const { return shape_[i]; }  // REQUIRES: i < shape().rank()
  size_t size() const { return size_; }              // elements
  size_t size_bytes() const { return size_ * ItemBytes(dtype_); }
  bool empty() const { return size_ == 0; }
  // Whether the elements lie in the object store.
  bool in_store() const;

  // The elements, to be read. Valid while this Tensor, or a copy, lives and is not written to. At least aligned to an
  // element. InvalidArgumentError: T is not what dtype() says.
  template <TensorElement T>
  const T* data() const {
    CheckType(DTypeOf<T>());
    return static_cast<const T*>(raw_data());
  }
  template <TensorElement T>
  std::span<const T> values() const {
    return {data<T>(), size_};
  }
  const void* raw_data() const { return data_; }

  // Whether they can be written where they are: the memory is this tensor's alone, and not sealed.
  bool is_writable() const;
  // The elements, to be written; moves the tensor to memory of its own first if its memory is shared or sealed.
  template <TensorElement T>
  T* mutable_data() {
    CheckType(DTypeOf<T>());
    return static_cast<T*>(raw_mutable_data());
  }
  template <TensorElement T>
  std::span<T> mutable_values() {
    return {mutable_data<T>(), size_};
  }
  void* raw_mutable_data();

  // The same elements as another shape. InvalidArgumentError: another number of them.
  Tensor Reshape(Shape shape) const;
  // Rows [begin, end) of the first dimension; shares memory. InvalidArgumentError: out of range, or rank 0.
  Tensor Slice(int64_t begin, int64_t end) const;
  // A copy in memory of its own.
  Tensor Clone() const;

  // --- for Put, Create and the archives.
  // If this tensor is all of a store object that Create made: seals that, and its handle. Else an empty handle.
  internal::RefHandle SealAlone() const;
  static Tensor CreateInStore(DType dtype, Shape shape);
  void save(OutputArchive& archive) const;
  void load(InputArchive& archive);

 private:
  Tensor(std::shared_ptr<void> owner, void* data, size_t size, DType dtype, Shape shape);
  Tensor(std::shared_ptr<internal::TensorStorage> storage, char* data, DType dtype, Shape shape);
  static Tensor CopyOf(const void* data, size_t size, DType dtype, Shape shape);
  void CheckType(DType wanted) const {
    if (wanted != dtype_) [[unlikely]]
      FailType(wanted);
  }
  [[noreturn]] void FailType(DType wanted) const;

  std::shared_ptr<internal::TensorStorage> storage_;  // null: no elements
  char* data_ = nullptr;
  size_t size_ = 0;
  DType dtype_ = DType::kFloat32;
  Shape shape_{0};
};

// A writable tensor of `shape` in the object store, of unspecified contents. It is sealed, without a copy, when it is
// first Put, or sent in an argument or result; from then on mutable_data() moves to a copy. Below kOutOfBandBytesMin
// bytes: in memory of its own. OutOfMemoryError when the store is full.
template <TensorElement T>
Tensor Create(Shape shape) {
  return Tensor::CreateInStore(DTypeOf<T>(), shape);
}

}  // namespace manta

#endif  // MANTA_TENSOR_H_

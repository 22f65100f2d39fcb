#include "manta/tensor.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include "api/layout.h"
#include "base/mutex.h"
#include "manta/archive.h"
#include "manta/error.h"

namespace manta {
namespace internal {

// The memory that tensors share.
//
//   kOwn      -> written in place while one Tensor has it
//   kWritable -> the same, in the store; 1: sealed when first sent or Put, and then kView
//   kView     -> never written
struct TensorStorage {
  enum class Kind { kOwn, kWritable, kView };

  base::Mutex mutex;
  Kind kind MANTA_GUARDED_BY(mutex) = Kind::kOwn;
  RefHandle object MANTA_GUARDED_BY(mutex);  // kView of the store: the object, which begins at object_begin
  const char* object_begin = nullptr;
  std::optional<WritableObject> writable MANTA_GUARDED_BY(mutex);
  Backend* backend = nullptr;             // of `writable`
  DType created_dtype = DType::kFloat32;  // what the sealed object is read as
  Shape created_shape;
  std::shared_ptr<const void> keep;  // of the memory, whichever it is

  bool is_writable() MANTA_EXCLUDES(mutex) {
    base::MutexLock lock(&mutex);
    return kind != Kind::kView;
  }
  bool in_store() MANTA_EXCLUDES(mutex) {
    base::MutexLock lock(&mutex);
    return kind == Kind::kWritable || object;
  }
  // The store object, sealed first if it is not; empty if there is none (memory of an earlier Init's store is as good
  // as memory of one's own).
  RefHandle SealedObject() MANTA_EXCLUDES(mutex) {
    Backend& current = Current();
    base::MutexLock lock(&mutex);
    if (kind == Kind::kWritable && backend == &current) {
      object = backend->Seal(std::move(*writable));
      writable.reset();
      kind = Kind::kView;
    }
    return object && object.get()->backend == &current ? object : RefHandle();
  }
};

}  // namespace internal

namespace {

using internal::TensorStorage;

// How a tensor's elements travel.
enum class Placement : uint8_t { kInline = 0, kPart = 1, kRef = 2 };

struct TensorHeader {
  uint8_t dtype;
  uint8_t rank;
  uint8_t placement;
  uint8_t zero;
};

Shape LoadedShape(std::span<const int64_t> dims) {
  try {
    return Shape(dims);
  } catch (const InvalidArgumentError& error) {
    throw SerializationError(error.what());
  }
}

std::shared_ptr<void> AllocateOwn(size_t size_bytes) {
  constexpr std::align_val_t kAlignment{internal::kPartAlignment};
  return {::operator new(std::max<size_t>(size_bytes, 1), kAlignment),
          [](void* data) { ::operator delete(data, kAlignment); }};
}

std::shared_ptr<TensorStorage> StorageOf(std::shared_ptr<const void> keep) {
  auto storage = std::make_shared<TensorStorage>();
  storage->keep = std::move(keep);
  return storage;
}

// `bytes` of `payload`, in place, or copied if nothing keeps them or a `dtype` cannot be read where they lie.
struct Elements {
  std::shared_ptr<TensorStorage> storage;
  char* data;
};
Elements ViewOf(const internal::Payload& payload, const internal::RefHandle& object, std::string_view bytes,
                DType dtype) {
  Elements elements;
  if (payload.keep == nullptr || reinterpret_cast<uintptr_t>(bytes.data()) % ItemBytes(dtype) != 0) {
    std::shared_ptr<void> own = AllocateOwn(bytes.size());
    std::memcpy(own.get(), bytes.data(), bytes.size());
    elements.data = static_cast<char*>(own.get());
    elements.storage = StorageOf(std::move(own));
    return elements;
  }
  elements.storage = StorageOf(payload.keep);
  base::MutexLock lock(&elements.storage->mutex);
  elements.storage->kind = TensorStorage::Kind::kView;
  elements.storage->object = object;
  elements.storage->object_begin = payload.data;
  elements.data = const_cast<char*>(bytes.data());  // never written to: kView
  return elements;
}

}  // namespace

// ---------------------------------------------------------------- making

Tensor::Tensor() = default;

Tensor::Tensor(DType dtype, Shape shape) : size_(static_cast<size_t>(shape.elements())), dtype_(dtype), shape_(shape) {
  std::shared_ptr<void> own = AllocateOwn(size_bytes());
  std::memset(own.get(), 0, size_bytes());
  data_ = static_cast<char*>(own.get());
  storage_ = StorageOf(std::move(own));
}

Tensor::Tensor(std::shared_ptr<void> owner, void* data, size_t size, DType dtype, Shape shape)
    : storage_(StorageOf(std::move(owner))),
      data_(static_cast<char*>(data)),
      size_(size),
      dtype_(dtype),
      shape_(shape) {
  if (static_cast<size_t>(shape.elements()) != size) {
    throw InvalidArgumentError(std::to_string(size) + " elements do not make a tensor of shape " + shape.ToString());
  }
}

Tensor::Tensor(std::shared_ptr<TensorStorage> storage, char* data, DType dtype, Shape shape)
    : storage_(std::move(storage)),
      data_(data),
      size_(static_cast<size_t>(shape.elements())),
      dtype_(dtype),
      shape_(shape) {}

Tensor Tensor::CopyOf(const void* data, size_t size, DType dtype, Shape shape) {
  std::shared_ptr<void> own = AllocateOwn(size * ItemBytes(dtype));
  if (size != 0) std::memcpy(own.get(), data, size * ItemBytes(dtype));
  void* const begin = own.get();
  return Tensor(std::move(own), begin, size, dtype, shape);
}

Tensor Tensor::CreateInStore(DType dtype, Shape shape) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * ItemBytes(dtype);
  if (bytes < kOutOfBandBytesMin) return Tensor(dtype, shape);

  // The object is what Put of a tensor with one part would make.
  internal::Serialized frame;
  frame.plain = false;
  frame.parts.push_back({nullptr, bytes, nullptr});
  const TensorHeader header{static_cast<uint8_t>(dtype), static_cast<uint8_t>(shape.rank()),
                            static_cast<uint8_t>(Placement::kPart), 0};
  frame.head.assign(reinterpret_cast<const char*>(&header), sizeof header);
  frame.head.append(reinterpret_cast<const char*>(shape.dims().data()), shape.dims().size_bytes());

  internal::Backend& backend = internal::Current();
  internal::WritableObject object = backend.Create(internal::EncodedBytes(frame));
  char* const begin = static_cast<char*>(object.data);
  internal::EncodeFrame(frame, begin);

  auto storage = StorageOf(object.keep);
  storage->backend = &backend;
  storage->object_begin = begin;
  storage->created_dtype = dtype;
  storage->created_shape = shape;
  {
    base::MutexLock lock(&storage->mutex);
    storage->kind = TensorStorage::Kind::kWritable;
    storage->writable = std::move(object);
  }
  return Tensor(std::move(storage), begin + internal::FirstPartOffset(frame), dtype, shape);
}

// ---------------------------------------------------------------- using

bool Tensor::in_store() const { return storage_ != nullptr && storage_->in_store(); }

bool Tensor::is_writable() const { return storage_ != nullptr && storage_.use_count() == 1 && storage_->is_writable(); }

void* Tensor::raw_mutable_data() {
  if (storage_ == nullptr) return nullptr;
  if (is_writable()) {
    std::atomic_thread_fence(std::memory_order_acquire);  // what other owners did before they let go
    return data_;
  }
  *this = Clone();
  return data_;
}

Tensor Tensor::Reshape(Shape shape) const {
  if (static_cast<size_t>(shape.elements()) != size_) {
    throw InvalidArgumentError("a tensor of shape " + shape_.ToString() + " cannot become one of shape " +
                               shape.ToString());
  }
  Tensor result = *this;
  result.shape_ = shape;
  return result;
}

Tensor Tensor::Slice(int64_t begin, int64_t end) const {
  if (shape_.rank() == 0 || begin < 0 || begin > end || end > shape_[0]) {
    throw InvalidArgumentError("rows [" + std::to_string(begin) + ", " + std::to_string(end) +
                               ") of a tensor of shape " + shape_.ToString());
  }
  std::array<int64_t, Shape::kRankMax> dims{};
  std::ranges::copy(shape_.dims(), dims.begin());
  const size_t row_bytes = shape_[0] == 0 ? 0 : size_bytes() / static_cast<size_t>(shape_[0]);
  dims[0] = end - begin;
  return Tensor(storage_, data_ + row_bytes * static_cast<size_t>(begin), dtype_,
                Shape(std::span<const int64_t>(dims.data(), shape_.rank())));
}

Tensor Tensor::Clone() const { return CopyOf(data_, size_, dtype_, shape_); }

void Tensor::FailType(DType wanted) const {
  throw InvalidArgumentError(std::string("a tensor of ") + DTypeName(dtype_) + " was used as one of " +
                             DTypeName(wanted));
}

// ---------------------------------------------------------------- travelling

internal::RefHandle Tensor::SealAlone() const {
  if (storage_ == nullptr || storage_->backend == nullptr || storage_->created_dtype != dtype_ ||
      storage_->created_shape != shape_) {
    return {};  // not made by Create, or reshaped or sliced (a slice of the whole has the shape of the whole)
  }
  return storage_->SealedObject();
}

void Tensor::save(OutputArchive& archive) const {
  TensorHeader header{static_cast<uint8_t>(dtype_), static_cast<uint8_t>(shape_.rank()), 0, 0};
  internal::RefHandle object;
  if (size_bytes() >= kOutOfBandBytesMin) {
    object = storage_->SealedObject();
    header.placement = static_cast<uint8_t>(object ? Placement::kRef : Placement::kPart);
  }
  archive.saveBinary(&header, sizeof header);
  archive.saveBinary(shape_.dims().data(), static_cast<std::streamsize>(shape_.dims().size_bytes()));
  switch (static_cast<Placement>(header.placement)) {
    case Placement::kInline:
      if (size_ != 0) archive.saveBinary(data_, static_cast<std::streamsize>(size_bytes()));
      break;
    case Placement::kPart:
      archive.SavePart(data_, size_bytes(), storage_);
      break;
    case Placement::kRef: {
      archive.SaveRef(object);
      const uint64_t offset = static_cast<uint64_t>(data_ - storage_->object_begin);
      archive.saveBinary(&offset, sizeof offset);
      break;
    }
  }
}

void Tensor::load(InputArchive& archive) {
  TensorHeader header{};
  archive.loadBinary(&header, sizeof header);
  if (header.dtype >= kDTypeCount || header.rank > Shape::kRankMax || header.zero != 0) {
    throw SerializationError("a tensor with dtype " + std::to_string(header.dtype) + " and rank " +
                             std::to_string(header.rank));
  }
  std::array<int64_t, Shape::kRankMax> dims{};
  archive.loadBinary(dims.data(), static_cast<std::streamsize>(header.rank * sizeof(int64_t)));
  const DType dtype = static_cast<DType>(header.dtype);
  const Shape shape = LoadedShape({dims.data(), header.rank});
  const uint64_t bytes = static_cast<uint64_t>(shape.elements()) * ItemBytes(dtype);

  if (header.placement == static_cast<uint8_t>(Placement::kInline)) {
    const std::string_view elements = archive.LoadBytes(bytes);
    *this = CopyOf(elements.data(), static_cast<size_t>(shape.elements()), dtype, shape);
  } else if (header.placement == static_cast<uint8_t>(Placement::kPart)) {
    const std::string_view elements = archive.LoadPart();
    if (elements.size() != bytes) {
      throw SerializationError("a tensor of shape " + shape.ToString() + " in a part of " +
                               std::to_string(elements.size()) + " bytes");
    }
    Elements view = ViewOf(archive.payload(), archive.payload().object, elements, dtype);
    *this = Tensor(std::move(view.storage), view.data, dtype, shape);
  } else if (header.placement == static_cast<uint8_t>(Placement::kRef)) {
    const internal::RefHandle object = archive.LoadRef();
    uint64_t offset = 0;
    archive.loadBinary(&offset, sizeof offset);
    if (!object) throw SerializationError("a tensor that lies in no object");
    const internal::Payload payload = internal::BackendOf(object).View(object);
    if (offset > payload.size_bytes || bytes > payload.size_bytes - offset) {
      throw SerializationError("a tensor of shape " + shape.ToString() + " at " + std::to_string(offset) +
                               " of an object of " + std::to_string(payload.size_bytes) + " bytes");
    }
    Elements view = ViewOf(payload, object, {payload.data + offset, static_cast<size_t>(bytes)}, dtype);
    *this = Tensor(std::move(view.storage), view.data, dtype, shape);
  } else {
    throw SerializationError("a tensor with placement " + std::to_string(header.placement));
  }
}

}  // namespace manta

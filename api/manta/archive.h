// OutputArchive and InputArchive are the cereal archives that Manta writes values with and reads them from.
//
// Any type that cereal knows (include <cereal/types/...> for what manta.h does not bring) or that has a `serialize`
// member, or save and load, can be an argument or result:
//
//   struct Batch {
//     std::vector<float> rows;
//     int labels = 0;
//     template <class Archive>
//     void serialize(Archive& archive) { archive(rows, labels); }
//   };
//
// Runs of numbers (std::vector of arithmetic types, std::string, cereal::binary_data) of kOutOfBandBytesMin bytes and
// more do not go through the stream: they are copied once, from the user's memory to where the value will live. A
// Tensor or Buffer that lies in the store travels as a ref to it.
//
// Invariants: (1) InputArchive never reads past the bytes it was given, and refuses a size that the bytes left could
// not
//                 hold before anything is allocated for it.
//             (2) OutputArchive keeps a pointer into user memory only if that memory is part of the value being
//                 written; a temporary that a save function makes is copied at once.
//             (3) values nest at most kNestingMax deep (a list of unique_ptrs costs two levels a node).
// Errors:     SerializationError.
// Threads:    externally synchronised.
#ifndef MANTA_ARCHIVE_H_
#define MANTA_ARCHIVE_H_

#include <bit>
#include <cereal/cereal.hpp>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "manta/internal/backend.h"
#include "manta/internal/export.h"

namespace manta {

static_assert(std::endian::native == std::endian::little, "Manta's values are little-endian");

inline constexpr uint64_t kOutOfBandBytesMin = 4096;
inline constexpr uint32_t kNestingMax = 1000;

class MANTA_EXPORT OutputArchive : public cereal::OutputArchive<OutputArchive> {
 public:
  // Writes to `out`. `owner` keeps the value that is written alive for as long as pointers into it are needed; null:
  // see Serialized::Part::keep.
  OutputArchive(internal::Serialized* out, std::shared_ptr<const void> owner);
  ~OutputArchive();

  // --- for save functions of types that know Manta.
  void SaveRef(const internal::RefHandle& ref);
  // An out-of-band part that `keep` keeps alive; read back by InputArchive::LoadPart.
  void SavePart(const void* data, uint64_t size_bytes, std::shared_ptr<const void> keep);

  // --- for the functions below.
  void saveBinary(const void* data, std::streamsize size_bytes) {
    out_->head.append(static_cast<const char*>(data), static_cast<size_t>(size_bytes));
  }
  void SaveSize(uint64_t size) { saveBinary(&size, sizeof size); }
  // Bytes whose number the reader knows. In line if few; else a part.
  void SaveRun(const void* data, uint64_t size_bytes);
  void Enter(const void* object, size_t size_bytes, bool of_library);
  void Leave() { scopes_.pop_back(); }

 private:
  // A class object that is being written.
  struct Scope {
    const char* begin;
    size_t size_bytes;
    bool of_library;  // of std or cereal: what it hands to the archive is always part of it
    bool lasting;     // part of the value, rather than a temporary of somebody's save function
  };
  bool Lasts(const void* data) const;

  internal::Serialized* const out_;
  const std::shared_ptr<const void> owner_;
  std::vector<Scope> scopes_;
};

class MANTA_EXPORT InputArchive : public cereal::InputArchive<InputArchive> {
 public:
  // Reads a framed value (see internal::Serialized). `payload` must outlive the archive.
  explicit InputArchive(const internal::Payload& payload);
  ~InputArchive();

  // --- for load functions of types that know Manta.
  internal::RefHandle LoadRef();
  // The next part, in place: valid while `payload().keep` lives.
  std::string_view LoadPart();
  // The next `size_bytes` of the stream, in place.
  std::string_view LoadBytes(uint64_t size_bytes) {
    if (size_bytes > static_cast<uint64_t>(end_ - at_)) [[unlikely]]
      FailShort(size_bytes);
    const char* const begin = at_;
    at_ += size_bytes;
    return {begin, static_cast<size_t>(size_bytes)};
  }
  const internal::Payload& payload() const { return payload_; }

  // --- for the functions below.
  void loadBinary(void* data, std::streamsize size_bytes) {
    const std::string_view bytes = LoadBytes(static_cast<uint64_t>(size_bytes));
    if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  }
  // A number of elements, each of which takes at least a byte of what is left.
  uint64_t LoadSize();
  // The bytes of a run of `count` elements of `element_bytes`, in place, wherever they are.
  std::string_view LoadRun(uint64_t count, size_t element_bytes);
  void Enter() {
    if (++depth_ > kNestingMax) [[unlikely]]
      FailDepth();
  }
  void Leave() { --depth_; }
  // SerializationError unless the whole value has been read.
  void Finish() const;

 private:
  [[noreturn]] void FailShort(uint64_t wanted_bytes) const;
  [[noreturn]] void FailDepth() const;
  uint64_t left_bytes() const { return static_cast<uint64_t>(end_ - at_) + parts_left_bytes_; }

  const internal::Payload& payload_;
  const char* at_ = nullptr;  // the stream
  const char* end_ = nullptr;
  const char* parts_ = nullptr;  // the table of parts: pairs of u64
  uint32_t part_count_ = 0;
  uint32_t parts_read_ = 0;
  uint64_t parts_left_bytes_ = 0;
  uint32_t depth_ = 0;
};

// ---- how cereal writes each kind of thing with these archives

namespace internal {

template <class T>
constexpr bool NameBeginsWith(std::string_view prefix) {
  std::string_view name = __PRETTY_FUNCTION__;
  const size_t at = name.find("T = ");
  return at != name.npos && name.substr(at + 4).starts_with(prefix);
}
template <class T>
inline constexpr bool kIsCerealWrapper = NameBeginsWith<T>("cereal::");  // NameValuePair, SizeTag, base_class, ...
template <class T>
inline constexpr bool kIsLibraryType = NameBeginsWith<T>("std::") || kIsCerealWrapper<T>;
template <class T>
inline constexpr bool kIsNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

}  // namespace internal

template <class T>
void prologue(OutputArchive& archive, const T& value) {
  if constexpr (std::is_class_v<T> && !internal::kIsCerealWrapper<T>) {
    archive.Enter(&value, sizeof(T), internal::kIsLibraryType<T>);
  }
}
template <class T>
void epilogue(OutputArchive& archive, const T&) {
  if constexpr (std::is_class_v<T> && !internal::kIsCerealWrapper<T>) archive.Leave();
}
template <class T>
void prologue(InputArchive& archive, const T&) {
  if constexpr (std::is_class_v<T> && !internal::kIsCerealWrapper<T>) archive.Enter();
}
template <class T>
void epilogue(InputArchive& archive, const T&) {
  if constexpr (std::is_class_v<T> && !internal::kIsCerealWrapper<T>) archive.Leave();
}

template <class T>
requires std::is_arithmetic_v<T>
void save(OutputArchive& archive, const T& value) { archive.saveBinary(&value, sizeof value); }
template <class T>
requires std::is_arithmetic_v<T>
void load(InputArchive& archive, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = archive.LoadBytes(1)[0] != 0;  // any other bit pattern in a bool is undefined behaviour
  } else {
    archive.loadBinary(&value, sizeof value);
  }
}

template <class T>
void serialize(OutputArchive& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}
template <class T>
void serialize(InputArchive& archive, cereal::NameValuePair<T>& pair) {
  archive(pair.value);
}

template <class T>
void save(OutputArchive& archive, const cereal::SizeTag<T>& tag) {
  archive.SaveSize(static_cast<uint64_t>(tag.size));
}
template <class T>
void load(InputArchive& archive, cereal::SizeTag<T>& tag) {
  tag.size = static_cast<std::remove_cvref_t<T>>(archive.LoadSize());
}

template <class T>
void save(OutputArchive& archive, const cereal::BinaryData<T>& run) {
  archive.SaveRun(run.data, run.size);
}
template <class T>
void load(InputArchive& archive, cereal::BinaryData<T>& run) {
  const std::string_view bytes = archive.LoadRun(run.size, 1);
  if (!bytes.empty()) std::memcpy(run.data, bytes.data(), bytes.size());
}

// Strings and vectors of numbers: as cereal's, but read with one pass over the memory instead of two.
template <class C, class Traits, class Allocator>
void save(OutputArchive& archive, const std::basic_string<C, Traits, Allocator>& text) {
  archive.SaveSize(text.size());
  archive.SaveRun(text.data(), text.size() * sizeof(C));
}
template <class C, class Traits, class Allocator>
void load(InputArchive& archive, std::basic_string<C, Traits, Allocator>& text) {
  const uint64_t count = archive.LoadSize();
  const std::string_view bytes = archive.LoadRun(count, sizeof(C));
  if constexpr (sizeof(C) == 1) {
    text.assign(reinterpret_cast<const C*>(bytes.data()), bytes.size());
  } else {
    text.resize(count);
    if (count != 0) std::memcpy(text.data(), bytes.data(), bytes.size());
  }
}

template <class T, class Allocator>
requires internal::kIsNumber<T>
void save(OutputArchive& archive, const std::vector<T, Allocator>& values) {
  archive.SaveSize(values.size());
  archive.SaveRun(values.data(), values.size() * sizeof(T));
}

namespace internal {

template <class T, class Allocator>
void AssignRun(std::string_view bytes, std::vector<T, Allocator>* values) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(T) == 0) {
    const T* const begin = reinterpret_cast<const T*>(bytes.data());
    values->assign(begin, begin + bytes.size() / sizeof(T));
  } else {
    values->resize(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(values->data(), bytes.data(), bytes.size());
  }
}

}  // namespace internal

template <class T, class Allocator>
requires internal::kIsNumber<T>
void load(InputArchive& archive, std::vector<T, Allocator>& values) {
  const uint64_t count = archive.LoadSize();
  internal::AssignRun(archive.LoadRun(count, sizeof(T)), &values);
}

// Vectors of other things grow as their elements arrive: a false size costs no more memory than the bytes that are
// there.
template <class T, class Allocator>
requires(!std::is_arithmetic_v<T>) void load(InputArchive& archive, std::vector<T, Allocator>& values) {
  constexpr uint64_t kReservedBytesMax = 64 << 10;
  const uint64_t count = archive.LoadSize();
  values.clear();
  values.reserve(std::min<uint64_t>(count, kReservedBytesMax / sizeof(T) + 1));
  for (uint64_t i = 0; i < count; ++i) archive(values.emplace_back());
}

}  // namespace manta

CEREAL_REGISTER_ARCHIVE(manta::OutputArchive)
CEREAL_REGISTER_ARCHIVE(manta::InputArchive)
CEREAL_SETUP_ARCHIVE_TRAITS(manta::InputArchive, manta::OutputArchive)

#endif  // MANTA_ARCHIVE_H_

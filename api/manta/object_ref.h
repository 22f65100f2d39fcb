// ObjectRef<T> names a value of type T that is, or will be, somewhere in the cluster: a call's result, or a Put.
//
//   manta::ObjectRef<int> sum = manta::Task<&Add>().Remote(1, 2);
//   int value = manta::Get(sum);
//   auto twice = manta::Task<&Double>().Remote(sum);   // passed as its value, once that is there
//
// It may be copied, kept in containers, passed to calls, returned from them, and nested in values that are: the object
// lives until the last copy, in whatever process, is gone. An empty ref (default-constructed, moved from) names
// nothing.
//
// A call's parameter of type T takes an ObjectRef<T> and gets the value; a parameter of type ObjectRef<T>, or of a type
// that has refs in it, gets the ref itself, whether or not the object is there yet.
//
// Threads:    as a shared_ptr: copies may be used by different threads, one copy by one at a time.
#ifndef MANTA_OBJECT_REF_H_
#define MANTA_OBJECT_REF_H_

#include <concepts>
#include <functional>
#include <string>
#include <utility>

#include "manta/internal/backend.h"
#include "manta/internal/export.h"

namespace manta {

class OutputArchive;
class InputArchive;

namespace internal {

MANTA_EXPORT std::string KeyToString(const ObjectKey& key);
inline const ObjectKey& KeyOf(const RefHandle& handle) {
  static constexpr ObjectKey kNone;
  return handle ? handle.get()->key : kNone;
}
MANTA_EXPORT void CheckActorRef(const RefHandle& handle);  // SerializationError: it names an object
struct HashKey {
  size_t operator()(const ObjectKey& key) const {
    uint64_t hash = key.number * 0x9E3779B97F4A7C15u;
    hash ^= (key.process + (key.node << 32) + key.index) * 0xC2B2AE3D27D4EB4Fu;
    return static_cast<size_t>(hash ^ (hash >> 29));
  }
};

}  // namespace internal

template <class T>
class ObjectRef {
 public:
  using value_type = T;

  ObjectRef() = default;
  explicit ObjectRef(internal::RefHandle handle) : handle_(std::move(handle)) {}

  // Whether it names an object; says nothing about the object being ready (see Wait).
  explicit operator bool() const { return static_cast<bool>(handle_); }
  // "n1.p2.o7.0"; the same in every process.
  std::string ToString() const { return internal::KeyToString(internal::KeyOf(handle_)); }

  // Two refs are equal if they name the same object.
  friend bool operator==(const ObjectRef& a, const ObjectRef& b) {
    return internal::KeyOf(a.handle_) == internal::KeyOf(b.handle_);
  }
  friend auto operator<=>(const ObjectRef& a, const ObjectRef& b) {
    return internal::KeyOf(a.handle_) <=> internal::KeyOf(b.handle_);
  }

  const internal::RefHandle& handle() const { return handle_; }

  // Inside values that Manta sends. Other archives of cereal's cannot write a ref.
  template <class Archive>
  requires std::same_as<Archive, OutputArchive>
  void save(Archive& archive) const { archive.SaveRef(handle_); }
  template <class Archive>
  requires std::same_as<Archive, InputArchive>
  void load(Archive& archive) { handle_ = archive.LoadRef(); }

 private:
  internal::RefHandle handle_;
};

namespace internal {

template <class T>
struct RefTraits {
  static constexpr bool is_ref = false;
  using Value = void;
};
template <class T>
struct RefTraits<ObjectRef<T>> {
  static constexpr bool is_ref = true;
  using Value = T;
};

}  // namespace internal
}  // namespace manta

template <class T>
struct std::hash<manta::ObjectRef<T>> {
  size_t operator()(const manta::ObjectRef<T>& ref) const {
    return manta::internal::HashKey()(manta::internal::KeyOf(ref.handle()));
  }
};

#endif  // MANTA_OBJECT_REF_H_

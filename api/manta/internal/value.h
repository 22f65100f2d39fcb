// ToSerialized and FromPayload turn a whole value into what a Backend carries, and back.
//
// Plain types have no frame: an int is its four bytes, a std::string its characters, a std::vector of numbers its
// elements. All others are written by OutputArchive.
#ifndef MANTA_INTERNAL_VALUE_H_
#define MANTA_INTERNAL_VALUE_H_

#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "manta/archive.h"
#include "manta/error.h"
#include "manta/internal/backend.h"

namespace manta::internal {

template <class T>
inline constexpr bool kIsScalar = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// A std::string or a std::vector of numbers: a run of elements and nothing else.
template <class T>
struct PlainRun {
  static constexpr bool value = false;
};
template <class Allocator>
struct PlainRun<std::basic_string<char, std::char_traits<char>, Allocator>> {
  static constexpr bool value = true;
};
template <class T, class Allocator>
struct PlainRun<std::vector<T, Allocator>> {
  static constexpr bool value = kIsNumber<T>;
};

template <class T>
inline constexpr bool kIsPlain = kIsScalar<T> || PlainRun<T>::value;

[[noreturn]] MANTA_EXPORT void FailWrite(const std::type_info& type, const char* why);
[[noreturn]] MANTA_EXPORT void FailRead(const std::type_info& type, const char* why);
[[noreturn]] MANTA_EXPORT void FailPlainSize(const std::type_info& type, size_t have_bytes, size_t want_bytes);

// `owner` keeps `value` alive; null: then `value` must outlive the result (see Serialized::Part::keep).
template <class T>
Serialized ToSerialized(const T& value, std::shared_ptr<const void> owner) {
  Serialized out;
  if constexpr (kIsScalar<T>) {
    out.head.assign(reinterpret_cast<const char*>(&value), sizeof value);
  } else if constexpr (PlainRun<T>::value) {
    const size_t size_bytes = value.size() * sizeof(*value.data());
    if (size_bytes < kOutOfBandBytesMin) {
      out.head.assign(reinterpret_cast<const char*>(value.data()), size_bytes);
    } else {
      out.parts.push_back({value.data(), size_bytes, std::move(owner)});
    }
  } else {
    out.plain = false;
    OutputArchive archive(&out, std::move(owner));
    try {
      archive(value);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      FailWrite(typeid(T), error.what());
    }
  }
  return out;
}

template <class T>
void FromPayload(const Payload& payload, T* value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (payload.size_bytes != 1) FailPlainSize(typeid(T), payload.size_bytes, 1);
    *value = *payload.data != 0;
  } else if constexpr (kIsScalar<T>) {
    if (payload.size_bytes != sizeof(T)) [[unlikely]]
      FailPlainSize(typeid(T), payload.size_bytes, sizeof(T));
    std::memcpy(value, payload.data, sizeof(T));
  } else if constexpr (PlainRun<T>::value) {
    constexpr size_t kElementBytes = sizeof(*value->data());
    if (payload.size_bytes % kElementBytes != 0) FailPlainSize(typeid(T), payload.size_bytes, kElementBytes);
    const std::string_view bytes(payload.data, payload.size_bytes);
    if constexpr (kElementBytes == 1) {
      using Element = std::remove_cvref_t<decltype(*value->data())>;
      const Element* const begin = reinterpret_cast<const Element*>(bytes.data());
      value->assign(begin, begin + bytes.size());
    } else {
      AssignRun(bytes, value);
    }
  } else {
    try {
      InputArchive archive(payload);
      archive(*value);
      archive.Finish();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      FailRead(typeid(T), error.what());
    }
  }
}

// ToSerialized of a value that is about to be given away: `value` moves into memory of its own only if parts of it are
// needed beyond this call.
template <class T>
Serialized GiveSerialized(T&& value) {
  using Stored = std::remove_cvref_t<T>;
  if constexpr (kIsScalar<Stored>) {
    return ToSerialized(value, nullptr);
  } else {
    if constexpr (PlainRun<Stored>::value) {
      if (value.size() * sizeof(*value.data()) < kOutOfBandBytesMin) return ToSerialized(value, nullptr);
    }
    auto owner = std::make_shared<const Stored>(std::forward<T>(value));
    return ToSerialized(*owner, owner);
  }
}

// ---- can a type be a value at all? (for messages; cereal's own come when an element deep inside cannot)

template <class T>
struct Serializable {
  static constexpr bool value = !std::is_pointer_v<T> && !std::is_reference_v<T> &&
                                cereal::traits::is_output_serializable<T, OutputArchive>::value &&
                                cereal::traits::is_input_serializable<T, InputArchive>::value;
};
template <class T>
requires std::is_pointer_v<T>
struct Serializable<T> {
  static constexpr bool value = false;
};
template <class T, class Allocator>
struct Serializable<std::vector<T, Allocator>> {
  static constexpr bool value = Serializable<T>::value;
};
template <class A, class B>
struct Serializable<std::pair<A, B>> {
  static constexpr bool value = Serializable<A>::value && Serializable<B>::value;
};
template <class T>
requires kIsScalar<T>
struct Serializable<T> {
  static constexpr bool value = true;
};

}  // namespace manta::internal

#endif  // MANTA_INTERNAL_VALUE_H_

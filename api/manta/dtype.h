// DType is the type of a Tensor's elements.
#ifndef MANTA_DTYPE_H_
#define MANTA_DTYPE_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "manta/internal/export.h"

namespace manta {

// The numbers travel between processes and never change.
enum class DType : uint8_t {
  kFloat32 = 0,
  kFloat64 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUint8 = 6,
  kUint16 = 7,
  kUint32 = 8,
  kUint64 = 9,
  kBool = 10,
};
inline constexpr uint8_t kDTypeCount = 11;

MANTA_EXPORT size_t ItemBytes(DType dtype);
MANTA_EXPORT const char* DTypeName(DType dtype);  // "float32"

// float, double, bool, the integers of up to 64 bits, and std::byte.
template <class T>
concept TensorElement = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::byte> ||
    (std::integral<T> && sizeof(T) <= 8);

template <TensorElement T>
constexpr DType DTypeOf() {
  if constexpr (std::same_as<T, float>)
    return DType::kFloat32;
  else if constexpr (std::same_as<T, double>)
    return DType::kFloat64;
  else if constexpr (std::same_as<T, bool>)
    return DType::kBool;
  else if constexpr (std::same_as<T, std::byte>)
    return DType::kUint8;
  else if constexpr (std::is_signed_v<T>) {
    return sizeof(T) == 1   ? DType::kInt8
           : sizeof(T) == 2 ? DType::kInt16
           : sizeof(T) == 4 ? DType::kInt32
                            : DType::kInt64;
  } else {
    return sizeof(T) == 1   ? DType::kUint8
           : sizeof(T) == 2 ? DType::kUint16
           : sizeof(T) == 4 ? DType::kUint32
                            : DType::kUint64;
  }
}

}  // namespace manta

#endif  // MANTA_DTYPE_H_

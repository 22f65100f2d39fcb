// The frame of a value that is not plain (see internal::Serialized), as Encode writes it and InputArchive reads it.
//
//   u32 magic | u32 part_count | u64 head_bytes | part_count x {u64 offset, u64 bytes} | head | pad | part 0 | pad |
//   ...
//
// Offsets count from the value's first byte; each part begins at a multiple of kPartAlignment.
#ifndef MANTA_API_LAYOUT_H_
#define MANTA_API_LAYOUT_H_

#include <cstddef>
#include <cstdint>

#include "manta/internal/backend.h"

namespace manta::internal {

inline constexpr uint32_t kFrameMagic = 0x314E544Du;  // "MTN1"
inline constexpr size_t kFrameHeaderBytes = 16;
inline constexpr size_t kFramePartBytes = 16;
inline constexpr size_t kPartAlignment = 64;

constexpr size_t AlignPart(size_t offset) { return (offset + kPartAlignment - 1) / kPartAlignment * kPartAlignment; }

// Where the first part of a framed value lies.
inline size_t FirstPartOffset(const Serialized& value) {
  return AlignPart(kFrameHeaderBytes + value.parts.size() * kFramePartBytes + value.head.size());
}

// Encode without the parts' bytes (their `data` is not looked at).
void EncodeFrame(const Serialized& value, char* out);

}  // namespace manta::internal

#endif  // MANTA_API_LAYOUT_H_

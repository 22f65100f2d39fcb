#include "base/hex.h"

#include <charconv>
#include <cstdint>

namespace manta::base {

std::string Hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

absl::StatusOr<std::string> Unhex(std::string_view text) {
  if (text.size() % 2 != 0) return absl::InvalidArgumentError("an odd number of hexadecimal digits");
  std::string bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
    if (error != std::errc() || end != text.data() + i + 2) return absl::InvalidArgumentError("not hexadecimal");
    bytes += static_cast<char>(value);
  }
  return bytes;
}

}  // namespace manta::base

// Bytes as hexadecimal digits.
#ifndef MANTA_BASE_HEX_H_
#define MANTA_BASE_HEX_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace manta::base {

// Two digits a byte, lower case.
std::string Hex(std::string_view bytes);
// kInvalidArgument: not pairs of hexadecimal digits, of either case.
absl::StatusOr<std::string> Unhex(std::string_view text);

}  // namespace manta::base

#endif  // MANTA_BASE_HEX_H_

// IsUtf8 tells whether bytes are well-formed UTF-8, which names on the wire must be.
//
// Threads:    thread-safe.
#ifndef MANTA_RPC_UTF8_H_
#define MANTA_RPC_UTF8_H_

#include <string_view>

namespace manta::rpc {

// No overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629).
bool IsUtf8(std::string_view text);
// Those of ASCII and of UTF-8's second block (C1): what a terminal would obey.
bool HasControlCharacters(std::string_view text);

}  // namespace manta::rpc

#endif  // MANTA_RPC_UTF8_H_

// Hashes, codes and random bytes for authentication. The one door to OpenSSL.
//
// Threads:    thread-safe.
#ifndef MANTA_RPC_CRYPTO_H_
#define MANTA_RPC_CRYPTO_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace manta::rpc {

// 256 bits: a digest, a key, a secret, a token, a nonce.
using Bits256 = std::array<uint8_t, 32>;
inline std::string_view BytesOf(const Bits256& bits) {
  return {reinterpret_cast<const char*>(bits.data()), bits.size()};
}

Bits256 Sha256(std::string_view data);
// RFC 2104 with SHA-256.
Bits256 HmacSha256(const Bits256& key, std::string_view data);
// In a time that does not depend on where they differ.
bool ConstantTimeEqual(const Bits256& a, const Bits256& b);
// From the system's generator. Ends the process when there is none: nothing would be safe.
Bits256 RandomBits256();
// Overwrites in a way that the compiler cannot leave out.
void Wipe(Bits256* bits);

}  // namespace manta::rpc

#endif  // MANTA_RPC_CRYPTO_H_

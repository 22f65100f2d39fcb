#include "rpc/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/check.h"

namespace manta::rpc {

Bits256 Sha256(std::string_view data) {
  Bits256 digest;
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data());
  return digest;
}

Bits256 HmacSha256(const Bits256& key, std::string_view data) {
  Bits256 code;
  unsigned int size = 0;
  const unsigned char* made =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(data.data()),
           data.size(), code.data(), &size);
  MANTA_CHECK(made != nullptr && size == code.size()) << "OpenSSL has no HMAC-SHA256";
  return code;
}

bool ConstantTimeEqual(const Bits256& a, const Bits256& b) { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

Bits256 RandomBits256() {
  Bits256 bits;
  MANTA_CHECK(RAND_bytes(bits.data(), static_cast<int>(bits.size())) == 1) << "no random source";
  return bits;
}

void Wipe(Bits256* bits) { OPENSSL_cleanse(bits->data(), bits->size()); }

}  // namespace manta::rpc

// Hashes: XXH3-64 of bytes, for checksums of bulk data, and constexpr FNV-1a, for names known at compile time.
//
// Neither is for tables that an attacker fills, nor for authentication.
#ifndef MANTA_BASE_HASH_H_
#define MANTA_BASE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace manta::base {

// XXH3, 64 bits, seed 0: the same on every machine.
uint64_t Hash64(const void* data, size_t size);
inline uint64_t Hash64(std::string_view data) { return Hash64(data.data(), data.size()); }

// The same hash of bytes that come in pieces.
class Hasher64 {
 public:
  Hasher64();
  ~Hasher64();
  Hasher64(const Hasher64&) = delete;
  Hasher64& operator=(const Hasher64&) = delete;
  void Update(const void* data, size_t size);
  uint64_t Digest() const;
  void Reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// FNV-1a, 64 bits.
inline constexpr uint64_t Fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3u;
  }
  return hash;
}

}  // namespace manta::base

#endif  // MANTA_BASE_HASH_H_

// Rng is a seeded random generator that gives the same numbers with every compiler and library.
//
// Problem:    std's distributions differ between libraries; one seed must replay a run bit for bit.
// Threads:    externally synchronised.
// See:        Blackman & Vigna, "Scrambled linear pseudorandom number generators" (xoshiro256**), seeded by splitmix64.
#ifndef MANTA_BASE_RANDOM_H_
#define MANTA_BASE_RANDOM_H_

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace manta::base {

// One step of splitmix64: a good hash of a 64-bit number, too.
inline constexpr uint64_t SplitMix64(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

class Rng {
 public:
  using result_type = uint64_t;  // a UniformRandomBitGenerator

  explicit constexpr Rng(uint64_t seed) {
    for (uint64_t& word : state_) word = SplitMix64(&seed);
  }

  constexpr uint64_t Next() {
    const uint64_t result = Rotate(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = Rotate(state_[3], 45);
    return result;
  }
  // Evenly in [0, n). REQUIRES: n > 0.
  uint64_t Uniform(uint64_t n) {
    MANTA_DCHECK(n > 0);
    // Lemire's method: the high half of a 128-bit product, redrawn in the few cases that would favour low numbers.
    Uint128 product = Product(n);
    if (static_cast<uint64_t>(product) < n) {
      const uint64_t threshold = (0 - n) % n;
      while (static_cast<uint64_t>(product) < threshold) product = Product(n);
    }
    return static_cast<uint64_t>(product >> 64);
  }
  // Evenly in [low, high].
  int64_t Between(int64_t low, int64_t high) {
    MANTA_DCHECK(low <= high);
    const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    const uint64_t offset = span == UINT64_MAX ? Next() : Uniform(span + 1);
    return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
  }
  // Evenly in [0, 1).
  double Double() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  bool Bernoulli(double probability) { return Double() < probability; }
  // A generator of its own stream, so that one part's draws do not shift another's.
  Rng Fork() { return Rng(Next()); }
  template <typename Container>
  void Shuffle(Container* items) {
    for (size_t i = items->size(); i > 1; --i) std::swap((*items)[i - 1], (*items)[Uniform(i)]);
  }

  uint64_t operator()() { return Next(); }
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }

 private:
  static constexpr uint64_t Rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }
  __extension__ typedef unsigned __int128 Uint128;
  Uint128 Product(uint64_t n) { return static_cast<Uint128>(Next()) * n; }

  uint64_t state_[4] = {};
};

}  // namespace manta::base

#endif  // MANTA_BASE_RANDOM_H_

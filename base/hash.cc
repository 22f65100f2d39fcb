#include "base/hash.h"

#include <xxhash.h>

#include <new>

namespace manta::base {

uint64_t Hash64(const void* data, size_t size) { return XXH3_64bits(data, size); }

struct Hasher64::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Hasher64::Hasher64() : state_(std::make_unique<State>()) {
  if (state_->xxh == nullptr) throw std::bad_alloc();
  Reset();
}
Hasher64::~Hasher64() = default;
void Hasher64::Update(const void* data, size_t size) { XXH3_64bits_update(state_->xxh, data, size); }
uint64_t Hasher64::Digest() const { return XXH3_64bits_digest(state_->xxh); }
void Hasher64::Reset() { XXH3_64bits_reset(state_->xxh); }

}  // namespace manta::base

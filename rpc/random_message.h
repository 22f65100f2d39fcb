// RandomMessage fills messages with anything that may travel: for property tests, fuzzers and the simulator's checks.
//
// Threads:    externally synchronised (through the Rng).
#ifndef MANTA_RPC_RANDOM_MESSAGE_H_
#define MANTA_RPC_RANDOM_MESSAGE_H_

#include <cstdint>

#include "base/random.h"
#include "rpc/message.h"

namespace manta::rpc {

// A message of `type` (its position in Message), every field drawn. No Value is a kRef.
// REQUIRES: type < kMessageTypeCount.
Message RandomMessage(uint16_t type, base::Rng* rng);

// Of any type.
inline Message RandomMessage(base::Rng* rng) {
  return RandomMessage(static_cast<uint16_t>(rng->Uniform(kMessageTypeCount)), rng);
}

}  // namespace manta::rpc

#endif  // MANTA_RPC_RANDOM_MESSAGE_H_

// Which messages a peer may send: default deny.
//
// Threads:    thread-safe.
// See:        DESIGN: security (trust classes).
#ifndef MANTA_RPC_ACCESS_H_
#define MANTA_RPC_ACCESS_H_

#include <cstdint>

#include "rpc/handshake_message.h"
#include "rpc/message.h"

namespace manta::rpc {

// Members run code and may send everything. Readers may ask; what they ask for is looked at where it is answered
// (StateKind::kKillActor is not for them).
inline constexpr uint16_t kStateQueryType = 60;
static_assert(std::is_same_v<std::variant_alternative_t<kStateQueryType, MessageVariant>, StateQuery>);
inline constexpr bool MaySend(TrustClass trust, uint16_t type) {
  return trust == TrustClass::kMember ? type < kMessageTypeCount : type == kStateQueryType;
}

}  // namespace manta::rpc

#endif  // MANTA_RPC_ACCESS_H_

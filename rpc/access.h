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

// Members run code and may send everything. Readers may send what only asks; there is no such message yet.
inline constexpr bool MaySend(TrustClass trust, uint16_t type) {
  return trust == TrustClass::kMember && type < kMessageTypeCount;
}

}  // namespace manta::rpc

#endif  // MANTA_RPC_ACCESS_H_

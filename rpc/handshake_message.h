// The handshake's frames as plain values, and their wire form. The manual is schema/handshake.capnp.
//
// Threads:    immutable values; functions are thread-safe.
// Errors:     DecodeHandshake: kInvalidArgument, as rpc/codec.h.
#ifndef MANTA_RPC_HANDSHAKE_MESSAGE_H_
#define MANTA_RPC_HANDSHAKE_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "rpc/crypto.h"
#include "rpc/frame.h"
#include "rpc/frame_buffer.h"

namespace manta::rpc {

enum class TrustClass : uint16_t { kMember, kReader };
enum class Credential : uint16_t { kSecret, kToken, kUser };
enum class ConnectionKind : uint16_t { kControl, kCalls, kData };

struct ClientHello {
  uint32_t protocol_version = 0;
  std::string cluster_id;
  TrustClass trust = TrustClass::kMember;
  Credential credential = Credential::kSecret;
  uint64_t token_id = 0;
  ConnectionKind connection = ConnectionKind::kControl;
  ProcessId process;  // none: it has no id yet
  uint64_t life = 0;
  ProcessId server;          // none: whoever listens there
  uint64_t server_life = 0;  // 0: any
  Bits256 nonce = {};
  bool operator==(const ClientHello&) const = default;
};
struct ServerHello {
  ProcessId process;
  uint64_t life = 0;
  Bits256 nonce = {};
  bool operator==(const ServerHello&) const = default;
};
struct ClientProof {
  Bits256 mac = {};
  bool operator==(const ClientProof&) const = default;
};
struct ServerProof {
  Bits256 mac = {};
  bool operator==(const ServerProof&) const = default;
};
struct Refusal {
  enum class Reason : uint16_t {
    kMalformed,
    kOutOfOrder,
    kOtherVersion,
    kOtherCluster,
    kWrongSecret,
    kWrongToken,
    kReplayed,
    kStaleIncarnation,
    kNotAllowed,
    kBusy,
    kTimeout,
  };
  Reason reason = Reason::kMalformed;
  std::string message;
  bool operator==(const Refusal&) const = default;
};

using HandshakeMessage = std::variant<ClientHello, ServerHello, ClientProof, ServerProof, Refusal>;
inline constexpr size_t kHandshakeTypeCount = std::variant_size_v<HandshakeMessage>;

inline uint16_t TypeOf(const HandshakeMessage& message) {
  return static_cast<uint16_t>(kHandshakeTypeMin + message.index());
}
void EncodeHandshake(const HandshakeMessage& message, FrameBuffer* out);
absl::StatusOr<HandshakeMessage> DecodeHandshake(uint16_t type, const void* data, size_t size, size_t capnp_bytes);

// "other version: ..." as a status of the code that fits.
absl::Status ToStatus(const Refusal& refusal);
const char* ToString(Refusal::Reason reason);

}  // namespace manta::rpc

#endif  // MANTA_RPC_HANDSHAKE_MESSAGE_H_

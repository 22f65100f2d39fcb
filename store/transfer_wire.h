// What travels on a data connection between two nodes: objects, and files by their content.
//
//   client                            server
//   request (64 bytes)        ─►
//                             ◄─  reply (16 bytes): what came of it, and the size of the whole item
//                             ◄─  if it is there, for each chunk from `offset` on: XXH3-64 of the chunk (8 bytes), its
//                             bytes
//   next request, or close    ─►
//
// Numbers are little-endian. The last chunk may be shorter. The bytes can change on their way, or have been changed
// where they lie: the client checks each chunk, and asks again from the first one that is missing. Threads:    values
// and pure functions.
#ifndef MANTA_STORE_TRANSFER_WIRE_H_
#define MANTA_STORE_TRANSFER_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/status.h"
#include "rpc/crypto.h"

namespace manta::store {

inline constexpr uint64_t kTransferChunkBytes = 1 << 20;
inline constexpr size_t kTransferRequestBytes = 64;
inline constexpr size_t kTransferReplyBytes = 16;

struct TransferItem {
  enum class Kind : uint32_t { kObject = 1, kFile = 2 };
  static TransferItem Object(const ObjectId& object, uint32_t attempt) { return {Kind::kObject, object, attempt, {}}; }
  static TransferItem File(const rpc::Bits256& sha256) { return {Kind::kFile, {}, 0, sha256}; }

  Kind kind = Kind::kObject;
  ObjectId object;  // kObject
  uint32_t attempt = 0;
  rpc::Bits256 sha256{};  // kFile: of its content
  bool operator==(const TransferItem&) const = default;
};
std::string ToString(const TransferItem& item);

struct TransferRequest {
  TransferItem item;
  uint64_t offset = 0;  // a multiple of kTransferChunkBytes
  uint64_t length = 0;  // > 0
  bool operator==(const TransferRequest&) const = default;
};

enum class TransferStatus : uint32_t { kThere = 0, kNotThere = 1, kBadRange = 2 };

struct TransferReply {
  TransferStatus status = TransferStatus::kThere;
  uint64_t size_bytes = 0;  // of the whole item; 0 unless it is there
  bool operator==(const TransferReply&) const = default;
};

// Write kTransferRequestBytes, kTransferReplyBytes.
void EncodeTransferRequest(const TransferRequest& request, char* to);
void EncodeTransferReply(const TransferReply& reply, char* to);
// Read as many. kInvalidArgument: no request of this protocol; kDataLoss: no reply.
absl::StatusOr<TransferRequest> DecodeTransferRequest(const char* from);
absl::StatusOr<TransferReply> DecodeTransferReply(const char* from);

}  // namespace manta::store

#endif  // MANTA_STORE_TRANSFER_WIRE_H_

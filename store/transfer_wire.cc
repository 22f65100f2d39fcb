#include "store/transfer_wire.h"

#include <bit>
#include <cstring>

namespace manta::store {
namespace {

constexpr uint32_t kRequestMagic = 0x31717854;  // "Txq1"
constexpr uint32_t kReplyMagic = 0x31727854;    // "Txr1"
static_assert(std::endian::native == std::endian::little);

template <typename T>
char* Put(const T& value, char* to) {
  std::memcpy(to, &value, sizeof value);
  return to + sizeof value;
}

template <typename T>
const char* Take(const char* from, T* value) {
  std::memcpy(value, from, sizeof *value);
  return from + sizeof *value;
}

}  // namespace

std::string ToString(const TransferItem& item) {
  if (item.kind == TransferItem::Kind::kObject) return manta::ToString(item.object);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "file ";
  for (const uint8_t byte : item.sha256) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// magic 4, kind 4, offset 8, length 8, then 40 bytes: an object's five numbers or a hash (32), and zeros.
void EncodeTransferRequest(const TransferRequest& request, char* to) {
  std::memset(to, 0, kTransferRequestBytes);
  to = Put(kRequestMagic, to);
  to = Put(static_cast<uint32_t>(request.item.kind), to);
  to = Put(request.offset, to);
  to = Put(request.length, to);
  if (request.item.kind == TransferItem::Kind::kFile) {
    Put(request.item.sha256, to);
    return;
  }
  const ObjectId& object = request.item.object;
  to = Put(static_cast<uint64_t>(object.owner.node), to);
  to = Put(static_cast<uint64_t>(object.owner.number), to);
  to = Put(object.number, to);
  to = Put(object.index, to);
  Put(request.item.attempt, to);
}

absl::StatusOr<TransferRequest> DecodeTransferRequest(const char* from) {
  uint32_t magic = 0, kind = 0;
  TransferRequest request;
  from = Take(from, &magic);
  from = Take(from, &kind);
  from = Take(from, &request.offset);
  from = Take(from, &request.length);
  if (magic != kRequestMagic) return absl::InvalidArgumentError("these bytes are no request");
  if (request.length == 0 || request.offset % kTransferChunkBytes != 0 ||
      request.offset + request.length < request.length) {
    return absl::InvalidArgumentError("a request for no range");
  }
  request.item.kind = static_cast<TransferItem::Kind>(kind);
  if (request.item.kind == TransferItem::Kind::kFile) {
    Take(from, &request.item.sha256);
    return request;
  }
  if (request.item.kind != TransferItem::Kind::kObject)
    return absl::InvalidArgumentError("a request of an unknown kind");
  uint64_t node = 0, number = 0;
  from = Take(from, &node);
  from = Take(from, &number);
  from = Take(from, &request.item.object.number);
  from = Take(from, &request.item.object.index);
  Take(from, &request.item.attempt);
  request.item.object.owner = {node, number};
  return request;
}

void EncodeTransferReply(const TransferReply& reply, char* to) {
  to = Put(kReplyMagic, to);
  to = Put(static_cast<uint32_t>(reply.status), to);
  Put(reply.size_bytes, to);
}

absl::StatusOr<TransferReply> DecodeTransferReply(const char* from) {
  uint32_t magic = 0, status = 0;
  TransferReply reply;
  from = Take(from, &magic);
  from = Take(from, &status);
  Take(from, &reply.size_bytes);
  if (magic != kReplyMagic || status > static_cast<uint32_t>(TransferStatus::kBadRange)) {
    return absl::DataLossError("the other side answers with something that is no reply");
  }
  reply.status = static_cast<TransferStatus>(status);
  return reply;
}

}  // namespace manta::store

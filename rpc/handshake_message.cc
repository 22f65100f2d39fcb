#include "rpc/handshake_message.h"

#include <cstring>
#include <utility>

#include "base/status.h"
#include "rpc/codec_internal.h"
#include "rpc/schema/handshake.capnp.h"

namespace manta::rpc {
namespace {

capnp::Data::Reader DataOf(const Bits256& bits) { return {bits.data(), bits.size()}; }

void ReadBits(capnp::Data::Reader data, Decoder* in, Bits256* bits) {
  if (data.size() != bits->size()) return in->Fail("a nonce or proof is not 32 bytes long");
  std::memcpy(bits->data(), data.begin(), bits->size());
}

void Write(const ClientHello& m, schema::ClientHello::Builder b) {
  b.setProtocolVersion(m.protocol_version);
  b.setClusterId(TextOf(m.cluster_id));
  b.setTrust(static_cast<schema::TrustClass>(m.trust));
  b.setCredential(static_cast<schema::Credential>(m.credential));
  b.setTokenId(m.token_id);
  b.setConnection(static_cast<schema::ConnectionKind>(m.connection));
  WritePair(m.process, b.initProcess());
  b.setLife(m.life);
  WritePair(m.server, b.initServer());
  b.setServerLife(m.server_life);
  b.setNonce(DataOf(m.nonce));
}

void Read(schema::ClientHello::Reader r, Decoder* in, ClientHello* m) {
  m->protocol_version = r.getProtocolVersion();
  in->Name(r.getClusterId(), &m->cluster_id);
  m->trust = in->Enum(r.getTrust(), TrustClass::kReader);
  m->credential = in->Enum(r.getCredential(), Credential::kUser);
  m->token_id = r.getTokenId();
  m->connection = in->Enum(r.getConnection(), ConnectionKind::kData);
  m->process = ReadProcess(r.getProcess());
  m->life = r.getLife();
  m->server = ReadProcess(r.getServer());
  m->server_life = r.getServerLife();
  ReadBits(r.getNonce(), in, &m->nonce);
}

void Write(const ServerHello& m, schema::ServerHello::Builder b) {
  WritePair(m.process, b.initProcess());
  b.setLife(m.life);
  b.setNonce(DataOf(m.nonce));
}

void Read(schema::ServerHello::Reader r, Decoder* in, ServerHello* m) {
  m->process = ReadProcess(r.getProcess());
  m->life = r.getLife();
  ReadBits(r.getNonce(), in, &m->nonce);
}

void Write(const ClientProof& m, schema::ClientProof::Builder b) { b.setMac(DataOf(m.mac)); }
void Read(schema::ClientProof::Reader r, Decoder* in, ClientProof* m) { ReadBits(r.getMac(), in, &m->mac); }

void Write(const ServerProof& m, schema::ServerProof::Builder b) { b.setMac(DataOf(m.mac)); }
void Read(schema::ServerProof::Reader r, Decoder* in, ServerProof* m) { ReadBits(r.getMac(), in, &m->mac); }

void Write(const Refusal& m, schema::Refusal::Builder b) {
  b.setReason(static_cast<schema::Refusal::Reason>(m.reason));
  b.setMessage(TextOf(m.message));
}

void Read(schema::Refusal::Reader r, Decoder* in, Refusal* m) {
  m->reason = in->Enum(r.getReason(), Refusal::Reason::kTimeout);
  in->Text(r.getMessage(), &m->message);
}

template <typename M>
struct SchemaOf;
template <>
struct SchemaOf<ClientHello> : std::type_identity<schema::ClientHello> {};
template <>
struct SchemaOf<ServerHello> : std::type_identity<schema::ServerHello> {};
template <>
struct SchemaOf<ClientProof> : std::type_identity<schema::ClientProof> {};
template <>
struct SchemaOf<ServerProof> : std::type_identity<schema::ServerProof> {};
template <>
struct SchemaOf<Refusal> : std::type_identity<schema::Refusal> {};

absl::Status Refused(std::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "handshake: " + std::string(what));
}

template <size_t kIndex>
absl::StatusOr<HandshakeMessage> DecodeIndex(capnp::MessageReader* reader, Decoder* in) {
  using M = std::variant_alternative_t<kIndex, HandshakeMessage>;
  M message;
  Read(reader->getRoot<typename SchemaOf<M>::type>(), in, &message);
  in->CheckEnd();
  if (in->error() != nullptr) return Refused(in->error());
  return HandshakeMessage(std::move(message));
}

absl::StatusOr<HandshakeMessage> DecodeRoot(size_t index, capnp::MessageReader* reader, Decoder* in) {
  static_assert(kHandshakeTypeCount == 5);
  switch (index) {
    case 0:
      return DecodeIndex<0>(reader, in);
    case 1:
      return DecodeIndex<1>(reader, in);
    case 2:
      return DecodeIndex<2>(reader, in);
    case 3:
      return DecodeIndex<3>(reader, in);
    case 4:
      return DecodeIndex<4>(reader, in);
    default:
      return Refused("unknown type");
  }
}

}  // namespace

void EncodeHandshake(const HandshakeMessage& message, FrameBuffer* out) {
  Encoder encoder(out);
  std::visit(
      [&](const auto& m) {
        using Schema = typename SchemaOf<std::decay_t<decltype(m)>>::type;
        encoder.Build<Schema>(TypeOf(message), kGatherNothing, [&](typename Schema::Builder root) { Write(m, root); });
      },
      message);
}

absl::StatusOr<HandshakeMessage> DecodeHandshake(uint16_t type, const void* data, size_t size, size_t capnp_bytes) {
  if (!IsHandshakeType(type)) return Refused("not a handshake frame");
  SegmentTable table;
  if (const char* wrong = table.Parse(data, size, capnp_bytes)) return Refused(wrong);
  const char* bytes = static_cast<const char*>(data);
  Decoder decoder(bytes + capnp_bytes, bytes + size, capnp_bytes);
  try {
    capnp::SegmentArrayMessageReader reader(table.segments(), OptionsFor(capnp_bytes));
    return DecodeRoot(type - kHandshakeTypeMin, &reader, &decoder);
  } catch (const kj::Exception& broken) {
    return Refused({broken.getDescription().begin(), broken.getDescription().size()});
  }
}

const char* ToString(Refusal::Reason reason) {
  switch (reason) {
    case Refusal::Reason::kMalformed:
      return "malformed";
    case Refusal::Reason::kOutOfOrder:
      return "out of order";
    case Refusal::Reason::kOtherVersion:
      return "other version";
    case Refusal::Reason::kOtherCluster:
      return "other cluster";
    case Refusal::Reason::kWrongSecret:
      return "wrong secret";
    case Refusal::Reason::kWrongToken:
      return "wrong token";
    case Refusal::Reason::kReplayed:
      return "replayed";
    case Refusal::Reason::kStaleIncarnation:
      return "stale incarnation";
    case Refusal::Reason::kNotAllowed:
      return "not allowed";
    case Refusal::Reason::kBusy:
      return "busy";
    case Refusal::Reason::kTimeout:
      return "timeout";
  }
  return "unknown";
}

absl::Status ToStatus(const Refusal& refusal) {
  const auto code = [&] {
    switch (refusal.reason) {
      case Refusal::Reason::kMalformed:
      case Refusal::Reason::kOutOfOrder:
        return absl::StatusCode::kInvalidArgument;
      case Refusal::Reason::kOtherVersion:
      case Refusal::Reason::kOtherCluster:
        return absl::StatusCode::kFailedPrecondition;
      case Refusal::Reason::kWrongSecret:
      case Refusal::Reason::kWrongToken:
      case Refusal::Reason::kReplayed:
        return absl::StatusCode::kUnauthenticated;
      case Refusal::Reason::kStaleIncarnation:
        return absl::StatusCode::kAborted;
      case Refusal::Reason::kNotAllowed:
        return absl::StatusCode::kPermissionDenied;
      case Refusal::Reason::kBusy:
        return absl::StatusCode::kResourceExhausted;
      case Refusal::Reason::kTimeout:
        return absl::StatusCode::kDeadlineExceeded;
    }
    return absl::StatusCode::kInternal;
  }();
  return base::Error(code, std::string(ToString(refusal.reason)) + ": " + refusal.message);
}

}  // namespace manta::rpc

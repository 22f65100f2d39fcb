#include "rpc/handshake.h"

#include <utility>
#include <variant>

#include "base/rule.h"
#include "base/status.h"

namespace manta::rpc {
namespace {

using Reason = Refusal::Reason;

enum class Side { kClient, kServer };

void AppendNumber(uint64_t number, std::string* to) {
  for (int i = 0; i < 8; ++i) to->push_back(static_cast<char>(number >> (8 * i)));
}
void AppendProcess(ProcessId process, uint64_t life, std::string* to) {
  AppendNumber(process.node, to);
  AppendNumber(process.number, to);
  AppendNumber(life, to);
}

// What a proof is made of: everything that was said, and by whom the proof is.
std::string Transcript(Side side, const ClientHello& client, const ServerHello& server) {
  std::string text = side == Side::kClient ? "manta handshake: client" : "manta handshake: server";
  AppendNumber(client.protocol_version, &text);
  AppendNumber(client.cluster_id.size(), &text);
  text += client.cluster_id;
  AppendNumber(static_cast<uint64_t>(client.trust), &text);
  AppendNumber(static_cast<uint64_t>(client.credential), &text);
  AppendNumber(client.token_id, &text);
  AppendNumber(static_cast<uint64_t>(client.connection), &text);
  AppendProcess(client.process, client.life, &text);
  AppendProcess(client.server, client.server_life, &text);
  AppendProcess(server.process, server.life, &text);
  text.append(BytesOf(client.nonce)).append(BytesOf(server.nonce));
  return text;
}

Bits256 Proof(const Bits256& key, Side side, const ClientHello& client, const ServerHello& server) {
  return HmacSha256(key, Transcript(side, client, server));
}

Bits256 TokenKey(const Bits256& token) { return HmacSha256(token, "manta key: token"); }
// Known to everybody: the kernel's word is the proof.
Bits256 UserKey() { return HmacSha256(Bits256{}, "manta key: user"); }

Refusal Refuse(Reason reason, std::string message) { return {reason, std::move(message)}; }

bool NamesProcess(ProcessId wanted, ProcessId actual) { return wanted == ProcessId() || wanted == actual; }

}  // namespace

Bits256 ClassKey(const Bits256& cluster_secret, TrustClass trust) {
  return HmacSha256(cluster_secret, trust == TrustClass::kMember ? "manta key: member" : "manta key: reader");
}

bool NonceMemory::Insert(const Bits256& nonce) {
  if (!seen_.insert(nonce).second) return false;
  order_.push_back(nonce);
  if (order_.size() > kNoncesMax) {
    seen_.erase(order_.front());
    order_.pop_front();
  }
  return true;
}

absl::Status Handshake::Receive(Time now, const HandshakeMessage& message, std::vector<HandshakeMessage>* out) {
  if (state_ == State::kFailed) return absl::InvalidArgumentError("the handshake has failed already");
  // A refusal is not answered.
  if (const auto* refusal = std::get_if<Refusal>(&message)) {
    state_ = State::kFailed;
    return base::Annotate(ToStatus(*refusal), "refused by the peer");
  }
  if (std::optional<Refusal> refusal = Take(now, message, out)) {
    state_ = State::kFailed;
    absl::Status status = ToStatus(*refusal);
    out->push_back(*std::move(refusal));
    return status;
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------------- client

void ClientHandshake::Start(std::vector<HandshakeMessage>* out) {
  hello_.protocol_version = options_.protocol_version;
  hello_.cluster_id = options_.cluster_id;
  hello_.trust = options_.trust;
  hello_.credential = options_.credential;
  if (options_.credential == Credential::kToken) hello_.token_id = TokenId(options_.key);
  hello_.connection = options_.connection;
  hello_.process = options_.self;
  hello_.life = options_.self_life;
  hello_.server = options_.server;
  hello_.server_life = options_.server_life;
  hello_.nonce = options_.nonces();
  state_ = State::kGoing;
  out->push_back(hello_);
}

std::optional<Refusal> ClientHandshake::Take(Time, const HandshakeMessage& message,
                                             std::vector<HandshakeMessage>* out) {
  if (state_ == State::kGoing) {
    const auto* hello = std::get_if<ServerHello>(&message);
    if (hello != nullptr && !server_hello_) return TakeHello(*hello, out);
    const auto* proof = std::get_if<ServerProof>(&message);
    if (proof != nullptr && server_hello_) return TakeProof(*proof);
  }
  return Refuse(Reason::kOutOfOrder, "the server's handshake came out of order");
}

std::optional<Refusal> ClientHandshake::TakeHello(const ServerHello& hello, std::vector<HandshakeMessage>* out) {
  const bool right_life = options_.server_life == 0 || options_.server_life == hello.life;
  if (MANTA_RULE("handshake.addressee") && (!NamesProcess(options_.server, hello.process) || !right_life)) {
    return Refuse(Reason::kStaleIncarnation, "there is " + ToString(hello.process) + ", life " +
                                                 std::to_string(hello.life) + ", not " + ToString(options_.server) +
                                                 ", life " + std::to_string(options_.server_life));
  }
  if (hello.nonce == hello_.nonce) return Refuse(Reason::kReplayed, "the server sent our own nonce back");
  server_hello_ = hello;
  const Bits256 key = options_.credential == Credential::kToken  ? TokenKey(options_.key)
                      : options_.credential == Credential::kUser ? UserKey()
                                                                 : options_.key;
  out->push_back(ClientProof{Proof(key, Side::kClient, hello_, hello)});
  return std::nullopt;
}

std::optional<Refusal> ClientHandshake::TakeProof(const ServerProof& proof) {
  const Bits256 key = options_.credential == Credential::kToken  ? TokenKey(options_.key)
                      : options_.credential == Credential::kUser ? UserKey()
                                                                 : options_.key;
  if (!ConstantTimeEqual(proof.mac, Proof(key, Side::kServer, hello_, *server_hello_))) {
    return Refuse(Reason::kWrongSecret,
                  "the server does not know the cluster's secret: it is another cluster's, or "
                  "somebody else listens there");
  }
  peer_ = {server_hello_->process,
           server_hello_->life,
           TrustClass::kMember,
           options_.credential,
           hello_.token_id,
           options_.connection,
           {}};
  state_ = State::kDone;
  return std::nullopt;
}

// ---------------------------------------------------------------- server

std::optional<Refusal> ServerHandshake::Take(Time now, const HandshakeMessage& message,
                                             std::vector<HandshakeMessage>* out) {
  const auto* hello = std::get_if<ClientHello>(&message);
  if (hello != nullptr && state_ == State::kNew) return TakeHello(now, *hello, out);
  const auto* proof = std::get_if<ClientProof>(&message);
  if (proof != nullptr && state_ == State::kGoing) return TakeProof(now, *proof, out);
  return Refuse(Reason::kOutOfOrder, "the client's handshake came out of order");
}

std::optional<Refusal> ServerHandshake::TakeHello(Time now, const ClientHello& hello,
                                                  std::vector<HandshakeMessage>* out) {
  if (std::optional<Refusal> refusal = CheckHello(hello)) return refusal;
  if (std::optional<Refusal> refusal = FindKey(now, hello)) return refusal;
  if (options_.client_nonces != nullptr && !options_.client_nonces->Insert(hello.nonce)) {
    return Refuse(Reason::kReplayed, "this nonce was used before");
  }
  hello_ = hello;
  peer_ = {hello.process, hello.life, hello.trust, hello.credential, hello.token_id, hello.connection, hello.server};
  server_hello_ = {hello.server == ProcessId() ? options_.self : hello.server, options_.self_life, options_.nonces()};
  state_ = State::kGoing;
  out->push_back(server_hello_);
  return std::nullopt;
}

std::optional<Refusal> ServerHandshake::CheckHello(const ClientHello& hello) const {
  if (hello.protocol_version != options_.protocol_version) {
    return Refuse(Reason::kOtherVersion,
                  "this server speaks protocol version " + std::to_string(options_.protocol_version) + ", the client " +
                      std::to_string(hello.protocol_version) + ": build both from the same Manta");
  }
  if (hello.cluster_id != options_.cluster_id) {
    return Refuse(Reason::kOtherCluster, "this is not cluster " + hello.cluster_id + ": check the address");
  }
  if (!options_.self_known && hello.server != ProcessId()) {
    return Refuse(Reason::kBusy, "this process has not joined yet: come again");
  }
  const bool right_life = hello.server_life == 0 || hello.server_life == options_.self_life;
  if (MANTA_RULE("handshake.addressee") && (!AnswersFor(hello.server) || !right_life)) {
    return Refuse(Reason::kStaleIncarnation,
                  "this is " + ToString(options_.self) + ", life " + std::to_string(options_.self_life) + ", not " +
                      ToString(hello.server) + ", life " + std::to_string(hello.server_life));
  }
  return std::nullopt;
}

bool ServerHandshake::AnswersFor(ProcessId wanted) const {
  return NamesProcess(wanted, options_.self) || (options_.answers_for && options_.answers_for(wanted));
}

std::optional<Refusal> ServerHandshake::FindKey(Time now, const ClientHello& hello) {
  switch (hello.credential) {
    case Credential::kSecret:
      if (!options_.cluster_secret) return Refuse(Reason::kNotAllowed, "this socket takes no cluster secret");
      key_ = ClassKey(*options_.cluster_secret, hello.trust);
      return std::nullopt;
    case Credential::kToken: {
      if (options_.tokens == nullptr) return Refuse(Reason::kNotAllowed, "this socket takes no tokens");
      // A token makes a member: readers have the secret's reader key.
      if (hello.trust != TrustClass::kMember) return Refuse(Reason::kNotAllowed, "a token is for members");
      const absl::StatusOr<Bits256> token = options_.tokens->Find(now, hello.token_id, hello.process);
      if (absl::IsAlreadyExists(token.status())) return Refuse(Reason::kReplayed, base::Message(token.status()));
      if (!token.ok()) return Refuse(Reason::kWrongToken, base::Message(token.status()));
      key_ = TokenKey(*token);
      return std::nullopt;
    }
    case Credential::kUser:
      if (!options_.take_user) return Refuse(Reason::kNotAllowed, "this socket wants a secret or a token");
      if (!user_matches_) return Refuse(Reason::kNotAllowed, "the peer runs as another user");
      key_ = UserKey();
      return std::nullopt;
  }
  return Refuse(Reason::kMalformed, "unknown credential");
}

std::optional<Refusal> ServerHandshake::TakeProof(Time now, const ClientProof& proof,
                                                  std::vector<HandshakeMessage>* out) {
  const bool holds = ConstantTimeEqual(proof.mac, Proof(key_, Side::kClient, *hello_, server_hello_));
  if (!holds && MANTA_RULE("handshake.proof")) {
    return hello_->credential == Credential::kToken
               ? Refuse(Reason::kWrongToken, "the proof does not hold: it is not the token of that id")
               : Refuse(Reason::kWrongSecret, "the proof does not hold: the client has another cluster's secret");
  }
  if (options_.admit) {
    const absl::Status admitted = options_.admit(peer_);
    if (!admitted.ok()) {
      const bool denied = absl::IsPermissionDenied(admitted);
      return Refuse(denied ? Reason::kNotAllowed : Reason::kStaleIncarnation, base::Message(admitted));
    }
  }
  // Last, so that a token is spent only on a handshake that holds; and of two at once, one gets it.
  if (hello_->credential == Credential::kToken && !options_.tokens->Spend(now, hello_->token_id)) {
    return Refuse(Reason::kReplayed, "the token was used before");
  }
  out->push_back(ServerProof{Proof(key_, Side::kServer, *hello_, server_hello_)});
  Wipe(&key_);
  state_ = State::kDone;
  return std::nullopt;
}

}  // namespace manta::rpc

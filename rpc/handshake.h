// The handshake's two sides: each finds out whether the other belongs to its cluster, and which life of whom it is.
//
// Problem:    anybody may connect, listen in, play back what was said, or answer in another's place.
// Ownership:  a ServerHandshake borrows its TokenBook and NonceMemory.
// Threads:    externally synchronised. Pure: nonces come from Options, time from the caller.
// Invariants: (1) done() on both sides means: both have the key, and agree on all that schema/handshake.capnp says is
//                 proved.
//             (2) a handshake that failed stays failed, and a token is spent only by one that succeeds.
// Errors:     kInvalidArgument (malformed, out of order), kFailedPrecondition (other version or cluster),
//             kUnauthenticated (wrong secret or token, replayed), kAborted (stale incarnation), kPermissionDenied;
//             the message says what to do.
// See:        schema/handshake.capnp: who proves what; DESIGN: security.
//
//   client: kNew -Start-> kGoing -ServerHello-> kGoing -ServerProof-> kDone      anything else: kFailed
//   server: kNew -ClientHello-> kGoing -ClientProof-> kDone                      anything else: kFailed
#ifndef MANTA_RPC_HANDSHAKE_H_
#define MANTA_RPC_HANDSHAKE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/ids.h"
#include "base/time.h"
#include "rpc/crypto.h"
#include "rpc/handshake_message.h"
#include "rpc/token_book.h"

namespace manta::rpc {

// Both sides of a connection speak the same one.
inline constexpr uint32_t kProtocolVersion = 1;

using NonceSource = std::function<Bits256()>;

// Who the other side has proved to be.
struct PeerIdentity {
  ProcessId process;  // of a client: none, if it has no id yet
  uint64_t life = 0;
  TrustClass trust = TrustClass::kMember;
  Credential credential = Credential::kSecret;
  uint64_t token_id = 0;  // kToken
  ConnectionKind connection = ConnectionKind::kControl;
  ProcessId server = {};  // of a client: whom it came for; none: whoever listens
  bool operator==(const PeerIdentity&) const = default;
};

// The key of everybody of one trust class: what a reader is given instead of the secret.
Bits256 ClassKey(const Bits256& cluster_secret, TrustClass trust);

// The client nonces seen lately, of all connections of one server. Externally synchronised; bounded.
class NonceMemory {
 public:
  static constexpr size_t kNoncesMax = 4096;
  // False: seen before.
  bool Insert(const Bits256& nonce);

 private:
  std::set<Bits256> seen_;
  std::deque<Bits256> order_;
};

class Handshake {
 public:
  enum class State { kNew, kGoing, kDone, kFailed };

  virtual ~Handshake() = default;
  // What is to be sent first, if anything.
  virtual void Start(std::vector<HandshakeMessage>* out) = 0;
  // Appends what is to be sent next; after an error, that is a Refusal, and the connection is to be closed behind it.
  absl::Status Receive(Time now, const HandshakeMessage& message, std::vector<HandshakeMessage>* out);

  bool done() const { return state_ == State::kDone; }
  State state() const { return state_; }
  // REQUIRES: done().
  const PeerIdentity& peer() const { return peer_; }

 protected:
  virtual std::optional<Refusal> Take(Time now, const HandshakeMessage& message,
                                      std::vector<HandshakeMessage>* out) = 0;

  State state_ = State::kNew;
  PeerIdentity peer_;
};

class ClientHandshake : public Handshake {
 public:
  struct Options {
    std::string cluster_id;
    TrustClass trust = TrustClass::kMember;
    Credential credential = Credential::kSecret;
    Bits256 key = {};  // kSecret: ClassKey of `trust`; kToken: the token; kUser: unused
    ConnectionKind connection = ConnectionKind::kControl;
    ProcessId self;  // none: no id yet
    uint64_t self_life = 0;
    ProcessId server;          // none: whoever listens there
    uint64_t server_life = 0;  // 0: any
    uint32_t protocol_version = kProtocolVersion;
    NonceSource nonces = &RandomBits256;
  };

  explicit ClientHandshake(const Options& options) : options_(options) {}
  void Start(std::vector<HandshakeMessage>* out) override;

 private:
  std::optional<Refusal> Take(Time now, const HandshakeMessage& message, std::vector<HandshakeMessage>* out) override;
  std::optional<Refusal> TakeHello(const ServerHello& hello, std::vector<HandshakeMessage>* out);
  std::optional<Refusal> TakeProof(const ServerProof& proof);

  const Options options_;
  ClientHello hello_;
  std::optional<ServerHello> server_hello_;
};

class ServerHandshake : public Handshake {
 public:
  struct Options {
    std::string cluster_id;
    ProcessId self;
    bool self_known = true;  // false: it has no id yet, and whoever comes for somebody is to come again
    uint64_t self_life = 0;
    std::optional<Bits256> cluster_secret;  // none: kSecret is not taken
    TokenBook* tokens = nullptr;            // null: kToken is not taken
    bool take_user = false;                 // unix sockets: kUser is enough
    NonceMemory* client_nonces = nullptr;   // null: not remembered
    // Whether connections for `process` are taken here besides those for `self` (which may be none yet). Null: none.
    std::function<bool(ProcessId process)> answers_for;
    // Refuses a client that is known to be stale or unwelcome: the message is sent to it. Null: everybody may come.
    std::function<absl::Status(const PeerIdentity& claim)> admit;
    uint32_t protocol_version = kProtocolVersion;
    NonceSource nonces = &RandomBits256;
  };

  // `user_matches`: the kernel says that the peer runs as our own user (SO_PEERCRED).
  ServerHandshake(const Options& options, bool user_matches) : options_(options), user_matches_(user_matches) {}
  void Start(std::vector<HandshakeMessage>*) override {}

 private:
  std::optional<Refusal> Take(Time now, const HandshakeMessage& message, std::vector<HandshakeMessage>* out) override;
  std::optional<Refusal> TakeHello(Time now, const ClientHello& hello, std::vector<HandshakeMessage>* out);
  std::optional<Refusal> CheckHello(const ClientHello& hello) const;
  bool AnswersFor(ProcessId wanted) const;
  std::optional<Refusal> FindKey(Time now, const ClientHello& hello);
  std::optional<Refusal> TakeProof(Time now, const ClientProof& proof, std::vector<HandshakeMessage>* out);

  const Options options_;
  const bool user_matches_;
  std::optional<ClientHello> hello_;
  ServerHello server_hello_;
  Bits256 key_ = {};
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_HANDSHAKE_H_

@0xff1508c7432d719e;
# The first frames on every socket: who is there, and can both prove it?
#
#   client -- ClientHello -->  server
#   client <-- ServerHello --  server      or Refusal
#   client -- ClientProof -->  server      or Refusal
#   client <-- ServerProof --  server      or Refusal; from here on the socket carries messages
#
# Proof.   A proof is HMAC-SHA256 under a key that both sides have, of: the side ("client" or "server", so that neither
#          can be played back to its author), the protocol version, the cluster's id, the trust class, the credential,
#          the connection's kind, both processes and lives, both nonces. Nothing that was said can be changed on
#          the way without breaking a proof.
# Keys.    secret: derived from the cluster's secret, one key for each trust class, so that a reader cannot pass for a
#          member. token: derived from a token, which is spent by the first proof that holds. user: the kernel
#          vouches for the peer's user id (unix sockets); the key is no secret, and the proof only checks that
#          both mean the same.
# Order.   Each frame once, in this order; anything else is refused. A frame has at most 4 KiB.
# Retry.   None on the same connection: a refused or broken one is closed, and a new one has new nonces.
# Loss.    A connection that breaks, or takes longer than 3 s, leaves nothing behind, except a token that was spent.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/rpc/schema/common.capnp";
$Cxx.namespace("manta::rpc::schema");

enum TrustClass {
  member @0;                   # driver, node, worker: all run code
  reader @1;                   # status and metrics
}

enum Credential {
  secret @0;
  token @1;
  user @2;
}

enum ConnectionKind {
  control @0;                  # heartbeats and what must not wait behind anything large
  calls @1;
  data @2;                     # ObjectPulled may be large here
}

struct ClientHello {
  protocolVersion @0 :UInt32;
  clusterId @1 :Text;
  trust @2 :TrustClass;
  credential @3 :Credential;
  tokenId @4 :UInt64;          # of a token: which
  connection @5 :ConnectionKind;
  process @6 :Common.ProcessId;  # none: it has no id yet
  life @7 :UInt64;
  server @8 :Common.ProcessId;   # whom it means to talk to; none: whoever listens there
  serverLife @9 :UInt64;         # which life of it; 0: any
  nonce @10 :Data;             # 32 bytes, never used before
}

struct ServerHello {
  process @0 :Common.ProcessId;
  life @1 :UInt64;
  nonce @2 :Data;
}

struct ClientProof {
  mac @0 :Data;
}

struct ServerProof {
  mac @0 :Data;
}

struct Refusal {
  # The last frame of a connection that comes to nothing. `message` says what to do about it.
  reason @0 :Reason;
  message @1 :Text;

  enum Reason {
    malformed @0;
    outOfOrder @1;
    otherVersion @2;
    otherCluster @3;
    wrongSecret @4;            # a proof does not hold
    wrongToken @5;             # unknown, expired, or for another process
    replayed @6;               # a nonce or a token that was used before
    staleIncarnation @7;       # the server is not, or the client no longer, the life that was named
    notAllowed @8;             # this credential or trust class is not taken here
    busy @9;                   # too many connections
    timeout @10;
  }
}

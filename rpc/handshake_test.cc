#include "rpc/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"

namespace manta::rpc {
namespace {

using base::Rng;
using testing::HasSubstr;
using Reason = Refusal::Reason;

const Time kNow = TimeFromNanos(5'000'000'000);
constexpr ProcessId kNode{3, 0};
constexpr ProcessId kWorker{3, 7};
const Bits256 kSecret = Sha256("the cluster's secret");
const Bits256 kToken = Sha256("a worker's token");

// Nonces that a test can repeat.
NonceSource CountedNonces(uint64_t seed) {
  auto rng = std::make_shared<Rng>(seed);
  return [rng] {
    Bits256 nonce;
    for (uint8_t& byte : nonce) byte = static_cast<uint8_t>(rng->Next());
    return nonce;
  };
}

class HandshakeTest : public testing::Test {
 protected:
  HandshakeTest() {
    client_.cluster_id = server_.cluster_id = "cluster-1";
    client_.key = ClassKey(kSecret, TrustClass::kMember);
    client_.self = kWorker;
    client_.self_life = 11;
    client_.nonces = CountedNonces(1);
    server_.cluster_secret = kSecret;
    server_.self = kNode;
    server_.self_life = 22;
    server_.tokens = &tokens_;
    server_.client_nonces = &nonces_;
    server_.nonces = CountedNonces(2);
  }

  // Lets the two sides talk until nothing is left to say.
  void Talk() {
    client = std::make_unique<ClientHandshake>(client_);
    server = std::make_unique<ServerHandshake>(server_, user_matches_);
    client_status = server_status = absl::OkStatus();
    std::vector<HandshakeMessage> to_server;
    std::vector<HandshakeMessage> to_client;
    client->Start(&to_server);
    while (!to_server.empty() || !to_client.empty()) {
      for (const HandshakeMessage& message : std::exchange(to_server, {})) {
        said.push_back(message);
        Keep(server->Receive(kNow, message, &to_client), &server_status);
      }
      for (const HandshakeMessage& message : std::exchange(to_client, {})) {
        said.push_back(message);
        Keep(client->Receive(kNow, message, &to_server), &client_status);
      }
    }
  }
  static void Keep(const absl::Status& status, absl::Status* first) {
    if (first->ok()) *first = status;
  }
  void ExpectBothDone() {
    EXPECT_TRUE(client->done()) << client_status;
    EXPECT_TRUE(server->done()) << server_status;
  }
  // The server refuses, and the client hears why.
  void ExpectRefused(absl::StatusCode code, const std::string& text) {
    EXPECT_FALSE(client->done());
    EXPECT_FALSE(server->done());
    EXPECT_EQ(server_status.code(), code) << server_status;
    EXPECT_THAT(base::Message(server_status), HasSubstr(text));
    EXPECT_EQ(client_status.code(), code) << client_status;
    EXPECT_THAT(base::Message(client_status), HasSubstr(text));
  }

  ClientHandshake::Options client_;
  ServerHandshake::Options server_;
  bool user_matches_ = false;
  TokenBook tokens_;
  NonceMemory nonces_;

  std::unique_ptr<ClientHandshake> client;
  std::unique_ptr<ServerHandshake> server;
  absl::Status client_status;
  absl::Status server_status;
  std::vector<HandshakeMessage> said;
};

TEST_F(HandshakeTest, TwoMembersComeToKnowEachOther) {
  client_.connection = ConnectionKind::kData;
  Talk();
  ExpectBothDone();
  EXPECT_EQ(server->peer(),
            (PeerIdentity{kWorker, 11, TrustClass::kMember, Credential::kSecret, 0, ConnectionKind::kData}));
  EXPECT_EQ(client->peer(),
            (PeerIdentity{kNode, 22, TrustClass::kMember, Credential::kSecret, 0, ConnectionKind::kData}));
  EXPECT_EQ(said.size(), 4u);
}

TEST_F(HandshakeTest, AReaderIsKnownAsOne) {
  client_.trust = TrustClass::kReader;
  client_.key = ClassKey(kSecret, TrustClass::kReader);
  Talk();
  ExpectBothDone();
  EXPECT_EQ(server->peer().trust, TrustClass::kReader);
}

TEST_F(HandshakeTest, AReadersKeyDoesNotMakeAMember) {
  client_.key = ClassKey(kSecret, TrustClass::kReader);
  Talk();
  ExpectRefused(absl::StatusCode::kUnauthenticated, "wrong secret");
}

TEST_F(HandshakeTest, RefusesAnotherSecret) {
  client_.key = ClassKey(Sha256("guess"), TrustClass::kMember);
  Talk();
  ExpectRefused(absl::StatusCode::kUnauthenticated, "another cluster's secret");
}

TEST_F(HandshakeTest, RefusesAnotherVersion) {
  client_.protocol_version = kProtocolVersion + 1;
  Talk();
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "other version");
  EXPECT_THAT(base::Message(client_status), HasSubstr("the client 2"));
}

TEST_F(HandshakeTest, RefusesAnotherCluster) {
  client_.cluster_id = "cluster-2";
  Talk();
  ExpectRefused(absl::StatusCode::kFailedPrecondition, "this is not cluster cluster-2");
}

TEST_F(HandshakeTest, TheClientRefusesAServerWithoutTheSecret) {
  Talk();
  const auto hello = std::get<ServerHello>(said[1]);
  ClientHandshake lonely(client_);
  std::vector<HandshakeMessage> out;
  lonely.Start(&out);
  ASSERT_TRUE(lonely.Receive(kNow, hello, &out).ok());
  const absl::Status status = lonely.Receive(kNow, ServerProof{Sha256("guess")}, &out);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_FALSE(lonely.done());
}

// A proof cannot be sent back to its author: it is bound to a direction.
TEST_F(HandshakeTest, TheClientRefusesItsOwnProof) {
  ClientHandshake lonely(client_);
  std::vector<HandshakeMessage> out;
  lonely.Start(&out);
  ASSERT_TRUE(lonely.Receive(kNow, ServerHello{kNode, 22, Sha256("nonce")}, &out).ok());
  const Bits256 own = std::get<ClientProof>(out.back()).mac;
  EXPECT_EQ(lonely.Receive(kNow, ServerProof{own}, &out).code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(HandshakeTest, TheClientRefusesItsOwnNonce) {
  ClientHandshake lonely(client_);
  std::vector<HandshakeMessage> out;
  lonely.Start(&out);
  const Bits256 own = std::get<ClientHello>(out[0]).nonce;
  const absl::Status status = lonely.Receive(kNow, ServerHello{kNode, 22, own}, &out);
  EXPECT_THAT(base::Message(status), HasSubstr("replayed"));
}

TEST_F(HandshakeTest, ASpawnedWorkersTokenLetsItInOnce) {
  ASSERT_TRUE(tokens_.Add(kNow, kToken, {.process = kWorker}).ok());
  client_.credential = Credential::kToken;
  client_.key = kToken;
  Talk();
  ExpectBothDone();
  EXPECT_EQ(server->peer().token_id, TokenId(kToken));
  Talk();
  ExpectRefused(absl::StatusCode::kUnauthenticated, "the token was used before");
}

TEST_F(HandshakeTest, OfTwoThatHaveOneTokenOneGetsIn) {
  ASSERT_TRUE(tokens_.Add(kNow, kToken, {.process = kWorker}).ok());
  client_.credential = Credential::kToken;
  client_.key = kToken;
  ClientHandshake first(client_);
  ClientHandshake second(client_);
  ServerHandshake first_server(server_, false);
  ServerHandshake second_server(server_, false);
  const auto prove = [](ClientHandshake* client, ServerHandshake* server) {
    std::vector<HandshakeMessage> to_server;
    std::vector<HandshakeMessage> to_client;
    client->Start(&to_server);
    EXPECT_TRUE(server->Receive(kNow, to_server[0], &to_client).ok());
    EXPECT_TRUE(client->Receive(kNow, to_client[0], &to_server).ok());
    return to_server[1];
  };
  const HandshakeMessage proof = prove(&first, &first_server);
  const HandshakeMessage other = prove(&second, &second_server);
  std::vector<HandshakeMessage> out;
  EXPECT_TRUE(first_server.Receive(kNow, proof, &out).ok());
  EXPECT_THAT(base::Message(second_server.Receive(kNow, other, &out)), HasSubstr("replayed"));
  EXPECT_FALSE(second_server.done());
}

TEST_F(HandshakeTest, AFailedProofSpendsNoToken) {
  ASSERT_TRUE(tokens_.Add(kNow, kToken, {}).ok());
  client_.credential = Credential::kToken;
  client_.key = kToken;
  ServerHandshake attacked(server_, false);
  ClientHandshake honest(client_);
  std::vector<HandshakeMessage> to_server;
  std::vector<HandshakeMessage> to_client;
  honest.Start(&to_server);
  ASSERT_TRUE(attacked.Receive(kNow, to_server[0], &to_client).ok());
  EXPECT_THAT(base::Message(attacked.Receive(kNow, ClientProof{}, &to_client)), HasSubstr("wrong token"));
  Talk();
  ExpectBothDone();
}

TEST_F(HandshakeTest, RefusesTokensThatAreUnknownOrAnotherProcesss) {
  client_.credential = Credential::kToken;
  client_.key = kToken;
  Talk();
  ExpectRefused(absl::StatusCode::kUnauthenticated, "unknown token");
  ASSERT_TRUE(tokens_.Add(kNow, kToken, {.process = {3, 8}}).ok());
  Talk();
  ExpectRefused(absl::StatusCode::kUnauthenticated, "for another process");
}

TEST_F(HandshakeTest, TakesNoTokenWhereNoneIsTaken) {
  server_.tokens = nullptr;
  client_.credential = Credential::kToken;
  Talk();
  ExpectRefused(absl::StatusCode::kPermissionDenied, "not allowed");
}

TEST_F(HandshakeTest, TheKernelsWordIsEnoughWhereItIsTaken) {
  server_.take_user = true;
  user_matches_ = true;
  client_.credential = Credential::kUser;
  client_.self = {};
  Talk();
  ExpectBothDone();
  EXPECT_EQ(server->peer().process, ProcessId());
  EXPECT_EQ(server->peer().credential, Credential::kUser);
}

TEST_F(HandshakeTest, RefusesAnotherUser) {
  server_.take_user = true;
  client_.credential = Credential::kUser;
  Talk();
  ExpectRefused(absl::StatusCode::kPermissionDenied, "another user");
}

TEST_F(HandshakeTest, TakesNoUserOverTcp) {
  user_matches_ = true;
  client_.credential = Credential::kUser;
  Talk();
  ExpectRefused(absl::StatusCode::kPermissionDenied, "wants a secret");
}

TEST_F(HandshakeTest, RefusesAHelloThatIsPlayedBack) {
  Talk();
  ServerHandshake again(server_, false);
  std::vector<HandshakeMessage> out;
  EXPECT_THAT(base::Message(again.Receive(kNow, said[0], &out)), HasSubstr("replayed"));
}

// Even a server that has forgotten the nonce refuses, for its own is new.
TEST_F(HandshakeTest, RefusesAProofThatIsPlayedBack) {
  Talk();
  server_.client_nonces = nullptr;
  ServerHandshake again(server_, false);
  std::vector<HandshakeMessage> out;
  ASSERT_TRUE(again.Receive(kNow, said[0], &out).ok());
  EXPECT_THAT(base::Message(again.Receive(kNow, said[2], &out)), HasSubstr("wrong secret"));
  EXPECT_FALSE(again.done());
}

TEST_F(HandshakeTest, RefusesToBeTakenForAnotherLife) {
  client_.server = kNode;
  client_.server_life = 21;
  Talk();
  ExpectRefused(absl::StatusCode::kAborted, "stale incarnation");
  client_.server_life = 22;
  client_.server = {4, 0};
  Talk();
  ExpectRefused(absl::StatusCode::kAborted, "this is n3");
  client_.server = kNode;
  Talk();
  ExpectBothDone();
}

TEST_F(HandshakeTest, TheClientRefusesAnotherLifeOfTheServer) {
  client_.server = kNode;
  client_.server_life = 22;
  ClientHandshake lonely(client_);
  std::vector<HandshakeMessage> out;
  lonely.Start(&out);
  EXPECT_EQ(lonely.Receive(kNow, ServerHello{kNode, 23, Sha256("n")}, &out).code(), absl::StatusCode::kAborted);
}

TEST_F(HandshakeTest, RefusesAClientThatIsKnownToBeStale) {
  server_.admit = [](const PeerIdentity& claim) {
    return claim.life < 12 ? absl::AbortedError("n3.p7 lives as 12 already") : absl::OkStatus();
  };
  Talk();
  ExpectRefused(absl::StatusCode::kAborted, "lives as 12 already");
  client_.self_life = 12;
  Talk();
  ExpectBothDone();
}

TEST_F(HandshakeTest, AProcessWithoutAnIdSendsWhoWantsSomebodyAway) {
  server_.self = {};
  server_.self_known = false;
  client_.server = kNode;
  Talk();
  ExpectRefused(absl::StatusCode::kResourceExhausted, "come again");
  client_.server = {};
  Talk();
  ExpectBothDone();
}

TEST_F(HandshakeTest, RefusesEveryMessageOutOfItsTurn) {
  Talk();
  const std::vector<HandshakeMessage> script = said;
  // To the server: each message first, each after the hello, each when done.
  for (const HandshakeMessage& message : script) {
    for (size_t before = 0; before <= 2; ++before) {
      nonces_ = NonceMemory();
      server_.nonces = CountedNonces(2);
      client_.nonces = CountedNonces(1);
      Talk();  // gives fresh nonces the same values, so that the script's proofs hold
      nonces_ = NonceMemory();
      server_.nonces = CountedNonces(2);
      ServerHandshake server(server_, false);
      std::vector<HandshakeMessage> out;
      if (before >= 1) {
        ASSERT_TRUE(server.Receive(kNow, script[0], &out).ok());
      }
      if (before >= 2) {
        ASSERT_TRUE(server.Receive(kNow, script[2], &out).ok());
      }
      const bool in_turn = (before == 0 && message.index() == 0) || (before == 1 && message.index() == 2);
      const absl::Status status = server.Receive(kNow, message, &out);
      EXPECT_EQ(status.ok(), in_turn) << message.index() << " after " << before << ": " << status;
      if (!in_turn) {
        EXPECT_THAT(base::Message(status), HasSubstr("out of order"));
        EXPECT_EQ(server.state(), Handshake::State::kFailed);
        EXPECT_FALSE(server.Receive(kNow, script[0], &out).ok());
      }
    }
  }
}

TEST_F(HandshakeTest, TheClientRefusesEveryMessageOutOfItsTurn) {
  Talk();
  const std::vector<HandshakeMessage> script = said;
  for (const HandshakeMessage& message : script) {
    for (size_t before = 0; before <= 2; ++before) {
      client_.nonces = CountedNonces(1);
      ClientHandshake client(client_);
      std::vector<HandshakeMessage> out;
      client.Start(&out);
      if (before >= 1) {
        ASSERT_TRUE(client.Receive(kNow, script[1], &out).ok());
      }
      if (before >= 2) {
        ASSERT_TRUE(client.Receive(kNow, script[3], &out).ok());
      }
      const bool in_turn = (before == 0 && message.index() == 1) || (before == 1 && message.index() == 3);
      EXPECT_EQ(client.Receive(kNow, message, &out).ok(), in_turn) << message.index() << " after " << before;
    }
  }
}

// Whoever changes anything that is said, in either direction, prevents it from succeeding.
TEST_F(HandshakeTest, NothingThatIsSaidCanBeChangedOnTheWay) {
  const auto changed = [](HandshakeMessage message, Rng* rng) {
    if (auto* hello = std::get_if<ClientHello>(&message)) {
      switch (rng->Uniform(8)) {
        case 0:
          hello->trust = TrustClass::kReader;
          break;
        case 1:
          hello->credential = Credential::kUser;
          break;
        case 2:
          hello->token_id ^= 1;
          break;
        case 3:
          hello->connection = ConnectionKind::kData;
          break;
        case 4:
          hello->process.number ^= 1;
          break;
        case 5:
          hello->life ^= 1;
          break;
        case 6:
          hello->server = kNode;
          break;
        default:
          hello->nonce[rng->Uniform(32)] ^= static_cast<uint8_t>(1 + rng->Uniform(255));
          break;
      }
    } else if (auto* answer = std::get_if<ServerHello>(&message)) {
      switch (rng->Uniform(3)) {
        case 0:
          answer->process.node ^= 1;
          break;
        case 1:
          answer->life ^= 1;
          break;
        default:
          answer->nonce[rng->Uniform(32)] ^= static_cast<uint8_t>(1 + rng->Uniform(255));
          break;
      }
    } else if (auto* proof = std::get_if<ClientProof>(&message)) {
      proof->mac[rng->Uniform(32)] ^= static_cast<uint8_t>(1 + rng->Uniform(255));
    } else if (auto* reply = std::get_if<ServerProof>(&message)) {
      reply->mac[rng->Uniform(32)] ^= static_cast<uint8_t>(1 + rng->Uniform(255));
    }
    return message;
  };
  server_.take_user = true;
  user_matches_ = true;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const size_t victim = rng.Uniform(4);
    ClientHandshake a(client_);
    ServerHandshake b(server_, user_matches_);
    std::deque<HandshakeMessage> wire;
    std::vector<HandshakeMessage> out;
    a.Start(&out);
    absl::Status status;
    for (size_t i = 0; i < 4 && status.ok(); ++i) {
      ASSERT_EQ(out.size(), 1u);
      HandshakeMessage message = out[0];
      if (i == victim) message = changed(message, &rng);
      out.clear();
      status = i % 2 == 0 ? b.Receive(kNow, message, &out) : a.Receive(kNow, message, &out);
    }
    ASSERT_FALSE(status.ok());
    ASSERT_FALSE(a.done());
    ASSERT_EQ(b.done(), victim == 3);  // its last word may be lost: then the client knows nothing, and closes
  }
}

TEST_F(HandshakeTest, MessagesComeBackAsTheyWere) {
  Talk();
  said.push_back(Refusal{Reason::kStaleIncarnation, "old"});
  FrameBuffer out;
  for (const HandshakeMessage& message : said) {
    EncodeHandshake(message, &out);
    EXPECT_EQ(out.type(), TypeOf(message));
    EXPECT_LE(out.size(), 4u << 10);
    const auto back = DecodeHandshake(out.type(), out.data(), out.size(), out.capnp_bytes());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == message);
    // Each truncation, and random bits.
    for (size_t size = 0; size < out.size(); size += 8) {
      std::vector<uint64_t> cut(size / 8 + 1);
      std::memcpy(cut.data(), out.data(), size);
      EXPECT_FALSE(DecodeHandshake(out.type(), cut.data(), size, std::min(size, out.capnp_bytes())).ok());
    }
    Rng rng(1);
    for (int i = 0; i < 2000; ++i) {
      std::vector<uint64_t> flipped(out.size() / 8);
      std::memcpy(flipped.data(), out.data(), out.size());
      flipped[rng.Uniform(flipped.size())] ^= uint64_t{1} << rng.Uniform(64);
      (void)DecodeHandshake(out.type(), flipped.data(), out.size(), out.capnp_bytes());
    }
  }
  EXPECT_FALSE(
      DecodeHandshake(kHandshakeTypeMin + kHandshakeTypeCount, out.data(), out.size(), out.capnp_bytes()).ok());
  EXPECT_FALSE(DecodeHandshake(0, out.data(), out.size(), out.capnp_bytes()).ok());
}

TEST(NonceMemory, ForgetsTheOldestWhenFull) {
  NonceMemory memory;
  const auto nonce = [](size_t i) { return Sha256(std::to_string(i)); };
  for (size_t i = 0; i <= NonceMemory::kNoncesMax; ++i) EXPECT_TRUE(memory.Insert(nonce(i)));
  EXPECT_FALSE(memory.Insert(nonce(NonceMemory::kNoncesMax)));
  EXPECT_TRUE(memory.Insert(nonce(0)));
}

}  // namespace
}  // namespace manta::rpc

#include "rpc/socket_channel.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <set>
#include <thread>

#include "base/random.h"
#include "base/status.h"
#include "rpc/random_message.h"
#include "rpc/socket_address.h"
#include "rpc/socket_test_support.h"

namespace manta::rpc {
namespace {

using base::Rng;
using base::UniqueFd;
using testing::HasSubstr;

// A descriptor that tells its number.
UniqueFd Numbered(int number) {
  UniqueFd fd(memfd_create("numbered", MFD_CLOEXEC));
  MANTA_CHECK(pwrite(fd.get(), &number, sizeof(number), 0) == sizeof(number));
  return fd;
}
int NumberOf(const UniqueFd& fd) {
  int number = -1;
  MANTA_CHECK(pread(fd.get(), &number, sizeof(number), 0) == sizeof(number));
  return number;
}

// Takes a connection over at the moment when it has proved itself.
class Taker : public Recorder {
 public:
  explicit Taker(std::optional<SocketChannel::Released>* into) : into_(into) {}
  void OnAuthenticated(SocketChannel& channel, const PeerIdentity& who) override {
    peer = who;
    absl::StatusOr<SocketChannel::Released> released = channel.Release();
    ASSERT_TRUE(released.ok()) << released.status();
    *into_ = *std::move(released);
  }

 private:
  std::optional<SocketChannel::Released>* const into_;
};

class SocketChannelTest : public testing::Test {
 protected:
  // Two channels over a socket pair; both prove themselves.
  void Connect() {
    auto [a, b] = *base::SocketPair();
    server = SocketChannel::Server(&loop, std::move(b), server_handshake, true, options, &at_server);
    client = SocketChannel::Client(&loop, std::move(a), client_handshake, options, &at_client);
  }
  void ConnectAndProve() {
    Connect();
    ASSERT_TRUE(Until([&] { return client->authenticated() && server->authenticated(); }));
  }
  // One channel, and a raw client that has proved itself to it.
  std::unique_ptr<RawClient> ConnectRaw() {
    auto [a, b] = *base::SocketPair();
    server = SocketChannel::Server(&loop, std::move(b), server_handshake, true, options, &at_server);
    return std::make_unique<RawClient>(&loop, std::move(a));
  }
  bool Until(const std::function<bool()>& done) { return RunUntil(&loop, done); }

  base::UvEventLoop loop;
  SocketChannel::Options options;
  ClientHandshake::Options client_handshake = TestClient();
  ServerHandshake::Options server_handshake = TestServer();
  Recorder at_client;
  Recorder at_server;
  std::unique_ptr<SocketChannel> client;
  std::unique_ptr<SocketChannel> server;
};

TEST_F(SocketChannelTest, BothSidesLearnWhoTheOtherIs) {
  ConnectAndProve();
  EXPECT_EQ(client->peer(), kTestNode);
  EXPECT_EQ(server->peer(), kTestWorker);
  ASSERT_TRUE(at_server.peer);
  EXPECT_EQ(at_server.peer->process, kTestWorker);
}

TEST_F(SocketChannelTest, WhatWasSentBeforeTheHandshakeArrivesAfterIt) {
  Connect();
  for (uint64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(client->Send(JobEnd{i}).ok());
    EXPECT_TRUE(server->Send(JobEnd{i + 100}).ok());
  }
  EXPECT_GT(client->queued_bytes(), 0u);
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 10 && at_client.messages.size() == 10; }));
  for (uint64_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(at_server.messages[i] == Message(JobEnd{i}));
    EXPECT_TRUE(at_client.messages[i] == Message(JobEnd{i + 100}));
  }
  EXPECT_EQ(client->queued_bytes(), 0u);
}

TEST_F(SocketChannelTest, CarriesAnyMessagesBothWaysInOrder) {
  ConnectAndProve();
  Rng rng(7);
  std::vector<Message> there;
  std::vector<Message> back;
  for (int i = 0; i < 3000; ++i) {
    there.push_back(RandomMessage(&rng));
    back.push_back(RandomMessage(&rng));
    ASSERT_TRUE(client->Send(there.back()).ok());
    ASSERT_TRUE(server->Send(back.back()).ok());
    if (rng.Bernoulli(0.05)) loop.RunOnce();
  }
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 3000 && at_client.messages.size() == 3000; }));
  EXPECT_TRUE(at_server.messages == there);
  EXPECT_TRUE(at_client.messages == back);
  EXPECT_FALSE(at_server.closed);
}

TEST_F(SocketChannelTest, CarriesLargeObjectsOverDataConnectionsOnly) {
  ObjectPulled pulled;
  pulled.data = Bytes(std::string(32 << 20, 'x'));
  ConnectAndProve();
  const absl::Status refused = client->Send(pulled);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(base::Message(refused), HasSubstr("ObjectPulled of 335"));
  client_handshake.connection = ConnectionKind::kData;
  Connect();
  EXPECT_TRUE(client->Send(pulled).ok());
  EXPECT_TRUE(client->Send(JobEnd{1}).ok());
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 2; }));
  EXPECT_TRUE(at_server.messages[0] == Message(pulled));
}

TEST_F(SocketChannelTest, DeliversEachDescriptorWithItsOwnMessage) {
  // Small buffers, so that frames are sent and received in pieces.
  auto [a, b] = *base::SocketPair();
  const int small = 4096;
  for (const UniqueFd* fd : {&a, &b}) {
    ASSERT_EQ(setsockopt(fd->get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
  }
  server = SocketChannel::Server(&loop, std::move(b), server_handshake, true, options, &at_server);
  client = SocketChannel::Client(&loop, std::move(a), client_handshake, options, &at_client);
  Rng rng(3);
  int next = 0;
  std::vector<std::vector<int>> sent;
  std::vector<uint64_t> sizes;
  const size_t before = OpenDescriptors();
  for (uint64_t i = 0; i < 400; ++i) {
    Output output;
    output.dropped_bytes = i;
    output.text = Bytes(std::string(rng.Uniform(rng.Bernoulli(0.2) ? 60'000 : 200), 't'));
    sizes.push_back(output.text.size());
    sent.emplace_back();
    if (rng.Bernoulli(0.5)) {
      ASSERT_TRUE(client->Send(output).ok());
    } else {
      std::vector<UniqueFd> fds;
      for (uint64_t left = rng.Uniform(kFrameDescriptorsMax + 1); left > 0; --left) {
        sent.back().push_back(next);
        fds.push_back(Numbered(next++));
      }
      ASSERT_TRUE(client->SendDescriptors(output, std::move(fds)).ok());
    }
    if (rng.Bernoulli(0.1)) loop.RunOnce();
    if (i % 50 == 49) {
      ASSERT_TRUE(Until([&] { return at_server.messages.size() == i + 1; }));
    }
  }
  for (uint64_t i = 0; i < 400; ++i) {
    const auto& output = std::get<Output>(at_server.messages[i]);
    ASSERT_EQ(output.dropped_bytes, i);
    ASSERT_EQ(output.text.size(), sizes[i]);
    std::vector<int> got;
    for (const UniqueFd& fd : at_server.descriptors[i]) {
      EXPECT_NE(fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
      got.push_back(NumberOf(fd));
    }
    ASSERT_EQ(got, sent[i]) << i;
  }
  at_server.descriptors.clear();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(SocketChannelTest, SendsNoMoreThanEightDescriptors) {
  ConnectAndProve();
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 9; ++i) fds.push_back(Numbered(i));
  EXPECT_EQ(client->SendDescriptors(SegmentMap{}, std::move(fds)).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SocketChannelTest, ClosesDescriptorsThatNoFrameDeclares) {
  const auto raw = ConnectRaw();
  raw->Handshake(client_handshake);
  const size_t before = OpenDescriptors();
  const std::string frame = RawClient::MessageFrame(JobEnd{1});
  const UniqueFd fd = Numbered(1);
  const int fds[] = {fd.get()};
  ASSERT_TRUE(base::SendWithFds(raw->fd(), frame, fds).ok());
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 1; }));
  EXPECT_TRUE(at_server.descriptors[0].empty());
  EXPECT_FALSE(at_server.closed);
  EXPECT_EQ(OpenDescriptors(), before + 1);
}

TEST_F(SocketChannelTest, ClosesWhenDeclaredDescriptorsAreMissing) {
  const auto raw = ConnectRaw();
  raw->Handshake(client_handshake);
  raw->Write(RawClient::MessageFrame(SegmentMap{1}, 1));
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(at_server.messages.empty());
}

TEST_F(SocketChannelTest, ClosesWhenFewerOrMoreDescriptorsComeThanDeclared) {
  for (const uint8_t declared : {1, 3}) {
    at_server.closed.reset();
    const auto raw = ConnectRaw();
    raw->Handshake(client_handshake);
    const size_t before = OpenDescriptors();
    const UniqueFd fd = Numbered(1);
    const int fds[] = {fd.get(), fd.get()};
    ASSERT_TRUE(base::SendWithFds(raw->fd(), RawClient::MessageFrame(SegmentMap{1}, declared), fds).ok());
    ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
    EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kInvalidArgument);
    EXPECT_LE(OpenDescriptors(), before + 1);
  }
}

TEST_F(SocketChannelTest, KeepsNoPileOfDescriptorsForAFrameThatNeverEnds) {
  const auto raw = ConnectRaw();
  raw->Handshake(client_handshake);
  const std::string frame = RawClient::MessageFrame(SegmentMap{1}, 8);
  const UniqueFd fd = Numbered(1);
  const int fds[] = {fd.get()};
  for (size_t i = 0; i + 1 < frame.size() && !at_server.closed; ++i) {
    (void)base::SendWithFds(raw->fd(), {frame.data() + i, 1}, fds);
    loop.RunOnce();
  }
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_THAT(base::Message(*at_server.closed), HasSubstr("twice for one frame"));
}

TEST_F(SocketChannelTest, ASilentStrangerIsTurnedAwayInTime) {
  options.handshake_timeout = std::chrono::milliseconds(50);
  const auto raw = ConnectRaw();
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kDeadlineExceeded);
  // It is told why.
  EXPECT_THAT(raw->Read(), HasSubstr("the handshake took too long"));
}

TEST_F(SocketChannelTest, ASilentServerIsGivenUpInTime) {
  options.handshake_timeout = std::chrono::milliseconds(50);
  auto [a, b] = *base::SocketPair();
  client = SocketChannel::Client(&loop, std::move(a), client_handshake, options, &at_client);
  ASSERT_TRUE(Until([&] { return at_client.closed.has_value(); }));
  EXPECT_EQ(at_client.closed->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(SocketChannelTest, TheClientHearsWhyItIsRefused) {
  client_handshake.key = Sha256("wrong");
  Connect();
  ASSERT_TRUE(Until([&] { return at_client.closed && at_server.closed; }));
  EXPECT_EQ(at_client.closed->code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(base::Message(*at_client.closed), HasSubstr("another cluster's secret"));
  EXPECT_FALSE(at_client.peer);
  EXPECT_FALSE(at_server.peer);
}

TEST_F(SocketChannelTest, AMessageBeforeTheHandshakeClosesAndIsNotDelivered) {
  const auto raw = ConnectRaw();
  raw->Write(RawClient::MessageFrame(JobEnd{1}));
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(at_server.messages.empty());
}

TEST_F(SocketChannelTest, AReaderMaySendNothingYet) {
  client_handshake.trust = TrustClass::kReader;
  client_handshake.key = ClassKey(kTestSecret, TrustClass::kReader);
  ConnectAndProve();
  EXPECT_TRUE(client->Send(JobEnd{1}).ok());
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(at_server.messages.empty());
}

TEST_F(SocketChannelTest, ABadBodyClosesTheChannel) {
  const auto raw = ConnectRaw();
  raw->Handshake(client_handshake);
  std::string frame = RawClient::MessageFrame(ActorLookup{{}, 1, "ns", "\xFF\xFF"});
  raw->Write(frame);
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(base::Message(*at_server.closed), HasSubstr("ActorLookup: a name is not UTF-8"));
}

TEST_F(SocketChannelTest, ThePeersLastMessagesComeBeforeTheNewsThatItIsGone) {
  ConnectAndProve();
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(client->Send(JobEnd{i}).ok());
  client->Close();
  EXPECT_FALSE(at_client.closed);
  // The server writes into the broken socket meanwhile.
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(server->Send(JobEnd{i}).ok());
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(at_server.messages.size(), 100u);
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(server->Send(JobEnd{1}).ok());  // dropped
  EXPECT_EQ(server->queued_bytes(), 0u);
}

TEST_F(SocketChannelTest, APeerThatDoesNotReadCannotFillOurMemory) {
  options.queued_bytes_max = 1 << 20;
  const auto raw = ConnectRaw();
  raw->Handshake(client_handshake);
  Output output;
  output.text = Bytes(std::string(50'000, 'x'));
  for (int i = 0; i < 1000 && !at_server.closed; ++i) {
    ASSERT_TRUE(server->Send(output).ok());
    ASSERT_LE(server->queued_bytes(), options.queued_bytes_max);
    loop.RunOnce();
  }
  ASSERT_TRUE(at_server.closed.has_value());
  EXPECT_EQ(at_server.closed->code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SocketChannelTest, MayBeDestroyedInsideItsHandler) {
  ConnectAndProve();
  at_server.on_message = [&](Channel&) { server.reset(); };
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(client->Send(JobEnd{i}).ok());
  ASSERT_TRUE(Until([&] { return at_client.closed.has_value(); }));
  EXPECT_EQ(at_server.messages.size(), 1u);
  EXPECT_FALSE(at_server.closed);

  Recorder at_second;
  at_server = Recorder();
  at_client = Recorder();
  ConnectAndProve();
  at_server.on_closed = [&] { server.reset(); };
  client.reset();
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_EQ(server, nullptr);
}

TEST_F(SocketChannelTest, DeliversNothingAfterClose) {
  ConnectAndProve();
  at_server.on_message = [](Channel& channel) { channel.Close(); };
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(client->Send(JobEnd{i}).ok());
  ASSERT_TRUE(Until([&] { return at_client.closed.has_value(); }));
  EXPECT_EQ(at_server.messages.size(), 1u);
  EXPECT_FALSE(at_server.closed);
}

TEST_F(SocketChannelTest, AnyThreadMaySend) {
  constexpr int kThreads = 3;
  constexpr uint64_t kEach = 2000;
  ConnectAndProve();
  std::atomic<uint64_t> received{0};
  at_server.on_message = [&](Channel&) {
    if (++received == kThreads * kEach) loop.Stop();
  };
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < kEach; ++i) MANTA_CHECK_OK(client->Send(Heartbeat{t, i}));
    });
  }
  const base::TimerId guard = loop.RunAfter(std::chrono::seconds(20), [&] { loop.Stop(); });
  loop.Run();
  loop.CancelTimer(guard);
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(received, kThreads * kEach);
  uint64_t next[kThreads] = {};
  for (const Message& message : at_server.messages) {
    const auto& beat = std::get<Heartbeat>(message);
    ASSERT_EQ(beat.number, next[beat.node]++);
  }
}

TEST_F(SocketChannelTest, CarriesASessionsNumbers) {
  struct PacketRecorder : Recorder {
    void OnPacket(SocketChannel&, uint64_t seq, uint64_t ack, std::optional<Message> message) override {
      packets.emplace_back(seq, ack, message.has_value());
    }
    std::vector<std::tuple<uint64_t, uint64_t, bool>> packets;
  } at;
  ConnectAndProve();
  server->set_handler(&at);
  const Message message = JobEnd{5};
  EXPECT_TRUE(client->SendPacket(1, 0, &message).ok());
  EXPECT_TRUE(client->SendPacket(0, 9, nullptr).ok());
  ASSERT_TRUE(Until([&] { return at.packets.size() == 2; }));
  EXPECT_EQ(at.packets[0], std::make_tuple(1u, 0u, true));
  EXPECT_EQ(at.packets[1], std::make_tuple(0u, 9u, false));
}

TEST_F(SocketChannelTest, ConnectsOverTcp) {
  const UniqueFd listener = *ListenOn("127.0.0.1:0");
  const std::string address = *LocalAddress(listener.get());
  client = SocketChannel::Client(&loop, *ConnectTo(address), client_handshake, options, &at_client);
  absl::StatusOr<UniqueFd> accepted = absl::UnavailableError("");
  ASSERT_TRUE(Until([&] {
    accepted = base::AcceptUnix(listener.get());
    return accepted.ok();
  }));
  server = SocketChannel::Server(&loop, *std::move(accepted), server_handshake, false, options, &at_server);
  EXPECT_TRUE(client->Send(JobEnd{1}).ok());
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 1; }));
  EXPECT_FALSE(client->SendDescriptors(SegmentMap{}, {}).ok());
}

TEST_F(SocketChannelTest, SaysThatNobodyListens) {
  UniqueFd listener = *ListenOn("127.0.0.1:0");
  const std::string address = *LocalAddress(listener.get());
  listener.reset();
  client = SocketChannel::Client(&loop, *ConnectTo(address), client_handshake, options, &at_client);
  ASSERT_TRUE(Until([&] { return at_client.closed.has_value(); }));
  EXPECT_EQ(at_client.closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(base::Message(*at_client.closed), HasSubstr("nobody listens"));
}

TEST(SocketAddress, KnowsItsForms) {
  EXPECT_TRUE(IsUnixAddress("/tmp/x"));
  EXPECT_TRUE(IsUnixAddress("unix:x"));
  EXPECT_FALSE(IsUnixAddress("127.0.0.1:1"));
  for (const char* bad : {"", "x", ":1", "host:", "127.0.0.1:port", "256.0.0.1:1", "name.invalid:1"}) {
    EXPECT_FALSE(ConnectTo(bad).ok()) << bad;
  }
  EXPECT_EQ(*Resolve("localhost:80"), "127.0.0.1:80");
  for (const char* local : {"/tmp/x", "127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* reachable : {"0.0.0.0:1", "10.0.0.1:1", "[::]:1", "example.com:1", "x"}) {
    EXPECT_FALSE(IsLocalAddress(reachable)) << reachable;
  }
}

// ---------------------------------------------------------------- handing over

TEST_F(SocketChannelTest, AProvedConnectionIsHandedOverWithWhatThePeerHasWritten) {
  std::optional<SocketChannel::Released> released;
  Taker taker(&released);
  auto [a, b] = *base::SocketPair();
  server = SocketChannel::Server(&loop, std::move(b), server_handshake, true, options, &taker);
  client = SocketChannel::Client(&loop, std::move(a), client_handshake, options, &at_client);
  ASSERT_TRUE(Until([&] { return client->authenticated(); }));
  ASSERT_TRUE(released);
  EXPECT_FALSE(taker.closed);
  ASSERT_TRUE(client->Send(Heartbeat{1, 7}).ok());
  // As if it had been read together with the handshake's end.
  char early[1024];
  ssize_t size = 0;
  ASSERT_TRUE(Until([&] { return (size = recv(released->socket.get(), early, sizeof(early), MSG_DONTWAIT)) > 0; }));
  released->early.append(early, static_cast<size_t>(size));
  const auto adopted =
      SocketChannel::Adopt(&loop, std::move(released->socket), released->early, *taker.peer, options, &at_server);
  ASSERT_TRUE(client->Send(Heartbeat{1, 8}).ok());
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 2; }));
  EXPECT_EQ(std::get<Heartbeat>(at_server.messages[0]).number, 7u);
  EXPECT_EQ(std::get<Heartbeat>(at_server.messages[1]).number, 8u);
  ASSERT_TRUE(adopted->Send(Heartbeat{1, 9}).ok());
  ASSERT_TRUE(Until([&] { return at_client.messages.size() == 1; }));
}

TEST_F(SocketChannelTest, JunkBehindTheHandshakeEndsTheAdoptedConnection) {
  std::optional<SocketChannel::Released> released;
  Taker taker(&released);
  auto [a, b] = *base::SocketPair();
  server = SocketChannel::Server(&loop, std::move(b), server_handshake, true, options, &taker);
  client = SocketChannel::Client(&loop, std::move(a), client_handshake, options, &at_client);
  ASSERT_TRUE(Until([&] { return client->authenticated(); }));
  const auto adopted = SocketChannel::Adopt(&loop, std::move(released->socket), std::string(20'000, 'x'), *taker.peer,
                                            options, &at_server);
  ASSERT_TRUE(Until([&] { return at_server.closed.has_value(); }));
  EXPECT_TRUE(absl::IsInvalidArgument(*at_server.closed)) << *at_server.closed;
}

TEST_F(SocketChannelTest, AServerAnswersForOthersItKnows) {
  server_handshake.answers_for = [](ProcessId process) { return process == ProcessId{3, 9}; };
  client_handshake.server = {3, 9};
  ConnectAndProve();
  EXPECT_EQ(at_server.peer->server, (ProcessId{3, 9}));
  client_handshake.server = {3, 10};
  at_client = {};
  Connect();
  ASSERT_TRUE(Until([&] { return at_client.closed.has_value(); }));
  EXPECT_TRUE(absl::IsAborted(*at_client.closed)) << *at_client.closed;
}

}  // namespace
}  // namespace manta::rpc

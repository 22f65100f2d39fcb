#include "rpc/listener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <map>

#include "base/status.h"
#include "rpc/socket_address.h"
#include "rpc/socket_test_support.h"

namespace manta::rpc {
namespace {

using testing::HasSubstr;

class ListenerTest : public testing::TestWithParam<bool> {
 protected:
  ListenerTest() {
    options.handshake = TestServer();
    if (GetParam()) {
      path = testing::TempDir() + "manta_listener_" + std::to_string(getpid());
      address = path;
    } else {
      address = "127.0.0.1:0";
    }
  }
  ~ListenerTest() override {
    if (!path.empty()) unlink(path.c_str());
  }

  void Listen() {
    auto made = Listener::Listen(&loop, address, options,
                                 [this](std::unique_ptr<SocketChannel> channel, const PeerIdentity& peer) {
                                   channel->set_handler(&at_server);
                                   peers.push_back(peer);
                                   channels.push_back(std::move(channel));
                                 });
    ASSERT_TRUE(made.ok()) << made.status();
    listener = *std::move(made);
  }
  std::unique_ptr<SocketChannel> Connect(Recorder* handler) {
    return SocketChannel::Client(&loop, *ConnectTo(listener->address()), TestClient(), {}, handler);
  }
  // A client of ours is served.
  void ExpectServed() {
    Recorder handler;
    const size_t before = at_server.messages.size();
    const auto client = Connect(&handler);
    EXPECT_TRUE(client->Send(JobEnd{42}).ok());
    EXPECT_TRUE(Until([&] { return at_server.messages.size() > before || handler.closed; }));
    EXPECT_FALSE(handler.closed) << *handler.closed;
    EXPECT_EQ(at_server.messages.size(), before + 1);
  }
  bool Until(const std::function<bool()>& done) { return RunUntil(&loop, done); }

  struct ServerRecorder : Recorder {
    void OnClosed(Channel&, const absl::Status&) override { ++closes; }
    int closes = 0;
  };

  base::UvEventLoop loop;
  std::string path;
  std::string address;
  Listener::Options options;
  ServerRecorder at_server;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<SocketChannel>> channels;
  std::vector<PeerIdentity> peers;
};
INSTANTIATE_TEST_SUITE_P(Sockets, ListenerTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "unix" : "tcp"; });

TEST_P(ListenerTest, HandsOverWhoProvesItself) {
  Listen();
  for (int i = 0; i < 5; ++i) ExpectServed();
  ASSERT_EQ(peers.size(), 5u);
  EXPECT_EQ(peers[0].process, kTestWorker);
  EXPECT_EQ(listener->accepted(), 5u);
  EXPECT_EQ(listener->unauthenticated(), 0u);
}

TEST_P(ListenerTest, TurnsAwayWhoDoesNot) {
  Listen();
  Recorder handler;
  ClientHandshake::Options wrong = TestClient();
  wrong.key = Sha256("wrong");
  const auto client = SocketChannel::Client(&loop, *ConnectTo(listener->address()), wrong, {}, &handler);
  ASSERT_TRUE(Until([&] { return handler.closed.has_value(); }));
  EXPECT_EQ(handler.closed->code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(listener->refused(), 1u);
  EXPECT_TRUE(channels.empty());
  ExpectServed();
}

TEST_P(ListenerTest, TakesTheKernelsWordOverUnixSocketsOnly) {
  Listen();
  Recorder handler;
  ClientHandshake::Options user = TestClient();
  user.credential = Credential::kUser;
  const auto client = SocketChannel::Client(&loop, *ConnectTo(listener->address()), user, {}, &handler);
  ASSERT_TRUE(Until([&] { return handler.closed || handler.peer; }));
  EXPECT_EQ(handler.peer.has_value(), GetParam());
}

TEST_P(ListenerTest, SilentStrangersDoNotKeepOthersOut) {
  options.unauthenticated_max = 8;
  Listen();
  std::vector<base::UniqueFd> silent;
  for (int i = 0; i < 40; ++i) {
    silent.push_back(*ConnectTo(listener->address()));
    loop.RunOnce();
    EXPECT_LE(listener->unauthenticated(), 8u);
  }
  ExpectServed();
  EXPECT_LE(listener->unauthenticated(), 8u);
}

TEST_P(ListenerTest, SilentStrangersAreTurnedAwayInTime) {
  options.channel.handshake_timeout = std::chrono::milliseconds(60);
  Listen();
  RawClient silent(&loop, *ConnectTo(listener->address()));
  ASSERT_TRUE(Until([&] { return listener->refused() == 1; }));
  EXPECT_EQ(listener->unauthenticated(), 0u);
}

TEST_P(ListenerTest, ShedsConnectionsWithoutDescriptorsAndRecovers) {
  options.pause_without_descriptors = std::chrono::milliseconds(10);
  Listen();
  ExpectServed();
  ASSERT_TRUE(Until([&] { return at_server.closes == 1; }));  // or its descriptor would come free later
  // Connect first: then every descriptor left is taken.
  RawClient shed(&loop, *ConnectTo(listener->address()));
  std::vector<base::UniqueFd> all;
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 128;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  while (true) {
    base::UniqueFd fd(dup(shed.fd()));
    if (!fd) break;
    all.push_back(std::move(fd));
  }
  EXPECT_TRUE(shed.EndsWithin(std::chrono::seconds(5)));
  EXPECT_EQ(listener->shed(), 1u);
  all.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ExpectServed();
}

TEST_P(ListenerTest, MayBeDestroyedInsideItsFunction) {
  auto made =
      Listener::Listen(&loop, address, options, [this](std::unique_ptr<SocketChannel> channel, const PeerIdentity&) {
        channel->set_handler(&at_server);
        channels.push_back(std::move(channel));
        listener.reset();
      });
  ASSERT_TRUE(made.ok());
  listener = *std::move(made);
  Recorder handler;
  const auto client = Connect(&handler);
  ASSERT_TRUE(client->Send(JobEnd{1}).ok());
  ASSERT_TRUE(Until([&] { return at_server.messages.size() == 1; }));
  EXPECT_EQ(listener, nullptr);
}

TEST_P(ListenerTest, TheReceiverMayDropTheChannelAtOnce) {
  auto made = Listener::Listen(&loop, address, options, [](std::unique_ptr<SocketChannel>, const PeerIdentity&) {});
  ASSERT_TRUE(made.ok());
  listener = *std::move(made);
  Recorder handler;
  const auto client = Connect(&handler);
  ASSERT_TRUE(client->Send(JobEnd{1}).ok());
  ASSERT_TRUE(Until([&] { return handler.closed.has_value(); }));
}

TEST(Listener, SaysWhenSomebodyElseListensThere) {
  base::UvEventLoop loop;
  Listener::Options options;
  options.handshake = TestServer();
  const auto first = Listener::Listen(&loop, "127.0.0.1:0", options, nullptr);
  ASSERT_TRUE(first.ok());
  const auto second = Listener::Listen(&loop, (*first)->address(), options, nullptr);
  EXPECT_FALSE(second.ok());
  EXPECT_THAT(base::Message(second.status()), HasSubstr((*first)->address()));
}

}  // namespace
}  // namespace manta::rpc

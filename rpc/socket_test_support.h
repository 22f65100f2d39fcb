// What the tests of sockets share: a loop that runs until something is true, handlers that remember, and a raw client
// that speaks the protocol by hand, so that it can also break it.
#ifndef MANTA_RPC_SOCKET_TEST_SUPPORT_H_
#define MANTA_RPC_SOCKET_TEST_SUPPORT_H_

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/socket.h"
#include "base/uv_event_loop.h"
#include "rpc/codec.h"
#include "rpc/frame.h"
#include "rpc/handshake.h"
#include "rpc/socket_channel.h"

namespace manta::rpc {

inline const Bits256 kTestSecret = Sha256("test secret");
inline constexpr ProcessId kTestNode{3, 0};
inline constexpr ProcessId kTestWorker{3, 7};

inline ClientHandshake::Options TestClient() {
  ClientHandshake::Options options;
  options.cluster_id = "test cluster";
  options.key = ClassKey(kTestSecret, TrustClass::kMember);
  options.self = kTestWorker;
  return options;
}

inline ServerHandshake::Options TestServer() {
  ServerHandshake::Options options;
  options.cluster_id = "test cluster";
  options.cluster_secret = kTestSecret;
  options.self = kTestNode;
  options.take_user = true;
  return options;
}

// Turns `loop` until `done`, for at most 10 s.
inline bool RunUntil(base::EventLoop* loop, const std::function<bool()>& done) {
  const auto start = std::chrono::steady_clock::now();
  while (!done()) {
    if (std::chrono::steady_clock::now() - start > std::chrono::seconds(10)) return false;
    loop->RunOnce();
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return true;
}

inline size_t OpenDescriptors() {
  DIR* directory = opendir("/proc/self/fd");
  MANTA_CHECK(directory != nullptr);
  size_t count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

// Remembers what it is told.
class Recorder : public SocketChannel::Handler {
 public:
  void OnAuthenticated(SocketChannel&, const PeerIdentity& who) override { peer = who; }
  void OnMessage(Channel& channel, Message message) override {
    messages.push_back(std::move(message));
    descriptors.emplace_back();
    if (on_message) on_message(channel);
  }
  void OnMessageWithDescriptors(SocketChannel&, Message message, std::vector<base::UniqueFd> fds) override {
    messages.push_back(std::move(message));
    descriptors.push_back(std::move(fds));
  }
  void OnClosed(Channel&, const absl::Status& why) override {
    EXPECT_FALSE(closed) << "closed twice";
    closed = why;
    if (on_closed) on_closed();
  }

  std::optional<PeerIdentity> peer;
  std::vector<Message> messages;
  std::vector<std::vector<base::UniqueFd>> descriptors;  // of each message
  std::optional<absl::Status> closed;
  std::function<void(Channel&)> on_message;
  std::function<void()> on_closed;
};

// A client on a blocking socket, driven by hand.
class RawClient {
 public:
  RawClient(base::EventLoop* loop, base::UniqueFd socket) : loop_(loop), socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  void Close() { socket_.reset(); }

  // Sends all of `bytes`; false if the peer has closed.
  bool Write(std::string_view bytes) {
    while (!bytes.empty()) {
      const absl::StatusOr<size_t> sent = base::SendWithFds(socket_.get(), {bytes.data(), bytes.size()}, {});
      if (sent.ok()) {
        bytes.remove_prefix(*sent);
      } else if (!absl::IsUnavailable(sent.status()) || Ended()) {
        return false;
      }
      loop_->RunOnce();
    }
    return true;
  }

  // Whether the server closes this connection within `within`.
  bool EndsWithin(Duration within) {
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < within) {
      loop_->RunOnce();
      if (Ended()) return true;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    return false;
  }

  // Proves itself.
  void Handshake(const ClientHandshake::Options& options) {
    ClientHandshake handshake(options);
    std::vector<HandshakeMessage> out;
    handshake.Start(&out);
    FrameParser parser(FrameLimits::Unauthenticated());
    while (!handshake.done()) {
      for (const HandshakeMessage& message : std::exchange(out, {})) ASSERT_TRUE(Write(HandshakeFrame(message)));
      const std::string bytes = Read();
      ASSERT_FALSE(bytes.empty()) << "closed during the handshake";
      const absl::Status status = parser.Feed({bytes.data(), bytes.size()}, [&](const Frame& frame) {
        const auto message =
            DecodeHandshake(frame.header.type, frame.body, frame.header.body_bytes, frame.header.capnp_bytes);
        if (!message.ok()) return message.status();
        return handshake.Receive(loop_->Now(), *message, &out);
      });
      ASSERT_TRUE(status.ok() || handshake.done()) << status;  // what comes behind it is another protocol's
    }
  }

  // The next bytes; empty: closed.
  std::string Read() {
    char buffer[4096];
    while (true) {
      loop_->RunOnce();
      const absl::StatusOr<base::Received> received = base::RecvWithFds(socket_.get(), buffer);
      if (received.ok()) return std::string(buffer, received->size);
      if (!absl::IsUnavailable(received.status())) return {};
    }
  }

  static std::string HandshakeFrame(const HandshakeMessage& message) {
    FrameBuffer body;
    EncodeHandshake(message, &body);
    return FrameOf(body, 0);
  }
  static std::string MessageFrame(const Message& message, uint8_t descriptors = 0) {
    FrameBuffer body;
    Encode(message, &body);
    return FrameOf(body, descriptors);
  }
  static std::string FrameOf(const FrameBuffer& body, uint8_t descriptors) {
    FrameHeader header;
    header.type = body.type();
    header.descriptors = descriptors;
    header.capnp_bytes = static_cast<uint32_t>(body.capnp_bytes());
    header.body_bytes = static_cast<uint32_t>(body.size());
    std::string frame(kFrameHeaderBytes, '\0');
    EncodeFrameHeader(header, frame.data());
    return frame.append(body.body());
  }

 private:
  bool Ended() {
    char buffer[4096];
    const absl::StatusOr<base::Received> received = base::RecvWithFds(socket_.get(), buffer);
    if (received.ok()) return received->size == 0;
    return !absl::IsUnavailable(received.status());
  }

  base::EventLoop* const loop_;
  base::UniqueFd socket_;
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_SOCKET_TEST_SUPPORT_H_

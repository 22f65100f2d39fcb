// The bad-bytes corpus against everything in rpc/ that reads bytes of a peer.
#include "tests/corpus/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/uv_event_loop.h"
#include "rpc/allocation_count.h"
#include "rpc/codec.h"
#include "rpc/frame.h"
#include "rpc/handshake.h"
#include "rpc/listener.h"
#include "rpc/random_message.h"
#include "rpc/socket_address.h"
#include "rpc/socket_test_support.h"

namespace manta::tests {
namespace {

using base::Rng;
using rpc::kMessageTypeCount;
using rpc::Message;
using rpc::RawClient;

constexpr size_t kGrowthBytesMax = 16 << 20;

// Decodes a copy of exactly the right size, on which a sanitizer sees every byte read beyond it.
absl::Status DecodeStatus(uint16_t type, const std::string& bytes, size_t capnp_bytes) {
  std::unique_ptr<void, decltype(&std::free)> copy(std::malloc(std::max<size_t>(bytes.size(), 1)), &std::free);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  const size_t before = rpc::LiveBytes();
  rpc::ResetPeakBytes();
  const absl::Status status = type >= rpc::kHandshakeTypeMin
                                  ? rpc::DecodeHandshake(type, copy.get(), bytes.size(), capnp_bytes).status()
                                  : rpc::Decode(type, copy.get(), bytes.size(), capnp_bytes).status();
  EXPECT_LE(rpc::PeakBytes() - before, rpc::kDecodedBytesPerByte * bytes.size() + rpc::kDecodedBytesBase)
      << type << " of " << bytes.size() << " bytes";
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }
  return status;
}

TEST(Corpus, EveryDecoderSurvivesEveryBody) {
  for (const BadBody& body : BadBodies()) {
    SCOPED_TRACE(body.name);
    for (uint16_t type = 0; type < kMessageTypeCount; ++type) {
      const absl::Status status = DecodeStatus(type, body.bytes, body.capnp_bytes);
      if (body.refused && (body.every_type || type == body.type)) {
        EXPECT_FALSE(status.ok()) << rpc::MessageName(type);
      }
      // The lengths of the frame may lie as well.
      for (const size_t capnp_bytes : {size_t{0}, size_t{8}, body.bytes.size() / 16 * 8, body.bytes.size(),
                                       body.bytes.size() + 8, size_t{0xFFFFFFF8}}) {
        (void)DecodeStatus(type, body.bytes, capnp_bytes);
      }
    }
    for (uint16_t i = 0; i < rpc::kHandshakeTypeCount; ++i) {
      (void)DecodeStatus(static_cast<uint16_t>(rpc::kHandshakeTypeMin + i), body.bytes, body.capnp_bytes);
    }
  }
}

TEST(Corpus, EveryDecoderSurvivesTenThousandMutants) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    const BadBody mutant = Mutant(seed);
    SCOPED_TRACE(mutant.name);
    if (!mutant.bytes.empty()) (void)DecodeStatus(mutant.type, mutant.bytes, mutant.capnp_bytes);
    if (HasFailure()) return;
  }
}

TEST(Corpus, TheFrameParserStaysSmallWhateverItIsFed) {
  std::vector<std::string> inputs;
  for (const BadStream& stream : BadStreams()) inputs.push_back(stream.bytes);
  for (const BadBody& body : BadBodies()) inputs.push_back(Framed(body.type, body));
  for (const rpc::FrameLimits limits :
       {rpc::FrameLimits::Unauthenticated(), rpc::FrameLimits::Control(), rpc::FrameLimits::Data()}) {
    for (const std::string& input : inputs) {
      for (const size_t piece : {size_t{1}, size_t{39}, input.size() + 1}) {
        if (piece == 1 && input.size() > 10'000) continue;
        rpc::FrameParser parser(limits);
        absl::Status status;
        for (size_t at = 0; at < input.size() && status.ok(); at += piece) {
          status = parser.Feed({input.data() + at, std::min(piece, input.size() - at)},
                               [](const rpc::Frame&) { return absl::OkStatus(); });
          ASSERT_LE(parser.capacity_bytes(), (1u << 20) + rpc::kFrameHeaderBytes);
        }
      }
    }
  }
}

// ---------------------------------------------------------------- a listener

class CorpusAtListener : public testing::Test {
 protected:
  CorpusAtListener() {
    path_ = testing::TempDir() + "manta_corpus_" + std::to_string(getpid());
    rpc::Listener::Options options;
    options.handshake = rpc::TestServer();
    options.handshake.take_user = false;
    options.channel.handshake_timeout = std::chrono::milliseconds(300);
    auto made = rpc::Listener::Listen(&loop_, path_, options,
                                      [this](std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity&) {
                                        channel->set_handler(&handler_);
                                        channel_ = std::move(channel);
                                      });
    MANTA_CHECK_OK(made.status());
    listener_ = *std::move(made);
    ExpectServed();
    descriptors_ = rpc::OpenDescriptors();
    bytes_ = rpc::LiveBytes();
    rpc::ResetPeakBytes();
  }
  ~CorpusAtListener() override {
    channel_.reset();
    listener_.reset();
    unlink(path_.c_str());
  }

  std::unique_ptr<RawClient> Connect() { return std::make_unique<RawClient>(&loop_, *rpc::ConnectTo(path_)); }

  // A client of ours comes, says something, and is heard.
  void ExpectServed() {
    handler_.messages.clear();
    const auto client = Connect();
    ASSERT_NO_FATAL_FAILURE(client->Handshake(rpc::TestClient()));
    ASSERT_TRUE(client->Write(RawClient::MessageFrame(rpc::JobEnd{42})));
    ASSERT_TRUE(rpc::RunUntil(&loop_, [this] { return !handler_.messages.empty(); }));
    EXPECT_TRUE(handler_.messages[0] == Message(rpc::JobEnd{42}));
    channel_.reset();
    handler_.messages.clear();
  }
  void ExpectNothingLeft() {
    ASSERT_NO_FATAL_FAILURE(ExpectServed());
    EXPECT_EQ(listener_->unauthenticated(), 0u);
    EXPECT_EQ(rpc::OpenDescriptors(), descriptors_);
    EXPECT_LE(rpc::PeakBytes(), bytes_ + kGrowthBytesMax);
    EXPECT_LE(rpc::LiveBytes(), bytes_ + (1 << 20));
  }

  struct Handler : rpc::SocketChannel::Handler {
    void OnMessage(rpc::Channel&, Message message) override { messages.push_back(std::move(message)); }
    void OnClosed(rpc::Channel&, const absl::Status& why) override { closed = why; }
    std::vector<Message> messages;
    std::optional<absl::Status> closed;
  };

  base::UvEventLoop loop_;
  std::string path_;
  Handler handler_;
  std::unique_ptr<rpc::SocketChannel> channel_;
  std::unique_ptr<rpc::Listener> listener_;
  size_t descriptors_ = 0;
  size_t bytes_ = 0;
};

TEST_F(CorpusAtListener, ClosesEachStrangerAndServesItsOwn) {
  for (const BadStream& stream : BadStreams()) {
    SCOPED_TRACE(stream.name);
    const auto client = Connect();
    (void)client->Write(stream.bytes);
    // Whoever stops in the middle is gone; whoever stays is turned away below.
    shutdown(client->fd(), SHUT_WR);
    ASSERT_TRUE(client->EndsWithin(std::chrono::seconds(3)));
    ASSERT_EQ(channel_, nullptr) << "let in";
  }
  ASSERT_TRUE(rpc::RunUntil(&loop_, [this] { return listener_->unauthenticated() == 0; }));
  ExpectNothingLeft();
}

TEST_F(CorpusAtListener, ClosesStrangersThatStopAndWait) {
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<BadStream> streams = BadStreams();
  for (size_t i = 0; i < streams.size(); i += 9) {
    clients.push_back(Connect());
    (void)clients.back()->Write(streams[i].bytes);
  }
  for (const auto& client : clients) ASSERT_TRUE(client->EndsWithin(std::chrono::seconds(3)));
  clients.clear();
  streams = {};
  ASSERT_TRUE(rpc::RunUntil(&loop_, [this] { return listener_->unauthenticated() == 0; }));
  ExpectNothingLeft();
}

TEST_F(CorpusAtListener, ClosesMembersThatSendBadBodies) {
  for (const BadBody& body : BadBodies()) {
    SCOPED_TRACE(body.name);
    Rng rng(body.bytes.size());
    // To its own type, and to some that it was not made for.
    for (int i = 0; i < 3; ++i) {
      const bool own = i == 0 && !body.every_type;
      const auto type = own ? body.type : static_cast<uint16_t>(rng.Uniform(kMessageTypeCount));
      handler_ = Handler();
      const auto client = Connect();
      ASSERT_NO_FATAL_FAILURE(client->Handshake(rpc::TestClient()));
      (void)client->Write(Framed(type, body));
      ASSERT_TRUE(rpc::RunUntil(&loop_, [this] { return handler_.closed || !handler_.messages.empty(); }));
      if (body.refused && (own || body.every_type)) {
        ASSERT_TRUE(handler_.closed.has_value());
        EXPECT_EQ(handler_.closed->code(), absl::StatusCode::kInvalidArgument);
        EXPECT_TRUE(client->EndsWithin(std::chrono::seconds(3)));
      }
      channel_.reset();
    }
  }
  ExpectNothingLeft();
}

}  // namespace
}  // namespace manta::tests

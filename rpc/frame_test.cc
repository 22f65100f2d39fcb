#include "rpc/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "rpc/codec.h"

namespace manta::rpc {
namespace {

using base::Rng;
using testing::HasSubstr;

std::string FrameOf(FrameHeader header, const std::string& body) {
  header.body_bytes = static_cast<uint32_t>(body.size());
  std::string frame(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(header, frame.data());
  return frame + body;
}

FrameHeader AnyHeader() {
  FrameHeader header;
  header.type = 7;
  header.descriptors = 3;
  header.capnp_bytes = 16;
  header.body_bytes = 48;
  header.seq = 0x0123456789ABCDEF;
  header.ack = 0xFEDCBA9876543210;
  return header;
}

TEST(Frame, HeaderComesBackAsItWas) {
  char bytes[kFrameHeaderBytes];
  EncodeFrameHeader(AnyHeader(), bytes);
  const auto header = DecodeFrameHeader(bytes);
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(*header, AnyHeader());
}

TEST(Frame, NoticesEveryFlippedBitOfItsHeader) {
  for (size_t bit = 0; bit < kFrameHeaderBytes * 8; ++bit) {
    char bytes[kFrameHeaderBytes];
    EncodeFrameHeader(AnyHeader(), bytes);
    bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    EXPECT_FALSE(DecodeFrameHeader(bytes).ok()) << bit;
  }
}

TEST(Frame, RefusesImpossibleLengthsWithAGoodChecksum) {
  const auto refuses = [](auto&& change) {
    FrameHeader header = AnyHeader();
    change(&header);
    char bytes[kFrameHeaderBytes];
    EncodeFrameHeader(header, bytes);
    return !DecodeFrameHeader(bytes).ok();
  };
  EXPECT_FALSE(refuses([](FrameHeader*) {}));
  EXPECT_TRUE(refuses([](FrameHeader* h) { h->capnp_bytes = 56; }));
  EXPECT_TRUE(refuses([](FrameHeader* h) { h->capnp_bytes = 12; }));
  EXPECT_TRUE(refuses([](FrameHeader* h) { h->body_bytes = 47; }));
  EXPECT_TRUE(refuses([](FrameHeader* h) { h->descriptors = 9; }));
}

struct Parsed {
  std::vector<FrameHeader> headers;
  std::vector<std::string> bodies;
  absl::Status status;
};

// Feeds `stream` in pieces of random sizes.
Parsed Parse(FrameParser* parser, const std::string& stream, Rng* rng, size_t piece_bytes_max) {
  Parsed parsed;
  for (size_t at = 0; at < stream.size() && parsed.status.ok();) {
    const size_t size = std::min<size_t>(stream.size() - at, 1 + rng->Uniform(piece_bytes_max));
    parsed.status = parser->Feed({stream.data() + at, size}, [&](const Frame& frame) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(frame.body) % 8, 0u);
      EXPECT_EQ(frame.end - frame.begin, kFrameHeaderBytes + frame.header.body_bytes);
      parsed.headers.push_back(frame.header);
      parsed.bodies.emplace_back(frame.body, frame.header.body_bytes);
      return absl::OkStatus();
    });
    at += size;
  }
  return parsed;
}

TEST(FrameParser, FindsTheSameFramesHoweverTheStreamIsCut) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    std::string stream;
    std::vector<std::string> bodies;
    for (int i = 0; i < 30; ++i) {
      bodies.emplace_back(8 * rng.Uniform(rng.Bernoulli(0.1) ? 40'000 : 30), static_cast<char>('a' + i % 26));
      FrameHeader header;
      header.type = static_cast<uint16_t>(rng.Uniform(50));
      header.seq = static_cast<uint64_t>(i);
      stream += FrameOf(header, bodies.back());
    }
    FrameParser parser(FrameLimits::Control());
    const Parsed parsed = Parse(&parser, stream, &rng, seed % 3 == 0 ? 7 : 100'000);
    ASSERT_TRUE(parsed.status.ok()) << parsed.status;
    ASSERT_EQ(parsed.bodies, bodies);
    ASSERT_EQ(parser.buffered_bytes(), 0u);
    ASSERT_EQ(parser.stream_bytes(), stream.size());
  }
}

absl::Status FeedStatus(FrameParser* parser, const std::string& bytes) {
  return parser->Feed({bytes.data(), bytes.size()}, [](const Frame&) { return absl::OkStatus(); });
}

TEST(FrameParser, TellsJunkByItsFirstBytes) {
  FrameParser parser(FrameLimits::Control());
  EXPECT_EQ(FeedStatus(&parser, "GE").code(), absl::StatusCode::kInvalidArgument);
  FrameParser other(FrameLimits::Control());
  EXPECT_TRUE(FeedStatus(&other, "MNT").ok());
  EXPECT_FALSE(FeedStatus(&other, "x").ok());
}

TEST(FrameParser, StaysBrokenAfterAnError) {
  FrameParser parser(FrameLimits::Control());
  EXPECT_FALSE(FeedStatus(&parser, "junk").ok());
  EXPECT_FALSE(FeedStatus(&parser, FrameOf({}, "")).ok());
}

TEST(FrameParser, ChecksALengthBeforeItTakesMemoryForIt) {
  for (const uint32_t body_bytes : {(1u << 20) + 8, 1u << 30, 0xFFFFFFF8u}) {
    FrameParser parser(FrameLimits::Control());
    FrameHeader header;
    header.type = 3;
    header.body_bytes = body_bytes;
    std::string bytes(kFrameHeaderBytes, '\0');
    EncodeFrameHeader(header, bytes.data());
    const absl::Status status = FeedStatus(&parser, bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(base::Message(status), HasSubstr("LeaseRequest"));
    EXPECT_LE(parser.capacity_bytes(), FrameParser::kBufferBytes);
  }
}

TEST(FrameParser, TakesLargeObjectsOnDataConnectionsOnly) {
  const uint16_t pulled = TypeOf(Message(ObjectPulled()));
  const std::string frame = FrameOf({.type = pulled}, std::string(8 << 20, 'x'));
  FrameParser control(FrameLimits::Control());
  EXPECT_EQ(FeedStatus(&control, frame).code(), absl::StatusCode::kResourceExhausted);
  FrameParser data(FrameLimits::Data());
  EXPECT_TRUE(FeedStatus(&data, frame).ok());
  EXPECT_GE(data.capacity_bytes(), 8u << 20);
  // And gives the memory back.
  EXPECT_TRUE(FeedStatus(&data, FrameOf({.type = 1}, std::string(64, 'y'))).ok());
  EXPECT_LE(data.capacity_bytes(), FrameParser::kBufferBytes);
  EXPECT_EQ(FeedStatus(&data, FrameOf({.type = 1}, std::string(8 << 20, 'x'))).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(FrameParser, TakesOnlyHandshakesBeforeAndNoneAfter) {
  const std::string hello = FrameOf({.type = kHandshakeTypeMin}, std::string(64, 'h'));
  const std::string call = FrameOf({.type = 0}, std::string(64, 'c'));
  FrameParser parser(FrameLimits::Unauthenticated());
  EXPECT_FALSE(FeedStatus(&parser, call).ok());

  FrameParser other(FrameLimits::Unauthenticated());
  int frames = 0;
  const std::string both = hello + call + hello;
  const absl::Status status = other.Feed({both.data(), both.size()}, [&](const Frame&) {
    ++frames;
    other.set_limits(FrameLimits::Control());
    return absl::OkStatus();
  });
  EXPECT_EQ(frames, 2);
  EXPECT_THAT(base::Message(status), HasSubstr("a handshake after the handshake"));
}

TEST(FrameParser, IsSmallUntilTheHandshakeIsOver) {
  FrameParser parser(FrameLimits::Unauthenticated());
  EXPECT_EQ(FeedStatus(&parser, FrameOf({.type = kHandshakeTypeMin}, std::string((4 << 10) + 8, 'h'))).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_LE(parser.capacity_bytes(), FrameParser::kSmallBufferBytes);
}

}  // namespace
}  // namespace manta::rpc

#include "rpc/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/random.h"
#include "base/status.h"
#include "rpc/allocation_count.h"
#include "rpc/random_message.h"
#include "rpc/utf8.h"

namespace manta::rpc {
namespace {

using base::Rng;
using testing::HasSubstr;

// Decodes a copy of exactly the right size, so that a sanitizer sees every byte read beyond it; and checks that what
// was allocated meanwhile is bounded.
absl::StatusOr<Message> DecodeCopy(uint16_t type, std::string_view body, size_t capnp_bytes) {
  std::unique_ptr<char, decltype(&std::free)> copy(static_cast<char*>(std::malloc(std::max<size_t>(body.size(), 1))),
                                                   &std::free);
  if (!body.empty()) std::memcpy(copy.get(), body.data(), body.size());
  const size_t before = LiveBytes();
  ResetPeakBytes();
  absl::StatusOr<Message> message = Decode(type, copy.get(), body.size(), capnp_bytes);
  EXPECT_LE(PeakBytes() - before, kDecodedBytesPerByte * body.size() + kDecodedBytesBase)
      << MessageName(type) << " of " << body.size() << " bytes";
  return message;
}

class CodecOfEachType : public testing::TestWithParam<int> {
 protected:
  uint16_t type() const { return static_cast<uint16_t>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Codec, CodecOfEachType, testing::Range(0, static_cast<int>(kMessageTypeCount)),
                         [](const auto& info) { return MessageName(static_cast<uint16_t>(info.param)); });

TEST_P(CodecOfEachType, GivesBackWhatItWasGiven) {
  FrameBuffer out;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const Message message = RandomMessage(type(), &rng);
    Encode(message, &out);
    ASSERT_EQ(out.type(), type());
    ASSERT_EQ(out.size() % 8, 0u);
    const absl::StatusOr<Message> back = DecodeCopy(type(), out.body(), out.capnp_bytes());
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_TRUE(*back == message);
  }
}

TEST_P(CodecOfEachType, GatheredRunsMakeTheSameBody) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    FrameBuffer whole;  // both new: where segments end depends on what a buffer held before
    FrameBuffer gathered;
    Rng rng(seed);
    const Message message = RandomMessage(type(), &rng);
    Encode(message, &whole);
    Encode(message, &gathered, 100);
    std::string body;
    gathered.ForEachRun([&](const FrameBuffer::Run& run) { body.append(run.data, run.size); });
    ASSERT_EQ(body, whole.body());
    ASSERT_EQ(gathered.size(), whole.size());
  }
}

TEST_P(CodecOfEachType, RefusesEveryTruncation) {
  FrameBuffer out;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    Rng rng(seed);
    Encode(RandomMessage(type(), &rng), &out);
    const size_t step = std::max<size_t>(1, out.size() / 2000);
    for (size_t size = 0; size < out.size(); size += step) {
      const std::string_view cut = out.body().substr(0, size);
      ASSERT_FALSE(DecodeCopy(type(), cut, std::min(size, out.capnp_bytes())).ok()) << size;
      ASSERT_FALSE(DecodeCopy(type(), cut, out.capnp_bytes()).ok()) << size;
    }
  }
}

TEST_P(CodecOfEachType, SurvivesFlippedBits) {
  FrameBuffer out;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    Encode(RandomMessage(type(), &rng), &out);
    const size_t capnp_bytes = out.capnp_bytes();
    for (int i = 0; i < 50; ++i) {
      std::string body(out.body());
      for (uint64_t flips = 1 + rng.Uniform(8); flips > 0; --flips) {
        body[rng.Uniform(std::min(body.size(), capnp_bytes + 8))] ^= static_cast<char>(1 << rng.Uniform(8));
      }
      const absl::StatusOr<Message> message = DecodeCopy(type(), body, capnp_bytes);
      ASSERT_TRUE(message.ok() || message.status().code() == absl::StatusCode::kInvalidArgument) << message.status();
    }
  }
}

TEST_P(CodecOfEachType, SurvivesAnotherTypesBody) {
  FrameBuffer out;
  Rng rng(1);
  for (uint16_t other = 0; other < kMessageTypeCount; ++other) {
    Encode(RandomMessage(other, &rng), &out);
    (void)DecodeCopy(type(), out.body(), out.capnp_bytes());
  }
}

TEST(Codec, NamesEveryType) {
  EXPECT_STREQ(MessageName(Message(CallRequest())), "CallRequest");
  EXPECT_STREQ(MessageName(Message(JobAccepted())), "JobAccepted");
  EXPECT_STREQ(MessageName(kMessageTypeCount), "unknown");
}

TEST(Codec, RefusesAnUnknownType) {
  const uint64_t body[2] = {};
  const auto message = Decode(kMessageTypeCount, body, sizeof(body), sizeof(body));
  EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(base::Message(message.status()), HasSubstr("unknown message type"));
}

absl::Status DecodeStatusOf(const Message& message) {
  FrameBuffer out;
  Encode(message, &out);
  return DecodeCopy(out.type(), out.body(), out.capnp_bytes()).status();
}

TEST(Codec, RefusesAValueThatIsStillARef) {
  CallRequest request;
  request.args.resize(1);
  request.args[0].kind = Value::Kind::kRef;
  EXPECT_THAT(base::Message(DecodeStatusOf(request)), HasSubstr("enum value is out of range"));
}

TEST(Codec, RefusesNamesThatAreNotUtf8) {
  ActorLookup lookup;
  lookup.name = "\xC3(";
  EXPECT_THAT(base::Message(DecodeStatusOf(lookup)), HasSubstr("UTF-8"));
}

TEST(Utf8, KnowsControlCharacters) {
  for (const char* text : {"\n", "a\x1b[2J", "\x7f", "x\xc2\x9b", "\t"})
    EXPECT_TRUE(HasControlCharacters(text)) << text;
  for (const char* text : {"", "node-1", "K\xc3\xb6ln", "\xc2\xa0", "\xe2\x82\xac"}) {
    EXPECT_FALSE(HasControlCharacters(text)) << text;
  }
}

TEST(Codec, LetsAnExceptionsTextBeAnything) {
  CallReply reply;
  reply.error.code = ErrorCode::kTaskError;
  reply.error.message = std::string("\xFF\x00\xFE", 3);
  EXPECT_TRUE(DecodeStatusOf(reply).ok());
}

TEST(Codec, CutsAnErrorsTextSoThatItArrives) {
  CallReply reply;
  reply.outcome = Outcome::kError;
  reply.error.code = ErrorCode::kTaskError;
  reply.error.message = std::string(10 << 20, 'x');
  reply.error.chain.assign(100'000, "f");
  FrameBuffer out;
  EncodeCallReply(reply, &out);
  EXPECT_LT(out.size(), 64u << 10);
  CallReply back;
  ASSERT_TRUE(DecodeCallReply(out.data(), out.size(), out.capnp_bytes(), &back).ok());
  EXPECT_THAT(back.error.message, HasSubstr("[...]"));
}

TEST(Codec, ListsAnAmountBelowZeroAsNone) {
  NodeReport report;
  report.info.available.Set("CPU", base::Fixed(-2));
  report.info.available.Set("GPU", base::Fixed(1));
  FrameBuffer out;
  Encode(report, &out);
  const auto back = DecodeCopy(out.type(), out.body(), out.capnp_bytes());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(std::get<NodeReport>(*back).info.available, (base::ResourceSet{{"GPU", base::Fixed(1)}}));
}

TEST(Codec, ReusesWhatItDecodesInto) {
  FrameBuffer out;
  CallRequest request;
  CallReply reply;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed);
    const Message a = RandomMessage(kCallRequestType, &rng);
    EncodeCallRequest(std::get<CallRequest>(a), &out);
    ASSERT_TRUE(DecodeCallRequest(out.data(), out.size(), out.capnp_bytes(), &request).ok());
    ASSERT_EQ(request, std::get<CallRequest>(a)) << seed;
    const Message b = RandomMessage(kCallReplyType, &rng);
    EncodeCallReply(std::get<CallReply>(b), &out);
    ASSERT_TRUE(DecodeCallReply(out.data(), out.size(), out.capnp_bytes(), &reply).ok());
    ASSERT_EQ(reply, std::get<CallReply>(b)) << seed;
  }
}

TEST(Codec, ASmallCallAllocatesNothingToEncode) {
  CallRequest request;
  request.args.resize(2);
  request.args[0].bytes = Bytes("small");
  FrameBuffer out;
  EncodeCallRequest(request, &out);
  const size_t before = LiveBytes();
  ResetPeakBytes();
  EncodeCallRequest(request, &out);
  EXPECT_EQ(PeakBytes(), before);
}

TEST(Codec, EncodesMoreThanOneSegment) {
  FrameBuffer out;
  ClusterView view;
  for (int i = 0; i < 20'000; ++i) {
    NodeInfo info;
    info.node = static_cast<NodeId>(i);
    info.name = "node " + std::to_string(i);
    view.nodes.push_back(info);
  }
  Encode(view, &out);
  EXPECT_GT(out.size(), 1u << 20);
  const auto back = DecodeCopy(out.type(), out.body(), out.capnp_bytes());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_TRUE(std::get<ClusterView>(*back) == view);
  // The buffer serves small messages again.
  Encode(NodeFenced{7}, &out);
  EXPECT_LT(out.size(), 100u);
  out.Trim();
  Encode(NodeFenced{8}, &out);
  EXPECT_TRUE(*DecodeCopy(out.type(), out.body(), out.capnp_bytes()) == Message(NodeFenced{8}));
}

TEST(Codec, TakesSixteenSegmentsAndNotSeventeen) {
  for (const size_t segments : {size_t{1}, kSegmentsMax, kSegmentsMax + 1}) {
    // The table: the number of segments less one, then the size of each; the root, which is null, is the first's word.
    std::vector<uint32_t> table((segments / 2 + 1) * 2);
    table[0] = static_cast<uint32_t>(segments - 1);
    table[1] = 1;
    std::string body(reinterpret_cast<const char*>(table.data()), table.size() * sizeof(uint32_t));
    body.append(8, '\0');
    const absl::Status status = DecodeCopy(kCallReplyType, body, body.size()).status();
    EXPECT_EQ(status.ok(), segments <= kSegmentsMax) << status;
  }
}

TEST(Codec, AGatheredPartOutlivesTheBuffersNextMessage) {
  FrameBuffer out;
  const std::string data(100'000, 'd');
  std::vector<Bytes> kept;
  {
    ObjectPulled pulled;
    pulled.data = Bytes(data);
    Encode(pulled, &out, 64 << 10);
    ASSERT_TRUE(out.is_gathered());
    out.ForEachRun([&](const FrameBuffer::Run& run) {
      if (run.bytes != nullptr) kept.push_back(*run.bytes);
    });
  }
  Encode(JobEnd{1}, &out);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].view(), data);
}

TEST(Utf8, KnowsWellFormedText) {
  for (const char* good : {"", "plain ascii text", "é", "猫", "𝛌", "12345678é", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xC3", "\xC3(", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "12345678\xFF", "\xE7\x8C"}) {
    EXPECT_FALSE(IsUtf8(bad)) << bad;
  }
}

}  // namespace
}  // namespace manta::rpc

#include "rpc/shm_channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <string>
#include <utility>

#include "base/random.h"
#include "rpc/shm_port.h"

namespace manta::rpc {
namespace {

constexpr size_t kAll = 1'000'000;

CallRequest Call(uint64_t number, size_t bytes = 8) {
  CallRequest call;
  call.call = {{1, 1}, number};
  call.function = 42;
  Value value;
  value.bytes = Bytes(std::string(bytes, static_cast<char>('a' + number % 26)));
  call.args.push_back(std::move(value));
  return call;
}

// Keeps what comes; a test looks at it.
struct Inbox : Channel::Handler {
  void OnMessage(Channel&, Message message) override { messages.push_back(std::move(message)); }
  void OnClosed(Channel&, const absl::Status& why) override {
    EXPECT_TRUE(closed.ok()) << "OnClosed came twice";
    closed = why;
  }
  std::deque<Message> messages;
  absl::Status closed;
};

// Two ports of this process with a channel between them, and a second view of its rings to do harm with.
class Pair {
 public:
  explicit Pair(const ShmPort::Options& options_b = {})
      : a_(*ShmPort::Create({}, *PollingSlot::CreateAlone(2, Duration(1)))),
        b_(*ShmPort::Create(options_b, *PollingSlot::CreateAlone(2, Duration(1)))) {
    ShmOffer offer = *a_->Offer();
    const uint32_t mark = offer.mark;
    rings_ = *base::Mapping::Map(offer.ring.get(), kRingFileBytes, base::Mapping::Access::kReadWrite);
    ShmOffer answer;
    to_a_ = *b_->Accept(std::move(offer), &inbox_b_, &answer);
    to_b_ = *a_->Connect(mark, std::move(answer), &inbox_a_);
    a_->Drain(kAll);
    b_->Drain(kAll);
  }

  // What A writes to B.
  char* ring_to_b() { return rings_.mutable_data() + 4096; }
  RingControl* control_to_b() { return reinterpret_cast<RingControl*>(rings_.mutable_data()); }
  void Forge(uint64_t word, size_t offset = 0) { std::memcpy(ring_to_b() + offset, &word, 8); }

  void DrainB() {
    b_->Drain(kAll);
    b_->RingBells();
  }
  void DrainA() {
    a_->Drain(kAll);
    a_->RingBells();
  }

  std::unique_ptr<ShmPort> a_, b_;
  Inbox inbox_a_, inbox_b_;
  ShmChannel* to_b_ = nullptr;
  ShmChannel* to_a_ = nullptr;
  base::Mapping rings_;
};

TEST(ShmChannel, MessagesOfAllSizesArriveInOrderBothWays) {
  for (const bool copy : {false, true}) {
    Pair pair({.copy_before_parse = copy});
    std::deque<CallRequest> sent;
    base::Rng rng(3);
    for (uint64_t i = 0; i < 300; ++i) {
      const size_t bytes = rng.Bernoulli(0.1) ? rng.Uniform(256 * 1024) : rng.Uniform(500);
      sent.push_back(Call(i, bytes));
      ASSERT_TRUE(pair.to_b_->Send(sent.back()).ok());
      CallReply reply;
      reply.call = sent.back().call;
      ASSERT_TRUE(pair.to_a_->Send(reply).ok());
      if (rng.Bernoulli(0.5)) pair.DrainB();
      if (rng.Bernoulli(0.5)) pair.DrainA();
    }
    for (int i = 0; i < 200; ++i) {
      pair.DrainB();
      pair.DrainA();
    }
    ASSERT_EQ(pair.inbox_b_.messages.size(), sent.size());
    for (size_t i = 0; i < sent.size(); ++i) {
      ASSERT_EQ(std::get<CallRequest>(pair.inbox_b_.messages[i]), sent[i]) << i;
      ASSERT_EQ(std::get<CallReply>(pair.inbox_a_.messages[i]).call, sent[i].call) << i;
    }
    EXPECT_EQ(pair.to_b_->queued_bytes(), 0u);
    EXPECT_FALSE(pair.b_->HasWork());
  }
}

TEST(ShmChannel, MessageAboveTheLimitIsRefusedByName) {
  Pair pair;
  EXPECT_TRUE(pair.to_b_->Send(Call(1, kShmMessageBytesMax - 1000)).ok());
  const absl::Status status = pair.to_b_->Send(Call(2, kShmMessageBytesMax));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.ToString().find("CallRequest of 1048"), std::string::npos) << status;
  EXPECT_NE(status.ToString().find(std::to_string(kShmMessageBytesMax)), std::string::npos) << status;
  for (int i = 0; i < 20; ++i) {
    pair.a_->RingBells();
    pair.DrainB();
    pair.DrainA();
  }
  ASSERT_EQ(pair.inbox_b_.messages.size(), 1u);
}

TEST(ShmChannel, FullRingQueuesAndGoesOnWhenTheReaderReads) {
  Pair pair;
  constexpr uint64_t kCalls = 5000;  // about five rings
  for (uint64_t i = 0; i < kCalls; ++i) ASSERT_TRUE(pair.to_b_->Send(Call(i, i % 300)).ok());
  EXPECT_GT(pair.to_b_->queued_bytes(), kRingBytes);
  EXPECT_EQ(pair.a_->RingBells(), PeerAttention::Rang::kIoBell);
  for (int i = 0; i < 100 && pair.inbox_b_.messages.size() < kCalls; ++i) {
    pair.DrainB();
    EXPECT_TRUE(pair.a_->HasWork() || pair.to_b_->queued_bytes() == 0) << "A sees the room without being told";
    pair.DrainA();
  }
  ASSERT_EQ(pair.inbox_b_.messages.size(), kCalls);
  for (uint64_t i = 0; i < kCalls; ++i) {
    ASSERT_EQ(std::get<CallRequest>(pair.inbox_b_.messages[i]).call.number, i);
  }
  EXPECT_EQ(pair.to_b_->queued_bytes(), 0u);
}

TEST(ShmChannel, FullRingRingsEvenWhoIsBusy) {
  Pair pair;
  EXPECT_FALSE(pair.b_->Leave(Attending::kBusy));
  ASSERT_TRUE(pair.to_b_->Send(Call(0)).ok());
  EXPECT_EQ(pair.a_->RingBells(), PeerAttention::Rang::kNothing);
  for (uint64_t i = 1; pair.to_b_->queued_bytes() == 0; ++i) ASSERT_TRUE(pair.to_b_->Send(Call(i)).ok());
  EXPECT_EQ(pair.a_->RingBells(), PeerAttention::Rang::kIoBell);
}

TEST(ShmChannel, BusyReaderIsRungForControl) {
  Pair pair;
  EXPECT_FALSE(pair.b_->Leave(Attending::kBusy));
  ASSERT_TRUE(pair.to_b_->Send(CallCancel{}).ok());
  EXPECT_EQ(pair.a_->RingBells(), PeerAttention::Rang::kIoBell);
}

TEST(ShmChannel, ClosedChannelDropsAndIsSilent) {
  Pair pair;
  ASSERT_TRUE(pair.to_b_->Send(Call(1)).ok());
  pair.a_->RingBells();
  pair.to_a_->Close();
  pair.DrainB();
  EXPECT_TRUE(pair.inbox_b_.messages.empty());
  EXPECT_TRUE(pair.inbox_b_.closed.ok());
  EXPECT_FALSE(pair.b_->HasWork());
  EXPECT_TRUE(pair.to_a_->Send(Call(2)).ok());
  EXPECT_EQ(pair.b_->RingBells(), PeerAttention::Rang::kNothing);
}

TEST(ShmChannel, HandlerMaySendCloseAndRemoveInside) {
  struct Remover : Inbox {
    void OnMessage(Channel& channel, Message message) override {
      Inbox::OnMessage(channel, std::move(message));
      ASSERT_TRUE(channel.Send(CallReply{}).ok());
      if (messages.size() == 2) port->Remove(static_cast<ShmChannel*>(&channel));
    }
    ShmPort* port = nullptr;
  };
  auto a = *ShmPort::Create({}, *PollingSlot::CreateAlone(2, Duration(1)));
  auto b = *ShmPort::Create({}, *PollingSlot::CreateAlone(2, Duration(1)));
  Inbox inbox;
  Remover remover;
  remover.port = b.get();
  const ShmPair pair = *CreateShmPair(a.get(), &inbox, b.get(), &remover);
  for (uint64_t i = 0; i < 5; ++i) ASSERT_TRUE(pair.a->Send(Call(i)).ok());
  a->RingBells();
  b->Drain(kAll);
  b->RingBells();
  EXPECT_EQ(remover.messages.size(), 2u);
  EXPECT_EQ(b->channel_count(), 0u);
  EXPECT_FALSE(b->HasWork());
  a->Drain(kAll);
  EXPECT_EQ(inbox.messages.size(), 2u) << "what was written before Close arrives";
}

// ---------------------------------------------------------------- bad bytes

void ExpectBroken(Pair& pair) {
  pair.DrainB();
  EXPECT_EQ(pair.inbox_b_.closed.code(), absl::StatusCode::kInvalidArgument) << pair.inbox_b_.closed;
  EXPECT_TRUE(pair.to_a_->closed());
  EXPECT_FALSE(pair.b_->HasWork());
}

TEST(ShmChannelBadBytes, GarbageHeaderCloses) {
  for (const bool copy : {false, true}) {
    Pair pair({.copy_before_parse = copy});
    pair.Forge(UINT64_MAX);
    ExpectBroken(pair);
  }
}

TEST(ShmChannelBadBytes, UnknownTypeCloses) {
  Pair pair;
  pair.Forge(RingHeader{.type = 9999, .body_bytes = 8, .capnp_bytes = 8}.Pack());
  ExpectBroken(pair);
}

TEST(ShmChannelBadBytes, EmptyBodyCloses) {
  Pair pair;
  pair.Forge(RingHeader{}.Pack());
  ExpectBroken(pair);
}

TEST(ShmChannelBadBytes, FragmentsThatLieClose) {
  const auto expect = [](uint32_t total, uint32_t capnp, uint32_t body_bytes) {
    Pair pair;
    const uint32_t prefix[2] = {total, capnp};
    std::memcpy(pair.ring_to_b() + 8, prefix, 8);
    pair.Forge(RingHeader{.flags = RingHeader::kFragment, .body_bytes = body_bytes}.Pack());
    ExpectBroken(pair);
  };
  expect(kShmMessageBytesMax + 8, 8, 64);  // above the limit
  expect(UINT32_MAX, 8, 64);
  expect(100, 8, 64);  // no whole words
  expect(64, 72, 64);  // more Cap'n Proto than body
  expect(32, 8, 64);   // the fragment is longer than the message
  expect(0, 0, 8);     // empty
  expect(64, 8, 0);
}

TEST(ShmChannelBadBytes, FragmentsOfTwoMessagesClose) {
  Pair pair;
  ASSERT_TRUE(pair.to_b_->Send(Call(1, 100'000)).ok());
  // The second fragment becomes one of another message.
  pair.Forge(RingHeader{.type = 7, .flags = RingHeader::kFragment, .body_bytes = kFragmentBodyBytes}.Pack(),
             8 + kFragmentBodyBytes);
  ExpectBroken(pair);
}

TEST(ShmChannelBadBytes, WholeFrameAmongFragmentsCloses) {
  Pair pair;
  ASSERT_TRUE(pair.to_b_->Send(Call(1, 100'000)).ok());
  pair.Forge(RingHeader{.type = 0, .body_bytes = kFragmentBodyBytes}.Pack(), 8 + kFragmentBodyBytes);
  ExpectBroken(pair);
}

TEST(ShmChannelBadBytes, ForgedReadersIndexClosesTheWriter) {
  Pair pair;
  for (uint64_t i = 0; pair.to_b_->queued_bytes() == 0; ++i) ASSERT_TRUE(pair.to_b_->Send(Call(i)).ok());
  pair.control_to_b()->head.store(uint64_t{1} << 60);
  pair.a_->RingBells();
  EXPECT_TRUE(pair.inbox_a_.closed.ok()) << "not inside RingBells";
  EXPECT_TRUE(pair.a_->HasWork());
  pair.DrainA();
  EXPECT_EQ(pair.inbox_a_.closed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(pair.a_->HasWork());
}

TEST(ShmChannelBadBytes, ZerosOverFramesAreFoundThoughNothingMoreComes) {
  Pair pair;
  ASSERT_TRUE(pair.to_b_->Send(Call(1)).ok());
  pair.a_->RingBells();
  pair.DrainB();
  ASSERT_TRUE(pair.to_b_->Send(Call(2)).ok());
  std::memset(pair.rings_.mutable_data(), 0, kRingFileBytes);
  EXPECT_TRUE(pair.b_->Mend());
  pair.DrainB();
  EXPECT_EQ(pair.inbox_b_.messages.size(), 1u);
  EXPECT_EQ(pair.inbox_b_.closed.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(pair.b_->Mend()) << "it is over";
}

TEST(ShmChannelBadBytes, MutatedRingsCloseOrDeliverButNeverCrash) {
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    base::Rng rng(seed);
    static Pair* pair = nullptr;  // a new one only where the last was closed: making one costs 100 us
    if (pair == nullptr || pair->to_a_->closed() || pair->to_b_->closed()) {
      delete pair;
      pair = new Pair({.copy_before_parse = seed % 2 == 0});
    }
    const uint64_t begin = pair->control_to_b()->head.load();  // where B reads next
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(pair->to_b_->Send(Call(static_cast<uint64_t>(i), rng.Uniform(200))).ok());
    }
    if (rng.Bernoulli(0.05)) {
      ASSERT_TRUE(pair->to_b_->Send(Call(9, 100'000)).ok());
    }
    for (uint64_t i = 0, n = 1 + rng.Uniform(8); i < n; ++i) {
      // Mostly where frames are, sometimes the indices.
      char* byte = rng.Bernoulli(0.1) ? pair->rings_.mutable_data() + rng.Uniform(256)
                                      : pair->ring_to_b() + (begin + rng.Uniform(2000)) % kRingBytes;
      *byte = rng.Bernoulli(0.5) ? static_cast<char>(*byte ^ 1 << rng.Uniform(8)) : static_cast<char>(rng.Next());
    }
    pair->a_->RingBells();
    pair->DrainB();
    pair->DrainA();
    pair->inbox_b_.messages.clear();
    const absl::StatusCode b = pair->inbox_b_.closed.code();
    const absl::StatusCode a = pair->inbox_a_.closed.code();
    ASSERT_TRUE(b == absl::StatusCode::kOk || b == absl::StatusCode::kInvalidArgument) << "seed " << seed;
    ASSERT_TRUE(a == absl::StatusCode::kOk || a == absl::StatusCode::kInvalidArgument) << "seed " << seed;
  }
}

// ---------------------------------------------------------------- the hand-over

class Handover : public testing::Test {
 protected:
  // What Accept says to an offer whose rings are `fd`.
  absl::StatusCode AcceptRings(int fd) {
    ShmOffer offer = *a_->Offer();
    const uint32_t mark = offer.mark;
    offer.ring.reset(fd);
    ShmOffer answer;
    const absl::StatusCode code = b_->Accept(std::move(offer), &inbox_, &answer).status().code();
    a_->Withdraw(mark);
    EXPECT_EQ(b_->channel_count(), 0u);
    return code;
  }
  std::unique_ptr<ShmPort> a_ = *ShmPort::Create({}, *PollingSlot::CreateAlone(2, Duration(1)));
  std::unique_ptr<ShmPort> b_ = *ShmPort::Create({}, *PollingSlot::CreateAlone(2, Duration(1)));
  Inbox inbox_;
};

TEST_F(Handover, UnsealedRingsAreRefused) {
  const int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(fd, kRingFileBytes), 0);
  EXPECT_EQ(AcceptRings(fd), absl::StatusCode::kInvalidArgument);
}

TEST_F(Handover, ShortRingsAreRefused) {
  EXPECT_EQ(AcceptRings(base::CreateSealedMemfd("short", kRingFileBytes - 4096)->release()),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(Handover, ShrunkRingsAreRefused) {
  const int fd = memfd_create("shrunk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(fd, kRingFileBytes), 0);
  ASSERT_EQ(ftruncate(fd, 4096), 0);
  ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_EQ(AcceptRings(fd), absl::StatusCode::kInvalidArgument);
}

TEST_F(Handover, SealedRingsCannotBeShrunkUnderUs) {
  const ShmOffer offer = *a_->Offer();
  EXPECT_NE(ftruncate(offer.ring.get(), 4096), 0);
  EXPECT_EQ(errno, EPERM);
  a_->Withdraw(offer.mark);
}

TEST_F(Handover, NoDescriptorAtAllIsRefused) { EXPECT_EQ(AcceptRings(-1), absl::StatusCode::kInvalidArgument); }

TEST_F(Handover, MarkOutOfRangeIsRefused) {
  ShmOffer offer = *a_->Offer();
  const uint32_t mark = offer.mark;
  offer.mark = AttentionPage::kMarksMax;
  ShmOffer answer;
  EXPECT_EQ(b_->Accept(std::move(offer), &inbox_, &answer).status().code(), absl::StatusCode::kInvalidArgument);
  // The other way round, too; the offer is then withdrawn.
  answer.mark = UINT32_MAX;
  answer.attention = *(*Attention::Create())->Share();
  EXPECT_EQ(a_->Connect(mark, std::move(answer), &inbox_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*a_->Offer()).mark, mark);
}

TEST_F(Handover, WhatIsSentBeforeTheAnswerArrivesIsNotLost) {
  Inbox inbox_a;
  ShmOffer offer = *a_->Offer();
  const uint32_t mark = offer.mark;
  ShmOffer answer;
  ShmChannel* to_a = *b_->Accept(std::move(offer), &inbox_, &answer);
  ASSERT_TRUE(to_a->Send(Call(1)).ok());
  b_->RingBells();
  // A looks, and has no channel yet.
  EXPECT_TRUE(a_->HasWork());
  EXPECT_EQ(a_->Drain(kAll), 0u);
  EXPECT_FALSE(a_->HasWork());
  ASSERT_TRUE(a_->Connect(mark, std::move(answer), &inbox_a).ok());
  EXPECT_TRUE(a_->HasWork());
  EXPECT_EQ(a_->Drain(kAll), 1u);
  EXPECT_EQ(inbox_a.messages.size(), 1u);
}

}  // namespace
}  // namespace manta::rpc

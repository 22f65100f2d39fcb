#include "rpc/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/random.h"

namespace manta::rpc {
namespace {

using base::Rng;
using testing::ElementsAre;

constexpr ProcessId kA{1, 2};
constexpr ProcessId kB{3, 4};
const Time kStart = TimeFromNanos(1'000'000'000);
constexpr Duration kMs = std::chrono::milliseconds(1);

Session::Options OptionsOf(ProcessId self, ProcessId peer) {
  Session::Options options;
  options.self = self;
  options.peer = peer;
  options.self_life = self.number * 10;
  options.peer_life = peer.number * 10;
  return options;
}

Message Numbered(uint64_t number) { return JobEnd{number}; }
uint64_t NumberOf(const Message& message) { return std::get<JobEnd>(message).job; }

// One side of a pair: a session and what it has said and heard.
struct Side {
  explicit Side(const Session::Options& options) : session(options) {}
  absl::Status Send(Time now, uint64_t number) { return session.Send(now, Numbered(number), &out); }
  absl::Status Receive(Time now, Packet packet) {
    std::vector<Message> delivered;
    absl::Status status = session.Receive(now, std::move(packet), &delivered, &out);
    for (const Message& message : delivered) heard.push_back(NumberOf(message));
    return status;
  }
  std::vector<Packet> TakeOut() { return std::exchange(out, {}); }

  Session session;
  std::vector<Packet> out;
  std::vector<uint64_t> heard;
};

struct Pair {
  Side a{OptionsOf(kA, kB)};
  Side b{OptionsOf(kB, kA)};
};

TEST(Session, DeliversInOrderWhenPacketsArriveReversed) {
  Pair pair;
  for (uint64_t i = 1; i <= 3; ++i) ASSERT_TRUE(pair.a.Send(kStart, i).ok());
  std::vector<Packet> packets = pair.a.TakeOut();
  ASSERT_EQ(packets.size(), 3u);
  for (size_t i = 3; i > 0; --i) ASSERT_TRUE(pair.b.Receive(kStart, packets[i - 1]).ok());
  EXPECT_THAT(pair.b.heard, ElementsAre(1, 2, 3));
}

TEST(Session, DeliversOnceWhatArrivesTwiceAndAcknowledgesAgain) {
  Pair pair;
  ASSERT_TRUE(pair.a.Send(kStart, 7).ok());
  const Packet packet = pair.a.TakeOut()[0];
  ASSERT_TRUE(pair.b.Receive(kStart, packet).ok());
  EXPECT_TRUE(pair.b.TakeOut().empty());
  ASSERT_TRUE(pair.b.Receive(kStart, packet).ok());
  EXPECT_THAT(pair.b.heard, ElementsAre(7));
  const std::vector<Packet> acks = pair.b.TakeOut();
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_EQ(acks[0].seq, 0u);
  EXPECT_EQ(acks[0].ack, 1u);
  ASSERT_TRUE(pair.a.Receive(kStart, acks[0]).ok());
  EXPECT_TRUE(pair.a.session.Idle());
  EXPECT_TRUE(pair.b.session.Idle());
}

TEST(Session, AcknowledgesAfter100MsWhenNothingCarriesIt) {
  Pair pair;
  ASSERT_TRUE(pair.a.Send(kStart, 1).ok());
  ASSERT_TRUE(pair.b.Receive(kStart, pair.a.TakeOut()[0]).ok());
  EXPECT_EQ(pair.b.session.NextDeadline(), kStart + 100 * kMs);
  pair.b.session.Tick(kStart + 99 * kMs, &pair.b.out);
  EXPECT_TRUE(pair.b.out.empty());
  pair.b.session.Tick(kStart + 100 * kMs, &pair.b.out);
  ASSERT_EQ(pair.b.out.size(), 1u);
  EXPECT_EQ(pair.b.session.NextDeadline(), kInfiniteFuture);
}

TEST(Session, LetsAcknowledgementsRideOnMessages) {
  Pair pair;
  ASSERT_TRUE(pair.a.Send(kStart, 1).ok());
  ASSERT_TRUE(pair.b.Receive(kStart, pair.a.TakeOut()[0]).ok());
  ASSERT_TRUE(pair.b.Send(kStart, 2).ok());
  const Packet reply = pair.b.TakeOut()[0];
  EXPECT_EQ(reply.ack, 1u);
  ASSERT_TRUE(pair.a.Receive(kStart, reply).ok());
  EXPECT_EQ(pair.a.session.unacked_messages(), 0u);
  EXPECT_EQ(pair.a.session.unacked_bytes(), 0u);
}

TEST(Session, AcknowledgesEarlyBeforeThePeersWindowFills) {
  Session::Options options = OptionsOf(kB, kA);
  options.unacked_messages_max = 16;
  Side a(OptionsOf(kA, kB));
  Side b(options);
  ASSERT_TRUE(a.Send(kStart, 1).ok());
  ASSERT_TRUE(a.Send(kStart, 2).ok());
  for (const Packet& packet : a.TakeOut()) ASSERT_TRUE(b.Receive(kStart, packet).ok());
  ASSERT_EQ(b.out.size(), 1u);
  EXPECT_EQ(b.out[0].ack, 2u);
}

TEST(Session, ResendsAfterSilenceAndBacksOff) {
  Pair pair;
  ASSERT_TRUE(pair.a.Send(kStart, 1).ok());
  pair.a.TakeOut();
  Time now = kStart;
  for (const int wait_ms : {200, 400, 800, 1600, 2000, 2000}) {
    EXPECT_EQ(pair.a.session.NextDeadline(), now + wait_ms * kMs);
    now += wait_ms * kMs;
    pair.a.session.Tick(now, &pair.a.out);
    ASSERT_EQ(pair.a.TakeOut().size(), 1u);
  }
}

TEST(Session, ResendsAllWhenReconnected) {
  Pair pair;
  for (uint64_t i = 1; i <= 100; ++i) ASSERT_TRUE(pair.a.Send(kStart, i).ok());
  pair.a.TakeOut();
  pair.a.session.OnReconnected(kStart, &pair.a.out);
  for (const Packet& packet : pair.a.TakeOut()) ASSERT_TRUE(pair.b.Receive(kStart, packet).ok());
  EXPECT_EQ(pair.b.heard.size(), 100u);
}

TEST(Session, SaysSoWhenItsWindowIsFull) {
  Session::Options options = OptionsOf(kA, kB);
  options.unacked_messages_max = 2;
  Side a(options);
  ASSERT_TRUE(a.Send(kStart, 1).ok());
  ASSERT_TRUE(a.Send(kStart, 2).ok());
  EXPECT_EQ(a.Send(kStart, 3).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(a.out.size(), 2u);
  Packet ack{kB, kA, 40, 20, 0, 1, std::nullopt};
  ASSERT_TRUE(a.Receive(kStart, ack).ok());
  EXPECT_TRUE(a.Send(kStart, 3).ok());
}

TEST(Session, CountsBytesInItsWindow) {
  Session::Options options = OptionsOf(kA, kB);
  options.unacked_bytes_max = 10'000;
  Session session(options);
  std::vector<Packet> out;
  ObjectPulled large;
  large.data = Bytes(std::string(20'000, 'x'));
  EXPECT_TRUE(session.Send(kStart, large, &out).ok());  // one always goes
  EXPECT_EQ(session.Send(kStart, JobEnd{1}, &out).code(), absl::StatusCode::kResourceExhausted);
}

TEST(Session, BoundsTheBytesThatWaitOutOfOrder) {
  Session::Options options = OptionsOf(kB, kA);
  options.unacked_bytes_max = 3000;
  Session receiver(options);
  Session sender(OptionsOf(kA, kB));
  Output output;
  output.text = Bytes(std::string(1000, 'x'));
  std::vector<Message> delivered;
  std::vector<Packet> acks;
  for (int round = 0; round < 20; ++round) {
    std::vector<Packet> packets;
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(sender.Send(kStart, output, &packets).ok());
    // Two wait, the third finds no room and is lost; then the gap closes.
    for (const int i : {1, 2, 3, 0}) {
      ASSERT_TRUE(receiver.Receive(kStart, packets[static_cast<size_t>(i)], &delivered, &acks).ok());
    }
    ASSERT_EQ(delivered.size(), static_cast<size_t>(4 * round + 3));
    ASSERT_TRUE(receiver.Receive(kStart, packets[3], &delivered, &acks).ok());
    ASSERT_EQ(delivered.size(), static_cast<size_t>(4 * round + 4));
  }
}

TEST(Session, RefusesOtherLivesOfEitherSide) {
  Pair pair;
  ASSERT_TRUE(pair.a.Send(kStart, 1).ok());
  const Packet good = pair.a.TakeOut()[0];
  Packet bad = good;
  bad.from_life = 19;
  EXPECT_EQ(pair.b.Receive(kStart, bad).code(), absl::StatusCode::kFailedPrecondition);
  bad = good;
  bad.to_life = 41;
  EXPECT_EQ(pair.b.Receive(kStart, bad).code(), absl::StatusCode::kFailedPrecondition);
  bad = good;
  bad.from = {1, 3};
  EXPECT_EQ(pair.b.Receive(kStart, bad).code(), absl::StatusCode::kFailedPrecondition);
  bad = good;
  bad.to = {9, 9};
  EXPECT_EQ(pair.b.Receive(kStart, bad).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(pair.b.heard.empty());
  EXPECT_TRUE(pair.b.Receive(kStart, good).ok());
  EXPECT_THAT(pair.b.heard, ElementsAre(1));
}

TEST(Session, LearnsThePeersLifeFromItsFirstPacket) {
  Session::Options options = OptionsOf(kA, kB);
  options.peer_life = 0;
  Side a(options);
  Side b(OptionsOf(kB, kA));
  ASSERT_TRUE(a.Send(kStart, 1).ok());
  EXPECT_EQ(a.out[0].to_life, 0u);
  ASSERT_TRUE(b.Receive(kStart, a.TakeOut()[0]).ok());
  ASSERT_TRUE(b.Send(kStart, 2).ok());
  Packet reply = b.TakeOut()[0];
  ASSERT_TRUE(a.Receive(kStart, reply).ok());
  EXPECT_EQ(a.session.peer_life(), 40u);
  reply.from_life = 41;
  EXPECT_EQ(a.Receive(kStart, reply).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Session, RefusesWhatNoPeerWouldSend) {
  Pair pair;
  EXPECT_EQ(pair.a.Receive(kStart, {kB, kA, 40, 20, 0, 1, std::nullopt}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pair.a.Receive(kStart, {kB, kA, 40, 20, 1, 0, std::nullopt}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pair.a.Receive(kStart, {kB, kA, 40, 20, 1u << 20, 0, Numbered(1)}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(pair.a.Receive(kStart, {kB, kA, 40, 20, UINT64_MAX, 0, Numbered(1)}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(pair.a.heard.empty());
}

// A network that loses a fifth, repeats a tenth and reorders everything, and that breaks now and then.
class Storm {
 public:
  explicit Storm(uint64_t seed) : rng_(seed), a_(SmallWindow(kA, kB)), b_(SmallWindow(kB, kA)) {}

  void Run(uint64_t messages) {
    uint64_t next_a = 1;
    uint64_t next_b = 1;
    for (int step = 0; step < 200'000; ++step) {
      if (next_a <= messages && rng_.Bernoulli(0.3)) next_a += a_.Send(now_, next_a).ok();
      if (next_b <= messages && rng_.Bernoulli(0.2)) next_b += b_.Send(now_, next_b).ok();
      if (rng_.Bernoulli(0.001)) Break();
      Launch(&a_);
      Launch(&b_);
      now_ += Duration(static_cast<int64_t>(rng_.Uniform(10'000'000)));
      ASSERT_NO_FATAL_FAILURE(Land());
      a_.session.Tick(now_, &a_.out);
      b_.session.Tick(now_, &b_.out);
      const bool done = next_a > messages && next_b > messages;
      if (done && a_.session.Idle() && b_.session.Idle()) break;
    }
    ExpectAll(a_.heard, messages);
    ExpectAll(b_.heard, messages);
  }

 private:
  static Session::Options SmallWindow(ProcessId self, ProcessId peer) {
    Session::Options options = OptionsOf(self, peer);
    options.unacked_messages_max = 50;
    return options;
  }
  static void ExpectAll(const std::vector<uint64_t>& heard, uint64_t messages) {
    ASSERT_EQ(heard.size(), messages);
    for (uint64_t i = 0; i < messages; ++i) ASSERT_EQ(heard[i], i + 1);
  }
  void Launch(Side* side) {
    for (Packet& packet : side->TakeOut()) {
      if (rng_.Bernoulli(0.2)) continue;
      if (rng_.Bernoulli(0.1)) flying_.emplace(Arrival(), packet);
      flying_.emplace(Arrival(), std::move(packet));
    }
  }
  Time Arrival() { return now_ + Duration(static_cast<int64_t>(rng_.Uniform(50'000'000))); }
  void Land() {
    while (!flying_.empty() && flying_.begin()->first <= now_) {
      Packet packet = std::move(flying_.begin()->second);
      flying_.erase(flying_.begin());
      Side& to = packet.to == kA ? a_ : b_;
      const absl::Status status = to.Receive(now_, std::move(packet));
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  void Break() {
    flying_.clear();
    a_.session.OnReconnected(now_, &a_.out);
    b_.session.OnReconnected(now_, &b_.out);
  }

  Rng rng_;
  Side a_;
  Side b_;
  Time now_ = kStart;
  std::multimap<Time, Packet> flying_;
};

TEST(Session, DeliversAllOnceInOrderThroughAStorm) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Storm storm(seed);
    storm.Run(400);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace manta::rpc

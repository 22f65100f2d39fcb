#include "rpc/shm_port.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/random.h"

namespace manta::rpc {
namespace {

using std::chrono::milliseconds;
using Rang = PeerAttention::Rang;

constexpr size_t kAll = 1'000'000;

CallRequest Call(uint64_t number) {
  CallRequest call;
  call.call = {{1, 1}, number};
  return call;
}

struct Counter : Channel::Handler {
  void OnMessage(Channel&, Message message) override {
    const auto* call = std::get_if<CallRequest>(&message);
    ASSERT_NE(call, nullptr);
    EXPECT_EQ(call->call.number, ++last) << "order";
  }
  void OnClosed(Channel&, const absl::Status& why) override { closed = why; }
  uint64_t last = 0;
  absl::Status closed;
};

std::unique_ptr<ShmPort> MakePort() {
  return *ShmPort::Create({}, *PollingSlot::CreateAlone(2, std::chrono::microseconds(10)));
}

// A port with many peers, which are all one other port.
class Hub {
 public:
  explicit Hub(size_t channels) : hub_(MakePort()), peers_(MakePort()), counters_(channels), sent_(channels) {
    for (size_t i = 0; i < channels; ++i) {
      pairs_.push_back(*CreateShmPair(hub_.get(), &counters_[i], peers_.get(), &unused_));
    }
    hub_->Drain(kAll);
  }
  void SendTo(size_t channel) {
    ASSERT_TRUE(pairs_[channel].b->Send(Call(++sent_[channel])).ok());
    peers_->RingBells();
  }
  void ExpectAllArrived() {
    for (size_t i = 0; i < counters_.size(); ++i) ASSERT_EQ(counters_[i].last, sent_[i]) << "channel " << i;
  }

  std::unique_ptr<ShmPort> hub_, peers_;
  Counter unused_;
  std::vector<Counter> counters_;
  std::vector<uint64_t> sent_;
  std::vector<ShmPair> pairs_;
};

TEST(ShmPort, FindsEveryFrameAmongManyChannels) {
  Hub hub(300);
  base::Rng rng(11);
  for (int round = 0; round < 2000; ++round) {
    // Some rings are busy, some rare; all of them cross between hot and cold.
    const size_t spread = round % 3 == 0 ? 300 : round % 3 == 1 ? 40 : 3;
    for (uint64_t i = 0, n = rng.Uniform(20); i < n; ++i) hub.SendTo(rng.Uniform(spread));
    if (rng.Bernoulli(0.5)) {
      while (hub.hub_->HasWork()) hub.hub_->Drain(1 + rng.Uniform(30));
      hub.ExpectAllArrived();
    }
    ASSERT_LE(hub.hub_->hot_count(), ShmPort::kHotMax);
  }
}

TEST(ShmPort, RingsCoolWhenNothingComes) {
  Hub hub(3);
  for (size_t i = 0; i < 3; ++i) hub.SendTo(i);
  hub.hub_->Drain(kAll);
  EXPECT_EQ(hub.hub_->hot_count(), 3u);
  for (int i = 0; i < 2 * ShmPort::kIdlePassesMax; ++i) {
    hub.SendTo(1);
    hub.hub_->Drain(kAll);
  }
  EXPECT_EQ(hub.hub_->hot_count(), 2u) << "the places behind the last hot ring are given back; ring 0's is empty";
  hub.SendTo(0);
  EXPECT_TRUE(hub.hub_->HasWork());
  hub.hub_->Drain(kAll);
  hub.ExpectAllArrived();
}

TEST(ShmPort, OneFloodedRingDoesNotHoldUpTheOthers) {
  Hub hub(2);
  for (int i = 0; i < 500; ++i) hub.SendTo(0);
  hub.SendTo(1);
  hub.hub_->Drain(200);
  EXPECT_EQ(hub.counters_[1].last, 1u);
  EXPECT_LT(hub.counters_[0].last, 200u);
}

TEST(ShmPort, DrainStopsAtItsBudget) {
  Hub hub(40);
  for (size_t i = 0; i < 40; ++i) {
    for (int k = 0; k < 5; ++k) hub.SendTo(i);
  }
  size_t frames = 0;
  while (hub.hub_->HasWork()) {
    const size_t got = hub.hub_->Drain(7);
    ASSERT_LE(got, 7u);
    frames += got;
  }
  EXPECT_EQ(frames, 200u);
  hub.ExpectAllArrived();
}

TEST(ShmPort, DeadPeersLastWordsAreDeliveredBeforeItsDeath) {
  Hub hub(1);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(hub.pairs_[0].b->Send(Call(++hub.sent_[0])).ok());
  }
  // It died before it rang anything.
  hub.hub_->PeerGone(hub.pairs_[0].a, absl::UnavailableError("killed by signal 9"));
  hub.ExpectAllArrived();
  EXPECT_EQ(hub.counters_[0].closed.code(), absl::StatusCode::kUnavailable);
  hub.hub_->Drain(kAll);
  EXPECT_FALSE(hub.hub_->HasWork());
  hub.hub_->Remove(hub.pairs_[0].a);
  EXPECT_EQ(hub.hub_->channel_count(), 0u);
}

TEST(ShmPort, MarksAreUsedAgain) {
  Hub hub(5);
  hub.hub_->Remove(hub.pairs_[2].a);
  hub.SendTo(2);  // to nobody: must not keep the hub looking
  hub.hub_->Drain(kAll);
  EXPECT_FALSE(hub.hub_->HasWork());
  const ShmOffer offer = *hub.hub_->Offer();
  EXPECT_EQ(offer.mark, 2u);
  hub.hub_->Withdraw(offer.mark);
}

TEST(ShmPort, WaitEndsAtTheDeadline) {
  Hub hub(1);
  const base::SystemClock clock;
  const Time begin = clock.Now();
  EXPECT_EQ(hub.hub_->Wait(begin + milliseconds(30), Rang::kNothing, [] { return false; }), ShmPort::Woken::kDeadline);
  EXPECT_GE(clock.Now() - begin, milliseconds(30));
  EXPECT_EQ(hub.hub_->state(), Attending::kAttended);
  EXPECT_EQ(hub.hub_->Wait(begin, Rang::kNothing, [] { return false; }), ShmPort::Woken::kDeadline);
}

TEST(ShmPort, WaitEndsWithAFrameThatComesWhileItSleeps) {
  Hub hub(1);
  std::thread sender([&] {
    while (hub.hub_->state() != Attending::kAsleep) std::this_thread::yield();
    hub.SendTo(0);
  });
  EXPECT_EQ(hub.hub_->Wait(kInfiniteFuture, Rang::kNothing, [] { return false; }), ShmPort::Woken::kWork);
  sender.join();
  EXPECT_EQ(hub.hub_->Drain(kAll), 1u);
}

TEST(ShmPort, WaitEndsWhenAnotherThreadMakesItsConditionTrue) {
  Hub hub(1);
  std::atomic<bool> done = false;
  std::thread other([&] {
    while (hub.hub_->state() != Attending::kAsleep) std::this_thread::yield();
    done = true;
    hub.hub_->WakeWaiter();
  });
  EXPECT_EQ(hub.hub_->Wait(kInfiniteFuture, Rang::kNothing, [&] { return done.load(); }), ShmPort::Woken::kDone);
  other.join();
}

TEST(ShmPort, WhoRangASleeperSleepsAtOnce) {
  Hub hub(1);
  std::thread waiter([&] {
    hub.hub_->Wait(kInfiniteFuture, Rang::kNothing, [] { return false; });
    EXPECT_EQ(hub.hub_->Drain(kAll), 1u);
  });
  while (hub.hub_->state() != Attending::kAsleep) std::this_thread::yield();
  ASSERT_TRUE(hub.pairs_[0].b->Send(Call(1)).ok());
  const Rang rang = hub.peers_->RingBells();
  EXPECT_EQ(rang, Rang::kSleeper);
  // Never kAttended for longer than it takes to go to sleep: done() is asked once, before it sleeps.
  int asked = 0;
  const base::SystemClock clock;
  hub.peers_->Wait(clock.Now() + milliseconds(5), rang, [&] {
    ++asked;
    return false;
  });
  EXPECT_LE(asked, 4);
  waiter.join();
}

TEST(ShmPort, MendFindsWhatNobodyWasToldOf) {
  Hub hub(3);
  for (int i = 0; i <= ShmPort::kIdlePassesMax + 1; ++i) hub.hub_->Drain(kAll);
  ASSERT_EQ(hub.hub_->hot_count(), 0u);
  ASSERT_FALSE(hub.hub_->Mend());
  const CallRequest call = Call(++hub.sent_[1]);
  ASSERT_TRUE(hub.pairs_[1].b->Send(call).ok());  // and its writer rings no bell
  EXPECT_EQ(hub.hub_->Drain(kAll), 0u);
  EXPECT_TRUE(hub.hub_->Mend());
  hub.hub_->Drain(kAll);
  hub.ExpectAllArrived();
}

TEST(ShmPort, LeavingLooksOnceMore) {
  Hub hub(1);
  EXPECT_FALSE(hub.hub_->Leave(Attending::kBusy));
  hub.SendTo(0);
  EXPECT_TRUE(hub.hub_->Leave(Attending::kUnattended));
  EXPECT_EQ(hub.hub_->Drain(kAll), 1u);
}

// One thread waits and drains, another drains for the I/O bell, a third opens, feeds and removes channels: nothing that
// is being looked at goes away.
TEST(ShmPort, ChannelsComeAndGoWhileAnotherThreadWaits) {
  auto hub = MakePort();
  auto peers = MakePort();
  base::Mutex mutex;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> received = 0;
  struct Sink : Channel::Handler {
    void OnMessage(Channel&, Message) override { received->fetch_add(1); }
    void OnClosed(Channel&, const absl::Status&) override {}
    std::atomic<uint64_t>* received = nullptr;
  } sink;
  sink.received = &received;
  std::thread waiter([&] {
    while (!stop) {
      hub->Wait(kInfiniteFuture, Rang::kNothing, [&] { return stop.load(); });
      base::MutexLock lock(&mutex);
      hub->Drain(kAll);
      hub->RingBells();
    }
  });
  base::Rng rng(23);
  uint64_t sent = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<ShmPair> pairs;
    for (uint64_t i = 0, n = 1 + rng.Uniform(50); i < n; ++i) {
      base::MutexLock lock(&mutex);
      pairs.push_back(*CreateShmPair(hub.get(), &sink, peers.get(), &sink));
    }
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(pairs[rng.Uniform(pairs.size())].b->Send(CallRequest{}).ok());
      ++sent;
      if (rng.Bernoulli(0.3)) peers->RingBells();
    }
    peers->RingBells();
    while (received < sent) std::this_thread::yield();
    for (const ShmPair& pair : pairs) {
      base::MutexLock lock(&mutex);
      hub->Remove(pair.a);
      peers->Remove(pair.b);
    }
  }
  stop = true;
  hub->WakeWaiter();
  waiter.join();
  EXPECT_EQ(received, sent);
}

}  // namespace
}  // namespace manta::rpc

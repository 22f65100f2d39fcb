// The doorbell protocol between real processes: no wake-up is lost. tests/models/doorbell.pml proves the protocol; this
// tests the code. Every wait has a deadline, and running into it is the failure.

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/process.h"
#include "base/random.h"
#include "rpc/shm_port.h"

namespace manta::rpc {
namespace {

using Rang = PeerAttention::Rang;

constexpr Duration kLost = std::chrono::seconds(30);
constexpr size_t kBudget = 256;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kCalls = 60'000;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
constexpr uint64_t kCalls = 60'000;
#else
constexpr uint64_t kCalls = 500'000;
#endif
#else
constexpr uint64_t kCalls = 500'000;
#endif

// A pause of many sizes: none, a few cache misses, a wake-up's time, long enough for everybody to sleep.
void Pause(base::Rng& rng) {
  const uint64_t kind = rng.Uniform(1000);
  if (kind < 600) return;
  if (kind < 990) {
    std::atomic<uint64_t> spins = rng.Uniform(2000);
    while (spins.load() > 0) spins.fetch_sub(1);
  } else if (kind < 998) {
    std::this_thread::sleep_for(std::chrono::microseconds(rng.Uniform(60)));
  } else {
    std::this_thread::sleep_for(std::chrono::microseconds(rng.Uniform(400)));
  }
}

CallRequest Call(uint64_t number, size_t bytes) {
  CallRequest call;
  call.call = {{1, 1}, number};
  Value value;
  value.bytes = Bytes(std::string(bytes, 'x'));
  call.args.push_back(std::move(value));
  return call;
}

// One process as the shell above makes it: a lock, a port, an I/O thread.
class Process {
 public:
  explicit Process(std::unique_ptr<ShmPort> port, uint64_t seed) : port_(std::move(port)), rng_(seed) {
    stop_bell_ = eventfd(0, EFD_CLOEXEC);
    io_thread_ = std::thread([this, seed] { RunIo(seed); });
  }
  ~Process() {
    const uint64_t one = 1;
    EXPECT_EQ(write(stop_bell_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
    io_thread_.join();
    close(stop_bell_);
  }

  // The waiting thread: drains until `done`. False: nothing came for kLost, and that is the failure. Afterwards the
  // lock is held.
  bool WaitLocked(Rang rang, absl::FunctionRef<bool()> done) MANTA_NO_THREAD_SAFETY_ANALYSIS {
    const base::SystemClock clock;
    while (true) {
      port_->Drain(kBudget);
      rang = std::max(rang, port_->RingBells());
      if (done()) return true;
      mutex_.Unlock();
      const ShmPort::Woken woken = port_->Wait(clock.Now() + kLost, rang, done);
      rang = Rang::kNothing;
      mutex_.Lock();
      if (woken == ShmPort::Woken::kDeadline) return false;
    }
  }
  void LeaveLocked(Attending state) {
    while (port_->Leave(state)) port_->Drain(kBudget);
    port_->RingBells();
  }

  base::Mutex mutex_;
  std::unique_ptr<ShmPort> port_;
  base::Rng rng_;

 private:
  void RunIo(uint64_t seed) {
    base::Rng rng(seed + 1);
    while (true) {
      pollfd fds[2] = {{.fd = port_->io_bell_fd(), .events = POLLIN, .revents = 0},
                       {.fd = stop_bell_, .events = POLLIN, .revents = 0}};
      poll(fds, 2, -1);
      if (fds[1].revents != 0) return;
      if (rng.Bernoulli(0.5)) std::this_thread::sleep_for(std::chrono::microseconds(50));
      port_->TakeIoBell();
      {
        base::MutexLock lock(&mutex_);
        while (port_->Drain(kBudget) == kBudget) {
        }
        port_->RingBells();
      }
      port_->WakeWaiter();
    }
  }

  int stop_bell_ = -1;
  std::thread io_thread_;
};

struct CallerInbox : Channel::Handler {
  void OnMessage(Channel&, Message message) override {
    EXPECT_EQ(std::get<CallReply>(message).call.number, replies.load() + 1) << "order";
    replies.fetch_add(1);
  }
  void OnClosed(Channel&, const absl::Status& why) override { ADD_FAILURE() << why; }
  std::atomic<uint64_t> replies = 0;
};

struct WorkerInbox : Channel::Handler {
  void OnMessage(Channel&, Message message) override {
    if (const auto* call = std::get_if<CallRequest>(&message)) {
      calls.push_back(call->call.number);
    } else {
      stop = true;
    }
    waiting.store(calls.size());
  }
  void OnClosed(Channel&, const absl::Status&) override { _exit(3); }
  std::deque<uint64_t> calls;
  std::atomic<size_t> waiting = 0;
  std::atomic<bool> stop = false;
};

// Answers calls: runs "user code" while busy, unattended, or not at all. Its exit status tells.
// It returns with the lock held: the process ends.
int RunWorker(std::unique_ptr<ShmPort> port, ShmChannel* channel, WorkerInbox* inbox) MANTA_NO_THREAD_SAFETY_ANALYSIS {
  Process process(std::move(port), 41);
  Rang rang = Rang::kNothing;
  process.mutex_.Lock();
  while (true) {
    const bool came = process.WaitLocked(rang, [&] { return inbox->waiting.load() != 0 || inbox->stop.load(); });
    if (!came) return 2;
    if (inbox->calls.empty()) break;
    const uint64_t number = inbox->calls.front();
    inbox->calls.pop_front();
    inbox->waiting.store(inbox->calls.size());
    if (process.rng_.Bernoulli(0.3)) {
      process.LeaveLocked(process.rng_.Bernoulli(0.7) ? Attending::kBusy : Attending::kUnattended);
      process.mutex_.Unlock();
      Pause(process.rng_);
      process.mutex_.Lock();
    }
    CallReply reply;
    reply.call.number = number;
    if (!channel->Send(reply).ok()) return 4;
    rang = process.port_->RingBells();
  }
  process.mutex_.Unlock();
  return 0;
}

std::unique_ptr<ShmPort> MakePort(int cpus = base::AvailableCpus()) {
  return *ShmPort::Create({}, *PollingSlot::CreateAlone(cpus, std::chrono::microseconds(20)));
}

bool ArriveUnattended(const CallerInbox& inbox, uint64_t target) {
  const base::SystemClock clock;
  const Time deadline = clock.Now() + kLost;
  while (inbox.replies.load() < target) {
    if (clock.Now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(5));
  }
  return true;
}

TEST(Doorbell, NoWakeUpIsLostBetweenCallerAndWorker) {
  auto caller_port = MakePort();
  auto worker_port = MakePort();
  CallerInbox replies;
  WorkerInbox calls;
  const ShmPair pair = *CreateShmPair(caller_port.get(), &replies, worker_port.get(), &calls);
  const pid_t worker = fork();
  ASSERT_GE(worker, 0);
  if (worker == 0) _exit(RunWorker(std::move(worker_port), pair.b, &calls));

  {
    Process caller(std::move(caller_port), 7);
    base::Rng& rng = caller.rng_;
    uint64_t sent = 0;
    bool lost = false;
    caller.mutex_.Lock();
    while (sent < kCalls && !lost) {
      // Mostly a few, sometimes more than a ring holds.
      const uint64_t burst = rng.Bernoulli(0.005) ? 1 + rng.Uniform(5000) : 1 + rng.Uniform(40);
      for (uint64_t i = 0; i < burst && sent < kCalls; ++i) {
        EXPECT_TRUE(pair.a->Send(Call(++sent, rng.Uniform(100))).ok());
      }
      const Rang rang = caller.port_->RingBells();
      if (rng.Bernoulli(0.8)) {
        const uint64_t target = rng.Bernoulli(0.5) ? sent : sent - std::min<uint64_t>(sent, rng.Uniform(burst));
        lost = !caller.WaitLocked(rang, [&] { return replies.replies.load() >= target; });
      }
      const bool outstanding = replies.replies.load() != sent;
      caller.LeaveLocked(outstanding ? Attending::kUnattended : Attending::kBusy);
      caller.mutex_.Unlock();
      // User code that looks at nothing until all replies are there: the I/O thread alone brings them.
      if (outstanding && rng.Bernoulli(0.3)) lost = lost || !ArriveUnattended(replies, sent);
      Pause(rng);
      caller.mutex_.Lock();
    }
    lost = lost || !caller.WaitLocked(Rang::kNothing, [&] { return replies.replies.load() >= sent; });
    EXPECT_FALSE(lost) << "of " << sent << " calls " << replies.replies.load() << " were answered";
    EXPECT_TRUE(pair.a->Send(CallCancel{}).ok());
    caller.port_->RingBells();
    caller.mutex_.Unlock();
    if (lost) kill(worker, SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(worker, &status, 0), worker);
  EXPECT_EQ(status, 0) << "2 << 8: the worker waited for a frame that was written";
}

// ---------------------------------------------------------------- many producers, some of which are killed

struct NumberedInbox : Channel::Handler {
  void OnMessage(Channel&, Message message) override {
    EXPECT_EQ(std::get<CallRequest>(message).call.number, last.load() + 1) << "order";
    last.fetch_add(1);
  }
  void OnClosed(Channel&, const absl::Status&) override { closed = true; }
  std::atomic<uint64_t> last = 0;
  bool closed = false;
};

// Sends `calls` calls, waiting for room like a caller that has no credit.
int RunProducer(std::unique_ptr<ShmPort> port, ShmChannel* channel, uint64_t seed,
                uint64_t calls) MANTA_NO_THREAD_SAFETY_ANALYSIS {
  Process process(std::move(port), seed);
  process.mutex_.Lock();
  for (uint64_t sent = 0; sent < calls;) {
    for (uint64_t burst = 1 + process.rng_.Uniform(50); burst > 0 && sent < calls; --burst) {
      if (!channel->Send(Call(++sent, process.rng_.Uniform(200))).ok()) return 4;
    }
    Rang rang = process.port_->RingBells();
    if (channel->queued_bytes() != 0 && process.rng_.Bernoulli(0.7)) {
      if (!process.WaitLocked(rang, [&] { return channel->queued_bytes() == 0; })) return 2;
    }
    process.LeaveLocked(Attending::kUnattended);
    process.mutex_.Unlock();
    Pause(process.rng_);
    process.mutex_.Lock();
  }
  if (!process.WaitLocked(Rang::kNothing, [&] { return channel->queued_bytes() == 0; })) return 2;
  process.mutex_.Unlock();
  return 0;
}

TEST(Doorbell, KilledProducersSilenceNobody) {
  constexpr size_t kRounds = 10;
  constexpr size_t kProducers = 4;  // the last half of them die
  constexpr uint64_t kFrames = kCalls / 100;
  for (size_t round = 0; round < kRounds; ++round) {
    auto port = MakePort();
    std::vector<std::unique_ptr<ShmPort>> ports;
    std::vector<NumberedInbox> inboxes(kProducers);
    NumberedInbox none;
    std::vector<ShmPair> pairs;
    for (size_t i = 0; i < kProducers; ++i) {
      ports.push_back(MakePort());
      pairs.push_back(*CreateShmPair(port.get(), &inboxes[i], ports[i].get(), &none));
    }
    std::vector<pid_t> pids;
    for (size_t i = 0; i < kProducers; ++i) {
      pids.push_back(fork());
      ASSERT_GE(pids[i], 0);
      if (pids[i] == 0) {
        const bool survives = i < kProducers / 2;
        _exit(RunProducer(std::move(ports[i]), pairs[i].b, round * 100 + i, survives ? kFrames : UINT64_MAX));
      }
    }
    {
      Process consumer(std::move(port), round);
      std::thread reaper([&] {
        base::Rng rng(round);
        for (size_t i = kProducers / 2; i < kProducers; ++i) {
          std::this_thread::sleep_for(std::chrono::microseconds(500 + rng.Uniform(5000)));
          kill(pids[i], SIGKILL);
          int status = 0;
          EXPECT_EQ(waitpid(pids[i], &status, 0), pids[i]);
          {
            base::MutexLock lock(&consumer.mutex_);
            consumer.port_->PeerGone(pairs[i].a, absl::UnavailableError("killed"));
            consumer.port_->RingBells();
          }
          consumer.port_->WakeWaiter();
        }
      });
      const auto done = [&] {
        for (size_t i = 0; i < kProducers / 2; ++i) {
          if (inboxes[i].last.load() < kFrames) return false;
        }
        return true;
      };
      bool lost = false;
      consumer.mutex_.Lock();
      while (!done() && !lost) {
        const uint64_t before = inboxes[0].last + inboxes[1].last + inboxes[2].last + inboxes[3].last;
        lost = !consumer.WaitLocked(Rang::kNothing, [&] {
          return done() || inboxes[0].last + inboxes[1].last + inboxes[2].last + inboxes[3].last > before + 1000;
        });
        consumer.LeaveLocked(Attending::kBusy);
        consumer.mutex_.Unlock();
        Pause(consumer.rng_);
        consumer.mutex_.Lock();
      }
      consumer.mutex_.Unlock();
      reaper.join();
      EXPECT_FALSE(lost) << "round " << round;
      for (size_t i = kProducers / 2; i < kProducers; ++i) EXPECT_TRUE(inboxes[i].closed);
      for (size_t i = 0; i < kProducers / 2; ++i) {
        if (lost) kill(pids[i], SIGKILL);
        int status = 0;
        EXPECT_EQ(waitpid(pids[i], &status, 0), pids[i]);
        EXPECT_EQ(status, 0) << "round " << round << ", 2 << 8: the producer waited for room that there was";
      }
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace manta::rpc

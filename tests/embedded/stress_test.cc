// Mixed load for a while, with workers that are killed: every call ends once, sums are right, memory comes back.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

namespace {

constexpr seconds kLoad = seconds(kHasShadowMemory ? 10 : 20);  // a sanitizer is to see each path, not each moment
constexpr size_t kMiB = size_t{1} << 20;

// A number and what it must add up to, through values of several sizes.
Tensor Filled(size_t bytes, uint64_t value) {
  Tensor tensor = Create<uint64_t>({static_cast<int64_t>(bytes / sizeof(uint64_t))});
  std::ranges::fill(tensor.mutable_values<uint64_t>(), value);
  return tensor;
}

}  // namespace

uint64_t Mix(uint64_t a, uint64_t b) { return a * 31 + b; }
uint64_t MixAll(std::vector<ObjectRef<uint64_t>> terms) {
  uint64_t sum = 0;
  for (const uint64_t term : Get(terms)) sum = Mix(sum, term);
  return sum;
}
uint64_t MixTree(int levels, uint64_t seed) {
  if (levels == 0) return seed;
  std::vector<ObjectRef<uint64_t>> children;
  for (uint64_t i = 0; i < 3; ++i) children.push_back(Task<&MixTree>().MaxRetries(-1).Remote(levels - 1, Mix(seed, i)));
  return Get(Task<&MixAll>().MaxRetries(-1).Remote(children));
}
uint64_t MixTreeHere(int levels, uint64_t seed) {
  if (levels == 0) return seed;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < 3; ++i) sum = Mix(sum, MixTreeHere(levels - 1, Mix(seed, i)));
  return sum;
}
Tensor MakeFilled(size_t bytes, uint64_t value) { return Filled(bytes, value); }
uint64_t FirstAndLast(Tensor tensor) {
  const auto values = tensor.values<uint64_t>();
  return values.front() == values.back() && values[values.size() / 2] == values.front() ? values.front() : UINT64_MAX;
}

class Ledger {
 public:
  uint64_t Add(uint64_t amount) { return total_ += amount; }
  uint64_t Total() { return total_; }
  void Keep(ObjectRef<Tensor> object) {
    kept_.push_back(std::move(object));
    if (kept_.size() > 4) kept_.erase(kept_.begin());
  }
  uint64_t LookAtKept() {
    uint64_t sum = 0;
    for (const ObjectRef<Tensor>& object : kept_) sum += FirstAndLast(Get(object));
    return sum;
  }

 private:
  uint64_t total_ = 0;
  std::vector<ObjectRef<Tensor>> kept_;
};

class Stress : public EmbeddedTest {
 protected:
  Stress() : EmbeddedTest(seconds(55)) {}

  using Clock = std::chrono::steady_clock;

  void Trees(std::mt19937_64& random) {
    const uint64_t seed = random() % 1000;
    ASSERT_EQ(Get(Task<&MixTree>().MaxRetries(-1).Remote(3, seed)), MixTreeHere(3, seed));
  }
  void Objects(std::mt19937_64& random) {
    const size_t bytes = ((size_t{4096} << (random() % 11)) + (random() % 512) * 8);  // 4 KiB .. 4 MiB
    const uint64_t value = random() % 1'000'000;
    const ObjectRef<Tensor> made =
        random() % 2 == 0 ? Put(Filled(bytes, value)) : Task<&MakeFilled>().MaxRetries(-1).Remote(bytes, value);
    ASSERT_EQ(Get(Task<&FirstAndLast>().MaxRetries(-1).Remote(made)), value);
    ASSERT_EQ(FirstAndLast(Get(made)), value);
  }
  void Calls(std::mt19937_64& random) {
    ASSERT_EQ(Get(Task<&Mix>().MaxRetries(-1).Remote(Task<&Mix>().MaxRetries(-1).Remote(random() % 100, uint64_t{1}),
                                                     uint64_t{2})) %
                  31,
              (31 + 2) % 31);
  }
  // A ledger of one's own, spared by the killer only by luck: each Add counts at most once.
  void Ledgers(std::mt19937_64& random) {
    const auto ledger = Actor<Ledger>().Remote();
    const uint64_t count = 1 + random() % 300;
    std::vector<ObjectRef<uint64_t>> totals;
    for (uint64_t i = 0; i < count; ++i) totals.push_back(ledger.Call<&Ledger::Add>().Remote(uint64_t{1}));
    bool dead = false;
    for (uint64_t i = 0; i < count; ++i) {
      const Result<uint64_t> total = TryGet(totals[i]);
      if (total.ok()) {
        ASSERT_FALSE(dead) << "a call succeeded after one that died";
        ASSERT_EQ(*total, i + 1);
      } else {
        ASSERT_EQ(total.error().code(), ErrorCode::kActorDied) << total.error().Describe();
        dead = true;
      }
    }
  }
};

TEST_F(Stress, EverythingAtOnce) {
  StartCluster({"--manta-num-cpus=3", "--manta-store-memory=96MiB"});
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  const auto bank = Actor<Ledger>().Name("bank").MaxRestarts(-1).MaxTaskRetries(-1).Remote();
  std::atomic<bool> over = false;
  std::atomic<int> rounds[5] = {};
  std::vector<std::thread> threads;
  const auto run = [&](int index, auto work) {
    threads.emplace_back([&, index, work] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(index));
      while (!over && !HasFatalFailure()) {
        work(random);
        ++rounds[index];
      }
    });
  };
  run(0, [this](std::mt19937_64& random) { Trees(random); });
  run(1, [this](std::mt19937_64& random) { Objects(random); });
  run(2, [this](std::mt19937_64& random) { Calls(random); });
  run(3, [this](std::mt19937_64& random) { Ledgers(random); });
  run(4, [&bank](std::mt19937_64& random) {
    const ObjectRef<Tensor> object = Put(Filled(kMiB, random() % 10));
    (void)TryGet(bank.Call<&Ledger::Keep>().Remote(object));  // borrowed beyond the call
    const Result<uint64_t> sum = TryGet(bank.Call<&Ledger::LookAtKept>().Remote());
    if (sum.ok()) {
      ASSERT_LE(*sum, 40u) << "an object that is kept was not what it had been";
    }
  });
  std::mt19937 random(static_cast<uint32_t>(seed));
  int kills = 0;
  for (const auto end = Clock::now() + kLoad; Clock::now() < end;) {
    std::this_thread::sleep_for(milliseconds(150));
    const std::vector<Relative> workers = Family::Workers();
    if (workers.empty()) continue;
    kill(workers[random() % workers.size()].pid, SIGKILL);
    ++kills;
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < 5; ++i) EXPECT_GT(rounds[i], 3) << "work " << i << " did not get on";
  EXPECT_GE(kills, 20) << "fewer faults than planned";
  std::printf("rounds: trees %d, objects %d, calls %d, ledgers %d, bank %d; kills %d\n", rounds[0].load(),
              rounds[1].load(), rounds[2].load(), rounds[3].load(), rounds[4].load(), kills);
  Kill(bank);
  EXPECT_TRUE(Drain(seconds(10)));
  EXPECT_TRUE(Within(seconds(5), [] {  // all of the store has come back
    try {
      Put(Filled(80 * kMiB, 1));
      return true;
    } catch (const OutOfMemoryError&) {
      return false;
    }
  }));
}

}  // namespace manta::embedded

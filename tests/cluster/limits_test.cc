// Nodes whose machine gives them less than they would use: memory limits of a cgroup.
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"
#include "tests/cluster/memory_cgroup.h"

namespace manta::cluster {

using embedded::IsAlive;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

// A sanitizer's processes take several times what they use: daemon, zygote and two workers alone would be the limit.
constexpr uint64_t kLimitBytes = embedded::kHasShadowMemory ? 576 << 20 : 192 << 20;
constexpr milliseconds kNoticed = seconds(20);  // reclaiming comes before killing, and takes its time
constexpr milliseconds kRecovered = seconds(5);

}  // namespace

uint64_t UseMemory(uint64_t bytes) {
  std::vector<char> block(bytes);
  for (size_t at = 0; at < block.size(); at += 4096) block[at] = 1;
  return block.size();
}
std::vector<uint8_t> Bytes(uint64_t count) { return std::vector<uint8_t>(count, 42); }
uint64_t SizeOf(std::vector<uint8_t> data) { return data.size(); }
std::string Where() { return CurrentContext().node(); }

class Glutton {
 public:
  int Add(int by) { return value_ += by; }
  uint64_t Use(uint64_t bytes) { return UseMemory(bytes); }

 private:
  int value_ = 0;
};

class Limits : public ClusterTest {
 protected:
  Limits() : ClusterTest(seconds(80)) {}

  void TearDown() override {
    ClusterTest::TearDown();
    cgroup_.reset();
  }
  // A node whose daemon, zygotes and workers share that much memory.
  Node AddLimitedNode(const std::vector<std::string>& flags = {}) {
    cgroup_ = std::make_unique<MemoryCgroup>(kLimitBytes);
    cgroup_->Enter();
    Node node = cgroup_->ok() ? AddNode("small", flags) : Node();
    cgroup_->Leave();
    return node;
  }

  std::unique_ptr<MemoryCgroup> cgroup_;
};

TEST_F(Limits, OfMemoryKillWhoUsesIt) {
  StartHead();
  const Node node = AddLimitedNode({"--store-memory=32MiB"});
  ASSERT_TRUE(cgroup_->ok());
  Attach();
  const auto modest = On("small", Actor<Glutton>()).Remote();
  EXPECT_EQ(Get(modest.Call<&Glutton::Add>().Remote(1)), 1);
  const auto task = On("small", Task<&UseMemory>()).MaxRetries(0).Remote(2 * kLimitBytes);
  ASSERT_TRUE(Wait(std::vector{task}, 1, kNoticed).pending.empty()) << "nobody was killed";
  const auto error = ErrorOf<WorkerDiedError>([&] { Get(task); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->may_have_run());
  EXPECT_THAT(error->what(), AllOf(HasSubstr("signal 9"), HasSubstr("out of memory"),
                                   HasSubstr(std::to_string(kLimitBytes >> 20) + " MiB")));
  const auto greedy = On("small", Actor<Glutton>()).Remote();
  const auto call = greedy.Call<&Glutton::Use>().Remote(2 * kLimitBytes);
  ASSERT_TRUE(Wait(std::vector{call}, 1, kNoticed).pending.empty()) << "nobody was killed";
  const auto died = ErrorOf<ActorDiedError>([&] { Get(call); });
  ASSERT_TRUE(died);
  EXPECT_THAT(died->what(), HasSubstr("out of memory"));
  EXPECT_EQ(cgroup_->oom_kills(), 2u);
  // Only they died.
  EXPECT_TRUE(IsAlive(node.pid));
  EXPECT_EQ(Get(modest.Call<&Glutton::Add>().Remote(1), kRecovered), 2);
  EXPECT_EQ(Get(On("small", Task<&Where>()).Remote(), kRecovered), node.number);
  // Whom somebody else kills, the kernel has not.
  for (const Relative& worker : WorkersOf(node)) kill(worker.pid, SIGKILL);
  const auto killed = ErrorOf<ActorDiedError>([&] { Get(modest.Call<&Glutton::Add>().Remote(1), kRecovered); });
  ASSERT_TRUE(killed);
  EXPECT_THAT(killed->what(), Not(HasSubstr("out of memory")));
}

// The store's quota is more than its cgroup has: workers that write into it die, and nothing waits for ever.
TEST_F(Limits, BelowTheStoresQuotaCostOnlyWorkers) {
  StartHead();
  const Node node = AddLimitedNode({"--store-memory=1GiB"});
  ASSERT_TRUE(cgroup_->ok());
  Attach();
  constexpr uint64_t kObjectBytes = kLimitBytes / 12;
  std::vector<ObjectRef<std::vector<uint8_t>>> refs;
  int failed = 0;
  for (uint64_t total = 0; total < 2 * kLimitBytes; total += kObjectBytes) {
    refs.push_back(On("small", Task<&Bytes>()).MaxRetries(0).Remote(kObjectBytes));
    ASSERT_TRUE(Wait(std::vector{refs.back()}, 1, kNoticed).pending.empty());
    const Result<uint64_t> size = TryGet(On("small", Task<&SizeOf>()).MaxRetries(0).Remote(refs.back()), kNoticed);
    if (size.ok()) {
      EXPECT_EQ(*size, kObjectBytes);
      continue;
    }
    ++failed;
    EXPECT_THAT(size.error().code(),
                AnyOf(ErrorCode::kWorkerDied, ErrorCode::kOutOfMemory, ErrorCode::kObjectLost, ErrorCode::kTaskError));
  }
  EXPECT_GT(failed, 0) << "there was no want";
  EXPECT_TRUE(IsAlive(node.pid));
  refs.clear();
  EXPECT_TRUE(embedded::Within(kRecovered, [] {
    const Result<uint64_t> size = TryGet(On("small", Task<&UseMemory>()).MaxRetries(0).Remote(8 << 20), kRecovered);
    return size.ok();
  })) << "memory was not given back";
}

}  // namespace manta::cluster

#include "rpc/polling_page.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace manta::rpc {
namespace {

using std::chrono::microseconds;

class PollingFixture : public testing::Test {
 protected:
  PollingSlot Open(int cpus = 2) { return *PollingSlot::Open(page_->fd(), *page_->TakeSlot(), cpus); }
  std::unique_ptr<PollingPage> page_ = *PollingPage::Create();
};

using PollingPageTest = PollingFixture;

TEST_F(PollingPageTest, ThreadsPollWhileThereIsACoreForEach) {
  PollingSlot a = Open();
  PollingSlot b = Open();
  a.Awake();
  EXPECT_TRUE(a.MayPoll());
  b.Awake();
  EXPECT_TRUE(a.MayPoll());
  EXPECT_TRUE(b.MayPoll());
  b.Awake();
  EXPECT_FALSE(a.MayPoll());
  EXPECT_FALSE(b.MayPoll());
  a.Asleep();
  EXPECT_TRUE(b.MayPoll());
  EXPECT_EQ(page_->awake(), 2u);
}

TEST_F(PollingPageTest, DeadProcessCountsNoMore) {
  PollingSlot live = Open();
  const uint32_t slot = *page_->TakeSlot();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    PollingSlot dying = *PollingSlot::Open(page_->fd(), slot, 2);
    for (int i = 0; i < 5; ++i) dying.Awake();
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  live.Awake();
  EXPECT_FALSE(live.MayPoll());
  page_->ClearSlot(slot);
  EXPECT_TRUE(live.MayPoll());
  EXPECT_EQ(*page_->TakeSlot(), slot) << "a free slot is given out again before a new one";
}

TEST_F(PollingPageTest, BrokenCountsDisablePollingAndNothingElse) {
  PollingSlot broken = Open();
  broken.Asleep();  // below zero
  PollingSlot a = Open();
  a.Awake();
  EXPECT_TRUE(a.MayPoll());
  EXPECT_EQ(page_->awake(), 1u);
}

TEST_F(PollingPageTest, SlotsRunOut) {
  for (uint32_t i = 0; i < PollingLayout::kSlots; ++i) ASSERT_EQ(*page_->TakeSlot(), i);
  EXPECT_EQ(page_->TakeSlot().status().code(), absl::StatusCode::kResourceExhausted);
  page_->ClearSlot(70);
  page_->ClearSlot(7);
  EXPECT_EQ(*page_->TakeSlot(), 7u);
}

TEST_F(PollingPageTest, PollTimeIsTwiceTheWakeWithinLimits) {
  const PollingSlot slot = Open();
  EXPECT_EQ(slot.poll_time_max(), microseconds(100)) << "unmeasured: a wake is taken to cost 50 us";
  page_->SetWakeCost(microseconds(40));
  EXPECT_EQ(slot.poll_time_max(), microseconds(80));
  page_->SetWakeCost(microseconds(3));
  EXPECT_EQ(slot.poll_time_max(), microseconds(20));
  page_->SetWakeCost(std::chrono::hours(1));
  EXPECT_EQ(slot.poll_time_max(), microseconds(200));
  page_->SetWakeCost(Duration(0));
  EXPECT_EQ(slot.poll_time_max(), microseconds(20));
}

TEST_F(PollingPageTest, PageFromAPeerIsChecked) {
  base::UniqueFd unsealed(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), sizeof(PollingLayout)), 0);
  EXPECT_EQ(PollingSlot::Open(unsealed.get(), 0, 2).status().code(), absl::StatusCode::kInvalidArgument);
  base::UniqueFd small = *base::CreateSealedMemfd("small", 4096);
  EXPECT_EQ(PollingSlot::Open(small.get(), 0, 2).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PollingSlot::Open(page_->fd(), PollingLayout::kSlots, 2).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(WakeCost, IsMeasured) {
  const Duration cost = MeasureWakeCost();
  EXPECT_GT(cost, Duration(100));
  EXPECT_LT(cost, std::chrono::seconds(1));
}

}  // namespace
}  // namespace manta::rpc

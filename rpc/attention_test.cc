#include "rpc/attention.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>

namespace manta::rpc {
namespace {

using Rang = PeerAttention::Rang;
using Urgency = PeerAttention::Urgency;

constexpr int kOwn = -2;

class AttentionFixture : public testing::Test {
 protected:
  AttentionFixture() : own_(*Attention::Create()), peer_(OpenPeer()) {}

  PeerAttention OpenPeer() { return *PeerAttention::Open(*own_->Share()); }
  bool IoBellIsRung() const { return IsReadable(own_->io_bell_fd()); }
  static bool IsReadable(int fd) {
    pollfd poll_fd{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&poll_fd, 1, 0) == 1;
  }
  void Overwrite(int with) {
    AttentionFds fds = *own_->Share();
    base::Mapping page = *base::Mapping::Map(fds.page.get(), kAttentionBytes, base::Mapping::Access::kReadWrite);
    std::memset(page.mutable_data(), with, kAttentionBytes);
  }
  // How long a Sleep of at most a second takes.
  Duration SleepTime() {
    const base::SystemClock clock;
    const Time begin = clock.Now();
    own_->Sleep(std::chrono::seconds(1));
    return clock.Now() - begin;
  }

  std::unique_ptr<Attention> own_;
  PeerAttention peer_;
};

using AttentionTest = AttentionFixture;

TEST_F(AttentionTest, AttendedRingsNobody) {
  own_->Set(Attending::kAttended);
  EXPECT_EQ(peer_.Notify(0, Urgency::kUrgent), Rang::kNothing);
  EXPECT_FALSE(IoBellIsRung());
}

TEST_F(AttentionTest, UnattendedRingsTheIoBellOnceUntilItIsTaken) {
  EXPECT_EQ(own_->state(), Attending::kUnattended);
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kIoBell);
  EXPECT_TRUE(IoBellIsRung());
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kNothing);
  PeerAttention other = OpenPeer();
  EXPECT_EQ(other.Notify(1, Urgency::kUrgent), Rang::kNothing);
  own_->TakeIoBell();
  EXPECT_FALSE(IoBellIsRung());
  EXPECT_EQ(other.Notify(1, Urgency::kCall), Rang::kIoBell);
}

TEST_F(AttentionTest, BusyIsRungForUrgentFramesAlone) {
  own_->Set(Attending::kBusy);
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kNothing);
  EXPECT_FALSE(IoBellIsRung());
  EXPECT_EQ(peer_.Notify(0, Urgency::kUrgent), Rang::kIoBell);
  EXPECT_TRUE(IoBellIsRung());
}

TEST_F(AttentionTest, SleeperIsRungOnceAndWakes) {
  own_->PrepareSleep();
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
  EXPECT_LT(SleepTime(), std::chrono::milliseconds(500));
  EXPECT_FALSE(IoBellIsRung());
  // The bell was taken: the next sleep lasts.
  own_->PrepareSleep();
  const base::SystemClock clock;
  const Time begin = clock.Now();
  own_->Sleep(std::chrono::milliseconds(20));
  EXPECT_GE(clock.Now() - begin, std::chrono::milliseconds(20));
}

TEST_F(AttentionTest, BellOfAnEarlierSleepDoesNotSilenceTheNextOne) {
  own_->PrepareSleep();
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
  own_->Sleep(std::chrono::seconds(1));
  own_->PrepareSleep();
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
  EXPECT_LT(SleepTime(), std::chrono::milliseconds(500));
}

TEST_F(AttentionTest, WakeSleeperEndsASleepInThisProcess) {
  own_->PrepareSleep();
  std::thread waker([this] { own_->WakeSleeper(); });
  EXPECT_LT(SleepTime(), std::chrono::milliseconds(500));
  waker.join();
}

TEST_F(AttentionTest, MarksAreSetByPeersAndClearedByTheOwner) {
  own_->Set(Attending::kAttended);
  peer_.Notify(3, Urgency::kCall);
  peer_.Notify(AttentionPage::kMarksMax - 1, Urgency::kCall);
  EXPECT_EQ(own_->mark_word(0), uint64_t{1} << 3);
  EXPECT_EQ(own_->mark_word(AttentionPage::kMarkWords - 1), uint64_t{1} << 63);
  own_->ClearMark(3);
  EXPECT_EQ(own_->mark_word(0), 0u);
  own_->SetMark(4);
  EXPECT_EQ(own_->mark_word(0), uint64_t{1} << 4);
}

TEST_F(AttentionTest, PeerIsRefusedWithAPageThatIsUnsealedShortOrNoMemfd) {
  const auto open = [this](int page) {
    AttentionFds fds = *own_->Share();
    fds.page.reset(page);
    return PeerAttention::Open(std::move(fds)).status().code();
  };
  const int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(unsealed, kAttentionBytes), 0);
  EXPECT_EQ(open(unsealed), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(base::CreateSealedMemfd("short", kAttentionBytes - 8)->release()), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(eventfd(0, EFD_CLOEXEC)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(-1), absl::StatusCode::kInvalidArgument);
}

TEST_F(AttentionTest, PeerIsRefusedWithBellsThatCouldBlockOrKillWhoRingsThem) {
  const auto open = [this](int sleep_bell, int io_bell) {
    AttentionFds fds = *own_->Share();
    if (sleep_bell != kOwn) fds.sleep_bell.reset(sleep_bell);
    if (io_bell != kOwn) fds.io_bell.reset(io_bell);
    return PeerAttention::Open(std::move(fds)).status().code();
  };
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  EXPECT_EQ(open(ends[1], kOwn), absl::StatusCode::kInvalidArgument) << "SIGPIPE once the reader is gone";
  EXPECT_EQ(open(kOwn, ends[0]), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), kOwn), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(kOwn, eventfd(0, EFD_CLOEXEC)), absl::StatusCode::kInvalidArgument) << "blocks when full";
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(ends[0]);
  EXPECT_EQ(open(::open(path.c_str(), O_RDWR | O_CLOEXEC), kOwn), absl::StatusCode::kInvalidArgument);
  close(ends[0]);
  close(ends[1]);
  EXPECT_EQ(open(-1, kOwn), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(kOwn, -1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(open(kOwn, kOwn), absl::StatusCode::kOk);
}

TEST_F(AttentionTest, RingingTheDeadIsHarmless) {
  own_->PrepareSleep();
  own_.reset();  // both bells are closed there
  for (int i = 0; i < 3; ++i) EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
}

TEST_F(AttentionTest, FullBellDoesNotBlock) {
  own_->PrepareSleep();
  for (int i = 0; i < 100'000; ++i) own_->WakeSleeper();
  EXPECT_LT(SleepTime(), std::chrono::milliseconds(500));
}

TEST_F(AttentionTest, PageFullOfGarbageIsSurvived) {
  Overwrite(0xFF);
  peer_.Notify(0, Urgency::kCall);
  own_->TakeIoBell();
  own_->PrepareSleep();
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);  // what we publish is right again
  own_->Sleep(std::chrono::milliseconds(1));
}

TEST_F(AttentionTest, AnOverwrittenPageIsMended) {
  for (const int with : {0xFF, 0x00}) {
    Overwrite(with);
    EXPECT_EQ(peer_.Notify(0, Urgency::kUrgent), Rang::kNothing) << "silenced";
    EXPECT_TRUE(own_->Mend());
    EXPECT_EQ(peer_.Notify(0, Urgency::kUrgent), Rang::kIoBell);
    own_->TakeIoBell();
    EXPECT_FALSE(own_->Mend()) << "nothing is wrong";
  }
}

TEST_F(AttentionTest, ASleeperWhosePageIsOverwrittenIsRungAgain) {
  own_->PrepareSleep();
  Overwrite(0x00);
  EXPECT_TRUE(own_->Mend());
  EXPECT_EQ(peer_.Notify(0, Urgency::kCall), Rang::kSleeper);
  EXPECT_LT(SleepTime(), std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace manta::rpc

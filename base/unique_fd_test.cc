#include "base/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace manta::base {
namespace {

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

UniqueFd OpenNull() { return UniqueFd(open("/dev/null", O_RDWR)); }

TEST(UniqueFd, ClosesWhatItHoldsOnce) {
  int number;
  {
    UniqueFd fd = OpenNull();
    number = fd.get();
    UniqueFd moved = std::move(fd);
    EXPECT_FALSE(fd);  // NOLINT: moved from, and specified to be empty
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFd, ReleaseGivesItUp) {
  UniqueFd fd = OpenNull();
  const int number = fd.release();
  EXPECT_FALSE(fd);
  EXPECT_TRUE(IsOpen(number));
  close(number);
}

TEST(UniqueFd, AssignmentClosesTheOldOne) {
  UniqueFd fd = OpenNull();
  const int old = fd.get();
  UniqueFd other = OpenNull();
  const int kept = other.get();
  fd = std::move(other);
  EXPECT_FALSE(IsOpen(old));
  EXPECT_EQ(fd.get(), kept);
}

TEST(UniqueFd, FlagsAreSetAndCleared) {
  const UniqueFd fd = OpenNull();
  ASSERT_TRUE(SetCloexec(fd.get()).ok());
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  ASSERT_TRUE(SetCloexec(fd.get(), false).ok());
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), 0);
  ASSERT_TRUE(SetNonblocking(fd.get()).ok());
  EXPECT_NE(fcntl(fd.get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_TRUE(SetNonblocking(fd.get(), false).ok());
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_FALSE(SetCloexec(-1).ok());
}

TEST(UniqueFd, DupIsCloseOnExec) {
  const UniqueFd fd = OpenNull();
  const absl::StatusOr<UniqueFd> copy = Dup(fd.get());
  ASSERT_TRUE(copy.ok());
  EXPECT_NE(copy->get(), fd.get());
  EXPECT_EQ(fcntl(copy->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(Dup(-1).ok());
}

}  // namespace
}  // namespace manta::base

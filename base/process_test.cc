#include "base/process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace manta::base {
namespace {

// A child that waits to be killed.
pid_t StartChild(const char* name = nullptr) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  if (name != nullptr) prctl(PR_SET_NAME, name);
  for (;;) pause();
}

TEST(Process, APidfdIsReadableWhenTheProcessEnds) {
  const pid_t pid = StartChild();
  const absl::StatusOr<UniqueFd> pidfd = OpenPidfd(pid);
  ASSERT_TRUE(pidfd.ok()) << pidfd.status();
  pollfd waiting{pidfd->get(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
  ASSERT_TRUE(SendSignal(pidfd->get(), SIGKILL).ok());
  EXPECT_EQ(poll(&waiting, 1, 5000), 1);
  waitpid(pid, nullptr, 0);
  EXPECT_TRUE(absl::IsNotFound(SendSignal(pidfd->get(), SIGKILL)));
  EXPECT_TRUE(absl::IsNotFound(OpenPidfd(pid).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadProcessStat(pid).status()));
}

TEST(Process, StatSurvivesNamesWithParenthesesAndSpaces) {
  const pid_t pid = StartChild("a) R 1 (b");
  usleep(20'000);  // until it has named itself; the name does not change what is asserted
  const absl::StatusOr<ProcessStat> stat = ReadProcessStat(pid);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->parent, getpid());
  EXPECT_GE(stat->thread_count, 1u);  // TSan adds one
  EXPECT_GE(stat->start_time_ticks, ReadProcessStat(getpid())->start_time_ticks);
  EXPECT_GT(stat->resident_bytes, 0u);
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(Process, BootIdIsAUuid) {
  const absl::StatusOr<std::string> id = BootId();
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id->size(), 36u);
  EXPECT_EQ(*id, *BootId());
}

TEST(Process, CpusFollowTheAffinityMask) {
  cpu_set_t old;
  ASSERT_EQ(sched_getaffinity(0, sizeof(old), &old), 0);
  EXPECT_GE(AvailableCpus(), 1);
  EXPECT_LE(AvailableCpus(), CPU_COUNT(&old));
  int first = 0;
  while (!CPU_ISSET(first, &old)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(AvailableCpus(), 1);
  sched_setaffinity(0, sizeof(old), &old);
}

TEST(Process, AvailableMemoryIsBelowTheLimit) {
  const uint64_t machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_GT(AvailableMemoryBytes(), 0u);
  EXPECT_LE(AvailableMemoryBytes(), MemoryLimitBytes());
  EXPECT_LE(MemoryLimitBytes(), machine + machine / 10);
}

}  // namespace
}  // namespace manta::base

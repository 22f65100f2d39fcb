#include "runtime/node/lease_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;

constexpr ProcessId kCaller{1, 1};
const base::ResourceSet kOneCpu{{"CPU", base::Fixed(1)}};
const base::ResourceSet kCpuAndGpu{{"CPU", base::Fixed(1)}, {"GPU", base::Fixed(1)}};
const base::ResourceSet kNode{{"CPU", base::Fixed(2)}, {"GPU", base::Fixed(1)}};

TEST(LeaseTable, GivesBackWhatALeaseHeld) {
  LeaseTable leases(kNode);
  const LeaseId first = leases.Grant(1, kCaller, {1, 2}, kCpuAndGpu);
  EXPECT_FALSE(leases.Fits(kCpuAndGpu));
  EXPECT_TRUE(leases.Fits(kOneCpu));
  leases.End(first);
  EXPECT_EQ(leases.available(), kNode);
  leases.End(first);
  EXPECT_EQ(leases.available(), kNode) << "twice";
}

TEST(LeaseTable, NumbersRise) {
  LeaseTable leases(kNode);
  const LeaseId first = leases.Grant(1, kCaller, {1, 2}, kOneCpu);
  leases.End(first);
  EXPECT_GT(leases.Grant(1, kCaller, {1, 2}, kOneCpu).number, first.number);
}

TEST(LeaseTable, ABlockedTaskLendsItsCpusOnly) {
  LeaseTable leases(kNode);
  const LeaseId lease = leases.Grant(1, kCaller, {1, 2}, kCpuAndGpu);
  EXPECT_TRUE(leases.SetBlocked(lease, true));
  EXPECT_FALSE(leases.SetBlocked(lease, true));
  EXPECT_EQ(leases.available().Get("CPU"), base::Fixed(2));
  EXPECT_EQ(leases.available().Get("GPU"), base::Fixed(0));
}

TEST(LeaseTable, ResumingGoesNegativeAndGrantsNothingUntilItIsNot) {
  LeaseTable leases(kNode);
  const LeaseId first = leases.Grant(1, kCaller, {1, 2}, kOneCpu);
  leases.SetBlocked(first, true);
  const LeaseId second = leases.Grant(1, kCaller, {1, 3}, kOneCpu);
  const LeaseId third = leases.Grant(1, kCaller, {1, 4}, kOneCpu);
  leases.SetBlocked(first, false);
  EXPECT_TRUE(leases.overdrawn());
  EXPECT_FALSE(leases.Fits({})) << "not even what needs nothing";
  leases.End(second);
  EXPECT_FALSE(leases.overdrawn());
  EXPECT_FALSE(leases.Fits(kOneCpu));
  leases.End(third);
  leases.End(first);
  EXPECT_EQ(leases.available(), kNode);
}

TEST(LeaseTable, ALeaseThatEndsBlockedGivesTheRestBack) {
  LeaseTable leases(kNode);
  const LeaseId lease = leases.Grant(1, kCaller, {1, 2}, kCpuAndGpu);
  leases.SetBlocked(lease, true);
  leases.End(lease);
  EXPECT_EQ(leases.available(), kNode);
}

TEST(LeaseTable, AnActorHoldsLessOnceItLives) {
  LeaseTable leases(kNode);
  const LeaseId lease = leases.Grant(1, {}, {}, kCpuAndGpu);
  leases.SetWorker(lease, {1, 5});
  leases.SetBlocked(lease, true);
  leases.Change(lease, {{"GPU", base::Fixed(1)}});
  const base::ResourceSet only_cpus{{"CPU", base::Fixed(2)}};
  EXPECT_EQ(leases.available(), only_cpus);
  leases.End(lease);
  EXPECT_EQ(leases.available(), kNode);
}

TEST(LeaseTable, FindsLeasesByWorkerCallerAndNode) {
  LeaseTable leases(kNode);
  const LeaseId here = leases.Grant(1, kCaller, {1, 2}, kOneCpu);
  const LeaseId there = leases.Grant(1, {2, 9}, {1, 3}, kOneCpu);
  EXPECT_EQ(leases.OfWorker({1, 3})->id, there);
  EXPECT_EQ(leases.OfWorker({1, 4}), nullptr);
  EXPECT_THAT(leases.OfCaller(kCaller), ElementsAre(here));
  EXPECT_THAT(leases.OfCallersOn(2), ElementsAre(there));
}

}  // namespace
}  // namespace manta::runtime::node

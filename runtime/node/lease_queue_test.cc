#include "runtime/node/lease_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr ProcessId kCaller{1, 1};
constexpr ProcessId kOther{2, 1};

rpc::LeaseRequest Request(uint64_t number, int cpus = 1, uint32_t depth = 0, ProcessId caller = kCaller,
                          JobId job = 1) {
  rpc::LeaseRequest request;
  request.caller = caller;
  request.request = number;
  request.job = job;
  request.shape.Set("CPU", base::Fixed(cpus));
  request.depth = depth;
  return request;
}

// Takes the requests in the order in which they would be granted.
std::vector<uint64_t> Order(LeaseQueue* queue) {
  std::vector<uint64_t> order;
  while (LeaseQueue::Class* of = queue->Best({})) {
    const LeaseQueue::Key key = of->waiting.begin()->second;
    order.push_back(key.second);
    queue->Remove(key);
  }
  return order;
}

TEST(LeaseQueue, DeeperGoFirstThenEarlier) {
  LeaseQueue queue;
  queue.Add(Request(1));
  queue.Add(Request(2, 2));
  queue.Add(Request(3, 1, 1));
  queue.Add(Request(4, 2, 1));
  queue.Add(Request(5));
  EXPECT_THAT(Order(&queue), ElementsAre(3, 4, 1, 2, 5));
}

TEST(LeaseQueue, WhatIsStuckDoesNotHoldUpOthers) {
  LeaseQueue queue;
  queue.Add(Request(1, 64));
  queue.Add(Request(2, 1));
  const LeaseQueue::Class* stuck = queue.Best({});
  EXPECT_EQ(stuck->waiting.begin()->second.second, 1u);
  const LeaseQueue::Class* next = queue.Best({stuck});
  EXPECT_EQ(next->waiting.begin()->second.second, 2u);
  EXPECT_EQ(queue.Best({stuck, next}), nullptr);
}

TEST(LeaseQueue, ARequestIsThereOnce) {
  LeaseQueue queue;
  EXPECT_TRUE(queue.Add(Request(1)));
  EXPECT_FALSE(queue.Add(Request(1)));
  EXPECT_EQ(queue.Remove({kCaller, 1}), 0u);
  EXPECT_EQ(queue.Remove({kCaller, 1}), std::nullopt);
}

TEST(LeaseQueue, WhatWasSentElsewhereComesBackIntoItsPlace) {
  LeaseQueue queue;
  queue.Add(Request(1));
  queue.Add(Request(2));
  queue.Sent({kCaller, 1}, 3);
  EXPECT_EQ(queue.SentTo({kCaller, 1}), 3u);
  EXPECT_EQ(queue.Best({})->waiting.size(), 1u);
  queue.TakeBack(NodeId{3});
  EXPECT_THAT(Order(&queue), ElementsAre(1, 2));
}

TEST(LeaseQueue, TellsEachRequestAReasonOnce) {
  LeaseQueue queue;
  queue.Add(Request(1));
  EXPECT_THAT(queue.SetReason(queue.Best({}), "busy"), ElementsAre(LeaseQueue::Key{kCaller, 1}));
  queue.Add(Request(2));
  EXPECT_THAT(queue.SetReason(queue.Best({}), "busy"), ElementsAre(LeaseQueue::Key{kCaller, 2}));
  EXPECT_THAT(queue.SetReason(queue.Best({}), "busy"), IsEmpty());
  EXPECT_EQ(queue.SetReason(queue.Best({}), "still busy").size(), 2u);
}

TEST(LeaseQueue, FindsRequestsByCallerNodeAndJob) {
  LeaseQueue queue;
  queue.Add(Request(1));
  queue.Add(Request(2, 1, 0, kOther, 2));
  EXPECT_THAT(queue.OfCaller(kCaller), ElementsAre(LeaseQueue::Key{kCaller, 1}));
  EXPECT_THAT(queue.OfCallersOn(2), ElementsAre(LeaseQueue::Key{kOther, 2}));
  EXPECT_THAT(queue.OfJob(2), ElementsAre(LeaseQueue::Key{kOther, 2}));
}

}  // namespace
}  // namespace manta::runtime::node

#include "runtime/task_events.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace manta::runtime {
namespace {

class TaskEventsTest : public ::testing::Test {
 protected:
  uint64_t Add(uint64_t call, std::string_view name = "Add") {
    TaskRecord record;
    record.call = {{1, 2}, call};
    record.state = TaskState::kPendingNode;
    record.is_own = 1;
    return events_.Add(record, name, 0);
  }
  std::vector<TaskRecord> All() const {
    std::vector<TaskRecord> records;
    TaskEventsView(memory_.data()).ForEach([&](const TaskRecord& record) {
      records.push_back(record);
      return true;
    });
    return records;
  }

  alignas(64) std::vector<char> memory_ = std::vector<char>(TaskEvents::bytes());
  int asked_ = 0;
  TaskEvents events_{memory_.data(), [this](uint64_t function) {
                       ++asked_;
                       return "function " + std::to_string(function);
                     }};
};

TEST_F(TaskEventsTest, ARecordIsFollowedToItsEnd) {
  const uint64_t number = Add(7);
  EXPECT_EQ(All().at(0).state, TaskState::kPendingNode);
  events_.SetPendingArgs(number);
  EXPECT_EQ(All().at(0).state, TaskState::kPendingArgs);
  events_.SetPendingNode(number);
  events_.SetSubmitted(number, 2, {1, 9});
  EXPECT_EQ(All().at(0).state, TaskState::kSubmitted);
  EXPECT_EQ(All().at(0).attempt, 2u);
  EXPECT_EQ(All().at(0).worker, (ProcessId{1, 9}));
  events_.SetFinished(number, TimeFromNanos(77));
  EXPECT_EQ(All().at(0).state, TaskState::kFinished);
  EXPECT_EQ(All().at(0).ended_ns, 77);
  EXPECT_STREQ(All().at(0).name.data(), "Add");
}

TEST_F(TaskEventsTest, AFailureSaysWhatItWas) {
  rpc::ErrorInfo error;
  error.code = rpc::ErrorCode::kTaskError;
  error.type = std::string(100, 't');
  events_.SetFailed(Add(1), TimeFromNanos(5), error);
  EXPECT_EQ(All().at(0).state, TaskState::kFailed);
  EXPECT_EQ(All().at(0).error, rpc::ErrorCode::kTaskError);
  EXPECT_EQ(std::string(All().at(0).error_type.data()), std::string(29, 't'));
}

TEST_F(TaskEventsTest, TheLastOnesAreKeptNewestFirst) {
  const uint64_t first = Add(1);
  for (uint64_t call = 2; call <= TaskEvents::kRecords + 1; ++call) Add(call);
  const std::vector<TaskRecord> records = All();
  ASSERT_EQ(records.size(), TaskEvents::kRecords);
  EXPECT_EQ(records.front().call.number, TaskEvents::kRecords + 1);
  EXPECT_EQ(records.back().call.number, 2u);
  events_.SetFinished(first, TimeFromNanos(1));  // overwritten: nothing happens
  for (const TaskRecord& record : All()) EXPECT_EQ(record.state, TaskState::kPendingNode);
  EXPECT_EQ(TaskEventsView(memory_.data()).used_bytes(), TaskEvents::kRecords * sizeof(TaskRecord));
}

TEST_F(TaskEventsTest, NamesAreCutAndAFunctionIsAskedForOnce) {
  Add(1, std::string(100, 'n'));
  EXPECT_EQ(std::string(All().at(0).name.data()), std::string(63, 'n'));
  for (const uint64_t function : {5, 5, 6, 5}) events_.Add({}, "", function);
  EXPECT_EQ(asked_, 2);
  EXPECT_STREQ(All().at(0).name.data(), "function 5");
  EXPECT_STREQ(All().at(1).name.data(), "function 6");
}

TEST_F(TaskEventsTest, WhateverIsInTheMemoryIsRead) {
  Add(1);
  std::memset(memory_.data(), 0xFF, memory_.size());
  EXPECT_TRUE(All().empty());
  EXPECT_EQ(TaskEventsView(memory_.data()).used_bytes(), TaskEvents::kRecords * sizeof(TaskRecord));
  std::memset(memory_.data(), 0, 8);
  EXPECT_TRUE(All().empty());
}

TEST(TaskEventsMapping, ANodeMapsWhatAProcessMade) {
  absl::StatusOr<TaskEvents> events = TaskEvents::Create(nullptr);
  ASSERT_TRUE(events.ok());
  const base::UniqueFd fd = events->TakeFd();
  TaskRecord record;
  record.call = {{1, 2}, 3};
  events->Add(record, "Add", 0);
  const absl::StatusOr<TaskEventsView> view = TaskEventsView::Map(fd);
  ASSERT_TRUE(view.ok());
  size_t seen = 0;
  view->ForEach([&](const TaskRecord& found) {
    EXPECT_EQ(found.call, record.call);
    ++seen;
    return true;
  });
  EXPECT_EQ(seen, 1u);
  EXPECT_FALSE(TaskEventsView::Map(base::UniqueFd()).ok());
}

}  // namespace
}  // namespace manta::runtime

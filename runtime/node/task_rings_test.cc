#include "runtime/node/task_rings.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

// A driver (connection 1, n1.p1) and a worker (connection 2, n1.p2).
class TaskRingsTest : public ::testing::Test {
 protected:
  TaskRingsTest() {
    rings_.Add(1, 100, TaskEventsView(driver_memory_.data()));
    rings_.SetOwner(1, {1, 1}, 7);
    rings_.Add(2, 200, TaskEventsView(worker_memory_.data()));
    rings_.SetOwner(2, {1, 2}, 7);
  }
  uint64_t Submit(uint64_t call) {
    TaskRecord record;
    record.call = {{1, 1}, call};
    record.is_own = 1;
    record.state = TaskState::kPendingNode;
    record.submitted_ns = static_cast<int64_t>(1'000'000 * call);
    return driver_.Add(record, "Train", 0);
  }
  uint64_t Run(uint64_t call, TaskKind kind = TaskKind::kTask) {
    TaskRecord record;
    record.call = {{1, 1}, call};
    record.worker = {1, 2};
    record.kind = kind;
    record.state = TaskState::kRunning;
    record.started_ns = static_cast<int64_t>(1'000'000 * call + 500'000);
    return worker_.Add(record, "Train", 0);
  }
  rpc::StateReply Ask(std::string subject = "", uint64_t limit = 100) {
    rpc::StateQuery query;
    query.kind = rpc::StateKind::kTasks;
    query.subject = std::move(subject);
    query.limit = limit;
    return rings_.Describe(query, 1, 5'000'000'000);
  }
  std::string Value(const std::string& key, size_t row = 0) {
    const rpc::StateReply reply = Ask();
    return row < reply.rows.size() ? ValueOf(reply.rows[row], key) : "(no such row)";
  }

  std::vector<char> driver_memory_ = std::vector<char>(TaskEvents::bytes());
  std::vector<char> worker_memory_ = std::vector<char>(TaskEvents::bytes());
  TaskEvents driver_{driver_memory_.data(), nullptr};
  TaskEvents worker_{worker_memory_.data(), nullptr};
  TaskRings rings_;
};

TEST_F(TaskRingsTest, CallerAndWorkerTellOfOneTask) {
  const uint64_t submitted = Submit(1);
  EXPECT_EQ(Value("state"), "PENDING_NODE");
  driver_.SetSubmitted(submitted, 0, {1, 2});
  EXPECT_EQ(Value("state"), "SUBMITTED_TO_WORKER");
  const uint64_t running = Run(1);
  EXPECT_EQ(Ask().rows.size(), 1u);
  EXPECT_EQ(Value("state"), "RUNNING");
  EXPECT_EQ(Value("task_id"), "n1.p1.c1");
  EXPECT_EQ(Value("worker_id"), "n1.p2");
  EXPECT_EQ(Value("pid"), "200");
  EXPECT_EQ(Value("job_id"), "7");
  EXPECT_EQ(Value("type"), "NORMAL_TASK");
  EXPECT_EQ(Value("submitted_ms"), "5001");
  worker_.SetFinished(running, TimeFromNanos(3'000'000));
  EXPECT_EQ(Value("state"), "FINISHED");
  EXPECT_EQ(Value("ended_ms"), "5003");
  driver_.SetFinished(submitted, TimeFromNanos(4'000'000));
  EXPECT_EQ(Value("state"), "FINISHED");
}

TEST_F(TaskRingsTest, TheCallersWordIsTheLast) {
  const uint64_t submitted = Submit(1);
  rpc::ErrorInfo timeout;
  timeout.code = rpc::ErrorCode::kTimeout;
  driver_.SetFailed(submitted, TimeFromNanos(2), timeout);
  worker_.SetFinished(Run(1), TimeFromNanos(3));
  EXPECT_EQ(Value("state"), "FAILED");
  EXPECT_EQ(Value("error_type"), "TimeoutError");
}

TEST_F(TaskRingsTest, TheDeadAreRememberedAndRunNothing) {
  Run(1);
  rings_.Ended(2);
  EXPECT_EQ(Value("state"), "FAILED");
  EXPECT_EQ(Value("error_type"), "WorkerDiedError");
  EXPECT_EQ(Value("pid"), "200");
  for (size_t i = 0; i < TaskRings::kDeadMax; ++i) {
    rings_.Add(10 + i, 300, TaskEventsView(driver_memory_.data()));
    rings_.Ended(10 + i);  // has called nothing: not worth a place
  }
  EXPECT_EQ(Ask().rows.size(), 1u);
  Submit(2);
  for (size_t i = 0; i < TaskRings::kDeadMax; ++i) {
    rings_.Add(100 + i, 300, TaskEventsView(driver_memory_.data()));
    rings_.Ended(100 + i);
  }
  EXPECT_EQ(Ask().rows.size(), 1u) << "the first of the dead should have been forgotten";
  EXPECT_EQ(Value("task_id"), "n1.p1.c2");
}

TEST_F(TaskRingsTest, TheNewestComeFirstAndTheLimitIsKept) {
  for (uint64_t call = 1; call <= 10; ++call) Submit(call);
  const rpc::StateReply reply = Ask("", 3);
  ASSERT_EQ(reply.rows.size(), 3u);
  EXPECT_EQ(ValueOf(reply.rows[0], "task_id"), "n1.p1.c10");
  EXPECT_EQ(ValueOf(reply.rows[2], "task_id"), "n1.p1.c8");
  EXPECT_TRUE(reply.truncated);
}

TEST_F(TaskRingsTest, TheSummaryCountsEachCallOnce) {
  for (uint64_t call = 1; call <= 5; ++call) driver_.SetSubmitted(Submit(call), 0, {1, 2});
  Run(1);
  Run(9, TaskKind::kActorCreation);
  const rpc::StateReply summary = Ask(rpc::kStateSummary);
  std::map<std::string, std::string> counts;
  for (const rpc::StateRow& row : summary.rows) {
    counts[ValueOf(row, "type") + " " + ValueOf(row, "state")] = ValueOf(row, "count");
  }
  EXPECT_EQ(counts, (std::map<std::string, std::string>{{"NORMAL_TASK RUNNING", "1"},
                                                        {"NORMAL_TASK SUBMITTED_TO_WORKER", "4"},
                                                        {"ACTOR_CREATION_TASK RUNNING", "1"}}));
}

}  // namespace
}  // namespace manta::runtime

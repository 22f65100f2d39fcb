#include "runtime/state_rows.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace manta::runtime {
namespace {

TEST(StateRows, StopsAtTheLimitAndSaysSo) {
  rpc::StateQuery query;
  query.request = 7;
  query.limit = 2;
  StateRows rows(query, 3);
  EXPECT_TRUE(rows.Add(StateRow().Number("n", 1)));
  EXPECT_TRUE(rows.Add(StateRow().Number("n", 2)));
  EXPECT_FALSE(rows.Add(StateRow().Number("n", 3)));
  const rpc::StateReply reply = rows.Take();
  EXPECT_EQ(reply.request, 7u);
  EXPECT_EQ(reply.node, 3u);
  EXPECT_EQ(reply.rows.size(), 2u);
  EXPECT_TRUE(reply.truncated);
}

TEST(StateRows, FitsIntoAMessageWhateverTheLimit) {
  rpc::StateQuery query;
  query.limit = UINT64_MAX;
  StateRows rows(query, 1);
  size_t bytes = 0;
  while (rows.Add(StateRow().Text("text", std::string(1000, 'x')))) bytes += 1000;
  EXPECT_GT(bytes, StateRows::kBytesMax / 2);
  EXPECT_LE(bytes, StateRows::kBytesMax);
  EXPECT_TRUE(rows.Take().truncated);
}

TEST(StateRows, LeavesOutWhatTheFiltersDoNotTake) {
  rpc::StateQuery query;
  query.limit = 2;
  query.filters = {"state=ALIVE", "name!=ps", "nonsense"};
  StateRows rows(query, 1);
  EXPECT_TRUE(rows.Add(StateRow().Text("state", "DEAD").Number("n", 1)));
  EXPECT_TRUE(rows.Add(StateRow().Text("state", "ALIVE").Number("n", 2)));
  EXPECT_TRUE(rows.Add(StateRow().Text("state", "ALIVE").Text("name", "ps").Number("n", 3)));
  EXPECT_TRUE(rows.Add(StateRow().Text("state", "").Text("name", "x").Number("n", 4)));
  const rpc::StateReply reply = rows.Take();
  ASSERT_EQ(reply.rows.size(), 2u);
  EXPECT_EQ(ValueOf(reply.rows[0], "n"), "2");
  EXPECT_EQ(ValueOf(reply.rows[1], "n"), "4");
  EXPECT_FALSE(reply.truncated);
  for (const char* text : {"", "=", "=x", "state", "!=x"}) EXPECT_FALSE(ParseFilter(text)) << text;
}

TEST(StateRows, ListsAreJsonWhateverIsInThem) {
  const rpc::StateRow row = StateRow().TextList("list", {"a\"b", "\x01\xff"}).Take();
  const auto parsed = nlohmann::json::parse(ValueOf(row, "list"));
  EXPECT_EQ(parsed[0], "a\"b");
  EXPECT_EQ(parsed.size(), 2u);
}

TEST(StateRows, RowsOfOneActorAreOne) {
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kActors;
  rpc::StateRow known =
      StateRow().Text("actor_id", "n1.p1.a1").Text("state", "RESTARTING").Text("worker_id", "").Take();
  const rpc::StateRow host =
      StateRow().Text("actor_id", "n1.p1.a1").Text("state", "ALIVE").Text("worker_id", "n2.p1").Number("pid", 9).Take();
  EXPECT_EQ(KeyOf(query, known), KeyOf(query, host));
  MergeRow(host, &known);
  EXPECT_EQ(ValueOf(known, "state"), "RESTARTING");
  EXPECT_EQ(ValueOf(known, "worker_id"), "n2.p1");
  EXPECT_EQ(ValueOf(known, "pid"), "9");
}

TEST(StateRows, ATaskIsAsFarAsAnybodyHasSeen) {
  const auto task = [](const char* state, int64_t pid) {
    return StateRow().Text("task_id", "n1.p1.c1").Text("state", state).NumberOrNull("pid", pid).Take();
  };
  rpc::StateRow caller = task("SUBMITTED_TO_WORKER", 0);
  MergeRow(task("RUNNING", 7), &caller);
  EXPECT_EQ(ValueOf(caller, "state"), "RUNNING");
  EXPECT_EQ(ValueOf(caller, "pid"), "7");
  rpc::StateRow worker = task("FAILED", 7);
  MergeRow(task("FINISHED", 0), &worker);
  EXPECT_EQ(ValueOf(worker, "state"), "FAILED");
  EXPECT_EQ(ValueOf(worker, "pid"), "7");
}

TEST(StateRows, CountsAreNeverMerged) {
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kActors;
  query.subject = rpc::kStateSummary;
  EXPECT_EQ(KeyOf(query, StateRow().Text("class_name", "A").Take()), "");
}

TEST(StateRows, IdsAreReadAsTheyAreWritten) {
  const ActorId actor{{3, 7}, 12};
  EXPECT_EQ(ParseActorId(ToString(actor)), actor);
  EXPECT_EQ(ParseProcessId("n3.p7"), (ProcessId{3, 7}));
  EXPECT_EQ(ParseProcessId("n3"), DaemonOf(3));
  for (const char* other :
       {"", "n", "n3.", "3", "n3.p", "n3.p7.a", "n3.p7.o1", "n0", "n3.p-1", "n99999999999999999999", "hits"}) {
    EXPECT_FALSE(ParseActorId(other)) << other;
  }
}

TEST(StateRows, APageBeginsBehindTheLastOne) {
  rpc::StateQuery query;
  query.subject = kStatePage;
  query.offset = 2;
  query.limit = 2;
  StateRows rows(query, 1);
  for (int i = 0; i < 5; ++i) {
    if (!rows.SkipsNext() && !rows.Add(StateRow().Number("number", i))) break;
  }
  const rpc::StateReply page = rows.Take();
  ASSERT_EQ(page.rows.size(), 2u);
  EXPECT_EQ(ValueOf(page.rows[0], "number"), "2");
  EXPECT_TRUE(page.truncated);
}

}  // namespace
}  // namespace manta::runtime

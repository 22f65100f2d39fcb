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

}  // namespace
}  // namespace manta::runtime

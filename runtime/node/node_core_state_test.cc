#include "runtime/node/node_core_fixture.h"
#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

using rpc::StateKind;

class NodeCoreStateTest : public NodeCoreTest {
 protected:
  NodeCoreStateTest() { Join(); }
  // Asked as the head asks.
  rpc::StateReply Ask(StateKind kind, std::string subject = "") {
    rpc::StateQuery query;
    query.request = 3;
    query.kind = kind;
    query.subject = std::move(subject);
    Take<rpc::StateReply>(kHead);
    FromHead(query);
    std::vector<rpc::StateReply> replies = Take<rpc::StateReply>(kHead);
    EXPECT_EQ(replies.size(), 1u);
    return replies.empty() ? rpc::StateReply{} : replies[0];
  }
  static std::string Value(const rpc::StateReply& reply, size_t row, const std::string& key) {
    return row < reply.rows.size() ? ValueOf(reply.rows[row], key) : "(no such row)";
  }
  static std::vector<rpc::StateRow> Rows(const rpc::StateReply& reply, const std::string& row) {
    std::vector<rpc::StateRow> found;
    for (const rpc::StateRow& one : reply.rows) {
      if (ValueOf(one, "row") == row) found.push_back(one);
    }
    return found;
  }
};

TEST_F(NodeCoreStateTest, WorkersAreTheProcessesThatThereAre) {
  const ProcessId driver = Driver();
  const rpc::LeaseGrant lease = Lease(driver, 1);
  rpc::StateReply workers = Ask(StateKind::kWorkers);
  EXPECT_EQ(workers.request, 3u);
  EXPECT_EQ(workers.node, kSelf);
  ASSERT_EQ(workers.rows.size(), 2u);
  EXPECT_EQ(Value(workers, 0, "worker_type"), "DRIVER");
  EXPECT_EQ(Value(workers, 1, "worker_id"), ToString(lease.worker));
  EXPECT_EQ(Value(workers, 1, "state"), "LEASED");
  Ended(lease.worker);
  EXPECT_EQ(Ask(StateKind::kWorkers).rows.size(), 1u);
}

TEST_F(NodeCoreStateTest, AnAnonymousActorIsKnownToItsDirectoryAndItsHost) {
  const ProcessId worker = CreateActor(Driver(), 7);
  const rpc::StateReply actors = Ask(StateKind::kActors);
  ASSERT_EQ(actors.rows.size(), 2u);
  for (const rpc::StateRow& row : actors.rows) {
    EXPECT_EQ(ValueOf(row, "state"), "ALIVE");
    EXPECT_EQ(ValueOf(row, "worker_id"), ToString(worker));
    EXPECT_EQ(ValueOf(row, "class_name"), "Counter");
    EXPECT_EQ(ValueOf(row, "node_id"), "n5");
  }
  const rpc::StateReply summary = Ask(StateKind::kActors, rpc::kStateSummary);
  ASSERT_EQ(summary.rows.size(), 1u);
  EXPECT_EQ(Value(summary, 0, "count"), "1");
}

TEST_F(NodeCoreStateTest, TheStatusSaysWhatIsUsedAndWhoWaits) {
  const ProcessId driver = Driver();
  Lease(driver, 1);
  AskLease(driver, 2, ResourceSet{{"GPU", Fixed(1)}});
  AskLease(driver, 3, ResourceSet{{"GPU", Fixed(1)}});
  const rpc::StateReply status = Ask(StateKind::kStatus);
  ASSERT_EQ(Rows(status, "node").size(), 1u);
  EXPECT_EQ(ValueOf(Rows(status, "node")[0], "resources_available"), R"({"CPU":1})");
  EXPECT_EQ(ValueOf(Rows(status, "node")[0], "store_bytes_total"), std::to_string(64 << 20));
  ASSERT_EQ(Rows(status, "demand").size(), 1u);
  EXPECT_EQ(ValueOf(Rows(status, "demand")[0], "count"), "2");
  EXPECT_NE(ValueOf(Rows(status, "demand")[0], "reason").find("GPU"), std::string::npos);
}

TEST_F(NodeCoreStateTest, AWorkerThatNobodyToldToEndIsAFailure) {
  const ProcessId driver = Driver();
  const rpc::LeaseGrant killed = Lease(driver, 1);
  Ended(killed.worker, "killed by signal 9");
  const std::vector<rpc::StateRow> failures = Rows(Ask(StateKind::kStatus), "failure");
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(ValueOf(failures[0], "what"), ToString(killed.worker));
  EXPECT_EQ(ValueOf(failures[0], "reason"), "killed by signal 9");
}

TEST_F(NodeCoreStateTest, AWorkerThatEndsAsItWasToldIsNone) {
  const ProcessId driver = Driver();
  const rpc::LeaseGrant idle = Lease(driver, 1);
  From(driver, rpc::LeaseReturn{idle.lease});
  Pass(std::chrono::seconds(5));
  ASSERT_EQ(Take<rpc::ProcessExit>(idle.worker).size(), 1u);
  Ended(idle.worker, "exited with status 0");
  EXPECT_TRUE(Rows(Ask(StateKind::kStatus), "failure").empty());
}

TEST_F(NodeCoreStateTest, AnObjectIsListedWithItsHoldersUntilItIsReleased) {
  const ProcessId driver = Driver();
  rpc::ObjectPublish publish;
  publish.object = {driver, 4, 0};
  publish.value.bytes = Bytes("12345", 5);
  From(driver, publish);
  const rpc::StateReply objects = Ask(StateKind::kObjects);
  ASSERT_EQ(objects.rows.size(), 1u);
  EXPECT_EQ(Value(objects, 0, "object_id"), ToString(publish.object));
  EXPECT_EQ(Value(objects, 0, "size"), "5");
  EXPECT_EQ(Value(objects, 0, "state"), "INLINE");
  EXPECT_EQ(Value(objects, 0, "reference_type"), "LOCAL_REFERENCE");
  EXPECT_EQ(Value(objects, 0, "held_by"), "[\"" + ToString(driver) + "\"]");
  EXPECT_NE(Value(objects, 0, "why"), "");
  const rpc::StateReply summary = Ask(StateKind::kObjects, rpc::kStateSummary);
  ASSERT_EQ(summary.rows.size(), 1u);
  EXPECT_EQ(Value(summary, 0, "size"), "5");
  From(driver, rpc::RefRelease{publish.object, driver, 0});
  EXPECT_TRUE(Ask(StateKind::kObjects).rows.empty());
}

TEST_F(NodeCoreStateTest, OnlyTheHeadIsAnswered) {
  const ProcessId driver = Driver();
  From(driver, rpc::StateQuery{});
  EXPECT_TRUE(Take<rpc::StateReply>(driver).empty());
  EXPECT_TRUE(Take<rpc::StateReply>(kHead).empty());
}

TEST_F(NodeCoreStateTest, TheHeadMayHaveAnAnonymousActorKilled) {
  const ProcessId driver = Driver();
  const ProcessId worker = CreateActor(driver, 7);
  FromHead(rpc::ActorKill{.actor = {driver, 7}, .no_restart = true});
  EXPECT_TRUE(TakeKills().contains(worker));
}

}  // namespace
}  // namespace manta::runtime

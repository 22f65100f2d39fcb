#include "tools/cli/status.h"

#include <gtest/gtest.h>

#include <sstream>

#include "runtime/state_rows.h"

namespace manta::cli {
namespace {

using runtime::StateRow;

StateRow Node(const char* id, const char* state, int cpus, int free) {
  StateRow row;
  row.Text("row", "node").Text("node_id", id).Text("state", state).Text("name", "host").Bool("is_head", false);
  row.Resources("resources_total", {{"CPU", base::Fixed(cpus)}});
  if (free >= 0) row.Resources("resources_available", {{"CPU", base::Fixed(free)}});
  row.Number("store_bytes_used", 1 << 20).Number("store_bytes_total", 256 << 20);
  return row;
}

rpc::StateReply Sample() {
  rpc::StateReply reply;
  reply.rows.push_back(Node("n1", "ALIVE", 4, 1).Take());
  reply.rows.push_back(Node("n2", "ALIVE", 2, 2).Take());
  StateRow dead;
  dead.Text("row", "node").Text("node_id", "n3").Text("state", "DEAD").Text("message", "silent");
  reply.rows.push_back(dead.Resources("resources_total", {{"CPU", base::Fixed(8)}}).Take());
  for (int i = 0; i < 2; ++i) {
    reply.rows.push_back(runtime::DemandRow("task", R"({"GPU":1})", 3, "no node has a GPU").Take());
    reply.rows.push_back(StateRow().Text("row", "actors").Text("state", "ALIVE").Number("count", 2).Take());
  }
  reply.rows.push_back(runtime::FailureRow("worker", "n1.p4", "killed by signal 9").Take());
  return reply;
}

TEST(Status, AddsUpWhatLives) {
  const Json status = StatusOf("127.0.0.1:7400", Sample());
  EXPECT_EQ(status["nodes"].size(), 3u);
  EXPECT_EQ(status["resources"]["CPU"]["used"], 3.0);
  EXPECT_EQ(status["resources"]["CPU"]["total"], 6.0);
  EXPECT_EQ(status["store"]["used_bytes"], 2 << 20);
  EXPECT_EQ(status["actors"]["ALIVE"], 4);
  ASSERT_EQ(status["demand"].size(), 1u);
  EXPECT_EQ(status["demand"][0]["count"], 6);
  EXPECT_EQ(status["failures"][0]["what"], "n1.p4");
}

TEST(Status, ReadsAsText) {
  const std::string text = RenderStatus(StatusOf("127.0.0.1:7400", Sample()), {});
  for (const char* part : {"127.0.0.1:7400", "2 nodes live, 1 died", "3/4 CPU", "3/6 CPU", "no node has a GPU",
                           "4 ALIVE", "killed by signal 9", "silent", "2.0 MiB of 512 MiB"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(Status, ANodeThatDoesNotSayWhatIsFreeIsNotGuessedAt) {
  rpc::StateReply reply;
  reply.rows.push_back(Node("n1", "SUSPECTED", 4, -1).Take());
  reply.error = "node n1 did not answer within 1s";
  const std::string text = RenderStatus(StatusOf("a", reply), {});
  EXPECT_NE(text.find("?/4 CPU"), std::string::npos) << text;
  EXPECT_NE(text.find("warning: node n1 did not answer"), std::string::npos) << text;
}

TEST(Status, FitsTheTerminal) {
  std::istringstream lines(RenderStatus(StatusOf("a", Sample()), {.width = 60}));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(WidthOf(line), 60u) << line;
}

TEST(Summary, AddsUpWhatSeveralNodesCounted) {
  rpc::StateReply reply;
  for (const int count : {1, 5}) {
    reply.rows.push_back(StateRow().Text("name", "a").Text("state", "FAILED").Number("count", count).Take());
    reply.rows.push_back(StateRow().Text("name", "b").Text("state", "FINISHED").Number("count", 10).Take());
  }
  const Json summary = SummaryOf(reply, {"name", "state"});
  ASSERT_EQ(summary.size(), 2u);
  EXPECT_EQ(summary[0]["name"], "b");
  EXPECT_EQ(summary[0]["count"], 20);
  EXPECT_EQ(summary[1]["count"], 6);
}

}  // namespace
}  // namespace manta::cli

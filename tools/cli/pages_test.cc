#include "tools/cli/pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/state_rows.h"

namespace manta::cli {
namespace {

using ::testing::SizeIs;

// A head without objects of its own and two nodes, whose answers hold ten rows.
class Cluster {
 public:
  absl::StatusOr<rpc::StateReply> Answer(const rpc::StateQuery& query) {
    rpc::StateReply reply;
    if (query.kind == rpc::StateKind::kNodes) {
      for (const char* node : {"n1", "n2", "n3"}) {
        const bool is_dead = node == std::string("n2");
        reply.rows.push_back(
            runtime::StateRow().Text("node_id", node).Text("state", is_dead ? "DEAD" : "ALIVE").Take());
      }
      return reply;
    }
    EXPECT_EQ(query.subject, runtime::kStatePage);
    ++pages_;
    const uint64_t count = query.node == 0 ? 0 : query.node == 1 ? 25 : 30;
    for (uint64_t i = query.offset; i < count; ++i) {
      if (reply.rows.size() == 10) {
        reply.truncated = true;
        break;
      }
      // The first five of both are the same objects.
      const std::string node = i < 5 ? "n1" : "n" + std::to_string(query.node);
      reply.rows.push_back(runtime::StateRow().Text("object_id", node + "." + std::to_string(i)).Take());
    }
    return reply;
  }
  int pages_ = 0;
};

TEST(AskInPages, GathersWhatIsLongerThanAnAnswer) {
  Cluster cluster;
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kObjects;
  const auto all = AskInPages([&](const rpc::StateQuery& asked) { return cluster.Answer(asked); }, query);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(all->rows, SizeIs(50));
  EXPECT_FALSE(all->truncated);
  EXPECT_EQ(cluster.pages_, 1 + 3 + 3);
}

TEST(AskInPages, StopsAtTheLimitUnlessThereAreFilters) {
  Cluster cluster;
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kObjects;
  query.limit = 12;
  const auto ask = [&](const rpc::StateQuery& asked) { return cluster.Answer(asked); };
  const auto some = AskInPages(ask, query);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_GT(some->rows.size(), 12u);
  EXPECT_LT(some->rows.size(), 50u);
  EXPECT_TRUE(some->truncated);
  query.filters = {"state=STORED"};
  const auto all = AskInPages(ask, query);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(all->rows, SizeIs(50)) << "the caller applies them";
}

TEST(AskInPages, SaysWhatIsMissing) {
  Cluster cluster;
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kObjects;
  const auto all = AskInPages(
      [&](const rpc::StateQuery& asked) {
        auto reply = cluster.Answer(asked);
        if (asked.node != 3) return reply;
        *reply = rpc::StateReply();
        reply->error = "node n3 is not there";
        return reply;
      },
      query);
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(all->rows, SizeIs(25));
  EXPECT_EQ(all->error, "node n3 is not there");
}

}  // namespace
}  // namespace manta::cli

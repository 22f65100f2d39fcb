#include "tools/cli/rows.h"

#include <gtest/gtest.h>

namespace manta::cli {
namespace {

Json Sample() {
  return Json::parse(R"([
    {"actor_id": "n1.p1.a1", "state": "ALIVE", "pid": 7, "resources": {"CPU": 2.0}, "size": 2048, "is_head": true},
    {"actor_id": "n1.p1.a2", "state": "DEAD", "pid": 0, "list": ["a", "b"]}])");
}

TEST(Rows, AreWhatTheyWereSentAs) {
  rpc::StateReply reply;
  reply.rows.push_back({{{"name", "12", false}, {"pid", "12", true}, {"bad", "{", true}}});
  const Json rows = RowsToJson(reply);
  EXPECT_EQ(rows[0]["name"], "12");
  EXPECT_EQ(rows[0]["pid"], 12);
  EXPECT_EQ(rows[0]["bad"], "{");
  reply.rows[0].fields[0].value = "\xff";
  EXPECT_NE(Dump(RowsToJson(reply)), "");
}

TEST(Rows, AreFilteredByColumns) {
  const auto kept = [](const char* filter) {
    return Filtered(Sample(), {runtime::ParseFilter(filter).value()}).value().size();
  };
  EXPECT_EQ(kept("state=ALIVE"), 1u);
  EXPECT_EQ(kept("state!=ALIVE"), 1u);
  EXPECT_EQ(kept("pid=7"), 1u);
  EXPECT_EQ(kept("state=NONE"), 0u);
  EXPECT_EQ(kept("size=2048"), 1u);
  EXPECT_EQ(kept("is_head=true"), 1u);
}

TEST(Rows, AFilterOfAColumnThatIsNotThereIsSaidSo) {
  const absl::Status unknown = Filtered(Sample(), {{"colour", "red"}}).status();
  EXPECT_NE(base::Message(unknown).find("actor_id"), std::string::npos) << unknown;
  EXPECT_TRUE(Filtered(Json::array(), {{"colour", "red"}}).ok());
}

TEST(Rows, CellsAreForPeople) {
  const Json rows = Sample();
  EXPECT_EQ(CellOf("resources", rows[0]["resources"]), "CPU: 2.0");
  EXPECT_EQ(CellOf("list", rows[1]["list"]), "a, b");
  EXPECT_EQ(CellOf("size", rows[0]["size"]), "2.0 KiB");
  EXPECT_EQ(CellOf("pid", rows[1]["pid"]), "");
  EXPECT_EQ(TableOf(rows, {"actor_id", "pid"}).Render({}), "actor_id  pid\nn1.p1.a1    7\nn1.p1.a2\n");
}

}  // namespace
}  // namespace manta::cli

#include "runtime/node/log_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

class LogFilesTest : public ::testing::Test {
 protected:
  LogFilesTest() {
    std::filesystem::create_directories(directory_ + "/folder");
    std::ofstream(directory_ + "/n1.p1.out") << "one\ntwo\n";
    std::filesystem::create_symlink("/etc/passwd", directory_ + "/link");
  }
  ~LogFilesTest() override { std::filesystem::remove_all(directory_); }
  rpc::StateReply Read(std::string file, uint64_t offset = 0, uint64_t limit = 1000) {
    rpc::StateQuery query;
    query.kind = rpc::StateKind::kLogs;
    query.subject = std::move(file);
    query.offset = offset;
    query.limit = limit;
    return ReadLogs(directory_, 1, query);
  }
  static std::string TextOf(const rpc::StateReply& reply) { return {reply.text.data(), reply.text.size()}; }

  const std::string directory_ = ::testing::TempDir() + "manta-log-files-" + std::to_string(getpid());
};

TEST_F(LogFilesTest, ListsTheFiles) {
  const rpc::StateReply reply = Read("");
  ASSERT_GE(reply.rows.size(), 1u);
  bool found = false;
  for (const rpc::StateRow& row : reply.rows) {
    EXPECT_NE(ValueOf(row, "file"), "folder");
    if (ValueOf(row, "file") == "n1.p1.out") found = ValueOf(row, "size_bytes") == "8";
  }
  EXPECT_TRUE(found);
}

TEST_F(LogFilesTest, ReadsFromAnOffsetOrTheEnd) {
  EXPECT_EQ(TextOf(Read("n1.p1.out")), "one\ntwo\n");
  EXPECT_EQ(TextOf(Read("n1.p1.out", 4)), "two\n");
  EXPECT_EQ(TextOf(Read("n1.p1.out", 4, 2)), "tw");
  EXPECT_EQ(TextOf(Read("n1.p1.out", kLogTail, 4)), "two\n");
  EXPECT_EQ(TextOf(Read("n1.p1.out", kLogTail, 4000)), "one\ntwo\n");
  EXPECT_EQ(TextOf(Read("n1.p1.out", 99)), "");
  EXPECT_EQ(ValueOf(Read("n1.p1.out", 99).rows.at(0), "size_bytes"), "8");
}

TEST_F(LogFilesTest, LeadsNowhereElse) {
  for (const char* file : {"../secret", "/etc/passwd", "..", ".hidden", "link", "folder", "nothing"}) {
    const rpc::StateReply reply = Read(file);
    EXPECT_NE(reply.error, "") << file;
    EXPECT_EQ(TextOf(reply), "") << file;
  }
}

}  // namespace
}  // namespace manta::runtime

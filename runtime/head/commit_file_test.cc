#include "runtime/head/commit_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace manta::runtime {
namespace {

class CommitFileTest : public testing::Test {
 protected:
  CommitFileTest() { std::filesystem::create_directories(folder_); }
  ~CommitFileTest() override { std::filesystem::remove_all(folder_); }

  const std::string folder_ = testing::TempDir() + "manta_commit_file_test." + std::to_string(getpid());
  const std::string path_ = folder_ + "/commit_seq";
};

TEST_F(CommitFileTest, MissingFileIsZero) { EXPECT_EQ(*CommitFile::Read(path_), 0u); }

TEST_F(CommitFileTest, HoldsTheHighestNumberAtTheEnd) {
  {
    CommitFile file(path_);
    for (uint64_t number = 1; number <= 100'000; ++number) file.Note(number);
    file.Note(7);
  }
  EXPECT_EQ(*CommitFile::Read(path_), 100'000u);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(CommitFileTest, IsWrittenSoon) {
  const base::SystemClock clock;
  CommitFile file(path_);
  file.Note(5);
  const Time end = clock.Now() + std::chrono::seconds(10);
  while (CommitFile::Read(path_).value_or(0) != 5 && clock.Now() < end) usleep(1000);
  EXPECT_EQ(*CommitFile::Read(path_), 5u);
}

TEST_F(CommitFileTest, OtherContentIsDataLoss) {
  for (const char* text : {"", "\n", "x\n", "-1\n", "1 2\n", "99999999999999999999999\n"}) {
    std::ofstream(path_) << text;
    EXPECT_TRUE(absl::IsDataLoss(CommitFile::Read(path_).status())) << text;
  }
}

TEST_F(CommitFileTest, FolderThatIsNotThereEndsNothing) {
  CommitFile file(folder_ + "/none/commit_seq");
  file.Note(1);
}

}  // namespace
}  // namespace manta::runtime

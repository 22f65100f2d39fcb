#include "base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace manta::base {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class LogTest : public testing::Test {
 protected:
  LogTest() : folder_(testing::TempDir() + "manta_log_test." + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
    Log::AfterFork();  // forgets what other tests logged
  }
  ~LogTest() override {
    Log::Close();
    Log::AfterFork();
    Log::SetLevel(LogLevel::kInfo);
    std::filesystem::remove_all(folder_);
  }
  std::string Path() const { return folder_ + "/deep/test.log"; }
  std::string Contents() const {
    std::ostringstream text;
    text << std::ifstream(Path()).rdbuf();
    return text.str();
  }
  size_t LineCount() const {
    const std::string text = Contents();
    return std::count(text.begin(), text.end(), '\n');
  }

  const std::string folder_;
};

TEST_F(LogTest, LinesCarryTimeLevelPrefixAndPlace) {
  ASSERT_TRUE(Log::Open(Path(), "n3.p7", LogLevel::kInfo).ok());
  MANTA_LOG(kInfo) << "lease " << 9;
  EXPECT_THAT(Contents(), ContainsRegex("^[0-9-]+ [0-9:.]+ I n3.p7 [0-9]+ log_test.cc:[0-9]+\\] lease 9\n$"));
  Log::SetPrefix("n4");
  MANTA_LOG(kError) << "{} % \\";
  EXPECT_THAT(Contents(), HasSubstr(" E n4 "));
  EXPECT_THAT(Contents(), HasSubstr("] {} % \\\n"));
}

TEST_F(LogTest, WhatIsBelowTheLevelIsNotEvenEvaluated) {
  ASSERT_TRUE(Log::Open(Path(), "x", LogLevel::kWarning).ok());
  int evaluated = 0;
  MANTA_LOG(kInfo) << ++evaluated;
  MANTA_LOG(kDebug) << ++evaluated;
  EXPECT_EQ(evaluated, 0);
  EXPECT_EQ(Contents(), "");
  Log::SetLevel(LogLevel::kDebug);
  MANTA_LOG(kDebug) << ++evaluated;
  EXPECT_EQ(evaluated, 1);
}

TEST_F(LogTest, EarlyLinesWaitForTheFileAndWarningsShowAtOnce) {
  testing::internal::CaptureStderr();
  MANTA_LOG(kInfo) << "early info";
  MANTA_LOG(kWarning) << "early warning";
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_THAT(shown, HasSubstr("early warning"));
  EXPECT_THAT(shown, Not(HasSubstr("early info")));
  ASSERT_TRUE(Log::Open(Path(), "x", LogLevel::kInfo).ok());
  EXPECT_THAT(Contents(), ContainsRegex("early info\n.*early warning\n"));
}

TEST_F(LogTest, EarlyLinesAreBoundedAndTheRestIsCounted) {
  for (size_t i = 0; i < Log::kEarlyLinesMax + 5; ++i) MANTA_LOG(kInfo) << i;
  EXPECT_EQ(Log::dropped_lines(), 5u);
  ASSERT_TRUE(Log::Open(Path(), "x", LogLevel::kInfo).ok());
  MANTA_LOG(kInfo) << "later";
  EXPECT_THAT(Contents(), HasSubstr("(5 lines dropped here)"));
}

TEST_F(LogTest, AFullDiskLosesLinesAndSaysSoWhenThereIsRoomAgain) {
  ASSERT_TRUE(Log::Open(Path(), "x", LogLevel::kInfo).ok());
  rlimit old;
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tiny{300, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tiny);
  for (int i = 0; i < 20; ++i) MANTA_LOG(kInfo) << "line " << i;
  EXPECT_LE(std::filesystem::file_size(Path()), 300u);
  const uint64_t dropped = Log::dropped_lines();
  EXPECT_GT(dropped, 10u);
  setrlimit(RLIMIT_FSIZE, &old);
  MANTA_LOG(kInfo) << "room again";
  EXPECT_EQ(Log::dropped_lines(), dropped);
  EXPECT_THAT(Contents(), ContainsRegex("\n\\(" + std::to_string(dropped) + " lines dropped here\\)\n.*room again\n$"));
}

TEST_F(LogTest, ADeviceThatIsAlwaysFullHarmsNobody) {
  ASSERT_TRUE(Log::Open("/dev/full", "x", LogLevel::kInfo).ok());
  for (int i = 0; i < 10; ++i) MANTA_LOG(kError) << "lost";
  EXPECT_EQ(Log::dropped_lines(), 10u);
}

TEST_F(LogTest, AFolderThatCannotBeMadeIsAnError) {
  EXPECT_FALSE(Log::Open("/proc/no/such/log", "x", LogLevel::kInfo).ok());
}

TEST_F(LogTest, ThreadsDoNotMixTheirLines) {
  ASSERT_TRUE(Log::Open(Path(), "x", LogLevel::kInfo).ok());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int j = 0; j < 200; ++j) MANTA_LOG(kInfo) << std::string(100, 'y');
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LineCount(), 800u);
}

TEST_F(LogTest, AForkedChildDoesNotWriteItsParentsEarlyLines) {
  MANTA_LOG(kInfo) << "the parent's";
  const pid_t child = fork();
  if (child == 0) {
    Log::AfterFork();
    if (!Log::Open(Path(), "child", LogLevel::kInfo).ok()) _exit(1);
    MANTA_LOG(kInfo) << "the child's";
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(Contents(), HasSubstr("the child's"));
  EXPECT_THAT(Contents(), Not(HasSubstr("the parent's")));
}

TEST(LogLevel, ParsesItsNamesOnly) {
  EXPECT_EQ(*ParseLogLevel("warning"), LogLevel::kWarning);
  EXPECT_FALSE(ParseLogLevel("Warning").ok());
  EXPECT_FALSE(ParseLogLevel("").ok());
}

}  // namespace
}  // namespace manta::base

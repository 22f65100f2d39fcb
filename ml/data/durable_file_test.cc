#include "ml/data/durable_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <random>
#include <string>
#include <vector>

#include "ml/data/data_folder.h"

namespace manta::ml {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
namespace fs = std::filesystem;

class DurableFile : public DataFolderTest {
 protected:
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_)) names.push_back(entry.path().filename());
    return names;
  }
  static std::string ErrorOf(const std::string& path) {
    try {
      WriteDurably(path, "new");
    } catch (const FileError& error) {
      EXPECT_EQ(error.file(), path);
      return error.what();
    }
    return "no error";
  }
};

TEST_F(DurableFile, ReplacesAFileByItsParts) {
  const std::string path = WritePlain("file", "something longer than what follows");
  WritePlain("file.tmp", "left by a writer that was killed, and longer than what follows");
  WriteDurably(path, std::array<std::string_view, 3>{"one", "", "two"});
  EXPECT_EQ(ReadWhole(path), "onetwo");
  EXPECT_THAT(Names(), UnorderedElementsAre("file"));
  struct stat status = {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0600, 0600u);
}

TEST_F(DurableFile, SaysWhyItCannotWriteAndLeavesWhatWasThere) {
  EXPECT_THAT(ErrorOf(Path("missing/file")), HasSubstr("cannot create a file beside it: No such file"));
  fs::create_directories(Path("folder"));
  EXPECT_THAT(ErrorOf(Path("folder")), HasSubstr("cannot rename to: "));
  EXPECT_THAT(Names(), UnorderedElementsAre("folder"));
  EXPECT_THAT(Complaint(Path("none"), [&] { ReadWhole(Path("none")); }), HasSubstr("cannot be opened: "));
}

// In a process of its own, because the limit is the process's.
TEST_F(DurableFile, KeepsTheOldFileWhenTheDiskIsFull) {
  const std::string path = WritePlain("file", "old");
  const pid_t writer = fork();
  if (writer == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit bytes{1000, 1000};
    if (setrlimit(RLIMIT_FSIZE, &bytes) != 0) _exit(2);
    try {
      WriteDurably(path, std::string(5000, 'x'));
    } catch (const FileError& error) {
      _exit(std::string(error.what()).find("cannot write: File too large") == std::string::npos ? 3 : 0);
    }
    _exit(4);
  }
  int status = 0;
  ASSERT_EQ(waitpid(writer, &status, 0), writer);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ReadWhole(path), "old");
  EXPECT_THAT(Names(), UnorderedElementsAre("file"));
}

TEST_F(DurableFile, AKilledWriterLeavesAWholeFileAndOneBesideItAtMost) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string a(300'000, 'a'), b(100'000, 'b'), path = WritePlain("file", a);
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      for (;;) {
        WriteDurably(path, b);
        WriteDurably(path, a);
      }
    }
    usleep(random() % 10'000);
    kill(writer, SIGKILL);
    ASSERT_EQ(waitpid(writer, nullptr, 0), writer);
    EXPECT_TRUE(ReadWhole(path) == a || ReadWhole(path) == b);
    EXPECT_THAT(Names(), AnyOf(UnorderedElementsAre("file"), UnorderedElementsAre("file", "file.tmp")));
  }
  WriteDurably(path, b);
  EXPECT_THAT(Names(), UnorderedElementsAre("file"));
}

}  // namespace
}  // namespace manta::ml

#include "ml/tune/journal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/unique_fd.h"
#include "manta/ml/error.h"
#include "manta/ml/sweep_error.h"
#include "ml/data/durable_file.h"
#include "ml/testing/file_size_limit.h"

namespace manta::ml {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class JournalTest : public ::testing::Test {
 protected:
  JournalTest() {
    std::string path = fs::temp_directory_path() / "journal_test.XXXXXX";
    storage_ = mkdtemp(path.data());
    directory_ = storage_ + "/sweep";
  }
  ~JournalTest() override { fs::remove_all(storage_); }

  Journal::Contents Reopened() const {
    Journal::Contents contents;
    Journal::Open(directory_, &contents);
    return contents;
  }
  std::string File(const std::string& name) const { return directory_ + "/" + name; }
  static void Overwrite(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  // A journal of "first" and entries "0" to "<count - 1>", a commit each; its bytes.
  std::string Written(int count) const {
    Journal journal = Journal::Create(directory_, "first");
    for (int i = 0; i < count; ++i) {
      journal.Append(std::to_string(i));
      journal.Commit();
    }
    return ReadWhole(File("journal-000000"));
  }

  std::string storage_, directory_;
};

TEST_F(JournalTest, GivesBackWhatWasCommitted) {
  {
    Journal journal = Journal::Create(directory_, "first");
    journal.Append("a");
    journal.Append("");
    journal.Commit();
    journal.Append(std::string(100'000, 'b'));
    journal.Commit();
    journal.Append("lost");
  }
  const Journal::Contents contents = Reopened();
  EXPECT_THAT(contents.entries, ElementsAre("first", "a", "", std::string(100'000, 'b')));
  EXPECT_EQ(contents.snapshot, "");
  EXPECT_EQ(contents.dropped, "");
}

TEST_F(JournalTest, GoesOnAfterItWasReopened) {
  Written(2);
  for (int round = 0; round < 3; ++round) {
    Journal::Contents contents;
    Journal journal = Journal::Open(directory_, &contents);
    EXPECT_EQ(contents.entries.size(), 3u + size_t(round));
    journal.Append("again");
    journal.Commit();
  }
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "0", "1", "again", "again", "again"));
}

TEST_F(JournalTest, ASnapshotTakesThePlaceOfWhatWasBefore) {
  {
    Journal journal = Journal::Create(directory_, "first");
    journal.Append("a");
    journal.Snapshot("state 1");
    journal.Append("b");
    journal.Commit();
    journal.Snapshot("state 2");
    journal.Append("c");
    journal.Commit();
  }
  const Journal::Contents contents = Reopened();
  EXPECT_EQ(contents.snapshot, "state 2");
  EXPECT_THAT(contents.entries, ElementsAre("c"));
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(directory_)) names.push_back(file.path().filename());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("lock", "snapshot-000002", "journal-000002"));
}

TEST_F(JournalTest, WantsASnapshotWhenEntriesOutgrowTheOneBefore) {
  Journal journal = Journal::Create(directory_, "first");
  EXPECT_FALSE(journal.WantsSnapshot());
  const std::string mebibyte(1 << 20, 'x');
  journal.Append(mebibyte);
  journal.Commit();
  EXPECT_TRUE(journal.WantsSnapshot());
  journal.Snapshot(mebibyte + mebibyte);
  journal.Append(mebibyte);
  journal.Commit();
  EXPECT_FALSE(journal.WantsSnapshot());  // so that all snapshots together are no more than twice the entries
}

TEST_F(JournalTest, ACrashBetweenTwoGenerationsLosesNothing) {
  Written(2);
  Overwrite(File("journal-000001"), "MANTAJN1");  // the next journal is there, its snapshot is not
  Overwrite(File("snapshot-000001.tmp"), "half of it");
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "0", "1"));
  EXPECT_FALSE(fs::exists(File("journal-000001")));
}

TEST_F(JournalTest, ATailThatACrashCutIsDroppedAndSaid) {
  const std::string whole = Written(3);
  for (size_t cut = 1; cut <= 36; ++cut) {  // within the last write: 32 bytes of header and 5 of payload
    Overwrite(File("journal-000000"), whole.substr(0, whole.size() - cut));
    const Journal::Contents contents = Reopened();
    EXPECT_THAT(contents.entries, ElementsAre("first", "0", "1"));
    EXPECT_THAT(contents.dropped, HasSubstr("journal-000000: the last " + std::to_string(37 - cut) +
                                            " bytes, from byte " + std::to_string(whole.size() - 37)));
    EXPECT_THAT(Reopened().dropped, IsEmpty());
  }
  Overwrite(File("journal-000000"), whole + std::string(4096, '\0'));  // a file that grew before its bytes came
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "0", "1", "2"));
}

TEST_F(JournalTest, DamageInTheMiddleIsAnErrorWithFileAndOffset) {
  const std::string whole = Written(5);
  const size_t last = whole.size() - 37;
  for (size_t at = 8; at < last; ++at) {
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ 0x40);
    Overwrite(File("journal-000000"), damaged);
    try {
      Reopened();
      ADD_FAILURE() << "no error for byte " << at;
    } catch (const DataError& error) {
      EXPECT_EQ(error.file(), File("journal-000000"));
      EXPECT_LE(error.offset(), at);
      EXPECT_GT(error.offset() + 64, at);
    }
  }
  Overwrite(File("journal-000000"), "x" + whole.substr(1));
  EXPECT_THROW(Reopened(), DataError);
}

TEST_F(JournalTest, AMissingWriteIsAnError) {
  const std::string whole = Written(5);
  Overwrite(File("journal-000000"), whole.substr(0, whole.size() - 3 * 37) + whole.substr(whole.size() - 2 * 37));
  try {
    Reopened();
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("write 4 where those of 3"));
  }
}

TEST_F(JournalTest, ADamagedSnapshotIsAnError) {
  {
    Journal journal = Journal::Create(directory_, "first");
    journal.Snapshot("state");
  }
  const std::string whole = ReadWhole(File("snapshot-000001"));
  Overwrite(File("snapshot-000001"), whole.substr(0, whole.size() - 1));
  EXPECT_THROW(Reopened(), DataError);
}

// Random bytes in place of a part of a journal: entries that were written, or an error; never others.
TEST_F(JournalTest, RandomDamageNeverGivesWrongEntries) {
  const std::string whole = Written(20);
  const uint64_t seed = std::random_device()();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = whole;
    const size_t begin = random() % whole.size(), count = 1 + random() % 80;
    for (size_t i = begin; i < std::min(whole.size(), begin + count); ++i) damaged[i] = char(random());
    if (random() % 2 == 0) damaged.resize(damaged.size() - random() % 100);
    Overwrite(File("journal-000000"), damaged);
    try {
      const std::vector<std::string> entries = Reopened().entries;
      for (size_t i = 1; i < entries.size(); ++i) ASSERT_EQ(entries[i], std::to_string(i - 1)) << "seed " << seed;
    } catch (const DataError&) {
    }
  }
}

TEST_F(JournalTest, ANameThatExistsIsRefusedWithBothWaysOut) {
  Written(1);
  try {
    Journal::Create(directory_, "another");
    FAIL();
  } catch (const SweepExistsError& error) {
    EXPECT_THAT(error.what(), HasSubstr(directory_));
    EXPECT_THAT(error.what(), HasSubstr("Tuner::Restore"));
    EXPECT_THAT(error.what(), HasSubstr("another"));
  }
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "0"));
}

TEST_F(JournalTest, TwoOwnersAreOneTooMany) {
  Journal journal = Journal::Create(directory_, "first");
  Journal::Contents contents;
  try {
    Journal::Open(directory_, &contents);
    FAIL();
  } catch (const SweepLockedError& error) {
    EXPECT_THAT(error.what(), HasSubstr("process " + std::to_string(getpid())));
  }
  EXPECT_THROW(Journal::Create(directory_, "first"), SweepLockedError);
}

TEST_F(JournalTest, AMissingSweepNamesThoseThereAre) {
  Written(1);
  Journal::Contents contents;
  try {
    Journal::Open(storage_ + "/swep", &contents);
    FAIL();
  } catch (const NoSuchSweepError& error) {
    EXPECT_THAT(error.what(), HasSubstr("\"sweep\""));
  }
  EXPECT_FALSE(fs::exists(storage_ + "/swep"));
}

TEST_F(JournalTest, ACrashWhileItIsMadeLeavesTheNameFree) {
  fs::create_directories(directory_);
  Overwrite(File("lock"), "process 1 on nowhere");
  Overwrite(File("journal-000000.tmp"), "MANTA");
  EXPECT_NO_THROW(Journal::Create(directory_, "first"));
  EXPECT_THAT(Reopened().entries, ElementsAre("first"));
}

TEST_F(JournalTest, AFullDiskIsAnErrorAndTheJournalStaysReadable) {
  Journal journal = Journal::Create(directory_, "first");
  journal.Append("a");
  journal.Commit();
  {
    const FileSizeLimit limit(4096);
    journal.Append(std::string(10'000, 'b'));
    EXPECT_THROW(journal.Commit(), FileError);
  }
  journal = Journal::Create(storage_ + "/other", "gives the lock back");
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "a"));
}

// /dev/full has no room, and a pipe cannot be synced: the system's own errors.
TEST_F(JournalTest, TheSystemsErrorsComeAsTheyAre) {
  const std::unique_ptr<AppendFile> full = OpenOnDisk("/dev/full");
  EXPECT_EQ(full->Append("a"), std::errc::no_space_on_device);
  fs::create_directories(directory_);
  ASSERT_EQ(::mkfifo(File("pipe").c_str(), 0600), 0);
  const base::UniqueFd reader(::open(File("pipe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const std::unique_ptr<AppendFile> pipe = OpenOnDisk(File("pipe"));
  EXPECT_EQ(pipe->Append("a"), std::error_code());
  EXPECT_EQ(pipe->Sync(), std::errc::invalid_argument);
  try {
    OpenOnDisk(File("none"));
    FAIL();
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr(File("none") + ": cannot open to append: No such file"));
  }
}

TEST_F(JournalTest, AfterAnErrorNothingMoreIsTaken) {
  // A write that the system refuses once, and would take the next time.
  class Once final : public AppendFile {
   public:
    explicit Once(std::unique_ptr<AppendFile> file) : file_(std::move(file)) {}
    std::error_code Append(std::string_view bytes) override { return file_->Append(bytes); }
    std::error_code Sync() override {
      return ++syncs_ == 2 ? std::make_error_code(std::errc::io_error) : file_->Sync();
    }
    std::error_code CutTo(uint64_t size_bytes) override { return file_->CutTo(size_bytes); }

   private:
    const std::unique_ptr<AppendFile> file_;
    int syncs_ = 0;
  };
  {
    Journal journal = Journal::Create(directory_, "first",
                                      [](const std::string& path) { return std::make_unique<Once>(OpenOnDisk(path)); });
    journal.Append("a");
    EXPECT_THROW(journal.Commit(), FileError);
    EXPECT_THROW(journal.Commit(), FileError);
  }
  EXPECT_THAT(Reopened().entries, ElementsAre("first"));
}

TEST_F(JournalTest, ASnapshotThatCannotBeWrittenLeavesTheEntries) {
  {
    Journal journal = Journal::Create(directory_, "first");
    fs::create_directories(File("journal-000001/in the way"));
    journal.Append("a");
    EXPECT_THROW(journal.Snapshot("state"), FileError);
  }
  EXPECT_THAT(Reopened().entries, ElementsAre("first", "a"));
}

}  // namespace
}  // namespace manta::ml

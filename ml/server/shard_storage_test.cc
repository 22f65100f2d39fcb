// The files of a shard: checkpoints, journals, logs; and what is decided from them.
#include "manta/ml/shard_storage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "manta/ml/error.h"
#include "manta/ml/replay.h"
#include "manta/ml/shard_recovery.h"
#include "manta/ml/update_log.h"

namespace manta::ml {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class ShardFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "shard_files_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string File(const std::string& name) const { return directory_ + "/" + name; }
  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void Write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  static std::vector<std::string> NamesIn(const std::string& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
    return names;
  }

  std::string directory_;
};

ShardState SomeState() {
  ShardState state;
  state.Put("values", std::span<const float>(std::array{1.5f, -2.0f}));
  state.Put("window", std::span<const uint64_t>(std::array<uint64_t, 2>{7, 8}));
  state.Put("text", std::string_view("abc"));
  return state;
}

TEST_F(ShardFiles, AStateComesBackWhole) {
  SomeState().WriteTo(File("state"));
  const ShardState state = ShardState::ReadFrom(File("state"));
  std::array<float, 2> values{};
  state.Get("values", values);
  EXPECT_THAT(values, ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(state.GetWords("window"), ElementsAre(7, 8));
  EXPECT_EQ(state.GetBytes("text"), "abc");
  std::array<float, 3> three{};
  EXPECT_THROW(state.Get("values", three), DataError);
  EXPECT_THROW(state.GetWords("values"), DataError);
  EXPECT_THROW(state.GetWords("nothing"), DataError);
}

TEST_F(ShardFiles, EveryDamageOfAStateIsSeen) {
  SomeState().WriteTo(File("state"));
  const std::string bytes = Read(File("state"));
  for (size_t size = 0; size < bytes.size(); ++size) {
    Write(File("damaged"), bytes.substr(0, size));
    EXPECT_THROW(ShardState::ReadFrom(File("damaged")), DataError) << size;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string other = bytes;
    other[i] ^= 1;
    Write(File("damaged"), other);
    EXPECT_THROW(ShardState::ReadFrom(File("damaged")), DataError) << i;
  }
  EXPECT_THROW(ShardState::ReadFrom(File("none")), DataError);
  EXPECT_THROW(SomeState().WriteTo(File("no/such/folder")), FileError);
}

TEST_F(ShardFiles, AJournalIsThereWhenItIsOpenedAgain) {
  const JournalEntry first{1, 0, 5, {0, 3, 0}}, second{2, 1, 6, {0, 4, 0}};
  {
    PushJournal journal(File("journal"), 2);
    journal.Append(first);
    journal.Append(second);
    EXPECT_TRUE(journal.is_full());
  }
  PushJournal journal(File("journal"), 1);
  ASSERT_EQ(journal.size(), 2u);
  EXPECT_EQ(journal.entries()[1].id, second.id);
  EXPECT_FALSE(journal.is_full());
  Write(File("other"), "something else altogether");
  EXPECT_THROW(PushJournal(File("other"), 1), DataError);
}

TEST_F(ShardFiles, AJournalThatIsCutShortIsSeenAndOneThatWasNotBegunIsEmpty) {
  {
    PushJournal journal(File("journal"), 2);
    for (uint64_t i = 1; i <= 2; ++i) journal.Append({i, 0, 5, {0, 3, i - 1}});
  }
  fs::resize_file(File("journal"), fs::file_size(File("journal")) - 1);
  EXPECT_THROW(PushJournal(File("journal"), 2), DataError);
  Write(File("zeros"), std::string(200, '\0'));
  PushJournal journal(File("zeros"), 2);
  EXPECT_EQ(journal.size(), 0u);
  journal.Append({1, 0, 5, {0, 3, 0}});
  EXPECT_EQ(PushJournal(File("zeros"), 2).size(), 1u);
}

TEST_F(ShardFiles, StorageGoesOnFromItsNewestCheckpoint) {
  const CheckpointOptions options{.directory = File("server"), .every_pushes = 4};
  {
    ShardStorage storage(options, 1, false);
    EXPECT_FALSE(storage.ReadCheckpoint());
    for (uint64_t i = 1; i <= 4; ++i) storage.journal().Append({i, 0, 1, {0, 0, i - 1}});
    storage.WriteCheckpoint(4, SomeState());
    EXPECT_EQ(storage.journal().size(), 0u);
    storage.journal().Append({5, 0, 1, {0, 0, 4}});
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(File("server")), fs::directory_iterator()), 2);
  EXPECT_THROW(ShardStorage(options, 1, false), InvalidArgumentError);
  // Of a life that was killed while it wrote one, before it removed the one before, and of others.
  for (const char* left : {"shard-1-9.safetensors.tmp", "shard-1-3.safetensors", "shard-1-3.journal"}) {
    Write(File("server") + "/" + left, "left");
  }
  for (const char* other : {"shard-1-4.safetensors.mine", "shard-2-1.safetensors"}) {
    Write(File("server") + "/" + other, "other");
  }
  ShardStorage storage(options, 1, true);
  EXPECT_THAT(NamesIn(File("server")), UnorderedElementsAre("shard-1-4.safetensors", "shard-1-4.journal",
                                                            "shard-1-4.safetensors.mine", "shard-2-1.safetensors"));
  EXPECT_EQ(storage.covered(), 4u);
  EXPECT_TRUE(storage.ReadCheckpoint());
  EXPECT_EQ(storage.journal().size(), 1u);
  ShardStorage other(options, 3, false);  // another shard's files
  EXPECT_TRUE(ShardStorage::HasState(File("server")));
}

TEST_F(ShardFiles, RecoveryTakesEachMissingPushOnceAndNamesWhatIsLost) {
  const std::array<JournalEntry, 3> journal{
      {{11, 0, 100, {0, 3, 0}}, {12, 1, 101, {0, 4, 0}}, {13, 0, 100, {0, 3, 1}}}};
  ShardRecovery recovery(journal);
  EXPECT_EQ(recovery.Take(101, {0, 3, 0}), std::nullopt);  // another worker's
  EXPECT_EQ(recovery.Take(100, {0, 3, 0}), 0u);
  EXPECT_EQ(recovery.Take(100, {0, 3, 0}), std::nullopt);
  EXPECT_TRUE(recovery.Lost(std::array<uint64_t, 2>{100, 101}).empty());
  const auto lost = recovery.Lost(std::array<uint64_t, 1>{100});
  ASSERT_EQ(lost.size(), 1u);
  EXPECT_THAT(ShardRecovery::Describe(lost, 2, 10),
              HasSubstr("shard 2 was killed, and 1 acknowledged pushes after its checkpoint (10 pushes)"));
  EXPECT_EQ(recovery.Take(101, {0, 4, 0}), 1u);
  EXPECT_FALSE(recovery.is_complete());
  EXPECT_EQ(recovery.Take(100, {0, 3, 1}), 2u);
  EXPECT_TRUE(recovery.is_complete());
}

TEST_F(ShardFiles, ALogSaysWhereItWasCutAndWhereItIsDamaged) {
  {
    UpdateLog log(File("log"), "begin", 0);
    log.Append(1, 0.5, "one");
    log.Append(2, 0.25, "two!");
  }
  const auto read = [&](const std::string& path) {
    return ReadUpdateLog(
        path, [](std::string_view) {}, [](uint64_t, double, std::string_view) {});
  };
  std::vector<std::string> seen;
  const UpdateLogEnd end = ReadUpdateLog(
      File("log"), [&](std::string_view bytes) { seen.emplace_back(bytes); },
      [&](uint64_t number, double rate, std::string_view bytes) {
        seen.push_back(std::to_string(number) + " " + std::to_string(rate) + " " + std::string(bytes));
      });
  EXPECT_THAT(seen, ElementsAre("begin", "1 0.500000 one", "2 0.250000 two!"));
  EXPECT_FALSE(end.was_cut);
  const std::string bytes = Read(File("log"));
  EXPECT_EQ(end.bytes, bytes.size());
  for (size_t size = bytes.size() - 35; size < bytes.size(); ++size) {
    Write(File("cut"), bytes.substr(0, size));
    EXPECT_TRUE(read(File("cut")).was_cut) << size;
    EXPECT_EQ(read(File("cut")).updates, 1u) << size;
  }
  std::string damaged = bytes;
  damaged[8 + 32 + 5 + 32] ^= 1;  // in "one"
  Write(File("damaged"), damaged);
  EXPECT_THROW(read(File("damaged")), DataError);
  Write(File("damaged"), "something else");
  EXPECT_THROW(read(File("damaged")), DataError);
  EXPECT_THROW(read(File("none")), FileError);
}

TEST_F(ShardFiles, ALogGoesOnBehindWhatACheckpointHas) {
  {
    UpdateLog log(File("log"), "", 0);
    for (uint64_t i = 1; i <= 5; ++i) log.Append(i, 1, "first");
  }
  { UpdateLog(File("log"), "", 3).Append(4, 1, "again"); }
  std::vector<std::string> seen;
  ReadUpdateLog(
      File("log"), [](std::string_view) {},
      [&](uint64_t, double, std::string_view bytes) { seen.emplace_back(bytes); });
  EXPECT_THAT(seen, ElementsAre("first", "first", "first", "again"));
  EXPECT_THROW(UpdateLog(File("log"), "", 6), DataError);
}

}  // namespace
}  // namespace manta::ml

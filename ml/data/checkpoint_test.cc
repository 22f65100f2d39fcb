#include "manta/ml/checkpoint.h"

#include <sys/wait.h>

#include <csignal>
#include <numeric>
#include <random>

#include "manta/manta.h"
#include "ml/data/data_folder.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class CheckpointTest : public DataFolderTest {
 protected:
  CheckpointStore Store(size_t keep_last = 3) const {
    return CheckpointStore({.directory = Path("run"), .keep_last = keep_last, .warnings = nullptr});
  }
  // A state of which each number is `value`.
  static uint64_t Save(CheckpointStore& store, float value, size_t count = 100) {
    const std::vector<float> values(count, value);
    const NamedTensor tensors[] = {{"values", {count}, values}};
    return store.Save(tensors, {{"value", std::to_string(value)}});
  }
  static float ValueOf(const Checkpoint& checkpoint) {
    const auto values = checkpoint.content.At("values").values<float>();
    EXPECT_THAT(values, Each(values[0]));
    EXPECT_EQ(checkpoint.content.metadata.at("value"), std::to_string(values[0]));
    return values[0];
  }
  size_t FileCount() const {
    return size_t(std::distance(fs::directory_iterator(directory_ / "run"), fs::directory_iterator()));
  }
  void Damage(const std::string& path, std::streamoff from_end) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-from_end, std::ios::end);
    const char byte = char(file.peek() ^ 1);
    file.seekp(-from_end, std::ios::end);
    file.put(byte);
  }
};

TEST_F(CheckpointTest, FindsTheNewestAndKeepsTheLastOnes) {
  CheckpointStore store = Store(2);
  EXPECT_FALSE(store.LoadNewest());
  for (int i = 1; i <= 4; ++i) EXPECT_EQ(Save(store, float(i)), uint64_t(i));
  EXPECT_THAT(store.Versions(), ElementsAre(3, 4));
  EXPECT_EQ(FileCount(), 2u);
  const Checkpoint found = Store().LoadNewest().value();
  EXPECT_EQ(found.version, 4u);
  EXPECT_EQ(ValueOf(found), 4);
  EXPECT_TRUE(found.skipped.empty());
  EXPECT_FALSE(found.content.metadata.contains("manta.xxh3"));
  EXPECT_EQ(ValueOf(store.Load(3)), 3);
  EXPECT_EQ(fs::path(store.PathOf(4)).filename(), "checkpoint-000000000004.safetensors");
}

TEST_F(CheckpointTest, TakesItsCallersVersionsIfTheyAscend) {
  CheckpointStore store = Store();
  EXPECT_EQ(store.Save({}, {}, 0), 0u);
  EXPECT_EQ(store.Save({}, {}, 1000), 1000u);
  EXPECT_THROW(store.Save({}, {}, 1000), InvalidArgumentError);
  EXPECT_EQ(store.Save({}), 1001u);
}

TEST_F(CheckpointTest, SkipsDamagedOnesAndSaysSo) {
  CheckpointStore store = Store();
  for (int i = 1; i <= 3; ++i) Save(store, float(i));
  Damage(store.PathOf(3), 5);
  fs::resize_file(store.PathOf(2), fs::file_size(store.PathOf(2)) / 2);
  char* text = nullptr;
  size_t size = 0;
  std::FILE* const out = open_memstream(&text, &size);
  const CheckpointStore reader({.directory = Path("run"), .warnings = out});
  const Checkpoint found = reader.LoadNewest().value();
  std::fclose(out);
  EXPECT_EQ(ValueOf(found), 1);
  ASSERT_EQ(found.skipped.size(), 2u);
  EXPECT_EQ(found.skipped[0].path, store.PathOf(3));
  EXPECT_THAT(found.skipped[0].reason, HasSubstr("the file is damaged: its bytes have the checksum"));
  EXPECT_THAT(found.skipped[1].reason, HasSubstr("the file is cut short"));
  EXPECT_THAT(std::string(text, size), HasSubstr("checkpoint 3 is skipped: " + store.PathOf(3)));
  std::free(text);
  EXPECT_EQ(Save(store, 4), 4u);
  fs::remove(store.PathOf(1));
  Damage(store.PathOf(4), 5);
  EXPECT_THROW(store.LoadNewest(), DataError);
}

TEST_F(CheckpointTest, NoticesEveryFlippedBit) {
  CheckpointStore store = Store();
  Save(store, 1, 3);
  for (auto at = std::streamoff(fs::file_size(store.PathOf(1))); at > 0; --at) {
    Damage(store.PathOf(1), at);
    EXPECT_THROW(store.Load(1), DataError) << at << " bytes before the end";
    Damage(store.PathOf(1), at);
  }
  EXPECT_EQ(ValueOf(store.Load(1)), 1);
}

TEST_F(CheckpointTest, RefusesAModelThatIsNoCheckpoint) {
  CheckpointStore store = Store();
  WriteSafetensors(store.PathOf(1), {});
  EXPECT_THAT(Complaint(store.PathOf(1), [&] { store.Load(1); }), HasSubstr("has no checksum"));
}

TEST_F(CheckpointTest, SharesItsDirectory) {
  CheckpointStore a({.directory = Path("run"), .prefix = "shard0", .keep_last = 1});
  CheckpointStore b({.directory = Path("run"), .prefix = "shard0-x", .keep_last = 1});
  for (int i = 0; i < 3; ++i) Save(a, 1), Save(b, 2);
  EXPECT_EQ(FileCount(), 2u);
  EXPECT_EQ(ValueOf(*a.LoadNewest()), 1);
  EXPECT_EQ(ValueOf(*b.LoadNewest()), 2);
}

TEST_F(CheckpointTest, RefusesImpossiblePlaces) {
  EXPECT_THROW(CheckpointStore({.directory = ""}), InvalidArgumentError);
  EXPECT_THROW(CheckpointStore({.directory = Path("run"), .prefix = "a/b"}), InvalidArgumentError);
  WritePlain("file", "");
  EXPECT_THROW(CheckpointStore({.directory = Path("file/run")}), FileError);
  CheckpointStore store = Store();
  fs::create_directories(store.PathOf(1));
  EXPECT_THROW(store.Save({}, {}, 0), InvalidArgumentError);
}

TEST_F(CheckpointTest, IsReadIntoTheStore) {
  const Runtime runtime = StartLocal();
  CheckpointStore store = Store();
  Save(store, 7, 10'000);
  const Checkpoint found = store.LoadNewest({.in_store = true}).value();
  EXPECT_TRUE(found.content.At("values").in_store());
  EXPECT_EQ(ValueOf(found), 7);
}

// A writer that is killed at any moment leaves the newest version that it was told is saved, or a newer one.
TEST_F(CheckpointTest, AKilledWriterLosesNothingThatItSaved) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  uint64_t saved_before = 0;
  for (int round = 0; round < 30; ++round) {
    int pipe_fds[2];
    ASSERT_EQ(pipe(pipe_fds), 0);
    const pid_t writer = fork();
    if (writer == 0) {
      CheckpointStore store = Store();
      for (;;) {
        const uint64_t version = Save(store, float(store.Versions().empty() ? 1 : store.Versions().back() + 1), 50'000);
        if (write(pipe_fds[1], &version, sizeof version) != sizeof version) _exit(1);
      }
    }
    close(pipe_fds[1]);
    uint64_t saved = saved_before;
    ASSERT_EQ(read(pipe_fds[0], &saved, sizeof saved), ssize_t(sizeof saved));
    usleep(random() % 20'000);
    kill(writer, SIGKILL);
    while (read(pipe_fds[0], &saved, sizeof saved) == ssize_t(sizeof saved)) continue;
    close(pipe_fds[0]);
    int status = 0;
    ASSERT_EQ(waitpid(writer, &status, 0), writer);
    ASSERT_TRUE(WIFSIGNALED(status));
    const Checkpoint found = Store().LoadNewest().value();
    EXPECT_TRUE(found.skipped.empty());
    EXPECT_GE(found.version, saved);
    EXPECT_LE(found.version, saved + 1);
    EXPECT_EQ(ValueOf(found), float(found.version));
    saved_before = saved;
  }
  CheckpointStore store = Store();
  Save(store, 0);
  EXPECT_EQ(FileCount(), 3u);  // what killed writers left is gone
}

}  // namespace
}  // namespace manta::ml

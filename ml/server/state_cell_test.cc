#include "ml/server/state_cell.h"

#include <signal.h>
#include <sys/wait.h>

#include <random>
#include <vector>

#include "ml/data/data_folder.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kOwner = 7;

class StateCellTest : public DataFolderTest {};

TEST_F(StateCellTest, HasTheLastValueForItsOwnerAlone) {
  {
    StateCell cell(Path("cell"), kOwner, 3);
    EXPECT_THAT(cell.value(), IsEmpty());
    cell.Put(std::vector<uint64_t>{1, 2, 3});
    cell.Put(std::vector<uint64_t>{4});
    EXPECT_THAT(cell.value(), ElementsAre(4));
  }
  StateCell again(Path("cell"), kOwner, 3);
  EXPECT_THAT(again.value(), ElementsAre(4));
  StateCell other(Path("cell"), kOwner + 1, 3);
  EXPECT_THAT(other.value(), IsEmpty());
  again.Put(std::vector<uint64_t>{5});  // lives yet, and does no harm
  EXPECT_THAT(other.value(), IsEmpty());
  WritePlain("text", "something else altogether");
  EXPECT_THAT(StateCell(Path("text"), kOwner, 3).value(), IsEmpty());
  EXPECT_THROW(StateCell(Path("no/cell"), kOwner, 3), FileError);
}

// Each value is `n` words `n`.
TEST_F(StateCellTest, AKilledWriterLeavesAWholeValue) {
  constexpr uint64_t kWordsMax = 1000;
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      StateCell cell(Path("cell"), kOwner, kWordsMax);
      for (uint64_t n = 1;; n = n % kWordsMax + 1) cell.Put(std::vector<uint64_t>(n, n));
    }
    usleep(random() % 5000);
    kill(writer, SIGKILL);
    ASSERT_EQ(waitpid(writer, nullptr, 0), writer);
    const StateCell cell(Path("cell"), kOwner, kWordsMax);
    EXPECT_THAT(cell.value(), Each(cell.value().size()));
  }
}

}  // namespace
}  // namespace manta::ml

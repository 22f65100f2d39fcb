#include "runtime/node/program_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>

#include "base/uv_event_loop.h"

namespace manta::runtime {
namespace {

using ::testing::SizeIs;

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

class ProgramFilesTest : public ::testing::Test {
 protected:
  // This executable.
  ProgramFiles::Description Describe() {
    const base::UniqueFd image(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    std::optional<absl::StatusOr<ProgramFiles::Description>> described;
    files_.Describe(image.get(), "", {}, [&](auto result) { described = std::move(result); });
    while (!described) loop_.RunOnce();
    EXPECT_TRUE(described->ok());
    return described->ok() ? **std::move(described) : ProgramFiles::Description{};
  }

  base::UvEventLoop loop_;
  ProgramFiles files_{&loop_, "", nullptr};
};

TEST_F(ProgramFilesTest, AProgramIsOpenForOthersWhileItsJobsKeepItsDescription) {
  Describe();  // what is opened once and for all
  const size_t before = OpenDescriptors();
  std::optional<ProgramFiles::Description> one = Describe(), two = Describe();
  ASSERT_THAT(one->files, SizeIs(1));
  const Bytes sha256 = one->files[0].sha256;
  EXPECT_EQ(OpenDescriptors(), before + 1) << "one for both";
  one.reset();
  EXPECT_TRUE(files_.Open(sha256).ok());
  two.reset();
  EXPECT_TRUE(absl::IsNotFound(files_.Open(sha256).status()));
  EXPECT_EQ(OpenDescriptors(), before);
}

}  // namespace
}  // namespace manta::runtime

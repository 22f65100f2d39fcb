#include "base/memfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace manta::base {
namespace {

TEST(Memfd, CannotBeResizedNorUnsealed) {
  const absl::StatusOr<UniqueFd> fd = CreateSealedMemfd("test", 8192);
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_NE(ftruncate(fd->get(), 4096), 0);
  EXPECT_NE(ftruncate(fd->get(), 16384), 0);
  EXPECT_NE(fcntl(fd->get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(CreateSealedMemfd("empty", 0).ok());
}

TEST(Memfd, CheckSealedAcceptsOnlySealedMemfdsThatAreLargeEnough) {
  const absl::StatusOr<UniqueFd> fd = CreateSealedMemfd("test", 8192);
  EXPECT_EQ(*CheckSealed(fd->get(), 8192), 8192u);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSealed(fd->get(), 8193).status()));

  const UniqueFd unsealed(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 8192), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSealed(unsealed.get(), 1).status()));
  ASSERT_EQ(fcntl(unsealed.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSealed(unsealed.get(), 1).status()));

  const UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(absl::IsInvalidArgument(CheckSealed(file.get(), 0).status()));
}

TEST(Mapping, IsSharedBetweenMappingsOfOneMemfd) {
  const absl::StatusOr<UniqueFd> fd = CreateSealedMemfd("test", 3 * 4096);
  absl::StatusOr<Mapping> writer = Mapping::Map(fd->get(), 3 * 4096, Mapping::Access::kReadWrite);
  const absl::StatusOr<Mapping> reader = Mapping::Map(fd->get(), 4096, Mapping::Access::kReadOnly, 2 * 4096);
  ASSERT_TRUE(writer.ok() && reader.ok());
  std::strcpy(writer->mutable_data() + 2 * 4096, "hello");
  EXPECT_STREQ(reader->data(), "hello");
  Mapping moved = *std::move(writer);
  EXPECT_EQ(moved.size(), 3u * 4096);
  EXPECT_FALSE(*writer);  // NOLINT: moved from, and specified to be empty
  EXPECT_STREQ(moved.data() + 2 * 4096, "hello");
}

TEST(Mapping, PopulateBringsThePagesIn) {
  constexpr size_t kSize = 64 * 4096;
  const absl::StatusOr<UniqueFd> fd = CreateSealedMemfd("test", kSize);
  const absl::StatusOr<Mapping> mapping = Mapping::Map(fd->get(), kSize, Mapping::Access::kReadWrite);
  ASSERT_TRUE(Populate(mapping->mutable_data(), kSize).ok());
  unsigned char resident[64];
  ASSERT_EQ(mincore(mapping->mutable_data(), kSize, resident), 0);
  for (const unsigned char page : resident) EXPECT_TRUE(page & 1);
}

TEST(Mapping, RefusesWhatCannotBeMapped) {
  EXPECT_FALSE(Mapping::Map(-1, 4096, Mapping::Access::kReadOnly).ok());
  const absl::StatusOr<UniqueFd> fd = CreateSealedMemfd("test", 4096);
  EXPECT_FALSE(Mapping::Map(fd->get(), 0, Mapping::Access::kReadOnly).ok());
  EXPECT_FALSE(Mapping::Map(fd->get(), 4096, Mapping::Access::kReadOnly, 1).ok());
}

}  // namespace
}  // namespace manta::base

#include "base/status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace manta::base {
namespace {

absl::Status FailIf(bool fail) { return fail ? absl::NotFoundError("gone") : absl::OkStatus(); }
absl::StatusOr<std::unique_ptr<int>> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return std::make_unique<int>(value / 2);
}
absl::StatusOr<int> Quarter(int value) {
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<int> half, Half(value));
  MANTA_ASSIGN_OR_RETURN(const std::unique_ptr<int> quarter, Half(*half));
  return *quarter;
}
absl::Status Both(bool first, bool second) {
  MANTA_RETURN_IF_ERROR(FailIf(first));
  MANTA_RETURN_IF_ERROR(FailIf(second));
  return absl::OkStatus();
}

TEST(Status, AssignOrReturnMovesTheValueOutOrReturnsTheError) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Message(Quarter(6).status()), "odd");
}

TEST(Status, ReturnIfErrorStopsAtTheFirst) {
  EXPECT_TRUE(Both(false, false).ok());
  EXPECT_TRUE(absl::IsNotFound(Both(true, false)));
  EXPECT_TRUE(absl::IsNotFound(Both(false, true)));
}

TEST(Status, ErrnoTellsWhatWasTried) {
  const absl::Status status = ErrnoStatus(ENOENT, "open /x");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(Message(status), "open /x: No such file or directory");
}

TEST(Status, AnnotateKeepsTheCode) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
  const absl::Status status = Annotate(absl::NotFoundError("gone"), "node 3");
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_EQ(Message(status), "node 3: gone");
}

}  // namespace
}  // namespace manta::base

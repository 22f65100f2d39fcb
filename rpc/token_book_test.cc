#include "rpc/token_book.h"

#include <gtest/gtest.h>

namespace manta::rpc {
namespace {

const Time kNow = TimeFromNanos(1'000'000'000);
constexpr ProcessId kWorker{3, 7};
const Bits256 kToken = Sha256("a token");
const uint64_t kId = TokenId(kToken);

TEST(TokenBook, TakesATokenOnce) {
  TokenBook book;
  ASSERT_TRUE(book.Add(kNow, kToken, {}).ok());
  ASSERT_TRUE(book.Find(kNow, kId, kWorker).ok());
  EXPECT_EQ(*book.Find(kNow, kId, kWorker), kToken);
  EXPECT_TRUE(book.Spend(kNow, kId));
  EXPECT_FALSE(book.Spend(kNow, kId));
  EXPECT_TRUE(absl::IsAlreadyExists(book.Find(kNow, kId, kWorker).status()));
  EXPECT_EQ(book.size(), 0u);
}

TEST(TokenBook, TakesAJoinTokenAsOftenAsItsTermsSay) {
  TokenBook book;
  ASSERT_TRUE(book.Add(kNow, kToken, {.uses = 3}).ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(book.Spend(kNow, kId));
  EXPECT_FALSE(book.Spend(kNow, kId));
}

TEST(TokenBook, TakesNoExpiredToken) {
  TokenBook book;
  ASSERT_TRUE(book.Add(kNow, kToken, {.expires = kNow + std::chrono::hours(1)}).ok());
  EXPECT_TRUE(book.Find(kNow, kId, kWorker).ok());
  const Time later = kNow + std::chrono::hours(1);
  EXPECT_TRUE(absl::IsNotFound(book.Find(later, kId, kWorker).status()));
  EXPECT_FALSE(book.Spend(later, kId));
}

TEST(TokenBook, KeepsAWorkersTokenForThatWorker) {
  TokenBook book;
  ASSERT_TRUE(book.Add(kNow, kToken, {.process = kWorker}).ok());
  EXPECT_TRUE(absl::IsNotFound(book.Find(kNow, kId, {3, 8}).status()));
  EXPECT_TRUE(book.Find(kNow, kId, kWorker).ok());
}

TEST(TokenBook, ForgetsARemovedToken) {
  TokenBook book;
  ASSERT_TRUE(book.Add(kNow, kToken, {}).ok());
  book.Remove(kToken);
  EXPECT_TRUE(absl::IsNotFound(book.Find(kNow, kId, kWorker).status()));
}

TEST(TokenBook, IsBoundedAndDropsExpiredTokensFirst) {
  TokenBook book;
  const auto token = [](size_t i) { return Sha256("token " + std::to_string(i)); };
  for (size_t i = 0; i < TokenBook::kTokensMax; ++i) {
    ASSERT_TRUE(book.Add(kNow, token(i), {.expires = kNow + std::chrono::seconds(1)}).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(book.Add(kNow, kToken, {})));
  EXPECT_TRUE(book.Add(kNow + std::chrono::seconds(2), kToken, {}).ok());
  EXPECT_EQ(book.size(), 1u);
}

}  // namespace
}  // namespace manta::rpc

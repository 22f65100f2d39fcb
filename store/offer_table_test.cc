#include "store/offer_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/transfer_test_support.h"

namespace manta::store {
namespace {

const ObjectId kObject{{1, 2}, 3, 0};
constexpr rpc::StoreLocation kHere{1, 5, 64, 1000}, kThere{1, 6, 0, 1000};
// A scan names the range that the object takes up, not its size.
constexpr rpc::StoreLocation kHereAligned{1, 5, 64, 1024}, kThereAligned{1, 6, 0, 1024};

class OfferTableTest : public ::testing::Test {
 protected:
  Memory segment_{4096};
  OfferTable offers_;
};

TEST_F(OfferTableTest, OpensWhatIsOffered) {
  offers_.Offer(kObject, 1, kHere, segment_.fd);
  EXPECT_FALSE(offers_.Open(kObject, 0));
  EXPECT_FALSE(offers_.Open({{1, 2}, 4, 0}, 1));
  const auto opened = offers_.Open(kObject, 1);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->fd, segment_.fd->get());
  EXPECT_EQ(opened->offset, 64u);
  EXPECT_EQ(opened->size_bytes, 1000u);
}

TEST_F(OfferTableTest, WhatIsRevokedIsReadOnlyByThoseWhoHaveOpenedIt) {
  offers_.Offer(kObject, 1, kHere, segment_.fd);
  auto one = offers_.Open(kObject, 1), other = offers_.Open(kObject, 1);
  EXPECT_TRUE(offers_.Revoke(kHereAligned));
  EXPECT_FALSE(offers_.Open(kObject, 1));
  one.reset();
  EXPECT_TRUE(offers_.Revoke(kHereAligned));
  other.reset();
  EXPECT_FALSE(offers_.Revoke(kHereAligned));
  EXPECT_EQ(offers_.size(), 0u);
}

TEST_F(OfferTableTest, AnObjectThatCameBackElsewhereIsAnotherOffer) {
  offers_.Offer(kObject, 1, kHere, segment_.fd);
  auto old = offers_.Open(kObject, 1);
  offers_.Offer(kObject, 1, kThere, segment_.fd);
  EXPECT_TRUE(offers_.Revoke(kHereAligned)) << "the old place is still read";
  const auto opened = offers_.Open(kObject, 1);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->offset, 0u);
  old.reset();
  EXPECT_FALSE(offers_.Revoke(kHereAligned));
  EXPECT_TRUE(offers_.Revoke(kThereAligned));
}

TEST_F(OfferTableTest, WhatIsReadOutlivesTheTable) {
  std::optional<TransferServer::Opened> opened;
  {
    OfferTable table;
    table.Offer(kObject, 1, kHere, segment_.fd);
    opened = table.Open(kObject, 1);
  }
  const int fd = opened->fd;
  segment_.fd.reset();
  char byte = 1;
  EXPECT_EQ(pread(fd, &byte, 1, 0), 1) << "the descriptor is kept";
}

}  // namespace
}  // namespace manta::store

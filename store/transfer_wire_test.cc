// The requests and replies of data connections.
#include <gtest/gtest.h>

#include "base/random.h"
#include "store/transfer_fixture.h"
#include "store/transfer_wire.h"

namespace manta::store {
namespace {

TEST(TransferWire, RequestsAndRepliesComeOutAsTheyWentIn) {
  char bytes[kTransferRequestBytes];
  for (const TransferItem& item : {Object(77, 6), TransferItem::File(rpc::Sha256("x"))}) {
    const TransferRequest request{item, 3 * kMiB, 12345};
    EncodeTransferRequest(request, bytes);
    const auto decoded = DecodeTransferRequest(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, request);
  }
  const TransferReply reply{TransferStatus::kNotThere, 99};
  EncodeTransferReply(reply, bytes);
  EXPECT_EQ(*DecodeTransferReply(bytes), reply);
}

TEST(TransferWire, RefusesWhatIsNoRequest) {
  const auto refuses = [](uint64_t offset, uint64_t length) {
    char bytes[kTransferRequestBytes];
    EncodeTransferRequest({Object(1), offset, length}, bytes);
    return !DecodeTransferRequest(bytes).ok();
  };
  EXPECT_FALSE(refuses(kMiB, 1));
  EXPECT_TRUE(refuses(0, 0));
  EXPECT_TRUE(refuses(1, 1)) << "not a chunk's begin";
  EXPECT_TRUE(refuses(kMiB, UINT64_MAX)) << "past the end of numbers";
  base::Rng rng(17);
  for (int round = 0; round < 10'000; ++round) {
    char bytes[kTransferRequestBytes];
    EncodeTransferRequest({Object(1), 0, 1}, bytes);
    bytes[rng.Uniform(8)] ^= static_cast<char>(1 + rng.Uniform(255));  // of the magic number or the kind
    const auto decoded = DecodeTransferRequest(bytes);
    EXPECT_TRUE(!decoded.ok() || decoded->item.kind == TransferItem::Kind::kFile);
    bytes[rng.Uniform(4)] ^= 1;
    (void)DecodeTransferReply(bytes);
  }
}

}  // namespace
}  // namespace manta::store

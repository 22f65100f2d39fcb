// Objects and files over data connections, and what goes wrong between the client and the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "store/transfer_fixture.h"

namespace manta::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DataSocket::Limits kShort{milliseconds(250), milliseconds(500)};

TEST_F(TransferTest, PutsAnObjectWhereItBelongsAndNothingElse) {
  uint64_t number = 0;
  for (const uint64_t size : {uint64_t{1}, uint64_t{100}, kMiB - 1, kMiB, kMiB + 1, 7 * kMiB / 2}) {
    const TransferItem item = Object(++number);
    const Memory& source = Store(item, size, 192);
    const Memory to(size + 8192);
    std::memset(to.mapping.mutable_data(), 'x', to.mapping.size());
    const absl::Status status = Fetch(item, to, size, 4160);
    ASSERT_TRUE(status.ok()) << status << " size " << size;
    EXPECT_TRUE(to.bytes().substr(4160, size) == source.bytes().substr(192));
    EXPECT_EQ(to.bytes().substr(0, 4160), std::string(4160, 'x'));
    EXPECT_EQ(to.bytes().substr(4160 + size), std::string(8192 - 4160, 'x'));
  }
  EXPECT_EQ(dials_, 1) << "one connection is enough";
  EXPECT_TRUE(Eventually([&] { return holds_ == 0; }));
}

TEST_F(TransferTest, AConnectionThatEndedWhileItWasIdleIsMadeAgain) {
  Store(Object(1), 1000);
  const Memory to(1000);
  ASSERT_TRUE(Fetch(Object(1), to, 1000).ok());
  server_->Drop(kReader);
  ASSERT_TRUE(Eventually([&] { return server_->connections() == 0; }));
  EXPECT_TRUE(Fetch(Object(1), to, 1000).ok());
  EXPECT_EQ(dials_, 2);
}

TEST_F(TransferTest, GoesOnWhereTheConnectionBroke) {
  constexpr uint64_t kBytes = 20 * kMiB;
  const Memory& source = Store(Object(1), kBytes);
  const Memory to(kBytes);
  faults_ = {{.cut_after = 7 * kMiB + 500'000}, {.cut_after = 6 * kMiB + 100}, {}};
  ASSERT_TRUE(Fetch(Object(1), to, kBytes).ok());
  EXPECT_TRUE(to.bytes() == source.bytes());
  EXPECT_EQ(dials_, 3);
  EXPECT_LE(RelayedBytes(), kBytes + 2 * kMiB + 4096) << "only the chunks that were cut come twice";
}

TEST_F(TransferTest, ADamagedChunkComesAgain) {
  constexpr uint64_t kBytes = 4 * kMiB;
  const Memory& source = Store(Object(1), kBytes);
  const Memory to(kBytes);
  faults_ = {{.flip_at = 2 * kMiB + 77}, {}};
  ASSERT_TRUE(Fetch(Object(1), to, kBytes).ok());
  EXPECT_TRUE(to.bytes() == source.bytes());
  EXPECT_EQ(dials_, 2);
}

TEST_F(TransferTest, ADamagedChecksumIsADamagedChunk) {
  const Memory& source = Store(Object(1), kMiB);
  const Memory to(kMiB);
  faults_ = {{.flip_at = kTransferReplyBytes + 3}, {}};
  ASSERT_TRUE(Fetch(Object(1), to, kMiB).ok());
  EXPECT_TRUE(to.bytes() == source.bytes());
}

TEST_F(TransferTest, DamageThatStaysIsAnErrorAndIsNotWritten) {
  Store(Object(1), kMiB);
  const Memory to(kMiB);
  faults_ = {{.flip_at = 5000}};
  const absl::Status status = Fetch(Object(1), to, kMiB);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(base::Message(status), HasSubstr("damaged, twice"));
  EXPECT_EQ(to.bytes(), std::string(kMiB, '\0'));
}

TEST_F(TransferTest, ADamagedReplyIsAnError) {
  Store(Object(1), 1000);
  const Memory to(1000);
  faults_ = {{.flip_at = 1}};
  EXPECT_TRUE(absl::IsDataLoss(Fetch(Object(1), to, 1000)));
}

TEST_F(TransferTest, ASourceThatStopsEndsTheFetchInTime) {
  Start(kShort);
  silent_ = {kSource};
  const Memory to(1000);
  const Time start = base::SystemClock().Now();
  const absl::Status status = Fetch(Object(1), to, 1000);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_LT(base::SystemClock().Now() - start, seconds(3));
}

TEST_F(TransferTest, ASourceThatSendsAByteNowAndThenEndsTheFetchInTime) {
  Start(kShort);
  Store(Object(1), 100'000);
  faults_ = {{.pause = milliseconds(20)}};
  const Memory to(100'000);
  const Time start = base::SystemClock().Now();
  const absl::Status status = Fetch(Object(1), to, 100'000);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_LT(base::SystemClock().Now() - start, seconds(5));
}

TEST_F(TransferTest, ASourceThatCannotBeReachedEndsTheFetchInTime) {
  Start(kShort);
  reachable_ = false;
  const Memory to(1000);
  const absl::Status status = Fetch(Object(1), to, 1000);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(base::Message(status), HasSubstr("refused by the test"));
  EXPECT_GT(dials_, 2) << "it is tried again";
}

TEST_F(TransferTest, ASickSourceHoldsUpNobodyElses) {
  silent_ = {kSource};
  const Memory to(4000);
  std::vector<std::shared_ptr<Outcome>> stuck;
  for (int i = 0; i < 10; ++i) stuck.push_back(Begin(Object(1), to, 1000));
  Store(Object(2), 1000);
  const Time start = base::SystemClock().Now();
  EXPECT_TRUE(Await(Begin(Object(2), to, 1000, 2048, kOther)).ok());
  EXPECT_LT(base::SystemClock().Now() - start, seconds(2));
  client_.reset();
  for (const auto& outcome : stuck) EXPECT_TRUE(absl::IsCancelled(Await(outcome)));
}

TEST_F(TransferTest, WhatIsNotThereIsNotFound) {
  const Memory to(1000);
  EXPECT_TRUE(absl::IsNotFound(Fetch(Object(1), to, 1000)));
  Store(Object(1, 1), 1000);
  EXPECT_TRUE(absl::IsNotFound(Fetch(Object(1, 0), to, 1000))) << "another attempt";
  EXPECT_TRUE(Fetch(Object(1, 1), to, 1000).ok());
  EXPECT_EQ(dials_, 1);
}

TEST_F(TransferTest, WhatIsDroppedWhileItIsFetchedIsNotFound) {
  constexpr uint64_t kBytes = 4 * kMiB;
  Store(Object(1), kBytes);
  const Memory to(kBytes);
  drops_what_is_opened_ = true;
  faults_ = {{.cut_after = kMiB + 500}, {}};
  EXPECT_TRUE(absl::IsNotFound(Fetch(Object(1), to, kBytes)));
  EXPECT_EQ(dials_, 2) << "what was open could be read until the connection broke";
}

TEST_F(TransferTest, AnotherSizeThanTheHomesIsAnError) {
  Store(Object(1), 1000);
  const Memory to(5000);
  for (const uint64_t size : {999, 1001, 5000}) {
    const absl::Status status = Fetch(Object(1), to, size);
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  }
}

TEST_F(TransferTest, NoRoomAtTheDestinationIsAnError) {
  Store(Object(1), 100'000);
  const Memory to(4096);
  const absl::Status status = Fetch(Object(1), to, 100'000);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(base::Message(status), HasSubstr("write what was fetched"));
}

TEST_F(TransferTest, CancellingEndsAFetchSoon) {
  silent_ = {kSource};
  const Memory to(1000);
  const auto running = Begin(Object(1), to, 1000);
  const TransferClient::FetchId first = last_fetch_;
  ASSERT_TRUE(Eventually([&] { return dials_ == 1; }));
  Begin(Object(1), to, 1000);
  const auto waiting = Begin(Object(1), to, 1000);
  const Time start = base::SystemClock().Now();
  client_->Cancel(last_fetch_);
  EXPECT_TRUE(absl::IsCancelled(Await(waiting)));
  client_->Cancel(first);
  client_->Cancel(first);
  EXPECT_TRUE(absl::IsCancelled(Await(running)));
  EXPECT_LT(base::SystemClock().Now() - start, seconds(2));
}

TEST_F(TransferTest, EveryFetchEndsRightWhateverTheConnectionsDo) {
  constexpr uint64_t kObjects = 60;
  base::Rng rng(5);
  for (int i = 0; i < 80; ++i) {
    Relay::Faults faults;
    if (rng.Uniform(3) == 0) faults.cut_after = rng.Uniform(3 * kMiB);
    if (rng.Uniform(3) == 0) faults.flip_at = rng.Uniform(3 * kMiB);
    faults_.push_back(faults);
  }
  faults_.push_back({});
  std::vector<uint64_t> sizes;
  std::vector<std::unique_ptr<Memory>> destinations;
  std::vector<std::shared_ptr<Outcome>> outcomes;
  for (uint64_t number = 1; number <= kObjects; ++number) {
    sizes.push_back(1 + rng.Uniform(3 * kMiB));
    Store(Object(number), sizes.back());
    destinations.push_back(std::make_unique<Memory>(sizes.back()));
  }
  for (uint64_t number = 1; number <= kObjects; ++number) {
    outcomes.push_back(Begin(Object(number), *destinations[number - 1], sizes[number - 1], 0, 1 + number % 5));
  }
  int right = 0;
  for (uint64_t i = 0; i < kObjects; ++i) {
    const absl::Status status = Await(outcomes[i]);
    // Two damaged connections, one after the other, may be one fetch's; a damaged reply cannot be read.
    EXPECT_TRUE(status.ok() || absl::IsDataLoss(status)) << status;
    if (!status.ok()) continue;
    ++right;
    EXPECT_TRUE(destinations[i]->bytes() == stored_[i].memory->bytes()) << i;
  }
  EXPECT_GT(right, 50);
  EXPECT_TRUE(Eventually([&] { return holds_ == 0; }));
}

// ---------------------------------------------------------------- files

class TransferFileTest : public TransferTest {
 protected:
  void SetUp() override {
    TransferTest::SetUp();
    char name[] = "/tmp/manta-transfer-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    TransferTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) names.push_back(entry.path().filename());
    return names;
  }
  std::string folder_;
};

TEST_F(TransferFileTest, AFileComesWholeAndCanBeRun) {
  const Memory& source = Store(TransferItem::File({}), 3 * kMiB + 5);
  const std::string content(source.bytes());
  stored_.front().item = TransferItem::File(rpc::Sha256(content));
  const std::string path = folder_ + "/program";
  ASSERT_TRUE(FetchFile(content, path, content.size()).ok());
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(std::string(std::istreambuf_iterator<char>(file), {}) == content);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_THAT(Names(), ElementsAre("program"));
}

TEST_F(TransferFileTest, AFileOfAnotherContentIsNotMade) {
  Store(TransferItem::File(rpc::Sha256("right")), 5);
  const absl::Status status = FetchFile("right", folder_ + "/program", 5);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(TransferFileTest, AFileThatIsNotThereIsNotMade) {
  EXPECT_TRUE(absl::IsNotFound(FetchFile("nothing", folder_ + "/program", 7)));
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(FetchFile("nothing", folder_ + "/no/folder", 7)));
}

TEST_F(TransferFileTest, AnEmptyFileNeedsNobody) {
  reachable_ = false;
  EXPECT_TRUE(FetchFile("", folder_ + "/empty", 0).ok());
  EXPECT_THAT(Names(), ElementsAre("empty"));
}

}  // namespace
}  // namespace manta::store

// Objects and files over data connections: the wire, the client and the server, and what goes wrong between them.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "store/transfer_client.h"
#include "store/transfer_server.h"
#include "store/transfer_test_support.h"

namespace manta::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;
constexpr NodeId kSource = 1, kOther = 2, kReader = 3;
constexpr DataSocket::Limits kShort{milliseconds(250), milliseconds(500)};

TransferItem Object(uint64_t number, uint32_t attempt = 0) {
  return TransferItem::Object({{kSource, 4}, number, 5}, attempt);
}

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

// Carries bytes between the two ends of a connection, and spoils them.
class Relay {
 public:
  struct Faults {
    uint64_t cut_after = UINT64_MAX;  // bytes to the client
    uint64_t flip_at = UINT64_MAX;    // this byte to the client is another one
    Duration pause{};                 // before each byte to the client
  };
  Relay(base::UniqueFd client, base::UniqueFd server, Faults faults)
      : client_(std::move(client)), server_(std::move(server)), faults_(faults) {
    up_ = std::thread([this] { Up(); });
    down_ = std::thread([this] { Down(); });
  }
  ~Relay() {
    End();
    up_.join();
    down_.join();
  }
  uint64_t bytes_down() const { return bytes_down_; }

 private:
  void End() {
    (void)shutdown(client_.get(), SHUT_RDWR);
    (void)shutdown(server_.get(), SHUT_RDWR);
  }
  void Up() {
    char bytes[4096];
    for (ssize_t got; (got = recv(client_.get(), bytes, sizeof bytes, 0)) > 0;) {
      if (send(server_.get(), bytes, static_cast<size_t>(got), MSG_NOSIGNAL) != got) break;
    }
    End();
  }
  void Down() {
    std::vector<char> bytes(faults_.pause > Duration::zero() ? 1 : 64 << 10);
    while (bytes_down_ < faults_.cut_after) {
      if (faults_.pause > Duration::zero()) std::this_thread::sleep_for(faults_.pause);
      const size_t room = std::min<uint64_t>(bytes.size(), faults_.cut_after - bytes_down_);
      const ssize_t got = recv(server_.get(), bytes.data(), room, 0);
      if (got <= 0) break;
      const auto size = static_cast<size_t>(got);
      if (bytes_down_ <= faults_.flip_at && faults_.flip_at < bytes_down_ + size)
        bytes[faults_.flip_at - bytes_down_] ^= 1;
      for (size_t sent = 0; sent < size;) {
        const ssize_t more = send(client_.get(), bytes.data() + sent, size - sent, MSG_NOSIGNAL);
        if (more <= 0) return End();
        sent += static_cast<size_t>(more);
      }
      bytes_down_ += size;
    }
    End();
  }

  const base::UniqueFd client_, server_;
  const Faults faults_;
  std::atomic<uint64_t> bytes_down_{0};
  std::thread up_, down_;
};

class TransferTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void TearDown() override {
    client_.reset();
    relays_.clear();
    server_.reset();
  }

  // Makes both anew, with other limits.
  void Start(DataSocket::Limits limits, DataSocket::Limits server_limits = {}) {
    client_.reset();
    server_.reset();
    TransferServer::Options serving;
    serving.source = [this](const TransferItem& item) { return Open(item); };
    serving.limits = server_limits;
    server_.emplace(std::move(serving));
    client_.emplace(
        TransferClient::Options{[this](NodeId peer, Duration patience) { return Dial(peer, patience); }, limits});
  }

  // ---- the source
  const Memory& Store(const TransferItem& item, size_t size_bytes, uint64_t offset = 0) {
    auto memory = std::make_unique<Memory>(offset + size_bytes);
    memory->FillRandomly(size_bytes);
    std::lock_guard lock(mutex_);
    Stored& stored = stored_.emplace_back();
    stored = {item, offset, size_bytes, std::move(memory)};
    return *stored.memory;
  }
  std::optional<TransferServer::Opened> Open(const TransferItem& item) {
    std::lock_guard lock(mutex_);
    for (Stored& stored : stored_) {
      if (stored.item != item) continue;
      if (drops_what_is_opened_) stored.item = {};
      ++holds_;
      return TransferServer::Opened{stored.memory->fd->get(), stored.offset, stored.size_bytes,
                                    std::shared_ptr<const void>(this, [this](const void*) { --holds_; })};
    }
    return std::nullopt;
  }

  // ---- connections
  absl::StatusOr<base::UniqueFd> Dial(NodeId peer, Duration) {
    ++dials_;
    std::unique_lock lock(mutex_);
    if (!reachable_) return absl::UnavailableError("connection refused by the test");
    auto [here, there] = TcpPair();
    if (silent_.contains(peer)) {
      silent_ends_.push_back(std::move(there));
      return std::move(here);
    }
    if (!faults_.empty()) {
      const Relay::Faults faults = faults_.front();
      if (faults_.size() > 1) faults_.pop_front();
      auto [relay_client, relay_server] = TcpPair();
      relays_.push_back(std::make_unique<Relay>(std::move(there), std::move(relay_client), faults));
      there = std::move(relay_server);
    }
    lock.unlock();
    server_->Serve(std::move(there), kReader);
    return std::move(here);
  }
  uint64_t RelayedBytes() const {
    uint64_t bytes = 0;
    for (const auto& relay : relays_) bytes += relay->bytes_down();
    return bytes;
  }

  // ---- fetching
  struct Outcome {
    std::vector<absl::Status> statuses;
  };
  TransferClient::Done Into(const std::shared_ptr<Outcome>& outcome) {
    return [this, outcome](absl::Status status) {
      std::lock_guard lock(mutex_);
      outcome->statuses.push_back(std::move(status));
      ended_.notify_all();
    };
  }
  std::shared_ptr<Outcome> Begin(const TransferItem& item, const Memory& to, uint64_t size_bytes, uint64_t offset = 0,
                                 NodeId peer = kSource) {
    auto outcome = std::make_shared<Outcome>();
    last_fetch_ = client_->Fetch(peer, item, {to.fd, offset, size_bytes}, Into(outcome));
    return outcome;
  }
  absl::Status Await(const std::shared_ptr<Outcome>& outcome) {
    std::unique_lock lock(mutex_);
    if (!ended_.wait_for(lock, seconds(20), [&] { return !outcome->statuses.empty(); })) {
      return absl::InternalError("the fetch does not end");
    }
    EXPECT_EQ(outcome->statuses.size(), 1u);
    return outcome->statuses.front();
  }
  absl::Status Fetch(const TransferItem& item, const Memory& to, uint64_t size_bytes, uint64_t offset = 0) {
    return Await(Begin(item, to, size_bytes, offset));
  }
  absl::Status FetchFile(std::string_view content, const std::string& path, uint64_t size_bytes) {
    auto outcome = std::make_shared<Outcome>();
    client_->FetchFile(kSource, rpc::Sha256(content), size_bytes, path, Into(outcome));
    return Await(outcome);
  }
  template <typename Condition>
  static bool Eventually(Condition condition) {
    const Time end = base::SystemClock().Now() + seconds(10);
    while (!condition()) {
      if (base::SystemClock().Now() > end) return false;
      std::this_thread::sleep_for(milliseconds(2));
    }
    return true;
  }

  struct Stored {
    TransferItem item;
    uint64_t offset = 0;
    uint64_t size_bytes = 0;
    std::unique_ptr<Memory> memory;
  };
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<Stored> stored_;
  bool drops_what_is_opened_ = false;
  std::atomic<int> holds_{0};
  std::atomic<int> dials_{0};
  bool reachable_ = true;
  std::set<NodeId> silent_;  // accept, and say nothing
  std::vector<base::UniqueFd> silent_ends_;
  std::deque<Relay::Faults> faults_;  // of the next connections; the last one's stay
  std::vector<std::unique_ptr<Relay>> relays_;
  TransferClient::FetchId last_fetch_ = 0;
  std::optional<TransferServer> server_;
  std::optional<TransferClient> client_;
};

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

// ---------------------------------------------------------------- the server alone

class TransferServerTest : public TransferTest {
 protected:
  base::UniqueFd Connect(NodeId peer = kReader) {
    auto [here, there] = TcpPair();
    server_->Serve(std::move(there), peer);
    return std::move(here);
  }
  static void Ask(const base::UniqueFd& fd, const TransferRequest& request) {
    char bytes[kTransferRequestBytes];
    EncodeTransferRequest(request, bytes);
    ASSERT_EQ(send(fd.get(), bytes, sizeof bytes, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof bytes));
  }
  static TransferReply Reply(const base::UniqueFd& fd) {
    char bytes[kTransferReplyBytes];
    EXPECT_EQ(recv(fd.get(), bytes, sizeof bytes, MSG_WAITALL), static_cast<ssize_t>(sizeof bytes));
    const auto reply = DecodeTransferReply(bytes);
    EXPECT_TRUE(reply.ok()) << reply.status();
    return reply.value_or(TransferReply{});
  }
  // Within the test's time limit.
  static bool IsClosed(const base::UniqueFd& fd) {
    char byte = 0;
    timeval limit{10, 0};
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const ssize_t got = recv(fd.get(), &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }
  static bool IsOpen(const base::UniqueFd& fd) {
    char byte = 0;
    return recv(fd.get(), &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
};

TEST_F(TransferServerTest, ClosesOnGarbageAndServesOn) {
  Store(Object(1), 1000);
  base::Rng rng(3);
  const base::UniqueFd good = Connect();
  for (int round = 0; round < 50; ++round) {
    const base::UniqueFd bad = Connect(kOther);
    std::string bytes(1 + rng.Uniform(500), '\0');
    for (char& byte : bytes) byte = static_cast<char>(rng.Next());
    (void)send(bad.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    (void)shutdown(bad.get(), SHUT_WR);
    EXPECT_TRUE(IsClosed(bad));
  }
  Ask(good, {Object(1), 0, 1000});
  EXPECT_EQ(Reply(good), (TransferReply{TransferStatus::kThere, 1000}));
}

TEST_F(TransferServerTest, ARequestThatCameWithTheHandshakeIsAnswered) {
  Store(Object(1), 1000);
  char bytes[kTransferRequestBytes];
  EncodeTransferRequest({Object(1), 0, 1000}, bytes);
  auto [here, there] = TcpPair();
  server_->Serve(std::move(there), kReader, std::string(bytes, 10));
  ASSERT_EQ(send(here.get(), bytes + 10, sizeof bytes - 10, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof bytes - 10));
  EXPECT_EQ(Reply(here).size_bytes, 1000u);
}

TEST_F(TransferServerTest, RefusesRangesThatAreNotInside) {
  Store(Object(1), 2 * kMiB);
  const base::UniqueFd fd = Connect();
  Ask(fd, {Object(1), 2 * kMiB, 1});
  EXPECT_EQ(Reply(fd), (TransferReply{TransferStatus::kBadRange, 2 * kMiB}));
  Ask(fd, {Object(1), kMiB, kMiB + 1});
  EXPECT_EQ(Reply(fd).status, TransferStatus::kBadRange);
  Ask(fd, {Object(2), 0, 1});
  EXPECT_EQ(Reply(fd), (TransferReply{TransferStatus::kNotThere, 0}));
}

TEST_F(TransferServerTest, AReaderThatDoesNotReadHoldsTheObjectForABoundedTime) {
  Start({}, kShort);
  constexpr uint64_t kBytes = 64 * kMiB;
  Store(Object(1), kBytes);
  Store(Object(2), 1000);
  const base::UniqueFd stopped = Connect(kOther);
  Ask(stopped, {Object(1), 0, kBytes});
  ASSERT_TRUE(Eventually([&] { return holds_ == 1; }));
  const Memory to(1000);
  EXPECT_TRUE(Fetch(Object(2), to, 1000).ok()) << "others are served meanwhile";
  EXPECT_TRUE(Eventually([&] { return holds_ == 0; }));
}

TEST_F(TransferServerTest, ARequestThatIsNotFinishedIsClosed) {
  Start({}, kShort);
  const base::UniqueFd fd = Connect();
  ASSERT_EQ(send(fd.get(), "Txq", 3, MSG_NOSIGNAL), 3);
  EXPECT_TRUE(IsClosed(fd));
}

TEST_F(TransferServerTest, AConnectionThatAsksForNothingIsClosed) {
  TransferServer::Options options;
  options.source = [](const TransferItem&) { return std::nullopt; };
  options.idle = milliseconds(100);
  TransferServer server(std::move(options));
  auto [here, there] = TcpPair();
  server.Serve(std::move(there), kReader);
  EXPECT_EQ(server.connections(), 1u);
  EXPECT_TRUE(IsClosed(here));
  EXPECT_TRUE(Eventually([&] { return server.connections() == 0; }));
}

TEST_F(TransferServerTest, OneMoreThanANodeMayHaveReplacesItsLongestIdle) {
  std::vector<base::UniqueFd> fds;
  for (int i = 0; i < 4; ++i) {
    fds.push_back(Connect());
    Ask(fds.back(), {Object(1), 0, 1});
    Reply(fds.back());
    std::this_thread::sleep_for(milliseconds(5));
  }
  const base::UniqueFd more = Connect();
  EXPECT_TRUE(IsClosed(fds[0]));
  for (int i = 1; i < 4; ++i) EXPECT_TRUE(IsOpen(fds[i]));
  Ask(more, {Object(1), 0, 1});
  Reply(more);
}

TEST_F(TransferServerTest, OneMoreThanABusyNodeMayHaveIsClosed) {
  constexpr uint64_t kBytes = 64 * kMiB;
  Store(Object(1), kBytes);
  std::vector<base::UniqueFd> fds;
  for (int i = 0; i < 4; ++i) {
    fds.push_back(Connect());
    Ask(fds.back(), {Object(1), 0, kBytes});
  }
  ASSERT_TRUE(Eventually([&] { return holds_ == 4; }));
  EXPECT_TRUE(IsClosed(Connect()));
  EXPECT_TRUE(IsOpen(Connect(kOther))) << "another node's is not";
}

TEST_F(TransferServerTest, HasAtMostSixteenConnections) {
  constexpr uint64_t kBytes = 64 * kMiB;
  Store(Object(1), kBytes);
  std::vector<base::UniqueFd> fds;
  for (int i = 0; i < 16; ++i) {
    fds.push_back(Connect(kOther + i / 4));
    Ask(fds.back(), {Object(1), 0, kBytes});
  }
  ASSERT_TRUE(Eventually([&] { return holds_ == 16; }));
  EXPECT_EQ(server_->connections(), 16u);
  EXPECT_TRUE(IsClosed(Connect(kOther + 100)));
  server_->Drop(kOther);
  ASSERT_TRUE(Eventually([&] { return holds_ == 12; }));
  EXPECT_TRUE(IsOpen(Connect(kOther + 100)));
}

TEST_F(TransferServerTest, EndsWhileReadersWait) {
  constexpr uint64_t kBytes = 64 * kMiB;
  Store(Object(1), kBytes);
  const base::UniqueFd idle = Connect(), reading = Connect();
  Ask(reading, {Object(1), 0, kBytes});
  ASSERT_TRUE(Eventually([&] { return holds_ == 1; }));
  const Time start = base::SystemClock().Now();
  client_.reset();
  server_.reset();
  EXPECT_LT(base::SystemClock().Now() - start, seconds(2));
  EXPECT_EQ(holds_, 0);
  EXPECT_TRUE(IsClosed(idle));
}

}  // namespace
}  // namespace manta::store

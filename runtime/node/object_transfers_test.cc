// Two nodes' shells over loopback: what one offers, the other writes where its core says.
#include "runtime/node/object_transfers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "base/uv_event_loop.h"
#include "store/transfer_test_support.h"

namespace manta::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr NodeId kSource = 1, kReader = 2;
constexpr uint64_t kSegment = 7;
constexpr uint64_t kLarge = 5 << 20, kSmall = 70'000;
const ObjectId kObject{{kSource, 3}, 9, 0};

class Node {
 public:
  Node(base::EventLoop* loop, uint64_t segment_bytes) {
    EXPECT_TRUE(segments.Create(kSegment, segment_bytes).ok());
    ObjectTransfers::Options options;
    options.dial = [this](NodeId, Duration) -> absl::StatusOr<base::UniqueFd> {
      auto [here, there] = store::TcpPair();
      if (peer == nullptr) {
        silent = std::move(there);
      } else {
        peer->transfers->Serve(std::move(there), kReader);
      }
      return std::move(here);
    };
    options.send = [this](NodeId, rpc::ObjectPulled pulled) { sent.push_back(std::move(pulled)); };
    options.written = [this](const ObjectWritten& end) { written.push_back(end); };
    options.open_file = [this](const rpc::Bits256& sha256) -> std::optional<store::TransferServer::Opened> {
      if (sha256 != rpc::Sha256(file)) return std::nullopt;
      auto memory = std::make_shared<store::Memory>(file.size());
      std::memcpy(memory->mapping.mutable_data(), file.data(), file.size());
      return store::TransferServer::Opened{memory->fd->get(), 0, file.size(), memory};
    };
    transfers.emplace(loop, &segments, std::move(options));
  }

  void Fill(uint64_t offset, const std::string& bytes) const {
    EXPECT_EQ(pwrite(segments.fd(kSegment), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string Read(uint64_t offset, size_t size) const {
    std::string bytes(size, '?');
    EXPECT_EQ(pread(segments.fd(kSegment), bytes.data(), size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    return bytes;
  }

  store::SegmentFiles segments;
  Node* peer = nullptr;  // that it dials; null: somebody who says nothing
  base::UniqueFd silent;
  std::string file = "a program";
  std::vector<rpc::ObjectPulled> sent;
  std::vector<ObjectWritten> written;
  std::optional<ObjectTransfers> transfers;
};

class ObjectTransfersTest : public ::testing::Test {
 protected:
  void SetUp() override { reader_.peer = &source_; }

  // The source's core says so.
  rpc::ObjectPulled Offer(uint64_t size, uint64_t offset = 128) {
    SendObject send;
    send.to = kReader;
    send.pulled.object = kObject;
    send.pulled.found = true;
    send.pulled.size_bytes = size;
    send.location = Location(kSource, offset, size);
    source_.transfers->Send(send);
    return source_.sent.back();
  }
  void Write(const rpc::ObjectPulled& pulled, uint64_t pull = 1) {
    WriteObject write;
    write.pull = pull;
    write.object = kObject;
    write.source = kSource;
    write.location = Location(kReader, 4096, pulled.size_bytes);
    write.data = pulled.data;
    reader_.transfers->Write(write);
  }
  static rpc::StoreLocation Location(NodeId node, uint64_t offset, uint64_t size) {
    return {node, kSegment, offset, size};
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const Time end = loop_.Now() + std::chrono::seconds(10);
    while (!condition()) {
      if (loop_.Now() > end) return false;
      loop_.RunOnce();
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }
  static std::string Content(size_t size) {
    std::string bytes(size, '\0');
    base::Rng rng(size);
    for (char& byte : bytes) byte = static_cast<char>(rng.Next());
    return bytes;
  }

  base::UvEventLoop loop_;
  Node source_{&loop_, 8 << 20};
  Node reader_{&loop_, 8 << 20};
};

TEST_F(ObjectTransfersTest, ALargeObjectIsFetched) {
  const std::string content = Content(kLarge);
  source_.Fill(128, content);
  const rpc::ObjectPulled pulled = Offer(kLarge);
  EXPECT_TRUE(pulled.data.empty());
  Write(pulled);
  EXPECT_THAT(reader_.written, IsEmpty()) << "the loop does not wait for it";
  ASSERT_TRUE(RunUntil([&] { return !reader_.written.empty(); }));
  ASSERT_THAT(reader_.written, SizeIs(1));
  EXPECT_EQ(reader_.written[0].pull, 1u);
  EXPECT_EQ(reader_.written[0].error, "");
  EXPECT_TRUE(reader_.Read(4096, kLarge) == content);
}

TEST_F(ObjectTransfersTest, ASmallOneTravelsInTheMessage) {
  const std::string content = Content(kSmall);
  source_.Fill(128, content);
  rpc::ObjectPulled pulled = Offer(kSmall);
  EXPECT_TRUE(pulled.data.view() == content);
  Write(pulled);
  ASSERT_THAT(reader_.written, SizeIs(1));
  EXPECT_EQ(reader_.written[0].error, "");
  EXPECT_TRUE(reader_.Read(4096, kSmall) == content);
  pulled.data = Bytes("too few");
  Write(pulled, 2);
  ASSERT_THAT(reader_.written, SizeIs(2));
  EXPECT_THAT(reader_.written[1].error, HasSubstr("7 of 70000 bytes"));
}

TEST_F(ObjectTransfersTest, WhatTheSourceHasRevokedIsNotFetched) {
  const rpc::ObjectPulled pulled = Offer(kLarge);
  EXPECT_FALSE(source_.transfers->Revoke(Location(kSource, 128, kLarge + 64)));
  Write(pulled);
  ASSERT_TRUE(RunUntil([&] { return !reader_.written.empty(); }));
  EXPECT_THAT(reader_.written[0].error, HasSubstr("is not there any more"));
}

TEST_F(ObjectTransfersTest, AnAbandonedWriteEndsSoon) {
  reader_.peer = nullptr;
  Write(Offer(kLarge));
  reader_.transfers->Abandon({1});
  const Time start = loop_.Now();
  ASSERT_TRUE(RunUntil([&] { return !reader_.written.empty(); }));
  EXPECT_LT(loop_.Now() - start, std::chrono::seconds(2));
  EXPECT_NE(reader_.written[0].error, "");
  reader_.transfers->Abandon({1});
}

TEST_F(ObjectTransfersTest, NothingIsReportedAfterTheEnd) {
  reader_.peer = nullptr;
  Write(Offer(kLarge));
  reader_.transfers.reset();
  loop_.RunOnce();
  EXPECT_THAT(reader_.written, IsEmpty());
}

TEST_F(ObjectTransfersTest, FetchesFiles) {
  char folder[] = "/tmp/manta-transfers-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = std::string(folder) + "/program";
  std::vector<absl::Status> ends;
  const auto done = [&](absl::Status status) { ends.push_back(std::move(status)); };
  reader_.transfers->FetchFile(kSource, rpc::Sha256("another"), 9, path, done);
  ASSERT_TRUE(RunUntil([&] { return ends.size() == 1; }));
  EXPECT_TRUE(absl::IsNotFound(ends[0])) << ends[0];
  reader_.transfers->FetchFile(kSource, rpc::Sha256("a program"), 9, path, done);
  ASSERT_TRUE(RunUntil([&] { return ends.size() == 2; }));
  EXPECT_TRUE(ends[1].ok()) << ends[1];
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "a program");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace manta::runtime

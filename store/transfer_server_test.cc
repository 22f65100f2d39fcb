// The server of data connections alone: what those who connect may do to it.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "store/transfer_fixture.h"

namespace manta::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr DataSocket::Limits kShort{milliseconds(250), milliseconds(500)};

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

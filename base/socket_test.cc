#include "base/socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace manta::base {
namespace {

class SocketTest : public testing::Test {
 protected:
  ~SocketTest() override { unlink(path_.c_str()); }
  const std::string path_ = testing::TempDir() + "manta_socket_test." + std::to_string(getpid());
};

std::string Receive(int socket) {
  char buffer[64];
  const absl::StatusOr<Received> received = RecvWithFds(socket, buffer);
  return received.ok() ? std::string(buffer, received->size) : received.status().ToString();
}

TEST_F(SocketTest, ConnectsAndTellsWhoThePeerIs) {
  const absl::StatusOr<UniqueFd> listener = ListenUnix(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(absl::IsUnavailable(AcceptUnix(listener->get()).status()));
  const absl::StatusOr<UniqueFd> client = ConnectUnix(path_);
  ASSERT_TRUE(client.ok()) << client.status();
  const absl::StatusOr<UniqueFd> server = AcceptUnix(listener->get());
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(fcntl(server->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_NE(fcntl(server->get(), F_GETFL) & O_NONBLOCK, 0);
  const absl::StatusOr<PeerCredentials> peer = GetPeerCredentials(server->get());
  EXPECT_EQ(peer->pid, getpid());
  EXPECT_EQ(peer->uid, getuid());
}

TEST_F(SocketTest, OnlyTheOwnerMayConnect) {
  const absl::StatusOr<UniqueFd> listener = ListenUnix(path_);
  struct stat file;
  ASSERT_EQ(stat(path_.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(SocketTest, ReplacesADeadSocketButNotALiveOneNorAFile) {
  { const absl::StatusOr<UniqueFd> dead = ListenUnix(path_); }
  EXPECT_TRUE(absl::IsUnavailable(ConnectUnix(path_).status()));
  const absl::StatusOr<UniqueFd> listener = ListenUnix(path_);
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(absl::IsAlreadyExists(ListenUnix(path_).status()));
  unlink(path_.c_str());
  const UniqueFd file(open(path_.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_FALSE(ListenUnix(path_).ok());
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
}

TEST_F(SocketTest, BadPathsAreErrors) {
  EXPECT_TRUE(absl::IsNotFound(ConnectUnix(path_).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListenUnix("").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListenUnix("/tmp/" + std::string(kSocketPathBytesMax, 'x')).status()));
}

TEST_F(SocketTest, DescriptorsTravel) {
  const auto pair = SocketPair();
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  const UniqueFd reader(pipe_fds[0]);
  UniqueFd writer(pipe_fds[1]);
  const int fds[] = {writer.get(), writer.get()};
  EXPECT_EQ(*SendWithFds(pair->first.get(), std::string_view("hi"), fds), 2u);
  writer.reset();

  char buffer[16];
  absl::StatusOr<Received> received = RecvWithFds(pair->second.get(), buffer);
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(std::string_view(buffer, received->size), "hi");
  ASSERT_EQ(received->fds.size(), 2u);
  EXPECT_EQ(fcntl(received->fds[0].get(), F_GETFD), FD_CLOEXEC);
  ASSERT_EQ(write(received->fds[1].get(), "x", 1), 1);
  received->fds.clear();
  EXPECT_EQ(read(reader.get(), buffer, 16), 1);
  EXPECT_EQ(read(reader.get(), buffer, 16), 0);  // every copy is closed
}

TEST_F(SocketTest, EndOfFileBlockingAndFullAreToldApart) {
  auto pair = SocketPair();
  char buffer[16];
  EXPECT_TRUE(absl::IsUnavailable(RecvWithFds(pair->first.get(), buffer).status()));
  const std::string chunk(1 << 16, 'x');
  absl::StatusOr<size_t> sent;
  do {
    sent = SendWithFds(pair->first.get(), chunk, {});
  } while (sent.ok());
  EXPECT_TRUE(absl::IsUnavailable(sent.status()));
  pair->first.reset();
  while (RecvWithFds(pair->second.get(), buffer)->size != 0) {
  }
  EXPECT_FALSE(SendWithFds(pair->second.get(), std::string_view("x"), {}).ok());  // and no SIGPIPE
}

TEST_F(SocketTest, PacketsKeepTheirBoundsAndMustFit) {
  const auto pair = SocketPair(SocketKind::kSeqPacket);
  ASSERT_TRUE(SendWithFds(pair->first.get(), std::string_view("one"), {}).ok());
  ASSERT_TRUE(SendWithFds(pair->first.get(), std::string_view("two"), {}).ok());
  EXPECT_EQ(Receive(pair->second.get()), "one");
  EXPECT_EQ(Receive(pair->second.get()), "two");
  ASSERT_TRUE(SendWithFds(pair->first.get(), std::string(100, 'x'), {}).ok());
  EXPECT_EQ(Receive(pair->second.get()), "DATA_LOSS: message is longer than the buffer");
}

TEST_F(SocketTest, DescriptorsThatFindNoNumberAreLostAndTheMessageIsNot) {
  const auto pair = SocketPair();
  const std::vector<int> fds(3, 0);
  ASSERT_TRUE(SendWithFds(pair->first.get(), std::string_view("x"), fds).ok());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  UniqueFd next(dup(0));
  const rlimit few = {static_cast<rlim_t>(next.get()) + 1, before.rlim_max};
  next.reset();  // room for one
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  char buffer[8];
  const absl::StatusOr<Received> received = RecvWithFds(pair->second.get(), buffer);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->size, 1u);
  EXPECT_TRUE(received->fds.empty());
}

TEST_F(SocketTest, TooManyDescriptorsAreRefused) {
  const auto pair = SocketPair();
  const std::vector<int> fds(kFdsPerMessageMax + 1, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(SendWithFds(pair->first.get(), std::string_view("x"), fds).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(SendWithFds(pair->first.get(), {}, {}).status()));
}

}  // namespace
}  // namespace manta::base

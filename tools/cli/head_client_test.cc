#include "tools/cli/head_client.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <thread>

#include "base/socket.h"
#include "rpc/listener.h"
#include "rpc/socket_address.h"

namespace manta::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

runtime::ClusterIdentity ClusterAt(const std::string& address) {
  runtime::ClusterIdentity cluster;
  cluster.address = address;
  cluster.cluster_id = "test";
  cluster.secret = rpc::Sha256("secret");
  return cluster;
}

// A head on a thread of its own that answers every question with `answer`.
class FakeHead final : private rpc::SocketChannel::Handler {
 public:
  using Answer = std::function<std::optional<rpc::StateReply>(const rpc::StateQuery&, rpc::TrustClass)>;
  explicit FakeHead(Answer answer) : answer_(std::move(answer)) {
    rpc::Listener::Options options;
    options.handshake.cluster_id = "test";
    options.handshake.cluster_secret = rpc::Sha256("secret");
    listener_ = rpc::Listener::Listen(&loop_, "127.0.0.1:0", options,
                                      [this](std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity&) {
                                        channel->set_handler(this);
                                        channels_.push_back(std::move(channel));
                                      })
                    .value();
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~FakeHead() override {
    loop_.Stop();
    thread_.join();
  }
  runtime::ClusterIdentity cluster() const { return ClusterAt(listener_->address()); }

 private:
  void OnMessage(rpc::Channel& channel, rpc::Message message) override {
    const auto& query = std::get<rpc::StateQuery>(message);
    auto reply = answer_(query, static_cast<rpc::SocketChannel&>(channel).identity().trust);
    if (!reply) return channel.Close();
    reply->request = query.request;
    ASSERT_TRUE(channel.Send(*reply).ok());
  }
  void OnClosed(rpc::Channel&, const absl::Status&) override {}

  const Answer answer_;
  base::UvEventLoop loop_;
  std::vector<std::unique_ptr<rpc::SocketChannel>> channels_;
  std::unique_ptr<rpc::Listener> listener_;
  std::thread thread_;
};

rpc::StateReply Echo(const rpc::StateQuery& query, rpc::TrustClass trust) {
  rpc::StateReply reply;
  reply.error = query.subject + (trust == rpc::TrustClass::kReader ? " reader" : " member");
  return reply;
}

rpc::StateQuery Question(std::string subject) {
  rpc::StateQuery query;
  query.subject = std::move(subject);
  return query;
}

TEST(HeadClient, AsksAsAReaderOrAMember) {
  FakeHead head(&Echo);
  auto reader = HeadClient::Connect(head.cluster(), rpc::TrustClass::kReader);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->Ask(Question("one"))->error, "one reader");
  EXPECT_EQ((*reader)->Ask(Question("two"))->error, "two reader");
  auto member = HeadClient::Connect(head.cluster(), rpc::TrustClass::kMember);
  ASSERT_TRUE(member.ok()) << member.status();
  EXPECT_EQ((*member)->Ask(Question("three"))->error, "three member");
}

TEST(HeadClient, AHeadThatGoesIsSaidSo) {
  FakeHead head([](const rpc::StateQuery&, rpc::TrustClass) { return std::nullopt; });
  auto client = HeadClient::Connect(head.cluster(), rpc::TrustClass::kReader);
  ASSERT_TRUE(client.ok()) << client.status();
  const absl::Status gone = (*client)->Ask(Question("")).status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
  EXPECT_FALSE((*client)->Ask(Question("")).ok());
}

TEST(HeadClient, AnotherClustersSecretIsRefused) {
  FakeHead head(&Echo);
  runtime::ClusterIdentity other = head.cluster();
  other.secret = rpc::Sha256("another");
  const absl::Status refused = HeadClient::Connect(other, rpc::TrustClass::kReader).status();
  EXPECT_FALSE(refused.ok());
  EXPECT_NE(base::Message(refused).find(other.address), std::string::npos) << refused;
}

TEST(HeadClient, NobodyListensIsUnavailable) {
  const auto free = rpc::ListenOn("127.0.0.1:0");
  const std::string address = rpc::LocalAddress(free->get()).value();
  runtime::ClusterIdentity cluster = ClusterAt(address);
  // Listens, accepts by the kernel, says nothing.
  const absl::Status silent = HeadClient::Connect(cluster, rpc::TrustClass::kReader, milliseconds(100)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(silent)) << silent;
  EXPECT_NE(base::Message(silent).find(address), std::string::npos) << silent;
  cluster.address = "127.0.0.1:1";
  const absl::Status nobody = HeadClient::Connect(cluster, rpc::TrustClass::kReader).status();
  EXPECT_TRUE(absl::IsUnavailable(nobody)) << nobody;
}

}  // namespace
}  // namespace manta::cli

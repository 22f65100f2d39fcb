#include "tools/cli/head_client.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "rpc/socket_address.h"

namespace manta::cli {

absl::StatusOr<std::unique_ptr<HeadClient>> HeadClient::Connect(const runtime::ClusterIdentity& cluster,
                                                                rpc::TrustClass trust, Duration deadline) {
  MANTA_ASSIGN_OR_RETURN(const std::string address, rpc::Resolve(cluster.address));
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd socket, rpc::ConnectTo(address));
  std::unique_ptr<HeadClient> client(new HeadClient(cluster.address));
  rpc::ClientHandshake::Options handshake;
  handshake.cluster_id = cluster.cluster_id;
  handshake.trust = trust;
  handshake.key = rpc::ClassKey(cluster.secret, trust);
  rpc::SocketChannel::Options options;
  options.handshake_timeout = deadline;
  client->channel_ = rpc::SocketChannel::Client(&client->loop_, std::move(socket), handshake, options, client.get());
  const bool in_time = client->Await(deadline);
  if (client->is_open_) return client;
  const std::string why = in_time ? base::Message(client->closed_) : "it did not answer within " + ToString(deadline);
  const absl::StatusCode code = in_time ? client->closed_.code() : absl::StatusCode::kDeadlineExceeded;
  // What is no head at all says something else, or nothing.
  if (code == absl::StatusCode::kInvalidArgument) {
    return base::Error(absl::StatusCode::kUnavailable,
                       "tried the head at " + cluster.address + ": what listens there is no Manta head: " + why);
  }
  return base::Error(code, "tried the head at " + cluster.address + ": " + why);
}

HeadClient::~HeadClient() = default;

absl::StatusOr<rpc::StateReply> HeadClient::Ask(rpc::StateQuery query, Duration deadline) {
  if (!closed_.ok()) return closed_;
  query.request = ++last_request_;
  reply_.reset();
  MANTA_RETURN_IF_ERROR(channel_->Send(query));
  const bool in_time = Await(deadline);
  if (reply_) return *std::move(reply_);
  if (!in_time) {
    return base::Error(absl::StatusCode::kDeadlineExceeded,
                       "the head at " + address_ + " did not answer within " + ToString(deadline));
  }
  return base::Error(absl::StatusCode::kUnavailable,
                     "the head at " + address_ + " has gone: " + base::Message(closed_));
}

bool HeadClient::Await(Duration deadline) {
  bool in_time = true;
  const base::TimerId timer = loop_.RunAfter(deadline, [&] {
    in_time = false;
    loop_.Stop();
  });
  loop_.Run();
  loop_.CancelTimer(timer);
  return in_time;
}

void HeadClient::OnAuthenticated(rpc::SocketChannel&, const rpc::PeerIdentity&) {
  is_open_ = true;
  loop_.Stop();
}

void HeadClient::OnMessage(rpc::Channel&, rpc::Message message) {
  auto* reply = std::get_if<rpc::StateReply>(&message);
  if (reply == nullptr || reply->request != last_request_) return;
  reply_ = std::move(*reply);
  loop_.Stop();
}

void HeadClient::OnClosed(rpc::Channel&, const absl::Status& why) {
  closed_ = why.ok() ? absl::UnavailableError("it closed the connection") : why;
  loop_.Stop();
}

}  // namespace manta::cli

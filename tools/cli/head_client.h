// HeadClient asks a cluster's head questions, one at a time, and waits for the answers.
//
// Ownership:  owns its connection and its event loop.
// Threads:    externally synchronised; the calls block.
// Errors:     kUnavailable (nobody listens, the head has gone), kDeadlineExceeded, kPermissionDenied or whatever the
//             handshake says: the text names the address and what to do.
#ifndef MANTA_TOOLS_CLI_HEAD_CLIENT_H_
#define MANTA_TOOLS_CLI_HEAD_CLIENT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "base/uv_event_loop.h"
#include "rpc/socket_channel.h"
#include "runtime/cluster_files.h"

namespace manta::cli {

class HeadClient final : private rpc::SocketChannel::Handler {
 public:
  static constexpr Duration kDeadline = std::chrono::seconds(3);

  // `trust`: kReader may ask, kMember may also change something.
  static absl::StatusOr<std::unique_ptr<HeadClient>> Connect(const runtime::ClusterIdentity& cluster,
                                                             rpc::TrustClass trust, Duration deadline = kDeadline);
  ~HeadClient() override;

  // `query.request` is set here. A reply may carry an `error` beside its rows.
  absl::StatusOr<rpc::StateReply> Ask(rpc::StateQuery query, Duration deadline = kDeadline);

 private:
  explicit HeadClient(std::string address) : address_(std::move(address)) {}

  // rpc::SocketChannel::Handler
  void OnAuthenticated(rpc::SocketChannel& channel, const rpc::PeerIdentity& peer) override;
  void OnMessage(rpc::Channel& channel, rpc::Message message) override;
  void OnClosed(rpc::Channel& channel, const absl::Status& why) override;

  // Runs the loop until one of the handler's calls stops it. False: the deadline passed.
  bool Await(Duration deadline);

  const std::string address_;
  base::UvEventLoop loop_;
  bool is_open_ = false;
  absl::Status closed_;  // not OK: it is, and why
  uint64_t last_request_ = 0;
  std::optional<rpc::StateReply> reply_;
  std::unique_ptr<rpc::SocketChannel> channel_;
};

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_HEAD_CLIENT_H_

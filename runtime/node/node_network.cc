#include "runtime/node/node_network.h"

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "rpc/socket_address.h"

namespace manta::runtime {
namespace {

constexpr Duration kHeadRetry = std::chrono::milliseconds(20);
constexpr Duration kHeadRetryMax = std::chrono::milliseconds(500);
// The head answers each heartbeat: a connection on which it says nothing is half open, or the head is stopped.
constexpr Duration kHeadSilenceMax = std::chrono::seconds(4);
constexpr Duration kHeadLook = std::chrono::seconds(1);
constexpr Duration kHeadLookLate = std::chrono::milliseconds(500);

}  // namespace

// One connection to the head.
class NodeNetwork::HeadLink final : private rpc::SocketChannel::Handler {
 public:
  HeadLink(NodeNetwork* network, base::UniqueFd socket)
      : network_(network),
        channel_(rpc::SocketChannel::Client(
            network->loop_, std::move(socket),
            network->HandshakeOf(network->self_ == 0 ? ProcessId() : DaemonOf(network->self_), kHead,
                                 rpc::ConnectionKind::kControl),
            {}, this)) {}
  ~HeadLink() override {
    if (timer_ != 0) network_->loop_->CancelTimer(timer_);
  }

  bool proved() const { return proved_; }
  void Send(const rpc::Message& message) {
    const absl::Status sent = channel_->Send(message);
    if (!sent.ok()) MANTA_LOG(kError) << rpc::MessageName(message) << " to the head: " << base::Message(sent);
  }

 private:
  void OnAuthenticated(rpc::SocketChannel&, const rpc::PeerIdentity&) override {
    network_->head_retry_ = kHeadRetry;
    proved_ = true;
    heard_ = network_->loop_->Now();
    LookLater();
    network_->handler_->OnHeadConnected();
  }
  void OnMessage(rpc::Channel&, rpc::Message message) override {
    heard_ = network_->loop_->Now();
    network_->handler_->OnHeadMessage(std::move(message));
  }
  void OnClosed(rpc::Channel&, const absl::Status& why) override { Lost(why); }

  void LookLater() {
    const Time due = network_->loop_->Now() + kHeadLook;
    timer_ = network_->loop_->RunAfter(kHeadLook, [this, due] {
      timer_ = 0;
      const Time now = network_->loop_->Now();
      if (now > due + kHeadLookLate) heard_ = now;  // this process was stopped, not the head
      if (now - heard_ < kHeadSilenceMax) return LookLater();
      channel_->Close();
      Lost(absl::UnavailableError("it has said nothing for " + ToString(now - heard_)));
    });
  }
  void Lost(const absl::Status& why) {
    const absl::Status reason = why;
    // Whoever listens there is not our head: only its own start may change that.
    const bool fatal = !proved_ && !absl::IsUnavailable(why) && !absl::IsResourceExhausted(why);
    NodeNetwork* const network = network_;
    network->loop_->Post([network, alive = std::weak_ptr<bool>(network->alive_)] {
      const std::shared_ptr<bool> still = alive.lock();
      if (still && *still) network->RetryHead();
    });
    network->handler_->OnHeadLost(reason, fatal);
  }

  NodeNetwork* const network_;
  bool proved_ = false;
  Time heard_{};
  base::TimerId timer_ = 0;
  std::unique_ptr<rpc::SocketChannel> channel_;
};

class NodeNetwork::Outgoing final : private rpc::SocketChannel::Handler {
 public:
  using Done = std::function<void(absl::StatusOr<rpc::SocketChannel::Released>)>;
  Outgoing(NodeNetwork* network, uint64_t id, base::UniqueFd socket, const rpc::ClientHandshake::Options& handshake,
           Done done)
      : network_(network),
        id_(id),
        done_(std::move(done)),
        channel_(rpc::SocketChannel::Client(network->loop_, std::move(socket), handshake, {}, this)) {}

 private:
  void OnAuthenticated(rpc::SocketChannel& channel, const rpc::PeerIdentity&) override { Finish(channel.Release()); }
  void OnMessage(rpc::Channel&, rpc::Message) override {}
  void OnClosed(rpc::Channel&, const absl::Status& why) override { Finish(why); }
  void Finish(absl::StatusOr<rpc::SocketChannel::Released> result) {
    if (!done_) return;
    const Done done = std::exchange(done_, nullptr);
    network_->loop_->Post([network = network_, id = id_, alive = std::weak_ptr<bool>(network_->alive_)] {
      const std::shared_ptr<bool> still = alive.lock();
      if (still && *still) network->Finish(id);
    });
    done(std::move(result));
  }

  NodeNetwork* const network_;
  const uint64_t id_;
  Done done_;
  std::unique_ptr<rpc::SocketChannel> channel_;
};

absl::StatusOr<std::unique_ptr<NodeNetwork>> NodeNetwork::Create(base::EventLoop* loop, Options options,
                                                                 Handler* handler) {
  std::unique_ptr<NodeNetwork> network(new NodeNetwork(loop, std::move(options), handler));
  MANTA_RETURN_IF_ERROR(network->Listen());
  return network;
}

NodeNetwork::NodeNetwork(base::EventLoop* loop, Options options, Handler* handler)
    : loop_(loop),
      options_(std::move(options)),
      handler_(handler),
      member_key_(rpc::ClassKey(options_.cluster.secret, rpc::TrustClass::kMember)),
      head_retry_(kHeadRetry) {}

NodeNetwork::~NodeNetwork() {
  *alive_ = false;
  if (head_timer_ != 0) loop_->CancelTimer(head_timer_);
}

absl::Status NodeNetwork::Listen() {
  const std::string address = options_.host + ":0";
  rpc::Listener::Options listen;
  listen.handshake.cluster_id = options_.cluster.cluster_id;
  listen.handshake.cluster_secret = options_.cluster.secret;
  listen.handshake.self_known = false;
  listen.handshake.answers_for = [this](ProcessId process) { return handler_->HasProcess(process); };
  listen.handshake.admit = [this](const rpc::PeerIdentity& peer) -> absl::Status {
    if (peer.trust != rpc::TrustClass::kMember) return absl::PermissionDeniedError("nodes talk to members only");
    if (peer.process.is_head()) return absl::PermissionDeniedError("nodes call the head, not the other way round");
    if (peer.process.node == 0 || dead_.contains(peer.process.node)) {
      return base::Error(absl::StatusCode::kAborted,
                         "node n" + std::to_string(peer.process.node) + " has been declared dead");
    }
    return absl::OkStatus();
  };
  MANTA_ASSIGN_OR_RETURN(listener_, rpc::Listener::Listen(loop_, address, listen,
                                                          [this](std::unique_ptr<rpc::SocketChannel> channel,
                                                                 const rpc::PeerIdentity& peer) {
                                                            OnAccepted(std::move(channel), peer);
                                                          }));
  return absl::OkStatus();
}

void NodeNetwork::SetSelf(NodeId self) {
  self_ = self;
  listener_->set_self(DaemonOf(self));
}

// ------------------------------------------------------------------ the head

void NodeNetwork::ConnectToHead() {
  absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(options_.cluster.address, options_.host);
  if (!socket.ok()) {
    handler_->OnHeadLost(socket.status(), absl::IsInvalidArgument(socket.status()));
    return RetryHead();
  }
  head_ = std::make_unique<HeadLink>(this, *std::move(socket));
}

void NodeNetwork::RetryHead() {
  head_.reset();
  if (head_timer_ != 0) return;
  head_timer_ = loop_->RunAfter(head_retry_, [this] {
    head_timer_ = 0;
    ConnectToHead();
  });
  head_retry_ = std::min(head_retry_ * 2, kHeadRetryMax);
}

void NodeNetwork::SendToHead(const rpc::Message& message) {
  if (head_ != nullptr && head_->proved()) head_->Send(message);
}

// ------------------------------------------------------------------ other nodes

void NodeNetwork::SendToNode(NodeId node, const rpc::Message& message) {
  if (dead_.contains(node)) return;
  Peer& peer = peers_[node];
  if (peer.send == nullptr && peer.address.empty()) {
    peer.early.push_back(message);
    return;
  }
  if (peer.send == nullptr) DialNode(node, peer);
  const absl::Status sent = peer.send->Send(message);
  if (!sent.ok()) MANTA_LOG(kError) << rpc::MessageName(message) << " to n" << node << ": " << base::Message(sent);
}

void NodeNetwork::UpdateNodes(const rpc::ClusterView& view) {
  for (const rpc::NodeInfo& info : view.nodes) {
    if (info.node == self_ || dead_.contains(info.node)) continue;
    Peer& peer = peers_[info.node];
    peer.address = info.address;
    for (const rpc::Message& message : std::exchange(peer.early, {})) SendToNode(info.node, message);
  }
}

// What it has sent and we have not read is nobody's word any more.
void NodeNetwork::NodeDied(NodeId node) {
  dead_.insert(node);
  const auto found = peers_.find(node);
  if (found == peers_.end()) return;
  CloseSessions(found->second);
  peers_.erase(found);
}

// It may be one of these that the news came through.
void NodeNetwork::CloseSessions(Peer& peer) {
  const auto gone = std::make_shared<Peer>();
  gone->dialled = std::move(peer.dialled);
  gone->accepted = std::move(peer.accepted);
  peer.send = nullptr;
  if (gone->dialled) gone->dialled->Close();
  if (gone->accepted) gone->accepted->Close();
  loop_->Post([gone] {});
}

rpc::ClientHandshake::Options NodeNetwork::HandshakeOf(ProcessId self, ProcessId server,
                                                       rpc::ConnectionKind kind) const {
  rpc::ClientHandshake::Options handshake;
  handshake.cluster_id = options_.cluster.cluster_id;
  handshake.key = member_key_;
  handshake.connection = kind;
  handshake.self = self;
  handshake.server = server;
  return handshake;
}

rpc::SessionChannel::Options NodeNetwork::SessionOf(NodeId node) const {
  rpc::SessionChannel::Options options;
  options.session.self = DaemonOf(self_);
  options.session.peer = DaemonOf(node);
  options.give_up_after = Duration::max();  // the head says who is dead
  return options;
}

void NodeNetwork::DialNode(NodeId node, Peer& peer) {
  rpc::SessionChannel::Options options = SessionOf(node);
  options.handshake = HandshakeOf(DaemonOf(self_), DaemonOf(node), rpc::ConnectionKind::kControl);
  options.dial = [address = peer.address, host = options_.host] { return rpc::ConnectTo(address, host); };
  peer.dialled = std::make_unique<rpc::SessionChannel>(loop_, options, static_cast<rpc::Channel::Handler*>(this));
  peer.send = peer.dialled.get();
}

void NodeNetwork::OnAccepted(std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity& peer) {
  if (peer.connection == rpc::ConnectionKind::kControl && peer.process.is_daemon()) {
    Peer& from = peers_[peer.process.node];
    if (from.accepted == nullptr) {
      from.accepted = std::make_unique<rpc::SessionChannel>(loop_, SessionOf(peer.process.node),
                                                            static_cast<rpc::Channel::Handler*>(this));
      if (from.send == nullptr) from.send = from.accepted.get();
    }
    const absl::Status attached = from.accepted->Attach(std::move(channel), peer);
    if (!attached.ok()) MANTA_LOG(kWarning) << "a connection is refused: " << base::Message(attached);
    return;
  }
  HandOver(*channel, peer);
}

void NodeNetwork::HandOver(rpc::SocketChannel& channel, const rpc::PeerIdentity& peer) {
  absl::StatusOr<rpc::SocketChannel::Released> released = channel.Release();
  if (!released.ok()) return;  // the other side dials again
  if (peer.connection == rpc::ConnectionKind::kData && peer.process.is_daemon()) {
    handler_->OnDataSocket(peer.process.node, std::move(released->socket), std::move(released->early));
  } else if (peer.connection == rpc::ConnectionKind::kCalls && peer.process.is_user_process()) {
    rpc::PeerLink link;
    link.peer = peer.process;
    link.early = Bytes(released->early);
    handler_->OnPeerLink(peer.server, std::move(link), std::move(released->socket));
  }
}

void NodeNetwork::OnMessage(rpc::Channel& channel, rpc::Message message) {
  handler_->OnNodeMessage(channel.peer().node, std::move(message));
}

void NodeNetwork::OnClosed(rpc::Channel& channel, const absl::Status& why) {
  const NodeId node = channel.peer().node;
  if (dead_.contains(node)) return;
  // Nobody of that number listens there any more: the head will say that it is dead.
  if (absl::IsAborted(why)) {
    MANTA_LOG(kInfo) << "n" << node << " is not at its address any more: " << base::Message(why);
    return;
  }
  // The head has not told of it: nobody here relies on anything that it has said.
  if (const auto found = peers_.find(node); found == peers_.end() || found->second.address.empty()) {
    MANTA_LOG(kWarning) << "a session of n" << node << ", which is not known, ends: " << base::Message(why);
    if (found != peers_.end()) CloseSessions(found->second);
    return;
  }
  handler_->OnSessionLost(node, why);
}

// ------------------------------------------------------------------ connections to hand over

void NodeNetwork::Dial(ProcessId from, ProcessId peer) {
  rpc::PeerLink link;
  link.peer = peer;
  link.dialled = true;
  const auto found = peers_.find(peer.node);
  if (found == peers_.end() || found->second.address.empty()) {
    link.refused =
        "node n" + std::to_string(peer.node) + (dead_.contains(peer.node) ? " is dead" : " is not known yet");
    link.dead = dead_.contains(peer.node);
    return handler_->OnPeerLink(from, std::move(link), {});
  }
  Start(from, peer, rpc::ConnectionKind::kCalls,
        [this, from, link](absl::StatusOr<rpc::SocketChannel::Released> released) mutable {
          if (!released.ok()) {
            link.refused = base::Message(released.status());
            link.dead = absl::IsAborted(released.status());
            return handler_->OnPeerLink(from, std::move(link), {});
          }
          link.early = Bytes(released->early);
          handler_->OnPeerLink(from, std::move(link), std::move(released->socket));
        });
}

void NodeNetwork::DialData(NodeId node, std::function<void(absl::StatusOr<base::UniqueFd>)> done) {
  Start(DaemonOf(self_), DaemonOf(node), rpc::ConnectionKind::kData,
        [done = std::move(done)](absl::StatusOr<rpc::SocketChannel::Released> released) {
          if (!released.ok()) return done(released.status());
          done(std::move(released->socket));
        });
}

void NodeNetwork::Start(ProcessId self, ProcessId server, rpc::ConnectionKind kind,
                        std::function<void(absl::StatusOr<rpc::SocketChannel::Released>)> done) {
  const auto found = peers_.find(server.node);
  if (found == peers_.end() || found->second.address.empty()) {
    return done(absl::UnavailableError("node n" + std::to_string(server.node) + " is not known, or dead"));
  }
  absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(found->second.address, options_.host);
  if (!socket.ok()) return done(socket.status());
  const uint64_t id = next_outgoing_++;
  outgoing_[id] =
      std::make_unique<Outgoing>(this, id, *std::move(socket), HandshakeOf(self, server, kind), std::move(done));
}

void NodeNetwork::Finish(uint64_t outgoing) { outgoing_.erase(outgoing); }

}  // namespace manta::runtime

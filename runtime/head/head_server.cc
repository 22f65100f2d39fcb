#include "runtime/head/head_server.h"

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "rpc/socket_address.h"
#include "rpc/utf8.h"

namespace manta::runtime {
namespace {

constexpr size_t kEarlyMessagesMax = 64 << 10;
constexpr Duration kAskAgain = std::chrono::milliseconds(20);
constexpr int kAsksMax = 100;
constexpr size_t kNodeNameBytesMax = 256;

// What goes into views, tables and logs that people read.
absl::Status CheckNode(const rpc::NodeInfo& node) {
  if (node.name.empty() || node.name.size() > kNodeNameBytesMax || rpc::HasControlCharacters(node.name)) {
    return absl::InvalidArgumentError("its name is empty, too long, or has control characters");
  }
  for (const auto& [name, amount] : node.total.amounts()) {
    if (rpc::HasControlCharacters(name)) return absl::InvalidArgumentError("a resource's name has control characters");
  }
  if (rpc::IsUnixAddress(node.address) || rpc::HasControlCharacters(node.address) ||
      !rpc::IsLocalAddress(node.address)) {
    return absl::InvalidArgumentError("its address is not one of this machine's");
  }
  return absl::OkStatus();
}

bool NobodyListens(const absl::Status& why) { return base::Message(why).find("nobody listens") != std::string::npos; }

}  // namespace

class HeadServer::Connection final : public rpc::SocketChannel::Handler {
 public:
  Connection(HeadServer* server, uint64_t id, std::unique_ptr<rpc::SocketChannel> opened,
             const rpc::PeerIdentity& identity)
      : peer(identity), server_(server), id_(id), channel_(std::move(opened)) {
    channel_->set_handler(this);
  }

  uint64_t id() const { return id_; }
  void Send(const rpc::Message& message) {
    const absl::Status sent = channel_->Send(message);
    if (!sent.ok()) MANTA_LOG(kError) << rpc::MessageName(message) << ": " << base::Message(sent);
  }
  void Close() { channel_->Close(); }

  const rpc::PeerIdentity peer;
  NodeId node = 0;      // once it is accepted
  std::string address;  // of that node's daemon
  bool is_registering = false;
  std::vector<rpc::Message> early;  // behind its NodeRegister, which is being made durable

 private:
  void OnMessage(rpc::Channel&, rpc::Message message) override { server_->OnMessage(*this, std::move(message)); }
  void OnClosed(rpc::Channel&, const absl::Status& why) override { server_->OnClosed(*this, why); }

  HeadServer* const server_;
  const uint64_t id_;
  std::unique_ptr<rpc::SocketChannel> channel_;
};

class HeadServer::Probe final : private rpc::SocketChannel::Handler {
 public:
  using Done = std::function<void(Verdict)>;
  Probe(HeadServer* server, NodeId node, base::UniqueFd socket, Done done) : done_(std::move(done)) {
    rpc::ClientHandshake::Options handshake;
    handshake.cluster_id = server->options_.cluster.cluster_id;
    handshake.key = rpc::ClassKey(server->options_.cluster.secret, rpc::TrustClass::kMember);
    handshake.self = kHead;
    handshake.server = DaemonOf(node);
    channel_ = rpc::SocketChannel::Client(server->loop_, std::move(socket), handshake, {}, this);
  }

 private:
  void OnAuthenticated(rpc::SocketChannel&, const rpc::PeerIdentity&) override { Finish(Verdict::kLives); }
  void OnMessage(rpc::Channel&, rpc::Message) override {}
  // Refused as another process, or not let in as the head (which proves that it lives), or nobody is there.
  void OnClosed(rpc::Channel&, const absl::Status& why) override {
    if (absl::IsAborted(why) || NobodyListens(why)) return Finish(Verdict::kDead);
    Finish(absl::IsUnavailable(why) ? Verdict::kUnclear : Verdict::kLives);
  }
  void Finish(Verdict verdict) {
    if (done_) std::exchange(done_, nullptr)(verdict);
  }

  Done done_;
  std::unique_ptr<rpc::SocketChannel> channel_;
};

absl::StatusOr<std::unique_ptr<HeadServer>> HeadServer::Create(base::EventLoop* loop, Options options) {
  std::unique_ptr<HeadServer> server(new HeadServer(loop, std::move(options)));
  MANTA_RETURN_IF_ERROR(server->Listen());
  return server;
}

void HeadServer::Serve(std::unique_ptr<KvStore> store, const KvOpened& opened) {
  shell_ = std::make_unique<HeadShell>(
      loop_, options_.head, std::move(store), [this](NodeId to, rpc::Message message) { SendToNode(to, message); },
      opened);
  fanout_ = std::make_unique<StateFanout>(&shell_->core());
  for (auto& [id, message] : std::exchange(early_, {})) {
    const auto found = connections_.find(id);
    if (found != connections_.end()) OnMessage(*found->second, std::move(message));
  }
}

HeadServer::HeadServer(base::EventLoop* loop, Options options) : loop_(loop), options_(std::move(options)) {}

HeadServer::~HeadServer() {
  *alive_ = false;
  if (state_timer_ != 0) loop_->CancelTimer(state_timer_);
  while (!probes_.empty()) EndProbing(probes_.begin()->first);
}

absl::Status HeadServer::Listen() {
  const std::string& address = options_.cluster.address;
  rpc::Listener::Options listen;
  listen.handshake.cluster_id = options_.cluster.cluster_id;
  listen.handshake.cluster_secret = options_.cluster.secret;
  MANTA_ASSIGN_OR_RETURN(listener_, rpc::Listener::Listen(loop_, address, listen,
                                                          [this](std::unique_ptr<rpc::SocketChannel> channel,
                                                                 const rpc::PeerIdentity& peer) {
                                                            OnAccepted(std::move(channel), peer);
                                                          }));
  return absl::OkStatus();
}

// ------------------------------------------------------------------ connections

void HeadServer::OnAccepted(std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity& peer) {
  const uint64_t id = next_connection_++;
  connections_[id] = std::make_unique<Connection>(this, id, std::move(channel), peer);
}

void HeadServer::OnMessage(Connection& connection, rpc::Message message) {
  if (shell_ == nullptr) {
    if (early_.size() < kEarlyMessagesMax) early_.emplace_back(connection.id(), std::move(message));
    return;
  }
  if (auto* hello = std::get_if<rpc::NodeRegister>(&message); hello != nullptr && connection.node == 0) {
    return Register(connection, std::move(*hello));
  }
  if (const auto* query = std::get_if<rpc::StateQuery>(&message)) return OnQuery(connection, *query);
  if (connection.node == 0 && connection.is_registering && connection.early.size() < kEarlyMessagesMax) {
    return connection.early.push_back(std::move(message));
  }
  if (connection.node == 0) {
    MANTA_LOG(kWarning) << "a connection is closed: " << rpc::MessageName(message) << " before its NodeRegister";
    return Remove(connection.id());
  }
  if (auto* reply = std::get_if<rpc::StateReply>(&message)) return OnStateReply(connection.node, std::move(*reply));
  shell_->Receive(connection.node, std::move(message));
}

void HeadServer::OnClosed(Connection& connection, const absl::Status& why) {
  const NodeId node = connection.node;
  const std::string address = connection.address;
  const bool was_its = node != 0 && by_node_.count(node) != 0 && by_node_[node] == connection.id();
  if (fanout_ != nullptr) fanout_->ClientGone(connection.id());
  Remove(connection.id());
  if (!was_its) return;
  MANTA_LOG(kInfo) << "the connection of node n" << node << " closed: " << base::Message(why);
  shell_->ConnectionLost(node, false);
  StateFanout::Output output;
  fanout_->NodeGone(node, &output);
  CarryOut(output);
  ConfirmDeath(node, address, 1);
}

// It may be running: it goes at the next turn.
void HeadServer::Remove(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const NodeId node = found->second->node;
  if (const auto bound = by_node_.find(node); bound != by_node_.end() && bound->second == id) by_node_.erase(bound);
  found->second->Close();
  std::shared_ptr<Connection> gone(std::move(found->second));
  connections_.erase(found);
  loop_->Post([gone] {});
}

// ------------------------------------------------------------------ nodes

void HeadServer::Register(Connection& connection, rpc::NodeRegister message) {
  const ProcessId claimed = message.info.node == 0 ? ProcessId() : DaemonOf(message.info.node);
  if (connection.is_registering || connection.peer.trust != rpc::TrustClass::kMember ||
      claimed != connection.peer.process) {
    MANTA_LOG(kWarning) << "a connection is closed: it may not register as " << ToString(claimed);
    return Remove(connection.id());
  }
  if (const absl::Status checked = CheckNode(message.info); !checked.ok()) {
    MANTA_LOG(kWarning) << "a node is refused: " << base::Message(checked);
    return Remove(connection.id());
  }
  connection.is_registering = true;
  connection.address = message.info.address;
  // A core that hears of the new connection first must not be told of the old one's end afterwards.
  if (const auto old = by_node_.find(message.info.node); old != by_node_.end()) Remove(old->second);
  EndProbing(message.info.node);
  shell_->Register(std::move(message),
                   [this, id = connection.id()](const rpc::NodeAccepted& accepted) { Bind(id, accepted); });
}

void HeadServer::Bind(uint64_t id, const rpc::NodeAccepted& accepted) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) {
    if (accepted.node != 0) shell_->ConnectionLost(accepted.node, false);
    return;
  }
  Connection& connection = *found->second;
  if (accepted.node != 0) {
    connection.node = accepted.node;
    by_node_[accepted.node] = id;
  }
  connection.Send(accepted);
  for (rpc::Message& message : std::exchange(connection.early, {})) {
    if (accepted.node != 0) shell_->Receive(accepted.node, std::move(message));
  }
}

// To a node that is not connected: it is told what counts when it registers again.
void HeadServer::SendToNode(NodeId node, const rpc::Message& message) {
  const auto found = by_node_.find(node);
  if (found != by_node_.end()) connections_[found->second]->Send(message);
}

// ------------------------------------------------------------------ questions of people

void HeadServer::OnQuery(Connection& connection, const rpc::StateQuery& query) {
  StateFanout::Output output;
  const bool is_member = connection.peer.trust == rpc::TrustClass::kMember;
  fanout_->OnQuery(loop_->Now(), connection.id(), is_member, query, &output);
  CarryOut(output);
}

void HeadServer::OnStateReply(NodeId from, rpc::StateReply reply) {
  StateFanout::Output output;
  fanout_->OnReply(from, std::move(reply), &output);
  CarryOut(output);
}

void HeadServer::CarryOut(const StateFanout::Output& output) {
  for (const KillActorAsked& asked : output.kills) shell_->KillActor(asked);
  for (const auto& [node, query] : output.asks) SendToNode(node, query);
  for (const auto& [client, reply] : output.answers) {
    const auto found = connections_.find(client);
    if (found != connections_.end()) found->second->Send(reply);
  }
  if (state_timer_ != 0) loop_->CancelTimer(std::exchange(state_timer_, 0));
  if (fanout_->next_deadline() == kInfiniteFuture) return;
  state_timer_ = loop_->RunAfter(fanout_->next_deadline() - loop_->Now(), [this] {
    state_timer_ = 0;
    StateFanout::Output late;
    fanout_->Tick(loop_->Now(), &late);
    CarryOut(late);
  });
}

void HeadServer::ConfirmDeath(NodeId node, const std::string& address, int asked) {
  const auto finish = [this, node, address, asked](Verdict verdict) {
    loop_->Post([this, node, address, asked, verdict, alive = std::weak_ptr<bool>(alive_)] {
      const std::shared_ptr<bool> still = alive.lock();
      if (still && *still) Judge(node, address, asked, verdict);
    });
  };
  EndProbing(node);
  Probing& probing = probes_[node];
  absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(address);
  if (!socket.ok()) return finish(NobodyListens(socket.status()) ? Verdict::kDead : Verdict::kUnclear);
  probing.probe = std::make_unique<Probe>(this, node, *std::move(socket), finish);
}

void HeadServer::Judge(NodeId node, const std::string& address, int asked, Verdict verdict) {
  const auto found = probes_.find(node);
  if (found == probes_.end()) return;  // it has come back
  if (verdict == Verdict::kUnclear && asked < kAsksMax) {
    found->second.probe.reset();
    found->second.again = loop_->RunAfter(kAskAgain, [this, node, address, asked] {
      probes_[node].again = 0;
      ConfirmDeath(node, address, asked + 1);
    });
    return;
  }
  EndProbing(node);
  if (verdict == Verdict::kDead) shell_->ConnectionLost(node, true);
}

void HeadServer::EndProbing(NodeId node) {
  const auto found = probes_.find(node);
  if (found == probes_.end()) return;
  if (found->second.again != 0) loop_->CancelTimer(found->second.again);
  probes_.erase(found);
}

}  // namespace manta::runtime

// NodeNetwork is a daemon's part of the network: its link to the head, its sessions with other daemons, and the
// connections that it makes for its processes.
//
// Problem:    links break and come back while both ends live; processes must not need the cluster's secret to talk to
//             processes of other nodes; strangers knock.
// How:        one listener per node takes all connections. Each proves itself (rpc/handshake.h) before anything else.
//             For a process the daemons make the connection and hand the socket over (PeerLink to both ends); between
//             daemons there is a session (rpc/session_channel.h); the head is talked to on one plain connection, which
//             is registered on anew when it breaks.
// Ownership:  owns the listener and all links. Borrows the loop and the handler.
// Threads:    loop-confined.
// Invariants: (1) messages to a node arrive in order, each once, until NodeDied.
//             (2) the head link is tried for ever; nothing said on a broken one is resent.
// See:        rpc/schema/node.capnp (PeerDial, PeerLink), docs/architecture.md
#ifndef MANTA_RUNTIME_NODE_NODE_NETWORK_H_
#define MANTA_RUNTIME_NODE_NODE_NETWORK_H_

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "rpc/listener.h"
#include "rpc/session_channel.h"
#include "rpc/socket_channel.h"
#include "runtime/cluster_files.h"

namespace manta::runtime {

class NodeNetwork final : private rpc::Channel::Handler {
 public:
  struct Options {
    ClusterIdentity cluster;
    std::string host = "127.0.0.1";  // where to listen, and where connections come from
  };
  class Handler {
   public:
    virtual ~Handler() = default;
    // The head's link is up (NodeRegister is due), or lost. `fatal`: another try would end the same way.
    virtual void OnHeadConnected() = 0;
    virtual void OnHeadLost(const absl::Status& why, bool fatal) = 0;
    virtual void OnHeadMessage(rpc::Message message) = 0;
    virtual void OnNodeMessage(NodeId from, rpc::Message message) = 0;
    // The session with a node that was not reported dead has lost messages.
    virtual void OnSessionLost(NodeId node, const absl::Status& why) = 0;
    virtual bool HasProcess(ProcessId process) = 0;
    // For process `to` of this node; `socket` unless it is refused.
    virtual void OnPeerLink(ProcessId to, rpc::PeerLink link, base::UniqueFd socket) = 0;
    // A connection for bulk data, of another daemon.
    virtual void OnDataSocket(NodeId from, base::UniqueFd socket, std::string early) = 0;
  };

  // Listens. Errors: as rpc::ListenOn; kInvalidArgument: `host` is not a loopback address.
  static absl::StatusOr<std::unique_ptr<NodeNetwork>> Create(base::EventLoop* loop, Options options, Handler* handler);
  ~NodeNetwork() override;

  const std::string& address() const { return listener_->address(); }
  void ConnectToHead();
  // The head has accepted this node.
  void SetSelf(NodeId self);

  void SendToHead(const rpc::Message& message);
  // Kept until the node's address is known.
  void SendToNode(NodeId node, const rpc::Message& message);
  void UpdateNodes(const rpc::ClusterView& view);
  void NodeDied(NodeId node);

  // Connects process `from` of this node with `peer` of another: OnPeerLink.
  void Dial(ProcessId from, ProcessId peer);
  // A connection for bulk data to another daemon.
  void DialData(NodeId node, std::function<void(absl::StatusOr<base::UniqueFd>)> done);

 private:
  class HeadLink;
  class Outgoing;  // a connection that proves itself, to be handed over
  struct Peer {
    std::string address;
    rpc::SessionChannel* send = nullptr;            // the first one made
    std::unique_ptr<rpc::SessionChannel> dialled;   // by us
    std::unique_ptr<rpc::SessionChannel> accepted;  // from them
    std::vector<rpc::Message> early;                // before the address was known
  };

  NodeNetwork(base::EventLoop* loop, Options options, Handler* handler);
  absl::Status Listen();

  // rpc::Channel::Handler, of sessions
  void OnMessage(rpc::Channel& channel, rpc::Message message) override;
  void OnClosed(rpc::Channel& channel, const absl::Status& why) override;

  void OnAccepted(std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity& peer);
  void HandOver(rpc::SocketChannel& channel, const rpc::PeerIdentity& peer);
  rpc::ClientHandshake::Options HandshakeOf(ProcessId self, ProcessId server, rpc::ConnectionKind kind) const;
  rpc::SessionChannel::Options SessionOf(NodeId node) const;
  void DialNode(NodeId node, Peer& peer);
  void CloseSessions(Peer& peer);
  void RetryHead();
  void Start(ProcessId self, ProcessId server, rpc::ConnectionKind kind,
             std::function<void(absl::StatusOr<rpc::SocketChannel::Released>)> done);
  void Finish(uint64_t outgoing);

  base::EventLoop* const loop_;
  const Options options_;
  Handler* const handler_;
  const rpc::Bits256 member_key_;
  NodeId self_ = 0;
  std::unique_ptr<rpc::Listener> listener_;
  std::unique_ptr<HeadLink> head_;
  Duration head_retry_;
  base::TimerId head_timer_ = 0;
  std::map<NodeId, Peer> peers_;
  std::set<NodeId> dead_;
  std::map<uint64_t, std::unique_ptr<Outgoing>> outgoing_;
  uint64_t next_outgoing_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_NODE_NETWORK_H_

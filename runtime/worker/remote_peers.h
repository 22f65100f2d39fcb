// RemotePeers holds a process's sessions with processes of other nodes.
//
// Problem:    a connection to another node may break and come back while calls are in flight; a process has neither the
//             cluster's secret nor a port of its own.
// How:        the own node makes the connections and hands over their sockets (PeerDial, PeerLink). One session per
//             side that dials; what is sent goes over the first one made, so that order holds.
// Threads:    Send: any thread. The rest, and what the handler is told: the I/O thread.
// Ownership:  owns the sessions; borrows the loop and the handler.
// See:        rpc/session_channel.h, rpc/schema/node.capnp
#ifndef MANTA_RUNTIME_WORKER_REMOTE_PEERS_H_
#define MANTA_RUNTIME_WORKER_REMOTE_PEERS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "rpc/session_channel.h"

namespace manta::runtime {

class RemotePeers final : private rpc::Channel::Handler {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Ask the node for a connection to `peer`.
    virtual void DialPeer(ProcessId peer) = 0;
    virtual void OnPeerConnected(ProcessId peer) = 0;
    // Nobody of that id is there any more.
    virtual void OnPeerUnreachable(ProcessId peer, const std::string& why) = 0;
    // In the order in which they came.
    virtual void OnPeerMessages(ProcessId from, std::vector<rpc::Message>& messages) = 0;
    // The session has lost messages, or the peer broke the protocol: nothing more comes from it.
    virtual void OnPeerBroke(ProcessId peer, const absl::Status& why) = 0;
  };

  RemotePeers(base::EventLoop* loop, ProcessId self, Handler* handler);
  ~RemotePeers() override;

  // The node's answer, or a connection that the peer dialled.
  void OnLink(const rpc::PeerLink& link, base::UniqueFd socket);
  // The peer (or its whole node) is dead: nothing more is delivered from it.
  void Drop(ProcessId peer);
  void DropNode(NodeId node);

  // Thread-safe. False: there is no connection to it, or none any more.
  bool Send(ProcessId to, const rpc::Message& message);

 private:
  struct Peer {
    rpc::SessionChannel* send = nullptr;  // the first one made
    std::shared_ptr<rpc::SessionChannel> dialled;
    std::shared_ptr<rpc::SessionChannel> accepted;
    base::TimerId dial_timer = 0;
    Duration dial_after{};
  };

  // rpc::Channel::Handler
  void OnMessage(rpc::Channel& channel, rpc::Message message) override;
  void OnTurnEnd(rpc::Channel& channel) override;
  void OnClosed(rpc::Channel& channel, const absl::Status& why) override;

  void OnRefused(const rpc::PeerLink& link);
  std::shared_ptr<rpc::SessionChannel> MakeSession(ProcessId peer, bool dialled);
  void Erase(std::map<ProcessId, Peer>::iterator peer) MANTA_REQUIRES(mutex_);

  base::EventLoop* const loop_;
  std::vector<rpc::Message> arrived_;  // in this turn, of one channel
  const ProcessId self_;
  Handler* const handler_;
  base::Mutex mutex_;  // taken under the process's core lock, never around the handler's calls
  std::map<ProcessId, Peer> peers_ MANTA_GUARDED_BY(mutex_);
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_REMOTE_PEERS_H_

// HeadServer is the head on the network: it listens, and gives a HeadShell the connections of node daemons and clients.
//
// Problem:    a closed connection may mean a dead daemon or a broken link: the first must be known in milliseconds, the
//             second must not kill anybody.
// How:        when a node's connection closes, the head dials the node's own address. Nobody listens there, or somebody
//             else: it is dead. A socket that takes the call and drops it may be a dying daemon's: the head asks again.
//             Else silence will tell (FailureDetector).
// Ownership:  owns the listener, the connections and the shell. Borrows the loop.
// Threads:    loop-confined.
// Invariants: (1) a node has one connection, the newest.
//             (2) a client's connection carries questions and answers only.
// See:        runtime/head/head_shell.h, rpc/schema/head.capnp, rpc/schema/state.capnp
#ifndef MANTA_RUNTIME_HEAD_HEAD_SERVER_H_
#define MANTA_RUNTIME_HEAD_HEAD_SERVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "rpc/listener.h"
#include "runtime/cluster_files.h"
#include "runtime/head/head_shell.h"
#include "runtime/head/state_fanout.h"

namespace manta::runtime {

class HeadServer {
 public:
  struct Options {
    ClusterIdentity cluster;  // its address: where to listen ("127.0.0.1:7400", port 0: any)
    HeadOptions head;
  };
  // Listens. Errors: as rpc::ListenOn; kInvalidArgument: the address is not a loopback address; kAlreadyExists: the
  // port is in use.
  static absl::StatusOr<std::unique_ptr<HeadServer>> Create(base::EventLoop* loop, Options options);
  ~HeadServer();
  // Serves what came and what comes; until then connections wait.
  void Serve(std::unique_ptr<KvStore> store, const KvOpened& opened);

  const std::string& address() const { return listener_->address(); }

 private:
  class Connection;
  class Probe;  // asks whether a node's daemon still listens

  HeadServer(base::EventLoop* loop, Options options);
  absl::Status Listen();
  void OnAccepted(std::unique_ptr<rpc::SocketChannel> channel, const rpc::PeerIdentity& peer);
  void OnMessage(Connection& connection, rpc::Message message);
  void OnClosed(Connection& connection, const absl::Status& why);
  void Register(Connection& connection, rpc::NodeRegister message);
  void Bind(uint64_t connection, const rpc::NodeAccepted& accepted);
  void SendToNode(NodeId node, const rpc::Message& message);
  void Remove(uint64_t connection);
  void OnQuery(Connection& connection, const rpc::StateQuery& query);
  void OnStateReply(NodeId from, rpc::StateReply reply);
  void CarryOut(const StateFanout::Output& output);
  enum class Verdict { kDead, kLives, kUnclear };
  void ConfirmDeath(NodeId node, const std::string& address, int asked);
  void Judge(NodeId node, const std::string& address, int asked, Verdict verdict);

  base::EventLoop* const loop_;
  const Options options_;
  std::unique_ptr<rpc::Listener> listener_;
  std::unique_ptr<HeadShell> shell_;  // null: not serving yet
  std::unique_ptr<StateFanout> fanout_;
  base::TimerId state_timer_ = 0;
  std::vector<std::pair<uint64_t, rpc::Message>> early_;
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<NodeId, uint64_t> by_node_;
  uint64_t next_connection_ = 1;
  struct Probing {
    std::unique_ptr<Probe> probe;
    base::TimerId again = 0;
  };
  void EndProbing(NodeId node);
  std::map<NodeId, Probing> probes_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HEAD_SERVER_H_

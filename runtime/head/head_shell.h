// HeadShell runs a HeadCore on an event loop: timers, persistence, and the connections of daemons.
//
// Ownership:  borrows the loop. Owns the core.
// Threads:    loop-confined.
#ifndef MANTA_RUNTIME_HEAD_HEAD_SHELL_H_
#define MANTA_RUNTIME_HEAD_HEAD_SHELL_H_

#include <functional>
#include <map>
#include <memory>

#include "base/event_loop.h"
#include "runtime/head/head_core.h"
#include "runtime/head/kv_store.h"

namespace manta::runtime {

class HeadShell {
 public:
  // `store` is open, and gave `opened` (the default: one in memory, which begins empty); options.epoch is taken from
  // there. `send`: to the daemon of a live node.
  HeadShell(base::EventLoop* loop, HeadOptions options, std::unique_ptr<KvStore> store,
            std::function<void(NodeId to, rpc::Message message)> send, const KvOpened& opened = {});

  // A daemon registers on a new connection; `accepted` is called once with the answer.
  void Register(rpc::NodeRegister message, std::function<void(rpc::NodeAccepted)> accepted);
  void Receive(NodeId from, rpc::Message message);
  void ConnectionLost(NodeId node, bool dead);
  // For the state API.
  const HeadCore& core() const { return core_; }
  void KillActor(const KillActorAsked& asked) { Handle(asked); }

 private:
  void Handle(HeadEvent event);
  void ArmTimer();

  base::EventLoop* const loop_;
  std::unique_ptr<KvStore> store_;
  std::function<void(NodeId, rpc::Message)> send_;
  HeadCore core_;
  std::map<uint64_t, std::function<void(rpc::NodeAccepted)>> registering_;
  uint64_t next_connection_ = 1;
  base::TimerId timer_ = 0;
  Time timer_at_ = Time::max();
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HEAD_SHELL_H_

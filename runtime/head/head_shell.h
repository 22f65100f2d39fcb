// HeadShell runs a HeadCore on an event loop: timers, persistence, and the connections of daemons.
//
// Ownership:  borrows the loop. Owns the core.
// Threads:    loop-confined.
#ifndef MANTA_RUNTIME_HEAD_HEAD_SHELL_H_
#define MANTA_RUNTIME_HEAD_HEAD_SHELL_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "runtime/head/head_core.h"

namespace manta::runtime {

// KvStore holds the head's facts. Write is durable when `done` runs (on the loop).
class KvStore {
 public:
  virtual ~KvStore() = default;
  virtual const std::map<std::string, std::string>& Load() = 0;
  virtual void Write(std::vector<std::pair<std::string, std::optional<std::string>>> batch,
                     std::function<void()> done) = 0;
};

// In memory: durable for as long as the process lives (embedded clusters).
class MemoryKvStore final : public KvStore {
 public:
  const std::map<std::string, std::string>& Load() override { return values_; }
  void Write(std::vector<std::pair<std::string, std::optional<std::string>>> batch,
             std::function<void()> done) override;

 private:
  std::map<std::string, std::string> values_;
};

class HeadShell {
 public:
  // `send`: to the daemon of a live node.
  HeadShell(base::EventLoop* loop, HeadOptions options, std::unique_ptr<KvStore> store,
            std::function<void(NodeId to, rpc::Message message)> send);

  // A daemon registers on a new connection; `accepted` is called once with the answer.
  void Register(rpc::NodeRegister message, std::function<void(rpc::NodeAccepted)> accepted);
  void Receive(NodeId from, rpc::Message message);
  void ConnectionLost(NodeId node, bool dead);

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

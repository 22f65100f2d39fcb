// HeadHost is the simulated shell of one life of the head: a HeadCore, and the store that outlives it.
//
// Threads:    externally synchronised.
#ifndef MANTA_TESTS_SIM_HEAD_HOST_H_
#define MANTA_TESTS_SIM_HEAD_HOST_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/head/head_core.h"
#include "tests/sim/network.h"

namespace manta::sim {

class World;
class NodeHost;

class HeadHost : public Host {
 public:
  HeadHost(World* world, uint64_t epoch, const std::map<std::string, std::string>& stored);
  ~HeadHost() override;

  void Start() { ArmTick(); }
  Pipe* Accept(NodeHost* node);
  void ConnectionLost(Pipe* pipe, bool dead);
  void OnMessage(Pipe* pipe, int side, rpc::Message message) override;
  void Die(const std::string& why) override;
  bool is_daemon() const override { return true; }
  runtime::HeadCounts counts() const { return core_->counts(); }

 private:
  struct Batch {
    uint64_t number = 0;
    std::vector<runtime::Persist> writes;
  };
  void Handle(runtime::HeadEvent event);
  void Store(const Batch& batch);
  void ArmTick();

  World* const world_;
  std::unique_ptr<runtime::HeadCore> core_;
  bool handling_ = false;
  std::deque<runtime::HeadEvent> inbox_;
  std::deque<Batch> batches_;  // not durable yet
  Time durable_at_{};          // when the last of them will be
  std::map<uint64_t, Pipe*> connections_;
  std::map<NodeId, Pipe*> nodes_;
  Time tick_ = kInfiniteFuture;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_HEAD_HOST_H_

// ActorHosts knows the actors that live, or are about to live, in workers of this node.
//
//      ActorStart         room, lease           worker             ActorStarted
//        ─────► kWaiting ────────────► kPlaced ───────► kConstructing ───────► kAlive ──► (gone, with its worker)
//
// Problem:    a start, a kill and the worker's death may come in any order, and a newer incarnation before the older
// one has ended. Ownership:  owned by NodeCore. Threads:    externally synchronised; pure. Invariants: (1) one
// incarnation of an actor at a time; an older one is never started.
//             (2) a worker hosts one actor.
// See:        docs/actor_call.md, rpc/schema/actor.capnp
#ifndef MANTA_RUNTIME_NODE_ACTOR_HOSTS_H_
#define MANTA_RUNTIME_NODE_ACTOR_HOSTS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "rpc/message.h"

namespace manta::runtime::node {

class ActorHosts {
 public:
  enum class State : uint8_t { kWaiting, kPlaced, kConstructing, kAlive };
  struct Host {
    rpc::ActorSpec spec;
    uint64_t incarnation = 0;
    State state = State::kWaiting;
    LeaseId lease;              // from kPlaced on
    ProcessId worker;           // from kConstructing on
    rpc::ActorStarted started;  // kAlive: the answer, for who asks again
    Time give_up_at;            // kWaiting: then the directory is asked to choose again
    bool told_to_end = false;   // gracefully
  };

  ActorHosts() = default;
  ActorHosts(const ActorHosts&) = delete;
  ActorHosts& operator=(const ActorHosts&) = delete;

  // Null: it is not here.
  Host* Find(ActorId actor);
  Host* OfWorker(ProcessId worker);
  const Host* Find(ActorId actor) const { return const_cast<ActorHosts*>(this)->Find(actor); }
  const Host* OfWorker(ProcessId worker) const { return const_cast<ActorHosts*>(this)->OfWorker(worker); }
  // Every one, in the order of their ids.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [actor, host] : hosts_) visit(host);
  }
  // REQUIRES: it is not here.
  Host& Add(const rpc::ActorStart& start, Time give_up_at);
  void SetPlaced(Host* host, LeaseId lease);
  void SetWorker(Host* host, ProcessId worker);
  void SetAlive(Host* host, const rpc::ActorStarted& started);
  void Remove(ActorId actor);

  // In the order of their starts: kWaiting, kPlaced.
  const std::vector<ActorId>& waiting() const { return waiting_; }
  const std::vector<ActorId>& placed() const { return placed_; }
  std::vector<ActorId> OfJob(JobId job) const;
  std::vector<ActorId> CreatedOn(NodeId node) const;
  // Registered ones that live here: the head reconciles with them after its restart.
  std::vector<rpc::ActorStarted> registered_alive() const;
  // Registered incarnations that ended here, the last kEndsMax of them: a head that was away hears of them again, and
  // does not have them started twice.
  static constexpr size_t kEndsMax = 1024;
  void NoteEnd(const rpc::ActorEnded& end);
  bool HasEnded(ActorId actor, uint64_t incarnation) const;
  std::vector<rpc::ActorEnded> ends() const { return {ends_.begin(), ends_.end()}; }
  size_t size() const { return hosts_.size(); }
  size_t placed_or_more() const { return hosts_.size() - waiting_.size(); }
  Time next_deadline() const;

 private:
  std::map<ActorId, Host> hosts_;
  std::map<ProcessId, ActorId> by_worker_;
  std::vector<ActorId> waiting_;
  std::vector<ActorId> placed_;
  std::deque<rpc::ActorEnded> ends_;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_ACTOR_HOSTS_H_

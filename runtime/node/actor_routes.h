// ActorRoutes knows which directory an actor has, and what must be asked again when that directory loses its memory.
//
// Problem:    an ActorId does not say whether the head or the creator's node keeps the actor; the creator's node knows,
// once the
//             creation has come by. A head that restarts has forgotten who watches, and what it had not yet written
//             down.
//
// A watch goes to the creator's node; that one answers it (anonymous), passes it on to the head (registered), keeps it
// until the creation comes (the creator lives), or answers that there is nothing (the creator is dead). If the
// creator's node is dead, the head is asked. Ownership:  owned by NodeCore. Threads:    externally synchronised; pure.
// Invariants: (1) what is in to_head() has not been answered: it is sent again to the next head.
// See:        docs/actor_call.md, runtime/actor_directory.h
#ifndef MANTA_RUNTIME_NODE_ACTOR_ROUTES_H_
#define MANTA_RUNTIME_NODE_ACTOR_ROUTES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "rpc/message.h"

namespace manta::runtime::node {

class ActorRoutes {
 public:
  static constexpr size_t kKillsMax = 4096;

  ActorRoutes() = default;
  ActorRoutes(const ActorRoutes&) = delete;
  ActorRoutes& operator=(const ActorRoutes&) = delete;

  // ---- actors created here
  // A registered one goes to the head, until it has answered.
  void CreatedAtHead(const rpc::ActorCreate& message);
  bool IsAtHead(ActorId actor) const { return at_head_.contains(actor); }
  // The named ones live on when nobody has a handle.
  bool IsNamed(ActorId actor) const;
  // A process of another node watches it by way of this node. REQUIRES: IsAtHead(watch.actor).
  void PassedOn(const rpc::ActorWatch& watch) { at_head_.at(watch.actor).passed_on.insert(watch.watcher); }
  // The head has said something of it: its creation is not sent again.
  void Answered(ActorId actor);
  // Nobody has a handle of it; the head is to end it.
  void Unheld(ActorId actor);
  // Watches that came before the creation.
  void WatchEarly(const rpc::ActorWatch& watch) { early_[watch.actor].insert(watch.watcher); }
  std::vector<rpc::ActorWatch> TakeEarly(ActorId actor);
  // Its creator has given it up before it was created: no directory will ever know it.
  void NeverCreated(ActorId actor) { never_.insert(actor); }
  bool IsNever(ActorId actor) const { return never_.contains(actor); }
  // Of the actors that this process, which is dead, has not created.
  std::vector<rpc::ActorWatch> TakeEarlyOf(ProcessId creator);
  void ForgetJob(JobId job);

  // ---- watchers of this node
  void Watched(const rpc::ActorWatch& watch);
  // An update came for one of them. `from_head`: that is where the directory is.
  void Updated(const rpc::ActorUpdate& update, bool from_head);
  // `watcher`: number 0, all of a node's.
  void ForgetWatcher(ProcessId watcher);
  // Their watches of actors that were created on `node`, which died.
  std::vector<rpc::ActorWatch> WatchesOf(NodeId node) const;

  // ---- final kills
  // It is on its way to the head, or to the creator's node: which may be gone already without anybody's knowing.
  void Killed(const rpc::ActorKill& kill);
  // Those of actors that were created on `node`, which died; 0: all. A final kill that comes twice is one.
  std::vector<rpc::ActorKill> KillsOf(NodeId node) const;

  // ---- names
  void LookedUp(const rpc::ActorLookup& lookup) { lookups_[{lookup.asker, lookup.request}] = lookup; }
  // False: nobody asks (any more).
  bool Found(const rpc::ActorFound& found) { return lookups_.erase({found.asker, found.request}) != 0; }

  // For a head that has restarted.
  std::vector<rpc::Message> to_head() const;
  // Watches that nobody has answered: to be routed once more.
  std::vector<rpc::ActorWatch> unanswered() const;

 private:
  struct AtHead {
    JobId job = 0;
    bool named = false;
    bool answered = false;
    bool unheld = false;
    std::set<ProcessId> passed_on;  // watchers on other nodes
    rpc::ActorCreate message;       // without a spec once answered
  };
  struct Watch {
    std::set<ProcessId> watchers;
    bool at_head = false;
    std::set<ProcessId> answered;
  };
  std::map<ActorId, AtHead> at_head_;
  std::map<ActorId, std::set<ProcessId>> early_;
  std::set<ActorId> never_;
  std::map<ActorId, Watch> watches_;
  std::map<ActorId, rpc::ActorKill> kills_;  // at most kKillsMax
  std::map<std::pair<ProcessId, uint64_t>, rpc::ActorLookup> lookups_;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_ACTOR_ROUTES_H_

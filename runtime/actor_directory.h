// ActorDirectory knows where actors are: the one machine behind registered actors (at the head) and anonymous
// ones (at their creator's node).
//
// Problem:    creations, starts, ends and deaths are reported by several processes, late, twice or never; every
//             watcher must end up with the newest incarnation, and no actor may have two.
//
//                 Create        Started              Kill, last handle gone, budget spent,
//      (none) ───────► kPending ───────► kAlive ───────────────────────────────┐
//                        │  ▲              │ lost: Ended, ProcessDied,          ▼
//                        │  │ lost         │ NodeDied; budget left           kDead
//                        │  └──────┐       ▼                                   ▲
//                        │         └── kRestarting ────────────────────────────┤
//                        └─────────────────────────────────────────────────────┘
//      kPending: never alive yet. kRestarting: was alive, the next incarnation is wanted or on its way. A start that
//      the constructor's exception ended is final, the first one and every later one: kDead with the user's error.
//
// How to use: hand every message and death to the method named after it, then carry out what it appended to `Output`,
// in
//             this order: persist `changed`, `erased`; send `stops`; place `places` (tell the directory with
//             PlacedAt, before ActorStart is sent; what cannot be placed now stays in unplaced()); send `updates`.
// Ownership:  owned by HeadCore or NodeCore; holds no pointers to them.
// Threads:    externally synchronised; pure (no clock, no random choice).
// Invariants: (1) incarnations and versions of an actor rise.
//             (2) an incarnation is handed out only while it is the newest; an older one that shows up is stopped.
//             (3) constructions are counted: at most 1 + max_restarts incarnations are ever started.
//             (4) whoever watched is told the last state, and who asks later is told it again, as long as somebody can
//                 hold a handle (until graceful Kill, or the death of the node that counts handles).
// See:        docs/actor_call.md, rpc/schema/actor.capnp
#ifndef MANTA_RUNTIME_ACTOR_DIRECTORY_H_
#define MANTA_RUNTIME_ACTOR_DIRECTORY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "rpc/message.h"

namespace manta::runtime {

class ActorDirectory {
 public:
  // One actor as it is now: also what the head persists.
  struct Record {
    rpc::ActorSpec spec;  // kDead: without args
    rpc::ActorState state = rpc::ActorState::kPending;
    uint64_t incarnation = 0;    // the newest wanted one; the first is 1
    uint64_t version = 0;        // of the updates
    int64_t restarts = 0;        // counted against spec.max_restarts
    NodeId node = 0;             // where this incarnation was placed; 0: not yet
    ProcessId worker;            // kAlive
    std::string address;         // kAlive
    std::vector<uint32_t> kept;  // by this incarnation's constructor
    bool ending = false;         // its last handle is gone: ends after the calls it has, is not restarted
    rpc::ErrorInfo error;        // kDead: why; kRestarting: why the last one ended
    std::string waiting;         // kPending, kRestarting: what it lacks; not persisted
  };

  // Choose a node for this incarnation.
  struct Place {
    ActorId actor;
    uint64_t incarnation = 0;
    NodeId last_node = 0;  // where the incarnation before was lost; 0: the first
  };
  // Kill this incarnation (`graceful`: after the calls it has). Send ActorKill to `node`, which reports ActorEnded.
  struct Stop {
    ActorId actor;
    uint64_t incarnation = 0;
    NodeId node = 0;
    ProcessId worker;  // none: not started yet, as far as is known
    bool graceful = false;
  };
  // Send ActorStart again: it was placed there before the head's restart, and the node does not say that it has it.
  struct Restart {
    ActorId actor;
    uint64_t incarnation = 0;
    NodeId node = 0;
  };
  // For ever.
  struct Dead {
    ActorId actor;
    JobId job = 0;
    bool detached = false;
    std::string name_space;
    std::string name;  // empty: it had none
  };
  struct Output {
    std::vector<ActorId> changed;  // records to persist (Find); may name one twice
    std::vector<ActorId> erased;   // records to forget
    std::vector<Stop> stops;
    std::vector<Place> places;  // each is in unplaced(), too, until PlacedAt
    std::vector<Restart> restarts;
    std::vector<rpc::ActorUpdate> updates;  // each to its `watcher`
    std::vector<Dead> dead;                 // just now: free the name, drop what the actor id holds
    bool empty() const {
      return changed.empty() && erased.empty() && stops.empty() && places.empty() && restarts.empty() &&
             updates.empty() && dead.empty();
    }
  };

  // Records of dead actors with a name (nobody counts those handles), or of an ended job; the oldest are forgotten
  // first.
  static constexpr size_t kTombstonesMax = 1'000;

  ActorDirectory() = default;
  ActorDirectory(const ActorDirectory&) = delete;
  ActorDirectory& operator=(const ActorDirectory&) = delete;

  // After a restart of the head. REQUIRES: no such record.
  void Restore(Record record);

  // An upsert. The creator becomes a watcher and gets an update.
  void Create(const rpc::ActorSpec& spec, Output* out);
  // Refuses a spec (name taken, job ended): a record that is dead from the start, so that everybody who asks is told.
  void CreateRefused(const rpc::ActorSpec& spec, rpc::ErrorInfo error, Output* out);
  // ActorStart for this incarnation goes to `node`.
  // REQUIRES: the actor is in unplaced() with this incarnation.
  void PlacedAt(ActorId actor, uint64_t incarnation, NodeId node, Output* out);
  // It will never fit anywhere: the actor dies. REQUIRES: as PlacedAt.
  void CannotBePlaced(ActorId actor, const std::string& why, Output* out);
  // It fits nowhere now: tells its watchers why. True: they did not know.
  bool SetWaiting(ActorId actor, const std::string& why, Output* out);
  // `from`: the node that says so.
  void Started(const rpc::ActorStarted& message, NodeId from, Output* out);
  void Ended(const rpc::ActorEnded& message, Output* out);
  // Adds a watcher; it is told the newest state now and whenever it changes. An actor not heard of yet (its Create is
  // on another way) is answered when it comes, or when its creator is gone.
  // REQUIRES: the actor's creator may still be alive (else answer kDead, if Find knows nothing).
  void Watch(const rpc::ActorWatch& message, Output* out);
  // `graceful`: the last handle is gone. Ignored for named actors, which live on. Without `no_restart`: `incarnation`
  // (0: whichever lives), if it still lives.
  void Kill(const rpc::ActorKill& message, Output* out);

  // A process died and is drained: its watches end; the actors in it are lost; anonymous ones that it created die.
  void ProcessDied(ProcessId process, const std::string& reason, Output* out);
  // The same for all of a node. Actors whose handles were counted there die, unless they have a name.
  void NodeDied(NodeId node, const std::string& reason, Output* out);
  // Every actor of the job ends, but those that are detached.
  void JobEnded(JobId job, Output* out);
  // The head has restarted and `node` has registered again: `alive` is what lives there, `ended` what has ended there
  // lately. What should live there and does not is lost; what was placed there and is not reported is started again.
  void NodeReturned(NodeId node, const std::vector<rpc::ActorStarted>& alive, const std::vector<rpc::ActorEnded>& ended,
                    Output* out);
  const Record* Find(ActorId actor) const;
  // Actors that want a node, in the order of their ids.
  std::vector<Place> unplaced() const;
  // Every record, in the order of their ids.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [actor, entry] : entries_) {
      if (entry.known) visit(entry.record);
    }
  }
  bool has_unplaced() const { return !unplaced_.empty(); }
  // Actors that are not dead.
  size_t live() const { return live_; }
  // ... and detached, of the job.
  size_t detached(JobId job) const;
  // Everything kept, dead records and watches for unknown actors included.
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Record record;
    bool known = false;     // false: only watched so far
    bool entombed = false;  // dead, and in tombstones_
    NodeId last_node = 0;
    std::set<ProcessId> watchers;
  };
  using Entries = std::map<ActorId, Entry>;

  Entry* FindKnown(ActorId actor);
  Entry& Admit(const rpc::ActorSpec& spec);
  void Want(ActorId actor, Entry* entry, Output* out);
  void CountLive(const rpc::ActorSpec& spec);
  void NotAlive(ActorId actor, Entry* entry, const rpc::ErrorInfo& error, Output* out);
  void Lost(ActorId actor, Entry* entry, rpc::ErrorInfo error, Output* out);
  void Die(ActorId actor, Entry* entry, rpc::ErrorInfo error, Output* out);
  void Changed(ActorId actor, Entry* entry, Output* out);
  void Tell(ActorId actor, const Entry& entry, ProcessId watcher, Output* out) const;
  void Unplace(ActorId actor, Entry* entry);
  void DropWatcher(ProcessId watcher, Output* out);
  void Erase(ActorId actor, Output* out);
  void Entomb(ActorId actor, Entry* entry, Output* out);

  Entries entries_;
  std::set<ActorId> unplaced_;
  std::set<std::pair<NodeId, ActorId>> by_node_;       // placed there
  std::set<std::pair<ProcessId, ActorId>> by_worker_;  // alive there
  std::set<std::pair<ProcessId, ActorId>> watching_;
  std::deque<ActorId> tombstones_;  // may name erased ones
  size_t live_ = 0;
  std::map<JobId, size_t> detached_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_ACTOR_DIRECTORY_H_

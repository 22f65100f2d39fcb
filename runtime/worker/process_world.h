// ProcessWorld is one node for property tests of ProcessCore: real process cores, a daemon reduced to what they can
// observe, and user code that does anything at random.
//
// It checks: a handle is completed once; an attempt runs once and a call at most 1 + max_retries times; an actor's
// incarnation runs each caller's calls in order; no ref is lost while somebody can reach it (the home is
// docs/objects.md's, on one node); when every handle is gone nothing is left, at any process or at the home. The whole
// truth, with real daemons, heads and several nodes, is in tests/sim.
#ifndef MANTA_RUNTIME_WORKER_PROCESS_WORLD_H_
#define MANTA_RUNTIME_WORKER_PROCESS_WORLD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/random.h"
#include "runtime/worker/process_core.h"

namespace manta::runtime {

class ProcessWorld {
 public:
  explicit ProcessWorld(uint64_t seed);
  ~ProcessWorld();

  // One random thing happens: a message arrives, user code goes on, a worker dies.
  void Step();
  // No new calls; everything drains; all handles go.
  void Settle();

  const std::vector<std::string>& violations() const { return violations_; }
  uint64_t calls() const { return calls_; }
  uint64_t deaths() const { return deaths_; }
  uint64_t completed() const { return completed_; }

 private:
  struct Handle {
    ObjectId object;
    bool done = false;
    bool failed = false;
    rpc::Value value;
  };
  struct Frame {  // a call that runs
    rpc::CallRequest request;
    std::vector<Cookie> handles;  // of the refs in its arguments
    bool constructs = false;      // request.actor, request.actor_incarnation
    bool blocked = false;
  };
  struct Proc {
    explicit Proc(ProcessOptions options) : core(options) {}
    ProcessId id;
    ProcessCore core;
    bool leased = false;
    bool exiting = false;
    std::optional<ActorId> hosts;
    std::map<ProcessId, std::deque<rpc::Message>> inbox;  // by sender
    std::deque<ProcessEvent> events;                      // of its shell
    std::map<Cookie, Handle> handles;
    std::vector<Frame> frames;
    uint64_t last_number = 0;
  };
  struct Actor {
    rpc::ActorSpec spec;
    rpc::ActorState state = rpc::ActorState::kPending;
    uint64_t incarnation = 1;
    uint64_t version = 0;
    int64_t restarts_left = 0;
    ProcessId worker;  // being constructed there, or alive
    std::vector<uint32_t> kept;
    std::set<ProcessId> watchers;
    bool created = false;
    bool ending = false;  // nobody has a handle
  };
  struct Entry {         // of the home
    bool known = false;  // `value` or `error` is final
    bool sealed = false;
    bool seal_due = false;  // released before its seal came
    rpc::Value value;
    rpc::ErrorInfo error;
    std::map<ProcessId, uint64_t> holders;                        // borrow; those that hold now
    std::map<ProcessId, uint64_t> borrows;                        // the highest seen
    std::map<TicketId, std::pair<ProcessId, ProcessId>> tickets;  // holder, kept by / receiver
    std::set<TicketId> early;
    std::set<ObjectId> containers;
    std::set<ProcessId> waiters;
    bool held() const {
      return !holders.empty() || !tickets.empty() || !early.empty() || !containers.empty() || seal_due;
    }
  };

  // processes
  Proc* Add();
  Proc* Find(ProcessId id);  // null: dead
  void Feed(Proc* proc, ProcessEvent event);
  void CarryOut(Proc* proc, ProcessAction action);
  void Deliver(Proc* to, ProcessId from);
  void Kill(ProcessId id);
  void ForgetDead(ProcessId dead);
  bool MoveSomething();  // one message, event or Tick; false: everything is still
  // user code
  void Act(Proc* proc);
  void Submit(Proc* proc, CallId parent, uint32_t depth);
  std::vector<rpc::Value> Arguments(Proc* proc);
  rpc::Value WithoutPending(Proc* proc, rpc::Value value);
  Cookie NewHandle(Proc* proc, ObjectId object);
  void AddHandles(Proc* proc, const rpc::Value& value, std::vector<Cookie>* handles);
  void Flush(Proc* proc);
  void DropHandle(Proc* proc, Cookie cookie);
  void EndFrame(Proc* proc, size_t index);
  void CheckRun(const rpc::CallRequest& request);
  void CheckCompletion(Proc* proc, const Complete& complete);
  // the daemon
  void OnDaemon(ProcessId from, rpc::Message message);
  void ToProcess(ProcessId to, rpc::Message message);
  bool GrantOne();
  bool PlaceOne();
  void Tell(const Actor& actor, ProcessId watcher);
  void Changed(Actor* actor, rpc::ActorState state);
  void EndIncarnation(ActorId id, bool intended);
  // the home
  bool OnHome(ProcessId from, rpc::Message& message);
  Entry& Open(const ObjectId& id) { return home_[id]; }
  void SetNested(const ObjectId& id, const std::vector<rpc::NestedRef>& before, const std::vector<rpc::NestedRef>& now);
  void Answer(const ObjectId& id, ProcessId asker);
  void Check(const ObjectId& id);
  void ForgetHolds(ProcessId dead);

  void Violate(std::string what) { violations_.push_back(std::move(what)); }
  uint64_t Random(uint64_t below) { return rng_.Uniform(below); }

  base::Rng rng_;
  Time now_ = TimeFromNanos(1'000'000'000);
  bool settling_ = false;
  uint64_t last_process_ = 0;
  uint64_t last_lease_ = 0;
  uint64_t last_cookie_ = 0;
  uint64_t calls_ = 0, deaths_ = 0, completed_ = 0;
  std::map<ProcessId, std::unique_ptr<Proc>> procs_;
  std::map<ProcessId, std::deque<rpc::Message>> to_daemon_;
  std::deque<rpc::LeaseRequest> requests_;
  std::map<LeaseId, std::pair<ProcessId, ProcessId>> leases_;  // worker, caller
  std::map<ActorId, Actor> actors_;
  std::deque<ActorId> unplaced_;
  std::map<ObjectId, Entry> home_;
  std::map<ProcessId, std::set<ProcessId>> undrained_;  // dead: who has not answered
  std::set<ProcessId> dead_;
  std::set<ProcessId> drained_;
  std::vector<ProcessId> doomed_;  // to be killed when the present event is over
  std::set<std::pair<CallId, uint32_t>> ran_;
  std::map<CallId, int32_t> runs_left_;
  std::map<CallId, uint64_t> order_;
  std::map<std::tuple<ActorId, uint64_t, ProcessId>, uint64_t> last_order_;
  std::vector<std::string> violations_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_PROCESS_WORLD_H_

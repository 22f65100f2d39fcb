// Oracle knows what every call and object should be, and says when a run does something else.
//
// Rules:      (1) every handle that somebody waits for is completed, once, and in time.
//             (2) an Ok result is the right one.
//             (3) an attempt runs at most once, and never if its caller was told NotExecuted; a call runs at most
//                 1 + max_retries times; an error that says it has not run is the truth.
//             (4) an actor's incarnation runs the calls of one caller in the order in which they were made.
//             (5) an error has a cause: an object is lost only if its home or a node that stored it died, or it came
//             damaged, ... (6) a task runs on the only node that it allows. (7) what is lost with a node cannot be
//             computed again, and the error says why. (8) store memory is not written while it is read, and what is
//             read is what was written.
// Threads:    externally synchronised.
#ifndef MANTA_TESTS_SIM_ORACLE_H_
#define MANTA_TESTS_SIM_ORACLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rpc/message.h"
#include "tests/sim/event_queue.h"

namespace manta::sim {

class Oracle {
 public:
  enum class Kind : uint8_t { kTask, kActorCall, kActor, kPut };
  static constexpr NodeId kNoSuchNode = 1'000'000;
  struct Call {
    Kind kind = Kind::kTask;
    std::string what;                 // function, for people
    std::optional<int64_t> expected;  // the result's number
    std::vector<ObjectId> args;       // top-level refs: their errors become the call's
    int32_t max_retries = 0;
    bool retries_exceptions = false;
    std::optional<Time> deadline;
    bool cancelled = false;
    ActorId actor;       // actor calls
    uint64_t order = 0;  // of this call among its caller's calls to the actor
    bool name_may_be_taken = false;
    NodeId only_node = 0;  // it may run nowhere else
    // What happened.
    bool threw = false;
    bool comes_damaged = false;
    uint32_t runs = 0;
    std::set<uint32_t> ran;      // attempts
    std::set<uint32_t> refused;  // attempts that were answered NotExecuted
    std::map<uint32_t, int> replies;
    std::set<NodeId> stored_on;
    uint32_t outcomes = 0;
  };

  explicit Oracle(EventQueue* queue) : queue_(queue) {}

  // ---- what user code does
  void Submitted(CallId id, Call call);
  void Cancelled(CallId id);
  void KilledActor(ActorId actor) { killed_actors_.insert(actor); }
  void Threw(CallId id);
  void StoredOn(const ObjectId& object, NodeId node);
  void ComesDamaged(const ObjectId& object);

  // ---- what the cores do
  void Executes(const rpc::CallRequest& request, ProcessId where);
  void Replies(const rpc::CallReply& reply, ProcessId from);
  // A handle of `object` at `holder` is completed for the `times`th time. `number`: of an Ok value.
  void Completed(const ObjectId& object, ProcessId holder, int times, std::optional<int64_t> number,
                 const rpc::ErrorInfo& error);

  // ---- what the faults do
  void ProcessDied(ProcessId process) { dead_processes_.insert(process); }
  void NodeDied(NodeId node) { dead_nodes_.insert(node); }
  bool node_died(NodeId node) const { return dead_nodes_.contains(node); }

  void Violate(std::string what);
  const std::vector<std::string>& violations() const { return violations_; }
  const Call* Find(CallId id) const;
  uint64_t calls() const { return submitted_; }
  uint64_t ok() const { return ok_; }
  uint64_t errors() const { return errors_; }
  const std::map<rpc::ErrorCode, uint64_t>& errors_by_code() const { return errors_by_code_; }
  bool memory_may_run_out = false;

 private:
  bool Possible(const ObjectId& object, ProcessId holder, rpc::ErrorCode code, int depth) const;
  // It is dead, or there never was one of that number.
  bool CannotBe(NodeId node) const { return dead_nodes_.contains(node) || node >= kNoSuchNode; }
  bool WorkerDeaths() const { return !dead_processes_.empty() || !dead_nodes_.empty(); }

  EventQueue* const queue_;
  std::map<CallId, Call> calls_;
  std::map<std::tuple<ActorId, uint64_t, ProcessId>, uint64_t> last_order_;
  std::set<ProcessId> dead_processes_;
  std::set<NodeId> dead_nodes_;
  std::set<ActorId> killed_actors_;
  std::vector<std::string> violations_;
  uint64_t submitted_ = 0, ok_ = 0, errors_ = 0;
  std::map<rpc::ErrorCode, uint64_t> errors_by_code_;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_ORACLE_H_

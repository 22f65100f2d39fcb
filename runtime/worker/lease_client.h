// LeaseClient brings this process's tasks to workers: it asks the own node for leases, pushes tasks to the workers
// granted, and gives leases back.
//
// Problem:    a lease costs a round trip to the node and a push to the worker does not; but a task pushed behind a slow
//             one waits although another worker is free.
// How:        ready tasks queue by (shape, hint, depth). A task goes to an idle lease, else behind tasks that are all
// known to be
//             fast (pipelining), else a lease is asked for. docs/task.md tells the same story.
//             Pipelining: the mean run time of every function outstanding at the worker was known and below
//             slow_task when it was pushed, and their sum stays below slow_task, so that a worker that is free
//             a moment later is not idle while another has a queue. A task that is to be spread has a lease for itself,
//             so that the node chooses for each.
// Ownership:  owns the queues and leases. Borrows the other parts; calls are CallStore's.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) a call is in one list: its queue's `ready` or `returned`, or its lease's `outstanding`.
//             (2) a queue with unstarted tasks has an idle lease, one being connected, a request under way, or
//             retry_at. (3) each lease granted is returned once, unless its worker died.
// See:        docs/task.md, rpc/schema/lease.capnp
#ifndef MANTA_RUNTIME_WORKER_LEASE_CLIENT_H_
#define MANTA_RUNTIME_WORKER_LEASE_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/worker/call_table.h"
#include "runtime/worker/peer_table.h"

namespace manta::runtime::worker {

// Mean time in user code (an exponentially weighted average, 1/8 per run). 0: not known.
struct FunctionStats {
  uint64_t mean_ns = 0;
};

struct Lease {
  LeaseId id;
  Peer* peer = nullptr;
  ShapeQueue* queue = nullptr;
  CallList outstanding;      // pushed, in that order
  uint32_t slow = 0;         // of them: not known to be fast
  uint64_t expected_ns = 0;  // sum of the mean run times of the others
  bool usable = false;       // connected
  bool stalled = false;      // the worker gave tasks back: nothing more until it has finished what it runs
  bool refused = false;      // the worker gave back the first task: it does not take this lease
  bool used = false;         // a task has been pushed
  Time idle_since{};
  size_t idle_at = SIZE_MAX;   // position in queue->idle, or SIZE_MAX
  size_t roomy_at = SIZE_MAX;  // position in queue->roomy
};

// Tasks of one shape, hint and depth. Deeper ones are granted first, so their requests must say so.
struct ShapeQueue {
  Demand demand;
  uint32_t depth = 0;
  CallList returned;  // given back by a worker, or lost with one: they go first
  CallList ready;
  std::vector<Lease*> idle;   // usable, nothing outstanding; the last one became so last
  std::vector<Lease*> roomy;  // usable, all outstanding tasks fast, room for more
  size_t next_roomy = 0;
  uint32_t leases = 0;
  uint32_t connecting = 0;
  std::vector<uint64_t> requests;        // under way, rising
  std::string reason;                    // why they wait, as the node says
  bool worker_limit = false;             // ... because it runs as many workers as it may
  rpc::ErrorInfo refusal;                // the last one
  uint32_t failures = 0;                 // refusals in a row that ought not to go on
  Time retry_at{};                       // no new requests before
  Time surplus_since = kInfiniteFuture;  // requests without a task that needs them
  bool spreads() const { return demand.hint.spreading == rpc::Spreading::kSpread; }
  size_t unstarted() const { return returned.size() + ready.size(); }
  Call* front() const { return returned.empty() ? ready.front() : returned.front(); }
};

class LeaseClient {
 public:
  LeaseClient(const ProcessOptions* options, Outbox* out, CallTable* calls, PeerTable* peers)
      : options_(*options), out_(out), calls_(calls), peers_(peers) {}
  LeaseClient(const LeaseClient&) = delete;
  LeaseClient& operator=(const LeaseClient&) = delete;

  // Its arguments are ready. `fresh`: as for CallTable::Send.
  void Enqueue(Call* call, const Demand& demand, std::vector<rpc::Value>* fresh);
  // Takes an unsent task out of its queue.
  void Withdraw(Call* call);
  // Why it waits; empty: not known.
  const std::string& WhyWaiting(const Call& call) const;
  // The error when its deadline passes: what the node says keeps it waiting, or kTimeout.
  rpc::ErrorInfo TimeoutError(const Call& call) const;

  // The attempt has been answered: takes it off its lease. The caller says what becomes of the call (Again, or an
  // outcome), and then Serves the queue.
  void OnReply(Call* call, const rpc::CallReply& reply);
  void Again(Call* call);  // NotExecuted, or one more try: it goes first
  // Pushes what fits, to `lease` first (null: none), and asks for leases for the rest.
  void Serve(ShapeQueue* queue, Lease* lease);

  void OnGrant(rpc::LeaseGrant grant);
  void OnPending(const rpc::LeasePending& pending);
  void OnConnected(Peer* peer);
  void OnUnreachable(Peer* peer, const std::string& why);
  void OnWorkerDied(Peer* peer, const std::string& reason);
  void OnTick();
  // Nothing lingers from now on; unsent tasks are handed over, to be failed.
  std::vector<Call*> BeginShutdown();
  std::vector<Call*> DaemonLost();  // all tasks, sent ones too

  Time next_deadline() const { return deadline_; }
  size_t leases() const { return leases_.size(); }

 private:
  struct ShapeKey {
    uint32_t depth;
    std::map<std::string, base::Fixed, std::less<>> amounts;
    rpc::SchedulingHint hint;
    auto operator<=>(const ShapeKey&) const = default;
  };

  bool IsFast(const Call& call) const;
  void Push(Lease* lease, Call* call, std::vector<rpc::Value>* fresh);
  void Place(Lease* lease);
  void Unplace(Lease* lease);
  void AdjustRequests(ShapeQueue* queue);
  void CancelSurplus(ShapeQueue* queue);
  void OnRefused(ShapeQueue* queue, rpc::ErrorInfo error);
  void LoseCall(Call* call, bool started, const std::string& reason);
  void FailUnstarted(ShapeQueue* queue, const rpc::ErrorInfo& error);
  void Return(Lease* lease);
  void Drop(Lease* lease);
  void TickQueue(ShapeQueue* queue);
  ShapeQueue* QueueOf(const Demand& demand, uint32_t depth);
  FunctionStats* StatsOf(uint64_t function);
  bool HasRoom(const Lease& lease) const;
  void WakeAt(Time when) {
    if (when < deadline_) deadline_ = when;
  }
  Duration linger() const { return shutting_down_ ? Duration::zero() : options_.lease_linger; }

  const ProcessOptions& options_;
  Outbox* const out_;
  CallTable* const calls_;
  PeerTable* const peers_;
  bool shutting_down_ = false;
  uint64_t last_request_ = 0;
  Time deadline_ = kInfiniteFuture;
  std::map<ShapeKey, std::unique_ptr<ShapeQueue>> queues_;
  ShapeQueue* last_queue_ = nullptr;  // used last
  std::map<uint64_t, ShapeQueue*> requests_;
  std::map<LeaseId, std::unique_ptr<Lease>> leases_;
  std::map<uint64_t, FunctionStats> functions_;
  std::pair<uint64_t, FunctionStats*> last_function_{0, nullptr};
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_LEASE_CLIENT_H_

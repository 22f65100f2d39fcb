// ActorStream is the way of this process's calls to one actor: in order, one incarnation after the other.
//
// Problem:    an actor moves when its worker dies; its calls must keep their order, run at most as often as allowed,
// and
//             never wait for an incarnation that will not come.
//
//   unsent ──► in flight ──► answered                 again: to be tried once more, ahead of what is unsent
//     ▲            │
//     └── again ◄──┘ NotExecuted, or the worker's death and a retry is left
//
//   kPending ─► kAlive ◄─► kRestarting ─► kDead       as the directory says; what it says is versioned. The stream
//   itself
//                                                     takes the actor for restarting when its worker has died or has
//                                                     refused a call, and asks again after a second.
//
// Ownership:  owned by ActorStreams; borrows the other parts. Calls are CallStore's.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) calls of one incarnation are numbered from 1 in the order in which they are sent.
//             (2) nothing is sent to an incarnation while calls to an older one are in flight: they might have to go
//             first. (3) again and unsent are in the order of submission.
// See:        docs/actor_call.md, rpc/schema/actor.capnp
#ifndef MANTA_RUNTIME_WORKER_ACTOR_STREAM_H_
#define MANTA_RUNTIME_WORKER_ACTOR_STREAM_H_

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/worker/call_table.h"
#include "runtime/worker/peer_table.h"

namespace manta::runtime::worker {

// What a stream works with. `retries`: when OnRetry is due, for which actor.
struct StreamParts {
  std::set<std::pair<Time, ActorId>>* retries = nullptr;
  Outbox* out = nullptr;
  CallStore* store = nullptr;
  RefTable* refs = nullptr;
  CallTable* calls = nullptr;
  PeerTable* peers = nullptr;
};

class ActorStream {
 public:
  ActorStream(ActorId actor, const StreamParts* parts) : actor_(actor), parts_(*parts) {}
  ActorStream(const ActorStream&) = delete;
  ActorStream& operator=(const ActorStream&) = delete;

  ActorId actor() const { return actor_; }

  // `fresh`: as for CallTable::Send. The call may wait for arguments (deps).
  void Submit(Call* call, std::vector<rpc::Value>* fresh);
  // Sends what can be sent now. To be called when an argument has come, or a call has been taken out.
  void Pump();
  // The attempt is over: takes the call out of those in flight. The caller says what becomes of it (Again, or an
  // outcome), and then calls AfterReply.
  void OnReply(Call* call, const rpc::CallReply& reply) {
    in_flight_.Remove(call);
    if (reply.outcome == rpc::Outcome::kNotExecuted) [[unlikely]]
      OnNotExecuted(reply);
  }
  void AfterReply() {
    if (in_flight_.empty() || front() != nullptr) Continue();
  }
  // It is to be tried once more, at its place in the order.
  void Again(Call* call);

  // The creation of this actor by this process. Sent when its arguments are ready.
  // `decided`: SubmitActor's.
  void SetCreation(Call* creation, Cookie decided) {
    creation_ = creation;
    decided_ = decided;
    watched_ = true;  // the directory tells the creator
  }
  Call* creation() const { return creation_; }
  void Create();
  // The actor is dead for good: what is not in flight ends with `error`.
  void Die(rpc::ErrorInfo error);
  // Kill was called: the calls made from now on are not for the incarnation that lives now. Asks the directory.
  void Kill(bool no_restart);

  void OnUpdate(const rpc::ActorUpdate& update);
  void OnWorkerDied(Peer* peer, const std::string& reason);
  void OnConnected();
  void OnUnreachable(Peer* peer, const std::string& why);
  // Nothing has been heard for a while: asks the directory again, or for a channel again.
  void OnRetry();
  // Asks for updates, if nobody has yet. `wanted`: somebody waits for the next state.
  void Watch(bool wanted);
  // All calls, taken out of the lists; `in_flight`: those too.
  std::vector<Call*> TakeCalls(bool in_flight);
  // No retries, no links from peers: it is about to be destroyed. REQUIRES: !busy().
  void Detach();

  bool busy() const { return !in_flight_.empty() || front() != nullptr; }
  std::string WhyWaiting() const;
  // Whether nothing refers to the handle: Outbox::idle_handles is told when the last call is over.
  void set_handle_dropped(bool dropped) { handle_dropped_ = dropped; }
  // A handle was added: it may be known already what it is.
  void OnHandleAdded();
  // WatchActor was called: the directory is asked, even if it has been before.
  void WatchForUser();
  bool user_watches() const { return user_watches_; }

 private:
  static constexpr Duration kRetryFirst = std::chrono::seconds(1);
  static constexpr Duration kRetryMax = std::chrono::seconds(30);
  static constexpr Duration kUnreachableMax = std::chrono::seconds(3);  // of a worker on this node

  Call* front() const { return again_.empty() ? unsent_.front() : again_.front(); }
  bool CanSend();
  void SendCall(Call* call, std::vector<rpc::Value>* fresh);
  void OnNotExecuted(const rpc::CallReply& reply);
  void Continue();
  void MoveTo(Peer* peer);
  void LeaveFlight();
  void LoseCall(Call* call, const std::string& reason);
  void AnnounceStillborn(Call* creation);
  void Decide(ActorId actor);
  void FailUnsent();
  void SendKill() const;
  void EndCreation(const rpc::ActorUpdate& update);
  void SettleHandle();
  void RetryAfter(Duration after);
  void StopRetrying();
  bool waits() const { return busy() || wanted_ || (creation_ != nullptr && !creation_->completed); }
  rpc::ErrorInfo DeadError(const Call& call) const;

  const ActorId actor_;
  const StreamParts& parts_;
  rpc::ActorState state_ = rpc::ActorState::kPending;
  bool watched_ = false;
  bool limbo_ = false;   // kRestarting by our own judgement
  bool wanted_ = false;  // somebody waits for it to be alive or dead
  bool user_watches_ = false;
  bool handle_dropped_ = false;
  uint64_t version_ = 0;  // of the last update
  uint64_t incarnation_ = 0;
  Peer* peer_ = nullptr;  // where it lives, while kAlive
  std::string address_;
  std::string unreachable_;  // kAlive: why the last try to connect to peer_ failed; "": it is not known to fail
  Time unreachable_since_{};
  rpc::ErrorInfo error_;  // kDead
  uint64_t flight_incarnation_ = 0;
  Peer* flight_peer_ = nullptr;  // where the calls in flight went
  ProcessId flight_worker_;      // where flight_incarnation_ lives
  uint64_t killed_ = 0;          // by this process: this incarnation and older ones get no more calls
  bool killed_for_good_ = false;
  int32_t max_task_retries_ = 0;  // as the directory says
  std::string waiting_for_;       // kPending, kRestarting: what the directory says
  Cookie decided_ = 0;            // SubmitActor's, until it is answered
  uint64_t last_sequence_ = 0;    // in flight_incarnation_
  uint64_t last_order_ = 0;
  CallList in_flight_;
  CallList again_;
  CallList unsent_;
  Call* creation_ = nullptr;         // own actors, until they are dead
  Time retry_at_ = kInfiniteFuture;  // the entry in parts_.retries
  Duration retry_after_{};
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_ACTOR_STREAM_H_

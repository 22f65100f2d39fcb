// ClusterRef is one handle's state in a process that is part of a cluster.
#ifndef MANTA_API_CLUSTER_REF_H_
#define MANTA_API_CLUSTER_REF_H_

#include <atomic>
#include <memory>

#include "manta/internal/backend.h"
#include "runtime/worker/process.h"

namespace manta::internal {

// Calls of this process to one actor that have not ended, for back-pressure.
struct ActorCallCount {
  std::atomic<uint64_t> pending{0};
  uint64_t max = 16 << 10;     // MaxPendingCalls, or the default credit
  bool throw_at_once = false;  // MaxPendingCalls was given
};

inline ObjectId ToObjectId(const ObjectKey& key) { return {{key.node, key.process}, key.number, key.index}; }
inline ObjectKey ToKey(const ObjectId& id) { return {id.owner.node, id.owner.number, id.number, id.index}; }

// Written under the core lock (SetState) before `state` is released; read by any thread after it was acquired.
struct ClusterRef : RefState {
  // kElsewhere: the call has ended, and its value lies on another node until it is wanted.
  enum State : uint8_t { kPending, kElsewhere, kValue, kError };

  ClusterRef(Backend* backend, const ObjectId& id) : RefState(backend, ToKey(id)), object(id) {
    drop.object = id;
    drop.handle = cookie();
    drop.forget = [](runtime::Process::Dropped* dropped) { delete reinterpret_cast<ClusterRef*>(dropped->handle); };
  }
  runtime::Cookie cookie() const { return reinterpret_cast<runtime::Cookie>(this); }
  static ClusterRef* FromCookie(runtime::Cookie cookie) { return reinterpret_cast<ClusterRef*>(cookie); }
  bool ready() const { return state.load(std::memory_order_acquire) >= kValue; }
  bool elsewhere() const { return state.load(std::memory_order_acquire) == kElsewhere; }

  const ObjectId object;
  std::atomic<uint8_t> state{kPending};
  // It came in a value. The core does not resolve it before it is wanted, even if this process was its owner once.
  bool adopted = false;
  // Set before submission, for the first result of a call: it is counted in calls_pending until it is complete, also
  // when the user has dropped it. Which of the two happens second has the core forget it.
  bool is_call = false;
  enum End : uint8_t { kCompleted = 1, kDropped = 2 };
  std::atomic<uint8_t> ends{0};
  std::shared_ptr<ActorCallCount> calls;  // results of actor calls; handles: of their actor
  rpc::Value value;
  rpc::ErrorInfo error;
  runtime::Process::Dropped drop;
};

inline ClusterRef* Of(const RefHandle& handle) { return static_cast<ClusterRef*>(handle.get()); }

}  // namespace manta::internal

#endif  // MANTA_API_CLUSTER_REF_H_

// ActorStreams has a stream for each actor that this process calls, created or watches.
//
// Ownership:  owns the streams; borrows the other parts.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) a stream lives while it has calls, while the actor is this process's own and not dead, and while
//                 something here refers to the handle after it was used.
//             (2) the hold on a handle ends after the calls already submitted.
// See:        runtime/worker/actor_stream.h
#ifndef MANTA_RUNTIME_WORKER_ACTOR_STREAMS_H_
#define MANTA_RUNTIME_WORKER_ACTOR_STREAMS_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/worker/actor_stream.h"

namespace manta::runtime::worker {

class ActorStreams {
 public:
  ActorStreams(Outbox* out, CallStore* store, RefTable* refs, CallTable* calls, PeerTable* peers)
      : parts_{.retries = &retries_, .out = out, .store = store, .refs = refs, .calls = calls, .peers = peers} {}
  ~ActorStreams();
  ActorStreams(const ActorStreams&) = delete;
  ActorStreams& operator=(const ActorStreams&) = delete;

  ActorStream* Find(ActorId actor) const;
  ActorStream* FindOrAdd(ActorId actor) {
    if (last_ != nullptr && last_->actor() == actor) return last_;
    return FindOrAddOther(actor);
  }
  // Nothing refers to the handle now: releases it, unless calls or an unsent creation still need it.
  void OnIdleHandle(ActorId actor);

  void OnConnected(Peer* peer);
  void OnUnreachable(Peer* peer, const std::string& why);
  void OnWorkerDied(Peer* peer, const std::string& reason);
  void OnTick();
  std::vector<Call*> TakeCalls(bool in_flight);
  void DaemonLost(const rpc::ErrorInfo& error);

  Time next_deadline() const { return retries_.empty() ? kInfiniteFuture : retries_.begin()->first; }
  size_t size() const;

 private:
  ActorStream* FindOrAddOther(ActorId actor);
  std::vector<ActorStream*> All() const;
  void Erase(ActorStream* stream);

  std::set<std::pair<Time, ActorId>> retries_;
  const StreamParts parts_;
  std::map<ProcessId, NumberTable<ActorStream>> creators_;
  ActorStream* last_ = nullptr;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_ACTOR_STREAMS_H_

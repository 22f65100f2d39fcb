// ProcessCore::Impl: the parts of a ProcessCore and what connects them. For process_core*.cc only.
//
// Threads:    externally synchronised (ProcessCore).
#ifndef MANTA_RUNTIME_WORKER_PROCESS_CORE_IMPL_H_
#define MANTA_RUNTIME_WORKER_PROCESS_CORE_IMPL_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "runtime/worker/actor_streams.h"
#include "runtime/worker/call_store.h"
#include "runtime/worker/call_table.h"
#include "runtime/worker/lease_client.h"
#include "runtime/worker/lineage.h"
#include "runtime/worker/mailbox.h"
#include "runtime/worker/outbox.h"
#include "runtime/worker/peer_table.h"
#include "runtime/worker/process_core.h"
#include "runtime/worker/ref_table.h"

namespace manta::runtime {

// Hands each event to the parts that it concerns, then carries their notes to one another (Outbox) from part to part.
struct ProcessCore::Impl {
  explicit Impl(ProcessOptions given) : options(std::move(given)) {}

  // ---- calls of this process
  void On(SubmitCall& submit);
  void On(SubmitActor& submit);
  void On(SubmitPut& submit);
  void On(CancelCall& cancel);
  void OnReply(ProcessId from, rpc::CallReply& reply);
  void Decide(worker::Call* call, rpc::CallReply& reply);
  void DecideNotExecuted(worker::Call* call, const rpc::CallReply& reply);
  void TryAgain(worker::Call* call);
  void Ready(worker::Call* call);
  void FailUnsent(worker::Call* call, rpc::ErrorInfo error);
  void Cancel(worker::Call* call);
  void Expire(worker::Call* call);
  void OnLost(worker::Outbox::Lost lost);

  // ---- refs
  void On(RefAdded& added);
  void On(RefDropped& dropped) { refs.DropHandle(dropped.object, dropped.handle); }
  void On(RefWanted& wanted);
  void SayWhatIsAwaited(const ObjectId& object);

  // ---- actors
  void On(KillActor& kill);
  void On(FindActor& find);
  void On(WatchActor& watch) { streams.FindOrAdd(watch.actor)->WatchForUser(); }
  void OnUpdate(const rpc::ActorUpdate& update);
  void OnFound(const rpc::ActorFound& found);

  // ---- nodes
  void On(ListNodes& list);
  void OnNodes(rpc::NodesReply& reply);

  // ---- the mailbox
  void On(Executed& executed) { mailbox.OnExecuted(std::move(executed)); }
  void On(Constructed& constructed) { mailbox.OnConstructed(std::move(constructed)); }
  void On(BlockedChanged& changed) { mailbox.OnBlocked(changed); }

  // ---- messages, peers, ends
  void On(MessageReceived& received) { OnMessage(received.from, received.message); }
  void OnMessage(ProcessId from, rpc::Message& message);
  void OnDaemonMessage(rpc::Message& message);
  void On(PeerConnected& connected);
  void On(PeerUnreachable& unreachable);
  void OnProcessDied(const rpc::ProcessDied& died);
  void OnNodeDied(const rpc::NodeDied& died);
  void PeerDied(worker::Peer* peer, const std::string& reason);
  void On(DaemonLost&);
  void On(BeginShutdown&);
  void On(Tick&);

  void CarryNotes();
  bool Refused(worker::Call* call);

  const ProcessOptions options;
  worker::Outbox out{options.self};
  worker::CallStore store{options.self};
  worker::RefTable refs{options.self, &out, &store};
  worker::Lineage lineage{&refs};
  worker::CallTable calls{&options, &out, &store, &refs, &lineage};
  worker::PeerTable peers{&out};
  worker::LeaseClient leases{&options, &out, &calls, &peers};
  worker::ActorStreams streams{&out, &store, &refs, &calls, &peers};
  worker::Mailbox mailbox{&options, &out, &refs};
  bool shutting_down = false;
  uint64_t last_lookup = 0;
  std::map<uint64_t, Cookie> lookups;
  std::set<Cookie> node_lists;  // asked for
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_PROCESS_CORE_IMPL_H_

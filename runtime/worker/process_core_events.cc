// Refs, actors, messages, peers and ends. Calls are in process_core.cc.
#include <utility>
#include <vector>

#include "runtime/worker/process_core_impl.h"

namespace manta::runtime {

using rpc::ErrorCode;
using rpc::ErrorInfo;
using worker::ActorStream;
using worker::Call;
using worker::Peer;

// ---------------------------------------------------------------- refs

void ProcessCore::Impl::On(RefAdded& added) {
  refs.AddHandle(added.object, added.location, added.handle);
  if (!added.object.is_actor()) return;
  if (ActorStream* stream = streams.Find(ActorId::FromHandle(added.object))) stream->OnHandleAdded();
}

void ProcessCore::Impl::On(RefWanted& wanted) {
  if (wanted.object.is_actor()) {
    streams.FindOrAdd(ActorId::FromHandle(wanted.object))->Watch(true);
  } else {
    refs.Want(wanted.object);
  }
  if (wanted.object.owner == options.self || wanted.object.is_actor()) SayWhatIsAwaited(wanted.object);
}

void ProcessCore::Impl::SayWhatIsAwaited(const ObjectId& object) {
  std::string reason;
  if (object.is_actor()) {
    reason = streams.FindOrAdd(ActorId::FromHandle(object))->WhyWaiting();
  } else {
    const Call* call = store.Find(object.number);
    if (call == nullptr || call->completed || call->sent) return;
    if (call->deps != 0) {
      reason = "the call waits for its arguments";
    } else {
      reason = call->stream != nullptr ? call->stream->WhyWaiting() : leases.WhyWaiting(*call);
    }
  }
  if (!reason.empty()) out.Act<WaitingFor>() = {object, std::move(reason)};
}

// ---------------------------------------------------------------- actors

void ProcessCore::Impl::On(KillActor& kill) {
  ActorStream* stream = streams.Find(kill.actor);
  if (stream != nullptr && stream->creation() != nullptr && !stream->creation()->created) {
    ErrorInfo error;
    error.code = ErrorCode::kActorDied;
    error.message = "the actor was killed before it was created";
    return stream->Die(std::move(error));
  }
  if (stream != nullptr) return stream->Kill(kill.no_restart);
  out.ToDaemon(rpc::ActorKill{.actor = kill.actor, .no_restart = kill.no_restart});
}

void ProcessCore::Impl::On(FindActor& find) {
  if (out.daemon_lost()) {
    out.Act<ActorLookedUp>().cookie = find.cookie;
    return;
  }
  const uint64_t request = ++last_lookup;
  lookups.emplace(request, find.cookie);
  out.ToDaemon(rpc::ActorLookup{.asker = options.self,
                                .request = request,
                                .name_space = std::move(find.name_space),
                                .name = std::move(find.name)});
}

void ProcessCore::Impl::OnFound(const rpc::ActorFound& found) {
  const auto lookup = lookups.find(found.request);
  if (lookup == lookups.end()) return;
  out.Act<ActorLookedUp>() = {lookup->second, found.actor, found.max_concurrency};
  lookups.erase(lookup);
}

void ProcessCore::Impl::OnUpdate(const rpc::ActorUpdate& update) {
  ActorStream* stream = streams.Find(update.actor);
  if (stream == nullptr) return;
  if (stream->user_watches()) out.Act<ActorChanged>().update = update;
  stream->OnUpdate(update);
}

// ---------------------------------------------------------------- nodes

void ProcessCore::Impl::On(ListNodes& list) {
  if (out.daemon_lost()) {
    out.Act<NodesListed>().cookie = list.cookie;
    return;
  }
  node_lists.insert(list.cookie);
  out.ToDaemon(rpc::NodesQuery{.request = list.cookie});
}

void ProcessCore::Impl::OnNodes(rpc::NodesReply& reply) {
  if (node_lists.erase(reply.request) == 0) return;
  out.Act<NodesListed>() = {reply.request, std::move(reply.nodes)};
}

// ---------------------------------------------------------------- messages

void ProcessCore::Impl::OnMessage(ProcessId from, rpc::Message& message) {
  if (from == out.daemon()) return OnDaemonMessage(message);
  if (from != options.self && peers.Hear(from) == nullptr) return;  // what the dead left behind
  if (auto* reply = std::get_if<rpc::CallReply>(&message)) return OnReply(from, *reply);
  if (auto* request = std::get_if<rpc::CallRequest>(&message)) {
    if (request->call.caller == from) return mailbox.OnRequest(std::move(*request));
  } else if (const auto* cancel = std::get_if<rpc::CallCancel>(&message)) {
    if (cancel->call.caller == from) return mailbox.OnCancel(*cancel);
  }
  out.Log(LogLine::Level::kWarning, std::string("ignored a ") + rpc::MessageName(message) + " from " + ToString(from) +
                                        ", which may not send it");
}

void ProcessCore::Impl::OnDaemonMessage(rpc::Message& message) {
  if (auto* resolved = std::get_if<rpc::ObjectResolved>(&message)) return refs.OnResolved(std::move(*resolved));
  if (auto* grant = std::get_if<rpc::LeaseGrant>(&message)) return leases.OnGrant(std::move(*grant));
  if (const auto* pending = std::get_if<rpc::LeasePending>(&message)) return leases.OnPending(*pending);
  if (const auto* fence = std::get_if<rpc::LeaseFence>(&message)) return mailbox.OnFence(*fence);
  if (const auto* update = std::get_if<rpc::ActorUpdate>(&message)) return OnUpdate(*update);
  if (const auto* found = std::get_if<rpc::ActorFound>(&message)) return OnFound(*found);
  if (auto* nodes = std::get_if<rpc::NodesReply>(&message)) return OnNodes(*nodes);
  if (auto* construct = std::get_if<rpc::ActorConstruct>(&message)) return mailbox.OnConstruct(std::move(*construct));
  if (const auto* kill = std::get_if<rpc::ActorKill>(&message)) return mailbox.OnKill(*kill);
  if (const auto* died = std::get_if<rpc::ProcessDied>(&message)) return OnProcessDied(*died);
  if (const auto* died = std::get_if<rpc::NodeDied>(&message)) return OnNodeDied(*died);
  if (const auto* exit = std::get_if<rpc::ProcessExit>(&message)) return mailbox.OnExit(*exit);
  // The rest (descriptors, output, the welcome) is the shell's.
}

// ---------------------------------------------------------------- peers and deaths

void ProcessCore::Impl::On(PeerConnected& connected) {
  Peer* peer = peers.Find(connected.peer);
  if (peer == nullptr) return;
  peer->state = Peer::State::kConnected;
  leases.OnConnected(peer);
  streams.OnConnected(peer);
}

void ProcessCore::Impl::On(PeerUnreachable& unreachable) {
  Peer* peer = peers.Find(unreachable.peer);
  if (peer == nullptr) return;
  peer->state = Peer::State::kUnreachable;
  leases.OnUnreachable(peer, unreachable.why);
  streams.OnUnreachable(peer, unreachable.why);
}

// Everything that the dead process wrote to this one has been handled. What it left in the mailbox is registered, then
// the node may know.
void ProcessCore::Impl::OnProcessDied(const rpc::ProcessDied& died) {
  if (died.process == options.self || peers.IsDead(died.process)) return;
  peers.MarkDead(died.process);
  mailbox.OnCallerDied(died.process);
  if (Peer* peer = peers.Find(died.process)) PeerDied(peer, died.reason);
  out.ToDaemon(rpc::DeathDrained{.process = died.process, .by = options.self.node});
}

void ProcessCore::Impl::OnNodeDied(const rpc::NodeDied& died) {
  if (died.node == options.self.node) {
    DaemonLost lost;
    return On(lost);
  }
  if (peers.IsDead(DaemonOf(died.node))) return;
  peers.MarkNodeDead(died.node);
  mailbox.OnNodeDied(died.node);
  for (Peer* peer : peers.On(died.node)) PeerDied(peer, "its node died: " + died.reason);
  refs.NodeDied(died.node, died.reason);
  out.ToDaemon(rpc::DeathDrained{.process = DaemonOf(died.node), .by = options.self.node});
}

void ProcessCore::Impl::PeerDied(Peer* peer, const std::string& reason) {
  leases.OnWorkerDied(peer, reason);
  streams.OnWorkerDied(peer, reason);
  peers.Remove(peer);
}

// ---------------------------------------------------------------- ends

void ProcessCore::Impl::On(DaemonLost&) {
  if (out.daemon_lost()) return;
  out.LoseDaemon();
  ErrorInfo error;
  error.code = ErrorCode::kNodeDied;
  error.message = "this process's node daemon is gone. Call Init again to join a cluster";
  leases.DaemonLost();
  streams.TakeCalls(true);
  std::vector<Call*> left;
  store.ForEach([&](Call* call) {
    if (call->kind == Call::Kind::kTask || call->kind == Call::Kind::kActorCall) left.push_back(call);
  });
  for (Call* call : left) {
    const bool was_sent = std::exchange(call->sent, false);
    if (call->completed) {
      if (was_sent) calls.Finish(call);
      continue;
    }
    ErrorInfo own = calls.Error(*call, error.code, error.message);
    own.may_have_run = own.may_have_run || was_sent;
    calls.Fail(call, std::move(own));
  }
  streams.DaemonLost(error);
  refs.DaemonLost();
  for (const auto& [request, cookie] : std::exchange(lookups, {})) out.Act<ActorLookedUp>().cookie = cookie;
  for (const Cookie cookie : std::exchange(node_lists, {})) out.Act<NodesListed>().cookie = cookie;
}

void ProcessCore::Impl::On(BeginShutdown&) {
  if (std::exchange(shutting_down, true)) return;
  std::vector<Call*> unsent;
  store.ForEach([&](Call* call) {
    if (!call->completed && !call->sent && !call->created) unsent.push_back(call);
  });
  for (Call* call : unsent) {
    if (call->completed) continue;  // an argument of it was cancelled before it
    ErrorInfo error = calls.Error(*call, ErrorCode::kCancelled, "Shutdown: the call had not been sent");
    if (call->kind == Call::Kind::kActorCreation) {
      streams.FindOrAdd(ActorId{options.self, call->number})->Die(std::move(error));
    } else {
      FailUnsent(call, std::move(error));
    }
  }
  leases.BeginShutdown();
}

void ProcessCore::Impl::On(Tick&) {
  for (Call* call : calls.TakeExpired(out.now())) Expire(call);
  leases.OnTick();
  streams.OnTick();
  mailbox.OnTick();
}

}  // namespace manta::runtime

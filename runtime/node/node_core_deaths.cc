// Deaths (docs/objects.md): a process of this node, one of another node, a whole node. Who is told, and what ends with
// it.
#include <utility>

#include "runtime/node/node_core_impl.h"

namespace manta::runtime {

using node::ActorHosts;
using node::LeaseQueue;
using node::WorkerPool;

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ProcessDied& message) {
  if (from == DaemonOf(message.process.node) && message.process.is_user_process()) BeginDeath(message);
}

// Both ends can write to a ring, and nobody else: one of them did. A driver is believed, and is not ended on the word
// of its workers; nor is a process of another job.
void NodeCore::Impl::OnMessage(ProcessId from, rpc::PeerBroke& message) {
  if (from.is_daemon()) {  // of a process there
    const node::LocalProcess* accused = processes_.Find(message.peer);
    if (accused == nullptr || accused->kind != rpc::ProcessKind::kWorker) return;
    return Emit(KillProcess{message.peer,
                            "its session with a process of n" + std::to_string(from.node) + " broke: " + message.why});
  }
  const node::LocalProcess* sender = processes_.Find(from);
  if (sender == nullptr) return;
  if (!IsMe(message.peer.node)) {
    // A worker ends itself; a driver asks for the end of the other.
    if (sender->kind == rpc::ProcessKind::kWorker)
      return Emit(KillProcess{from, "a session of it broke: " + message.why});
    return SendNode(message.peer.node, message);
  }
  if (message.peer == DaemonOf(self_)) {
    return Emit(KillProcess{from, "it overwrote its ring from the node: " + message.why});
  }
  const node::LocalProcess* peer = processes_.Find(message.peer);
  if (peer == nullptr) return;  // it has ended meanwhile
  const bool believed = peer->kind == rpc::ProcessKind::kWorker && peer->job == sender->job;
  Emit(KillProcess{believed ? message.peer : from, "it broke the protocol on the ring between " + ToString(from) +
                                                       " and " + ToString(message.peer) + ": " + message.why});
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::DeathDrained& message) {
  node::DeathTable::Output output;
  if (from.is_user_process()) {
    deaths_.AnsweredHere(message.process, from, &output);
  } else if (from.is_daemon() && !IsMe(from.node)) {
    deaths_.Answered(message.process, from.node, &output);
  }
  CarryOut(std::move(output));
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::NodeDied& message) {
  const NodeId node = message.node;
  if (!from.is_head() || IsMe(node) || !peers_.Died(node)) return;
  rpc::ProcessDied death;
  death.process = DaemonOf(node);
  death.reason = "node n" + std::to_string(node) + " died: " + message.reason;
  BeginDeath(death);
  store_.DropHomedAt(node);
  node::PullTable::Output pulls;
  pulls_.HomeDied(node, &pulls);
  pulls_.SourceDied(node, &pulls);
  node::HomeTable::Output lost;
  home_.NodeDied(node, &lost);
  CarryOut(std::move(lost));
  CarryOut(pulls);
  queue_.TakeBack(node);
  for (const ActorId actor : hosts_.CreatedOn(node)) {
    if (!hosts_.Find(actor)->spec.registered()) EndHost(actor, death.reason);
  }
  ActorDirectory::Output actors;
  directory_.NodeDied(node, message.reason, &actors);
  CarryOut(actors);
  for (const rpc::ActorWatch& watch : routes_.WatchesOf(node)) RouteWatch(watch);
  for (const rpc::ActorKill& kill : routes_.KillsOf(node)) RouteKill(DaemonOf(self_), kill);
  node::DeathTable::Output output;
  deaths_.SetNodes(peers_.alive(), peers_.newest(), &output);
  CarryOut(std::move(output));
}

// A process (this node's: it is drained; it has been removed from every table) or a whole node has died.
void NodeCore::Impl::BeginDeath(const rpc::ProcessDied& death) {
  node::DeathTable::Output output;
  if (!deaths_.Report(death, processes_.ids(), &output)) return;
  for (const auto& [id, process] : processes_.all()) {
    if (death.process.is_daemon()) {
      Send(id, rpc::NodeDied{death.process.node, death.reason});
    } else {
      Send(id, death);
    }
  }
  EndWhatBelongedTo(death.process, death.reason);
  CarryOut(std::move(output));
  serve_actors_ = true;
}

// The worker process is gone: its lease ends, its actor has died.
void NodeCore::Impl::EndWorker(ProcessId worker, const std::string& reason) {
  if (ActorHosts::Host* host = hosts_.OfWorker(worker)) WorkerOfActorEnded(host, reason);
  if (const node::LeaseTable::Lease* lease = leases_.OfWorker(worker)) leases_.End(lease->id);
  pool_.Remove(worker);
}

// What the dead had asked for here, ran here, or had created.
void NodeCore::Impl::EndWhatBelongedTo(ProcessId dead, const std::string& reason) {
  const bool whole_node = dead.is_daemon();
  const std::string why = "its caller " + ToString(dead) + " died: " + reason;
  for (const LeaseId lease : whole_node ? leases_.OfCallersOn(dead.node) : leases_.OfCaller(dead))
    RevokeLease(lease, why);
  for (const LeaseQueue::Key& key : whole_node ? queue_.OfCallersOn(dead.node) : queue_.OfCaller(dead)) {
    // A request that was sent on is dropped there, too: that node hears of the death.
    queue_.Remove(key);
  }
  std::erase_if(held_updates_, [dead](const auto& item) { return item.first.second == dead; });
  node::PullTable::Output pulls;
  pulls_.AskerDied(dead, &pulls);
  CarryOut(pulls);
  routes_.ForgetWatcher(dead);
  if (whole_node) return;
  if (IsMe(dead.node)) {
    node::HomeTable::Output objects;
    home_.OwnerDied(dead, reason, &objects);
    CarryOut(std::move(objects));
  }
  ActorDirectory::Output actors;
  directory_.ProcessDied(dead, reason, &actors);
  CarryOut(actors);
  for (const rpc::ActorWatch& watch : routes_.TakeEarlyOf(dead)) AnswerWatch(watch);
}

void NodeCore::Impl::CarryOut(node::DeathTable::Output output) {
  for (const ProcessId dead : output.drained_here) {
    for (const NodeId node : peers_.others()) Send(DaemonOf(node), rpc::DeathDrained{dead, self_});
  }
  for (const ProcessId dead : output.drained) {
    node::HomeTable::Output objects;
    home_.Drained(dead, &objects);
    CarryOut(std::move(objects));
  }
}

}  // namespace manta::runtime

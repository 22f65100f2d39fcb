// Leases (docs/task.md): requests, grants, returns, and the workers that are started and stopped for them.
#include <algorithm>
#include <utility>

#include "base/rule.h"
#include "runtime/node/node_core_impl.h"
#include "runtime/scheduling.h"

namespace manta::runtime {

using node::LeaseQueue;
using node::LeaseTable;
using node::LocalProcess;
using node::WorkerPool;

// ---------------------------------------------------------------- messages

void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeaseRequest& message) {
  const bool forwarded = from.is_daemon();
  if (forwarded ? message.caller.node != from.node : message.caller != from) return;
  message.forwarded = forwarded;
  if (forwarded) message.hint = {};  // this is where it was to go
  asked_by_others_ |= forwarded;
  if (MANTA_RULE("lease.dead_caller") && deaths_.IsDead(message.caller)) return;
  if (ended_jobs_.Contains(message.job)) {
    return RefuseRequest(message, rpc::ErrorCode::kShutdown, "job " + std::to_string(message.job) + " has ended");
  }
  if (forwarded && !leases_.total().Fits(message.shape)) {
    return RefuseRequest(message, rpc::ErrorCode::kWorkerLimit,
                         "node n" + std::to_string(self_) + " cannot hold " + message.shape.ToString());
  }
  queue_.Add(message);
  serve_leases_ = true;
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeaseCancel& message) {
  if (message.caller != from && DaemonOf(message.caller.node) != from) return;
  const std::optional<NodeId> sent_to = queue_.Remove({message.caller, message.request});
  if (sent_to.value_or(0) != 0) SendNode(*sent_to, message);
  serve_leases_ = true;
}

// From another node, for a request that was sent there.
void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeaseGrant& message) {
  if (!from.is_daemon()) return;
  const LeaseQueue::Key key{message.caller, message.request};
  if (message.error) {
    RefusedThere(message);
  } else if (queue_.Remove(key)) {
    Send(message.caller, message);
  } else {
    SendNode(from.node, rpc::LeaseReturn{message.lease});  // cancelled, or its caller died
  }
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeasePending& message) {
  if (from.is_daemon() && queue_.Find({message.caller, message.request}) != nullptr) Send(message.caller, message);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeaseReturn& message) {
  if (!IsMe(message.lease.node)) {
    if (from.is_user_process()) SendNode(message.lease.node, message);
    return;
  }
  const LeaseTable::Lease* lease = leases_.Find(message.lease);
  if (lease == nullptr || (lease->caller != from && DaemonOf(lease->caller.node) != from)) return;
  const ProcessId worker = lease->worker;
  leases_.End(message.lease);
  // What is still on its way to the worker under this lease is nobody's any more.
  if (MANTA_RULE("lease.fence")) Send(worker, rpc::LeaseFence{{self_, message.lease.number + 1}});
  pool_.Release(worker, now_);
  serve_actors_ = true;
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::LeaseBlocked& message) {
  const LeaseTable::Lease* lease = leases_.Find(message.lease);
  if (lease == nullptr || lease->worker != from) return;
  if (leases_.SetBlocked(message.lease, message.blocked)) serve_actors_ = true;
}

// ---------------------------------------------------------------- granting

// One pass: grants what can be granted, starts workers for what lacks only them, sends on what has no room here, and
// tells the rest why it waits.
void NodeCore::Impl::ServeLeases() {
  std::set<const LeaseQueue::Class*> stuck;
  std::map<JobId, uint32_t> task_demand;
  base::ResourceSet reserved;  // for those that lack only a worker
  HeedHints();
  while (LeaseQueue::Class* of = queue_.Best(stuck)) {
    if (of->hint != rpc::SchedulingHint()) {
      stuck.insert(of);
      TellReason(of, WhyElsewhere(*of), false);
      continue;
    }
    if (GrantFirst(of)) continue;
    stuck.insert(of);
    const uint32_t grantable = CountGrantable(*of, &reserved);
    task_demand[of->job] += grantable;
    ProcessId victim;
    const bool at_cap = grantable != 0 && pool_.starting(of->job) == 0 && pool_.AtCap(of->job, &victim);
    if (at_cap && victim.is_user_process()) StopWorker(victim, true, kInfiniteFuture, "another job needs its place");
    const std::string reason = WhyStuck(*of, grantable != 0, at_cap);
    if ((grantable == 0 || at_cap) && !ForwardWaiting(*of)) continue;
    TellReason(of, reason, at_cap);
  }
  StartWorkers(task_demand);
}

// The best request of the class, if there are room and a worker for it.
bool NodeCore::Impl::GrantFirst(LeaseQueue::Class* of) {
  if (!leases_.Fits(of->shape)) return false;
  const std::optional<ProcessId> worker = pool_.Take(of->job, WorkerPool::State::kLeased, now_);
  if (!worker) return false;
  const LeaseQueue::Key key = of->waiting.begin()->second;
  rpc::LeaseGrant grant;
  grant.caller = key.first;
  grant.request = key.second;
  grant.lease = leases_.Grant(self_, key.first, *worker, of->shape);
  grant.worker = *worker;
  grant.address = processes_.Find(*worker)->address;
  queue_.Remove(key);
  SendToCaller(key.first, std::move(grant));
  return true;
}

// How many of the class there is room for, beside what is `reserved` for better ones.
uint32_t NodeCore::Impl::CountGrantable(const LeaseQueue::Class& of, base::ResourceSet* reserved) const {
  if (leases_.overdrawn()) return 0;
  base::ResourceSet left = leases_.available();
  left.SubtractAllowNegative(*reserved);
  uint32_t count = 0;
  while (count < of.waiting.size() && count < options_.task_workers_max && left.Fits(of.shape)) {
    left.Subtract(of.shape);
    reserved->Add(of.shape);
    ++count;
  }
  return count;
}

// Sends requests to nodes that have room now. False: none is left, the class has ended.
bool NodeCore::Impl::ForwardWaiting(const LeaseQueue::Class& of) {
  std::vector<LeaseQueue::Key> keys;
  for (const auto& [rank, key] : of.waiting) {
    if (!queue_.Find(key)->forwarded) keys.push_back(key);
  }
  const SchedulingDemand demand{.resources = of.shape};
  const size_t waiting = of.waiting.size();
  size_t sent = 0;
  for (const LeaseQueue::Key& key : keys) {
    const NodeId node = PickNode(demand, peers_.infos(), rng_.Next());
    if (node == 0) break;
    Forward(key, node);
    ++sent;
  }
  return sent < waiting;
}

void NodeCore::Impl::Forward(const LeaseQueue::Key& key, NodeId node) {
  rpc::LeaseRequest request = *queue_.Find(key);
  request.forwarded = true;
  peers_.Spend(node, request.shape);
  queue_.Sent(key, node);
  SendNode(node, std::move(request));
}

std::string NodeCore::Impl::WhyStuck(const LeaseQueue::Class& of, bool has_room, bool at_cap) const {
  const std::string here = "node n" + std::to_string(self_);
  if (at_cap) {
    return here + " runs " + std::to_string(options_.task_workers_max) +
           " workers for tasks, its limit: tasks that wait for other tasks hold theirs";
  }
  if (has_room) return "a worker is being started on " + here;
  if (leases_.overdrawn() && leases_.total().Fits(of.shape)) {
    return here + " has resumed more tasks than it has CPUs for: new ones wait for them";
  }
  return WhyWaiting(of.shape, AllInfos());
}

void NodeCore::Impl::TellReason(LeaseQueue::Class* of, const std::string& reason, bool at_cap) {
  const bool changed = of->reason != reason;
  for (const LeaseQueue::Key& key : queue_.SetReason(of, reason)) {
    SendToCaller(key.first, rpc::LeasePending{key.first, key.second, reason, at_cap});
  }
  if (changed && !FitsSomewhere(of->shape, AllInfos())) {
    Log(LogLine::Level::kWarning, "tasks of job " + std::to_string(of->job) + " cannot run anywhere now: " + reason);
  }
}

void NodeCore::Impl::RefuseRequest(const rpc::LeaseRequest& request, rpc::ErrorCode code, const std::string& why) {
  rpc::LeaseGrant grant;
  grant.caller = request.caller;
  grant.request = request.request;
  grant.error.code = code;
  grant.error.message = why;
  SendToCaller(request.caller, std::move(grant));
}

void NodeCore::Impl::SendToCaller(ProcessId caller, rpc::Message message) {
  if (!IsMe(caller.node)) {
    SendNode(caller.node, std::move(message));
  } else if (processes_.Find(caller) != nullptr) {
    Send(caller, std::move(message));
  }
}

// ---------------------------------------------------------------- workers

void NodeCore::Impl::StartWorkers(const std::map<JobId, uint32_t>& task_demand) {
  std::map<JobId, std::pair<uint32_t, uint32_t>> demand;  // tasks, actors
  for (const auto& [job, tasks] : task_demand) demand[job].first = tasks;
  for (const ActorId actor : hosts_.placed()) ++demand[hosts_.Find(actor)->spec.job].second;
  for (const auto& [job, wanted] : demand) {
    for (uint32_t count = pool_.ToStart(job, wanted.first, wanted.second); count != 0; --count) {
      const ProcessId worker = processes_.NextId(self_);
      pool_.Started(worker, job, now_);
      jobs_here_.insert(job);
      Emit(StartWorker{worker, job});
    }
  }
}

// `gone`: there is no process (any more).
void NodeCore::Impl::WorkerStartFailed(ProcessId worker, const std::string& why, bool gone) {
  const WorkerPool::Worker* starting = pool_.Find(worker);
  if (starting == nullptr || starting->state != WorkerPool::State::kStarting) return;
  const JobId job = starting->job;
  const uint32_t failures = pool_.StartFailed(worker);
  if (gone) {
    pool_.Remove(worker);
  } else {
    KillWorker(worker, why);
  }
  Log(LogLine::Level::kWarning, "worker " + ToString(worker) + " did not start: " + why);
  if (failures >= WorkerPool::kStartFailuresMax) {
    pool_.ForgetFailures(job);
    FailWaiting(job, "no worker could be started on node n" + std::to_string(self_) + ": " + why + " (" +
                         std::to_string(failures) + " times in a row)");
  }
  serve_actors_ = true;
  TellJobGone(job);
}

// Whoever waits for a worker of the job is told.
void NodeCore::Impl::FailWaiting(JobId job, const std::string& why) {
  for (const LeaseQueue::Key& key : queue_.OfJob(job)) {
    if (queue_.SentTo(key) != 0) continue;
    const rpc::LeaseRequest request = *queue_.Find(key);
    queue_.Remove(key);
    RefuseRequest(request, rpc::ErrorCode::kWorkerDied, why);
  }
  const std::vector<ActorId> placed = hosts_.placed();
  for (const ActorId actor : placed) {
    if (hosts_.Find(actor)->spec.job == job) RefuseHost(actor, rpc::ErrorCode::kWorkerDied, why);
  }
}

void NodeCore::Impl::StopWorker(ProcessId worker, bool graceful, Time kill_at, const std::string& reason) {
  const WorkerPool::Worker* known = pool_.Find(worker);
  if (known == nullptr) return;
  if (!known->connected) return KillWorker(worker, reason);
  Send(worker, rpc::ProcessExit{graceful, reason});
  pool_.Stop(worker, now_, kill_at);
}

void NodeCore::Impl::KillWorker(ProcessId worker, const std::string& why) {
  Emit(KillProcess{worker, why});
  pool_.Stop(worker, now_, kInfiniteFuture);
}

// Its caller is dead: what it runs is of use to nobody. The lease ends with the worker.
void NodeCore::Impl::RevokeLease(LeaseId id, const std::string& why) {
  const LeaseTable::Lease* lease = leases_.Find(id);
  if (lease != nullptr && lease->worker.is_user_process()) KillWorker(lease->worker, why);
}

}  // namespace manta::runtime

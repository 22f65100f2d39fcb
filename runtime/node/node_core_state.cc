// What this node knows, for people (rpc/schema/state.capnp). Tasks and log files are the shell's.
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/actor_rows.h"
#include "runtime/node/node_core_impl.h"
#include "runtime/state_rows.h"

namespace manta::runtime {

using node::ActorHosts;
using node::LeaseQueue;
using node::LocalProcess;
using node::WorkerPool;

namespace {

const char* StateName(WorkerPool::State state) {
  switch (state) {
    case WorkerPool::State::kStarting:
      return "STARTING";
    case WorkerPool::State::kIdle:
      return "IDLE";
    case WorkerPool::State::kLeased:
      return "LEASED";
    case WorkerPool::State::kActor:
      return "ACTOR";
    case WorkerPool::State::kStopping:
      return "STOPPING";
  }
  return "UNKNOWN";
}

int64_t Signed(uint64_t number) { return static_cast<int64_t>(number); }

const char* TypeName(const LocalProcess& process) {
  return process.kind == rpc::ProcessKind::kDriver ? "DRIVER" : "WORKER";
}

// Of the call that makes it.
const char* TaskStatus(const node::HomeTable::Holding& holding) {
  const std::string_view state = holding.state;
  if (state == "ERROR" || state == "LOST") return "FAILED";
  return state == "PENDING" || state == "UNKNOWN" ? "PENDING" : "FINISHED";
}

// As in `ray memory`, the first that holds of: a reference of a process, a message on its way, another object.
std::string ReferenceType(const node::HomeTable::Holding& holding) {
  if (holding.object.is_actor()) return "ACTOR_HANDLE";
  if (!holding.holders.empty()) return "LOCAL_REFERENCE";
  if (holding.tickets != 0) return "USED_BY_PENDING_TASK";
  if (!holding.containers.empty()) return "CAPTURED_IN_OBJECT";
  return "NONE";
}

std::string WhyHeld(const node::HomeTable::Holding& holding) {
  std::string why;
  const auto add = [&why](size_t count, const std::string& what) {
    if (count == 0) return;
    if (!why.empty()) why += ", ";
    why += std::to_string(count) + " " + what + (count == 1 ? "" : "s");
  };
  add(holding.holders.size(), "process with a ref");
  add(holding.tickets, "ref in a message");
  add(holding.containers.size(), "ref in another object");
  if (holding.awaits_seal) why += std::string(why.empty() ? "" : ", ") + "its seal is on its way";
  return why;
}

}  // namespace

void NodeCore::Impl::OnMessage(ProcessId from, rpc::StateQuery& message) {
  if (from.is_head()) Send(kHead, Describe(message));
}

rpc::StateReply NodeCore::Describe(const rpc::StateQuery& query) const { return impl_->Describe(query); }

rpc::StateReply NodeCore::Impl::Describe(const rpc::StateQuery& query) const {
  StateRows rows(query, self_);
  const bool summary = query.subject == rpc::kStateSummary;
  switch (query.kind) {
    case rpc::StateKind::kStatus:
      DescribeSelf(&rows, true);
      AddActorCounts(directory_, &rows);
      DescribeDemand(&rows);
      DescribeDeaths(&rows);
      break;
    case rpc::StateKind::kNodes:
      DescribeSelf(&rows, false);
      break;
    case rpc::StateKind::kWorkers:
      DescribeWorkers(&rows);
      break;
    case rpc::StateKind::kActors:
      if (summary) {
        SummarizeActors(directory_, &rows);
      } else {
        DescribeActors(&rows);
      }
      break;
    case rpc::StateKind::kObjects:
      if (summary) {
        SummarizeObjects(&rows);
      } else {
        DescribeObjects(&rows);
      }
      break;
    case rpc::StateKind::kTasks:
    case rpc::StateKind::kJobs:
    case rpc::StateKind::kPrograms:
    case rpc::StateKind::kLogs:
    case rpc::StateKind::kKillActor:
      break;  // the head and the shell know
  }
  return rows.Take();
}

void NodeCore::Impl::DescribeSelf(StateRows* rows, bool as_status) const {
  StateRow row;
  if (as_status) row.Text("row", "node");
  row.Text("node_id", ToString(DaemonOf(self_)));
  row.Resources("resources_available", leases_.available());
  row.Number("workers", Signed(processes_.all().size())).Number("workers_idle", pool_.idle());
  row.Number("actors", Signed(hosts_.size())).Number("objects", Signed(store_.object_count()));
  row.Number("store_bytes_used", Signed(store_.sealed_bytes()));
  row.Number("store_bytes_leaving", Signed(store_.leaving_bytes()));
  row.Number("store_bytes_total", Signed(options_.store_bytes_max));
  rows->Add(std::move(row));
}

void NodeCore::Impl::DescribeWorkers(StateRows* rows) const {
  for (const auto& [id, process] : processes_.all()) {
    if (rows->SkipsNext()) continue;
    const bool is_driver = process.kind == rpc::ProcessKind::kDriver;
    const WorkerPool::Worker* worker = pool_.Find(id);
    const ActorHosts::Host* host = hosts_.OfWorker(id);
    StateRow row;
    row.Text("worker_id", ToString(id)).Text("node_id", ToString(DaemonOf(self_))).Number("pid", process.pid);
    row.Text("worker_type", TypeName(process)).Number("job_id", Signed(process.job));
    row.Text("state", is_driver || worker == nullptr ? "CONNECTED" : StateName(worker->state));
    row.Text("actor_id", host == nullptr ? "" : ToString(host->spec.actor)).Text("program", process.program);
    if (!rows->Add(std::move(row))) return;
  }
}

// Anonymous actors created here, and whoever lives here (with its pid): the head puts the two together.
void NodeCore::Impl::DescribeActors(StateRows* rows) const {
  bool room = AddActors(directory_, rows);
  hosts_.ForEach([&](const ActorHosts::Host& host) {
    if (!room || rows->SkipsNext()) return;
    const bool alive = host.state == ActorHosts::State::kAlive;
    StateRow row = ActorRow(host.spec, alive ? rpc::ActorState::kAlive : rpc::ActorState::kPending, self_);
    if (const LocalProcess* process = processes_.Find(host.worker)) {
      row.Text("worker_id", ToString(host.worker)).Number("pid", process->pid);
    }
    room = rows->Add(std::move(row));
  });
}

// Tasks that wait for a lease, and actors that wait for room.
void NodeCore::Impl::DescribeDemand(StateRows* rows) const {
  using Waiting = std::map<std::pair<std::string, std::string>, int64_t>;  // by shape and reason
  Waiting tasks, actors;
  queue_.ForEachClass([&](const LeaseQueue::Class& of) {
    tasks[{of.shape.ToJson(), of.reason}] += Signed(of.waiting.size());
  });
  for (const ActorId actor : hosts_.waiting()) {
    const ActorHosts::Host& host = *hosts_.Find(actor);
    ++actors[{host.spec.placement.ToJson(), "waits for room on node n" + std::to_string(self_)}];
  }
  for (const auto& [what, count] : tasks) rows->Add(DemandRow("task", what.first, count, what.second));
  AddUnplacedActors(directory_, rows);
  for (const auto& [what, count] : actors) rows->Add(DemandRow("actor", what.first, count, what.second));
}

void NodeCore::Impl::RememberDeath(const LocalProcess& gone, const WorkerPool::Worker* worker,
                                   const std::string& reason) {
  const bool expected = worker == nullptr || worker->state == WorkerPool::State::kStopping;
  if (gone.kind == rpc::ProcessKind::kDriver || expected) return;
  recent_deaths_.emplace_back(gone.id, reason);
  if (recent_deaths_.size() > kDeathsMax) recent_deaths_.pop_front();
}

void NodeCore::Impl::DescribeDeaths(StateRows* rows) const {
  for (const auto& [process, reason] : recent_deaths_) rows->Add(FailureRow("worker", ToString(process), reason));
}

void NodeCore::Impl::DescribeObjects(StateRows* rows) const {
  bool room = true;
  home_.ForEach([&](const node::HomeTable::Holding& holding) {
    return room = rows->SkipsNext() || rows->Add(ObjectRow(holding));
  });
  store_.ForEachLeaving([&](const ObjectId& object, uint64_t size_bytes) {
    if (!room || rows->SkipsNext()) return;
    StateRow row;
    row.Text("object_id", ToString(object)).Number("size", Signed(size_bytes)).Text("state", "LEAVING");
    row.Text("node_id", ToString(DaemonOf(self_))).Text("reference_type", "PINNED_IN_MEMORY");
    row.Text("why", "nobody refers to it, and a process of this node may still be reading it");
    room = rows->Add(std::move(row));
  });
}

StateRow NodeCore::Impl::ObjectRow(const node::HomeTable::Holding& holding) const {
  std::vector<std::string> holders, copies, containers;
  for (const ProcessId holder : holding.holders) holders.push_back(ToString(holder));
  for (const NodeId node : holding.copies) copies.push_back(ToString(DaemonOf(node)));
  for (const ObjectId& container : holding.containers) containers.push_back(ToString(container));
  const LocalProcess* owner = processes_.Find(holding.object.owner);
  StateRow row;
  row.Text("object_id", ToString(holding.object)).Number("size", Signed(holding.size_bytes));
  row.Text("task_status", TaskStatus(holding))
      .Text("state", holding.state)
      .Text("reference_type", ReferenceType(holding));
  row.Text("node_id", ToString(DaemonOf(self_))).TextList("copies", copies).TextList("held_by", holders);
  row.TextList("held_in", containers).Number("in_flight", Signed(holding.tickets));
  row.Text("type", owner == nullptr ? "" : TypeName(*owner)).NumberOrNull("pid", owner == nullptr ? 0 : owner->pid);
  row.Text("ip", address_.substr(0, address_.rfind(':'))).Text("why", WhyHeld(holding));
  return row;
}

void NodeCore::Impl::SummarizeObjects(StateRows* rows) const {
  struct Sum {
    int64_t count = 0;
    int64_t bytes = 0;
  };
  std::map<std::pair<std::string, std::string>, Sum> sums;  // by state and reference type
  home_.ForEach([&](const node::HomeTable::Holding& holding) {
    Sum& sum = sums[{holding.state, ReferenceType(holding)}];
    ++sum.count;
    sum.bytes += Signed(holding.size_bytes);
    return true;
  });
  for (const auto& [what, sum] : sums) {
    rows->Add(StateRow()
                  .Text("state", what.first)
                  .Text("reference_type", what.second)
                  .Number("count", sum.count)
                  .Number("size", sum.bytes));
  }
}

}  // namespace manta::runtime

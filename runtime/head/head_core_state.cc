// What the head knows, for people (rpc/schema/state.capnp).
#include <map>
#include <string>
#include <utility>

#include "runtime/actor_rows.h"
#include "runtime/head/head_core_impl.h"
#include "runtime/head/head_records.h"
#include "runtime/state_rows.h"

namespace manta::runtime {
namespace {

constexpr size_t kFailuresMax = 10;  // of a kind, in the status

std::string IpOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

StateRow NodeRow(const rpc::NodeInfo& info, const char* state, const std::string& message) {
  StateRow row;
  row.Text("node_id", ToString(DaemonOf(info.node))).Text("ip", IpOf(info.address)).Bool("is_head", info.beside_head);
  row.Text("state", state).Text("message", message).Text("name", info.name).Number("pid", info.pid);
  row.Resources("resources_total", info.total);
  row.Json("labels", "{}").Text("address", info.address);
  return row;
}

}  // namespace

rpc::StateReply HeadCore::Describe(const rpc::StateQuery& query) const {
  StateRows rows(query, 0);
  switch (query.kind) {
    case rpc::StateKind::kStatus:
      impl_->DescribeNodes(&rows, true);
      AddActorCounts(impl_->directory_, &rows);
      AddUnplacedActors(impl_->directory_, &rows);
      impl_->DescribeFailures(&rows);
      break;
    case rpc::StateKind::kNodes:
      impl_->DescribeNodes(&rows, false);
      break;
    case rpc::StateKind::kJobs:
      impl_->DescribeJobs(&rows);
      break;
    case rpc::StateKind::kPrograms:
      impl_->DescribePrograms(&rows);
      break;
    case rpc::StateKind::kActors:
      if (query.subject == rpc::kStateSummary) {
        SummarizeActors(impl_->directory_, &rows);
      } else {
        AddActors(impl_->directory_, &rows);
      }
      break;
    case rpc::StateKind::kWorkers:
    case rpc::StateKind::kTasks:
    case rpc::StateKind::kObjects:
    case rpc::StateKind::kLogs:
    case rpc::StateKind::kKillActor:
      break;  // the nodes know
  }
  return rows.Take();
}

std::vector<NodeId> HeadCore::connected_nodes() const {
  std::vector<NodeId> ids;
  for (const auto& [id, node] : impl_->nodes_) {
    if (node.connected) ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<ActorId> HeadCore::FindActor(const std::string& what) const {
  if (const std::optional<ActorId> id = ParseActorId(what)) return *id;
  const std::map<std::string, ActorId> found = impl_->names_.FindAnywhere(what);
  if (found.empty()) {
    return absl::NotFoundError("no actor has the name or id '" + what + "': 'manta list actors' shows them");
  }
  if (found.size() == 1) return found.begin()->second;
  std::string several;
  for (const auto& [name, actor] : found) several += (several.empty() ? "" : ", ") + name;
  return absl::InvalidArgumentError("several actors have the name '" + what + "': say which of " + several);
}

void HeadCore::Impl::DescribeNodes(StateRows* rows, bool as_status) const {
  const auto add = [&](StateRow row, const base::ResourceSet* available) {
    if (as_status) row.Text("row", "node");
    if (available != nullptr) row.Resources("resources_available", *available);
    return rows->Add(std::move(row));
  };
  for (const auto& [id, node] : nodes_) {
    const char* state = detector_.suspected(id) ? "SUSPECTED" : node.connected ? "ALIVE" : "UNKNOWN";
    const char* message = detector_.suspected(id) ? "silent"
                          : node.connected        ? ""
                                                  : "has not come back to the head yet";
    rpc::NodeInfo info = node.info;
    info.node = id;
    const bool tells_itself = as_status && node.connected;  // newer than its last report
    if (!add(NodeRow(info, state, message), tells_itself ? nullptr : &node.info.available)) return;
  }
  for (auto key = gone_nodes_.rbegin(); key != gone_nodes_.rend(); ++key) {
    const auto number = head_records::NumberOf(*key);
    if (!number.ok()) continue;
    const auto known = gone_infos_.find(*key);
    rpc::NodeInfo info = known == gone_infos_.end() ? rpc::NodeInfo{} : known->second;
    info.node = *number;
    if (!add(NodeRow(info, "DEAD", obituaries_.at(*key)), nullptr)) return;
  }
}

void HeadCore::Impl::DescribeJobs(StateRows* rows) const {
  for (const auto& [id, job] : jobs_.jobs()) {
    StateRow row;
    row.Number("job_id", static_cast<int64_t>(id))
        .Text("status", job.over ? "DETACHED" : "RUNNING")
        .Text("program", job.program);
    row.Text("driver_id", ToString(job.driver)).Text("node_id", ToString(DaemonOf(job.driver.node)));
    if (!rows->Add(std::move(row))) return;
  }
  for (auto key = gone_jobs_.rbegin(); key != gone_jobs_.rend(); ++key) {
    const auto number = head_records::NumberOf(*key);
    if (!number.ok()) continue;
    if (!rows->Add(StateRow().Number("job_id", static_cast<int64_t>(*number)).Text("status", "ENDED"))) return;
  }
}

void HeadCore::Impl::DescribePrograms(StateRows* rows) const {
  std::map<std::string, std::vector<std::string>> jobs;  // by program
  for (const auto& [id, job] : jobs_.jobs()) jobs[job.program].push_back(std::to_string(id));
  for (const auto& [program, ids] : jobs) {
    StateRow row;
    row.Text("program", program).Number("jobs", static_cast<int64_t>(ids.size())).TextList("job_ids", ids);
    if (!rows->Add(std::move(row))) return;
  }
}

void HeadCore::Impl::DescribeFailures(StateRows* rows) const {
  size_t told = 0;
  for (auto key = gone_nodes_.rbegin(); key != gone_nodes_.rend() && told < kFailuresMax; ++key, ++told) {
    const auto number = head_records::NumberOf(*key);
    if (number.ok()) rows->Add(FailureRow("node", ToString(DaemonOf(*number)), obituaries_.at(*key)));
  }
  std::deque<const ActorDirectory::Record*> dead;
  directory_.ForEach([&](const ActorDirectory::Record& record) {
    if (record.state != rpc::ActorState::kDead) return;
    dead.push_back(&record);
    if (dead.size() > kFailuresMax) dead.pop_front();
  });
  for (const ActorDirectory::Record* record : dead) {
    rows->Add(FailureRow("actor", ToString(record->spec.actor) + " " + record->spec.class_name, record->error.message));
  }
}

}  // namespace manta::runtime

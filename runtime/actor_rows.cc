#include "runtime/actor_rows.h"

#include <map>
#include <string>
#include <utility>

namespace manta::runtime {

const char* StateName(rpc::ActorState state) {
  switch (state) {
    case rpc::ActorState::kPending:
      return "PENDING_CREATION";
    case rpc::ActorState::kAlive:
      return "ALIVE";
    case rpc::ActorState::kRestarting:
      return "RESTARTING";
    case rpc::ActorState::kDead:
      return "DEAD";
  }
  return "UNKNOWN";
}

StateRow ActorRow(const rpc::ActorSpec& spec, rpc::ActorState state, NodeId node) {
  StateRow row;
  row.Text("actor_id", ToString(spec.actor)).Text("class_name", spec.class_name).Text("state", StateName(state));
  row.Number("job_id", static_cast<int64_t>(spec.job)).Text("name", spec.name);
  row.Text("node_id", node == 0 ? "" : ToString(DaemonOf(node)));
  row.Text("namespace", spec.name_space);
  return row;
}

StateRow ActorRow(const ActorDirectory::Record& record) {
  const bool is_dead = record.state == rpc::ActorState::kDead;
  StateRow row = ActorRow(record.spec, record.state, record.node);
  row.Text("worker_id", record.worker.is_user_process() ? ToString(record.worker) : "");
  row.Number("restarts", record.restarts)
      .Bool("detached", record.spec.detached)
      .Text("message", is_dead ? record.error.message : record.waiting);
  return row;
}

bool AddActors(const ActorDirectory& directory, StateRows* rows) {
  bool room = true;
  directory.ForEach(
      [&](const ActorDirectory::Record& record) { room = room && (rows->SkipsNext() || rows->Add(ActorRow(record))); });
  return room;
}

void AddActorCounts(const ActorDirectory& directory, StateRows* rows) {
  std::map<std::string, int64_t> counts;
  directory.ForEach([&](const ActorDirectory::Record& record) { ++counts[StateName(record.state)]; });
  for (const auto& [state, count] : counts) {
    rows->Add(StateRow().Text("row", "actors").Text("state", state).Number("count", count));
  }
}

void SummarizeActors(const ActorDirectory& directory, StateRows* rows) {
  std::map<std::pair<std::string, std::string>, int64_t> counts;
  directory.ForEach([&](const ActorDirectory::Record& record) {
    ++counts[{record.spec.class_name, StateName(record.state)}];
  });
  for (const auto& [what, count] : counts) {
    rows->Add(StateRow().Text("class_name", what.first).Text("state", what.second).Number("count", count));
  }
}

void AddUnplacedActors(const ActorDirectory& directory, StateRows* rows) {
  std::map<std::pair<std::string, std::string>, int64_t> counts;
  for (const ActorDirectory::Place& place : directory.unplaced()) {
    const ActorDirectory::Record& record = *directory.Find(place.actor);
    ++counts[{record.spec.placement.ToJson(), record.waiting}];
  }
  for (const auto& [what, count] : counts) rows->Add(DemandRow("actor", what.first, count, what.second));
}

}  // namespace manta::runtime

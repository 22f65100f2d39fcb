#include "runtime/head/head_core.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/rule.h"
#include "runtime/head/head_core_impl.h"
#include "runtime/head/head_records.h"
#include "runtime/scheduling.h"

namespace manta::runtime {
namespace {

// Of those that died or ended; told again to nodes that register after the head was away.
constexpr size_t kObituariesMax = 1024;
// The arguments of a registered actor lie in the head's memory and store.
constexpr size_t kActorArgsBytesMax = 64 << 10;
constexpr Duration kViewInterval = std::chrono::milliseconds(100);
// A view goes to every node and names every node: its interval grows with their number.
constexpr size_t kNodesPerViewInterval = 64;
// How long the head remembers what it has placed on a node that has not reported since.
constexpr Duration kPlacementRetry = std::chrono::milliseconds(100);

rpc::ErrorInfo MakeError(rpc::ErrorCode code, std::string message) {
  rpc::ErrorInfo error;
  error.code = code;
  error.message = std::move(message);
  return error;
}

size_t ArgsBytes(const rpc::ActorSpec& spec) {
  size_t bytes = 0;
  for (const rpc::Value& arg : spec.args) bytes += arg.bytes.size();
  return bytes;
}

}  // namespace

HeadCore::Impl::Impl(HeadOptions options, Time now, const std::map<std::string, std::string>& stored)
    : options_(options),
      grace_end_(stored.empty() ? now : now + options.dead_after),
      rng_(options.seed),
      detector_({.suspect_after = options.suspect_after, .dead_after = options.dead_after}),
      view_version_(options.epoch << 32) {
  Restore(now, stored);
}

void HeadCore::Impl::Handle(Time now, HeadEvent event, std::vector<HeadAction>* actions) {
  now_ = now;
  actions_ = actions;
  wrote_ = false;
  for (std::string& warning : std::exchange(startup_warnings_, {})) Log(LogLine::Level::kError, std::move(warning));
  std::visit([this](auto& what) { OnEvent(what); }, event);
  AdvanceTimers();
  PlaceActors();
  if (view_changed_ || (view_stale_ && now_ >= view_due_)) SendView();
  actions_ = nullptr;
}

Time HeadCore::Impl::next_deadline() const {
  Time next = std::min(detector_.next_deadline(), place_due_);
  if (view_stale_) next = std::min(next, view_due_);
  return next;
}

// ---------------------------------------------------------------- restoring

void HeadCore::Impl::Restore(Time now, const std::map<std::string, std::string>& stored) {
  for (const auto& [key, value] : stored) {
    const absl::Status status = RestoreOne(now, key, value);
    if (!status.ok()) startup_warnings_.push_back("metadata '" + key + "' is left out: " + base::Message(status));
  }
  if (directory_.has_unplaced()) place_due_ = now;
}

absl::Status HeadCore::Impl::RestoreOne(Time now, const std::string& key, const std::string& value) {
  namespace records = head_records;
  if (key == records::kNextNode) {
    MANTA_ASSIGN_OR_RETURN(next_node_, records::UnpackNumber(value));
  } else if (key == records::kNextJob) {
    MANTA_ASSIGN_OR_RETURN(const JobId next, records::UnpackNumber(value));
    jobs_.RestoreNext(next);
  } else if (key.starts_with("node/")) {
    MANTA_ASSIGN_OR_RETURN(const NodeId node, records::NumberOf(key));
    MANTA_ASSIGN_OR_RETURN(nodes_[node].info, records::UnpackNode(value));
    detector_.Watch(node, now);
  } else if (key.starts_with("job/")) {
    MANTA_ASSIGN_OR_RETURN(const JobId job, records::NumberOf(key));
    MANTA_ASSIGN_OR_RETURN(JobTable::Job what, records::UnpackJob(value));
    jobs_.Restore(job, std::move(what));
  } else if (key.starts_with("lingering_job/")) {  // after its "job/"
    MANTA_ASSIGN_OR_RETURN(const JobId job, records::NumberOf(key));
    (void)jobs_.Linger(job);
  } else if (key.starts_with("gone_node/")) {
    gone_nodes_.push_back(key);
    obituaries_[key] = value;
  } else if (key.starts_with("gone_job/")) {
    gone_jobs_.push_back(key);
    obituaries_[key] = value;
  } else if (key.starts_with("actor/")) {
    MANTA_ASSIGN_OR_RETURN(ActorDirectory::Record record, records::UnpackActor(value));
    if (record.state != rpc::ActorState::kDead && !record.spec.name.empty()) {
      names_.Take(record.spec.name_space, record.spec.name, record.spec.actor);
    }
    directory_.Restore(std::move(record));
  }
  return absl::OkStatus();
}

// ---------------------------------------------------------------- events

void HeadCore::Impl::OnEvent(HeadHello& hello) {
  const NodeId node = hello.message.info.node;
  if (node == 0) {
    const NodeId fresh = next_node_++;
    Write(head_records::kNextNode, head_records::PackNumber(next_node_));
    return Welcome(fresh, hello.connection, std::move(hello.message));
  }
  if (MANTA_RULE("head.fence") && !nodes_.contains(node)) {
    // It was declared dead, and others act on that: its life is over.
    Log(LogLine::Level::kWarning, ToString(DaemonOf(node)) + " was declared dead and has come back: it joins anew");
    return Emit(AcceptNode{hello.connection, {.node = 0, .head_epoch = options_.epoch}});
  }
  Welcome(node, hello.connection, std::move(hello.message));
}

void HeadCore::Impl::OnEvent(NodeConnectionLost& lost) {
  const auto it = nodes_.find(lost.node);
  if (it == nodes_.end()) return;
  if (lost.dead) return DeclareDead(lost.node, "its process has ended");
  it->second.connected = false;  // silence will tell
}

void HeadCore::Impl::OnEvent(Persisted& persisted) {
  persisted_ = std::max(persisted_, persisted.batch);
  while (!held_.empty() && held_.front().batch <= persisted_) {
    actions_->push_back(std::move(held_.front().action));
    held_.pop_front();
  }
}

void HeadCore::Impl::OnEvent(MessageReceived& received) {
  const NodeId from = received.from.node;
  if (MANTA_RULE("head.fence") && !nodes_.contains(from)) {
    if (from != 0) actions_->push_back(SendMessage{DaemonOf(from), rpc::NodeFenced{from}});
    return;
  }
  detector_.Heard(from, now_);
  std::visit([&](auto& message) { OnMessage(from, message); }, received.message);
}

// ---------------------------------------------------------------- messages from daemons

void HeadCore::Impl::OnMessage(NodeId from, rpc::Heartbeat& message) {
  // The loss of an older connection may be reported after the newer one has come.
  if (const auto node = nodes_.find(from); node != nodes_.end()) node->second.connected = true;
  // Depends on nothing: not even a slow store holds it up.
  actions_->push_back(SendMessage{DaemonOf(from), rpc::Heartbeat{from, message.number}});
}

void HeadCore::Impl::OnMessage(NodeId from, rpc::NodeReport& message) {
  const auto it = nodes_.find(from);
  if (it == nodes_.end() || message.info.version < it->second.info.version) return;
  Node& node = it->second;
  message.info.node = from;
  if (node.info == message.info) return;
  node.info = std::move(message.info);
  node.placed = {};
  view_stale_ = true;
  place_due_ = directory_.has_unplaced() ? now_ : kInfiniteFuture;
}

void HeadCore::Impl::OnMessage(NodeId from, rpc::NodeRegister& message) {
  if (message.info.node == from) Welcome(from, 0, std::move(message));
}

void HeadCore::Impl::OnMessage(NodeId from, rpc::JobRegister& message) {
  if (message.driver.node != from) return;
  const JobTable::Registered registered = jobs_.Register(message.driver, message.program);
  if (registered.is_new) {
    Write(head_records::kNextJob, head_records::PackNumber(jobs_.next()));
    Write(head_records::JobKey(registered.job), head_records::PackJob({message.driver, message.program, false, {}}));
  }
  Send(from, rpc::JobAccepted{message.request, message.driver, registered.job});
}

// The node of the job's driver has the program, and so has whoever has had it from there.
void HeadCore::Impl::OnMessage(NodeId from, rpc::ProgramRequest& message) {
  if (message.asker != from) return;
  const NodeId source = jobs_.ProgramSource(message.job, from, [this](NodeId node) { return nodes_.contains(node); });
  if (source != 0) return Send(source, message);
  rpc::ProgramInfo none;
  none.job = message.job;
  none.error = jobs_.runs(message.job)
                   ? "every node that had the program of job " + std::to_string(message.job) + " is dead"
                   : "job " + std::to_string(message.job) + " has ended";
  Send(from, std::move(none));
}

void HeadCore::Impl::OnMessage(NodeId, rpc::JobEnd& message) { EndJob(message.job); }

void HeadCore::Impl::OnMessage(NodeId from, rpc::ProcessDied& message) {
  if (message.process.node != from) return;
  ActorDirectory::Output output;
  directory_.ProcessDied(message.process, message.reason, &output);
  CarryOut(output);
}

void HeadCore::Impl::OnMessage(NodeId, rpc::ActorCreate& message) {
  const rpc::ActorSpec& spec = message.spec;
  ActorDirectory::Output output;
  if (directory_.Find(spec.actor) != nullptr) {
    directory_.Create(spec, &output);  // again: the answer got lost with an earlier head
    return CarryOut(output);
  }
  if (!jobs_.runs(spec.job)) {
    return Refuse(spec, MakeError(rpc::ErrorCode::kShutdown, "the actor's job has ended"));
  }
  if (spec.detached && options_.embedded) {
    directory_.CreateRefused(spec,
                             MakeError(rpc::ErrorCode::kInvalidArgument,
                                       "Lifetime(kDetached): an embedded cluster ends with its program; start one that "
                                       "does not with `manta start --head`, and the program with its address"),
                             &output);
    return CarryOut(output);
  }
  if (ArgsBytes(spec) > kActorArgsBytesMax) {
    directory_.CreateRefused(
        spec,
        MakeError(rpc::ErrorCode::kInvalidArgument, "the arguments of a named or restartable actor are limited to " +
                                                        std::to_string(kActorArgsBytesMax) + " bytes, these have " +
                                                        std::to_string(ArgsBytes(spec)) +
                                                        ": Put the large ones and pass their refs"),
        &output);
    return CarryOut(output);
  }
  if (!spec.name.empty()) {
    const ActorId holder = names_.Take(spec.name_space, spec.name, spec.actor);
    if (MANTA_RULE("head.name_once") && holder != spec.actor) {
      const rpc::ErrorInfo taken =
          MakeError(rpc::ErrorCode::kNameTaken, "the name '" + spec.name + "' in namespace '" + spec.name_space +
                                                    "' belongs to actor " + ToString(holder));
      if (spec.get_if_exists) return Refuse(spec, taken, holder);
      directory_.CreateRefused(spec, taken, &output);
      return CarryOut(output);
    }
  }
  directory_.Create(spec, &output);
  CarryOut(output);
  if (spec.detached && directory_.detached(spec.job) == 1) TellOfDetached(spec.job);
}

void HeadCore::Impl::OnMessage(NodeId from, rpc::ActorStarted& message) {
  ActorDirectory::Output output;
  directory_.Started(message, from, &output);
  CarryOut(output);
}

void HeadCore::Impl::OnMessage(NodeId, rpc::ActorEnded& message) {
  ActorDirectory::Output output;
  directory_.Ended(message, &output);
  CarryOut(output);
}

// It may come by way of the creator's node, but never before the actor's creation.
void HeadCore::Impl::OnMessage(NodeId, rpc::ActorWatch& message) {
  if (!nodes_.contains(message.watcher.node)) return;
  if (MANTA_RULE("head.answer_late_watch") && directory_.Find(message.actor) == nullptr) return AnswerLate(message);
  ActorDirectory::Output output;
  directory_.Watch(message, &output);
  CarryOut(output);
}

// Its record has been erased, or nobody will create it any more; an update that said so may have been lost.
void HeadCore::Impl::AnswerLate(const rpc::ActorWatch& watch) {
  rpc::ActorUpdate update;
  update.actor = watch.actor;
  update.watcher = watch.watcher;
  update.version = UINT64_MAX;  // nothing comes after it
  update.state = rpc::ActorState::kDead;
  update.error = nodes_.contains(watch.actor.creator.node)
                     ? MakeError(rpc::ErrorCode::kActorDied, "the actor has ended: its last handle is gone")
                     : MakeError(rpc::ErrorCode::kNodeDied, "the node that counted the actor's handles died");
  Send(watch.watcher.node, std::move(update));
}

void HeadCore::Impl::OnMessage(NodeId, rpc::ActorKill& message) {
  ActorDirectory::Output output;
  directory_.Kill(message, &output);
  CarryOut(output);
}

// Anonymous actors are their creator's node's.
void HeadCore::Impl::OnEvent(KillActorAsked& asked) {
  const rpc::ActorKill kill{.actor = asked.actor, .no_restart = asked.no_restart};
  if (directory_.Find(asked.actor) == nullptr) return Send(asked.actor.creator.node, kill);
  ActorDirectory::Output output;
  directory_.Kill(kill, &output);
  CarryOut(output);
}

void HeadCore::Impl::OnMessage(NodeId from, rpc::ActorLookup& message) {
  rpc::ActorFound found;
  found.asker = message.asker;
  found.request = message.request;
  found.actor = names_.Find(message.name_space, message.name);
  if (const ActorDirectory::Record* record = directory_.Find(found.actor)) {
    found.max_concurrency = record->spec.max_concurrency;
  }
  Send(from, std::move(found));
}

// ---------------------------------------------------------------- nodes

void HeadCore::Impl::Welcome(NodeId id, uint64_t connection, rpc::NodeRegister message) {
  const bool again = message.info.node == id;
  message.info.node = id;
  Node& node = nodes_[id];
  node.info = std::move(message.info);
  node.placed = {};
  node.registered = true;
  node.connected = true;
  detector_.Watch(id, now_);
  Write(head_records::NodeKey(id), head_records::PackNode(node.info));
  if (connection != 0) {
    Emit(AcceptNode{connection, {.node = id, .head_epoch = options_.epoch}});
  } else {
    Send(id, rpc::NodeAccepted{.node = id, .head_epoch = options_.epoch});
  }
  view_changed_ = true;
  if (!again) return;
  SendObituaries(id);
  for (const JobId job : jobs_.DrivenFrom(id)) {
    if (directory_.detached(job) != 0) TellOfDetached(job);
  }
  ActorDirectory::Output output;
  directory_.NodeReturned(id, message.actors, message.ended, &output);
  CarryOut(output);
}

void HeadCore::Impl::DeclareDead(NodeId node, const std::string& reason) {
  const auto it = nodes_.find(node);
  if (it == nodes_.end()) return;
  gone_infos_[head_records::GoneNodeKey(node)] = std::move(it->second.info);
  nodes_.erase(it);
  detector_.Forget(node);
  Log(LogLine::Level::kWarning, "node " + ToString(DaemonOf(node)) + " is dead: " + reason);
  Write(head_records::NodeKey(node), std::nullopt);
  Remember(&gone_nodes_, head_records::GoneNodeKey(node), reason);
  view_changed_ = true;
  for (const auto& [other, unused] : nodes_) Send(other, rpc::NodeDied{node, reason});
  for (const JobId job : jobs_.DrivenFrom(node)) EndJob(job);
  ActorDirectory::Output output;
  directory_.NodeDied(node, reason, &output);
  CarryOut(output);
}

void HeadCore::Impl::SendView() {
  rpc::ClusterView view;
  view.version = ++view_version_;
  for (const auto& [id, node] : nodes_) {
    view.nodes.push_back(node.info);
    // Known from an earlier life of the head, and not heard of since: nothing is sent there for its room.
    if (!node.registered) view.nodes.back().available = {};
  }
  for (const auto& [id, node] : nodes_) Send(id, view);
  view_changed_ = false;
  view_stale_ = false;
  view_due_ = now_ + kViewInterval * (1 + nodes_.size() / kNodesPerViewInterval);
}

// What a node may have missed while the head, or the connection to it, was away.
void HeadCore::Impl::SendObituaries(NodeId node) {
  for (const std::string& key : gone_nodes_) {
    if (const auto number = head_records::NumberOf(key); number.ok())
      Send(node, rpc::NodeDied{*number, obituaries_[key]});
  }
  for (const std::string& key : gone_jobs_) {
    if (const auto number = head_records::NumberOf(key); number.ok()) Send(node, rpc::JobEnd{*number});
  }
}

void HeadCore::Impl::AdvanceTimers() {
  const FailureDetector::Verdict verdict = detector_.Advance(now_);
  for (const NodeId node : verdict.suspected) {
    Log(LogLine::Level::kWarning, "node " + ToString(DaemonOf(node)) + " is silent");
  }
  for (const NodeId node : verdict.dead) {
    DeclareDead(node, "silent for " + ToString(options_.dead_after));
  }
}

// ---------------------------------------------------------------- jobs and actors

// Its driver is gone. While detached actors of it live, nodes are not told: their workers and its program stay.
void HeadCore::Impl::EndJob(JobId job) {
  if (directory_.detached(job) != 0) {
    if (!jobs_.Linger(job)) return;
    Write(head_records::LingeringJobKey(job), "");
    ActorDirectory::Output output;
    directory_.JobEnded(job, &output);
    return CarryOut(output);
  }
  if (jobs_.is_over(job)) Write(head_records::LingeringJobKey(job), std::nullopt);
  if (!jobs_.End(job)) return;
  Write(head_records::JobKey(job), std::nullopt);
  Remember(&gone_jobs_, head_records::GoneJobKey(job), "");
  ActorDirectory::Output output;
  directory_.JobEnded(job, &output);
  CarryOut(output);
  for (const auto& [node, unused] : nodes_) Send(node, rpc::JobEnd{job});
}

// The driver's node, which else ends the job by itself when the driver goes.
void HeadCore::Impl::TellOfDetached(JobId job) {
  const auto it = jobs_.jobs().find(job);
  if (it == jobs_.jobs().end() || it->second.over) return;
  const ProcessId driver = it->second.driver;
  Send(driver.node, rpc::JobAccepted{.driver = driver, .job = job, .has_detached = true});
}

// Answers without a record: nobody could ever erase it, or (`instead`) nobody but the creator knows the actor.
void HeadCore::Impl::Refuse(const rpc::ActorSpec& spec, rpc::ErrorInfo error, ActorId instead) {
  rpc::ActorUpdate update;
  update.actor = spec.actor;
  update.watcher = spec.actor.creator;
  update.version = 1;
  update.state = rpc::ActorState::kDead;
  update.error = std::move(error);
  update.instead = instead;
  Send(spec.actor.creator.node, std::move(update));
}

void HeadCore::Impl::CarryOut(const ActorDirectory::Output& output) {
  std::set<JobId> jobs_over;  // the last detached actor of them has died
  for (const ActorId actor : std::set<ActorId>(output.changed.begin(), output.changed.end())) {
    const ActorDirectory::Record* record = directory_.Find(actor);
    if (record == nullptr) continue;
    Write(head_records::ActorKey(actor), head_records::PackActor(*record));
  }
  for (const ActorId actor : output.erased) Write(head_records::ActorKey(actor), std::nullopt);
  for (const ActorDirectory::Dead& dead : output.dead) {
    names_.Free(dead.name_space, dead.name, dead.actor);
    if (dead.detached && directory_.detached(dead.job) == 0 && jobs_.is_over(dead.job)) jobs_over.insert(dead.job);
  }
  for (const ActorDirectory::Stop& stop : output.stops) {
    Send(stop.node,
         rpc::ActorKill{
             .actor = stop.actor, .no_restart = true, .graceful = stop.graceful, .incarnation = stop.incarnation});
  }
  for (const ActorDirectory::Restart& restart : output.restarts) {
    Send(restart.node, rpc::ActorStart{directory_.Find(restart.actor)->spec, restart.incarnation});
  }
  wanted_.insert(wanted_.end(), output.places.begin(), output.places.end());
  for (const rpc::ActorUpdate& update : output.updates) Send(update.watcher.node, update);
  for (const JobId job : jobs_over) EndJob(job);
}

// Those that are wanted since the last time; all that wait, when something may have changed for them.
void HeadCore::Impl::PlaceActors() {
  std::vector<ActorDirectory::Place> places = std::exchange(wanted_, {});
  if (now_ >= place_due_) {
    place_due_ = kInfiniteFuture;
    places = directory_.unplaced();
  }
  ActorDirectory::Output output;
  for (const ActorDirectory::Place& place : places) {
    if (place.incarnation > 1 && now_ < grace_end_) {
      place_due_ = std::min(place_due_, grace_end_);
      continue;
    }
    const ActorDirectory::Record* record = directory_.Find(place.actor);
    const bool wanted = record != nullptr && record->state != rpc::ActorState::kDead && record->node == 0;
    if (!wanted || record->incarnation != place.incarnation) continue;
    const rpc::ActorSpec& spec = record->spec;
    const NodeId only = spec.hint.affinity_hard ? spec.hint.affinity : 0;
    if (only != 0 && !nodes_.contains(only)) {
      directory_.CannotBePlaced(place.actor, WhyNever(only, only < next_node_), &output);
      CarryOut(std::exchange(output, {}));
      continue;
    }
    const NodeId node = ChooseNode(spec, place.last_node);
    if (node == 0) {
      place_due_ = std::min(place_due_, now_ + kPlacementRetry);
      TellWhyUnplaced(spec);
      continue;
    }
    nodes_.at(node).placed.Add(spec.placement);
    directory_.PlacedAt(place.actor, place.incarnation, node, &output);
    CarryOut(std::exchange(output, {}));
    Send(node, rpc::ActorStart{spec, place.incarnation});
  }
}

void HeadCore::Impl::TellWhyUnplaced(const rpc::ActorSpec& spec) {
  std::vector<rpc::NodeInfo> infos;
  for (const auto& [id, node] : nodes_) infos.push_back(node.info);
  const std::string why = WhyWaiting(spec.placement, infos);
  ActorDirectory::Output output;
  const bool is_news = directory_.SetWaiting(spec.actor, why, &output);
  CarryOut(output);
  if (is_news) {
    Log(LogLine::Level::kWarning,
        "actor " + ToString(spec.actor) + " (" + spec.class_name + ") can live nowhere now: " + why);
  }
}

// A node with room, better not the one where it was lost (unless it wants to be there). If none has room now, one that
// could have: it queues the start.
NodeId HeadCore::Impl::ChooseNode(const rpc::ActorSpec& spec, NodeId last_node) {
  std::vector<rpc::NodeInfo> others, all, empty;
  for (const auto& [id, node] : nodes_) {
    if (!node.registered || !node.connected || detector_.suspected(id)) continue;
    all.push_back(node.info);
    all.back().available.SubtractAllowNegative(node.placed);
    empty.push_back(node.info);
    empty.back().available = node.info.total;
    if (id != last_node) others.push_back(all.back());
  }
  SchedulingDemand demand = ToDemand(spec.placement, spec.hint);
  demand.strategy = SchedulingDemand::Strategy::kSpread;
  const uint64_t seed = rng_.Next();
  NodeId node = demand.affinity == 0 ? PickNode(demand, others, seed) : 0;
  if (node == 0) node = PickNode(demand, all, seed);
  if (node == 0) node = PickNode(demand, empty, seed);
  return node;
}

// ---------------------------------------------------------------- output

void HeadCore::Impl::Send(NodeId node, rpc::Message message) {
  if (nodes_.contains(node)) Emit(SendMessage{DaemonOf(node), std::move(message)});
}

// Sends leave in order, and none before what was written before it is durable.
void HeadCore::Impl::Emit(HeadAction action) {
  if (persisted_ >= batch_ && held_.empty()) {
    actions_->push_back(std::move(action));
  } else {
    held_.push_back({batch_, std::move(action)});
  }
}

void HeadCore::Impl::Write(const std::string& key, std::optional<std::string> value) {
  if (!wrote_) {
    wrote_ = true;
    ++batch_;
  }
  actions_->push_back(Persist{batch_, key, std::move(value)});
}

void HeadCore::Impl::Remember(std::deque<std::string>* keys, const std::string& key, const std::string& value) {
  Write(key, value);
  obituaries_[key] = value;
  keys->push_back(key);
  while (keys->size() > kObituariesMax) {
    Write(keys->front(), std::nullopt);
    obituaries_.erase(keys->front());
    gone_infos_.erase(keys->front());
    keys->pop_front();
  }
}

void HeadCore::Impl::Log(LogLine::Level level, std::string text) {
  actions_->push_back(LogLine{level, std::move(text)});
}

// ---------------------------------------------------------------- the public class

HeadCore::HeadCore(HeadOptions options, Time now, const std::map<std::string, std::string>& stored)
    : impl_(std::make_unique<Impl>(options, now, stored)) {}
HeadCore::~HeadCore() = default;

void HeadCore::Handle(Time now, HeadEvent event, std::vector<HeadAction>* actions) {
  impl_->Handle(now, std::move(event), actions);
}
Time HeadCore::next_deadline() const { return impl_->next_deadline(); }
HeadCounts HeadCore::counts() const {
  return {.nodes_alive = impl_->nodes_.size(),
          .jobs = impl_->jobs_.size(),
          .actors = impl_->directory_.live(),
          .names = impl_->names_.size()};
}

}  // namespace manta::runtime

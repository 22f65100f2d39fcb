#include "runtime/node/node_core.h"

#include <algorithm>
#include <utility>

#include "base/rule.h"
#include "runtime/node/node_core_impl.h"

namespace manta::runtime {

NodeEvent::NodeEvent() noexcept = default;
NodeEvent::NodeEvent(const NodeEvent& other) = default;
NodeEvent::NodeEvent(NodeEvent&& other) noexcept = default;
NodeEvent& NodeEvent::operator=(const NodeEvent& other) = default;
NodeEvent& NodeEvent::operator=(NodeEvent&& other) noexcept = default;
NodeEvent::~NodeEvent() = default;

NodeAction::NodeAction() noexcept = default;
NodeAction::NodeAction(const NodeAction& other) = default;
NodeAction::NodeAction(NodeAction&& other) noexcept = default;
NodeAction& NodeAction::operator=(const NodeAction& other) = default;
NodeAction& NodeAction::operator=(NodeAction&& other) noexcept = default;
NodeAction::~NodeAction() = default;

using node::LocalProcess;
using node::ProcessTable;
using node::WorkerPool;

NodeCore::Impl::Impl(NodeOptions node_options)
    : options_(std::move(node_options)),
      address_(options_.address),
      rng_(options_.seed),
      pool_({.task_workers_max = options_.task_workers_max,
             .actor_workers_max = options_.actor_workers_max,
             .worker_idle = options_.worker_idle,
             .workers_kept = options_.workers_kept,
             .start_timeout = options_.worker_start_timeout}),
      leases_(options_.total),
      home_(&deaths_),
      store_(options_.store_bytes_max) {}

void NodeCore::Impl::Handle(Time now, NodeEvent event, std::vector<NodeAction>* actions) {
  if (ended_) return;
  now_ = now;
  actions_ = actions;
  deaths_.Advance(now);
  std::visit([this](auto& what) { On(what); }, event);
  if (!ended_) Settle();
  actions_ = nullptr;
}

// What follows from the event, in the order in which one thing makes room for the next.
void NodeCore::Impl::Settle() {
  AdvanceWorkers();
  if (std::exchange(serve_actors_, false)) {
    PlaceActors();
    ServeHosts();
    serve_leases_ = true;
  }
  if (std::exchange(serve_leases_, false)) ServeLeases();
  store::ObjectTable::Actions store_actions;
  store_.Advance(now_, &store_actions);
  CarryOut(std::move(store_actions));
  AdvanceReports();
}

// ---------------------------------------------------------------- messages

void NodeCore::Impl::On(MessageReceived& event) {
  const ProcessId from = event.from;
  // The dead have nothing more to say, and what a process said before it was connected is nobody's word.
  if (MANTA_RULE("node.fence")) {
    if (deaths_.IsDead(from)) return;
    if (from.is_user_process() && processes_.Find(from) == nullptr) return;
  }
  std::visit([&](auto& message) { OnMessage(from, message); }, event.message);
}

void NodeCore::Impl::SendNode(NodeId node, rpc::Message message) {
  if (!IsMe(node)) {
    if (node != 0 && !deaths_.IsDead(DaemonOf(node))) Send(DaemonOf(node), std::move(message));
    return;
  }
  std::visit([this](auto& what) { OnMessage(DaemonOf(self_), what); }, message);
}

void NodeCore::Impl::SendHead(rpc::Message message) {
  if (head_accepted_) {
    Send(kHead, std::move(message));
  } else if (head_connected_) {
    head_backlog_.push_back(std::move(message));
  }  // else the next registration, and ResendToHead, say what counts
}

// ---------------------------------------------------------------- processes

void NodeCore::Impl::On(HelloReceived& event) {
  if (self_ == 0) {
    early_hellos_.push_back(event);
  } else if (!AdmitHello(event)) {
    Emit(Refuse{event.connection, "process " + ToString(event.hello.process) + " is not expected here"});
  }
}

bool NodeCore::Impl::AdmitHello(HelloReceived& event) {
  if (event.hello.kind == rpc::ProcessKind::kDriver) {
    if (event.hello.process != ProcessId()) return false;
    SendHead(processes_.Apply(self_, event.connection, event.hello));
    return true;
  }
  if (event.hello.kind != rpc::ProcessKind::kWorker) return false;
  if (MANTA_RULE("node.expected_worker") && !pool_.Connected(event.hello.process, now_)) return false;
  WelcomeWorker(event);
  return true;
}

void NodeCore::Impl::WelcomeWorker(const HelloReceived& event) {
  const WorkerPool::Worker* worker = pool_.Find(event.hello.process);
  const JobId job = worker == nullptr ? event.hello.job : worker->job;
  processes_.Add(
      {event.hello.process, rpc::ProcessKind::kWorker, job, event.hello.pid, event.hello.address, event.hello.program});
  rpc::ProcessWelcome welcome;
  welcome.process = event.hello.process;
  welcome.job = job;
  welcome.name_space = "job-" + std::to_string(job);
  Emit(Welcome{event.connection, std::move(welcome)});
  serve_actors_ = true;
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::JobAccepted& message) {
  if (!from.is_head()) return;
  if (message.has_detached) detached_jobs_.insert(message.job);
  std::optional<ProcessTable::Applicant> driver = processes_.Admit(message);
  if (!driver) return;
  processes_.Add({driver->id, rpc::ProcessKind::kDriver, message.job, driver->pid, driver->address, driver->program});
  jobs_here_.insert(message.job);
  rpc::ProcessWelcome welcome;
  welcome.process = driver->id;
  welcome.job = message.job;
  welcome.name_space = "job-" + std::to_string(message.job);
  Emit(Welcome{driver->connection, std::move(welcome)});
}

void NodeCore::Impl::On(StartFailed& event) { WorkerStartFailed(event.worker, event.why, true); }

void NodeCore::Impl::On(ProcessEnded& event) {
  const ProcessId process = event.process;
  const LocalProcess* known = processes_.Find(process);
  if (known == nullptr) {
    // A worker that never said hello; nobody has heard of it.
    const WorkerPool::Worker* worker = pool_.Find(process);
    if (worker == nullptr) return;
    if (worker->state == WorkerPool::State::kStarting) return WorkerStartFailed(process, event.reason, true);
    const JobId job = worker->job;
    pool_.Remove(process);
    serve_actors_ = true;
    return TellJobGone(job);
  }
  const LocalProcess gone = *known;
  const WorkerPool::Worker* worker = pool_.Find(process);
  const std::string reason = worker == nullptr || worker->last_word.empty() ? event.reason : worker->last_word;
  RememberDeath(gone, worker, reason);
  processes_.Remove(process);
  node::DeathTable::Output answered;
  deaths_.LocalGone(process, &answered);
  CarryOut(std::move(answered));
  store::ObjectTable::Actions store_actions;
  store_.ProcessDied(process, &store_actions);
  CarryOut(std::move(store_actions));
  for (auto& [segment, holders] : segment_holders_) holders.erase(process);
  EndWorker(process, reason);
  rpc::ProcessDied death;
  death.process = process;
  death.reason = reason;
  death.newest_node = peers_.newest();
  for (const NodeId node : peers_.others()) Send(DaemonOf(node), death);
  SendHead(death);
  BeginDeath(death);
  if (gone.kind == rpc::ProcessKind::kDriver && !ended_jobs_.Contains(gone.job)) DriverDone(gone.job);
  TellJobGone(gone.job);
}

// ---------------------------------------------------------------- jobs

void NodeCore::Impl::OnMessage(ProcessId from, rpc::JobEnd& message) {
  if (from.is_head()) {
    job_ends_untold_.erase(message.job);
    detached_jobs_.erase(message.job);
    return EndJob(message.job);
  }
  const LocalProcess* driver = processes_.Find(from);
  if (driver != nullptr && driver->kind == rpc::ProcessKind::kDriver && driver->job == message.job) {
    DriverDone(message.job);
  }
}

// What it held ends with it in any case; the job's workers stay while detached actors may need them.
void NodeCore::Impl::DriverDone(JobId job) {
  job_ends_untold_.insert(job);
  SendHead(rpc::JobEnd{job});
  if (!detached_jobs_.contains(job)) EndJob(job);
}

void NodeCore::Impl::EndJob(JobId job) {
  if (!ended_jobs_.Insert(job)) return;
  for (const node::LeaseQueue::Key& key : queue_.OfJob(job)) queue_.Remove(key);
  for (const ActorId actor : hosts_.OfJob(job)) {
    node::ActorHosts::Host* host = hosts_.Find(actor);
    if (host->state == node::ActorHosts::State::kPlaced) leases_.End(host->lease);
    hosts_.Remove(actor);
  }
  ActorDirectory::Output output;
  directory_.JobEnded(job, &output);
  CarryOut(output);
  routes_.ForgetJob(job);
  pool_.ForgetFailures(job);
  for (const ProcessId worker : pool_.OfJob(job)) {
    StopWorker(worker, false, SaturatingAdd(now_, kExitGrace), "job " + std::to_string(job) + " has ended");
  }
  serve_actors_ = true;
  TellJobGone(job);
}

void NodeCore::Impl::TellJobGone(JobId job) {
  if (!ended_jobs_.Contains(job) || pool_.HasJob(job) || processes_.HasDriverOf(job)) return;
  if (jobs_here_.erase(job) != 0) Emit(JobGone{job});
}

// ---------------------------------------------------------------- the head

void NodeCore::Impl::On(HeadConnected&) {
  head_connected_ = true;
  RegisterAtHead();
}

void NodeCore::Impl::On(HeadLost&) {
  head_connected_ = false;
  head_accepted_ = false;
  head_backlog_.clear();
}

void NodeCore::Impl::RegisterAtHead() {
  rpc::NodeRegister message;
  message.info = OwnInfo();
  message.actors = hosts_.registered_alive();
  message.ended = hosts_.ends();
  reported_ = leases_.available();
  Send(kHead, std::move(message));
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::NodeAccepted& message) {
  if (!from.is_head()) return;
  if (message.node == 0 || (self_ != 0 && message.node != self_)) {
    return StartNewLife("the head has given this node up and does not take it back");
  }
  head_accepted_ = true;
  report_at_ = SaturatingAdd(now_, options_.report_interval);
  heartbeat_at_ = now_;
  for (rpc::Message& waiting : std::exchange(head_backlog_, {})) Send(kHead, std::move(waiting));
  if (self_ == 0) {
    self_ = message.node;
    deaths_.SetSelf(self_);
    home_.SetSelf(self_);
    peers_.SetSelf(self_);
    store_.SetNode(self_);
    node::DeathTable::Output output;
    deaths_.SetNodes(peers_.alive(), peers_.newest(), &output);
    CarryOut(std::move(output));
    for (HelloReceived& hello : std::exchange(early_hellos_, {})) On(hello);
  } else {
    ResendToHead();
  }
}

// A new head, or one that was away, has not heard or has forgotten these.
void NodeCore::Impl::ResendToHead() {
  for (const JobId job : job_ends_untold_) SendHead(rpc::JobEnd{job});
  for (rpc::JobRegister& message : processes_.waiting()) SendHead(std::move(message));
  for (rpc::Message& message : routes_.to_head()) SendHead(std::move(message));
  for (const rpc::ActorWatch& watch : routes_.unanswered()) RouteWatch(watch);
  for (const rpc::ActorKill& kill : routes_.KillsOf(0)) RouteKill(DaemonOf(self_), kill);
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::NodeFenced&) {
  if (from.is_head()) StartNewLife("the head has declared this node dead");
}

void NodeCore::Impl::StartNewLife(const std::string& reason) {
  for (const auto& [id, process] : processes_.all()) {
    if (process.kind == rpc::ProcessKind::kWorker) Emit(KillProcess{id, reason});
  }
  Emit(EndDaemon{reason, true});
  ended_ = true;
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::ClusterView& message) {
  if (!from.is_head()) return;
  const std::vector<rpc::Message> news = deaths_.Recent();
  for (const NodeId fresh : peers_.Update(message)) {
    for (const rpc::Message& what : news) SendNode(fresh, what);
  }
  node::DeathTable::Output output;
  deaths_.BeginAmong(peers_.alive(), &output);
  deaths_.SetNodes(peers_.alive(), peers_.newest(), &output);
  CarryOut(std::move(output));
  for (auto& [key, update] : std::exchange(held_updates_, {})) RouteUpdate(std::move(update), false);
  serve_actors_ = true;
}

void NodeCore::Impl::OnMessage(ProcessId from, rpc::NodesQuery& message) {
  if (!from.is_user_process()) return;
  std::vector<rpc::NodeInfo> infos = AllInfos();
  std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.node < b.node; });
  Send(from, rpc::NodesReply{message.request, std::move(infos)});
}

rpc::NodeInfo NodeCore::Impl::OwnInfo() const {
  rpc::NodeInfo info;
  info.node = self_;
  info.name = options_.name;
  info.address = address_;
  info.pid = options_.pid;
  info.machine = options_.machine;
  info.beside_head = options_.beside_head;
  info.total = leases_.total();
  info.available = leases_.available();
  info.version = report_version_;
  return info;
}

std::vector<rpc::NodeInfo> NodeCore::Impl::AllInfos() const {
  std::vector<rpc::NodeInfo> infos = peers_.infos();
  infos.insert(infos.begin(), OwnInfo());
  return infos;
}

// ---------------------------------------------------------------- timers

void NodeCore::Impl::AdvanceWorkers() {
  for (const ProcessId worker : pool_.TooSlow(now_)) {
    WorkerStartFailed(worker, "it did not say hello within " + ToString(options_.worker_start_timeout), false);
  }
  for (const ProcessId worker : pool_.TooIdle(now_)) StopWorker(worker, true, kInfiniteFuture, "it is idle");
  for (const ProcessId worker : pool_.ToKill(now_)) Emit(KillProcess{worker, "it did not end when told to"});
  if (hosts_.next_deadline() <= now_) serve_actors_ = true;
}

void NodeCore::Impl::AdvanceReports() {
  if (!head_accepted_) return;
  if (now_ >= heartbeat_at_) {
    Send(kHead, rpc::Heartbeat{self_, ++heartbeats_});
    heartbeat_at_ = SaturatingAdd(now_, options_.heartbeat);
  }
  if ((asked_by_others_ || reported_ != leases_.available()) && now_ >= report_at_) {
    ++report_version_;
    Send(kHead, rpc::NodeReport{OwnInfo()});
    reported_ = leases_.available();
    asked_by_others_ = false;
    report_at_ = SaturatingAdd(now_, options_.report_interval);
  }
}

Time NodeCore::Impl::next_deadline() const {
  if (ended_) return kInfiniteFuture;
  Time next = std::min({pool_.next_deadline(), store_.next_deadline(), hosts_.next_deadline()});
  if (head_accepted_) {
    next = std::min(next, heartbeat_at_);
    if (asked_by_others_ || reported_ != leases_.available()) next = std::min(next, report_at_);
  }
  return next;
}

NodeCounts NodeCore::Impl::counts() const {
  NodeCounts counts;
  counts.processes = processes_.all().size();
  counts.workers_idle = pool_.idle();
  counts.leases = leases_.size();
  counts.lease_requests = queue_.size();
  counts.home_entries = home_.entry_count();
  counts.home_tickets = home_.ticket_count();
  counts.home_tombstones = home_.tombstone_count();
  counts.store_objects = store_.object_count();
  counts.store_bytes = store_.sealed_bytes();
  counts.pulls = pulls_.size();
  counts.actors = hosts_.size();
  counts.directory_actors = directory_.size();
  counts.available = leases_.available();
  return counts;
}

// ---------------------------------------------------------------- the public class

NodeCore::NodeCore(NodeOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
NodeCore::~NodeCore() = default;

void NodeCore::Handle(Time now, NodeEvent event, std::vector<NodeAction>* actions) {
  impl_->Handle(now, std::move(event), actions);
}
Time NodeCore::next_deadline() const { return impl_->next_deadline(); }
NodeCounts NodeCore::counts() const { return impl_->counts(); }
NodeId NodeCore::node() const { return impl_->self_; }
void NodeCore::SetAddress(std::string address) { impl_->address_ = std::move(address); }

}  // namespace manta::runtime

#include "tests/sim/world.h"

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "tests/sim/describe.h"
#include "tests/sim/head_host.h"
#include "tests/sim/node_host.h"
#include "tests/sim/process_host.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kEventsMax = 1'000'000;
constexpr uint64_t kChunksPerTransferFault = 6;
constexpr uint64_t kObjectsPerDamaged = 4;
constexpr uint64_t kOperationsPerDiskFault = 12;
constexpr Duration kWorkMax = seconds(400);  // virtual time until the calls are made
constexpr Duration kWaitMax = seconds(60);   // after the last fault every wait ends

}  // namespace

World::World(const RunOptions& options)
    : options_(options),
      workload_(options.workload != nullptr ? options.workload : &By(options.seed, Workloads())),
      mix_(options.mix != nullptr ? *options.mix : By(options.seed / Workloads().size(), FaultMixes())),
      rng_(options.seed * 0x9E3779B97F4A7C15u + 1),
      trace_(options.trace),
      network_(&queue_, &trace_, rng_.Fork()),
      oracle_(&queue_),
      redis_(&queue_, rng_.Fork(), [this](std::string what) { oracle_.Violate(std::move(what)); }),
      disk_(rng_.Fork()) {
  base::Log::SetLevel(base::LogLevel::kOff);  // shells' own code says what happens to it
  if (mix_.redis > 0) disk_.FailOneIn(kOperationsPerDiskFault);
}

World::~World() {
  ending_ = true;
  hosts_.clear();
}

RunReport World::Run() {
  Start();
  const bool worked = RunUntil([this] { return !WantsMore(); }, kWorkMax);
  if (!worked)
    oracle_.Violate("only " + std::to_string(oracle_.calls()) + " calls were made; waiting:" + WhoIsNotDone());
  faults_over_ = true;
  network_.StopFaults();
  planned_.clear();
  Heal();
  disk_.FailOneIn(0);
  redis_.Repair();
  if (oracle_.violations().empty()) {
    if (!RunUntil([this] { return MainsAreDone(); }, kWaitMax)) oracle_.Violate("waits do not end:" + WhoIsNotDone());
  }
  if (oracle_.violations().empty() && workload_->last != nullptr) RunLastDriver();
  if (oracle_.violations().empty()) AuditHeld();
  if (oracle_.violations().empty()) AuditEnd();
  return Report();
}

// ---------------------------------------------------------------- the cluster

void World::Start() {
  network_.SetMix(mix_);
  network_.on_ring_death = [this](Host* sender, const std::string& why) {
    ++faults_.ring_deaths;
    if (auto* process = dynamic_cast<ProcessHost*>(sender)) return Kill(process, why);
    KillNode(static_cast<NodeHost*>(sender), why);
  };
  network_.on_violation = [this](std::string what) { oracle_.Violate(std::move(what)); };
  oracle_.memory_may_run_out = workload_->memory_may_run_out;
  StartHead();
  const int nodes =
      workload_->nodes_min + static_cast<int>(rng_.Uniform(workload_->nodes_max - workload_->nodes_min + 1));
  machines_.resize(nodes + 1);
  for (int machine = 1; machine <= nodes; ++machine) {
    runtime::NodeOptions& options = machines_[machine].options;
    options.name = "m" + std::to_string(machine);
    options.address = "sim:" + std::to_string(machine);
    options.total.Set("CPU", base::Fixed(workload_->cpus));
    options.store_bytes_max = workload_->store_bytes;
    StartNode(machine);
  }
  PlanFaults();
  RunFor(milliseconds(200));
}

void World::StartHead() {
  auto head = std::make_unique<HeadHost>(this, ++lives_);
  head_ = head.get();
  hosts_.push_back(std::move(head));
  head_->Start();
}

HeadHost* World::head() const { return head_ != nullptr && head_->serves() ? head_ : nullptr; }

void World::HeadGone(HeadHost* head) {
  if (ending_ || head_ != head) return;  // else: replaced long ago
  head_ = nullptr;
  for (const Machine& machine : machines_) {
    if (machine.node == nullptr) continue;
    queue_.After(microseconds(rng_.Between(100, 50'000)), [node = machine.node, head, this] {
      if (head_ != head) node->OnHeadGone();
    });
  }
  queue_.After(milliseconds(rng_.Between(60, 2'000)), [this] {
    if (head_ == nullptr) StartHead();
  });
}

void World::StartNode(int machine) {
  Machine& place = machines_[machine];
  place.options.seed = rng_.Next();
  auto node = std::make_unique<NodeHost>(this, machine, place.options);
  place.node = node.get();
  hosts_.push_back(std::move(node));
  place.node->Start();
}

void World::NodeJoined(NodeHost* node) { nodes_[node->id()] = node; }

NodeHost* World::FindNode(NodeId node) const {
  const auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : it->second;
}

void World::NodeGone(NodeHost* node) {
  if (ending_) return;
  if (node->id() != 0) oracle_.NodeDied(node->id());
  for (ProcessHost* const process : node->processes()) {
    if (!process->alive()) continue;
    if (process->is_driver()) {
      // It learns of it when it has read what the daemon wrote.
      queue_.After(microseconds(rng_.Between(100, 12'000)), [process] {
        process->OnDaemonGone();
        if (process->main_done()) process->Die("its node is gone");
      });
    } else {
      oracle_.ProcessDied(process->id());
      queue_.After(microseconds(rng_.Between(0, 2'000)), [process] { process->Die("its node is gone"); });
    }
  }
  Machine& place = machines_[node->machine()];
  if (place.node == node) place.node = nullptr;
  queue_.After(milliseconds(rng_.Between(100, 1'500)), [this, machine = node->machine()] {
    if (machines_[machine].node == nullptr) StartNode(machine);
  });
}

void World::DaemonEnds(NodeHost* node, bool new_life) {
  if (new_life) ++faults_.fenced;
  for (ProcessHost* const process : node->processes()) {
    if (process->is_driver()) continue;
    oracle_.ProcessDied(process->id());
    process->Die("its node is fenced");
  }
  node->Die("ends");
}

ProcessHost* World::NewWorker(NodeHost* node, ProcessId id, JobId job) {
  auto process = std::make_unique<ProcessHost>(this, node, id, job, nullptr);
  ProcessHost* const result = process.get();
  hosts_.push_back(std::move(process));
  return result;
}

bool World::TransferFails() {
  if (faults_over_ || rng_.Uniform(kChunksPerTransferFault) != 0) return false;
  ++faults_.transfers;
  return true;
}

bool World::IsDamagedAt(NodeId source, const ObjectId& object, uint32_t attempt) const {
  uint64_t hash = options_.seed;
  for (const uint64_t part : {source, object.owner.node, object.owner.number, object.number, uint64_t{attempt}}) {
    hash = (hash ^ part) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return mix_.worker_kills > 0 && hash % kObjectsPerDamaged == 0;
}

bool World::StartFails() { return !faults_over_ && mix_.worker_kills > 4 && rng_.Uniform(100) == 0; }

void World::Joined(ProcessHost* process) { processes_[process->id()] = process; }

World::Connected World::ConnectNodes(NodeHost* from, NodeId to, bool data) {
  const auto it = nodes_.find(to);
  if (from->takes_for_dead(to)) return Connected::kRefused;
  // The head's view may name a node that has not heard of it itself.
  if (it == nodes_.end()) return Connected::kLater;
  if (!it->second->alive() || it->second->takes_for_dead(from->id())) return Connected::kRefused;
  Pipe* const pipe = network_.MakeSocket(from, it->second);
  pipe->peer[0] = DaemonOf(to);
  pipe->peer[1] = DaemonOf(from->id());
  from->AddPeer(to, data, pipe);
  it->second->AddPeer(from->id(), data, pipe);
  return Connected::kYes;
}

World::Connected World::ConnectProcesses(ProcessHost* from, ProcessId to) {
  const auto it = processes_.find(to);
  if (it == processes_.end() || !it->second->joined()) return Connected::kRefused;
  ProcessHost* const peer = it->second;
  if (network_.IsCut(from->machine(), peer->machine())) return Connected::kLater;
  const bool same = from->machine() == peer->machine();
  Pipe* const pipe = same ? network_.MakeRing(from, peer) : network_.MakeSocket(from, peer);
  pipe->peer[0] = to;
  pipe->peer[1] = from->id();
  from->AddPeer(to, pipe);
  peer->AddPeer(from->id(), pipe);
  return Connected::kYes;
}

namespace {

void Apply(const runtime::KvBatch& batch, RedisFacts* facts) {
  for (const auto& [key, value] : batch) {
    if (value) {
      (*facts)[key] = *value;
    } else {
      facts->erase(key);
    }
  }
}

}  // namespace

void World::HeadOpened(HeadHost* head, const RedisFacts& facts) {
  RedisFacts expected = acknowledged_;
  bool found = expected == facts;
  for (const runtime::KvBatch& batch : unacknowledged_) {
    if (found) break;
    Apply(batch, &expected);
    found = expected == facts;
  }
  if (!found) oracle_.Violate(head->label() + " does not find the facts that were acknowledged to the one before it");
  acknowledged_ = facts;
  unacknowledged_.clear();
  writer_ = head->life();
}

void World::Writes(HeadHost* head, const runtime::KvBatch& batch) {
  if (head->life() == writer_) unacknowledged_.push_back(batch);
}

void World::Wrote(HeadHost* head, uint64_t commit_seq) {
  if (!redis_.Holds(head->life(), commit_seq)) {
    oracle_.Violate(head->label() + " takes commit " + std::to_string(commit_seq) + " for done, which is not there");
  }
  if (head->life() != writer_) return;
  Apply(unacknowledged_.front(), &acknowledged_);
  unacknowledged_.pop_front();
}

void World::Constructs(ActorId actor, uint64_t incarnation, ProcessId where) {
  trace_.Note(now(), ToString(where), "construct", "",
              [&] { return ToString(actor) + " " + std::to_string(incarnation); });
  if (!constructed_.insert({actor, incarnation}).second) {
    oracle_.Violate("incarnation " + std::to_string(incarnation) + " of " + ToString(actor) + " is constructed twice");
  }
}

void World::CheckNumber(const ObjectId& object, ProcessId holder, int64_t number) {
  const Oracle::Call* call = oracle_.Find(object.call());
  if (call != nullptr && call->expected && *call->expected != number) {
    oracle_.Violate(ToString(object) + " (" + call->what + ") read at " + ToString(holder) + " is " +
                    std::to_string(number) + ", should be " + std::to_string(*call->expected));
  }
}

// ---------------------------------------------------------------- drivers

void World::KeepDriversRunning() {
  if (faults_over_) return;
  int running = 0;
  for (ProcessHost* driver : drivers_) running += driver->alive() && !driver->main_done() && !driver->daemon_gone();
  for (; running < workload_->drivers; ++running) {
    if (!StartDriver(workload_->main)) return;
    ++drivers_started_;
  }
}

// False: no node has joined.
bool World::StartDriver(Function main) {
  std::vector<NodeHost*> homes;
  for (const Machine& machine : machines_) {
    if (machine.node != nullptr && machine.node->id() != 0) homes.push_back(machine.node);
  }
  if (homes.empty()) return false;
  NodeHost* const home = homes[rng_.Uniform(homes.size())];
  auto process = std::make_unique<ProcessHost>(this, home, ProcessId{}, 0, main);
  drivers_.push_back(process.get());
  hosts_.push_back(std::move(process));
  drivers_.back()->Join();
  return true;
}

// It may join a node that is about to be told that it is dead: then another one tries.
void World::RunLastDriver() {
  const ProcessHost* last = nullptr;
  const auto done = [&] {
    const bool ran = last != nullptr && last->main_done() && !last->daemon_gone();
    const bool gone = last == nullptr || !last->alive() || last->daemon_gone();
    if (!ran && gone && StartDriver(workload_->last)) last = drivers_.back();
    return ran;
  };
  if (!RunUntil(done, kWaitMax)) oracle_.Violate("the last driver is not done:" + WhoIsNotDone());
}

void World::Exited(ProcessHost* process) {
  // What it wrote is delivered, then it is gone.
  process->Die("exits");
  Gone(process, "exited with status 0");
}

void World::Gone(ProcessHost* process, const std::string& reason) {
  if (process->id().number != 0) oracle_.ProcessDied(process->id());
  process->node()->ProcessGone(process, reason);
}

bool World::MainsAreDone() const {
  return std::all_of(drivers_.begin(), drivers_.end(),
                     [](const ProcessHost* driver) { return !driver->alive() || driver->main_done(); });
}

std::string World::WhoIsNotDone() const {
  std::string out;
  for (const auto& [id, process] : processes_) {
    if (process->alive() && process->frames() != 0) out += " " + ToString(id) + " {" + process->WhatRuns() + " }";
  }
  for (const ProcessHost* driver : drivers_) {
    if (driver->alive() && !driver->joined())
      out += " a driver on machine " + std::to_string(driver->machine()) + " that has not joined";
  }
  return out;
}

// ---------------------------------------------------------------- running

bool World::RunUntil(const std::function<bool()>& done, Duration limit) {
  const Time end = now() + limit;
  while (!done()) {
    if (!oracle_.violations().empty()) return true;  // said already
    KeepDriversRunning();
    FireDueFaults();
    if (queue_.empty() || now() >= end) return false;
    if (queue_.ran() > kEventsMax) {
      oracle_.Violate("the run does not come to rest: " + std::to_string(kEventsMax) + " events");
      return true;
    }
    queue_.RunOne();
  }
  return true;
}

void World::RunFor(Duration time) {
  const Time end = now() + time;
  queue_.At(end, [] {});
  while (!queue_.empty() && now() < end && queue_.ran() <= kEventsMax) queue_.RunOne();
}

RunReport World::Report() {
  RunReport report;
  report.seed = options_.seed;
  report.workload = workload_->name;
  report.mix = mix_.name;
  report.hash = trace_.hash();
  report.calls = oracle_.calls();
  report.ok = oracle_.ok();
  report.errors = oracle_.errors();
  report.errors_by_code = oracle_.errors_by_code();
  faults_.packets = network_.packet_faults();
  faults_.connections = network_.connection_faults();
  report.faults = faults_;
  report.coverage = network_.coverage();
  report.events = queue_.ran();
  report.messages = network_.messages();
  report.virtual_time = now() - TimeFromNanos(1'000'000'000);
  report.violations = oracle_.violations();
  return report;
}

}  // namespace manta::sim

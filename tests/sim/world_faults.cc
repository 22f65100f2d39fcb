// What goes wrong in a world, and when.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tests/sim/head_host.h"
#include "tests/sim/node_host.h"
#include "tests/sim/process_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Message types that user processes (and daemons) write to rings: whose senders are to die beside them.
size_t TypeByName(const char* name) {
  for (size_t type = 0; type < rpc::kMessageTypeCount; ++type) {
    if (std::string(TypeName(type)) == name) return type;
  }
  MANTA_CHECK(false) << name;
  return 0;
}
const std::vector<size_t>& ProcessRingTypes() {
  static const std::vector<size_t> types = [] {
    std::vector<size_t> list;
    for (const char* name :
         {"CallRequest",  "CallReply",     "CallCancel",     "LeaseRequest",  "LeaseCancel", "LeaseReturn",
          "LeaseBlocked", "ActorCreate",   "ActorStarted",   "ActorEnded",    "ActorWatch",  "ActorKill",
          "ActorLookup",  "ObjectSeal",    "ObjectPublish",  "RefTicket",     "RefOutcome",  "RefRegister",
          "RefRelease",   "ObjectResolve", "SegmentRequest", "SegmentReturn", "SegmentMap",  "ProcessHello",
          "DeathDrained", "JobEnd"}) {
      list.push_back(TypeByName(name));
    }
    return list;
  }();
  return types;
}
const std::vector<size_t>& DaemonRingTypes() {
  static const std::vector<size_t> types = [] {
    std::vector<size_t> list;
    for (const char* name : {"LeaseGrant", "LeaseFence", "LeasePending", "ActorConstruct", "ActorUpdate", "ActorKill",
                             "ActorFound", "ObjectResolved", "SegmentGrant", "SegmentMap", "ProcessWelcome",
                             "ProcessDied", "ProcessExit", "NodeDied", "SegmentGone"}) {
      list.push_back(TypeByName(name));
    }
    return list;
  }();
  return types;
}

}  // namespace

void World::PlanFaults() {
  std::vector<PlannedFault> faults;
  const auto plan = [&](int count, PlannedFault::What what) {
    for (int i = 0; i < count; ++i) faults.push_back({20 + rng_.Uniform(options_.calls_min * 9 / 10), what});
  };
  plan(mix_.worker_kills, PlannedFault::What::kWorker);
  plan(mix_.driver_kills, PlannedFault::What::kDriver);
  plan(mix_.node_kills, PlannedFault::What::kNode);
  plan(mix_.head_kills, PlannedFault::What::kHead);
  plan(mix_.partitions, PlannedFault::What::kPartition);
  plan(mix_.reconnects, PlannedFault::What::kReconnect);
  plan(mix_.redis, PlannedFault::What::kRedis);
  plan(mix_.replacements, PlannedFault::What::kReplace);
  std::sort(faults.begin(), faults.end());
  planned_.assign(faults.begin(), faults.end());
  // Every message gets its turn to be lost, and to be its sender's last.
  const uint64_t turn = options_.seed;
  network_.AimAtPackets(turn % rpc::kMessageTypeCount,
                        static_cast<PacketFault>(turn / rpc::kMessageTypeCount % kPacketFaults), 3);
  for (int i = 0; i < mix_.ring_deaths; ++i) {
    const uint64_t pick = turn * 5 + i * 11;
    network_.AimAtRing({By(pick, ProcessRingTypes()), static_cast<RingFault>(rng_.Uniform(2)),
                        1 + static_cast<int>(rng_.Uniform(12)), false});
  }
  // The turns of the pairs of a workload and a mix are shifted against each other, so that each pair sees every type.
  const uint64_t pairs = Workloads().size() * FaultMixes().size();
  for (int i = 0; i < mix_.node_ring_deaths; ++i) {
    const uint64_t pick = turn / pairs + turn % pairs + i * 5;
    const auto fault = static_cast<RingFault>(rng_.Uniform(kRingFaults));
    network_.AimAtRing({By(pick, DaemonRingTypes()), fault, 1 + static_cast<int>(rng_.Uniform(5)), true});
  }
  // Rare: each run has a turn.
  if (mix_.node_ring_deaths > 0) {
    network_.AimAtRing({TypeByName("SegmentGone"), static_cast<RingFault>(turn / pairs % kRingFaults), 1, true});
  }
}

void World::FireDueFaults() {
  while (!planned_.empty() && planned_.front().at_calls <= oracle_.calls()) {
    const auto what = planned_.front().what;
    planned_.pop_front();
    queue_.After(microseconds(rng_.Between(0, 3'000)), [this, what] {
      if (!faults_over_) Fire(what);
    });
  }
}

void World::Fire(PlannedFault::What what) {
  switch (what) {
    case PlannedFault::What::kWorker:
      if (ProcessHost* const worker = PickProcess(false)) {
        ++faults_.worker_kills;
        Kill(worker, "killed");
      }
      break;
    case PlannedFault::What::kDriver:
      if (ProcessHost* const driver = PickProcess(true)) {
        ++faults_.driver_kills;
        Kill(driver, "killed");
      }
      break;
    case PlannedFault::What::kNode:
      if (NodeHost* const node = PickNode()) {
        ++faults_.node_kills;
        KillNode(node, "killed");
      }
      break;
    case PlannedFault::What::kHead:
      if (head_ != nullptr) {
        ++faults_.head_kills;
        head_->Die("killed");
      }
      break;
    case PlannedFault::What::kPartition:
      Partition();
      break;
    case PlannedFault::What::kReconnect:
      if (NodeHost* const node = PickNode()) {
        ++faults_.reconnects;
        node->Reconnect();
      }
      break;
    case PlannedFault::What::kRedis:
      BreakRedis();
      break;
    case PlannedFault::What::kReplace:
      ReplaceHead();
      break;
  }
}

void World::Kill(ProcessHost* process, const std::string& why) {
  if (!process->alive()) return;
  process->Die(why);
  Gone(process, "killed by signal 9");
}

void World::KillNode(NodeHost* node, const std::string& why) {
  if (!node->alive()) return;
  HeadHost* const head = this->head();
  Pipe* const pipe = node->head_pipe();
  node->Die(why);
  if (head == nullptr || pipe == nullptr) return;
  const bool confirmed = rng_.Uniform(2) == 0;
  queue_.After(microseconds(rng_.Between(100, 20'000)),
               [head, pipe, confirmed] { head->ConnectionLost(pipe, confirmed); });
}

void World::Partition() {
  ++faults_.partitions;
  // One machine alone, or two halves; with the head or without it.
  const int machines = static_cast<int>(machines_.size());
  const int lonely = static_cast<int>(rng_.Uniform(machines));
  const bool keeps_head = rng_.Uniform(4) == 0;
  for (int other = 0; other < machines; ++other) {
    if (other == lonely || (keeps_head && (other == 0 || lonely == 0))) continue;
    network_.Cut(lonely, other);
  }
  const Duration length = milliseconds(rng_.Uniform(2) == 0 ? rng_.Between(50, 1'500) : rng_.Between(3'300, 6'000));
  trace_.Note(now(), "network", "cut", "machine " + std::to_string(lonely));
  queue_.After(length, [this] { Heal(); });
}

void World::Heal() {
  trace_.Note(now(), "network", "heals", "");
  network_.Heal();
}

void World::BreakRedis() {
  ++faults_.redis;
  const Duration length = milliseconds(rng_.Uniform(4) == 0 ? rng_.Between(9'000, 13'000) : rng_.Between(1, 2'500));
  const uint64_t kind = rng_.Uniform(6);
  trace_.Note(now(), "redis", "fault", std::to_string(kind));
  switch (kind) {
    case 0:
      return redis_.CutConnections();
    case 1:
      return redis_.BeSilentFor(length);
    case 2:
      return redis_.RefuseWritesFor(length);
    case 3:
      return redis_.Restart(milliseconds(rng_.Between(20, 1'500)));
    case 4: {
      const absl::StatusOr<uint64_t> floor = runtime::ReadCommitNumber(&disk_, kCommitFile);
      // A head that was replaced, and whose last commit the copy has, would go on with it: two faults too many.
      if (AnyReplacedHeadLives()) return redis_.CutConnections();
      if (!redis_.RestartWithOldCopy(milliseconds(rng_.Between(20, 500)), floor.value_or(0)))
        return redis_.CutConnections();
      queue_.After(milliseconds(rng_.Between(500, 4'000)), [this] { redis_.Repair(); });
      return;
    }
    default:
      return LosePower();
  }
}

// The machine of the head and of Redis.
void World::LosePower() {
  disk_.LosePowerBefore(rng_.Uniform(5));
  queue_.After(milliseconds(rng_.Between(0, 200)), [this] {
    if (head_ != nullptr) head_->Die("its machine loses its power");
    redis_.Restart(milliseconds(rng_.Between(20, 500)));
    disk_.PowerUp();
  });
}

bool World::AnyReplacedHeadLives() const {
  return std::any_of(replaced_.begin(), replaced_.end(), [](const HeadHost* head) { return head->alive(); });
}

// The old one lives on, and hears of nobody: stopped, or cut off with its Redis.
void World::ReplaceHead() {
  HeadHost* const old = head();
  if (old == nullptr || redis_.has_old_copy()) return;
  ++faults_.replacements;
  trace_.Note(now(), old->label(), "replaced", "");
  replaced_.push_back(old);
  head_ = nullptr;
  for (const Machine& machine : machines_) {
    if (machine.node != nullptr) machine.node->OnHeadGone();
  }
  queue_.After(milliseconds(rng_.Between(0, 30)), [this] {
    if (head_ == nullptr) StartHead();
  });
}

ProcessHost* World::PickProcess(bool driver) {
  std::vector<ProcessHost*> choices;
  for (const auto& [id, process] : processes_) {
    if (process->alive() && process->is_driver() == driver && !process->daemon_gone()) choices.push_back(process);
  }
  return choices.empty() ? nullptr : choices[rng_.Uniform(choices.size())];
}

NodeHost* World::PickNode() {
  std::vector<NodeHost*> choices;
  for (const Machine& machine : machines_) {
    if (machine.node != nullptr && machine.node->id() != 0) choices.push_back(machine.node);
  }
  return choices.empty() ? nullptr : choices[rng_.Uniform(choices.size())];
}

}  // namespace manta::sim

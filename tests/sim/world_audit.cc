// What must be left of a world at its end: nothing.
#include <string>

#include "tests/sim/head_host.h"
#include "tests/sim/node_host.h"
#include "tests/sim/process_host.h"
#include "tests/sim/world.h"

namespace manta::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kDropMax = seconds(12);  // after the last handle is dropped nothing is left
constexpr Duration kEndMax = seconds(20);

}  // namespace

// Drivers have dropped everything: their processes and all homes are empty.
void World::AuditHeld() {
  std::string left;
  const auto clean = [&] {
    left.clear();
    for (ProcessHost* driver : drivers_) {
      if (!driver->joined() || driver->daemon_gone()) continue;
      const runtime::ProcessCounts counts = driver->counts();
      const auto expect = [&](const char* what, uint64_t count) {
        if (count != 0) left += " " + ToString(driver->id()) + " " + what + "=" + std::to_string(count);
      };
      expect("handles", driver->handles());
      expect("calls_pending", counts.calls_pending);
      expect("objects_owned", counts.objects_owned);
      expect("objects_borrowed", counts.objects_borrowed);
      expect("leases", counts.leases);
      expect("mailbox_calls", counts.mailbox_calls);
      expect("streams", counts.streams);
    }
    for (const Machine& machine : machines_) {
      if (machine.node == nullptr) continue;
      const runtime::NodeCounts counts = machine.node->counts();
      const auto expect = [&](const char* what, uint64_t count) {
        if (count != 0) left += " n" + std::to_string(machine.node->id()) + " " + what + "=" + std::to_string(count);
      };
      expect("leases", counts.leases);
      expect("lease_requests", counts.lease_requests);
      expect("home_entries", counts.home_entries);
      expect("home_tickets", counts.home_tickets);
      expect("store_objects", counts.store_objects);
      expect("pulls", counts.pulls);
      expect("actors", counts.actors);
    }
    return left.empty();
  };
  Time next_look = now();
  if (!RunUntil([&] { return now() >= next_look && (next_look = now() + milliseconds(50), clean()); }, kDropMax)) {
    clean();
    oracle_.Violate("left after everything was dropped:" + left);
  }
}

// The drivers have ended: the cluster is as it was.
void World::AuditEnd() {
  for (ProcessHost* driver : drivers_) {
    if (driver->joined() && !driver->daemon_gone()) {
      driver->BeginShutdown();
      queue_.After(milliseconds(rng_.Between(1, 20)), [this, driver] {
        if (driver->alive()) Exited(driver);
      });
    }
    if (driver->alive() && driver->daemon_gone()) driver->Die("its node is gone");
  }
  std::string left;
  const auto clean = [&] {
    left.clear();
    for (ProcessHost* driver : drivers_) {
      if (driver->alive()) left += " driver " + ToString(driver->id()) + " lives";
    }
    for (size_t number = 1; number < machines_.size(); ++number) {
      const Machine& machine = machines_[number];
      if (machine.node == nullptr || machine.node->id() == 0) {
        left += " a node that has not joined";
        continue;
      }
      const runtime::NodeCounts counts = machine.node->counts();
      const auto expect = [&](const char* what, uint64_t count) {
        if (count != 0) left += " n" + std::to_string(machine.node->id()) + " " + what + "=" + std::to_string(count);
      };
      expect("processes", counts.processes);
      expect("leases", counts.leases);
      expect("lease_requests", counts.lease_requests);
      expect("home_entries", counts.home_entries);
      expect("home_tickets", counts.home_tickets);
      expect("home_tombstones", counts.home_tombstones);
      expect("store_objects", counts.store_objects);
      expect("pulls", counts.pulls);
      expect("actors", counts.actors);
      expect("directory_actors", counts.directory_actors);
      if (counts.available != machine.options.total) {
        left += " n" + std::to_string(machine.node->id()) + " available=" + counts.available.ToString();
      }
    }
    if (head() == nullptr) {
      left += " no head";
    } else {
      const runtime::HeadCounts counts = head_->counts();
      if (counts.jobs != 0) left += " head jobs=" + std::to_string(counts.jobs);
      if (counts.actors != 0) left += " head actors=" + std::to_string(counts.actors);
      if (counts.names != 0) left += " head names=" + std::to_string(counts.names);
      if (counts.nodes_alive != machines_.size() - 1) left += " head nodes_alive=" + std::to_string(counts.nodes_alive);
    }
    return left.empty();
  };
  Time next_look = now();
  if (!RunUntil([&] { return now() >= next_look && (next_look = now() + milliseconds(100), clean()); }, kEndMax)) {
    clean();
    oracle_.Violate("left after the jobs have ended:" + left);
  }
}

}  // namespace manta::sim

#include "tests/sim/faults.h"

#include <cstdio>
#include <iterator>

#include "rpc/codec.h"

namespace manta::sim {

const std::vector<FaultMix>& FaultMixes() {
  //   name        lost   twice  late   workers drivers nodes heads partitions ring node-ring reconnects redis replaced
  static const std::vector<FaultMix> mixes = {
      {"calm", 0.02, 0.02, 0.02, 0, 0, 0, 0, 0, 0, 0, 0},
      {"network", 0.08, 0.08, 0.06, 0, 0, 0, 0, 0, 0, 0, 2},
      {"workers", 0.02, 0.02, 0.02, 10, 0, 0, 0, 0, 6, 0, 0},
      {"processes", 0.03, 0.03, 0.03, 6, 2, 0, 0, 0, 8, 0, 0},
      {"nodes", 0.03, 0.03, 0.03, 2, 0, 2, 0, 0, 2, 2, 0},
      {"head", 0.03, 0.03, 0.03, 2, 0, 0, 3, 0, 2, 0, 2, 2, 1},
      {"metadata", 0.02, 0.02, 0.02, 1, 0, 0, 2, 0, 2, 0, 1, 12, 3},
      {"partitions", 0.03, 0.03, 0.03, 2, 0, 0, 0, 3, 0, 0, 1},
      {"everything", 0.06, 0.06, 0.06, 4, 1, 1, 1, 1, 4, 2, 1, 2, 1},
  };
  return mixes;
}

void Coverage::Add(const Coverage& other) {
  for (size_t t = 0; t < rpc::kMessageTypeCount; ++t) {
    socket_sent[t] += other.socket_sent[t];
    ring_sent[t] += other.ring_sent[t];
    for (size_t f = 0; f < kPacketFaults; ++f) socket[t][f] += other.socket[t][f];
    for (size_t f = 0; f < kRingFaults; ++f) ring[t][f] += other.ring[t][f];
  }
  for (size_t f = 0; f < kStreamFaults; ++f) stream[f] += other.stream[f];
}

namespace {
constexpr const char* kStreamFaultNames[] = {"short writes",  "full sockets", "bytes one by one",   "cut in a header",
                                             "cut in a body", "reset",        "cut in a handshake", "refused",
                                             "half open",     "strangers"};
static_assert(std::size(kStreamFaultNames) == kStreamFaults);
}  // namespace

std::string Coverage::Table() const {
  std::string out;
  char line[160];
  std::snprintf(line, sizeof line, "%-16s %10s %8s %8s %8s   %10s %8s %8s\n", "message", "on sockets", "lost", "twice",
                "late", "on rings", "before", "after");
  out += line;
  for (size_t t = 0; t < rpc::kMessageTypeCount; ++t) {
    if (socket_sent[t] == 0 && ring_sent[t] == 0) continue;
    std::snprintf(line, sizeof line, "%-16s %10llu %8llu %8llu %8llu   %10llu %8llu %8llu\n", TypeName(t),
                  static_cast<unsigned long long>(socket_sent[t]), static_cast<unsigned long long>(socket[t][0]),
                  static_cast<unsigned long long>(socket[t][1]), static_cast<unsigned long long>(socket[t][2]),
                  static_cast<unsigned long long>(ring_sent[t]), static_cast<unsigned long long>(ring[t][0]),
                  static_cast<unsigned long long>(ring[t][1]));
    out += line;
  }
  out += "stream connections:";
  for (size_t f = 0; f < kStreamFaults; ++f) {
    out += std::string(f == 0 ? " " : ", ") + kStreamFaultNames[f] + " " + std::to_string(stream[f]);
  }
  return out + "\n";
}

std::vector<std::string> Coverage::EmptyCells() const {
  static constexpr const char* kPacket[] = {"lost", "twice", "late"};
  static constexpr const char* kRing[] = {"sender dies just before", "sender dies just after"};
  std::vector<std::string> cells;
  for (size_t t = 0; t < rpc::kMessageTypeCount; ++t) {
    for (size_t f = 0; f < kPacketFaults; ++f) {
      if (socket_sent[t] != 0 && socket[t][f] < kTimesEachMin)
        cells.push_back(std::string(TypeName(t)) + " x " + kPacket[f]);
    }
    for (size_t f = 0; f < kRingFaults; ++f) {
      if (ring_sent[t] != 0 && ring[t][f] == 0) cells.push_back(std::string(TypeName(t)) + " x " + kRing[f]);
    }
  }
  for (size_t f = 0; f < kStreamFaults; ++f) {
    if (stream[f] == 0) cells.push_back(std::string("stream connections x ") + kStreamFaultNames[f]);
  }
  return cells;
}

void FaultCounts::Add(const FaultCounts& other) {
  packets += other.packets;
  worker_kills += other.worker_kills;
  driver_kills += other.driver_kills;
  node_kills += other.node_kills;
  head_kills += other.head_kills;
  partitions += other.partitions;
  ring_deaths += other.ring_deaths;
  reconnects += other.reconnects;
  transfers += other.transfers;
  redis += other.redis;
  replacements += other.replacements;
  fenced += other.fenced;
  connections += other.connections;
}

std::string FaultCounts::ToString() const {
  return "packets " + std::to_string(packets) + ", workers " + std::to_string(worker_kills) + ", drivers " +
         std::to_string(driver_kills) + ", nodes " + std::to_string(node_kills) + ", heads " +
         std::to_string(head_kills) + ", partitions " + std::to_string(partitions) + ", beside a ring message " +
         std::to_string(ring_deaths) + ", reconnects " + std::to_string(reconnects) + ", chunks of objects " +
         std::to_string(transfers) + ", Redis " + std::to_string(redis) + ", heads replaced " +
         std::to_string(replacements) + ", nodes fenced " + std::to_string(fenced) + ", connections " +
         std::to_string(connections);
}

const char* TypeName(size_t type) { return rpc::MessageName(static_cast<uint16_t>(type)); }

}  // namespace manta::sim

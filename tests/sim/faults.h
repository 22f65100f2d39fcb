// Faults as data: what goes wrong in a run, how often, and what has gone wrong so far.
//
// Problem:    a run that injected nothing passes anything. Every fault is counted, by message type where it hits one,
// and
//             the whole set of seeds must have hit every message in every way that it can be hit.
// Threads:    values.
#ifndef MANTA_TESTS_SIM_FAULTS_H_
#define MANTA_TESTS_SIM_FAULTS_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "rpc/message.h"

namespace manta::sim {

// What happens to a packet of a session. On a stream connection (tests/sim/cable.h): the connection breaks within it;
// breaks behind it, before its acknowledgement; its bytes come one by one.
enum class PacketFault : uint8_t { kLost, kTwice, kLate };
inline constexpr size_t kPacketFaults = 3;
// What happens to a stream connection.
enum class StreamFault : uint8_t {
  kShortWrite,  // the socket takes a part
  kFull,        // ... or nothing (EAGAIN)
  kOneByOne,    // bytes come one by one
  kCutInHeader,
  kCutInBody,
  kReset,  // what has arrived and was not read is gone
  kCutInHandshake,
  kRefused,  // nobody listens
  kHalfOpen,
  kStranger,  // somebody else knocks (tests/sim/strangers.h)
};
inline constexpr size_t kStreamFaults = 10;
// When the sender of a ring message dies.
enum class RingFault : uint8_t { kDiesBefore, kDiesAfter };
inline constexpr size_t kRingFaults = 2;

// A mix of faults; the workload decides how long the run is, the mix how rough.
struct FaultMix {
  const char* name;
  double lost, twice, late;  // per packet
  int worker_kills = 0;      // at random moments
  int driver_kills = 0;
  int node_kills = 0;
  int head_kills = 0;
  int partitions = 0;
  int ring_deaths = 0;       // processes that die beside a message of a chosen type
  int node_ring_deaths = 0;  // daemons that do
  int reconnects = 0;        // node-head connections that break
  int redis = 0;             // of the head's Redis, or its machine
  int replacements = 0;      // heads that another one replaces while they live
};
const std::vector<FaultMix>& FaultMixes();

// Whose turn it is: seeds go round.
template <typename T>
const T& By(uint64_t seed, const std::vector<T>& choices) {
  return choices[seed % choices.size()];
}

struct Coverage {
  std::array<uint64_t, rpc::kMessageTypeCount> socket_sent{}, ring_sent{};
  std::array<std::array<uint64_t, kPacketFaults>, rpc::kMessageTypeCount> socket{};
  std::array<std::array<uint64_t, kRingFaults>, rpc::kMessageTypeCount> ring{};
  std::array<uint64_t, kStreamFaults> stream{};

  void Add(const Coverage& other);
  // Each message is lost, doubled and late so often; what is rarer happens once.
  static constexpr uint64_t kTimesEachMin = 5;

  // One line per message type that travels, and the cells that are too empty.
  std::string Table() const;
  std::vector<std::string> EmptyCells() const;
};

// What has been injected.
struct FaultCounts {
  uint64_t packets = 0, worker_kills = 0, driver_kills = 0, node_kills = 0, head_kills = 0, partitions = 0,
           ring_deaths = 0, reconnects = 0, transfers = 0, redis = 0, replacements = 0, fenced = 0, connections = 0;
  uint64_t total() const {
    return packets + worker_kills + driver_kills + node_kills + head_kills + partitions + ring_deaths + reconnects +
           transfers + redis + replacements + connections;
  }
  void Add(const FaultCounts& other);
  std::string ToString() const;
};

const char* TypeName(size_t type);

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_FAULTS_H_

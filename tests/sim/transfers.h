// Transfers is the simulated shell's part in moving large objects between nodes (docs/objects.md, Transfer): what this
// node offers to others, and what it fetches from them.
//
// Problem:    connections break, chunks come damaged, sources drop what is being read or die; none of it may ever show
// a
//             reader anything but the object's value, or let a range be used while somebody reads or writes it.
// Threads:    externally synchronised.
#ifndef MANTA_TESTS_SIM_TRANSFERS_H_
#define MANTA_TESTS_SIM_TRANSFERS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "runtime/node/node_core.h"

namespace manta::sim {

class World;
class NodeHost;

class Transfers {
 public:
  Transfers(World* world, NodeHost* node) : world_(world), node_(node) {}

  // ---- as a source
  void Offer(const ObjectId& object, uint32_t attempt, const rpc::StoreLocation& location);
  // A PinScan names `range`: whether somebody fetches from there. Nobody will begin to.
  bool ReadsAt(const rpc::StoreLocation& range);

  // ---- as a destination. Each Fetch ends with ObjectWritten.
  void Fetch(const runtime::WriteObject& write);
  void Abandon(uint64_t pull);
  bool WritesAt(const rpc::StoreLocation& range) const;

 private:
  using Reader = std::pair<const NodeHost*, uint64_t>;  // who fetches, and for which pull
  struct Fetching {
    runtime::WriteObject write;
    int chunks_left = 1;
    bool damaged = false;  // the chunk came with another checksum
    bool abandoned = false;
    Time give_up_at;
  };

  std::optional<rpc::StoreLocation> Open(Reader reader, const ObjectId& object, uint32_t attempt);
  void Close(Reader reader) { readers_.erase(reader); }
  void Step(uint64_t pull);
  void StepLater(uint64_t pull, Duration delay);
  void End(uint64_t pull, const std::string& error, bool damaged = false);
  NodeHost* FindSource(NodeId source) const;

  World* const world_;
  NodeHost* const node_;
  std::map<std::pair<ObjectId, uint32_t>, rpc::StoreLocation> offers_;
  std::map<Reader, rpc::StoreLocation> readers_;
  std::map<uint64_t, Fetching> fetching_;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_TRANSFERS_H_

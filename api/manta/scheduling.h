// Where a task or an actor runs: SchedulingStrategy of the builders, and the nodes there are.
//
//   manta::Task<&Shard>().SchedulingStrategy(manta::Spread()).Remote(i);
//   manta::Actor<Server>().SchedulingStrategy(manta::NodeAffinity("n3")).Remote();
//   manta::Actor<Cache>().SchedulingStrategy(manta::NodeAffinity(manta::CurrentContext().node()).Soft()).Remote();
//
// Without one: near its caller while there is room, then on the least used node. Whatever the strategy, a node must
// have the resources.
#ifndef MANTA_SCHEDULING_H_
#define MANTA_SCHEDULING_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "manta/internal/backend.h"
#include "manta/internal/export.h"

namespace manta {

// On the least used node that has room now, one's own or another; each task asks anew.
inline internal::SchedulingHint Spread() { return {.spread = true}; }

// On one node: `node` is an id, "n3" (Context::node, NodeInfo::id); any other text is an InvalidArgumentError. If it
// has no room, the call waits there. If it is dead, or there is no such node, Get throws a NodeDiedError (a task), or
// an ActorDiedError that says so (an actor; also one that is to be restarted there).
class NodeAffinity {
 public:
  MANTA_EXPORT explicit NodeAffinity(const std::string& node);
  // On that node if it lives and has room now, else as without a strategy.
  NodeAffinity Soft() const {
    NodeAffinity soft = *this;
    soft.hint_.soft = true;
    return soft;
  }
  operator internal::SchedulingHint() const { return hint_; }  // NOLINT(google-explicit-constructor)

 private:
  internal::SchedulingHint hint_;
};

struct NodeInfo {
  std::string id;                           // "n3"
  std::string name;                         // what `manta start --node-name` said, for people
  std::string address;                      // where other nodes reach it; empty: nowhere (an embedded cluster)
  std::map<std::string, double> total;      // CPU, GPU and custom resources, by name
  std::map<std::string, double> available;  // ... that nothing holds; lags by some 100 ms
  bool is_head = false;                     // it was started with the head
};

// The nodes that live, in the order of their ids, as this process's node has last heard. ShutdownError before Init,
// after Shutdown; NodeDiedError: the own node is gone.
MANTA_EXPORT std::vector<NodeInfo> Nodes();

}  // namespace manta

#endif  // MANTA_SCHEDULING_H_

// PullTable brings copies of objects from other nodes for processes of this node that have asked for them.
//
// Problem:    many readers on a node want one object at once; the source may drop it or die meanwhile; memory may be
// short.
//
//      ObjectResolved from the home        ObjectPulled              room granted
//      with a location elsewhere ─► pulling ───────────► arrived ───────────► written, sealed, ObjectCopy to the home,
//                                      │ not found, source died     │ refused       the askers answered
//                                      └─► ask the home again       └─► the askers get kOutOfMemory
//
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) of an object there is one pull at a time.
//             (2) every asker that lives is answered once, or asks the home again.
// See:        docs/objects.md (Reading)
#ifndef MANTA_RUNTIME_NODE_PULL_TABLE_H_
#define MANTA_RUNTIME_NODE_PULL_TABLE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "rpc/message.h"

namespace manta::runtime::node {

class PullTable {
 public:
  struct Pull {
    rpc::ObjectResolved answer;  // to each asker, with the location still elsewhere
    NodeId source = 0;
    std::vector<ProcessId> askers;
    uint64_t request = 0;      // for room; 0: the bytes have not come
    rpc::ObjectPulled pulled;  // the bytes, while room is made
  };

  PullTable() = default;
  PullTable(const PullTable&) = delete;
  PullTable& operator=(const PullTable&) = delete;

  // True: nobody pulls it yet, send ObjectPull to the answer's location.
  bool Want(const rpc::ObjectResolved& answer);
  // The bytes have come: the request number for room of pulled.size_bytes. None: nobody wants them (any more).
  std::optional<uint64_t> Arrived(rpc::ObjectPulled pulled);
  // Not there (any more): whoever waits asks the home again.
  std::vector<rpc::ObjectResolve> NotFound(const ObjectId& object, NodeId source);
  std::vector<rpc::ObjectResolve> SourceDied(NodeId source);
  // Room was granted or refused: the pull, which ends with it.
  std::optional<Pull> TakeByRequest(uint64_t request);

  void HomeDied(NodeId home);
  void AskerDied(ProcessId asker);
  size_t size() const { return pulls_.size(); }

 private:
  using Pulls = std::map<ObjectId, Pull>;
  static void AskAgain(const ObjectId& object, const Pull& pull, std::vector<rpc::ObjectResolve>* messages);

  Pulls pulls_;
  std::map<uint64_t, ObjectId> by_request_;
  uint64_t last_request_ = 0;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_PULL_TABLE_H_

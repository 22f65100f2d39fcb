// PullTable brings copies of objects from other nodes for processes of this node that have asked for them.
//
// Problem:    many readers on a node want one object at once; the source may drop it or die meanwhile; memory may be
//             short; and memory that the shell still writes to may not be used for anything else.
//
//      ObjectResolved from the home          ObjectPulled           room granted          ObjectWritten
//      with a location elsewhere ─► pulling ─────────────► arrived ─────────────► writing ─────────────► sealed,
//                                   ▲  │ not found            │ refused             │ error       the askers answered
//                                   │  │                      └─► kOutOfMemory      │
//                                   │  └────────────► ask the home again ◄──────────┤
//                                   └───────────────────────────────────────────────┘ damaged, not for the last time
//
// A source that has sent damaged bytes kDamagedMax times counts as without the object: the home is told so, and asked
// again. In each state the source may die (ask the home again), the home or all askers may (the pull is forgotten), and
// a newer attempt may replace the pull. One that is being written is then *abandoned*: the shell is told to stop, and
// the room is free when it has.
//
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) of an object there is one pull at a time, beside those that are abandoned.
//             (2) every asker that lives is answered once, or asks the home again.
//             (3) a room is given back once, after the shell has reported the end of the writing.
// See:        docs/objects.md (Transfer)
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
    uint64_t number = 0;       // of the request for room, and of the writing; 0: ObjectPulled has not come
    rpc::ObjectPulled pulled;  // what the source has said; small objects' bytes until they are written
    rpc::StoreLocation room;   // being written; segment 0: not yet
    int damaged = 0;           // how often its bytes came damaged
    bool writing() const { return room.segment != 0; }
  };
  struct Output {
    std::vector<rpc::ObjectResolve> asks;  // whoever waits asks the home again
    std::vector<uint64_t> abandoned;       // these writings are to be stopped
  };
  struct Written {
    rpc::StoreLocation room;
    std::optional<Pull> pull;  // none: it was abandoned
  };

  static constexpr int kDamagedMax = 3;

  PullTable() = default;
  PullTable(const PullTable&) = delete;
  PullTable& operator=(const PullTable&) = delete;

  // True: nobody pulls it yet, send ObjectPull to the answer's location.
  bool Want(const rpc::ObjectResolved& answer, Output* out);
  // The source has it: the number of the request for room of pulled.size_bytes. None: nobody wants it (any more).
  std::optional<uint64_t> Arrived(rpc::ObjectPulled pulled);
  // Not there (any more): whoever waits asks the home again.
  void NotFound(const ObjectId& object, NodeId source, Output* out);
  // Room was granted: the pull, which is being written there from now on. Null: nobody wants it.
  Pull* Write(uint64_t number, const rpc::StoreLocation& room);
  // Room was refused: the pull, which ends with it.
  std::optional<Pull> TakeRefused(uint64_t number);
  // The shell has ended a writing. None: there was no such writing.
  std::optional<Written> TakeWritten(uint64_t number);
  static void AskAgain(const Pull& pull, Output* out);
  // What was written is damaged. True: pull it from the same source once more. False: the pull is over, and nobody has
  // been told. REQUIRES: `pull` is what TakeWritten gave, and nothing has happened since.
  bool PullAgain(Pull* pull);

  void SourceDied(NodeId source, Output* out);
  void HomeDied(NodeId home, Output* out);
  void AskerDied(ProcessId asker, Output* out);
  // Abandoned ones included.
  size_t size() const { return pulls_.size() + abandoned_.size(); }

 private:
  using Pulls = std::map<ObjectId, Pull>;
  void Abandon(Pull* pull, Output* out);
  template <typename Gone>
  void EndIf(Gone gone, Output* out);

  Pulls pulls_;
  std::map<uint64_t, ObjectId> by_number_;
  std::map<uint64_t, rpc::StoreLocation> abandoned_;  // rooms that the shell may still write to
  uint64_t last_number_ = 0;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_PULL_TABLE_H_

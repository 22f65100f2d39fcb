// HomeTable counts the references to every object whose owner lives on this node, and knows where the copies are.
//
// Problem:    refs travel in messages between processes that die, and the streams in which they tell the home of it
// overtake one
//             another; an object must be freed when nobody holds it, and never before.
//
// An entry is held by
//   holders      (process, borrow number): the owner is borrow 0; a daemon holds what is nested in objects of its own
//   home; tickets      a message that carries the ref may be under way; containers   objects of this home in which the
//   ref is nested;
// and, for a while, by what has overtaken something:
//   early        tickets that were ended before they came;
//   a seal due   the owner has let go of a result whose ObjectSeal is still on its way: it is dropped when it comes
//   (tombstone).
// An entry with none of them is freed: its copies are dropped, its containers' holds end.
//
//      (none) ─► kUnknown ─► kPending ─► kInline | kStored | kError        what ObjectResolve is answered with, once it
//      is final                 ▲                                │
//                               └── the last copy is gone, somebody asks, and the owner has a ref: it is asked ◄──┘
//
// How to use: hand every message to the method named after it and carry out what it appended to `Output`, in order,
// before the
//             next message is relayed (a nested ref's registration must not be overtaken by its holder's release).
// Ownership:  borrows DeathTable, which must outlive it.
// Threads:    externally synchronised; pure.
// Invariants: (1) no entry is freed that somebody holds, under any interleaving of the streams (docs/objects.md,
// tests/models).
//             (2) when every process is dead and drained, no entry is left.
//             (3) whoever resolves gets one answer.
// See:        docs/objects.md, rpc/schema/object.capnp
#ifndef MANTA_RUNTIME_NODE_HOME_TABLE_H_
#define MANTA_RUNTIME_NODE_HOME_TABLE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "base/ids.h"
#include "rpc/message.h"
#include "runtime/node/death_table.h"

namespace manta::runtime::node {

class HomeTable {
 public:
  struct Output {
    // Node, message: ObjectDrop to those with copies (this node too), RefRegister and RefRelease to the homes of nested
    // refs, ObjectResolved to the asker's node.
    std::vector<std::pair<NodeId, rpc::Message>> sends;
    std::vector<ActorId> unheld_actors;  // nobody has a handle any more
  };

  explicit HomeTable(const DeathTable* deaths) : deaths_(deaths) {}
  HomeTable(const HomeTable&) = delete;
  HomeTable& operator=(const HomeTable&) = delete;

  void SetSelf(NodeId self) { self_ = self; }

  void Seal(const rpc::ObjectSeal& message, Output* out);
  void Publish(const rpc::ObjectPublish& message, Output* out);
  void Ticket(const rpc::RefTicket& message, Output* out);
  void Outcome(const rpc::RefOutcome& message, Output* out);
  void Register(const rpc::RefRegister& message, Output* out);
  void Release(const rpc::RefRelease& message, Output* out);
  void Resolve(const rpc::ObjectResolve& message, Output* out);
  void Copy(const rpc::ObjectCopy& message, Output* out);
  // An actor was created: its creator has the first handle.
  void OpenHandle(ActorId actor);

  // A process of this node died (all it said has been handled): what it had not finished will never be.
  void OwnerDied(ProcessId owner, const std::string& reason, Output* out);
  // Nothing of a process (number 0: of a whole node) is on its way any more: what it held is dropped.
  void Drained(ProcessId dead, Output* out);
  // The copies on a node are gone.
  void NodeDied(NodeId node, Output* out);

  bool Contains(const ObjectId& object) const { return entries_.contains(object); }
  // An object that is counted here, as people see it.
  struct Holding {
    ObjectId object;
    const char* state = "";  // HANDLE (of an actor), UNKNOWN, PENDING, INLINE, STORED, ERROR, LOST
    uint64_t size_bytes = 0;
    std::vector<NodeId> copies;
    std::vector<ProcessId> holders;
    std::vector<ObjectId> containers;
    size_t tickets = 0;  // refs in messages under way
    bool awaits_seal = false;
  };
  // visit(const Holding&) -> bool (go on), in the order of their ids.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const auto& [object, entry] : entries_) {
      if (!visit(HoldingOf(object, entry))) return;
    }
  }
  // Somebody holds it (tests).
  bool IsHeld(const ObjectId& object) const;
  size_t entry_count() const { return entries_.size(); }
  size_t ticket_count() const { return ticket_count_; }
  size_t tombstone_count() const;
  uint64_t inline_bytes() const { return inline_bytes_; }

 private:
  enum class State : uint8_t { kUnknown, kPending, kInline, kStored, kError };
  struct Hold {
    uint64_t borrow = 0;  // the highest seen
    bool held = false;
  };
  struct TicketHold {
    ProcessId holder;    // the sender
    ProcessId receiver;  // of a reply
    ProcessId kept_by;   // the outcome said so; its registration ends the ticket
  };
  struct EarlyEnd {
    ProcessId by;      // who said so
    ProcessId writer;  // of the ticket; none: its caller
  };
  struct Entry {
    State state = State::kUnknown;
    bool lost = false;          // kError: by the loss of its copies, not by its owner's word
    uint32_t attempt = 0;       // of the copies
    bool owner_asked = false;   // kPending: what was lost is to be made again, or the owner says that it cannot be
    NodeId lost_on = 0;         // where the last copy was
    uint32_t lost_attempt = 0;  // of which attempt; UINT32_MAX: not known
    uint32_t held = 0;          // of `holders`
    NodeId seal_due_on = 0;     // the tombstone
    uint32_t seal_due_attempt = 0;
    std::vector<rpc::NestedRef> refs;
    absl::btree_map<NodeId, rpc::StoreLocation> copies;  // filled: sealed
    absl::btree_map<ProcessId, Hold> holders;
    absl::btree_map<TicketId, TicketHold> tickets;
    absl::btree_map<TicketId, EarlyEnd> early;
    absl::btree_set<ObjectId> containers;
    absl::btree_set<ProcessId> waiters;
    absl::btree_set<ProcessId> named;  // every process above: the keys in by_process_
    // Most entries have none of these.
    std::unique_ptr<const rpc::StoreLocation> awaited;  // published as stored there; its seal has not come
    std::unique_ptr<const rpc::Value> value;            // kInline
    std::unique_ptr<const rpc::ErrorInfo> error;        // kError
    // Copies that come damaged to other nodes: they count as lost. Their nodes keep them, for who has a ref there,
    // until the entry is freed.
    std::unique_ptr<std::map<NodeId, rpc::StoreLocation>> damaged;

    bool final() const { return state == State::kInline || state == State::kStored || state == State::kError; }
    bool held_by_somebody() const {
      return held != 0 || !tickets.empty() || !early.empty() || !containers.empty() || seal_due_on != 0;
    }
  };
  struct RemoteHold {  // of this daemon on an object of another home
    uint64_t borrow = 0;
    absl::btree_set<ObjectId> containers;
  };
  using Entries = std::map<ObjectId, Entry>;  // pointers to entries stay good

  static Holding HoldingOf(const ObjectId& object, const Entry& entry);
  // seals, values
  void AcceptSeal(const rpc::ObjectSeal& message, Entry* entry, Output* out);
  void AwaitSeal(const rpc::StoreLocation& location, Entry* entry);
  void SetValue(const rpc::Value& value, Entry* entry);
  void SetError(rpc::ErrorCode code, std::string message, Entry* entry);
  void SetLost(NodeId node, const std::string& how, Entry* entry);
  bool AskOwner(const ObjectId& object, Entry* entry, Output* out) const;
  void SayWhyLost(const ObjectId& object, Entry* entry) const;
  bool IsUnreachable(const rpc::StoreLocation& location, const Entry& entry) const;
  void DropCopies(const ObjectId& object, Entry* entry, Output* out);
  void SetRefs(const ObjectId& object, Entry* entry, std::vector<rpc::NestedRef> refs, Output* out);
  void HoldNested(const ObjectId& container, const ObjectId& nested, Output* out);
  void ReleaseNested(const ObjectId& container, const ObjectId& nested, Output* out);  // then Check
  // answers
  void AnswerWaiters(const ObjectId& object, Entry* entry, Output* out);
  void Answer(const ObjectId& object, const Entry& entry, ProcessId asker, Output* out) const;
  rpc::ErrorInfo GoneError(const ObjectId& object) const;
  // holds
  Entry& Open(const ObjectId& object);
  void Hold0(ProcessId owner, const ObjectId& object, Entry* entry);
  void EndTicket(const TicketId& ticket, Entry* entry);
  void EndEarly(const ObjectId& object, const TicketId& ticket, EarlyEnd end, Entry* entry);
  void ForgetProcess(ProcessId process, Entry* entry);
  void Name(ProcessId process, const ObjectId& object, Entry* entry);
  void Check(const ObjectId& object, Output* out);
  void Free(Entries::iterator at, Output* out);

  const DeathTable* const deaths_;
  NodeId self_ = 0;
  Entries entries_;
  absl::btree_set<std::pair<ProcessId, ObjectId>> by_process_;
  std::map<ObjectId, RemoteHold> remote_holds_;
  uint64_t next_borrow_ = 1;
  size_t ticket_count_ = 0;
  uint64_t inline_bytes_ = 0;
  std::vector<ObjectId> to_check_;  // may be free now; emptied by Check
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_HOME_TABLE_H_

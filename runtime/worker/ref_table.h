// RefTable knows every object that this process refers to: what it is, who here refers to it, and what its home has
// been told.
//
// Problem:    a ref may be under way in both directions, in several calls, while its last handle is dropped, its owner
// dies
//             or its value arrives; the home must never free what somebody can still reach, and must free the rest.
// Rules:      (numbers are docs/objects.md's)
//             (3) an own object is published before a message that carries a ref to it, and again when it resolves.
//             (4) each ref of a message is ticketed before the message.
//             (5) a call from others holds its refs by their tickets while it waits or runs; at its end what user code
//                 still refers to, what was registered before and what was passed on is registered with the ticket.
//             (7) refs in a reply are registered when it arrives; for those this process holds or owns the ticket ends.
//             (8) the own hold ends when the last handle, value and call is gone.
//             A borrowed object that no ticket covers (it came out of a value read from the store) is registered at
//             once.
// Indices:    the refs of a message are counted over its values in order: the object of a kStored value, then the refs
//             nested in the value. Both sides count alike.
// Ownership:  owns the entries of borrowed objects; those of own results lie in CallStore. Borrows Outbox and
// CallStore. Threads:    externally synchronised (ProcessCore). Invariants: (1) a handle is completed once.
//             (2) an object without references is forgotten in the Handle that dropped the last one (own results:
//                 once they are known; actors' handles: once ProcessCore has released them).
#ifndef MANTA_RUNTIME_WORKER_REF_TABLE_H_
#define MANTA_RUNTIME_WORKER_REF_TABLE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/worker/call_store.h"
#include "runtime/worker/object_entry.h"
#include "runtime/worker/outbox.h"

namespace manta::runtime::worker {

class RefTable {
 public:
  RefTable(ProcessId self, Outbox* out, CallStore* calls) : self_(self), out_(out), calls_(calls) {}
  RefTable(const RefTable&) = delete;
  RefTable& operator=(const RefTable&) = delete;

  // Null: this process does not refer to it.
  ObjectEntry* Find(const ObjectId& id);

  // ---- user code
  void AddHandle(const ObjectId& id, const rpc::StoreLocation& hint, Cookie handle);
  void DropHandle(const ObjectId& id, Cookie handle);
  // Get or Wait. A second one for a location that is known asks the home again: the copy there has gone.
  void Want(const ObjectId& id);

  // ---- own calls and values
  void Hold(const ObjectId& id);
  void Unhold(const ObjectId& id);
  void HoldRefs(const rpc::Value& value);
  void UnholdRefs(const rpc::Value& value);
  // By a completed call that may be run again.
  void HoldLineage(const ObjectId& id);
  void UnholdLineage(const ObjectId& id);
  // What such calls alone keep alive.
  uint64_t pinned_bytes() const { return pinned_bytes_; }
  // True: it is known (`here`: and on this node, or an error). False: `waiter` is woken when it is.
  bool Await(const ObjectId& id, Waiter waiter, bool here);

  // ---- own results. REQUIRES: `entry` is that of `id`, pending, and its refs are held for it.
  void SetValue(const ObjectId& id, ObjectEntry* entry, rpc::Value value);
  void SetError(const ObjectId& id, ObjectEntry* entry, rpc::ErrorInfo error);
  // The call is run again: the result is pending, and the home is told what becomes of it.
  void Reopen(ObjectEntry* entry);
  // It is lost for good, and the home is told so.
  void Lose(const ObjectId& id, ObjectEntry* entry, rpc::ErrorInfo error);
  // A result while the call was run again for another one: the newer copy has taken the place of the older.
  void Supersede(const ObjectId& id, ObjectEntry* entry, rpc::Value value, uint32_t attempt);
  // An actor's handle, or an object that is lost, changes from a value to an error; nothing else does.
  void ReplaceByError(const ObjectId& id, ObjectEntry* entry, rpc::ErrorInfo error);
  // An attempt was lost with its worker: the home may hold a copy for this process that it had sealed.
  void MayBeSealed(const ObjectId& id, ObjectEntry* entry);
  // Ends the home's hold on a result that a stale reply names.
  void ReleaseSealed(const ObjectId& id, const rpc::Value& value, uint32_t attempt);
  // If nothing refers to it, tells the home and forgets it. Actors' handles go only this way: calls that are not over
  // hold an actor without being counted here.
  void ForgetUnreferenced(const ObjectId& id);
  // ObjectPublish, if the home does not know it yet; refs nested in it first.
  void Publish(const ObjectId& id, ObjectEntry* entry);

  // ---- requests that this process sends
  void TicketRequest(std::vector<rpc::Value>* args, const CallId& call, uint32_t attempt);
  void EndRequest(const std::vector<rpc::Value>& args, const CallId& call, uint32_t attempt,
                  const std::vector<uint32_t>& kept, ProcessId callee);
  // The callee is dead. What it passed on may still be on its way to the homes: the tickets end when its death is
  // drained.
  void LoseRequest(const std::vector<rpc::Value>& args, const CallId& call, uint32_t attempt, ProcessId dead);

  // ---- replies to them
  // Holds their refs, one hold for each. A ref that cannot exist is emptied.
  void AcceptReply(std::vector<rpc::Value>* returns, const CallId& call, uint32_t attempt, ProcessId callee);
  void RefuseReply(const std::vector<rpc::Value>& returns, const CallId& call, uint32_t attempt, ProcessId callee);

  // ---- calls from others
  // The refs of a request, now held by its tickets. A ref that cannot exist is emptied.
  std::vector<ObjectId> HoldForCall(std::vector<rpc::Value>* args);
  // The call is over: registers what user code refers to; the indices of what was registered.
  // `ticketed` false: the refs came without tickets (a restarted actor's arguments).
  std::vector<uint32_t> EndOfCall(const std::vector<ObjectId>& refs, const CallId& call, uint32_t attempt,
                                  bool ticketed);
  // The caller is dead: registers all of them at once.
  void RegisterForCall(const std::vector<ObjectId>& refs, const CallId& call, uint32_t attempt);
  // Before the reply is sent: publishes and tickets its refs.
  void TicketReply(std::vector<rpc::Value>* returns, const CallId& call, uint32_t attempt);
  // ObjectSeal for a kStored value that this process has written.
  void Seal(const ObjectId& id, const rpc::Value& value, uint32_t attempt, ProcessId holder);

  // ---- news
  void OnResolved(rpc::ObjectResolved message);
  // Objects whose home it was are lost. The home is told of own results there, whose seals may be lost too.
  void NodeDied(NodeId node, const std::string& reason);
  // Everything borrowed that is not here ends with kNodeDied.
  void DaemonLost();

  size_t borrowed() const { return borrowed_.size(); }

 private:
  enum class Ticketed { kNo, kYes };

  ObjectEntry* FindOrBorrow(const ObjectId& id);
  bool IsHere(const ObjectEntry& entry) const {
    return !entry.resolving &&
           (entry.value.kind == rpc::Value::Kind::kInline || entry.value.location.node == self_.node);
  }
  void Settled(const ObjectId& id, ObjectEntry* entry);
  void CompleteHandle(const ObjectEntry& entry, Cookie handle);
  void CompleteWaiting(ObjectEntry* entry);
  void WakeWaiters(const ObjectId& id, ObjectEntry* entry);
  void Resolve(const ObjectId& id, ObjectEntry* entry);
  void PublishOne(const ObjectId& id, ObjectEntry* entry);
  void TicketRefs(std::vector<rpc::Value>* values, const TicketId& first, ProcessId receiver);
  void TicketRef(const ObjectId& id, rpc::StoreLocation* hint, const TicketId& ticket, ProcessId receiver);
  void EndTicket(const ObjectId& id, const TicketId& ticket, ProcessId kept_by);
  void EndReplyTicket(const ObjectId& id, const TicketId& ticket, ProcessId callee);
  void Register(const ObjectId& id, ObjectEntry* entry, const TicketId& ticket, ProcessId ticket_by = {});
  void Cover(const ObjectId& id, ObjectEntry* entry) {
    if (!entry->owned && !entry->registered && entry->calls == 0) Register(id, entry, TicketId{});
  }
  void IfUnreferenced(const ObjectId& id, ObjectEntry* entry) {
    if (!entry->referenced()) return Unreferenced(id, entry);
    if (!entry->in_use()) Pin(entry);
  }
  void Unreferenced(const ObjectId& id, ObjectEntry* entry);
  void Pin(ObjectEntry* entry);
  void OnLost(rpc::ObjectResolved message, ObjectEntry* entry);
  void Forget(const ObjectId& id, ObjectEntry* entry);
  bool Impossible(const ObjectId& id);
  rpc::ErrorInfo LostWithHome(NodeId node, const std::string& reason) const;

  const ProcessId self_;
  Outbox* const out_;
  CallStore* const calls_;
  uint64_t last_borrow_ = 0;
  uint64_t pinned_bytes_ = 0;
  std::map<ObjectId, ObjectEntry> borrowed_;
  std::vector<ObjectId> unreferenced_;  // to be forgotten; a worklist instead of recursion
  bool forgetting_ = false;
};

// Retires the record if the call is over and nobody refers to its results. One that is kept is noted first.
void RetireIfOver(Outbox* out, CallStore* calls, Call* call);

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_REF_TABLE_H_

#include "runtime/worker/ref_table.h"

#include <algorithm>

#include "base/check.h"
#include "base/rule.h"

// Who refers to what, and what the homes are told of it. What objects are is in ref_table_values.cc.

namespace manta::runtime::worker {
namespace {

using rpc::Value;

// What an object counts for whose size is not known here.
constexpr uint64_t kUnknownBytes = 1 << 20;

// visit(index, id, nested) for each ref of a message, in the order that both sides count. `nested` is null for the
// object of a kStored value.
template <typename Values, typename Visit>
void ForEachRef(Values& values, Visit visit) {
  uint32_t index = 0;
  for (auto& value : values) {
    if (value.kind == Value::Kind::kStored)
      visit(index++, value.object, static_cast<decltype(&value.refs[0])>(nullptr));
    for (auto& nested : value.refs) visit(index++, nested.object, &nested);
  }
}

bool HasRefs(const std::vector<Value>& values) {
  for (const Value& value : values) {
    if (value.kind != Value::Kind::kInline || !value.refs.empty()) return true;
  }
  return false;
}

void RemoveWaiting(ObjectEntry* entry, Cookie handle) {
  std::vector<Cookie>* more = entry->more_waiting.get();
  if (entry->waiting == handle) {
    entry->waiting = 0;
    if (more != nullptr && !more->empty()) {
      entry->waiting = more->front();
      more->erase(more->begin());
    }
  } else if (more != nullptr) {
    std::erase(*more, handle);
  }
}

void AddWaiting(ObjectEntry* entry, Cookie handle) {
  if (handle == 0) return;
  if (entry->waiting == 0) {
    entry->waiting = handle;
    return;
  }
  if (!entry->more_waiting) entry->more_waiting = std::make_unique<std::vector<Cookie>>();
  entry->more_waiting->push_back(handle);
}

}  // namespace

ObjectEntry* RefTable::Find(const ObjectId& id) {
  if (id.owner == self_) {
    if (ObjectEntry* entry = calls_->FindResult(id)) return entry;
  }
  if (borrowed_.empty()) return nullptr;
  const auto it = borrowed_.find(id);
  return it == borrowed_.end() ? nullptr : &it->second;
}

// ---------------------------------------------------------------- user code

void RefTable::AddHandle(const ObjectId& id, const rpc::StoreLocation& hint, Cookie handle) {
  if (Impossible(id)) {
    auto& complete = out_->Act<Complete>();
    complete.handle = handle;
    complete.error.code = rpc::ErrorCode::kObjectLost;
    complete.error.message = "the ref " + ToString(id) +
                             " names no object of this process: it was not made by Manta, or its "
                             "bytes were changed";
    return;
  }
  ObjectEntry* entry = FindOrBorrow(id);
  Cover(id, entry);
  ++entry->handles;
  if (entry->pending() && !entry->owned && hint.node != 0 && !id.is_actor()) {
    entry->phase = ObjectEntry::Phase::kValue;
    entry->value.kind = Value::Kind::kStored;
    entry->value.object = id;
    entry->value.location = hint;
    Settled(id, entry);
  }
  if (handle == 0) return;
  if (entry->phase == ObjectEntry::Phase::kError || (!entry->pending() && IsHere(*entry))) {
    CompleteHandle(*entry, handle);
    return;
  }
  AddWaiting(entry, handle);
  if (out_->daemon_lost()) DaemonLost();
}

void RefTable::DropHandle(const ObjectId& id, Cookie handle) {
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || entry->handles == 0) return;
  if (entry->waiting != 0) RemoveWaiting(entry, handle);
  --entry->handles;
  IfUnreferenced(id, entry);
}

// ---------------------------------------------------------------- own calls and values

void RefTable::Hold(const ObjectId& id) {
  if (!id) return;
  ObjectEntry* entry = FindOrBorrow(id);
  Cover(id, entry);
  ++entry->holds;
}

void RefTable::Unhold(const ObjectId& id) {
  if (!id) return;
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || entry->holds == 0) return;
  --entry->holds;
  IfUnreferenced(id, entry);
}

void RefTable::HoldRefs(const Value& value) {
  for (const rpc::NestedRef& nested : value.refs) Hold(nested.object);
}

void RefTable::UnholdRefs(const Value& value) {
  for (const rpc::NestedRef& nested : value.refs) Unhold(nested.object);
}

void RefTable::HoldLineage(const ObjectId& id) {
  if (id) ++FindOrBorrow(id)->lineage;
}

void RefTable::UnholdLineage(const ObjectId& id) {
  ObjectEntry* entry = id ? Find(id) : nullptr;
  if (entry == nullptr || entry->lineage == 0) return;
  if (--entry->lineage == 0) pinned_bytes_ -= std::exchange(entry->pinned_bytes, 0);
  if (!entry->referenced()) Unreferenced(id, entry);
}

void RefTable::Pin(ObjectEntry* entry) {
  if (entry->pinned_bytes != 0) return;
  const Value& value = entry->value;
  const bool stored = value.kind == Value::Kind::kStored;
  entry->pinned_bytes = entry->pending() ? kUnknownBytes : stored ? value.location.size_bytes : value.bytes.size() + 1;
  pinned_bytes_ += entry->pinned_bytes;
}

// ---------------------------------------------------------------- requests

void RefTable::TicketRequest(std::vector<Value>* args, const CallId& call, uint32_t attempt) {
  TicketRefs(args, TicketId{call, attempt, 0, false}, ProcessId{});
}

void RefTable::EndRequest(const std::vector<Value>& args, const CallId& call, uint32_t attempt,
                          const std::vector<uint32_t>& kept, ProcessId callee) {
  ForEachRef(args, [&](uint32_t index, const ObjectId& id, auto*) {
    if (!id) return;
    const bool was_kept = std::find(kept.begin(), kept.end(), index) != kept.end();
    EndTicket(id, TicketId{call, attempt, index, false}, was_kept ? callee : ProcessId{});
  });
}

void RefTable::LoseRequest(const std::vector<Value>& args, const CallId& call, uint32_t attempt, ProcessId dead) {
  const ProcessId until = MANTA_RULE("ref.lost_call_awaits_drain") ? dead : ProcessId{};
  ForEachRef(args, [&](uint32_t index, const ObjectId& id, auto*) {
    if (id) EndTicket(id, TicketId{call, attempt, index, false}, until);
  });
}

// ---------------------------------------------------------------- replies

void RefTable::AcceptReply(std::vector<Value>* returns, const CallId& call, uint32_t attempt, ProcessId callee) {
  if (!HasRefs(*returns)) return;
  ForEachRef(*returns, [&](uint32_t index, ObjectId& id, rpc::NestedRef* nested) {
    if (nested == nullptr || !id) return;
    const TicketId ticket{call, attempt, index, true};
    if (Impossible(id)) {
      id = {};
      return;
    }
    ObjectEntry* entry = FindOrBorrow(id);
    if (entry->owned || entry->registered) {
      EndReplyTicket(id, ticket, callee);
    } else {
      Register(id, entry, ticket, callee);
    }
    ++entry->holds;
  });
}

void RefTable::RefuseReply(const std::vector<Value>& returns, const CallId& call, uint32_t attempt, ProcessId callee) {
  ForEachRef(returns, [&](uint32_t index, const ObjectId& id, const rpc::NestedRef* nested) {
    if (nested != nullptr && id) EndReplyTicket(id, TicketId{call, attempt, index, true}, callee);
  });
}

void RefTable::MayBeSealed(const ObjectId& id, ObjectEntry* entry) {
  if (entry->dropped) {  // all that the worker sealed has reached the home before its death was reported
    out_->ToDaemon(rpc::RefRelease{.object = id, .holder = self_});
  } else {
    entry->registered = true;
  }
}

void RefTable::ReleaseSealed(const ObjectId& id, const Value& value, uint32_t attempt) {
  ObjectEntry* entry = Find(id);
  if (entry != nullptr && entry->owned) {
    entry->registered = true;
    if (entry->sealed_on == 0) {
      entry->sealed_on = value.location.node;
      entry->sealed_attempt = attempt;
    }
    return;
  }
  out_->ToDaemon(rpc::RefRelease{
      .object = id, .holder = self_, .borrow = 0, .sealed_on = value.location.node, .sealed_attempt = attempt});
}

// ---------------------------------------------------------------- calls from others

std::vector<ObjectId> RefTable::HoldForCall(std::vector<Value>* args) {
  std::vector<ObjectId> refs;
  if (!HasRefs(*args)) return refs;
  ForEachRef(*args, [&](uint32_t, ObjectId& id, rpc::NestedRef*) {
    if (Impossible(id)) id = {};
    if (id) ++FindOrBorrow(id)->calls;
    refs.push_back(id);
  });
  return refs;
}

std::vector<uint32_t> RefTable::EndOfCall(const std::vector<ObjectId>& refs, const CallId& call, uint32_t attempt,
                                          bool ticketed) {
  std::vector<uint32_t> kept;
  for (uint32_t index = 0; index < refs.size(); ++index) {
    ObjectEntry* entry = refs[index] ? Find(refs[index]) : nullptr;
    if (entry == nullptr || entry->calls == 0) continue;
    --entry->calls;
    // The caller's ticket ends when the caller says so, which may be before the home has heard what this process has
    // said: what it registered, or lent on, must not depend on that ticket. So its registration ends the ticket.
    const bool said = (MANTA_RULE("ref.keep_what_was_lent") && entry->lent) ||
                      (MANTA_RULE("ref.keep_what_is_registered") && entry->registered && ticketed);
    const bool kept_now = !entry->registered && (entry->handles | entry->holds | entry->lineage) != 0;
    if (MANTA_RULE("ref.kept_in_reply") && !entry->owned && (said || kept_now)) {
      Register(refs[index], entry, ticketed ? TicketId{call, attempt, index, false} : TicketId{});
      if (ticketed) kept.push_back(index);
    }
    IfUnreferenced(refs[index], entry);
  }
  return kept;
}

void RefTable::RegisterForCall(const std::vector<ObjectId>& refs, const CallId& call, uint32_t attempt) {
  for (uint32_t index = 0; index < refs.size(); ++index) {
    ObjectEntry* entry = refs[index] ? Find(refs[index]) : nullptr;
    if (entry == nullptr || entry->owned || entry->registered) continue;
    Register(refs[index], entry, TicketId{call, attempt, index, false});
  }
}

void RefTable::TicketReply(std::vector<Value>* returns, const CallId& call, uint32_t attempt) {
  if (HasRefs(*returns)) TicketRefs(returns, TicketId{call, attempt, 0, true}, call.caller);
}

void RefTable::Seal(const ObjectId& id, const Value& value, uint32_t attempt, ProcessId holder) {
  for (const rpc::NestedRef& nested : value.refs) {
    ObjectEntry* entry = Find(nested.object);
    if (entry != nullptr && entry->owned) Publish(nested.object, entry);
  }
  auto& seal = out_->Send<rpc::ObjectSeal>(out_->daemon());
  seal.object = id;
  seal.attempt = attempt;
  seal.location = value.location;
  seal.holder = holder;
  seal.refs = value.refs;
}

// ---------------------------------------------------------------- tickets and registrations

void RefTable::TicketRefs(std::vector<Value>* values, const TicketId& first, ProcessId receiver) {
  ForEachRef(*values, [&](uint32_t index, const ObjectId& id, rpc::NestedRef* nested) {
    if (!id || (nested == nullptr && first.reply)) return;  // a reply's stored value is sealed for the caller
    TicketId ticket = first;
    ticket.index = index;
    TicketRef(id, nested != nullptr ? &nested->location : nullptr, ticket, receiver);
  });
}

void RefTable::TicketRef(const ObjectId& id, rpc::StoreLocation* hint, const TicketId& ticket, ProcessId receiver) {
  ObjectEntry* entry = Find(id);
  if (entry != nullptr && entry->owned) {
    Publish(id, entry);
    // A reader who finds it in place asks nobody, so nobody tells it of refs nested in it.
    const bool plain = !entry->pending() && entry->value.kind == Value::Kind::kStored && entry->value.refs.empty();
    if (hint != nullptr && plain) *hint = entry->value.location;
  }
  if (entry != nullptr && !entry->owned && !entry->registered) entry->lent = true;
  if (MANTA_RULE("ref.ticket_before_send")) {
    out_->ToDaemon(rpc::RefTicket{.ticket = ticket, .object = id, .holder = self_, .receiver = receiver});
  }
}

void RefTable::EndTicket(const ObjectId& id, const TicketId& ticket, ProcessId kept_by) {
  out_->ToDaemon(rpc::RefOutcome{.ticket = ticket, .object = id, .kept_by = kept_by});
}

void RefTable::EndReplyTicket(const ObjectId& id, const TicketId& ticket, ProcessId callee) {
  out_->ToDaemon(rpc::RefOutcome{.ticket = ticket, .object = id, .kept_by = {}, .ticket_by = callee});
}

void RefTable::Register(const ObjectId& id, ObjectEntry* entry, const TicketId& ticket, ProcessId ticket_by) {
  entry->registered = true;
  entry->lent = false;
  entry->borrow = ++last_borrow_;
  out_->ToDaemon(rpc::RefRegister{
      .object = id, .holder = self_, .borrow = entry->borrow, .ticket = ticket, .ticket_by = ticket_by});
}

ObjectEntry* RefTable::FindOrBorrow(const ObjectId& id) {
  if (ObjectEntry* entry = Find(id)) return entry;
  return &borrowed_[id];
}

bool RefTable::Impossible(const ObjectId& id) { return id.number == 0 || calls_->NotYetAllotted(id); }

// ---------------------------------------------------------------- the end of an object here

void RefTable::ForgetUnreferenced(const ObjectId& id) {
  ObjectEntry* entry = Find(id);
  if (entry != nullptr && !entry->referenced()) Forget(id, entry);
}

void RefTable::Unreferenced(const ObjectId& id, ObjectEntry* entry) {
  if (id.is_actor()) {
    out_->idle_handles.push_back(ActorId::FromHandle(id));
    return;
  }
  if (entry->owned && entry->pending()) return;  // its call goes on
  if (!forgetting_ && entry->value.refs.empty()) return Forget(id, entry);
  // Forgetting a value drops the refs nested in it, and so on.
  unreferenced_.push_back(id);
  if (forgetting_) return;
  forgetting_ = true;
  while (!unreferenced_.empty()) {
    const ObjectId next = unreferenced_.back();
    unreferenced_.pop_back();
    ObjectEntry* found = Find(next);
    if (found != nullptr && !found->referenced()) Forget(next, found);
  }
  forgetting_ = false;
}

// Tells the home, and lets the entry go.
void RefTable::Forget(const ObjectId& id, ObjectEntry* entry) {
  if (entry->registered) {
    auto& release = out_->Send<rpc::RefRelease>(out_->daemon());
    release.object = id;
    release.holder = self_;
    release.borrow = entry->borrow;
    release.sealed_on = entry->sealed_on;
    release.sealed_attempt = entry->sealed_attempt;
  }
  if (!entry->owned) {
    borrowed_.erase(id);
    return;
  }
  entry->dropped = true;
  entry->registered = false;
  entry->value.bytes = {};
  if (!entry->value.refs.empty()) {
    const std::vector<rpc::NestedRef> refs = std::exchange(entry->value.refs, {});
    for (const rpc::NestedRef& nested : refs) Unhold(nested.object);
  }
  RetireIfOver(out_, calls_, calls_->Find(id.number));
}

void RetireIfOver(Outbox* out, CallStore* calls, Call* call) {
  if (!call->completed || call->sent || call->retired) return;
  if (call->kind == Call::Kind::kActorCreation && !call->actor_over) return;
  for (uint32_t i = 0; i < call->entry_count(); ++i) {
    if (!call->result_at(i).dropped) return;
  }
  if (call->kept) return out->unkept.push_back(call->number);
  calls->Retire(call);
}

}  // namespace manta::runtime::worker

#include "runtime/node/home_table.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/check.h"
#include "base/rule.h"

namespace manta::runtime::node {

using rpc::ErrorCode;

// ---------------------------------------------------------------- messages: what there is

void HomeTable::Seal(const rpc::ObjectSeal& message, Output* out) {
  const ObjectId& object = message.object;
  if (!entries_.contains(object) && deaths_->IsDead(message.holder)) {
    // Nobody has known of it, and nobody ever will.
    out->sends.push_back({message.location.node, rpc::ObjectDrop{object, message.attempt}});
    return;
  }
  Entry& entry = Open(object);
  const auto owner = entry.holders.find(message.holder);
  const bool released = owner != entry.holders.end() && !owner->second.held;
  const bool stale = message.attempt < std::max(entry.copies.empty() ? 0 : entry.attempt, entry.seal_due_attempt);
  if (entry.seal_due_on == message.location.node && !stale) entry.seal_due_on = 0;
  if (MANTA_RULE("home.seal_revives") && entry.lost && message.attempt > entry.attempt) {
    // Its owner has not read what was lost, and has made the call again.
    entry.lost = false;
    entry.state = State::kUnknown;
  }
  if (stale || entry.state == State::kInline || entry.state == State::kError) {
    out->sends.push_back({message.location.node, rpc::ObjectDrop{object, message.attempt}});
  } else {
    AcceptSeal(message, &entry, out);
    if (!released && !deaths_->IsDead(message.holder)) Hold0(message.holder, object, &entry);
  }
  Check(object, out);
}

void HomeTable::Publish(const rpc::ObjectPublish& message, Output* out) {
  const ObjectId& object = message.object;
  Entry& entry = Open(object);
  Hold0(object.owner, object, &entry);
  entry.owner_asked = entry.owner_asked && (message.pending || message.value.kind == rpc::Value::Kind::kStored);
  if (message.pending) {
    if (!entry.final() || entry.state == State::kStored) entry.state = State::kPending;
  } else if (message.error) {
    DropCopies(object, &entry, out);
    entry.error = std::make_unique<rpc::ErrorInfo>(message.error);
    entry.state = State::kError;
    entry.lost = false;
  } else if (message.value.kind == rpc::Value::Kind::kInline) {
    DropCopies(object, &entry, out);
    SetRefs(object, &entry, message.value.refs, out);
    SetValue(message.value, &entry);
  } else {
    AwaitSeal(message.value.location, &entry);
    if (entry.state != State::kError) SetRefs(object, &entry, message.value.refs, out);
  }
  AnswerWaiters(object, &entry, out);
  Check(object, out);
}

void HomeTable::Copy(const rpc::ObjectCopy& message, Output* out) {
  const ObjectId& object = message.object;
  const NodeId node = message.location.node;
  const auto it = entries_.find(object);
  const bool wanted = it != entries_.end() && !it->second.copies.empty() && it->second.attempt == message.attempt;
  if (message.present) {
    if (deaths_->IsDead(DaemonOf(node))) return;
    if (wanted) {
      it->second.copies[node] = message.location;
    } else {
      out->sends.push_back({node, rpc::ObjectDrop{object, message.attempt}});
    }
    return;
  }
  if (!wanted) return;
  Entry& entry = it->second;
  const auto copy = entry.copies.find(node);
  if (copy == entry.copies.end() || (message.damaged && copy->second != message.location)) return;
  entry.copies.erase(copy);
  if (message.damaged) {
    if (entry.damaged == nullptr) entry.damaged = std::make_unique<std::map<NodeId, rpc::StoreLocation>>();
    (*entry.damaged)[node] = message.location;
  }
  if (entry.copies.empty() && entry.state == State::kStored) {
    SetLost(node, message.damaged ? ToString(object) + " came damaged from there each time" : "is gone", &entry);
  }
  AnswerWaiters(object, &entry, out);
  Check(object, out);
}

void HomeTable::Resolve(const rpc::ObjectResolve& message, Output* out) {
  const ObjectId& object = message.object;
  if (deaths_->IsDead(message.asker)) return;
  if (!entries_.contains(object) && deaths_->IsDead(object.owner)) {
    rpc::ObjectResolved answer;
    answer.object = object;
    answer.asker = message.asker;
    answer.error = GoneError(object);
    out->sends.push_back({message.asker.node, std::move(answer)});
    return;
  }
  Entry& entry = Open(object);
  entry.waiters.insert(message.asker);
  Name(message.asker, object, &entry);
  AnswerWaiters(object, &entry, out);
  Check(object, out);
}

// ---------------------------------------------------------------- messages: who holds it

void HomeTable::Ticket(const rpc::RefTicket& message, Output* out) {
  // A borrower's ticket may overtake the owner's publication; but what a dead owner has not published never will be.
  const bool known = entries_.contains(message.object);
  if (!known && (!MANTA_RULE("home.ticket_before_publish") || deaths_->IsDead(message.object.owner))) return;
  if (deaths_->IsDrained(message.holder)) return;
  if (message.receiver.is_user_process() && deaths_->IsDrained(message.receiver)) return;
  Entry& entry = Open(message.object);
  if (MANTA_RULE("home.early_register") && entry.early.erase(message.ticket) != 0) return Check(message.object, out);
  if (entry.tickets.insert({message.ticket, {message.holder, message.receiver, {}}}).second) ++ticket_count_;
  Name(message.holder, message.object, &entry);
  if (message.receiver.is_user_process()) Name(message.receiver, message.object, &entry);
}

void HomeTable::Outcome(const rpc::RefOutcome& message, Output* out) {
  const ObjectId& object = message.object;
  const ProcessId caller = message.ticket.call.caller;
  // A caller ends the ticket of a reply that it has no use for, perhaps before the callee's RefTicket has come.
  const bool may_be_early = message.ticket.reply && !deaths_->IsDrained(caller);
  if (!entries_.contains(object) && !may_be_early) return;
  Entry& entry = Open(object);
  const auto ticket = entry.tickets.find(message.ticket);
  if (ticket == entry.tickets.end()) {
    if (may_be_early) EndEarly(object, message.ticket, {caller, message.ticket_by}, &entry);
  } else if (MANTA_RULE("home.kept_awaits_registration") && message.kept_by.is_user_process() &&
             !deaths_->IsDrained(message.kept_by)) {
    ticket->second.kept_by = message.kept_by;
    Name(message.kept_by, object, &entry);
  } else {
    EndTicket(message.ticket, &entry);
  }
  Check(object, out);
}

void HomeTable::Register(const rpc::RefRegister& message, Output* out) {
  if (deaths_->IsDrained(message.holder)) return;
  const ObjectId& object = message.object;
  Entry& entry = Open(object);
  const auto [holder, fresh] = entry.holders.try_emplace(message.holder);
  Hold& hold = holder->second;
  Name(message.holder, object, &entry);
  if (fresh || !MANTA_RULE("home.borrow_number") || message.borrow > hold.borrow) {
    hold.borrow = message.borrow;
    if (!hold.held) ++entry.held;
    hold.held = true;
  }
  if (message.ticket.call.number != 0) {
    if (entry.tickets.contains(message.ticket)) {
      EndTicket(message.ticket, &entry);
    } else if (!deaths_->IsDrained(message.ticket.call.caller)) {
      EndEarly(object, message.ticket, {message.holder, message.ticket_by}, &entry);
    }
  }
  Check(object, out);
}

void HomeTable::Release(const rpc::RefRelease& message, Output* out) {
  const ObjectId& object = message.object;
  const bool seal_may_come = MANTA_RULE("home.seal_after_release") && message.sealed_on != 0 &&
                             message.holder == object.owner && !deaths_->IsDead(DaemonOf(message.sealed_on));
  if (!entries_.contains(object) && !seal_may_come) return;
  Entry& entry = Open(object);
  Hold& hold = entry.holders[message.holder];
  Name(message.holder, object, &entry);
  if (!MANTA_RULE("home.borrow_number") || message.borrow >= hold.borrow) {
    hold.borrow = message.borrow;
    if (hold.held) --entry.held;
    hold.held = false;
    if (entry.owner_asked && message.holder == object.owner) {
      SetLost(entry.lost_on, "is gone", &entry);
      AnswerWaiters(object, &entry, out);
    }
    const bool sealed = !entry.copies.empty() && entry.attempt >= message.sealed_attempt;
    if (seal_may_come && !sealed && entry.state != State::kError) {
      entry.seal_due_on = message.sealed_on;
      entry.seal_due_attempt = message.sealed_attempt;
    }
  }
  Check(object, out);
}

void HomeTable::OpenHandle(ActorId actor) {
  const ObjectId handle = actor.handle();
  if (deaths_->IsDead(actor.creator)) return;
  Entry& entry = Open(handle);
  if (!entry.holders.contains(actor.creator)) Hold0(actor.creator, handle, &entry);
}

// ---------------------------------------------------------------- deaths

void HomeTable::OwnerDied(ProcessId owner, const std::string& reason, Output* out) {
  std::vector<ObjectId> owned;
  for (auto it = entries_.lower_bound(ObjectId{owner, 0, 0}); it != entries_.end() && it->first.owner == owner; ++it) {
    owned.push_back(it->first);
  }
  for (const ObjectId& object : owned) {
    const auto it = entries_.find(object);
    if (it == entries_.end()) continue;  // freed with its container
    Entry& entry = it->second;
    if (entry.final() || entry.awaited != nullptr) continue;
    if (!entry.copies.empty()) {
      entry.state = State::kStored;  // sealed objects stay
    } else {
      SetError(ErrorCode::kOwnerDied, "the process that made the call, " + ToString(owner) + ", died: " + reason,
               &entry);
    }
    AnswerWaiters(object, &entry, out);
    Check(object, out);
  }
}

void HomeTable::Drained(ProcessId dead, Output* out) {
  const ProcessId last = dead.is_daemon() ? ProcessId{dead.node, UINT64_MAX} : dead;
  std::vector<std::pair<ProcessId, ObjectId>> named;
  for (auto it = by_process_.lower_bound({dead, ObjectId{}}); it != by_process_.end() && it->first <= last; ++it) {
    named.push_back(*it);
  }
  for (const auto& [process, object] : named) {
    const auto it = entries_.find(object);
    if (it == entries_.end()) continue;
    ForgetProcess(process, &it->second);
    Check(object, out);
  }
}

void HomeTable::NodeDied(NodeId node, Output* out) {
  std::vector<ObjectId> touched;
  for (const auto& [object, entry] : entries_) {
    const bool awaited = entry.awaited != nullptr && entry.awaited->node == node;
    if (entry.copies.contains(node) || entry.seal_due_on == node || awaited) touched.push_back(object);
  }
  for (const ObjectId& object : touched) {
    const auto it = entries_.find(object);
    if (it == entries_.end()) continue;
    Entry& entry = it->second;
    if (entry.seal_due_on == node) entry.seal_due_on = 0;
    const bool had_copy = entry.copies.erase(node) != 0;
    const bool awaited = entry.awaited != nullptr && entry.awaited->node == node;
    if (awaited || (had_copy && entry.copies.empty() && entry.state == State::kStored))
      SetLost(node, "is gone", &entry);
    AnswerWaiters(object, &entry, out);
    Check(object, out);
  }
}

// ---------------------------------------------------------------- seals and values

void HomeTable::AcceptSeal(const rpc::ObjectSeal& message, Entry* entry, Output* out) {
  const NodeId node = message.location.node;
  if (!entry->copies.empty() && message.attempt > entry->attempt) {
    for (const auto& [other, location] : entry->copies) {
      if (other != node) out->sends.push_back({other, rpc::ObjectDrop{message.object, entry->attempt}});
    }
    entry->copies.clear();
  }
  entry->attempt = message.attempt;
  entry->copies[node] = message.location;
  SetRefs(message.object, entry, message.refs, out);
  if (entry->awaited != nullptr && *entry->awaited == message.location) {
    entry->awaited = nullptr;
    entry->state = State::kStored;
  }
  // Published as pending, it is final only when the owner says so: another attempt may still replace this one.
  if (entry->state == State::kUnknown) entry->state = State::kStored;
  AnswerWaiters(message.object, entry, out);
}

// The owner says that the value is stored at `location`.
void HomeTable::AwaitSeal(const rpc::StoreLocation& location, Entry* entry) {
  const auto copy = entry->copies.find(location.node);
  if (copy != entry->copies.end() && copy->second == location) {
    entry->state = State::kStored;
    entry->owner_asked = false;
  } else if (IsUnreachable(location, *entry)) {
    const bool is_old = entry->lost_on == location.node || !deaths_->IsDead(DaemonOf(location.node));
    if (entry->owner_asked && is_old) return;  // said before it was asked
    if (entry->copies.empty()) {
      SetLost(location.node, "is gone", entry);
    } else {
      entry->state = State::kStored;  // another node has one
    }
  } else {
    entry->state = State::kPending;
    entry->owner_asked = false;
    entry->awaited = std::make_unique<rpc::StoreLocation>(location);
  }
}

void HomeTable::SetValue(const rpc::Value& value, Entry* entry) {
  inline_bytes_ += value.bytes.size();
  if (entry->value != nullptr) inline_bytes_ -= entry->value->bytes.size();
  entry->value = std::make_unique<rpc::Value>(value);
  entry->state = State::kInline;
}

void HomeTable::SetError(ErrorCode code, std::string message, Entry* entry) {
  auto error = std::make_unique<rpc::ErrorInfo>();
  error->code = code;
  error->message = std::move(message);
  entry->error = std::move(error);
  entry->state = State::kError;
  entry->lost = false;
}

void HomeTable::SetLost(NodeId node, const std::string& how, Entry* entry) {
  entry->lost_on = node;
  entry->lost_attempt = entry->awaited == nullptr ? entry->attempt : UINT32_MAX;
  entry->owner_asked = false;
  entry->awaited = nullptr;
  SetError(ErrorCode::kObjectLost, "the only copy was on node n" + std::to_string(node) + ", and " + how, entry);
  entry->lost = true;
}

// What lies there is lost, whatever its owner has said of it before it knew.
bool HomeTable::IsUnreachable(const rpc::StoreLocation& location, const Entry& entry) const {
  if (deaths_->IsDead(DaemonOf(location.node))) return true;
  if (entry.damaged == nullptr) return false;
  const auto damaged = entry.damaged->find(location.node);
  return damaged != entry.damaged->end() && damaged->second == location;
}

void HomeTable::DropCopies(const ObjectId& object, Entry* entry, Output* out) {
  for (const auto& [node, location] : entry->copies)
    out->sends.push_back({node, rpc::ObjectDrop{object, entry->attempt}});
  entry->copies.clear();
  entry->awaited = nullptr;
}

void HomeTable::SetRefs(const ObjectId& object, Entry* entry, std::vector<rpc::NestedRef> refs, Output* out) {
  if (refs == entry->refs) return;
  const std::vector<rpc::NestedRef> before = std::exchange(entry->refs, std::move(refs));
  absl::btree_set<ObjectId> now;
  for (const rpc::NestedRef& ref : entry->refs) {
    if (now.insert(ref.object).second) HoldNested(object, ref.object, out);
  }
  for (const rpc::NestedRef& ref : before) {
    if (!now.contains(ref.object)) ReleaseNested(object, ref.object, out);
  }
}

void HomeTable::HoldNested(const ObjectId& container, const ObjectId& nested, Output* out) {
  if (nested.home() == self_) {
    Open(nested).containers.insert(container);
    return;
  }
  RemoteHold& hold = remote_holds_[nested];
  if (hold.containers.empty()) {
    hold.borrow = next_borrow_++;
    out->sends.push_back({nested.home(), rpc::RefRegister{nested, DaemonOf(self_), hold.borrow, {}}});
  }
  hold.containers.insert(container);
}

void HomeTable::ReleaseNested(const ObjectId& container, const ObjectId& nested, Output* out) {
  if (nested.home() == self_) {
    const auto it = entries_.find(nested);
    if (it != entries_.end() && it->second.containers.erase(container) != 0) to_check_.push_back(nested);
    return;
  }
  const auto it = remote_holds_.find(nested);
  if (it == remote_holds_.end() || it->second.containers.erase(container) == 0) return;
  if (!it->second.containers.empty()) return;
  out->sends.push_back({nested.home(), rpc::RefRelease{nested, DaemonOf(self_), it->second.borrow, 0, 0}});
  remote_holds_.erase(it);
}

// ---------------------------------------------------------------- answers

void HomeTable::AnswerWaiters(const ObjectId& object, Entry* entry, Output* out) {
  if (!entry->final()) return;
  if (entry->lost && !entry->waiters.empty() && MANTA_RULE("home.ask_owner")) {
    if (AskOwner(object, entry, out)) return;
    SayWhyLost(object, entry);
  }
  for (const ProcessId asker : std::exchange(entry->waiters, {})) Answer(object, *entry, asker, out);
}

// False: the owner is dead, or has not had a ref to it ever since, so that it is lost for good.
bool HomeTable::AskOwner(const ObjectId& object, Entry* entry, Output* out) const {
  const auto owner = entry->holders.find(object.owner);
  const bool holds = owner != entry->holders.end() && owner->second.held && owner->second.borrow == 0;
  if (!holds || deaths_->IsDead(object.owner)) return false;
  rpc::ObjectResolved question;
  question.object = object;
  question.asker = object.owner;
  question.attempt = entry->lost_attempt;
  question.error = *entry->error;
  out->sends.push_back({self_, std::move(question)});
  entry->waiters.erase(object.owner);  // that was its answer
  entry->error = nullptr;
  entry->state = State::kPending;
  entry->lost = false;
  entry->owner_asked = true;
  return true;
}

void HomeTable::SayWhyLost(const ObjectId& object, Entry* entry) const {
  constexpr std::string_view kNotAgain = ". It cannot be computed again: ";
  if (entry->error->message.find(kNotAgain) != std::string::npos) return;
  auto error = std::make_unique<rpc::ErrorInfo>(*entry->error);
  error->message += std::string(kNotAgain) + "the process that made the call, " + ToString(object.owner) +
                    (deaths_->IsDead(object.owner) ? ", is dead" : ", has let go of it");
  entry->error = std::move(error);
}

void HomeTable::Answer(const ObjectId& object, const Entry& entry, ProcessId asker, Output* out) const {
  rpc::ObjectResolved answer;
  answer.object = object;
  answer.asker = asker;
  if (entry.state == State::kInline) {
    answer.value = *entry.value;
  } else if (entry.state == State::kError) {
    answer.error = *entry.error;
  } else {
    answer.attempt = entry.attempt;
    answer.value.kind = rpc::Value::Kind::kStored;
    answer.value.object = object;
    answer.value.refs = entry.refs;
    // The asker's own node, else one of those that have it: readers spread over them.
    auto copy = entry.copies.find(asker.node);
    if (copy == entry.copies.end())
      copy = std::next(entry.copies.begin(), (asker.node + asker.number) % entry.copies.size());
    answer.value.location = copy->second;
  }
  out->sends.push_back({asker.node, std::move(answer)});
}

rpc::ErrorInfo HomeTable::GoneError(const ObjectId& object) const {
  rpc::ErrorInfo error;
  error.code = ErrorCode::kOwnerDied;
  error.message = "the process that made the call, " + ToString(object.owner) + ", died, and nothing of " +
                  ToString(object) + " is left";
  return error;
}

// ---------------------------------------------------------------- holds

// The entry; a new one of an owner that is dead will never get a value.
HomeTable::Entry& HomeTable::Open(const ObjectId& object) {
  const auto [it, fresh] = entries_.try_emplace(object);
  if (fresh && deaths_->IsDead(object.owner)) {
    it->second.error = std::make_unique<rpc::ErrorInfo>(GoneError(object));
    it->second.state = State::kError;
  }
  return it->second;
}

// The owner holds it; borrow 0 is its only one.
void HomeTable::Hold0(ProcessId owner, const ObjectId& object, Entry* entry) {
  Hold& hold = entry->holders[owner];
  if (!hold.held) ++entry->held;
  hold.held = true;
  Name(owner, object, entry);
}

void HomeTable::EndTicket(const TicketId& ticket, Entry* entry) {
  if (entry->tickets.erase(ticket) != 0) --ticket_count_;
}

// The ticket that ends has not come: it ends when it does, if there is anybody left to write it.
void HomeTable::EndEarly(const ObjectId& object, const TicketId& ticket, EarlyEnd end, Entry* entry) {
  if (!MANTA_RULE("home.early_register") || deaths_->IsDrained(end.writer)) return;
  entry->early[ticket] = end;
  for (const ProcessId process : {ticket.call.caller, end.by, end.writer}) {
    if (process.is_user_process()) Name(process, object, entry);
  }
}

// Whatever is held by `process`, and whatever only it could end.
void HomeTable::ForgetProcess(ProcessId process, Entry* entry) {
  const auto holder = entry->holders.find(process);
  if (holder != entry->holders.end()) {
    if (holder->second.held) --entry->held;
    entry->holders.erase(holder);
  }
  for (auto it = entry->tickets.begin(); it != entry->tickets.end();) {
    const TicketHold& ticket = it->second;
    const bool ends = ticket.holder == process || ticket.receiver == process || ticket.kept_by == process;
    it = ends ? entry->tickets.erase(it) : std::next(it);
    if (ends) --ticket_count_;
  }
  // A ticket comes before its sender's answer to the death of whoever ended it: by now it has come. That of a writer
  // whose node died may never come.
  for (auto it = entry->early.begin(); it != entry->early.end();) {
    const EarlyEnd& end = it->second;
    const bool over = it->first.call.caller == process || end.by == process || end.writer == process;
    it = over ? entry->early.erase(it) : std::next(it);
  }
  entry->waiters.erase(process);
}

void HomeTable::Name(ProcessId process, const ObjectId& object, Entry* entry) {
  if (entry->named.insert(process).second) by_process_.insert({process, object});
}

bool HomeTable::IsHeld(const ObjectId& object) const {
  const auto it = entries_.find(object);
  return it != entries_.end() && it->second.held_by_somebody();
}

size_t HomeTable::tombstone_count() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& item) {
    const Entry& entry = item.second;
    return (entry.seal_due_on != 0 || !entry.early.empty()) && entry.held == 0 && entry.tickets.empty() &&
           entry.containers.empty();
  }));
}

// Frees the entry if nobody holds it, then whatever that set free: a loop, for chains of refs are long.
void HomeTable::Check(const ObjectId& object, Output* out) {
  to_check_.push_back(object);
  while (!to_check_.empty()) {
    const ObjectId next = to_check_.back();
    to_check_.pop_back();
    const auto it = entries_.find(next);
    if (it == entries_.end() || it->second.held_by_somebody()) continue;
    // Asked for before the owner's first word of it has come.
    if (it->second.state == State::kUnknown && !it->second.waiters.empty()) continue;
    Free(it, out);
  }
}

void HomeTable::Free(Entries::iterator at, Output* out) {
  const ObjectId object = at->first;
  Entry entry = std::move(at->second);
  entries_.erase(at);
  for (const ProcessId process : entry.named) by_process_.erase({process, object});
  if (entry.value != nullptr) inline_bytes_ -= entry.value->bytes.size();
  for (const auto& [node, location] : entry.copies) out->sends.push_back({node, rpc::ObjectDrop{object}});
  if (entry.damaged != nullptr) {
    for (const auto& [node, location] : *entry.damaged) out->sends.push_back({node, rpc::ObjectDrop{object}});
  }
  if (!entry.final()) SetError(ErrorCode::kObjectLost, ToString(object) + " was released by its owner", &entry);
  AnswerWaiters(object, &entry, out);
  SetRefs(object, &entry, {}, out);
  if (object.is_actor()) out->unheld_actors.push_back(ActorId::FromHandle(object));
}

// ---------------------------------------------------------------- for people

HomeTable::Holding HomeTable::HoldingOf(const ObjectId& object, const Entry& entry) {
  static constexpr const char* kStates[] = {"UNKNOWN", "PENDING", "INLINE", "STORED", "ERROR"};
  Holding holding;
  holding.object = object;
  holding.state = object.is_actor() ? "HANDLE" : entry.lost ? "LOST" : kStates[static_cast<size_t>(entry.state)];
  if (entry.value != nullptr) holding.size_bytes = entry.value->bytes.size();
  for (const auto& [node, location] : entry.copies) {
    holding.copies.push_back(node);
    holding.size_bytes = location.size_bytes;
  }
  for (const auto& [holder, hold] : entry.holders) {
    if (hold.held) holding.holders.push_back(holder);
  }
  holding.containers.assign(entry.containers.begin(), entry.containers.end());
  holding.tickets = entry.tickets.size();
  holding.awaits_seal = entry.awaited != nullptr || entry.seal_due_on != 0;
  return holding;
}

}  // namespace manta::runtime::node

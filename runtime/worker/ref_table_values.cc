// What objects are: pending, a value, an error; who is told when that changes.
#include <utility>

#include "base/check.h"
#include "runtime/worker/ref_table.h"

namespace manta::runtime::worker {

using Phase = ObjectEntry::Phase;
using rpc::ErrorCode;
using rpc::ErrorInfo;
using rpc::Value;

void RefTable::SetValue(const ObjectId& id, ObjectEntry* entry, Value value) {
  entry->phase = Phase::kValue;
  entry->value = std::move(value);
  Settled(id, entry);
}

void RefTable::SetError(const ObjectId& id, ObjectEntry* entry, ErrorInfo error) {
  entry->phase = Phase::kError;
  entry->error = std::make_unique<ErrorInfo>(std::move(error));
  Settled(id, entry);
}

void RefTable::ReplaceByError(const ObjectId& id, ObjectEntry* entry, ErrorInfo error) {
  if (entry->owned) {
    const Value value = std::move(entry->value);
    entry->value = {};
    UnholdRefs(value);
  } else {
    entry->value = {};
  }
  entry->resolving = false;
  SetError(id, entry, std::move(error));
}

void RefTable::Reopen(ObjectEntry* entry) {
  const Value lost = std::exchange(entry->value, {});
  entry->phase = Phase::kPending;
  entry->published = true;
  UnholdRefs(lost);
}

void RefTable::Lose(const ObjectId& id, ObjectEntry* entry, ErrorInfo error) {
  entry->published = true;
  ReplaceByError(id, entry, std::move(error));
}

void RefTable::Supersede(const ObjectId& id, ObjectEntry* entry, Value value, uint32_t attempt) {
  const bool stored = value.kind == Value::Kind::kStored;
  if (stored) ReleaseSealed(id, value, attempt);
  if (entry->dropped || !stored || entry->phase != Phase::kValue || entry->value.kind != Value::Kind::kStored) {
    return UnholdRefs(value);
  }
  entry->sealed_on = value.location.node;
  entry->sealed_attempt = attempt;
  const Value older = std::exchange(entry->value, std::move(value));
  UnholdRefs(older);
}

void RefTable::Settled(const ObjectId& id, ObjectEntry* entry) {
  if (entry->published && !id.is_actor()) [[unlikely]] {
    entry->published = false;
    Publish(id, entry);
  }
  if (entry->waiters) WakeWaiters(id, entry);
  if (entry->phase == Phase::kError || IsHere(*entry)) {
    if (entry->waiting != 0) CompleteWaiting(entry);
  } else if (entry->wanted || entry->waiters) {
    Resolve(id, entry);
  } else if (entry->owned && entry->waiting != 0) {
    out_->Act<Elsewhere>().handle = entry->waiting;
  }
}

void RefTable::Want(const ObjectId& id) {
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || id.is_actor() || entry->phase == Phase::kError) return;
  entry->wanted = true;
  if (entry->pending()) {
    if (!entry->owned) Resolve(id, entry);
  } else if (entry->value.kind == Value::Kind::kStored) {
    Resolve(id, entry);
  }
}

bool RefTable::Await(const ObjectId& id, Waiter waiter, bool here) {
  ObjectEntry* entry = Find(id);
  if (entry == nullptr || entry->phase == Phase::kError) return true;
  if (!entry->pending() && (!here || IsHere(*entry))) return true;
  if (!entry->waiters) entry->waiters = std::make_unique<std::vector<Waiter>>();
  entry->waiters->push_back(waiter);
  if (!id.is_actor() && (!entry->owned || !entry->pending())) Resolve(id, entry);
  return false;
}

void RefTable::Resolve(const ObjectId& id, ObjectEntry* entry) {
  if (entry->resolving || out_->daemon_lost()) return;
  entry->resolving = true;
  auto& resolve = out_->Send<rpc::ObjectResolve>(out_->daemon());
  resolve.object = id;
  resolve.asker = self_;
}

void RefTable::OnResolved(rpc::ObjectResolved message) {
  const ObjectId& id = message.object;
  ObjectEntry* entry = Find(id);
  if (entry != nullptr && entry->owned && message.error.code == ErrorCode::kObjectLost) {
    return OnLost(std::move(message), entry);
  }
  if (entry == nullptr || !entry->resolving) return;
  entry->resolving = false;
  if (!message.error && message.value.kind != Value::Kind::kInline && message.value.location.node != self_.node) {
    message.error.code = ErrorCode::kInternal;
    message.error.message = "the home of " + ToString(id) + " answered with a place on another node (a bug in Manta)";
  }
  if (message.error) return ReplaceByError(id, entry, std::move(message.error));
  if (entry->owned && entry->pending()) return;  // the call runs again
  if (entry->owned) {                            // its refs are held already
    if (message.value.kind == Value::Kind::kStored) entry->value.location = message.value.location;
  } else {
    for (rpc::NestedRef& nested : message.value.refs) {
      if (Impossible(nested.object)) nested.object = {};
    }
    entry->phase = Phase::kValue;
    entry->value = std::move(message.value);
    entry->value.object = id;
  }
  Settled(id, entry);
}

// The home asks, because somebody wants it, what is to become of an own result whose last copy is gone.
void RefTable::OnLost(rpc::ObjectResolved message, ObjectEntry* entry) {
  const ObjectId& id = message.object;
  entry->resolving = false;
  const bool stored = entry->phase == Phase::kValue && entry->value.kind == Value::Kind::kStored;
  if (stored && message.attempt >= entry->sealed_attempt) {
    out_->lost.push_back({id, std::move(message.error)});
    return;
  }
  entry->published = true;  // it is told of what there is now, or when there is something
  if (!entry->pending()) Settled(id, entry);
}

void RefTable::WakeWaiters(const ObjectId& id, ObjectEntry* entry) {
  const bool here = entry->phase == Phase::kError || IsHere(*entry);
  std::vector<Waiter> later;
  for (const Waiter& waiter : *entry->waiters) {
    if (here || waiter.kind == Waiter::Kind::kCall) {
      out_->wakes.push_back({waiter, id});
    } else {
      later.push_back(waiter);
    }
  }
  if (later.empty()) {
    entry->waiters.reset();
  } else {
    *entry->waiters = std::move(later);
  }
}

void RefTable::CompleteWaiting(ObjectEntry* entry) {
  const Cookie first = std::exchange(entry->waiting, 0);
  CompleteHandle(*entry, first);
  if (!entry->more_waiting) return;
  const std::unique_ptr<std::vector<Cookie>> more = std::move(entry->more_waiting);
  for (const Cookie handle : *more) CompleteHandle(*entry, handle);
}

void RefTable::CompleteHandle(const ObjectEntry& entry, Cookie handle) {
  auto& complete = out_->Act<Complete>();
  complete.handle = handle;
  if (entry.phase == Phase::kError) {
    complete.error = *entry.error;
  } else {
    complete.value = entry.value;
  }
}

// ---------------------------------------------------------------- publishing

void RefTable::Publish(const ObjectId& id, ObjectEntry* entry) {
  if (entry->published) return;
  // Depth first without recursion: a list of a million nested refs is a list, not a stack overflow.
  struct Step {
    ObjectId id;
    size_t next = 0;
  };
  std::vector<Step> path{{id}};
  entry->published = true;
  while (!path.empty()) {
    Step& step = path.back();
    ObjectEntry* at = Find(step.id);
    if (step.next < at->value.refs.size()) {
      const ObjectId nested_id = at->value.refs[step.next++].object;
      ObjectEntry* nested = Find(nested_id);
      if (nested == nullptr || !nested->owned || nested->published) continue;
      nested->published = true;
      path.push_back({nested_id});
      continue;
    }
    PublishOne(step.id, at);
    path.pop_back();
  }
}

void RefTable::PublishOne(const ObjectId& id, ObjectEntry* entry) {
  entry->registered = true;
  if (id.is_actor()) return;  // its ActorCreate, or the first ticket, tells the home
  auto& publish = out_->Send<rpc::ObjectPublish>(out_->daemon());
  publish.object = id;
  if (entry->pending()) {
    publish.pending = true;
  } else if (entry->phase == Phase::kError) {
    publish.error = *entry->error;
  } else {
    publish.value = entry->value;
  }
}

// ---------------------------------------------------------------- deaths

void RefTable::NodeDied(NodeId node, const std::string& reason) {
  const ObjectId first{ProcessId{node, 0}, 0, 0};
  for (auto it = borrowed_.lower_bound(first); it != borrowed_.end() && it->first.home() == node; ++it) {
    ObjectEntry& entry = it->second;
    if (it->first.is_actor() || entry.phase == Phase::kError) continue;
    entry.registered = false;  // nobody counts any more
    if (!entry.pending() && entry.value.kind == Value::Kind::kInline) continue;
    ReplaceByError(it->first, &entry, LostWithHome(node, reason));
  }
  std::vector<ObjectId> stored_there;
  calls_->ForEach([&](Call* call) {
    if (call->kind != Call::Kind::kTask && call->kind != Call::Kind::kActorCall) return;
    for (uint32_t i = 0; i < call->entry_count(); ++i) {
      const ObjectEntry& entry = call->result_at(i);
      const bool stored = entry.phase == Phase::kValue && entry.value.kind == Value::Kind::kStored;
      if (!entry.dropped && !entry.published && stored && entry.value.location.node == node) {
        stored_there.push_back(calls_->result_id(*call, i));
      }
    }
  });
  for (const ObjectId& id : stored_there) Publish(id, Find(id));
}

void RefTable::DaemonLost() {
  ErrorInfo error;
  error.code = ErrorCode::kNodeDied;
  error.message = "this process's node daemon is gone: its objects are lost. Call Init again to join a cluster";
  for (auto& [id, entry] : borrowed_) {
    if (entry.phase == Phase::kError || (!entry.pending() && IsHere(entry))) continue;
    ReplaceByError(id, &entry, error);
  }
  std::vector<ObjectId> elsewhere;
  calls_->ForEach([&](Call* call) {
    for (uint32_t i = 0; i < call->entry_count(); ++i) {
      const ObjectEntry& entry = call->result_at(i);
      if (!entry.dropped && entry.phase == Phase::kValue && !IsHere(entry)) {
        elsewhere.push_back(calls_->result_id(*call, i));
      }
    }
  });
  for (const ObjectId& id : elsewhere) {
    if (ObjectEntry* entry = Find(id)) ReplaceByError(id, entry, error);
  }
}

ErrorInfo RefTable::LostWithHome(NodeId node, const std::string& reason) const {
  ErrorInfo error;
  error.code = ErrorCode::kObjectLost;
  error.message = "node n" + std::to_string(node) + ", which counted the references to this object, died (" + reason +
                  "): compute it again, from a process on a node that lives";
  return error;
}

}  // namespace manta::runtime::worker

// ClusterBackend's objects: from a user's value to bytes in a message or the store, and back without a copy.
#include <algorithm>
#include <array>

#include "api/cluster_backend.h"

namespace manta::internal {
namespace {

constexpr uint64_t kInlineBytesMax = 64 << 10;  // runtime::ProcessOptions::inline_bytes_max
constexpr Duration kWaitLogAfter = std::chrono::seconds(30);

Time ToTime(std::optional<std::chrono::steady_clock::time_point> deadline) {
  if (!deadline) return Time::max();
  return base::SystemClock().Now() + std::chrono::duration_cast<Duration>(*deadline - std::chrono::steady_clock::now());
}

[[noreturn]] void Throw(rpc::ErrorCode code, std::string message) {
  ErrorValue error;
  error.code = static_cast<uint16_t>(code);
  error.message = std::move(message);
  ThrowError(error);
}

[[noreturn]] void ThrowStatus(const absl::Status& status) {
  ErrorValue error;
  error.code = static_cast<uint16_t>(absl::IsResourceExhausted(status) ? rpc::ErrorCode::kOutOfMemory
                                     : absl::IsUnavailable(status)     ? rpc::ErrorCode::kNodeDied
                                                                       : rpc::ErrorCode::kInternal);
  error.message = std::string(status.message());
  ThrowError(error);
}

// What a Payload of store memory keeps: the reference and the pin.
struct StoredView {
  RefHandle object;
  std::shared_ptr<store::PinTable> pins;
  uint32_t slot = 0;
  std::shared_ptr<const void> memory;
  ~StoredView() {
    if (pins != nullptr) pins->Unpin(slot);
  }
};

// What a WritableObject keeps: room that goes back unless it is sealed.
struct UnsealedRoom {
  runtime::Process* process = nullptr;
  store::StoreClient::Room room;
  bool sealed = false;
  ~UnsealedRoom() {
    if (!sealed) process->store().Abandon(room);
  }
};

}  // namespace

ErrorValue ToErrorValue(const rpc::ErrorInfo& error) {
  return {static_cast<uint16_t>(error.code), error.type, error.message, error.where, error.chain, error.may_have_run};
}

ClusterRef* ClusterBackend::NewRef(const ObjectId& object) {
  auto* ref = new ClusterRef(this, object);
  ref->generation = generation_.load(std::memory_order_relaxed);
  return ref;
}

RefHandle ClusterBackend::Adopt(const ObjectKey& key, const LocationKey& location) {
  ClusterRef* ref = NewRef(ToObjectId(key));
  ref->adopted = true;
  RefHandle handle(ref);
  process_->Submit(runtime::RefAdded{
      ref->object, {location.node, location.segment, location.offset, location.size_bytes}, ref->cookie()});
  return handle;
}

void ClusterBackend::Drop(RefState* state) {
  auto* ref = static_cast<ClusterRef*>(state);
  if (!ref->is_call || ref->ends.fetch_or(ClusterRef::kDropped) == ClusterRef::kCompleted) {
    process_->SubmitDrop(&ref->drop);
  }
}

rpc::Value ClusterBackend::ToValue(const Serialized& value) {
  rpc::Value out;
  out.refs.reserve(value.refs.size());
  for (const RefHandle& handle : value.refs) {
    const ClusterRef* ref = Of(handle);
    rpc::NestedRef nested{ref->object, {}};
    if (ref->ready() && ref->value.kind == rpc::Value::Kind::kStored) nested.location = ref->value.location;
    out.refs.push_back(nested);
  }
  if (rpc::EncodedBytesMax(out) > rpc::kValuesBytesMax) return out;  // the core refuses it
  const size_t bytes = EncodedBytes(value);
  if (bytes <= kInlineBytesMax) {
    if (bytes <= Bytes::kInlineBytesMax) {
      std::array<char, Bytes::kInlineBytesMax> small;
      Encode(value, small.data());
      out.bytes = Bytes(small.data(), bytes);
    } else {
      char* to = nullptr;
      Bytes buffer = Bytes::Uninitialized(bytes, &to);
      Encode(value, to);
      out.bytes = std::move(buffer);
    }
    return out;
  }
  absl::StatusOr<store::StoreClient::Room> room = process_->store().Allocate(bytes);
  if (!room.ok()) ThrowStatus(room.status());
  Encode(value, room->data);
  out.kind = rpc::Value::Kind::kStored;
  out.location = room->location;
  return out;
}

std::vector<rpc::Value> ClusterBackend::ToArguments(std::vector<Argument>& args, std::vector<RefHandle>* keep) {
  std::vector<rpc::Value> values;
  values.reserve(args.size());
  for (Argument& argument : args) {
    rpc::Value value;
    if (argument.ref) {
      value.kind = rpc::Value::Kind::kRef;
      value.object = Of(argument.ref)->object;
    } else {
      value = ToValue(argument.value);
      if (value.kind == rpc::Value::Kind::kStored) {
        // A large argument is an object of its own, put before the call and dropped after it.
        const ObjectId object{process_->self(), process_->NextNumber(), 0};
        ClusterRef* ref = NewRef(object);
        keep->emplace_back(ref);
        value.object = object;
        process_->Submit(runtime::SubmitPut{object.number, std::move(value), ref->cookie()});
        value = {};
        value.kind = rpc::Value::Kind::kRef;
        value.object = object;
      }
    }
    values.push_back(std::move(value));
  }
  return values;
}

RefHandle ClusterBackend::Put(Serialized value) {
  const ObjectId object{process_->self(), process_->NextNumber(), 0};
  rpc::Value stored = ToValue(value);
  if (stored.kind == rpc::Value::Kind::kStored) stored.object = object;
  ClusterRef* ref = NewRef(object);
  RefHandle handle(ref);
  process_->Submit(runtime::SubmitPut{object.number, std::move(stored), ref->cookie()});
  return handle;
}

WritableObject ClusterBackend::Create(size_t size_bytes) {
  absl::StatusOr<store::StoreClient::Room> room = process_->store().Allocate(size_bytes);
  if (!room.ok()) ThrowStatus(room.status());
  auto unsealed = std::make_shared<UnsealedRoom>();
  unsealed->process = process_.get();
  unsealed->room = *room;
  WritableObject object;
  object.data = room->data;
  object.size_bytes = size_bytes;
  object.keep = unsealed;
  return object;
}

RefHandle ClusterBackend::Seal(WritableObject object) {
  auto* unsealed = static_cast<UnsealedRoom*>(object.keep.get());
  unsealed->sealed = true;
  rpc::Value value;
  value.kind = rpc::Value::Kind::kStored;
  value.object = {process_->self(), process_->NextNumber(), 0};
  value.location = unsealed->room.location;
  ClusterRef* ref = NewRef(value.object);
  RefHandle handle(ref);
  const uint64_t number = value.object.number;
  process_->Submit(runtime::SubmitPut{number, std::move(value), ref->cookie()});
  return handle;
}

Payload ClusterBackend::ReadStored(const rpc::StoreLocation& location, const RefHandle& object) {
  auto view = std::make_shared<StoredView>();
  view->object = object;
  std::shared_ptr<store::PinTable> pins = process_->pins();
  if (pins == nullptr) Throw(rpc::ErrorCode::kShutdown, "an object was read after Shutdown");
  absl::StatusOr<uint32_t> slot = pins->Pin(location.segment, location.offset);
  if (!slot.ok()) ThrowStatus(slot.status());
  view->slot = *slot;
  view->pins = std::move(pins);
  absl::StatusOr<store::StoreClient::View> data = process_->store().Read(location);
  if (!data.ok()) ThrowStatus(data.status());
  view->memory = std::move(data->keep);
  Payload payload;
  payload.data = data->data;
  payload.size_bytes = location.size_bytes;
  payload.keep = std::move(view);
  payload.object = object;
  return payload;
}

Payload ClusterBackend::ToPayload(const rpc::Value& value, const RefHandle& object) {
  Payload payload;
  if (value.kind == rpc::Value::Kind::kStored) {
    payload = ReadStored(value.location, object);
  } else {
    auto bytes = std::make_shared<const Bytes>(value.bytes);
    payload.data = bytes->data();
    payload.size_bytes = bytes->size();
    payload.keep = std::move(bytes);
  }
  for (const rpc::NestedRef& nested : value.refs) {
    payload.refs.push_back(Adopt(ToKey(nested.object), {nested.location.node, nested.location.segment,
                                                        nested.location.offset, nested.location.size_bytes}));
  }
  return payload;
}

bool ClusterBackend::WaitReady(ClusterRef* ref, Time deadline) {
  if (ref->ready()) return true;
  const auto ready = [ref] { return ref->ready(); };
  const Time log_at = process_->Now() + kWaitLogAfter;
  // The result of an own call is asked for once it is known to lie elsewhere: few do.
  if (!ref->adopted) BlockUntil([ref] { return ref->ready() || ref->elsewhere(); }, std::min(deadline, log_at));
  if (ref->adopted || ref->elsewhere()) process_->Submit(runtime::RefWanted{ref->object});
  if (BlockUntil(ready, std::min(deadline, log_at))) return true;
  if (deadline <= log_at) return false;
  process_->Submit(runtime::RefWanted{ref->object});  // the log tells what it waits for
  return BlockUntil(ready, deadline);
}

bool ClusterBackend::TryGet(const RefHandle& handle, std::optional<std::chrono::steady_clock::time_point> deadline,
                            Payload* payload, ErrorValue* error) {
  ClusterRef* ref = Of(handle);
  const Time until = ToTime(deadline);
  if (!WaitReady(ref, until)) {
    if (closed_) {
      error->code = static_cast<uint16_t>(rpc::ErrorCode::kShutdown);
      error->message = "Shutdown came while Get waited for " + ToString(ref->object);
      return false;
    }
    error->code = static_cast<uint16_t>(rpc::ErrorCode::kTimeout);
    error->message = "Get: " + ToString(ref->object) + " was not ready in time";
    process_->Submit(runtime::RefWanted{ref->object});  // says what it waits for (OnWaitingFor), if that is known
    base::MutexLock lock(&tables_mutex_);
    auto waiting = waiting_for_.find(ref->object);
    if (waiting != waiting_for_.end()) {
      error->message += "; it waits: " + waiting->second;
      waiting_for_.erase(waiting);
    }
    return false;
  }
  if (ref->state.load(std::memory_order_acquire) == ClusterRef::kError) {
    *error = ToErrorValue(ref->error);
    return false;
  }
  *payload = ToPayload(ref->value, handle);
  return true;
}

Payload ClusterBackend::Get(const RefHandle& ref, std::optional<std::chrono::steady_clock::time_point> deadline) {
  Payload payload;
  ErrorValue error;
  if (!TryGet(ref, deadline, &payload, &error)) ThrowError(error);
  return payload;
}

Payload ClusterBackend::View(const RefHandle& object) { return Get(object, std::nullopt); }

void ClusterBackend::Wait(const std::vector<const RefHandle*>& refs, size_t count,
                          std::optional<std::chrono::steady_clock::time_point> deadline, std::vector<bool>* ready) {
  ready->assign(refs.size(), false);
  for (const RefHandle* handle : refs) {
    ClusterRef* ref = Of(*handle);
    if (!ref->ready() && ref->adopted) process_->Submit(runtime::RefWanted{ref->object});
  }
  // Each turn looks only at what was not ready before. What is found to lie elsewhere is asked for, once.
  std::vector<ClusterRef*> pending, elsewhere, coming;
  for (const RefHandle* handle : refs) pending.push_back(Of(*handle));
  const auto look = [&] {
    std::erase_if(coming, [](const ClusterRef* ref) { return ref->ready(); });
    std::erase_if(pending, [&](ClusterRef* ref) {
      const bool is_elsewhere = ref->elsewhere();
      if (is_elsewhere) elsewhere.push_back(ref);
      return is_elsewhere || ref->ready();
    });
    return !elsewhere.empty() || refs.size() - pending.size() - coming.size() >= count;
  };
  while (BlockUntil(look, ToTime(deadline)) && !elsewhere.empty()) {
    for (const ClusterRef* ref : elsewhere) process_->Submit(runtime::RefWanted{ref->object});
    coming.insert(coming.end(), elsewhere.begin(), elsewhere.end());
    elsewhere.clear();
  }
  for (size_t i = 0; i < refs.size(); ++i) (*ready)[i] = Of(*refs[i])->ready();
}

}  // namespace manta::internal

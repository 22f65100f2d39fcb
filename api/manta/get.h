// Put, Get, TryGet, Wait, Cancel: values in and out of the cluster.
//
//   auto [ready, pending] = manta::Wait(refs, 1, std::chrono::seconds(5));
//   for (int loss : manta::Get(ready)) std::cout << loss << "\n";
//
// Get copies nothing that is a Tensor or Buffer: it is a view of the store's memory. Other values are read into new
// objects. In a task, Get gives its CPU to others while it waits.
//
// Errors:     Get throws what became of the call: TaskError, WorkerDiedError, ActorDiedError, ObjectLostError,
//             OutOfMemoryError, OwnerDiedError, NodeDiedError, CancelledError, ... (see error.h); TimeoutError when the
//             timeout ran out, and the call goes on; InvalidArgumentError for an empty ref or one of an earlier Init;
//             ShutdownError.
// Threads:    thread-safe.
#ifndef MANTA_GET_H_
#define MANTA_GET_H_

#include <chrono>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "manta/actor.h"
#include "manta/internal/arguments.h"
#include "manta/internal/backend.h"
#include "manta/internal/options.h"
#include "manta/internal/value.h"
#include "manta/object_ref.h"
#include "manta/result.h"
#include "manta/tensor.h"

namespace manta {

namespace internal {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

template <class T>
T GetUntil(const ObjectRef<T>& ref, Deadline deadline) {
  const Payload payload = BackendOf(ref.handle()).Get(ref.handle(), deadline);
  if constexpr (!std::is_void_v<T>) {
    T value{};
    FromPayload(payload, &value);
    return value;
  }
}

// Has the backend ask for all of `refs` at once, before they are waited for one by one.
MANTA_EXPORT void AskFor(const std::vector<const RefHandle*>& refs);
// ready[i]: whether refs[i] is one of the first `count` that are ready at the deadline, or before it.
MANTA_EXPORT std::vector<bool> WaitUntil(const std::vector<const RefHandle*>& refs, size_t count, Deadline deadline);

template <class T>
std::vector<const RefHandle*> Handles(const std::vector<ObjectRef<T>>& refs) {
  std::vector<const RefHandle*> handles;
  handles.reserve(refs.size());
  for (const ObjectRef<T>& ref : refs) handles.push_back(&ref.handle());
  return handles;
}

template <class T>
auto GetAllUntil(const std::vector<ObjectRef<T>>& refs, Deadline deadline) {
  if (refs.size() > 1) AskFor(Handles(refs));
  if constexpr (std::is_void_v<T>) {
    for (const ObjectRef<T>& ref : refs) GetUntil(ref, deadline);
  } else {
    std::vector<T> values;
    values.reserve(refs.size());
    for (const ObjectRef<T>& ref : refs) values.push_back(GetUntil(ref, deadline));
    return values;
  }
}

template <class T>
Result<T> TryGetUntil(const ObjectRef<T>& ref, Deadline deadline) {
  Payload payload;
  ErrorValue error;
  if (!BackendOf(ref.handle()).TryGet(ref.handle(), deadline, &payload, &error)) return Result<T>(MakeError(error));
  if constexpr (std::is_void_v<T>) {
    return Result<void>();
  } else {
    T value{};
    FromPayload(payload, &value);
    return Result<T>(std::move(value));
  }
}

}  // namespace internal

// Stores a value. A writable Tensor (see Create) is sealed and not copied; anything else is copied once.
// Throws SerializationError, OutOfMemoryError, ShutdownError.
template <class V>
auto Put(V&& value) {
  using Stored = internal::TravellingType<V>;
  static_assert(!internal::RefTraits<Stored>::is_ref, "Manta: Put was given an ObjectRef: its value is stored already");
  static_assert(
      internal::RefTraits<Stored>::is_ref || internal::Serializable<Stored>::value,
      "Manta: Put was given a value of a type that cannot be sent: give it a member `template <class Archive> "
      "void serialize(Archive& archive) { archive(member_1, member_2); }`, or include the header of cereal's "
      "that knows it (<cereal/types/...>)");
  internal::Backend& backend = internal::Current();
  if constexpr (std::is_same_v<Stored, Tensor>) {
    if (internal::RefHandle sealed = value.SealAlone()) return ObjectRef<Stored>(std::move(sealed));
  }
  if constexpr (internal::RefTraits<Stored>::is_ref || !internal::Serializable<Stored>::value) {
    return ObjectRef<Stored>();
  } else {
    return ObjectRef<Stored>(backend.Put(internal::MakeArgument<Stored>(std::forward<V>(value)).value));
  }
}

// The value, waited for as long as it takes. For an ObjectRef<void>: returns when the call has ended well.
template <class T>
T Get(const ObjectRef<T>& ref) {
  return internal::GetUntil(ref, std::nullopt);
}
// The same for at most `timeout`; 0 or less: only if it is there.
template <class T, class Rep, class Period>
T Get(const ObjectRef<T>& ref, std::chrono::duration<Rep, Period> timeout) {
  return internal::GetUntil(ref, internal::DeadlineAfter(internal::ToNanos(timeout)));
}
// All values, in the order of `refs` (void for refs of void). Throws the first error in that order.
template <class T>
auto Get(const std::vector<ObjectRef<T>>& refs) {
  return internal::GetAllUntil(refs, std::nullopt);
}
// The same; `timeout` is for all of them together.
template <class T, class Rep, class Period>
auto Get(const std::vector<ObjectRef<T>>& refs, std::chrono::duration<Rep, Period> timeout) {
  return internal::GetAllUntil(refs, internal::DeadlineAfter(internal::ToNanos(timeout)));
}

// Get with a Result instead of an exception for what became of the call. Still throws when there is nothing to ask:
// InvalidArgumentError (an empty ref), ShutdownError, SerializationError.
template <class T>
Result<T> TryGet(const ObjectRef<T>& ref) {
  return internal::TryGetUntil(ref, std::nullopt);
}
template <class T, class Rep, class Period>
Result<T> TryGet(const ObjectRef<T>& ref, std::chrono::duration<Rep, Period> timeout) {
  return internal::TryGetUntil(ref, internal::DeadlineAfter(internal::ToNanos(timeout)));
}

template <class T>
struct WaitResult {
  std::vector<ObjectRef<T>> ready;    // `count` at most, in the order of the argument; of a call that failed, too
  std::vector<ObjectRef<T>> pending;  // all others
};

// Waits until `count` of `refs` are ready, a value or an error, but no longer than `timeout`.
// InvalidArgumentError: `count` above the number of refs, or an empty ref.
template <class T, class Duration = std::chrono::nanoseconds>
WaitResult<T> Wait(const std::vector<ObjectRef<T>>& refs, size_t count = 1, Duration timeout = Duration::max()) {
  const std::vector<bool> is_ready =
      internal::WaitUntil(internal::Handles(refs), count, internal::DeadlineAfter(internal::ToNanos(timeout)));
  WaitResult<T> result;
  for (size_t i = 0; i < refs.size(); ++i) (is_ready[i] ? result.ready : result.pending).push_back(refs[i]);
  return result;
}

// Takes back the call that makes `ref`, if it has not begun: it then ends with a CancelledError. Otherwise, nothing.
// Does not wait.
template <class T>
void Cancel(const ObjectRef<T>& ref) {
  internal::BackendOf(ref.handle()).Cancel(ref.handle());
}

}  // namespace manta

#endif  // MANTA_GET_H_

// Actor<T> makes an object of class T that lives in a worker; ActorHandle<T> calls its methods.
//
//   auto counter = manta::Actor<Counter>().Name("hits").MaxRestarts(3).Remote(10);     // Counter(10)
//   manta::ObjectRef<int> hits = counter.Call<&Counter::Add>().Remote(1);
//
// An actor runs its calls one at a time (but see MaxConcurrency), those of one caller in the order in which they were
// made. It lives as long as there are handles to it, anywhere; a named one until it is killed or the job ends. When its
// process dies it is constructed anew, with the same arguments, up to MaxRestarts times; calls that it had begun then
// end with an ActorDiedError unless MaxTaskRetries says that they may run twice.
//
// Threads:    a handle is used as a shared_ptr is; calls may be made from any thread. Builders: externally
// synchronised.
#ifndef MANTA_ACTOR_H_
#define MANTA_ACTOR_H_

#include <chrono>
#include <concepts>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "manta/error.h"
#include "manta/internal/arguments.h"
#include "manta/internal/backend.h"
#include "manta/internal/function.h"
#include "manta/internal/options.h"
#include "manta/object_ref.h"
#include "manta/scheduling.h"

namespace manta {

// When an actor ends: kJob, with its job (and an anonymous one with its last handle); kDetached, only by Kill or
// ExitActor.
enum class Lifetime : uint8_t { kJob, kDetached };

// One call of method M, of class T or of a base of it, on one actor. Made by ActorHandle::Call.
template <class T, auto M>
class MethodCall {
  using Type = internal::Signature<decltype(M)>;
  template <class S>
  static constexpr bool IsMethodOfT() {
    if constexpr (S::is_method)
      return std::is_base_of_v<typename S::Class, T>;
    else
      return false;
  }

 public:
  explicit MethodCall(internal::RefHandle actor) : actor_(std::move(actor)) {}

  // What the call is called in logs and errors; default: the method's name. At most 256 bytes of UTF-8, not empty (else
  // InvalidArgumentError).
  MethodCall& Name(std::string name) {
    options_.name = internal::CheckedName("Name", std::move(name));
    return *this;
  }
  // How often to run it again, in its place in the order, when the actor died while it ran and is restarted
  // (default: the actor's MaxTaskRetries; -1: as often as it is restarted).
  MethodCall& MaxRetries(int count) {
    options_.max_retries = internal::CheckedCount("MaxRetries", count);
    return *this;
  }
  // How long it may take from Remote to its result; then Get throws a TimeoutError, and it is not begun any more.
  template <class Rep, class Period>
  MethodCall& Timeout(std::chrono::duration<Rep, Period> timeout) {
    options_.timeout = internal::CheckedTimeout(internal::ToNanos(timeout));
    return *this;
  }

  // Calls M with `given`, as Task::Remote. Throws SerializationError, InvalidArgumentError, ShutdownError, and
  // BackPressureError when too many calls of this process to the actor are unfinished (see Actor::MaxPendingCalls).
  template <class... Given>
  auto Remote(Given&&... given) const {
    if constexpr (IsMethodOfT<Type>()) {
      return Submit(std::forward<Given>(given)...);
    } else {
      static_assert(Type::is_method,
                    "Manta: Call needs a member function of the actor's class, &T::M (static ones are called by Task)");
      static_assert(!Type::is_method || IsMethodOfT<Type>(),
                    "Manta: Call was given a member function of another class than the actor's");
    }
  }

 private:
  template <class... Given>
  auto Submit(Given&&... given) const {
    using Parameters = typename Type::Parameters;
    using Result = typename Type::Result;
    using Ref = ObjectRef<internal::Stored<Result>>;
    if constexpr (!internal::CanTravel<MethodCall, Parameters, Result>()) {
      internal::ExplainTravel<MethodCall, Parameters, Result>();
      return Ref();
    } else if constexpr (!internal::ArgumentsFacts<Parameters, Given...>::ok) {
      internal::ExplainArguments<MethodCall>(static_cast<Parameters*>(nullptr),
                                             static_cast<std::tuple<Given...>*>(nullptr));
      return Ref();
    } else {
      auto args = internal::MakeArguments(static_cast<Parameters*>(nullptr), std::forward<Given>(given)...);
      auto returns = internal::BackendOf(actor_).SubmitActorCall(
          actor_, internal::Registration<internal::MethodFunction<T, M>>::id, std::move(args), 1, options_);
      return Ref(std::move(returns.at(0)));
    }
  }

  internal::RefHandle actor_;
  internal::CallOptions options_;
};

// A counted reference to an actor of class T: may be copied, passed to calls, returned, and nested in values.
// An empty one (default-constructed) names no actor.
template <class T>
class ActorHandle {
 public:
  ActorHandle() = default;
  explicit ActorHandle(internal::ActorRef ref) : ref_(std::move(ref)) {}

  explicit operator bool() const { return static_cast<bool>(ref_.handle); }
  // "n1.p2.a7"; the same in every process.
  std::string ToString() const { return internal::KeyToString(internal::KeyOf(ref_.handle)); }
  friend bool operator==(const ActorHandle& a, const ActorHandle& b) {
    return internal::KeyOf(a.ref_.handle) == internal::KeyOf(b.ref_.handle);
  }

  // handle.Call<&T::Method>().Remote(arguments...)
  template <auto M>
  MethodCall<T, M> Call() const {
    return MethodCall<T, M>(ref_.handle);
  }

  // Has `callback` run once, on a thread of Manta's, when the actor is dead for good (not between restarts): soon, if
  // it is dead already. It may make calls, but not wait for long. It is not run after Shutdown, nor when this process's
  // last handle is gone before the actor is.
  void OnDeath(std::function<void(const ActorDiedError&)> callback) const {
    internal::BackendOf(ref_.handle)
        .OnDeath(ref_.handle, [callback = std::move(callback)](const internal::ErrorValue& error) {
          callback(ActorDiedError(error));
        });
  }

  const internal::RefHandle& handle() const { return ref_.handle; }

  template <class Archive>
  requires std::same_as<Archive, OutputArchive>
  void save(Archive& archive) const {
    archive.SaveRef(ref_.handle);
    archive(ref_.max_concurrency);
  }
  template <class Archive>
  requires std::same_as<Archive, InputArchive>
  void load(Archive& archive) {
    ref_.handle = archive.LoadRef();
    archive(ref_.max_concurrency);
    internal::CheckActorRef(ref_.handle);
  }

 private:
  internal::ActorRef ref_;
};

// Options of a new actor; Remote makes it.
template <class T>
class Actor {
  static_assert(std::is_class_v<T> && !std::is_abstract_v<T>, "Manta: Actor<T> needs a class that can be constructed");

 public:
  // A name for GetActor; unique in its namespace among living actors. A second Actor of that name ends every call on it
  // with a NameTakenError, unless GetIfExists. At most 256 bytes, not empty (else InvalidArgumentError).
  Actor& Name(std::string name) {
    options_.name = internal::CheckedName("Name", std::move(name));
    return *this;
  }
  // The namespace of the name; default: the job's (Options::name_space).
  Actor& Namespace(std::string name_space) {
    options_.name_space = internal::CheckedName("Namespace", std::move(name_space));
    return *this;
  }
  // With Name: Remote gives a handle to the living actor of that name, if there is one, and makes none; of several
  // creators at once, one makes it. Remote waits for refs among its arguments, then for the head's word; while the head
  // is away, for 30 s, then it throws a TimeoutError (the actor may be made yet).
  Actor& GetIfExists(bool on = true) {
    options_.get_if_exists = on;
    return *this;
  }
  // Amounts (>= 0, to a ten-thousandth) of custom resources that the actor holds while it lives, by name.
  Actor& Resources(std::map<std::string, double> amounts) {
    options_.resources = internal::CheckedResources(std::move(amounts));
    return *this;
  }
  // CPUs and GPUs that the actor holds while it lives. Default: 1 CPU free to be placed, none while it lives.
  Actor& NumCpus(double count) {
    options_.num_cpus = internal::CheckedAmount("NumCpus", count);
    return *this;
  }
  Actor& NumGpus(double count) {
    options_.num_gpus = internal::CheckedAmount("NumGpus", count);
    return *this;
  }
  // How often to construct it anew when its process dies (default 0; -1: for ever).
  Actor& MaxRestarts(int count) {
    options_.max_restarts = internal::CheckedCount("MaxRestarts", count);
    return *this;
  }
  // How often a call that it had begun may be run again after a restart (default 0; -1: always).
  Actor& MaxTaskRetries(int count) {
    options_.max_task_retries = internal::CheckedCount("MaxTaskRetries", count);
    return *this;
  }
  // How many calls may run at the same time, in threads of their own (default 1, which keeps each caller's order).
  // InvalidArgumentError: 0 or above 1000.
  Actor& MaxConcurrency(uint32_t threads) {
    options_.max_concurrency = internal::CheckedConcurrency(threads);
    return *this;
  }
  // From how many unfinished calls of one process on, Remote throws a BackPressureError at once. Default: from 16 Ki on
  // it waits for up to 30 s, then throws. InvalidArgumentError: 0.
  Actor& MaxPendingCalls(uint64_t count) {
    options_.max_pending_calls = internal::CheckedPendingCalls(count);
    return *this;
  }

  // Whether it outlives its job (default: no). A detached actor needs a Name, by which other jobs find it (GetActor, in
  // the namespace that Namespace or Options::name_space says), and a cluster that outlives its programs: on an embedded
  // one Get throws an InvalidArgumentError. It is restarted while the job's program can be had: see docs/actor_call.md.
  Actor& Lifetime(manta::Lifetime lifetime) {
    options_.detached = lifetime == manta::Lifetime::kDetached;
    return *this;
  }
  // On which node it lives, after a restart too: Spread() or NodeAffinity(node), see scheduling.h.
  Actor& SchedulingStrategy(const internal::SchedulingHint& strategy) {
    options_.hint = strategy;
    return *this;
  }

  // Makes the actor: T(given...). Returns at once; a constructor that throws, be it at a restart, ends the actor for
  // good: every call on it ends with an ActorDiedError that has the exception's type and message. A ref goes to the
  // constructor as a ref where T has one that takes it, else as its value. Throws SerializationError,
  // InvalidArgumentError, ShutdownError.
  template <class... Given>
  ActorHandle<T> Remote(Given&&... given) const {
    using Parameters = internal::ConstructorParameters<T, Given...>;
    if constexpr (std::is_void_v<Parameters>) {
      internal::ExplainConstructor<T, Given...>();
      return ActorHandle<T>();
    } else if constexpr (!internal::CanTravel<Actor, Parameters, void>()) {
      internal::ExplainTravel<Actor, Parameters, void>();
      return ActorHandle<T>();
    } else {
      if (options_.detached) internal::CheckedName("Lifetime(kDetached) needs a Name", options_.name);
      auto args = internal::MakeArguments(static_cast<Parameters*>(nullptr), std::forward<Given>(given)...);
      return ActorHandle<T>(
          {internal::Current().CreateActor(internal::ConstructorId<T>(static_cast<Parameters*>(nullptr)),
                                           typeid(T).name(), std::move(args), options_),
           options_.max_concurrency});
    }
  }

 private:
  internal::ActorOptions options_;
};

// The living actor `name` of `name_space` (empty: the job's own); nothing if there is none. Waits for the head's
// answer; TimeoutError: none has come in `timeout` (the head is away: try again when it is back). Calls on it end with
// a FunctionNotFoundError if it is not of class T. InvalidArgumentError: no actor can be named so.
template <class T>
std::optional<ActorHandle<T>> GetActor(const std::string& name, const std::string& name_space = "",
                                       std::chrono::nanoseconds timeout = std::chrono::seconds(30)) {
  if (!name_space.empty()) internal::CheckedName("GetActor: a namespace", name_space);
  std::optional<internal::ActorRef> found =
      internal::Current().GetActor(internal::CheckedName("GetActor: a name", name), name_space, timeout);
  if (!found) return std::nullopt;
  return ActorHandle<T>(std::move(*found));
}

// Ends the actor's process at once: calls that it had begun end with an ActorDiedError that may_have_run(). With
// `no_restart` false the actor is restarted as if its process had died by itself, if MaxRestarts allows.
template <class T>
void Kill(const ActorHandle<T>& actor, bool no_restart = true) {
  internal::BackendOf(actor.handle()).KillActor(actor.handle(), no_restart);
}

// Ends the actor whose method is running, after this call: its result is delivered, calls behind it end with an
// ActorDiedError, and it is not restarted. InvalidArgumentError outside of an actor's method.
MANTA_EXPORT void ExitActor();

}  // namespace manta

#endif  // MANTA_ACTOR_H_

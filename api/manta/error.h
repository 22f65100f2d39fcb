// Error and its kinds: what Manta throws, and what Get, TryGet and OnDeath report about a call that did not end well.
//
//   try {
//     manta::Get(manta::Task<&Load>().Remote(path));
//   } catch (const manta::TaskError& error) {      // Load itself threw
//     std::cerr << error.type() << ": " << error.what() << "\n";
//   } catch (const manta::Error& error) {          // it could not be run
//     std::cerr << error.Describe() << "\n";
//   }
//
// Threads:    immutable; copies are cheap (one counted pointer) and never throw.
#ifndef MANTA_ERROR_H_
#define MANTA_ERROR_H_

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "manta/internal/backend.h"
#include "manta/internal/export.h"

namespace manta {

// The kinds, one class each. The numbers travel between processes and never change.
enum class ErrorCode : uint16_t {
  kNone = 0,
  kTaskError,
  kWorkerDied,
  kActorDied,
  kObjectLost,
  kOwnerDied,
  kNodeDied,
  kOutOfMemory,
  kTimeout,
  kCancelled,
  kBackPressure,
  kFunctionNotFound,
  kNameTaken,
  kWorkerLimit,
  kInvalidArgument,
  kSerialization,
  kShutdown,
  kInternal,
};

class MANTA_EXPORT Error : public std::exception {
 public:
  explicit Error(internal::ErrorValue value);
  Error(ErrorCode code, std::string_view message);

  // What happened and, where something can be done about it, what to do.
  const char* what() const noexcept override;
  ErrorCode code() const noexcept;
  // The process and function it happened in: "Add(int, int) in n1.p4"; empty if it was not a call's.
  const std::string& where() const noexcept;
  // The calls from the outermost to the one that failed, as far as the error travelled through them.
  const std::vector<std::string>& call_chain() const noexcept;
  // All of it on a few lines, for a log.
  std::string Describe() const;

  const internal::ErrorValue& value() const noexcept { return *value_; }

 private:
  std::shared_ptr<const internal::ErrorValue> value_;
};

// The user's code threw. what() is what its exception said ("unknown exception" if it was no std::exception).
class MANTA_EXPORT TaskError : public Error {
 public:
  using Error::Error;
  // The exception's type as written in C++: "std::out_of_range", "int".
  const std::string& type() const noexcept { return value().type; }
};

// The process that ran a task died, more often than MaxRetries allows. The message says how ("killed by signal 9").
class MANTA_EXPORT WorkerDiedError : public Error {
 public:
  using Error::Error;
  // False only if it is certain that no attempt of the call began.
  bool may_have_run() const noexcept { return value().may_have_run; }
};

// The actor is dead: killed, ended by ExitActor, its process died more often than MaxRestarts allows, or its
// constructor threw (the message then names type and text of the exception).
class MANTA_EXPORT ActorDiedError : public Error {
 public:
  using Error::Error;
  // False only if it is certain that the call did not begin.
  bool may_have_run() const noexcept { return value().may_have_run; }
  // The type of what its constructor threw: "std::out_of_range". Empty: it died of something else.
  const std::string& type() const noexcept { return value().type; }
};

// All copies of an object are gone, or its home node is.
class MANTA_EXPORT ObjectLostError : public Error {
 public:
  using Error::Error;
};

// The process that made the call died before there was a result.
class MANTA_EXPORT OwnerDiedError : public Error {
 public:
  using Error::Error;
};

// The node that this process belongs to died. After Shutdown, Init may be called again.
class MANTA_EXPORT NodeDiedError : public Error {
 public:
  using Error::Error;
};

// The object store is full of objects that are referenced, or a process ran out of memory.
class MANTA_EXPORT OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

// The timeout of a Get, or of a call, ran out. The message says what was waited for and why it waits, if known.
class MANTA_EXPORT TimeoutError : public Error {
 public:
  using Error::Error;
};

// Cancel, or Shutdown, came before the call began.
class MANTA_EXPORT CancelledError : public Error {
 public:
  using Error::Error;
};

// Too many calls to one actor are unfinished: more than MaxPendingCalls, or more than the actor's mailbox takes for
// 30 seconds.
class MANTA_EXPORT BackPressureError : public Error {
 public:
  using Error::Error;
};

// A program of another build was asked for a function that it does not have, or an actor was called as a class that it
// is not of.
class MANTA_EXPORT FunctionNotFoundError : public Error {
 public:
  using Error::Error;
};

// An actor of this name lives in the namespace already (see Actor::GetIfExists).
class MANTA_EXPORT NameTakenError : public Error {
 public:
  using Error::Error;
};

// A call with a Timeout could not get a worker in time, because its node runs as many as it may; or no channel to the
// worker of an actor can be made, because a process has too many open files (the call has not begun).
class MANTA_EXPORT WorkerLimitError : public Error {
 public:
  using Error::Error;
};

// An argument, option or flag that makes no sense, an empty ref, or a ref of an earlier Init.
class MANTA_EXPORT InvalidArgumentError : public Error {
 public:
  explicit InvalidArgumentError(std::string_view message) : Error(ErrorCode::kInvalidArgument, message) {}
  using Error::Error;
};

// A value could not be written, or bytes are not a value of the type that they are read as.
class MANTA_EXPORT SerializationError : public Error {
 public:
  explicit SerializationError(std::string_view message) : Error(ErrorCode::kSerialization, message) {}
  using Error::Error;
};

// The API was used before Init, after Shutdown, or in a child that user code forked.
class MANTA_EXPORT ShutdownError : public Error {
 public:
  using Error::Error;
};

// A bug of Manta's.
class MANTA_EXPORT InternalError : public Error {
 public:
  using Error::Error;
};

namespace internal {

// The exception for `error`, of the class that its code says; what ThrowError throws.
MANTA_EXPORT std::shared_ptr<const Error> MakeError(const ErrorValue& error);

}  // namespace internal
}  // namespace manta

#endif  // MANTA_ERROR_H_

#include "manta/error.h"

#include <string>
#include <utility>

#include "api/runtime_state.h"
#include "rpc/message.h"

namespace manta {

// The public numbers are the protocol's.
static_assert(static_cast<uint16_t>(ErrorCode::kTaskError) == static_cast<uint16_t>(rpc::ErrorCode::kTaskError));
static_assert(static_cast<uint16_t>(ErrorCode::kObjectLost) == static_cast<uint16_t>(rpc::ErrorCode::kObjectLost));
static_assert(static_cast<uint16_t>(ErrorCode::kTimeout) == static_cast<uint16_t>(rpc::ErrorCode::kTimeout));
static_assert(static_cast<uint16_t>(ErrorCode::kBackPressure) == static_cast<uint16_t>(rpc::ErrorCode::kBackPressure));
static_assert(static_cast<uint16_t>(ErrorCode::kWorkerLimit) == static_cast<uint16_t>(rpc::ErrorCode::kWorkerLimit));
static_assert(static_cast<uint16_t>(ErrorCode::kInternal) == static_cast<uint16_t>(rpc::ErrorCode::kInternal));

namespace {

internal::ErrorValue ValueOf(ErrorCode code, std::string_view message) {
  internal::ErrorValue value;
  value.code = static_cast<uint16_t>(code);
  value.message = message;
  return value;
}

const char* CodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNone:
      return "Error";
    case ErrorCode::kTaskError:
      return "TaskError";
    case ErrorCode::kWorkerDied:
      return "WorkerDiedError";
    case ErrorCode::kActorDied:
      return "ActorDiedError";
    case ErrorCode::kObjectLost:
      return "ObjectLostError";
    case ErrorCode::kOwnerDied:
      return "OwnerDiedError";
    case ErrorCode::kNodeDied:
      return "NodeDiedError";
    case ErrorCode::kOutOfMemory:
      return "OutOfMemoryError";
    case ErrorCode::kTimeout:
      return "TimeoutError";
    case ErrorCode::kCancelled:
      return "CancelledError";
    case ErrorCode::kBackPressure:
      return "BackPressureError";
    case ErrorCode::kFunctionNotFound:
      return "FunctionNotFoundError";
    case ErrorCode::kNameTaken:
      return "NameTakenError";
    case ErrorCode::kWorkerLimit:
      return "WorkerLimitError";
    case ErrorCode::kInvalidArgument:
      return "InvalidArgumentError";
    case ErrorCode::kSerialization:
      return "SerializationError";
    case ErrorCode::kShutdown:
      return "ShutdownError";
    case ErrorCode::kInternal:
      return "InternalError";
  }
  return "Error";
}

// Calls `use` with a null pointer of the class that `code` stands for.
template <class Use>
auto WithClassOf(ErrorCode code, Use use) {
  switch (code) {
    case ErrorCode::kTaskError:
      return use(static_cast<TaskError*>(nullptr));
    case ErrorCode::kWorkerDied:
      return use(static_cast<WorkerDiedError*>(nullptr));
    case ErrorCode::kActorDied:
      return use(static_cast<ActorDiedError*>(nullptr));
    case ErrorCode::kObjectLost:
      return use(static_cast<ObjectLostError*>(nullptr));
    case ErrorCode::kOwnerDied:
      return use(static_cast<OwnerDiedError*>(nullptr));
    case ErrorCode::kNodeDied:
      return use(static_cast<NodeDiedError*>(nullptr));
    case ErrorCode::kOutOfMemory:
      return use(static_cast<OutOfMemoryError*>(nullptr));
    case ErrorCode::kTimeout:
      return use(static_cast<TimeoutError*>(nullptr));
    case ErrorCode::kCancelled:
      return use(static_cast<CancelledError*>(nullptr));
    case ErrorCode::kBackPressure:
      return use(static_cast<BackPressureError*>(nullptr));
    case ErrorCode::kFunctionNotFound:
      return use(static_cast<FunctionNotFoundError*>(nullptr));
    case ErrorCode::kNameTaken:
      return use(static_cast<NameTakenError*>(nullptr));
    case ErrorCode::kWorkerLimit:
      return use(static_cast<WorkerLimitError*>(nullptr));
    case ErrorCode::kInvalidArgument:
      return use(static_cast<InvalidArgumentError*>(nullptr));
    case ErrorCode::kSerialization:
      return use(static_cast<SerializationError*>(nullptr));
    case ErrorCode::kShutdown:
      return use(static_cast<ShutdownError*>(nullptr));
    case ErrorCode::kNone:
    case ErrorCode::kInternal:
      break;
  }
  return use(static_cast<InternalError*>(nullptr));
}

}  // namespace

Error::Error(internal::ErrorValue value) : value_(std::make_shared<const internal::ErrorValue>(std::move(value))) {}
Error::Error(ErrorCode code, std::string_view message) : Error(ValueOf(code, message)) {}

const char* Error::what() const noexcept { return value_->message.c_str(); }
ErrorCode Error::code() const noexcept { return static_cast<ErrorCode>(value_->code); }
const std::string& Error::where() const noexcept { return value_->where; }
const std::vector<std::string>& Error::call_chain() const noexcept { return value_->chain; }

std::string Error::Describe() const {
  std::string text = CodeName(code());
  text += ": ";
  if (!value_->type.empty()) text += value_->type + ": ";
  text += value_->message;
  if (!value_->where.empty()) text += "\n  in " + value_->where;
  if (!value_->chain.empty()) {
    text += "\n  called as";
    for (const std::string& call : value_->chain) text += (&call == &value_->chain.front() ? " " : " -> ") + call;
  }
  return text;
}

namespace internal {

std::shared_ptr<const Error> MakeError(const ErrorValue& error) {
  return WithClassOf(static_cast<ErrorCode>(error.code),
                     [&]<class E>(E*) -> std::shared_ptr<const Error> { return std::make_shared<const E>(error); });
}

void ThrowError(const ErrorValue& error) {
  ParkIfInterrupted();
  WithClassOf(static_cast<ErrorCode>(error.code), [&]<class E>(E*) -> void { throw E(error); });
  __builtin_unreachable();
}

}  // namespace internal
}  // namespace manta

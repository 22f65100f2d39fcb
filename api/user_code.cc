#include "api/user_code.h"

#include <cxxabi.h>

#include <cstring>
#include <exception>
#include <typeinfo>
#include <utility>

#include "api/registry.h"
#include "manta/error.h"
#include "rpc/message.h"
#include "rpc/utf8.h"

namespace manta::internal {
namespace {

constexpr size_t kTypeNameBytesMax = 1024;

thread_local CallFrame* current_frame = nullptr;

class FrameScope {
 public:
  explicit FrameScope(CallFrame* frame) : saved_(current_frame) {
    frame->outer = saved_;
    current_frame = frame;
  }
  ~FrameScope() { current_frame = saved_; }
  FrameScope(const FrameScope&) = delete;
  FrameScope& operator=(const FrameScope&) = delete;

 private:
  CallFrame* const saved_;
};

uint16_t Number(rpc::ErrorCode code) { return static_cast<uint16_t>(code); }

ErrorValue MissingFunction(const CallFrame& frame) {
  ErrorValue error;
  error.code = Number(rpc::ErrorCode::kFunctionNotFound);
  error.message = DescribeMissingFunction(frame.function);
  error.where = frame.process;
  return error;
}

ErrorValue WrongClass(const CallFrame& frame, const FunctionEntry& entry, const HostedActor& actor) {
  ErrorValue error;
  error.code = Number(rpc::ErrorCode::kFunctionNotFound);
  error.message = NameOf(frame) + " is a method of " + Demangle(entry.class_name) + ", but the actor is a " +
                  (actor.class_name == nullptr ? "?" : Demangle(actor.class_name)) +
                  ": GetActor was given another class";
  error.where = frame.process;
  return error;
}

// The type of the exception that is being handled, whatever it is.
std::string CaughtType() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  return type == nullptr ? "" : CleanText(Demangle(type->name()).substr(0, kTypeNameBytesMax));
}

std::string WhatOf(const std::exception& error) {
  const char* const what = error.what();
  return what == nullptr ? "" : CleanText({what, strnlen(what, kErrorTextBytesMax + 1)});
}

// An error of Manta's that left user code, or stood in its way.
ErrorValue OfMantaError(const Error& error, Invocation::Phase phase, const CallFrame& frame) {
  ErrorValue value = error.value();
  if (phase == Invocation::Phase::kCall && error.code() != ErrorCode::kTaskError) {
    // To the caller, the user's code threw it: that an inner call's worker died says nothing about this call's.
    value = ErrorValue();
    value.code = Number(rpc::ErrorCode::kTaskError);
    value.type = CaughtType();
    value.message = WhatOf(error);
    value.chain = error.call_chain();
  }
  if (phase == Invocation::Phase::kArguments) value.message = NameOf(frame) + ": " + value.message;
  if (phase == Invocation::Phase::kResult) value.message = "the result of " + NameOf(frame) + ": " + value.message;
  return value;
}

ErrorValue OfException(std::string message, Invocation::Phase phase, const CallFrame& frame) {
  ErrorValue value;
  value.type = CaughtType();
  value.message = std::move(message);
  value.code = Number(phase == Invocation::Phase::kCall ? rpc::ErrorCode::kTaskError : rpc::ErrorCode::kSerialization);
  if (phase == Invocation::Phase::kArguments)
    value.message = "an argument of " + NameOf(frame) + " threw: " + value.message;
  if (phase == Invocation::Phase::kResult)
    value.message = "the result of " + NameOf(frame) + " threw: " + value.message;
  return value;
}

// Runs the invoker; everything that it throws becomes an ErrorValue.
ErrorValue Invoke(const FunctionEntry& entry, Invocation* invocation, const CallFrame& frame) {
  ErrorValue error;
  try {
    entry.invoke(*invocation);
    return error;
  } catch (const Error& caught) {
    error = OfMantaError(caught, invocation->phase, frame);
  } catch (const std::exception& caught) {
    error = OfException(WhatOf(caught), invocation->phase, frame);
  } catch (...) {
    error = OfException("unknown exception", invocation->phase, frame);
  }
  if (error.where.empty())
    error.where = NameOf(frame) + (frame.process.empty() ? "" : " in " + std::string(frame.process));
  error.chain.insert(error.chain.begin(), NameOf(frame));
  return error;
}

}  // namespace

CallFrame* CurrentFrame() { return current_frame; }

std::string NameOf(const CallFrame& frame) {
  return frame.name.empty() ? FunctionName(frame.function) : std::string(frame.name);
}

UserCodeResult RunUserCode(CallFrame* frame, std::vector<Payload> args, const HostedActor* actor) {
  UserCodeResult result;
  const FunctionEntry* const entry = FindFunction(frame->function);
  if (entry == nullptr) {
    result.error = MissingFunction(*frame);
    return result;
  }
  Invocation invocation;
  if (actor != nullptr) {
    if (entry->class_name == nullptr || actor->class_name == nullptr ||
        std::strcmp(entry->class_name, actor->class_name) != 0) {
      result.error = WrongClass(*frame, *entry, *actor);
      return result;
    }
    invocation.actor = actor->object.get();
  }
  invocation.args = std::move(args);
  {
    FrameScope scope(frame);
    result.error = Invoke(*entry, &invocation, *frame);
  }
  result.exit_actor = frame->exit_actor;
  if (result.error.code == 0) {
    result.returns = std::move(invocation.returns);
    result.constructed = {std::move(invocation.constructed), entry->class_name};
  }
  return result;
}

std::string CleanText(std::string_view text) {
  constexpr std::string_view kCut = " ... (cut)";
  const bool cut = text.size() > kErrorTextBytesMax;
  std::string clean(text.substr(0, cut ? kErrorTextBytesMax - kCut.size() : text.size()));
  for (size_t i = 0; i < clean.size();) {
    const unsigned char c = static_cast<unsigned char>(clean[i]);
    size_t length = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    const bool is_control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    if (is_control || i + length > clean.size() || !rpc::IsUtf8(std::string_view(clean).substr(i, length))) {
      clean[i] = '?';
      length = 1;
    }
    i += length;
  }
  if (cut) clean += kCut;
  return clean;
}

}  // namespace manta::internal

// RunUserCode runs one call of user code: the bridge between a backend and the functions in the registry.
//
// Problem:    whatever user code throws must become an ErrorValue and never escape; what goes wrong before it (an
// argument
//             that cannot be read) and after it (a result that cannot be written) must not look like its own exception.
// Threads:    thread-safe. A thread's frames form a stack (a waiting thread may run another call).
// Invariants: (1) RunUserCode never throws.
//             (2) during it, CurrentFrame() is `frame`.
//             (3) text in errors is UTF-8, of kErrorTextBytesMax at most.
// Knows nothing of transports.
#ifndef MANTA_API_USER_CODE_H_
#define MANTA_API_USER_CODE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "manta/internal/backend.h"

namespace manta::internal {

inline constexpr size_t kErrorTextBytesMax = 16 << 10;

// The call that a thread runs. Filled by the backend; lives on its stack.
struct CallFrame {
  ObjectKey call;  // its first result
  uint64_t function = 0;
  std::string_view name;     // what Name said; empty: the function's
  std::string_view process;  // where: "n1.p4"
  ObjectKey actor;           // methods and constructors
  uint64_t actor_incarnation = 0;
  uint32_t attempt = 0;
  uint32_t depth = 0;                // of the chain of parents
  void* owner = nullptr;             // the backend's own
  bool exit_actor = false;           // set by ExitActor()
  const CallFrame* outer = nullptr;  // set by RunUserCode
};

// The innermost call that this thread runs; null in the driver's own code and in threads that user code started.
CallFrame* CurrentFrame();
// What people call it: `name`, or the function's.
std::string NameOf(const CallFrame& frame);

// An actor's object, as its constructor made it.
struct HostedActor {
  std::shared_ptr<void> object;
  const char* class_name = nullptr;  // mangled; FunctionEntry::class_name of the constructor
};

struct UserCodeResult {
  std::vector<Serialized> returns;  // parts keep what they need
  HostedActor constructed;          // constructors
  ErrorValue error;                 // code 0: none
  bool exit_actor = false;
};

// Calls frame->function with `args`. `actor`: for methods. Errors: kTaskError: it threw; kSerialization: an argument or
// the result; kFunctionNotFound: no such function, or not a method of the actor's class.
UserCodeResult RunUserCode(CallFrame* frame, std::vector<Payload> args, const HostedActor* actor);

// `text` as it may stand in an error: cut at kErrorTextBytesMax, '?' for bytes that are no UTF-8 and for control
// characters other than tab and newline.
std::string CleanText(std::string_view text);

}  // namespace manta::internal

#endif  // MANTA_API_USER_CODE_H_

// What --manta-local knows of an object, a call and an actor. All fields are guarded by LocalBackend's mutex, but for
// those that are said to be immutable.
#ifndef MANTA_API_LOCAL_CALL_H_
#define MANTA_API_LOCAL_CALL_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/local_value.h"
#include "api/user_code.h"
#include "base/mutex.h"
#include "base/resources.h"
#include "manta/internal/backend.h"

namespace manta::internal {

struct LocalActor;
struct LocalCall;

// A thread that waits for some objects.
struct LocalWaiter {
  base::CondVar wake;
  size_t missing = 0;
};

// An object: the state behind its handles. Once ready it is immutable.
struct LocalObject final : RefState {
  using RefState::RefState;
  bool ready = false;
  std::shared_ptr<const LocalValue> value;
  ErrorValue error;                   // code 0: there is a value
  std::weak_ptr<LocalCall> producer;  // immutable
  std::vector<LocalWaiter*> waiters;
  std::vector<std::shared_ptr<LocalCall>> dependents;
};

// A handle of an actor. Immutable.
struct LocalHandle final : RefState {
  using RefState::RefState;
  std::shared_ptr<LocalActor> actor;
};

struct LocalArgument {
  RefHandle ref;  // or
  std::shared_ptr<const LocalValue> value;
};

//   kWaiting --arguments ready--> kQueued --> kRunning --> kDone
//      |                            |  ^---retry---|        ^
//      +--------- cancelled, timed out, actor dead ---------+
struct LocalCall {
  enum class State { kWaiting, kQueued, kRunning, kDone };
  ObjectKey key;                         // immutable: its first result
  uint64_t function = 0;                 // immutable
  std::string name;                      // immutable
  ObjectKey caller;                      // immutable: actor or call that made it; none: the driver
  uint32_t depth = 0;                    // immutable
  CallOptions options;                   // immutable
  base::ResourceSet shape;               // immutable: tasks
  std::shared_ptr<LocalActor> actor;     // immutable: methods
  std::weak_ptr<LocalActor> constructs;  // immutable: constructions
  State state = State::kWaiting;
  size_t missing = 0;  // arguments that are not ready
  uint32_t attempt = 0;
  std::vector<LocalArgument> args;
  std::vector<RefHandle> returns;  // LocalObjects
};
using LocalCallPtr = std::shared_ptr<LocalCall>;

//   kPending (for arguments, then for resources) --> kStarting --> kAlive --> kDead
//      ^--------------- restart ------------------------+-----------+
struct LocalActor {
  enum class State { kPending, kStarting, kAlive, kDead };
  ObjectKey key;  // immutable, like the next five
  uint64_t constructor = 0;
  std::string class_name;
  std::string name;
  std::string name_space;
  ActorOptions options;
  base::ResourceSet placement;  // what must be free to start it
  base::ResourceSet lifetime;   // what it holds while it lives
  LocalCallPtr construction;    // carries the constructor's arguments; runs once per incarnation
  State state = State::kPending;
  uint64_t incarnation = 0;          // which life, from 1 when it starts
  int restarts_left = 0;             // -1: for ever
  bool ending = false;               // the last handle is gone: ends when its calls have
  HostedActor hosted;                // kAlive
  std::deque<LocalCallPtr> mailbox;  // in order; calls that are done in the meantime are skipped
  std::map<ObjectKey, std::deque<LocalCallPtr>>
      streams;                            // by caller: a call that waits for arguments, and those behind it
  std::map<ObjectKey, uint64_t> pending;  // by caller: calls that are not done
  std::vector<LocalCallPtr> running;
  std::vector<std::function<void(const ErrorValue&)>> on_death;
  ErrorValue death;      // kDead
  base::CondVar wake;    // its threads
  base::CondVar credit;  // callers that wait until fewer calls are pending
};
using LocalActorPtr = std::shared_ptr<LocalActor>;

}  // namespace manta::internal

#endif  // MANTA_API_LOCAL_CALL_H_

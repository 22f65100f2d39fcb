// Scripts are the simulator's user code: coroutines that make calls, wait, hold refs, put and read values, and throw.
//
//   Script Sum(Frame& f) {                        // a task: the sum of two refs
//     auto [a, b] = ...;
//     const Got got = co_await f.Get(f.arg(0).refs[0]);
//     if (!got.ok()) { f.Throw(got.error); co_return; }
//     f.Return(got.value.number);
//   }
//
// Problem:    user code blocks, and a simulated process must not; it may die at any step.
// Threads:    externally synchronised.
// Invariants: (1) a script of a dead process is never resumed.
//             (2) a Ref that goes is reported to the core (RefDropped), unless its process is dead.
#ifndef MANTA_TESTS_SIM_SCRIPT_H_
#define MANTA_TESTS_SIM_SCRIPT_H_

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rpc/message.h"
#include "runtime/worker/process_core.h"

namespace manta::sim {

class Frame;
class ProcessHost;
class World;

struct Script {
  struct promise_type {
    Script get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};
using Function = Script (*)(Frame&);

// A part of a script that waits, too: co_await Step(...).
class Step {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;
  struct Return {
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle ended) noexcept;
    void await_resume() noexcept {}
  };
  struct promise_type {
    std::coroutine_handle<> caller;
    Step get_return_object() { return Step(Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    Return final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  Step(Step&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  ~Step() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) {
    handle_.promise().caller = caller;
    return handle_;
  }
  void await_resume() {}

 private:
  explicit Step(Handle handle) : handle_(handle) {}
  Handle handle_;
};
inline std::coroutine_handle<> Step::Return::await_suspend(Handle ended) noexcept { return ended.promise().caller; }

// One handle in user code: of an object, or of an actor.
struct RefState : std::enable_shared_from_this<RefState> {
  RefState(ProcessHost* process, ObjectId object, runtime::Cookie cookie)
      : process(process), object(object), cookie(cookie) {}
  ~RefState();
  RefState(const RefState&) = delete;
  RefState& operator=(const RefState&) = delete;

  ProcessHost* const process;
  const ObjectId object;
  const runtime::Cookie cookie;
  bool done = false;
  rpc::Value value;
  rpc::ErrorInfo error;
  std::vector<std::function<void()>> waiting;
};
using Ref = std::shared_ptr<RefState>;

// Store memory that is read in place: not reused while a View of it exists.
struct View {
  View(ProcessHost* process, rpc::StoreLocation location, ObjectId object);
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  // Whether what was there is still there.
  void Check() const;

  ProcessHost* const process;
  const rpc::StoreLocation location;
  const ObjectId object;
  uint64_t pin = 0;
};

// What user code sees of a value.
struct UserValue {
  int64_t number = 0;
  std::vector<Ref> refs;
  std::shared_ptr<View> view;  // it lies in the store
};
struct Got {
  UserValue value;
  rpc::ErrorInfo error;
  bool ok() const { return !error; }
};
// An argument: a value, or a ref to be resolved first.
struct Arg {
  Arg(int64_t number) : value{number, {}, nullptr} {}  // NOLINT(google-explicit-constructor)
  Arg(UserValue value) : value(std::move(value)) {}    // NOLINT(google-explicit-constructor)
  Arg(Ref ref) : ref(std::move(ref)) {}                // NOLINT(google-explicit-constructor)
  UserValue value;
  Ref ref;
};

struct CallOptions {
  int32_t max_retries = 3;
  std::optional<int64_t> expected = {};
  std::optional<Duration> timeout = {};
  int cpus = 1;
  bool retry_on_exception = false;
  rpc::SchedulingHint hint = {};
};
struct ActorOptions {
  std::string name = {};
  int32_t max_restarts = 0;
  std::optional<int64_t> expected = {};
  uint32_t max_concurrency = 1;
  int cpus = 1;
  bool detached = false;
  rpc::SchedulingHint hint = {};
};

// The object of a user's class.
struct ActorState {
  ActorId id;
  int64_t total = 0;
  std::vector<Ref> held;
  std::vector<std::shared_ptr<View>> views;
};

// One run of user code: of a task, a method, a constructor, or a driver's main.
class Frame {
 public:
  enum class Kind : uint8_t { kMain, kCall, kConstructor };
  Frame(ProcessHost* process, uint64_t number, Kind kind) : process_(process), number_(number), kind_(kind) {}
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  // ---- for scripts
  bool alive() const;
  ProcessHost* process() const { return process_; }
  World* world() const;
  const UserValue& arg(size_t index) const { return args_[index]; }
  UserValue& mutable_arg(size_t index) { return args_[index]; }
  size_t arg_count() const { return args_.size(); }
  ActorState& actor() const { return *actor_; }
  uint64_t Random(uint64_t below);

  Ref Task(uint64_t function, std::vector<Arg> args, CallOptions options = {});
  Ref Call(const Ref& actor, uint64_t function, std::vector<Arg> args, CallOptions options = {.max_retries = 0});
  Ref NewActor(std::vector<Arg> args, ActorOptions options = {});
  Ref Put(UserValue value);
  void Kill(const Ref& actor, bool no_restart);
  void Cancel(const Ref& ref);

  void Return(int64_t number) { result_.number = number; }
  void Return(UserValue value) { result_ = std::move(value); }
  void Throw(std::string message);
  void Throw(const rpc::ErrorInfo& error);
  void ExitActor() { exit_actor_ = true; }
  // A driver's main goes on in another thread, too.
  void StartThread(Function function);

  // Awaitables.
  struct GetAwait;
  struct SleepAwait;
  struct RoomAwait;
  struct FindAwait;
  GetAwait Get(Ref ref);
  SleepAwait Sleep(Duration time);
  // Puts a value of `size_bytes` into the store; null: it is full.
  RoomAwait PutLarge(UserValue value, uint64_t size_bytes);
  // Returns such a value.
  RoomAwait ReturnLarge(UserValue value, uint64_t size_bytes);
  FindAwait Find(std::string name);

 private:
  friend class ProcessHost;
  Ref Submit(runtime::SubmitCall call, const std::vector<Arg>& args, const CallOptions& options, bool is_task);
  void Resume();
  // Resumes when woken, unless the frame is gone. Tells the core after 1 ms that it blocks, if it runs a call.
  std::function<void()> Waker(bool blocks);

  ProcessHost* const process_;
  const uint64_t number_;
  const Kind kind_;
  std::coroutine_handle<Script::promise_type> script_;
  std::coroutine_handle<> at_;  // where it goes on
  rpc::CallRequest request_;    // kCall
  std::string what_;
  ActorState* actor_ = nullptr;
  std::vector<UserValue> args_;
  UserValue result_;
  std::optional<rpc::StoreLocation> result_at_;
  uint64_t result_bytes_ = 0;
  rpc::ErrorInfo error_;
  bool exit_actor_ = false;
  bool blocked_ = false;
  uint64_t waits_ = 0;
  ObjectId waits_for_;  // the last one it waited for, for people
  Time started_{};
  Time waiting_since_{};
};

struct Frame::GetAwait {
  Frame* frame;
  Ref ref;
  bool await_ready() const;
  void await_suspend(std::coroutine_handle<>);
  Got await_resume();
};
struct Frame::SleepAwait {
  Frame* frame;
  Duration time;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>);
  void await_resume() {}
};
struct Frame::RoomAwait {
  Frame* frame;
  UserValue value;
  uint64_t size_bytes;
  bool is_result;
  std::optional<rpc::StoreLocation> room;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>);
  Ref await_resume();
};
struct Frame::FindAwait {
  Frame* frame;
  std::string name = {};
  ActorId found;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>);
  Ref await_resume();
};

// What the simulated program consists of (functions.cc).
struct Program {
  struct Entry {
    const char* name;
    Function function;
  };
  static const Entry& Find(uint64_t function);
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_SCRIPT_H_

// Backend is what the templates of the public API call: one implementation runs calls on a cluster
// (api/cluster_backend.cc), one inside the process (api/local_backend.cc, --manta-local).
//
// Only the standard library's types appear here, because user programs compile this header.
// Threads: thread-safe; blocking members may be called from any thread that is not the I/O thread.
#ifndef MANTA_INTERNAL_BACKEND_H_
#define MANTA_INTERNAL_BACKEND_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manta/internal/export.h"

namespace manta::internal {

class Backend;

// The identity of an object (or, with is_actor, of an actor), in the layout that travels.
struct ObjectKey {
  uint64_t node = 0;
  uint64_t process = 0;
  uint64_t number = 0;
  uint32_t index = 0;
  friend bool operator==(const ObjectKey&, const ObjectKey&) = default;
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

// Where a sealed object lies (all 0: unknown).
struct LocationKey {
  uint64_t node = 0;
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;
};

// RefState is the shared part of all copies of one handle. Backends derive from it; counted intrusively,
// and given back with Backend::Drop when the last RefHandle goes.
struct RefState {
  explicit RefState(Backend* owner, ObjectKey k) : backend(owner), key(k) {}
  std::atomic<uint32_t> count{1};
  Backend* backend;
  ObjectKey key;
  uint64_t generation = 0;  // of Init: a ref of an earlier Init is refused
};

// Backend::Drop, for the last handle; nothing in a forked child, whose backend is the parent's. Defined in
// runtime_state.cc.
MANTA_EXPORT void DropRef(RefState* state) noexcept;

// A counted handle to an object. Cheap to move; a copy is one atomic increment.
class RefHandle {
 public:
  RefHandle() = default;
  explicit RefHandle(RefState* adopted) : state_(adopted) {}  // takes over one count
  RefHandle(const RefHandle& other) : state_(other.state_) {
    if (state_ != nullptr) state_->count.fetch_add(1, std::memory_order_relaxed);
  }
  RefHandle(RefHandle&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  RefHandle& operator=(RefHandle other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~RefHandle() {
    if (state_ != nullptr && state_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) DropRef(state_);
  }

  RefState* get() const { return state_; }
  explicit operator bool() const { return state_ != nullptr; }

 private:
  RefState* state_ = nullptr;
};

// A value in serialised form, to be written: `head` (the archive's stream) and out-of-band parts (contiguous numeric
// data), each placed 64-byte aligned behind it. Layout in memory (little endian):
//   u32 magic | u32 part_count | u64 head_bytes | part_count x {u64 offset, u64 bytes} | head | pad | part 0 | ...
// A value whose type is `plain` (numbers, std::string, vectors of numbers: see manta/internal/value.h) has no such
// frame: its bytes are the head and then its one part, if any. Plainness is a property of the type, so that the reader
// knows.
struct Serialized {
  struct Part {
    const void* data;
    size_t size_bytes;
    std::shared_ptr<const void> keep;  // keeps `data` alive; null: valid until the Backend call that gets it returns
  };
  std::string head;
  std::vector<Part> parts;
  std::vector<RefHandle> refs;  // nested refs and actor handles, in order of appearance
  bool plain = true;
};

// The bytes that `value` takes in memory, and the bytes themselves, written to `out` (room for EncodedBytes; 64-byte
// aligned if a reader is to see its parts aligned, as the store's objects and inline values of 4 KiB and more must be).
MANTA_EXPORT size_t EncodedBytes(const Serialized& value);
MANTA_EXPORT void Encode(const Serialized& value, char* out);

// A value in memory, to be read in place: `data` stays valid and unchanged while `keep` lives.
struct Payload {
  const char* data = nullptr;
  size_t size_bytes = 0;
  std::shared_ptr<const void> keep;  // inline bytes, or a pin on store memory
  RefHandle object;                  // set when data lies in the store: the object it belongs to
  std::vector<RefHandle> refs;       // nested refs, in order
};

// The typed error of a call, as the backend reports it; api/manta/error.h turns it into an exception.
struct ErrorValue {
  uint16_t code = 0;  // rpc::ErrorCode's numbers; 0: none
  std::string type;
  std::string message;
  std::string where;
  std::vector<std::string> chain;
  bool may_have_run = false;
};

// Thrown by code below the templates; ThrowError makes the public type of it.
[[noreturn]] MANTA_EXPORT void ThrowError(const ErrorValue& error);

struct Argument {
  RefHandle ref;  // a top-level ref, resolved before the call runs; or
  Serialized value;
};

// Where to run it. `node` 0: anywhere; else there, or, if `soft`, elsewhere when it has no room.
struct SchedulingHint {
  bool spread = false;
  uint64_t node = 0;
  bool soft = false;
};

struct CallOptions {
  std::string name;
  std::map<std::string, double> resources;  // merged with CPU/GPU below
  std::optional<double> num_cpus;           // tasks: default 1; actors: 1 to be placed, 0 to live
  std::optional<double> num_gpus;
  std::optional<int> max_retries;  // tasks: 3; MaxTaskRetries of actors: 0; -1: for ever
  bool retry_on_exception = false;
  std::optional<std::chrono::nanoseconds> timeout;
  SchedulingHint hint;  // tasks
};

struct ActorOptions {
  std::string name;
  std::string name_space;  // empty: the job's own
  bool get_if_exists = false;
  std::map<std::string, double> resources;
  std::optional<double> num_cpus;
  std::optional<double> num_gpus;
  int max_restarts = 0;
  int max_task_retries = 0;
  uint32_t max_concurrency = 1;
  std::optional<uint64_t> max_pending_calls;
  bool detached = false;
  SchedulingHint hint;
};

struct NodeValue {
  uint64_t number = 0;
  std::string name;
  std::string address;
  std::map<std::string, double> total;
  std::map<std::string, double> available;
  bool is_head = false;
};

struct ContextInfo {
  uint64_t job = 0;
  std::string node;
  std::string process;
  std::string worker;
  std::string actor;  // empty: not in an actor
  std::string task;   // the running call
  std::string name_space;
  std::string function;
  uint32_t attempt = 0;
  uint64_t actor_incarnation = 0;  // 1: the first
  bool is_driver = false;
  bool is_local = false;
};

// A writable piece of store memory (Create<T>): filled in place, then sealed.
struct WritableObject {
  void* data = nullptr;
  size_t size_bytes = 0;
  std::shared_ptr<void> keep;  // unsealed and dropped: the memory goes back
};

struct ActorRef {
  RefHandle handle;  // key: the actor's handle object
  uint32_t max_concurrency = 1;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // --- calls. Never block, but for credit (30 s, then BackPressureError).
  virtual std::vector<RefHandle> SubmitTask(uint64_t function, std::vector<Argument> args, uint32_t return_count,
                                            const CallOptions& options) = 0;
  virtual std::vector<RefHandle> SubmitActorCall(const RefHandle& actor, uint64_t function, std::vector<Argument> args,
                                                 uint32_t return_count, const CallOptions& options) = 0;
  virtual RefHandle CreateActor(uint64_t constructor, const char* class_name, std::vector<Argument> args,
                                const ActorOptions& options) = 0;
  // TimeoutError: the head has not answered in time.
  virtual std::optional<ActorRef> GetActor(const std::string& name, const std::string& name_space,
                                           std::chrono::nanoseconds timeout) = 0;
  virtual void KillActor(const RefHandle& actor, bool no_restart) = 0;
  virtual void Cancel(const RefHandle& ref) = 0;
  virtual void OnDeath(const RefHandle& actor, std::function<void(const ErrorValue&)> callback) = 0;
  // Ends the actor whose method is running, after this call. Error outside of an actor.
  virtual void ExitActor() = 0;

  // --- objects.
  virtual RefHandle Put(Serialized value) = 0;
  // Blocks until the object is ready or `deadline` (none: as long as its target lives). Throws typed errors.
  virtual Payload Get(const RefHandle& ref, std::optional<std::chrono::steady_clock::time_point> deadline) = 0;
  // Result of TryGet: error instead of exception.
  virtual bool TryGet(const RefHandle& ref, std::optional<std::chrono::steady_clock::time_point> deadline,
                      Payload* payload, ErrorValue* error) = 0;
  // Blocks until `count` of `refs` are ready (value or error) or the deadline; ready[i] tells which. Asks for all of
  // them first, so that with `count` 0 it makes a later Get of each wait for one round trip at most.
  virtual void Wait(const std::vector<const RefHandle*>& refs, size_t count,
                    std::optional<std::chrono::steady_clock::time_point> deadline, std::vector<bool>* ready) = 0;
  // Room for `size_bytes` in the store, 64-byte aligned. Throws OutOfMemoryError. The caller writes a whole value in
  // Encode's layout, frame included (tensor.cc), so that the sealed object reads like any other.
  virtual WritableObject Create(size_t size_bytes) = 0;
  // Seals it: the memory is immutable from now on.
  virtual RefHandle Seal(WritableObject object) = 0;
  // The bytes of a sealed object that this process can read without waiting, for a view that arrived as a nested ref;
  // blocks while the object is on its way.
  virtual Payload View(const RefHandle& object) = 0;

  // --- handles.
  virtual void Drop(RefState* state) = 0;
  // A handle for a nested ref that arrived in a value (see Payload::refs; used by archives only).
  virtual RefHandle Adopt(const ObjectKey& key, const LocationKey& location) = 0;

  // --- the process.
  virtual ContextInfo Context() = 0;
  // The nodes that live, in the order of their numbers. Blocks for a round trip to the own node.
  virtual std::vector<NodeValue> Nodes() = 0;
  virtual bool Drain(std::optional<std::chrono::nanoseconds> timeout) = 0;
  // Orderly end; returns how many calls were cancelled. Idempotent. The object itself lives on until the process ends,
  // because refs that user code still has are dropped through it.
  virtual uint64_t Shutdown() = 0;
  // In the child of a fork in user code, single-threaded, no lock may be taken: close every descriptor of ours.
  virtual void AfterForkInChild() noexcept {}
};

// The process's one runtime pointer. Throws a clear error when there is none (before Init, after Shutdown,
// in a forked child).
MANTA_EXPORT Backend& Current();
MANTA_EXPORT Backend* CurrentOrNull();
// The backend of `ref`, if it is the current one. Throws InvalidArgumentError for an empty ref and for one of an
// earlier Init, else what Current() throws.
MANTA_EXPORT Backend& BackendOf(const RefHandle& ref);

// ---- functions. Filled at static-initialisation time by instantiations of Task<&F>, Call<&T::M>, Actor<T>.

struct Invocation {
  enum class Phase : uint8_t { kArguments, kCall, kResult };
  std::vector<Payload> args;
  void* actor = nullptr;              // the object, for methods; of the class FunctionEntry::class_name
  Phase phase = Phase::kArguments;    // how far the invoker got: tells a bad argument from the user's exception
  std::vector<Serialized> returns;    // filled by the invoker
  std::shared_ptr<void> constructed;  // filled by constructors
};
using Invoker = void (*)(Invocation&);  // throws what user code throws
struct FunctionEntry {
  const char* mangled_name = nullptr;  // typeid(Wrapper<F>).name()
  Invoker invoke = nullptr;
  const void* address = nullptr;     // tells two internal-linkage functions of one name apart
  const char* class_name = nullptr;  // methods and constructors: typeid(T).name() of the actor's class
  const char* file = nullptr;        // the source file that was compiled, for the error about such a pair
};
MANTA_EXPORT uint64_t RegisterFunction(const FunctionEntry& entry);  // the hash of its name
MANTA_EXPORT const FunctionEntry* FindFunction(uint64_t function);   // null: this program has no such function
// What people call it: "Add(int, int)", "Counter::Add(int)", "Counter" (a constructor); "function 1a2b..." if unknown.
MANTA_EXPORT std::string FunctionName(uint64_t function);
// "std::vector<int, ...>" for a mangled type name; the name itself if it cannot be read.
MANTA_EXPORT std::string Demangle(const char* mangled_name);

}  // namespace manta::internal

#endif  // MANTA_INTERNAL_BACKEND_H_

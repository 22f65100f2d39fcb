// LocalBackend is --manta-local: the whole runtime inside the driver, for debuggers, valgrind and small programs.
//
// Problem:    the same program must do the same as on a cluster, single-stepped in one process.
// How:        tasks run in a pool of threads that grows while tasks wait (at most kTaskThreads), each actor in a thread
// of
//             its own (MaxConcurrency of them); resources, order, retries, restarts and errors are as on a cluster, and
//             all values go through their serialised form.
// Not as on a cluster: what runs cannot be killed. A killed actor's running method goes on, unheard; exit() and a crash
// end
//             the program; OnWorkerStart functions run once; a write to a view is not caught.
// Threads:    thread-safe (internal::Backend). One mutex; never held across user code.
// Files:      local_backend.cc: calls and objects. local_tasks.cc: the pool. local_actors.cc: actors.
#ifndef MANTA_API_LOCAL_BACKEND_H_
#define MANTA_API_LOCAL_BACKEND_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/local_call.h"
#include "api/local_service.h"
#include "api/local_value.h"
#include "base/mutex.h"
#include "base/resources.h"
#include "manta/internal/backend.h"

namespace manta::internal {

class LocalBackend final : public Backend {
 public:
  struct Spec {
    base::ResourceSet total;  // CPU, GPU and custom ones
    uint64_t store_bytes_max = UINT64_MAX;
    std::string name_space = "local";
    uint64_t generation = 0;  // of Init
  };
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit LocalBackend(Spec spec);
  ~LocalBackend() override;

  std::vector<RefHandle> SubmitTask(uint64_t function, std::vector<Argument> args, uint32_t return_count,
                                    const CallOptions& options) override;
  std::vector<RefHandle> SubmitActorCall(const RefHandle& actor, uint64_t function, std::vector<Argument> args,
                                         uint32_t return_count, const CallOptions& options) override;
  RefHandle CreateActor(uint64_t constructor, const char* class_name, std::vector<Argument> args,
                        const ActorOptions& options) override;
  std::optional<ActorRef> GetActor(const std::string& name, const std::string& name_space,
                                   std::chrono::nanoseconds timeout) override;
  void KillActor(const RefHandle& actor, bool no_restart) override;
  void Cancel(const RefHandle& ref) override;
  void OnDeath(const RefHandle& actor, std::function<void(const ErrorValue&)> callback) override;
  void ExitActor() override;

  RefHandle Put(Serialized value) override;
  Payload Get(const RefHandle& ref, std::optional<TimePoint> deadline) override;
  bool TryGet(const RefHandle& ref, std::optional<TimePoint> deadline, Payload* payload, ErrorValue* error) override;
  void Wait(const std::vector<const RefHandle*>& refs, size_t count, std::optional<TimePoint> deadline,
            std::vector<bool>* ready) override;
  WritableObject Create(size_t size_bytes) override;
  RefHandle Seal(WritableObject object) override;
  Payload View(const RefHandle& object) override;

  void Drop(RefState* state) override;
  RefHandle Adopt(const ObjectKey& key, const LocationKey& location) override;

  ContextInfo Context() override;
  std::vector<NodeValue> Nodes() override;
  bool Drain(std::optional<std::chrono::nanoseconds> timeout) override;
  uint64_t Shutdown() override;

 private:
  // --- calls and objects (local_backend.cc)
  LocalCallPtr NewCall(uint64_t function, std::vector<Argument>* args, uint32_t return_count,
                       const CallOptions& options) MANTA_EXCLUDES(mutex_);
  LocalObject* NewObject(uint32_t index, uint64_t number);
  void Submit(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void WaitForArguments(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  // All arguments of `call` are there, values or errors.
  void OnArgumentsReady(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void HandOn(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void Finish(const LocalCallPtr& call, std::vector<std::shared_ptr<const LocalValue>> values, const ErrorValue& error)
      MANTA_REQUIRES(mutex_);
  void Fail(const LocalCallPtr& call, const ErrorValue& error) MANTA_REQUIRES(mutex_) { Finish(call, {}, error); }
  void Complete(LocalObject* object, std::shared_ptr<const LocalValue> value, const ErrorValue& error)
      MANTA_REQUIRES(mutex_);
  // Runs one attempt of `call` on this thread, without the lock; what it came to.
  struct Ran {
    std::vector<std::shared_ptr<const LocalValue>> values;
    HostedActor constructed;
    ErrorValue error;
    bool exit_actor = false;
  };
  struct RunSpec {
    const LocalCall* call;
    std::vector<LocalArgument> args;
    uint32_t attempt = 0;
    const HostedActor* hosted = nullptr;  // methods
    ObjectKey actor = {};                 // methods and constructors
    uint64_t incarnation = 0;
  };
  Ran Run(const RunSpec& spec) MANTA_EXCLUDES(mutex_);
  // Blocks until `count` of `objects` are ready, or the deadline.
  void Await(const std::vector<LocalObject*>& objects, size_t count, std::optional<TimePoint> deadline)
      MANTA_REQUIRES(mutex_);
  base::ResourceSet LendCpu() MANTA_REQUIRES(mutex_);
  std::string WhyPending(const LocalObject& object) MANTA_REQUIRES(mutex_);
  ErrorValue TimeoutOf(const std::string& what, const LocalObject& object) MANTA_REQUIRES(mutex_);

  // --- tasks (local_tasks.cc)
  struct Shape {
    base::ResourceSet resources;
    std::deque<LocalCallPtr> queue;
  };
  static base::ResourceSet ShapeOf(const std::map<std::string, double>& custom, std::optional<double> num_cpus,
                                   std::optional<double> num_gpus, int cpus);
  void QueueTask(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void WakeTaskThreads() MANTA_REQUIRES(mutex_);
  LocalCallPtr TakeTask() MANTA_REQUIRES(mutex_);
  std::map<std::string, Shape>::iterator FindFittingShape() MANTA_REQUIRES(mutex_);
  void RunTaskThread() MANTA_EXCLUDES(mutex_);
  void RunTask(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void ReturnResources(const base::ResourceSet& resources) MANTA_REQUIRES(mutex_);
  void StartThread(std::function<void()> body) MANTA_REQUIRES(mutex_);

  // --- actors (local_actors.cc)
  void PlaceActors() MANTA_REQUIRES(mutex_);
  void RunActorThread(const LocalActorPtr& actor, uint64_t incarnation, bool first) MANTA_EXCLUDES(mutex_);
  bool Construct(const LocalActorPtr& actor, uint64_t incarnation, HostedActor* hosted) MANTA_REQUIRES(mutex_);
  LocalCallPtr TakeCall(const LocalActorPtr& actor, uint64_t incarnation) MANTA_REQUIRES(mutex_);
  void RunMethod(const LocalActorPtr& actor, uint64_t incarnation, const LocalCallPtr& call, const HostedActor& hosted)
      MANTA_REQUIRES(mutex_);
  void QueueActorCall(const LocalCallPtr& call) MANTA_REQUIRES(mutex_);
  void DrainStream(const LocalActorPtr& actor, const ObjectKey& caller) MANTA_REQUIRES(mutex_);
  void TakeCredit(const LocalActorPtr& actor, const ObjectKey& caller) MANTA_REQUIRES(mutex_);
  void EndIncarnation(const LocalActorPtr& actor, const ErrorValue& why, bool may_restart) MANTA_REQUIRES(mutex_);
  void Die(const LocalActorPtr& actor, const ErrorValue& why) MANTA_REQUIRES(mutex_);
  void OnLastHandleGone(const LocalActorPtr& actor) MANTA_EXCLUDES(mutex_);
  RefHandle NewHandle(const LocalActorPtr& actor);
  LocalActorPtr FindNamed(const std::string& name_space, const std::string& name) MANTA_REQUIRES(mutex_);

  const Spec spec_;
  LocalMemory memory_;
  LocalService service_;
  std::atomic<uint64_t> next_number_{1};

  base::Mutex mutex_;
  bool shut_down_ MANTA_GUARDED_BY(mutex_) = false;
  std::map<uint64_t, LocalCallPtr> calls_ MANTA_GUARDED_BY(mutex_);         // not done, by number
  std::map<ObjectKey, uint64_t> calls_by_caller_ MANTA_GUARDED_BY(mutex_);  // the same, counted; for Drain
  base::CondVar drained_;
  base::CondVar threads_ended_;
  size_t thread_count_ MANTA_GUARDED_BY(mutex_) = 0;
  std::deque<LocalCallPtr> ready_calls_ MANTA_GUARDED_BY(mutex_);  // got their last argument; see Finish
  bool handing_on_ MANTA_GUARDED_BY(mutex_) = false;

  base::ResourceSet available_ MANTA_GUARDED_BY(mutex_);
  std::map<std::string, Shape> shapes_ MANTA_GUARDED_BY(mutex_);  // tasks that wait, by ResourceSet::ToJson
  base::CondVar task_wake_;
  size_t task_threads_ MANTA_GUARDED_BY(mutex_) = 0;
  size_t task_threads_idle_ MANTA_GUARDED_BY(mutex_) = 0;
  const size_t task_threads_max_;

  std::vector<LocalActorPtr> actors_ MANTA_GUARDED_BY(mutex_);  // not dead, in order of creation
  std::map<std::pair<std::string, std::string>, LocalActorPtr> named_ MANTA_GUARDED_BY(mutex_);  // (namespace, name)
};

}  // namespace manta::internal

#endif  // MANTA_API_LOCAL_BACKEND_H_

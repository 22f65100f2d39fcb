// ClusterBackend runs the public API's calls on a cluster, through one runtime::Process.
//
// Ownership:  owns the Process; handles (ClusterRef) borrow the backend and are given back by Drop.
// Threads:    thread-safe (internal::Backend).
// See:        docs/actor_call.md: the way of a call starts here
#ifndef MANTA_API_CLUSTER_BACKEND_H_
#define MANTA_API_CLUSTER_BACKEND_H_

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/cluster_ref.h"
#include "api/user_code.h"
#include "base/mutex.h"
#include "manta/internal/backend.h"
#include "runtime/worker/process.h"

namespace manta::internal {

ErrorValue ToErrorValue(const rpc::ErrorInfo& error);

class ClusterBackend final : public Backend, private runtime::Process::Host {
 public:
  struct Spec {
    runtime::Process::JoinSpec join;
    std::function<void()> on_shutdown;  // ends what Init started (the embedded cluster)
    bool log_to_driver = true;
  };
  // Errors as Process::Join.
  static absl::StatusOr<std::unique_ptr<ClusterBackend>> Connect(Spec spec);
  ~ClusterBackend() override;

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
  Payload Get(const RefHandle& ref, std::optional<std::chrono::steady_clock::time_point> deadline) override;
  bool TryGet(const RefHandle& ref, std::optional<std::chrono::steady_clock::time_point> deadline, Payload* payload,
              ErrorValue* error) override;
  void Wait(const std::vector<const RefHandle*>& refs, size_t count,
            std::optional<std::chrono::steady_clock::time_point> deadline, std::vector<bool>* ready) override;
  WritableObject Create(size_t size_bytes) override;
  RefHandle Seal(WritableObject object) override;
  Payload View(const RefHandle& object) override;

  void Drop(RefState* state) override;
  RefHandle Adopt(const ObjectKey& key, const LocationKey& location) override;

  ContextInfo Context() override;
  std::vector<NodeValue> Nodes() override;
  bool Drain(std::optional<std::chrono::nanoseconds> timeout) override;
  uint64_t Shutdown() override;
  void AfterForkInChild() noexcept override { process_->AfterForkInChild(); }

  // Which Init this is.
  void set_generation(uint64_t generation) { generation_ = generation; }
  // Worker: runs calls until told to end; the reason.
  std::string RunWorker();

 private:
  explicit ClusterBackend(Spec spec);

  // runtime::Process::Host
  void OnComplete(runtime::Complete complete) override;
  void OnElsewhere(runtime::Elsewhere elsewhere) override;
  void OnActorLookedUp(const runtime::ActorLookedUp& found) override;
  void OnNodesListed(runtime::NodesListed list) override;
  void OnActorChanged(const rpc::ActorUpdate& update) override;
  void OnWaitingFor(const runtime::WaitingFor& waiting) override;
  void OnOutput(const rpc::Output& output) override;
  void OnDaemonLost() override;
  bool HasCallsPending() const override { return calls_pending_.load(std::memory_order_relaxed) != 0; }
  runtime::Executed Execute(rpc::CallRequest request) override;
  runtime::Constructed Construct(rpc::ActorSpec spec, uint64_t incarnation) override;
  void AfterExecuted() override;
  std::vector<Payload> ToPayloads(std::vector<rpc::Value>& args);
  void RefuseResults(runtime::Executed* executed, ErrorValue* error);

  ClusterRef* NewRef(const ObjectId& object);
  rpc::Value ToValue(const Serialized& value);
  std::vector<rpc::Value> ToArguments(std::vector<Argument>& args, std::vector<RefHandle>* keep);
  Payload ToPayload(const rpc::Value& value, const RefHandle& object);
  Payload ReadStored(const rpc::StoreLocation& location, const RefHandle& object);
  bool WaitReady(ClusterRef* ref, Time deadline);
  // WaitUntil that lends the CPU of the running task after 1 ms.
  bool BlockUntil(const std::function<bool()>& done, Time deadline);
  std::shared_ptr<ActorCallCount> CallsOf(const RefHandle& actor);
  void SetState(ClusterRef* ref, ClusterRef::State state);
  void TakeCredit(ActorCallCount& calls, const RefHandle& actor);
  std::vector<RefHandle> SubmitCall(runtime::SubmitCall call, std::vector<Argument> args, uint32_t return_count,
                                    const CallOptions& options, const std::shared_ptr<ActorCallCount>& calls);
  struct Lookup {
    std::atomic<bool> done{false};
    ActorId actor;
    uint32_t max_concurrency = 1;
  };
  struct NodeList {
    std::atomic<bool> done{false};
    std::vector<rpc::NodeInfo> nodes;
  };
  // Asks, under the number that it is given, what OnActorLookedUp answers. `wait` returns true when what it is given
  // is, else false when it will wait no longer. Throws a TimeoutError; ShutdownError.
  using IsDone = std::function<bool()>;
  std::shared_ptr<Lookup> AwaitLookup(const std::function<void(uint64_t)>& ask,
                                      const std::function<bool(const IsDone&)>& wait);
  void RunCallbacks();
  void PostCallback(std::function<void()> callback);

  Spec spec_;
  std::unique_ptr<runtime::Process> process_;
  std::atomic<uint64_t> calls_pending_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> daemon_lost_{false};

  std::string process_name_;
  // Which Init this is; handles carry it, so that one of an earlier Init is refused.
  std::atomic<uint64_t> generation_{0};
  // Workers: the actor that this one hosts, once constructed.
  HostedActor actor_;

  base::Mutex tables_mutex_;
  std::map<ActorId, std::shared_ptr<ActorCallCount>> actor_calls_ MANTA_GUARDED_BY(tables_mutex_);
  std::map<uint64_t, std::shared_ptr<Lookup>> lookups_;
  std::map<uint64_t, std::shared_ptr<NodeList>> node_lists_;
  uint64_t next_lookup_ = 1;
  std::map<ActorId, std::vector<std::function<void(const ErrorValue&)>>> on_death_;
  std::map<ObjectId, std::string> waiting_for_;

  // OnDeath callbacks and workers' output run on a thread of their own, started on first use.
  base::Mutex callback_mutex_;
  base::CondVar callback_wake_;
  std::deque<std::function<void()>> callbacks_;
  bool callbacks_end_ = false;
  std::thread callback_thread_;
};

}  // namespace manta::internal

#endif  // MANTA_API_CLUSTER_BACKEND_H_

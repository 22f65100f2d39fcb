// ProcessFixture is one ProcessCore with a test for everybody else: user code, the own daemon and the peers, in verbs.
#ifndef MANTA_RUNTIME_WORKER_PROCESS_CORE_FIXTURE_H_
#define MANTA_RUNTIME_WORKER_PROCESS_CORE_FIXTURE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/worker/process_core.h"

namespace manta::runtime {

inline constexpr NodeId kNode = 1;
inline constexpr NodeId kOtherNode = 2;
inline constexpr ProcessId kSelf{kNode, 1};
inline constexpr ProcessId kPeer{kNode, 2};
inline constexpr ProcessId kPeer2{kNode, 3};
inline constexpr ProcessId kFarPeer{kOtherNode, 7};
inline constexpr ProcessId kDaemon = DaemonOf(kNode);

inline rpc::Value Inline(const std::string& text) {
  rpc::Value value;
  value.bytes = Bytes(text);
  return value;
}
inline rpc::Value Nest(const std::string& text, std::vector<ObjectId> refs) {
  rpc::Value value = Inline(text);
  for (const ObjectId& ref : refs) value.refs.push_back({ref, {}});
  return value;
}
inline rpc::Value RefTo(const ObjectId& object) {
  rpc::Value value;
  value.kind = rpc::Value::Kind::kRef;
  value.object = object;
  return value;
}
inline rpc::Value Stored(const ObjectId& object, NodeId node, uint64_t segment = 5) {
  rpc::Value value;
  value.kind = rpc::Value::Kind::kStored;
  value.object = object;
  value.location = {node, segment, 0, 1 << 20};
  return value;
}
inline rpc::ErrorInfo Error(rpc::ErrorCode code, const std::string& message = "boom") {
  rpc::ErrorInfo error;
  error.code = code;
  error.message = message;
  return error;
}

class ProcessFixture : public testing::Test {
 protected:
  // ---- time
  void Advance(Duration by) { now_ += by; }
  // Ticks at every deadline up to `by` from now.
  void Pass(Duration by) {
    const Time end = now_ + by;
    for (int ticks = 0; core_.next_deadline() <= end; ++ticks) {
      ASSERT_LT(ticks, 1000) << "the core asks for Ticks without end";
      now_ = std::max(now_, core_.next_deadline());
      Feed(Tick{});
    }
    now_ = end;
  }

  // ---- events
  void Feed(ProcessEvent event) {
    std::vector<ProcessAction> actions;
    core_.Handle(now_, std::move(event), &actions);
    for (ProcessAction& action : actions) {
      if (auto* complete = std::get_if<Complete>(&action)) {
        EXPECT_FALSE(done_.contains(complete->handle)) << "handle " << complete->handle << " is completed twice";
        done_.emplace(complete->handle, std::move(*complete));
      } else {
        actions_.push_back(std::move(action));
      }
    }
  }
  void FromDaemon(rpc::Message message) { Feed(MessageReceived{kDaemon, std::move(message)}); }
  void From(ProcessId peer, rpc::Message message) { Feed(MessageReceived{peer, std::move(message)}); }

  // A task or actor call with one result; the result's id. Its cookie is its number.
  ObjectId Submit(SubmitCall call) {
    call.number = ++last_number_;
    call.function = call.function == 0 ? 7 : call.function;
    if (call.function_name.empty()) call.function_name = "F";
    call.returns = {call.number};
    const ObjectId result{kSelf, call.number, 0};
    Feed(std::move(call));
    return result;
  }
  ObjectId Task(std::vector<rpc::Value> args = {}, int32_t max_retries = 3) {
    SubmitCall call;
    call.args = std::move(args);
    call.max_retries = max_retries;
    call.shape = cpu_;
    return Submit(std::move(call));
  }
  ObjectId CallActor(ActorId actor, std::vector<rpc::Value> args = {}, int32_t max_retries = 0) {
    SubmitCall call;
    call.args = std::move(args);
    call.max_retries = max_retries;
    call.actor = actor;
    return Submit(std::move(call));
  }
  ObjectId Put(rpc::Value value) {
    SubmitPut put;
    put.number = ++last_number_;
    put.handle = put.number;
    put.value = std::move(value);
    const ObjectId id{kSelf, put.number, 0};
    Feed(std::move(put));
    return id;
  }
  // An actor of this process; its handle's cookie is its number.
  ActorId Create(std::vector<rpc::Value> args = {}) {
    SubmitActor create;
    create.spec.actor = {kSelf, ++last_number_};
    create.spec.class_name = "Counter";
    create.spec.args = std::move(args);
    create.handle = last_number_;
    const ActorId actor = create.spec.actor;
    Feed(std::move(create));
    return actor;
  }
  // A new handle of `object`; its cookie.
  Cookie AddHandle(const ObjectId& object, rpc::StoreLocation hint = {}) {
    const Cookie cookie = 1'000'000 + ++last_cookie_;
    Feed(RefAdded{object, hint, cookie});
    return cookie;
  }
  void Drop(const ObjectId& object, Cookie cookie) { Feed(RefDropped{object, cookie}); }
  // The first handle, made by Submit, Put or Create.
  void Drop(const ObjectId& object) { Drop(object, object.number); }

  // ---- the daemon's verbs
  void Grant(uint64_t request, LeaseId lease, ProcessId worker = kPeer) {
    rpc::LeaseGrant grant;
    grant.caller = kSelf;
    grant.request = request;
    grant.lease = lease;
    grant.worker = worker;
    grant.address = "there";
    FromDaemon(std::move(grant));
  }
  void Connected(ProcessId peer = kPeer) { Feed(PeerConnected{peer}); }
  void Died(ProcessId process) { FromDaemon(rpc::ProcessDied{.process = process, .reason = "killed by signal 9"}); }
  void NodeDies(NodeId node) { FromDaemon(rpc::NodeDied{.node = node, .reason = "silent"}); }
  void Update(ActorId actor, rpc::ActorState state, uint64_t incarnation, ProcessId worker = kPeer,
              std::vector<uint32_t> kept = {}) {
    rpc::ActorUpdate update;
    update.actor = actor;
    update.watcher = kSelf;
    update.version = ++last_version_;
    update.state = state;
    update.incarnation = incarnation;
    update.kept = std::move(kept);
    if (state == rpc::ActorState::kAlive) {
      update.worker = worker;
      update.address = "there";
    }
    if (state == rpc::ActorState::kDead) update.error = Error(rpc::ErrorCode::kActorDied, "the actor is gone");
    last_update_ = update;
    FromDaemon(std::move(update));
  }
  void Alive(ActorId actor, uint64_t incarnation = 1, ProcessId worker = kPeer) {
    Update(actor, rpc::ActorState::kAlive, incarnation, worker);
    Connected(worker);
  }
  void Resolved(const ObjectId& object, rpc::Value value, rpc::ErrorInfo error = {}) {
    rpc::ObjectResolved resolved;
    resolved.object = object;
    resolved.asker = kSelf;
    resolved.value = std::move(value);
    resolved.error = std::move(error);
    FromDaemon(std::move(resolved));
  }

  // ---- the workers' verbs
  void Reply(const rpc::CallRequest& request, rpc::Value value, std::vector<uint32_t> kept = {}, ProcessId from = kPeer,
             uint64_t run_ns = 1000) {
    rpc::CallReply reply;
    reply.call = request.call;
    reply.attempt = request.attempt;
    reply.returns.push_back(std::move(value));
    reply.kept = std::move(kept);
    reply.run_ns = run_ns;
    From(from, std::move(reply));
  }
  void ReplyError(const rpc::CallRequest& request, rpc::ErrorInfo error, ProcessId from = kPeer) {
    rpc::CallReply reply;
    reply.call = request.call;
    reply.attempt = request.attempt;
    reply.outcome = rpc::Outcome::kError;
    reply.error = std::move(error);
    From(from, std::move(reply));
  }
  void ReplyNotExecuted(const rpc::CallRequest& request, rpc::ErrorCode code = rpc::ErrorCode::kNone,
                        ProcessId from = kPeer) {
    rpc::CallReply reply;
    reply.call = request.call;
    reply.attempt = request.attempt;
    reply.outcome = rpc::Outcome::kNotExecuted;
    reply.error.code = code;
    From(from, std::move(reply));
  }

  // ---- the callers' verbs
  rpc::CallRequest TaskFrom(ProcessId caller, uint64_t number, LeaseId lease = {kNode, 1},
                            std::vector<rpc::Value> args = {}) {
    rpc::CallRequest request;
    request.call = {caller, number};
    request.lease = lease;
    request.args = std::move(args);
    From(caller, request);
    return request;
  }
  rpc::CallRequest MethodFrom(ProcessId caller, uint64_t number, uint64_t sequence, std::vector<rpc::Value> args = {},
                              uint64_t incarnation = 1, ActorId actor = kHosted) {
    rpc::CallRequest request;
    request.call = {caller, number};
    request.actor = actor;
    request.actor_incarnation = incarnation;
    request.sequence = sequence;
    request.args = std::move(args);
    From(caller, request);
    return request;
  }
  void Construct(uint32_t max_concurrency = 1, uint64_t incarnation = 1, std::vector<rpc::Value> args = {},
                 ActorId actor = kHosted) {
    rpc::ActorConstruct construct;
    construct.spec.actor = actor;
    construct.spec.max_concurrency = max_concurrency;
    construct.spec.args = std::move(args);
    construct.incarnation = incarnation;
    FromDaemon(std::move(construct));
  }
  void Host(uint32_t max_concurrency = 1, uint64_t incarnation = 1) {
    Construct(max_concurrency, incarnation);
    Feed(Constructed{kHosted, incarnation, {}});
    Take<ConstructActor>();
    Sent<rpc::ActorStarted>();
  }
  void Finish(const rpc::CallRequest& request, std::vector<rpc::Value> returns = {Inline("ok")},
              bool exit_actor = false) {
    Executed executed;
    executed.call = request.call;
    executed.attempt = request.attempt;
    executed.returns = std::move(returns);
    executed.run_ns = 1000;
    executed.exit_actor = exit_actor;
    Feed(std::move(executed));
  }

  // ---- what the core did
  // All actions of the type, taken out.
  template <typename Action>
  std::vector<Action> Take() {
    std::vector<Action> found;
    std::vector<ProcessAction> rest;
    for (ProcessAction& action : actions_) {
      if (auto* match = std::get_if<Action>(&action)) {
        found.push_back(std::move(*match));
      } else {
        rest.push_back(std::move(action));
      }
    }
    actions_ = std::move(rest);
    return found;
  }
  // All messages of the type, taken out; `to` none: to anybody.
  template <typename Message>
  std::vector<Message> Sent(ProcessId to = {}) {
    std::vector<Message> found;
    std::vector<ProcessAction> rest;
    for (ProcessAction& action : actions_) {
      auto* send = std::get_if<SendMessage>(&action);
      auto* match =
          send != nullptr && (to == ProcessId{} || send->to == to) ? std::get_if<Message>(&send->message) : nullptr;
      if (match != nullptr) {
        found.push_back(std::move(*match));
      } else {
        rest.push_back(std::move(action));
      }
    }
    actions_ = std::move(rest);
    return found;
  }
  // The one message of the type.
  template <typename Message>
  Message SentOne(ProcessId to = {}) {
    std::vector<Message> all = Sent<Message>(to);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Message{} : std::move(all.front());
  }
  // The names of what was sent, in order; nothing is taken out.
  std::vector<std::string> Order() const {
    std::vector<std::string> names;
    for (const ProcessAction& action : actions_) {
      if (const auto* send = std::get_if<SendMessage>(&action)) names.push_back(rpc::MessageName(send->message));
    }
    return names;
  }
  void Forget() { actions_.clear(); }

  bool IsDone(Cookie cookie) const { return done_.contains(cookie); }
  bool IsDone(const ObjectId& object) const { return IsDone(object.number); }
  std::string ValueOf(Cookie cookie) const {
    const auto it = done_.find(cookie);
    if (it == done_.end()) return "(pending)";
    if (it->second.error) return "(error)";
    return it->second.value.bytes.ToString();
  }
  std::string ValueOf(const ObjectId& object) const { return ValueOf(object.number); }
  rpc::ErrorInfo ErrorOf(Cookie cookie) const {
    const auto it = done_.find(cookie);
    return it == done_.end() ? rpc::ErrorInfo{} : it->second.error;
  }
  rpc::ErrorInfo ErrorOf(const ObjectId& object) const { return ErrorOf(object.number); }
  rpc::ErrorCode CodeOf(const ObjectId& object) const { return ErrorOf(object).code; }

  // A lease on kPeer that is usable.
  void HaveLease(uint64_t number = 1, ProcessId worker = kPeer) {
    const ObjectId first = Task();
    const auto requests = Sent<rpc::LeaseRequest>();
    ASSERT_EQ(requests.size(), 1u);
    Grant(requests[0].request, {worker.node, number}, worker);
    if (!Take<Connect>().empty()) Connected(worker);
    Reply(SentOne<rpc::CallRequest>(), Inline("warm"), {}, worker);
    Drop(first);
    Forget();
  }
  void ExpectNothingLeft() {
    const ProcessCounts counts = core_.counts();
    EXPECT_EQ(counts.calls_pending, 0u);
    EXPECT_EQ(counts.calls_late, 0u);
    EXPECT_EQ(counts.objects_owned, 0u);
    EXPECT_EQ(counts.objects_borrowed, 0u);
    EXPECT_EQ(counts.leases, 0u);
    EXPECT_EQ(counts.mailbox_calls, 0u);
    EXPECT_EQ(counts.streams, 0u);
  }

  static constexpr ActorId kHosted{{kNode, 9}, 4};  // an actor that lives in this process
  static constexpr ActorId kActor{{kNode, 8}, 3};   // one that lives elsewhere
  const ResourceSet cpu_{{"CPU", base::Fixed(1)}};
  Time now_ = TimeFromNanos(1'000'000'000);
  uint64_t last_number_ = 0;
  uint64_t last_cookie_ = 0;
  uint64_t last_version_ = 0;
  rpc::ActorUpdate last_update_;
  static ProcessOptions Options() {
    ProcessOptions options;
    options.self = kSelf;
    options.job = 1;
    return options;
  }
  ProcessCore core_{Options()};
  std::vector<ProcessAction> actions_;
  std::map<Cookie, Complete> done_;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_WORKER_PROCESS_CORE_FIXTURE_H_

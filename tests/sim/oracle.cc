#include "tests/sim/oracle.h"

#include "tests/sim/describe.h"

namespace manta::sim {
namespace {

constexpr size_t kViolationsMax = 20;
constexpr Duration kDeadlineSlack = std::chrono::seconds(1);

CallId CallOf(const ObjectId& object) { return object.call(); }

}  // namespace

void Oracle::Submitted(CallId id, Call call) {
  if (call.kind != Kind::kPut) ++submitted_;
  if (!calls_.emplace(id, std::move(call)).second)
    Violate(ToString(id) + " was submitted twice (a bug of the simulator)");
}

void Oracle::Cancelled(CallId id) {
  if (const auto it = calls_.find(id); it != calls_.end()) it->second.cancelled = true;
}

void Oracle::Threw(CallId id) {
  if (const auto it = calls_.find(id); it != calls_.end()) it->second.threw = true;
}

void Oracle::StoredOn(const ObjectId& object, NodeId node) {
  if (const auto it = calls_.find(CallOf(object)); it != calls_.end()) it->second.stored_on.insert(node);
}

void Oracle::ComesDamaged(const ObjectId& object) {
  if (const auto it = calls_.find(CallOf(object)); it != calls_.end()) it->second.comes_damaged = true;
}

void Oracle::Executes(const rpc::CallRequest& request, ProcessId where) {
  const auto it = calls_.find(request.call);
  if (it == calls_.end())
    return Violate(ToString(where) + " runs " + ToString(request.call) + ", which nobody submitted");
  Call& call = it->second;
  const std::string name = ToString(request.call) + " (" + call.what + ") attempt " + std::to_string(request.attempt);
  if (!call.ran.insert(request.attempt).second) Violate(name + " runs twice");
  if (call.refused.contains(request.attempt)) Violate(name + " runs after it was refused as NotExecuted");
  if (call.only_node != 0 && call.kind == Kind::kTask && where.node != call.only_node) {
    Violate(name + " runs at " + ToString(where) + ", and may run on n" + std::to_string(call.only_node) + " only");
  }
  ++call.runs;
  if (!call.retries_exceptions && call.max_retries >= 0 && call.runs > 1u + static_cast<uint32_t>(call.max_retries)) {
    Violate(name + " runs for the " + std::to_string(call.runs) + "th time with " + std::to_string(call.max_retries) +
            " retries");
  }
  if (call.kind == Kind::kActorCall) {
    uint64_t& last = last_order_[{request.actor, request.actor_incarnation, request.call.caller}];
    if (call.order <= last) {
      Violate(name + " is number " + std::to_string(call.order) + " of its caller at " + ToString(request.actor) +
              ", and runs after number " + std::to_string(last));
    }
    last = call.order;
  }
}

void Oracle::Replies(const rpc::CallReply& reply, ProcessId from) {
  const auto it = calls_.find(reply.call);
  if (it == calls_.end()) return;
  Call& call = it->second;
  const std::string name = ToString(reply.call) + " (" + call.what + ") attempt " + std::to_string(reply.attempt);
  if (++call.replies[reply.attempt] > 1) Violate(ToString(from) + " answers " + name + " twice");
  if (reply.outcome != rpc::Outcome::kNotExecuted) return;
  call.refused.insert(reply.attempt);
  if (call.ran.contains(reply.attempt)) Violate(ToString(from) + " says NotExecuted of " + name + ", which ran");
}

void Oracle::Completed(const ObjectId& object, ProcessId holder, int times, std::optional<int64_t> number,
                       const rpc::ErrorInfo& error) {
  const auto it = calls_.find(CallOf(object));
  const std::string name = "handle of " + ToString(object) + " at " + ToString(holder) +
                           (it == calls_.end() ? "" : " (" + it->second.what + ")");
  if (times > 1) Violate(name + " is completed " + std::to_string(times) + " times");
  if (it == calls_.end()) return Violate(name + " is completed, but nobody made that object");
  Call& call = it->second;
  const bool own = object.owner == holder;
  if (own && call.deadline && queue_->now() > *call.deadline + kDeadlineSlack) {
    Violate(name + " is completed later than its deadline");
  }
  if (!error) {
    ++ok_;
    if (call.expected && number && *call.expected != *number) {
      Violate(name + " is " + std::to_string(*number) + ", should be " + std::to_string(*call.expected));
    }
    return;
  }
  ++errors_;
  ++errors_by_code_[error.code];
  if (!Possible(object, holder, error.code, 0)) Violate(name + " ends without a cause for" + Describe(error));
  const bool unexplained = error.message.ends_with("and is gone") || error.message.ends_with("each time");
  if (error.code == rpc::ErrorCode::kObjectLost && unexplained) {
    Violate(name + " is lost, and nobody says why it is not computed again:" + Describe(error));
  }
  const bool died = error.code == rpc::ErrorCode::kWorkerDied || error.code == rpc::ErrorCode::kActorDied;
  if (own && died && !error.may_have_run && call.runs > 0 && call.args.empty() &&
      (call.kind == Kind::kTask || call.kind == Kind::kActorCall)) {
    // A run whose answer came back (NotExecuted later, an exception that was retried) is no lie.
    for (const uint32_t attempt : call.ran) {
      if (!call.replies.contains(attempt))
        return Violate(name + " ran, but its error says that it has not:" + Describe(error));
    }
  }
}

// Whether something has happened that explains `code`.
bool Oracle::Possible(const ObjectId& object, ProcessId holder, rpc::ErrorCode code, int depth) const {
  using rpc::ErrorCode;
  const auto it = calls_.find(CallOf(object));
  if (it == calls_.end() || depth > 50) return false;
  const Call& call = it->second;
  const bool owner_gone = dead_processes_.contains(object.owner) || dead_nodes_.contains(object.owner.node);
  bool self = false;
  switch (code) {
    case ErrorCode::kTaskError:
      self = call.threw;
      break;
    case ErrorCode::kWorkerDied:
      self = call.kind == Kind::kTask && WorkerDeaths();
      break;
    case ErrorCode::kActorDied:
      self = call.kind == Kind::kActor && CannotBe(call.only_node);
      self = self || ((call.kind == Kind::kActorCall || call.kind == Kind::kActor) &&
                      (WorkerDeaths() || killed_actors_.contains(call.actor)));
      break;
    case ErrorCode::kObjectLost:
      self = dead_nodes_.contains(object.home()) || call.comes_damaged;
      for (const NodeId node : call.stored_on) self = self || dead_nodes_.contains(node);
      break;
    case ErrorCode::kOwnerDied:
      self = owner_gone;
      break;
    case ErrorCode::kNodeDied:
      self = dead_nodes_.contains(holder.node) || dead_nodes_.contains(object.home()) || CannotBe(call.only_node);
      break;
    case ErrorCode::kTimeout:
      self = call.deadline.has_value();
      break;
    case ErrorCode::kCancelled:
      self = call.cancelled;
      break;
    case ErrorCode::kOutOfMemory:
      self = memory_may_run_out;
      break;
    case ErrorCode::kNameTaken:
      self = call.name_may_be_taken;
      break;
    case ErrorCode::kShutdown:
      self = owner_gone;
      break;
    default:
      break;
  }
  if (self) return true;
  // What an actor's creation ended with is what its calls end with.
  if (call.kind == Kind::kActorCall && call.actor && Possible(call.actor.handle(), holder, code, depth + 1))
    return true;
  for (const ObjectId& arg : call.args) {
    if (Possible(arg, object.owner, code, depth + 1)) return true;
  }
  return false;
}

void Oracle::Violate(std::string what) {
  if (violations_.size() < kViolationsMax) violations_.push_back(std::move(what));
}

const Oracle::Call* Oracle::Find(CallId id) const {
  const auto it = calls_.find(id);
  return it == calls_.end() ? nullptr : &it->second;
}

}  // namespace manta::sim

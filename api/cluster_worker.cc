// ClusterBackend in a worker: runs the calls that come, through the registry of user functions.
#include <cstring>
#include <utility>

#include "api/cluster_backend.h"
#include "manta/error.h"

namespace manta::internal {
namespace {

rpc::ErrorInfo ToErrorInfo(ErrorValue error) {
  rpc::ErrorInfo info;
  info.code = static_cast<rpc::ErrorCode>(error.code);
  info.type = std::move(error.type);
  info.message = std::move(error.message);
  info.where = std::move(error.where);
  info.chain = std::move(error.chain);
  info.may_have_run = error.may_have_run;
  return info;
}

// What the last call of this thread returned: the refs in it are held until the core has heard of them.
thread_local std::vector<Serialized> returned;

}  // namespace

void ClusterBackend::AfterExecuted() { returned.clear(); }

// Arguments become payloads that this process reads in place; a stored one is an object with a handle of its own.
std::vector<Payload> ClusterBackend::ToPayloads(std::vector<rpc::Value>& args) {
  std::vector<Payload> payloads;
  payloads.reserve(args.size());
  for (rpc::Value& value : args) {
    RefHandle object;
    if (value.kind == rpc::Value::Kind::kStored) {
      object = Adopt(ToKey(value.object),
                     {value.location.node, value.location.segment, value.location.offset, value.location.size_bytes});
      if (value.location.node != process_->self().node) {  // it lies on another node: wait for a copy here
        Payload payload;
        ErrorValue error;
        if (!TryGet(object, std::nullopt, &payload, &error)) ThrowError(error);
        payloads.push_back(std::move(payload));
        continue;
      }
    }
    payloads.push_back(ToPayload(value, object));
  }
  return payloads;
}

runtime::Executed ClusterBackend::Execute(rpc::CallRequest request) {
  runtime::Executed executed;
  executed.call = request.call;
  executed.attempt = request.attempt;
  CallFrame frame;
  frame.call = ToKey({request.call.caller, request.call.number, 0});
  frame.function = request.function;
  frame.name = request.name;
  frame.process = process_name_;
  frame.attempt = request.attempt;
  frame.depth = request.depth;
  frame.owner = &request;
  const HostedActor* actor = nullptr;
  if (request.actor) {
    frame.actor = ToKey(request.actor.handle());
    frame.actor_incarnation = request.actor_incarnation;
    actor = &actor_;
  }
  const Time start = process_->Now();
  UserCodeResult result;
  try {
    result = RunUserCode(&frame, ToPayloads(request.args), actor);
    executed.run_ns = static_cast<uint64_t>((process_->Now() - start).count());
    if (result.error.code == 0) {
      for (uint32_t index = 0; index < result.returns.size(); ++index) {
        rpc::Value value = ToValue(result.returns[index]);
        if (value.kind == rpc::Value::Kind::kStored) value.object = {request.call.caller, request.call.number, index};
        executed.returns.push_back(std::move(value));
      }
      if (rpc::EncodedBytesMax(executed.returns) > rpc::kValuesBytesMax) RefuseResults(&executed, &result.error);
    }
  } catch (const Error& error) {  // no room for the result, or an argument that is lost
    result.error = error.value();
  }
  executed.error = ToErrorInfo(std::move(result.error));
  executed.exit_actor = result.exit_actor;
  returned = std::move(result.returns);
  return executed;
}

// The results do not fit into one message: the call ends with an error instead, and the room that they took is free.
void ClusterBackend::RefuseResults(runtime::Executed* executed, ErrorValue* error) {
  const std::vector<rpc::Value> returns = std::exchange(executed->returns, {});
  error->code = static_cast<uint16_t>(rpc::ErrorCode::kSerialization);
  error->message = rpc::TooLargeText("the results", returns);
  for (const rpc::Value& value : returns) {
    if (value.kind == rpc::Value::Kind::kStored) process_->store().Abandon({value.location, nullptr, nullptr});
  }
}

runtime::Constructed ClusterBackend::Construct(rpc::ActorSpec spec, uint64_t incarnation) {
  CallFrame frame;
  frame.call = ToKey(spec.actor.handle());
  frame.function = spec.constructor;
  frame.process = process_name_;
  frame.actor = frame.call;
  frame.actor_incarnation = incarnation;
  rpc::CallRequest construction;  // the call that runs, for calls made in it
  construction.call = {spec.actor.creator, spec.actor.number};
  construction.parent = spec.parent;
  frame.owner = &construction;
  UserCodeResult result;
  try {
    result = RunUserCode(&frame, ToPayloads(spec.args), nullptr);
  } catch (const Error& error) {
    result.error = error.value();
  }
  if (result.error.code == static_cast<uint16_t>(rpc::ErrorCode::kTaskError)) {
    // To its callers the actor is dead; what its constructor threw says why.
    result.error.code = static_cast<uint16_t>(rpc::ErrorCode::kActorDied);
    result.error.message = "its constructor threw " + result.error.type + ": " + result.error.message;
  }
  actor_ = std::move(result.constructed);
  return {spec.actor, incarnation, ToErrorInfo(std::move(result.error))};
}

void ClusterBackend::ExitActor() {
  CallFrame* const frame = CurrentFrame();
  if (frame == nullptr || frame->actor.number == 0) {
    ErrorValue error;
    error.code = static_cast<uint16_t>(rpc::ErrorCode::kInvalidArgument);
    error.message = "ExitActor is called outside of an actor's method";
    ThrowError(error);
  }
  frame->exit_actor = true;
}

std::string ClusterBackend::RunWorker() {
  std::string reason = process_->RunExecutor();
  process_->Close();
  return reason;
}

}  // namespace manta::internal

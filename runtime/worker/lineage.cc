#include "runtime/worker/lineage.h"

#include <utility>
#include <vector>

namespace manta::runtime::worker {
namespace {

using rpc::Value;

template <typename Visit>
void ForEachObject(const std::vector<Value>& args, Visit visit) {
  for (const Value& arg : args) {
    if (arg.kind != Value::Kind::kInline) visit(arg.object);
    for (const rpc::NestedRef& nested : arg.refs) visit(nested.object);
  }
}

}  // namespace

void Lineage::Keep(Call* call, Demand demand) {
  call->kept = true;
  call->demand = std::make_unique<Demand>(std::move(demand));
  calls_.PushBack(call);
  inline_bytes_ += rpc::EncodedBytesMax(call->args);
  ForEachObject(call->args, [this](const ObjectId& object) { refs_->HoldLineage(object); });
  ForEachObject(call->args, [this](const ObjectId& object) { refs_->Unhold(object); });
}

std::string Lineage::WhyNot(const Call& call) const {
  switch (call.kind) {
    case Call::Kind::kPut:
      return "it was Put, and nobody else has the value";
    case Call::Kind::kActorCall:
      return "an actor's results are not, for the actor has gone on since";
    case Call::Kind::kActorCreation:
      return "it is an actor";
    case Call::Kind::kTask:
      break;
  }
  if (call.retries_left == 0) return "no try is left, see MaxRetries";
  if (call.kept || !call.completed) return "";
  return "its arguments were forgotten: a process keeps " + std::to_string(kBytesMax >> 20) +
         " MiB of the arguments of tasks that have ended";
}

void Lineage::Take(Call* call) {
  Unlist(call);
  ForEachObject(call->args, [this](const ObjectId& object) { refs_->Hold(object); });
  ForEachObject(call->args, [this](const ObjectId& object) { refs_->UnholdLineage(object); });
}

void Lineage::Release(Call* call) {
  if (!call->kept) return;
  Unlist(call);
  const std::vector<Value> args = std::exchange(call->args, {});
  call->has_refs = false;
  call->demand.reset();
  ForEachObject(args, [this](const ObjectId& object) { refs_->UnholdLineage(object); });
}

bool Lineage::Trim() {
  bool some = false;
  for (; bytes() > kBytesMax && !calls_.empty(); some = true) Release(calls_.front());
  return some;
}

void Lineage::Unlist(Call* call) {
  call->kept = false;
  calls_.Remove(call);
  inline_bytes_ -= rpc::EncodedBytesMax(call->args);
}

}  // namespace manta::runtime::worker

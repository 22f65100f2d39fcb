#include "runtime/worker/call_store.h"

#include <algorithm>

#include "base/check.h"

namespace manta::runtime::worker {
namespace {

// Arguments of a recycled record beyond this are given back to the heap.
constexpr size_t kArgsKept = 8;

}  // namespace

Call* CallStore::Add(uint64_t number) {
  Call* call = pool_.Take();
  MANTA_CHECK(table_.Insert(number, call)) << "call number " << number << " was submitted twice";
  highest_ = std::max(highest_, number);
  call->number = number;
  return call;
}

void CallStore::Retire(Call* call) {
  MANTA_DCHECK(call->list == nullptr && !call->retired);
  table_.Erase(call->number);
  call->retired = true;
  retired_.push_back(call);
}

void CallStore::RecycleRetired() {
  for (Call* call : retired_) {
    call->args.clear();
    if (call->args.capacity() > kArgsKept) call->args.shrink_to_fit();
    call->result.Reset();
    call->more_results.reset();
    call->spec.reset();
    call->demand.reset();
    call->kind = Call::Kind::kTask;
    call->sent = call->completed = call->cancelled = call->has_refs = call->may_have_run = false;
    call->retry_on_exception = call->retries_of_actor = call->pushed_slow = false;
    call->created = call->tickets_out = call->actor_over = call->retired = call->kept = false;
    call->attempt = call->tries = call->deps = call->depth = call->return_count = 0;
    call->retries_left = 0;
    call->function = call->trace = call->event = call->expected_ns = call->order = 0;
    call->parent = {};
    call->deadline = kInfiniteFuture;
    call->function_name.clear();
    call->worker = {};
    call->queue = nullptr;
    call->lease = nullptr;
    call->stats = nullptr;
    call->stream = nullptr;
    pool_.GiveBack(call);
  }
  retired_.clear();
}

ObjectEntry* CallStore::FindResult(const ObjectId& id) const {
  Call* call = table_.Find(id.number);
  if (call == nullptr) return nullptr;
  ObjectEntry* entry = nullptr;
  if (call->kind == Call::Kind::kActorCreation) {
    if (id.is_actor()) entry = &call->result;
  } else if (id.index < call->entry_count()) {
    entry = &call->result_at(id.index);
  }
  return entry == nullptr || entry->dropped ? nullptr : entry;
}

}  // namespace manta::runtime::worker

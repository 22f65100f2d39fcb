#include "runtime/worker/lease_client.h"

#include <algorithm>

#include "base/check.h"
#include "base/rule.h"

// Tasks and the leases they run under. Requests, refusals and deaths are in lease_requests.cc.

namespace manta::runtime::worker {
namespace {

// Removes `lease` from a vector that knows each element's place in it.
void Take(std::vector<Lease*>* from, size_t Lease::*at, Lease* lease) {
  const size_t place = lease->*at;
  if (place == SIZE_MAX) return;
  (*from)[place] = from->back();
  (*from)[place]->*at = place;
  from->pop_back();
  lease->*at = SIZE_MAX;
}

void Put(std::vector<Lease*>* to, size_t Lease::*at, Lease* lease) {
  if (lease->*at != SIZE_MAX) return;
  lease->*at = to->size();
  to->push_back(lease);
}

}  // namespace

void LeaseClient::Enqueue(Call* call, const Demand& demand, std::vector<rpc::Value>* fresh) {
  ShapeQueue* queue = QueueOf(demand, call->depth);
  call->queue = queue;
  call->stats = StatsOf(call->function);
  if (queue->unstarted() == 0) {
    if (!queue->idle.empty()) return Push(queue->idle.back(), call, fresh);
    if (!queue->roomy.empty() && IsFast(*call)) {
      return Push(queue->roomy[queue->next_roomy++ % queue->roomy.size()], call, fresh);
    }
  }
  if (fresh != nullptr) call->args = std::move(*fresh);
  queue->ready.PushBack(call);
  AdjustRequests(queue);
}

void LeaseClient::Withdraw(Call* call) {
  if (call->list == nullptr) return;
  call->list->Remove(call);
  AdjustRequests(call->queue);
}

void LeaseClient::Push(Lease* lease, Call* call, std::vector<rpc::Value>* fresh) {
  call->lease = lease;
  lease->used = true;
  call->pushed_slow = !IsFast(*call);
  call->expected_ns = call->pushed_slow ? 0 : call->stats->mean_ns;
  lease->slow += call->pushed_slow;
  lease->expected_ns += call->expected_ns;
  lease->outstanding.PushBack(call);
  if (fresh != nullptr) call->args.assign(fresh->begin(), fresh->end());
  calls_->Send(call, lease->peer->id, fresh).lease = lease->id;
  Place(lease);
}

void LeaseClient::OnReply(Call* call, const rpc::CallReply& reply) {
  Lease* lease = call->lease;
  const bool first = lease->outstanding.front() == call;
  lease->outstanding.Remove(call);
  lease->slow -= call->pushed_slow;
  lease->expected_ns -= call->expected_ns;
  call->lease = nullptr;
  if (reply.outcome == rpc::Outcome::kNotExecuted) {
    const bool taken_back =
        reply.error.code == rpc::ErrorCode::kCancelled || reply.error.code == rpc::ErrorCode::kTimeout;
    if (!taken_back) (first ? lease->refused : lease->stalled) = true;
  } else {
    uint64_t& mean = call->stats->mean_ns;
    const uint64_t run = std::max<uint64_t>(1, reply.run_ns);
    mean = mean == 0 ? run : std::max<uint64_t>(1, mean - mean / 8 + run / 8);
  }
  if (lease->outstanding.empty()) lease->stalled = false;
  Place(lease);
}

void LeaseClient::Again(Call* call) { call->queue->returned.PushBack(call); }

void LeaseClient::Serve(ShapeQueue* queue, Lease* lease) {
  const bool over = lease != nullptr && (lease->refused || (lease->used && queue->spreads()));
  if (over && lease->outstanding.empty()) {
    Return(lease);
    lease = nullptr;
  }
  while (queue->unstarted() != 0) {
    const bool lease_takes =
        lease != nullptr && (lease->idle_at != SIZE_MAX || (lease->roomy_at != SIZE_MAX && IsFast(*queue->front())));
    Lease* to = lease_takes ? lease : nullptr;
    if (to == nullptr && !queue->idle.empty()) to = queue->idle.back();
    if (to == nullptr && !queue->roomy.empty() && IsFast(*queue->front())) {
      to = queue->roomy[queue->next_roomy++ % queue->roomy.size()];
    }
    if (to == nullptr) break;
    Call* call = queue->front();
    call->list->Remove(call);
    Push(to, call, nullptr);
  }
  if (queue->unstarted() != 0 || !queue->requests.empty()) AdjustRequests(queue);
}

// ---------------------------------------------------------------- where a lease stands

bool LeaseClient::IsFast(const Call& call) const {
  const uint64_t mean = call.stats->mean_ns;
  return mean != 0 && mean < static_cast<uint64_t>(options_.slow_task.count());
}

bool LeaseClient::HasRoom(const Lease& lease) const {
  return !lease.queue->spreads() && !lease.stalled && !lease.refused && lease.slow == 0 &&
         lease.outstanding.size() < options_.calls_at_worker_max &&
         lease.expected_ns < static_cast<uint64_t>(options_.slow_task.count());
}

// Puts the lease where it belongs after a change: idle, roomy or neither.
void LeaseClient::Place(Lease* lease) {
  ShapeQueue* queue = lease->queue;
  if (!lease->usable) return;
  if (lease->outstanding.empty()) {
    Take(&queue->roomy, &Lease::roomy_at, lease);
    if (lease->refused || lease->idle_at != SIZE_MAX) return;
    Put(&queue->idle, &Lease::idle_at, lease);
    lease->idle_since = out_->now();
    return WakeAt(out_->now() + linger());
  }
  Take(&queue->idle, &Lease::idle_at, lease);
  if (HasRoom(*lease)) {
    Put(&queue->roomy, &Lease::roomy_at, lease);
  } else {
    Take(&queue->roomy, &Lease::roomy_at, lease);
  }
}

void LeaseClient::Unplace(Lease* lease) {
  Take(&lease->queue->idle, &Lease::idle_at, lease);
  Take(&lease->queue->roomy, &Lease::roomy_at, lease);
}

void LeaseClient::Return(Lease* lease) {
  out_->ToDaemon(rpc::LeaseReturn{lease->id});
  Drop(lease);
}

void LeaseClient::Drop(Lease* lease) {
  MANTA_DCHECK(lease->outstanding.empty());
  Unplace(lease);
  ShapeQueue* queue = lease->queue;
  --queue->leases;
  if (!lease->usable) --queue->connecting;
  std::erase(lease->peer->leases, lease);
  WakeAt(out_->now() + linger());  // an unused queue is forgotten then
  leases_.erase(lease->id);
}

// ---------------------------------------------------------------- look-ups

ShapeQueue* LeaseClient::QueueOf(const Demand& demand, uint32_t depth) {
  if (last_queue_ != nullptr && last_queue_->depth == depth && last_queue_->demand == demand) return last_queue_;
  std::unique_ptr<ShapeQueue>& queue = queues_[{depth, demand.shape.amounts(), demand.hint}];
  if (!queue) {
    queue = std::make_unique<ShapeQueue>();
    queue->demand = demand;
    queue->depth = depth;
  }
  last_queue_ = queue.get();
  return last_queue_;
}

FunctionStats* LeaseClient::StatsOf(uint64_t function) {
  if (last_function_.second == nullptr || last_function_.first != function) {
    last_function_ = {function, &functions_[function]};
  }
  return last_function_.second;
}

// ---------------------------------------------------------------- time

void LeaseClient::OnTick() {
  if (deadline_ > out_->now()) return;
  deadline_ = kInfiniteFuture;
  for (auto& [key, queue] : queues_) TickQueue(queue.get());
  std::erase_if(queues_, [this](const auto& entry) {
    const ShapeQueue& queue = *entry.second;
    const bool unused = queue.unstarted() == 0 && queue.leases == 0 && queue.requests.empty();
    if (unused && last_queue_ == &queue) last_queue_ = nullptr;
    return unused;
  });
}

void LeaseClient::TickQueue(ShapeQueue* queue) {
  const Time now = out_->now();
  std::vector<Lease*> over;
  for (Lease* lease : queue->idle) {
    if (lease->idle_since + linger() <= now) {
      over.push_back(lease);
    } else {
      WakeAt(lease->idle_since + linger());
    }
  }
  for (Lease* lease : over) Return(lease);
  if (queue->surplus_since != kInfiniteFuture) {
    if (queue->surplus_since + linger() <= now) {
      CancelSurplus(queue);
    } else {
      WakeAt(queue->surplus_since + linger());
    }
  }
  if (queue->unstarted() != 0) AdjustRequests(queue);
}

}  // namespace manta::runtime::worker

// Requests for leases: how many, what the node answers, and what becomes of tasks whose worker dies.
#include <algorithm>

#include "base/check.h"
#include "runtime/worker/lease_client.h"

namespace manta::runtime::worker {
namespace {

using rpc::ErrorCode;
using rpc::ErrorInfo;

constexpr Duration kRetryRefused = std::chrono::milliseconds(100);
// Refusals in a row (a worker that dies when it starts, no memory for one) after which the tasks end with them.
constexpr uint32_t kFailuresMax = 5;
// How many waiting calls are told a new reason at once; the others are told when they are asked for.
constexpr uint32_t kToldMax = 64;

enum class Refusal { kFinal, kPassing, kFinalIfRepeated };

// `elsewhere`: another node may grant what this one has not.
Refusal Classify(ErrorCode code, bool elsewhere) {
  switch (code) {
    case ErrorCode::kNodeDied:
      return elsewhere ? Refusal::kPassing : Refusal::kFinal;
    case ErrorCode::kWorkerLimit:
    case ErrorCode::kBackPressure:
    case ErrorCode::kTimeout:
      return Refusal::kPassing;
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kWorkerDied:
      return Refusal::kFinalIfRepeated;
    default:
      return Refusal::kFinal;
  }
}

}  // namespace

// As many requests as unstarted tasks without a worker on its way, within the limit.
void LeaseClient::AdjustRequests(ShapeQueue* queue) {
  const size_t unstarted = queue->unstarted();
  const size_t needed = unstarted > queue->connecting ? unstarted - queue->connecting : 0;
  const size_t wanted = std::min<size_t>(needed, options_.lease_requests_max);
  if (queue->requests.size() > wanted) {
    if (queue->surplus_since == kInfiniteFuture) queue->surplus_since = out_->now();
    return WakeAt(queue->surplus_since + linger());
  }
  queue->surplus_since = kInfiniteFuture;
  if (queue->requests.size() == wanted) return;
  if (out_->now() < queue->retry_at) return WakeAt(queue->retry_at);
  while (queue->requests.size() < wanted) {
    const uint64_t number = ++last_request_;
    queue->requests.push_back(number);
    requests_.emplace(number, queue);
    auto& request = out_->Send<rpc::LeaseRequest>(out_->daemon());
    request.caller = out_->self();
    request.request = number;
    request.job = options_.job;
    request.shape = queue->demand.shape;
    request.hint = queue->demand.hint;
    request.depth = queue->depth;
  }
}

void LeaseClient::CancelSurplus(ShapeQueue* queue) {
  queue->surplus_since = kInfiniteFuture;
  const size_t unstarted = queue->unstarted();
  const size_t needed = unstarted > queue->connecting ? unstarted - queue->connecting : 0;
  while (queue->requests.size() > needed) {
    const uint64_t number = queue->requests.back();
    queue->requests.pop_back();
    requests_.erase(number);
    out_->ToDaemon(rpc::LeaseCancel{.caller = out_->self(), .request = number});
  }
}

void LeaseClient::OnGrant(rpc::LeaseGrant grant) {
  const auto found = requests_.find(grant.request);
  if (found == requests_.end()) {  // it crossed our cancel
    if (!grant.error) out_->ToDaemon(rpc::LeaseReturn{grant.lease});
    return;
  }
  ShapeQueue* queue = found->second;
  requests_.erase(found);
  std::erase(queue->requests, grant.request);
  if (grant.error) return OnRefused(queue, std::move(grant.error));
  queue->failures = 0;
  queue->refusal = {};
  if (peers_->IsDead(grant.worker) || leases_.contains(grant.lease)) return AdjustRequests(queue);
  if (queue->unstarted() <= queue->connecting) {
    out_->ToDaemon(rpc::LeaseReturn{grant.lease});
    return AdjustRequests(queue);
  }
  queue->reason.clear();
  queue->worker_limit = false;
  auto owned = std::make_unique<Lease>();
  Lease* lease = owned.get();
  leases_.emplace(grant.lease, std::move(owned));
  lease->id = grant.lease;
  lease->queue = queue;
  lease->peer = peers_->FindOrAdd(grant.worker);
  lease->peer->leases.push_back(lease);
  ++queue->leases;
  if (!peers_->Connect(lease->peer, grant.address)) {
    ++queue->connecting;
    return AdjustRequests(queue);
  }
  lease->usable = true;
  Place(lease);
  Serve(queue, lease);
}

void LeaseClient::OnRefused(ShapeQueue* queue, ErrorInfo error) {
  const Refusal refusal = Classify(error.code, !queue->demand.hint.affinity_hard);
  if (refusal == Refusal::kFinalIfRepeated) ++queue->failures;
  queue->refusal = std::move(error);
  queue->reason = queue->refusal.message;
  if (refusal == Refusal::kFinal || queue->failures >= kFailuresMax) {
    queue->failures = 0;
    return FailUnstarted(queue, queue->refusal);
  }
  queue->retry_at = out_->now() + kRetryRefused;
  AdjustRequests(queue);
}

void LeaseClient::FailUnstarted(ShapeQueue* queue, const ErrorInfo& error) {
  while (Call* call = queue->front()) {
    call->list->Remove(call);
    ErrorInfo own = calls_->ErrorOf(*call, error);
    own.may_have_run = call->may_have_run;
    calls_->Fail(call, std::move(own));
  }
  AdjustRequests(queue);
}

void LeaseClient::OnPending(const rpc::LeasePending& pending) {
  const auto found = requests_.find(pending.request);
  if (found == requests_.end() || found->second->reason == pending.reason) return;
  ShapeQueue* queue = found->second;
  queue->reason = pending.reason;
  queue->worker_limit = pending.worker_limit;
  uint32_t told = 0;
  for (const CallList* list : {&queue->returned, &queue->ready}) {
    for (const Call* call = list->front(); call != nullptr && told < kToldMax; call = call->next, ++told) {
      if (!call->result.wanted) continue;
      auto& waiting = out_->Act<WaitingFor>();
      waiting.object = {out_->self(), call->number, 0};
      waiting.reason = pending.reason;
    }
  }
}

const std::string& LeaseClient::WhyWaiting(const Call& call) const {
  static const std::string& none = *new std::string;
  return call.queue == nullptr ? none : call.queue->reason;
}

ErrorInfo LeaseClient::TimeoutError(const Call& call) const {
  const bool limited = !call.sent && call.queue != nullptr &&
                       (call.queue->worker_limit || call.queue->refusal.code == ErrorCode::kWorkerLimit);
  std::string text = call.sent ? "the task was running, or waiting at its worker" : "the task had not started";
  text += " when its Timeout passed";
  if (!call.sent && call.deps != 0) text += ": it waited for its arguments";
  if (!call.sent && !WhyWaiting(call).empty()) text += ": " + WhyWaiting(call);
  ErrorInfo error = calls_->Error(call, limited ? ErrorCode::kWorkerLimit : ErrorCode::kTimeout, std::move(text));
  error.may_have_run = error.may_have_run || call.sent;
  return error;
}

// ---------------------------------------------------------------- workers

void LeaseClient::OnConnected(Peer* peer) {
  const std::vector<Lease*> leases = peer->leases;
  for (Lease* lease : leases) {
    if (lease->usable) continue;
    lease->usable = true;
    --lease->queue->connecting;
    Place(lease);
    Serve(lease->queue, lease);
  }
}

// Leases with nothing outstanding go back. For the others the daemon will report the death.
void LeaseClient::OnUnreachable(Peer* peer, const std::string& why) {
  const std::vector<Lease*> leases = peer->leases;
  for (Lease* lease : leases) {
    if (!lease->outstanding.empty()) {
      lease->stalled = true;
      Place(lease);
      continue;
    }
    ShapeQueue* queue = lease->queue;
    Return(lease);
    queue->retry_at = out_->now() + kRetryRefused;  // the node may not know yet, and grant the same worker again
    queue->reason = "worker " + ToString(peer->id) + " could not be reached: " + why;
    Serve(queue, nullptr);
  }
}

void LeaseClient::OnWorkerDied(Peer* peer, const std::string& reason) {
  const std::vector<Lease*> leases = peer->leases;
  for (Lease* lease : leases) {
    ShapeQueue* queue = lease->queue;
    Unplace(lease);
    // The worker runs them in order and answers each before it starts the next; on this node, its answers have been
    // read.
    bool started = true;
    while (!lease->outstanding.empty()) {
      LoseCall(lease->outstanding.PopFront(), started, reason);
      started = peer->id.node != options_.self.node;
    }
    Drop(lease);
    Serve(queue, nullptr);
  }
}

// A task behind the one that ran is not charged a try: else one that kills workers would use up the tries of all that
// were pushed behind it. One that may not be tried at all (MaxRetries(0)) is not tried on this evidence either.
void LeaseClient::LoseCall(Call* call, bool started, const std::string& reason) {
  const ProcessId worker = call->worker;
  call->lease = nullptr;
  calls_->LoseAttempt(call);
  if (call->completed) return calls_->Finish(call);
  if (call->cancelled) {
    return calls_->Fail(call,
                        calls_->Error(*call, ErrorCode::kCancelled, "the task was cancelled while its worker died"));
  }
  const bool again = !started && call->retries_left != 0;
  if (again || calls_->UseRetry(call)) return Again(call);
  std::string text = "worker " + ToString(worker) + " died while it had this task (" + reason +
                     "); tries: " + std::to_string(call->tries) +
                     ". See the worker's log; MaxRetries(n) allows more tries";
  calls_->Fail(call, calls_->Error(*call, ErrorCode::kWorkerDied, std::move(text)));
}

// ---------------------------------------------------------------- ends

std::vector<Call*> LeaseClient::BeginShutdown() {
  shutting_down_ = true;
  std::vector<Call*> unsent;
  for (auto& [key, queue] : queues_) {
    while (Call* call = queue->front()) {
      call->list->Remove(call);
      unsent.push_back(call);
    }
    CancelSurplus(queue.get());
    const std::vector<Lease*> idle = queue->idle;
    for (Lease* lease : idle) Return(lease);
  }
  WakeAt(out_->now());
  return unsent;
}

std::vector<Call*> LeaseClient::DaemonLost() {
  shutting_down_ = true;
  std::vector<Call*> all;
  for (auto& [key, queue] : queues_) {
    while (Call* call = queue->front()) {
      call->list->Remove(call);
      all.push_back(call);
    }
    queue->requests.clear();
  }
  requests_.clear();
  for (auto& [id, lease] : leases_) {
    Unplace(lease.get());
    while (!lease->outstanding.empty()) all.push_back(lease->outstanding.PopFront());
    std::erase(lease->peer->leases, lease.get());
  }
  leases_.clear();
  queues_.clear();
  last_queue_ = nullptr;
  deadline_ = kInfiniteFuture;
  return all;
}

}  // namespace manta::runtime::worker

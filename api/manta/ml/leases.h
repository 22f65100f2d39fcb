// TrainByLeases gives rows to workers in small leases, each to whoever is free: a slow worker gets fewer.
//
//   manta::ml::TrainByLeases<double>(
//       {.rows = 60'000, .rows_total = 12 * 60'000, .rows_per_lease = 4096, .workers = 2},
//       [&](const manta::ml::RowLease& lease) {
//         return workers[lease.worker].Call<&Worker::Train>().Remote(lease.begin, lease.end);
//       },
//       [&](const manta::ml::RowLease& lease, double loss) { ... });
#ifndef MANTA_ML_LEASES_H_
#define MANTA_ML_LEASES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "manta/get.h"

namespace manta::ml {

// Rows [begin, end) of one epoch, for one worker.
struct RowLease {
  size_t worker = 0;
  uint64_t begin = 0;
  uint64_t end = 0;
  double progress = 0;  // the share of rows_total that was leased before, 0 to 1
};

struct LeasePlan {
  uint64_t rows = 0;        // of the dataset; a lease ends where the epoch does
  uint64_t rows_total = 0;  // to be leased
  uint64_t rows_per_lease = 0;
  size_t workers = 0;
  size_t leases_per_worker = 3;  // one that runs, the others wait behind it while the driver does something else
  size_t failures_max = 5;       // of one worker in a row; then it gets no more
};

namespace internal {

// Who works on what. A worker whose lease failed because its process died gets one lease at a time until one succeeds;
// what it did not do goes to whoever is free.
template <class Result, class Submit, class Done>
class LeaseRun {
 public:
  LeaseRun(const LeasePlan& plan, Submit& submit, Done& done)
      : plan_(plan), submit_(submit), done_(done), workers_(plan.workers) {}

  void Run() {
    for (size_t i = 0; i < plan_.leases_per_worker; ++i) {
      for (size_t worker = 0; worker < plan_.workers; ++worker) LeaseTo(worker);
    }
    while (!pending_.empty()) Finish(NextReady());
    if (!returned_.empty() || leased_ < plan_.rows_total) std::rethrow_exception(last_error_);
  }

 private:
  struct Worker {
    size_t pending = 0;
    size_t failures = 0;  // since its last success
  };
  struct Pending {
    ObjectRef<Result> ref;
    RowLease lease;
    bool cancelled = false;
  };

  size_t NextReady() {
    std::vector<ObjectRef<Result>> refs;
    for (const Pending& pending : pending_) refs.push_back(pending.ref);
    const ObjectRef<Result> ready = Wait(refs).ready.front();
    const auto at = std::find_if(pending_.begin(), pending_.end(), [&](const auto& p) { return p.ref == ready; });
    return size_t(at - pending_.begin());
  }

  void Finish(size_t index) {
    const Pending finished = pending_[index];
    pending_.erase(pending_.begin() + std::ptrdiff_t(index));
    Worker& worker = workers_[finished.lease.worker];
    --worker.pending;
    std::optional<Result> result;
    try {
      result = Get(finished.ref);
      worker.failures = 0;
      LeaseTo(finished.lease.worker);
    } catch (const ActorDiedError&) {
      Failed(finished, &worker);
    } catch (const NodeDiedError&) {
      Failed(finished, &worker);
    } catch (const CancelledError&) {
      if (!finished.cancelled) throw;
      Failed(finished, &worker);
    }
    TakeBackLast();
    if (result) done_(std::as_const(finished.lease), *std::move(result));  // what it throws is its caller's
  }

  void Failed(const Pending& failed, Worker* worker) {
    returned_.push_back(failed.lease);
    if (!failed.cancelled) {
      last_error_ = std::current_exception();
      ++worker->failures;
    }
    for (size_t other = 0; other < workers_.size(); ++other) LeaseTo(other);
  }

  // As many as the worker may have now.
  void LeaseTo(size_t index) {
    Worker& worker = workers_[index];
    if (worker.failures >= plan_.failures_max) return;
    if (worker.pending >= (worker.failures == 0 ? plan_.leases_per_worker : 1)) return;
    RowLease lease;
    if (!returned_.empty()) {
      lease = returned_.back();
      returned_.pop_back();
    } else if (leased_ < plan_.rows_total) {
      lease.begin = leased_ % plan_.rows;
      lease.progress = double(leased_) / double(plan_.rows_total);
      lease.end = lease.begin + std::min({plan_.rows_per_lease, plan_.rows - lease.begin, plan_.rows_total - leased_});
      leased_ += lease.end - lease.begin;
    } else {
      return;
    }
    lease.worker = index;
    ++worker.pending;
    pending_.push_back({submit_(std::as_const(lease)), lease});
  }

  // At the end, what has not begun goes to whoever is free: its worker is slow, or dead and not back yet.
  void TakeBackLast() {
    const auto is_idle = [](const Worker& worker) { return worker.pending == 0 && worker.failures == 0; };
    if (leased_ < plan_.rows_total || std::none_of(workers_.begin(), workers_.end(), is_idle)) return;
    for (Pending& pending : pending_) {
      if (pending.cancelled) continue;
      Cancel(pending.ref);
      pending.cancelled = true;
    }
  }

  const LeasePlan& plan_;
  Submit& submit_;
  Done& done_;
  std::vector<Worker> workers_;
  std::vector<Pending> pending_;
  std::vector<RowLease> returned_;
  uint64_t leased_ = 0;
  std::exception_ptr last_error_;
};

}  // namespace internal

// Calls `submit` for each lease, which begins the work and returns a ref to its result; and `done` with every result,
// as they come. Returns when all rows of the plan are done. Rows of a worker that dies are leased again, so some of
// their steps may be taken twice; a worker that is restarted goes on. Throws what became of the work if no worker is
// left (ActorDiedError, NodeDiedError), what it threw, and InvalidArgumentError if a number of the plan is 0.
template <class Result, class Submit, class Done>
void TrainByLeases(const LeasePlan& plan, Submit submit, Done done) {
  if (plan.rows == 0 || plan.rows_per_lease == 0 || plan.workers == 0 || plan.leases_per_worker == 0) {
    throw InvalidArgumentError("TrainByLeases: " + std::to_string(plan.rows) + " rows in leases of " +
                               std::to_string(plan.rows_per_lease) + " for " + std::to_string(plan.workers) +
                               " workers, " + std::to_string(plan.leases_per_worker) + " each: none may be 0");
  }
  internal::LeaseRun<Result, Submit, Done>(plan, submit, done).Run();
}

}  // namespace manta::ml

#endif  // MANTA_ML_LEASES_H_

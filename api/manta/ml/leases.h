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
};

// Calls `submit` for each lease, which begins the work and returns a ref to its result; and `done` with every result,
// as they come. Returns when all rows of the plan are done. Throws what became of the work (WorkerDiedError, ...), and
// InvalidArgumentError if a number of the plan is 0.
template <class Result, class Submit, class Done>
void TrainByLeases(const LeasePlan& plan, Submit submit, Done done) {
  if (plan.rows == 0 || plan.rows_per_lease == 0 || plan.workers == 0 || plan.leases_per_worker == 0) {
    throw InvalidArgumentError("TrainByLeases: " + std::to_string(plan.rows) + " rows in leases of " +
                               std::to_string(plan.rows_per_lease) + " for " + std::to_string(plan.workers) +
                               " workers, " + std::to_string(plan.leases_per_worker) + " each: none may be 0");
  }
  std::vector<std::pair<ObjectRef<Result>, RowLease>> pending;
  uint64_t leased = 0;
  auto lease_to = [&](size_t worker) {
    if (leased >= plan.rows_total) return;
    RowLease lease{worker, leased % plan.rows, 0, double(leased) / double(plan.rows_total)};
    lease.end = lease.begin + std::min({plan.rows_per_lease, plan.rows - lease.begin, plan.rows_total - leased});
    leased += lease.end - lease.begin;
    pending.emplace_back(submit(std::as_const(lease)), lease);
  };
  for (size_t i = 0; i < plan.workers * plan.leases_per_worker; ++i) lease_to(i % plan.workers);
  while (!pending.empty()) {
    std::vector<ObjectRef<Result>> refs;
    for (const auto& [ref, lease] : pending) refs.push_back(ref);
    ObjectRef<Result> ready = Wait(refs).ready.front();
    auto at = std::find_if(pending.begin(), pending.end(), [&](const auto& entry) { return entry.first == ready; });
    RowLease lease = at->second;
    pending.erase(at);
    Result result = Get(ready);
    lease_to(lease.worker);
    done(std::as_const(lease), std::move(result));
  }
}

}  // namespace manta::ml

#endif  // MANTA_ML_LEASES_H_

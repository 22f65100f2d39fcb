// LeaseDriver leads the workers of a strategy with a server: leases of rows go to whoever is free, several at a time,
// so that a worker does not wait for the driver.
//
//   lease:   ledger ──order──▶ a worker's mailbox ──▶ trained, all pushes at the server ──▶ committed, retired
//               ▲                        │
//               └──── its worker died ───┘     whoever trains it next pushes under the same names: applied once
//
// Threads:    externally synchronised.
#ifndef MANTA_ML_TRAIN_LEASE_DRIVER_H_
#define MANTA_ML_TRAIN_LEASE_DRIVER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "manta/ml/row_ledger.h"
#include "manta/ml/train_crew.h"
#include "manta/ml/train_plan.h"
#include "ml/train/train_log.h"

namespace manta::ml {

class LeaseDriver final : public TrainControl {
 public:
  // All are borrowed. `start`: where to begin; `ledger`: RowLedger::State() of a checkpoint, or empty.
  LeaseDriver(const TrainPlan& plan, TrainCrew& crew, TrainLog& log, const TrainState& start,
              const std::string& ledger);

  // Trains all rows of the plan; the state there.
  TrainState Run();
  // The same workers and server train by another plan. Its epochs are numbered from `first_epoch` on, so that pushes
  // have names of their own.
  TrainState RunAgain(const TrainPlan& plan, TrainLog& log, uint64_t first_epoch);

  const TrainPosition& at() const override { return at_; }
  size_t workers() const override;
  void Resize(size_t workers) override;
  void Stop(const std::string& why) override { log_->Stop(at_, why); }

 private:
  struct Order {
    RowLease lease;
    ObjectRef<LeaseReport> report;
    bool cancelled = false;
  };
  struct Worker {
    bool wanted = false;
    bool in_clock = false;           // others may wait for it
    ObjectRef<uint64_t> hello = {};  // while it starts
    std::deque<Order> orders = {};   // given to it, in this order
    bool is_there() const { return wanted && !hello; }
  };

  static RowPlan PlanOfRows(const TrainPlan& plan);
  void Give();
  void TakeBackLast();
  void AwaitAny();
  void Look(size_t worker);
  void Settle(size_t worker, const Order& order);
  void Died(size_t worker);
  void Lost(size_t worker, const std::string& how);
  void Drain();
  void LetIdleGo();
  void Keep(const TrainPosition& before);
  TrainState StateHere();

  const TrainPlan* plan_;
  TrainCrew& crew_;
  TrainLog* log_;
  RowPlan rows_;
  RowLedger ledger_;
  const std::chrono::steady_clock::time_point starting_until_;  // others wait for workers that start until then
  std::vector<Worker> workers_;
  uint64_t first_epoch_ = 0;  // of the ledger's epochs
  TrainPosition at_;
  ServerStats stats_;  // at the last point
  std::string last_death_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TRAIN_LEASE_DRIVER_H_

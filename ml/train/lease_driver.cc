#include "ml/train/lease_driver.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "manta/error.h"
#include "manta/get.h"
#include "manta/ml/error.h"

namespace manta::ml {
namespace {

constexpr std::chrono::nanoseconds kNow{0};
constexpr size_t kLeasesAhead = 3;  // one that runs, the others wait behind it while the driver does something else

bool IsDeath(const Error& error) {
  return error.code() == ErrorCode::kActorDied || error.code() == ErrorCode::kNodeDied;
}

// Whether an update is the sum of what all workers push in an iteration: then who has which rows is fixed, so that it
// is the same every time.
bool IsRepeatable(const TrainPlan& plan) {
  const auto* server = std::get_if<ParameterServerSgd>(&plan.strategy);
  return server != nullptr && server->consistency.adds_pushes();
}

uint64_t LeaseRows(const TrainPlan& plan) {
  uint64_t wanted = 0;
  if (const auto* server = std::get_if<ParameterServerSgd>(&plan.strategy)) wanted = server->lease_rows;
  if (const auto* elastic = std::get_if<Easgd>(&plan.strategy)) wanted = elastic->lease_rows;
  constexpr uint64_t kRows = 4096;
  return wanted != 0 ? wanted : std::max<uint64_t>(1, kRows / plan.batch) * plan.batch;
}

}  // namespace

RowPlan LeaseDriver::PlanOfRows(const TrainPlan& plan) {
  RowPlan rows{.rows = plan.rows, .rows_total = plan.rows * plan.epochs, .rows_per_lease = LeaseRows(plan)};
  if (IsRepeatable(plan)) {
    rows.shares.assign(plan.scaling.workers, 1);
    rows.epochs_open_max = 1;  // a checkpoint at the end of an epoch is of whole iterations
  }
  return rows;
}

LeaseDriver::LeaseDriver(const TrainPlan& plan, TrainCrew& crew, TrainLog& log, const TrainState& start,
                         const std::string& ledger)
    : plan_(&plan),
      crew_(crew),
      log_(&log),
      rows_(PlanOfRows(plan)),
      ledger_(ledger.empty() ? RowLedger(rows_) : RowLedger::FromState(ledger)),
      starting_until_(std::chrono::steady_clock::now() +
                      std::chrono::milliseconds(int64_t(plan_->scaling.wait_seconds * 1000))),
      at_(start.at) {
  ledger_.ReturnAll();
  const std::string& directory = plan.checkpoint.directory;
  crew_.MakeServer(start, directory.empty() ? "" : directory + "/server", !ledger.empty());
  Resize(plan_->scaling.workers);
  for (Worker& worker : workers_) worker.in_clock = true;  // from the beginning
}

size_t LeaseDriver::workers() const {
  return size_t(std::ranges::count_if(workers_, [](const Worker& worker) { return worker.is_there(); }));
}

void LeaseDriver::Resize(size_t workers) {
  if (workers == 0) throw InvalidArgumentError("Resize(0): a training job needs a worker");
  for (size_t i = 0; i < std::max(workers, workers_.size()); ++i) {
    if (i >= workers_.size()) workers_.emplace_back();
    Worker& worker = workers_[i];
    if (i < workers && !worker.wanted) {
      crew_.Start(i);
      worker.wanted = true;
      worker.hello = crew_.Hello(i);
    } else if (i >= workers && worker.wanted) {
      crew_.Stop(i);  // its orders end with an ActorDiedError
      ledger_.Leave(i);
      log_->Note(TrainEvent::kLeft, at_, i);
      worker.wanted = false;
    }
  }
}

TrainState LeaseDriver::Run() {
  while (!ledger_.done() && !log_->IsFinished(at_)) {
    Give();
    AwaitAny();
  }
  Drain();
  return StateHere();
}

TrainState LeaseDriver::RunAgain(const TrainPlan& plan, TrainLog& log, uint64_t first_epoch) {
  plan_ = &plan;
  log_ = &log;
  rows_ = PlanOfRows(plan);
  ledger_ = RowLedger(rows_);
  first_epoch_ = first_epoch;
  at_ = {};
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].is_there()) ledger_.Join(i);
  }
  return Run();
}

// As many leases as each may have now; who has none, and gets none, is not waited for by the others.
void LeaseDriver::Give() {
  std::vector<std::pair<size_t, RowLease>> given;
  for (size_t i = 0; i < workers_.size(); ++i) {
    for (size_t held = workers_[i].orders.size(); workers_[i].is_there() && held < kLeasesAhead; ++held) {
      std::optional<RowLease> lease = ledger_.Lease(i);
      if (!lease) break;
      lease->epoch += first_epoch_;
      given.emplace_back(i, *lease);
    }
  }
  std::vector<uint32_t> entering;  // together, at the beginning of an epoch
  for (const auto& [i, lease] : given) {
    if (!std::exchange(workers_[i].in_clock, true)) entering.push_back(uint32_t(i));
  }
  if (!entering.empty()) crew_.ExpectAtServer(entering);
  for (const auto& [i, lease] : given) workers_[i].orders.push_back({lease, crew_.RunLease(i, lease)});
  LetIdleGo();
  TakeBackLast();
}

// At the end, what has not begun goes to whoever is free.
void LeaseDriver::TakeBackLast() {
  if (!rows_.shares.empty() || !ledger_.all_out()) return;
  const auto is_idle = [](const Worker& worker) { return worker.is_there() && worker.orders.empty(); };
  if (std::ranges::none_of(workers_, is_idle)) return;
  for (Worker& worker : workers_) {
    for (size_t i = 1; i < worker.orders.size(); ++i) {
      if (!std::exchange(worker.orders[i].cancelled, true)) Cancel(worker.orders[i].report);
    }
  }
}

// Waits for an order to end, or a worker to come.
void LeaseDriver::AwaitAny() {
  constexpr auto kLook = std::chrono::milliseconds(100);  // at those that start, where others work
  std::vector<ObjectRef<LeaseReport>> reports;
  std::vector<ObjectRef<uint64_t>> hellos;
  for (const Worker& worker : workers_) {
    for (const Order& order : worker.orders) reports.push_back(order.report);
    if (worker.hello) hellos.push_back(worker.hello);
  }
  if (!reports.empty()) {
    Wait(reports, 1, hellos.empty() ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(kLook));
  } else {
    const auto limit = std::chrono::milliseconds(int64_t(plan_->scaling.wait_seconds * 1000));
    if (hellos.empty() || Wait(hellos, 1, limit).ready.empty()) {
      throw Error(ErrorCode::kActorDied, "Trainer: no worker is left at " + at_.ToString() + ": " + last_death_ +
                                             "; raise Scaling::restarts or wait_seconds");
    }
  }
  for (size_t i = 0; i < workers_.size(); ++i) Look(i);
  if (std::chrono::steady_clock::now() < starting_until_) return;
  for (size_t i = 0; i < workers_.size(); ++i) {  // there is no room for it, say
    if (workers_[i].hello && std::exchange(workers_[i].in_clock, false)) crew_.LeaveServer(i, /*lives=*/false);
  }
}

void LeaseDriver::Look(size_t index) {
  if (workers_[index].hello && !Wait(std::vector{workers_[index].hello}, 1, kNow).ready.empty()) {
    const Result<uint64_t> hello = TryGet(std::exchange(workers_[index].hello, {}));
    if (!hello.ok()) return Lost(index, hello.error().what());
    if (workers_[index].wanted) {
      log_->Begin();
      ledger_.Join(index);
      log_->Note(TrainEvent::kJoined, at_, index);
    }
  }
  // An order's end may change the number of workers (the observer), not this worker's other orders.
  for (size_t i = 0; i < workers_[index].orders.size();) {
    if (Wait(std::vector{workers_[index].orders[i].report}, 1, kNow).ready.empty()) {
      ++i;
      continue;
    }
    const Order order = std::move(workers_[index].orders[i]);
    workers_[index].orders.erase(workers_[index].orders.begin() + std::ptrdiff_t(i));
    Settle(index, order);
  }
}

void LeaseDriver::Settle(size_t index, const Order& order) {
  Result<LeaseReport> result = TryGet(order.report);
  if (!result.ok()) {
    ledger_.Return(order.lease.id, index);
    if (result.error().code() == ErrorCode::kCancelled && order.cancelled) return;
    if (!IsDeath(result.error())) std::move(result).value();  // what the model threw
    last_death_ = result.error().what();
    return Died(index);
  }
  if (!result->diverged.empty()) throw DivergedError(result->diverged + ", worker " + std::to_string(index));
  if (ledger_.Commit(order.lease.id, index) != CommitOutcome::kCommitted) return;
  crew_.Retire(order.lease);
  log_->Count(result->rows, result->loss_sum);
  const TrainPosition before = at_;
  const uint64_t rows = at_.epoch * plan_->rows + at_.rows + result->rows;
  at_ = {rows / plan_->rows, rows % plan_->rows, at_.step + result->steps};
  Keep(before);
  if (plan_->observer && !ledger_.done()) plan_->observer(*this);
}

void LeaseDriver::Died(size_t index) {
  Worker& worker = workers_[index];
  if (worker.wanted && !worker.hello) {  // the first of its orders that says so
    log_->Note(TrainEvent::kDied, at_, index, last_death_);
    worker.hello = crew_.Hello(index);
  }
  if (worker.in_clock) crew_.LeaveServer(index, /*lives=*/false);
  worker.in_clock = false;
}

void LeaseDriver::Lost(size_t index, const std::string& how) {
  last_death_ = how;
  workers_[index].wanted = false;
  crew_.LeaveServer(index, /*lives=*/false);
  ledger_.Leave(index);
}

// What is under way ends, and counts.
void LeaseDriver::Drain() {
  for (Worker& worker : workers_) {
    for (Order& order : worker.orders) {
      if (!std::exchange(order.cancelled, true)) Cancel(order.report);
    }
  }
  LetIdleGo();
  while (std::ranges::any_of(workers_, [](const Worker& worker) { return !worker.orders.empty(); })) {
    AwaitAny();
    LetIdleGo();
  }
}

// Nobody waits in the server for a worker that has nothing to do.
void LeaseDriver::LetIdleGo() {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (!workers_[i].is_there() || !workers_[i].orders.empty()) continue;
    if (std::exchange(workers_[i].in_clock, false)) crew_.LeaveServer(i, /*lives=*/true);
  }
}

// Evaluation and checkpoint, if they are due.
void LeaseDriver::Keep(const TrainPosition& before) {
  if (!log_->WantsState(before, at_)) return;
  const TrainState state = StateHere();
  if (log_->WantsPoint(before, at_)) {
    const ServerStats stats = crew_.Stats();
    log_->AddPoint(state, stats.MeanStalenessSince(stats_));
    stats_ = stats;
  }
  if (!log_->WantsCheckpoint(before, at_)) return;
  crew_.CheckpointServer();  // before the ledger: what it calls committed is in the server's files
  log_->Checkpoint(state, ledger_.State());
}

TrainState LeaseDriver::StateHere() {
  TrainState state = crew_.ServerState();
  state.at = at_;
  return state;
}

}  // namespace manta::ml

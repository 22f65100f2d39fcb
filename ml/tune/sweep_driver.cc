#include "ml/tune/sweep_driver.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>
#include <utility>

#include "manta/context.h"
#include "manta/ml/error.h"
#include "manta/scheduling.h"
#include "ml/data/durable_file.h"

namespace manta::ml::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kAwait(50);
constexpr seconds kStopGrace(5);           // for trials to report once more when time or sweep are over
constexpr milliseconds kCloseGrace(200);   // for one that hangs in this process
constexpr seconds kPlacementLimit(600);    // for the first runner to get its resources
constexpr seconds kEndLimit(5);            // for a program to end by Ctrl-C
constexpr seconds kLookAtNodes(2);         // nodes join and leave
constexpr int64_t kDeathsMax = 12;         // of a runner in a row, before it has answered once
constexpr milliseconds kRestartDelay(20);  // doubled with each of them
constexpr int64_t kRunnersMax = 1000;
constexpr int64_t kIgnoredMax = 100;

void Require(bool holds, const std::string& message) {
  if (!holds) throw InvalidArgumentError("Tuner: " + message);
}

void CheckName(const std::string& name) {
  Require(!name.empty(), "RunConfig::name is empty: it names the sweep's directory");
  Require(name.find('/') == name.npos && name != "." && name != "..",
          "RunConfig::name is \"" + name + "\", which cannot be a directory's name");
}

SweepSettings SettingsOf(SearchSpace space, const TuneConfig& tune, const RunConfig& run) {
  CheckName(run.name);
  Require(!run.storage.empty(), "RunConfig::storage is empty");
  Require(!tune.metric.empty(), "TuneConfig::metric is empty: name the one of the reports that counts");
  Require(!space.empty(), "the search space has no parameters");
  Require(tune.num_samples != 0, "TuneConfig::num_samples is 0: a sweep has at least one trial");
  Require(tune.num_samples >= -1, "TuneConfig::num_samples is " + std::to_string(tune.num_samples));
  Require(tune.num_samples > 0 || tune.time_budget.count() > 0 || (tune.searcher && tune.searcher->name() == "grid"),
          "TuneConfig::num_samples is -1, without a time_budget, and only a Grid comes to an end by itself");
  Require(tune.max_concurrent >= 0, "TuneConfig::max_concurrent is " + std::to_string(tune.max_concurrent));
  Require(tune.max_failures >= 0, "TuneConfig::max_failures is " + std::to_string(tune.max_failures));
  Require(tune.steps_max >= 0, "TuneConfig::steps_max is " + std::to_string(tune.steps_max));
  Require(tune.time_budget.count() >= 0, "TuneConfig::time_budget is negative");
  Require(tune.report_timeout.count() > 0, "TuneConfig::report_timeout is not above 0");
  const RunConfig::Resources& resources = run.resources;
  Require(resources.cpus >= 0 && resources.gpus >= 0, "RunConfig::resources: cpus and gpus are at least 0");
  for (const auto& [name, amount] : resources.custom) {
    Require(amount >= 0, "RunConfig::resources: " + name + " is negative, or no number");
  }
  return {.name = run.name,
          .space = std::move(space),
          .metric = tune.metric,
          .mode = tune.mode,
          .num_samples = tune.num_samples,
          .max_concurrent = tune.max_concurrent,
          .steps_max = tune.steps_max,
          .max_failures = tune.max_failures,
          .time_budget = tune.time_budget,
          .report_timeout = tune.report_timeout,
          .resources = run.resources};
}

std::string DirectoryOf(const RunConfig& run) { return (std::filesystem::path(run.storage) / run.name).string(); }

LiveTable::Options TableOptions(const RunConfig& run) {
  return {.verbosity = run.verbosity, .out = run.out, .is_terminal = run.is_terminal};
}

std::map<std::string, double> AmountsOf(const RunConfig::Resources& resources) {
  std::map<std::string, double> amounts = resources.custom;
  amounts["CPU"] = resources.cpus;
  amounts["GPU"] = resources.gpus;
  std::erase_if(amounts, [](const auto& amount) { return amount.second == 0; });
  return amounts;
}

// How many trials of `amounts` a node has room for.
int64_t RoomOn(const NodeInfo& node, const std::map<std::string, double>& amounts) {
  double room = kRunnersMax;
  for (const auto& [name, amount] : amounts) {
    const auto total = node.total.find(name);
    room = std::min(room, total == node.total.end() ? 0 : std::floor(total->second / amount + 1e-6));
  }
  return static_cast<int64_t>(room);
}

}  // namespace

SweepDriver::SweepDriver(SearchSpace space, TuneConfig tune, RunConfig run, MakeRunner make_runner,
                         OpenAppendFile open_journal)
    : run_(std::move(run)),
      make_runner_(std::move(make_runner)),
      open_journal_(std::move(open_journal)),
      core_(std::make_unique<SweepCore>(SettingsOf(std::move(space), tune, run_), tune.searcher, tune.scheduler)),
      checkpoints_(DirectoryOf(run_)) {}

SweepDriver::SweepDriver(RunConfig run, RestoreOptions options, MakeRunner make_runner, OpenAppendFile open_journal)
    : run_(std::move(run)),
      make_runner_(std::move(make_runner)),
      open_journal_(std::move(open_journal)),
      checkpoints_(DirectoryOf(run_)),
      is_restored_(true) {
  CheckName(run_.name);
  const std::string directory = DirectoryOf(run_);
  Journal::Contents contents;
  journal_ = Journal::Open(directory, &contents, open_journal_);
  dropped_ = contents.dropped;
  auto entry = contents.entries.begin();
  const std::string& first = contents.snapshot.empty() ? *entry++ : contents.snapshot;
  core_ = std::make_unique<SweepCore>(first, std::move(options.searcher), std::move(options.scheduler), directory);
  for (; entry != contents.entries.end(); ++entry) core_->Replay(*entry, directory);
  core_->TakeGarbage();
  checkpoints_.DropAllBut(core_->CheckpointFiles());
}

SweepDriver::~SweepDriver() {
  for (Runner& runner : runners_) {
    try {
      if (runner.calls.close) runner.calls.close(milliseconds(0));
    } catch (const Error&) {
      // There is no runtime any more, nor any runner.
    }
  }
}

ResultGrid SweepDriver::Fit() {
  Require(!is_begun_, "Fit was called before: a sweep runs once; Restore gives its results again");
  is_begun_ = true;
  Begin();
  try {
    while (Round()) {
    }
  } catch (const FileError&) {
    throw;  // the journal, or a checkpoint: nobody knows of what is not in it
  } catch (const Error&) {
    if (interrupt_->is_interrupted()) Interrupt();
    Commit();
    throw;
  }
  return Finish();
}

void SweepDriver::Begin() {
  CheckResources();
  if (!journal_) journal_ = Journal::Create(DirectoryOf(run_), core_->Save(), open_journal_);
  interrupt_.emplace();
  table_.emplace(TableOptions(run_), *core_);
  start_ = Clock::now();
  seconds_before_ = core_->seconds();
  if (is_restored_) {
    if (!dropped_.empty()) table_->Say(dropped_);
    const std::vector<TrialId> running = core_->Running();
    for (const TrialId trial : running) core_->Preempt(trial);
    table_->Say(core_->settings().name + ": restored from " + DirectoryOf(run_) + ", " +
                std::to_string(core_->trials().size()) + " trials, of which " + std::to_string(running.size()) +
                " ran and go on");
  }
  if (core_->is_time_over()) time_over_at_ = start_;
  Commit();
}

// Whether there is more to do.
bool SweepDriver::Round() {
  if (interrupt_->is_interrupted()) Interrupt();
  LookAtClock();
  StartRunners();
  Assign();
  Commit();
  const bool is_any_running = core_->Count(TrialState::kRunning) > 0;
  if (!is_any_running && (core_->Unfinished() == 0 || has_none_left_)) return false;
  Send();
  Await();
  table_->Update(Seconds(), std::exchange(is_new_best_, false));
  return true;
}

// ------------------------------------------------------------------ runners

void SweepDriver::CheckResources() const {
  const std::map<std::string, double> amounts = AmountsOf(core_->settings().resources);
  std::string most;
  for (const NodeInfo& node : Nodes()) {
    if (RoomOn(node, amounts) > 0) return;
    most += (most.empty() ? "" : "; ") + node.id + " has";
    for (const auto& [name, amount] : amounts) {
      const auto total = node.total.find(name);
      char text[96];
      std::snprintf(text, sizeof text, " %g of %g %s", total == node.total.end() ? 0 : total->second, amount,
                    name.c_str());
      most += text;
    }
  }
  throw InvalidArgumentError("Tuner: no node has the resources of one trial (RunConfig::resources): " + most);
}

int64_t SweepDriver::RunnersMax() const {
  const std::map<std::string, double> amounts = AmountsOf(core_->settings().resources);
  const int64_t wanted = core_->settings().max_concurrent;
  int64_t room = 0, cpus = 0;
  for (const NodeInfo& node : Nodes()) {
    room += RoomOn(node, amounts);
    cpus += RoomOn(node, {{"CPU", 1}});
  }
  if (amounts.empty() && wanted == 0) room = cpus;  // trials that hold nothing
  return std::clamp<int64_t>(wanted == 0 ? room : std::min(room, wanted), 1, kRunnersMax);
}

void SweepDriver::StartRunners() {
  const auto now = Clock::now();
  const auto unfinished = static_cast<int64_t>(std::min<size_t>(core_->Unfinished(), kRunnersMax));
  if (now >= look_at_nodes_after_) {
    runners_max_ = RunnersMax();
    look_at_nodes_after_ = now + kLookAtNodes;
  }
  while (static_cast<int64_t>(runners_.size()) < std::min(unfinished, runners_max_)) runners_.emplace_back();
  for (Runner& runner : runners_) {
    if (runner.calls.exchange || now < runner.start_after || core_->Unfinished() == 0) continue;
    runner.calls = make_runner_(core_->settings().resources);
    runner.exchange = runner.calls.exchange({});
    runner.is_ready = false;
    runner.heard = now;
  }
}

// Trials that take no longer than a call does wait at the runner. With one at a time, none does: then a sweep is
// repeatable, because each suggestion knows all results before it.
size_t SweepDriver::Depth() const {
  if (core_->settings().max_concurrent == 1 || !suspects_.empty() || core_->Unfinished() < 4 * runners_.size())
    return 1;
  return trial_seconds_ < 0.005 ? 6 : trial_seconds_ < 0.05 ? 2 : 1;
}

void SweepDriver::Assign() {
  has_none_left_ = false;
  const size_t depth = Depth();
  for (size_t level = 0; level < depth; ++level) {
    for (Runner& runner : runners_) {
      if (!runner.is_ready || runner.exchange || runner.trials.size() > level) continue;
      const std::optional<SweepCore::Start> start = core_->Next(Seconds());
      if (!start) {
        has_none_left_ = true;
        return;
      }
      Give(&runner, *start, false);
    }
  }
}

void SweepDriver::Give(Runner* runner, const SweepCore::Start& start, bool is_next) {
  TrialAssignment assignment{.trial = start.trial,
                             .attempt = start.attempt,
                             .config = start.config,
                             .step = start.step,
                             .has_checkpoint = start.checkpoint.has_value(),
                             .is_next = is_next};
  if (start.checkpoint) assignment.checkpoint = checkpoints_.Read(*start.checkpoint);
  runner->orders.trials.push_back(std::move(assignment));
  if (runner->trials.empty()) runner->heard = runner->begun = Clock::now();
  const auto at = is_next && !runner->trials.empty() ? runner->trials.begin() + 1 : runner->trials.end();
  runner->trials.insert(at, {start.trial, start.attempt});
}

void SweepDriver::Commit() {
  for (const std::string& entry : core_->TakeEntries()) journal_->Append(entry);
  journal_->Commit();
  checkpoints_.Drop(core_->TakeGarbage());
  if (journal_->WantsSnapshot()) journal_->Snapshot(core_->Save());
}

void SweepDriver::Send() {
  for (Runner& runner : runners_) {
    if (!runner.is_ready || runner.exchange || runner.trials.empty()) continue;
    runner.exchange = runner.calls.exchange(std::exchange(runner.orders, {}));
  }
}

// ------------------------------------------------------------------ events

void SweepDriver::Await() {
  std::vector<ObjectRef<std::vector<TrialEvent>>> refs;
  for (const Runner& runner : runners_) {
    if (runner.exchange) refs.push_back(runner.exchange);
  }
  if (refs.empty()) {
    std::this_thread::sleep_for(kRestartDelay);  // all are dead, and begin again after a while
    return;
  }
  Wait(refs, 1, kAwait);
  for (Runner& runner : runners_) {
    if (!runner.exchange || Wait(std::vector{runner.exchange}, 1, milliseconds(0)).ready.empty()) continue;
    Result<std::vector<TrialEvent>> events = TryGet(std::exchange(runner.exchange, {}));
    if (events.ok()) {
      was_any_ready_ = runner.is_ready = true;
      if (!events->empty()) runner.deaths = 0;
      for (TrialEvent& event : *events) OnEvent(&runner, event);
    } else if (events.error().code() == ErrorCode::kShutdown) {
      events.value();
    } else {
      const auto* const died = dynamic_cast<const ActorDiedError*>(&events.error());
      const ErrorCode code = events.error().code();
      // A checkpoint that it was given went with another process, or its events cannot come: it has to go, too.
      if (died == nullptr && !CurrentContext().is_local()) runner.calls.kill();
      const bool may_have_run =
          died != nullptr ? died->may_have_run() : code != ErrorCode::kObjectLost && code != ErrorCode::kOwnerDied;
      OnDeath(&runner, events.error().what(), false, may_have_run);
    }
  }
}

void SweepDriver::OnEvent(Runner* runner, TrialEvent& event) {
  const auto& trials = runner->trials;
  if (trials.empty() || trials.front().trial != event.trial || trials.front().attempt != event.attempt) {
    throw InternalError(ErrorCode::kInternal, "a runner tells of trial " + std::to_string(event.trial) + ", attempt " +
                                                  std::to_string(event.attempt) + ", which is not the one it runs");
  }
  runner->heard = Clock::now();
  event.kind == TrialEvent::kReport ? OnReport(runner, event) : OnEnd(runner, event);
}

void SweepDriver::OnReport(Runner* runner, TrialEvent& event) {
  Assigned& first = runner->trials.front();
  suspects_.erase(event.trial);
  runner->orders.verdict = TrialOrders::kUnwind;
  if (first.is_unwinding) {
    ++first.ignored;
    return;
  }
  std::optional<CheckpointRecord> checkpoint;
  if (event.has_checkpoint) {
    checkpoint = checkpoints_.Write(core_->next_checkpoint(), event.trial, event.step, event.checkpoint);
  }
  const SweepCore::Verdict verdict =
      core_->Report(event.trial, event.step, event.metrics, Seconds(), std::move(checkpoint));
  is_new_best_ = is_new_best_ || verdict.is_best;
  if (verdict.goes_on) {
    runner->orders.verdict = TrialOrders::kContinue;
    return;
  }
  first.is_unwinding = true;
  if (verdict.start) Give(runner, *verdict.start, true);
  if (verdict.is_over) SayEnd(event.trial);
}

void SweepDriver::OnEnd(Runner* runner, const TrialEvent& event) {
  const bool is_unwinding = runner->trials.front().is_unwinding;
  runner->trials.pop_front();
  suspects_.erase(event.trial);
  const auto now = Clock::now();
  trial_seconds_ += 0.2 * (std::chrono::duration<double>(now - runner->begun).count() - trial_seconds_);
  runner->begun = now;
  if (is_unwinding) return;
  if (event.has_error) {
    core_->Fail(event.trial, event.error, Seconds());
  } else {
    core_->Complete(event.trial, Seconds());
  }
  SayEnd(event.trial);
}

// The runner's process is gone. `is_certain`: by the fault of the trial that it ran.
void SweepDriver::OnDeath(Runner* runner, const std::string& what, bool is_certain, bool may_have_run) {
  Runner dead = std::exchange(*runner, {});
  checkpoints_.ForgetObjects();
  runner->deaths = dead.is_ready ? 0 : dead.deaths + 1;
  if (runner->deaths > kDeathsMax) {
    throw ActorDiedError(ErrorCode::kActorDied, "Tuner: the actors that are to run trials die at their start: " + what);
  }
  runner->start_after =
      Clock::now() + kRestartDelay * (runner->deaths == 0 ? 0 : 1 << std::min<int64_t>(runner->deaths, 6));
  const bool is_alone = dead.trials.size() == 1;
  for (size_t i = 0; i < dead.trials.size(); ++i) {
    const Assigned& assigned = dead.trials[i];
    if (assigned.is_unwinding) continue;
    if (i == 0 && may_have_run && (is_certain || is_alone)) {
      core_->Fail(assigned.trial, what, Seconds());
      SayEnd(assigned.trial);
    } else {
      if (i == 0 && may_have_run) suspects_.insert(assigned.trial);
      core_->Preempt(assigned.trial);
    }
  }
}

// ------------------------------------------------------------------ time

void SweepDriver::LookAtClock() {
  const auto now = Clock::now();
  const auto budget = std::chrono::duration<double>(core_->settings().time_budget).count();
  if (budget > 0 && !core_->is_time_over() && Seconds() >= budget) {
    core_->EndTime();
    time_over_at_ = now;
    for (Runner& runner : runners_) {
      for (size_t i = 1; i < runner.trials.size(); ++i) {
        if (!runner.trials[i].is_unwinding) core_->Preempt(runner.trials[i].trial);
        runner.trials[i].is_unwinding = true;
      }
    }
  }
  if (!was_any_ready_ && core_->Unfinished() > 0 && now - start_ > kPlacementLimit) {
    throw TimeoutError(ErrorCode::kTimeout,
                       "Tuner: no trial could begin in 10 minutes: the resources of RunConfig::resources are in use");
  }
  for (Runner& runner : runners_) {
    if (!runner.calls.exchange || runner.trials.empty()) continue;
    if (core_->is_time_over() && now - time_over_at_ > kStopGrace) {
      Assigned& first = runner.trials.front();
      if (!first.is_unwinding) core_->Stop(first.trial, Seconds());
      first.is_unwinding = true;
      EndHung(&runner, "");
    } else if (runner.trials.front().ignored > kIgnoredMax) {
      EndHung(&runner, "");
    } else if (now - runner.heard > core_->settings().report_timeout) {
      EndHung(&runner,
              "it reported nothing for " +
                  DurationText(std::chrono::duration<double>(core_->settings().report_timeout).count()) +
                  " (TuneConfig::report_timeout); " +
                  (CurrentContext().is_local() ? "nobody can end it with --manta-local" : "its process was ended"));
    }
  }
}

void SweepDriver::EndHung(Runner* runner, const std::string& what) {
  if (!CurrentContext().is_local() || !runner->calls.close(kCloseGrace)) EndProcess(*runner);
  OnDeath(runner, what, true, true);
}

// Takes its resources from a runner whose trial does not end. In one process with the tuner, the trial goes on unheard.
void SweepDriver::EndProcess(const Runner& runner) {
  if (CurrentContext().is_local()) left_behind_.insert(runner.trials.front().trial);
  runner.calls.kill();
}

double SweepDriver::Seconds() const {
  return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
}

// ------------------------------------------------------------------ ends

void SweepDriver::SayEnd(TrialId trial) {
  const TrialResult& result = core_->trials()[trial];
  std::string line = "trial " + std::to_string(trial) + " " + NameOf(result.state);
  if (const auto metric = result.Last(core_->settings().metric)) {
    char text[64];
    std::snprintf(text, sizeof text, " at step %lld, %.5g", static_cast<long long>(result.step()), *metric);
    line += text;
  }
  if (result.state == TrialState::kFailed || result.state == TrialState::kWaiting) {
    table_->Say(line + ": " + result.error.substr(0, result.error.find('\n')),
                result.state == TrialState::kFailed ? 1 : 2);
  } else {
    table_->Say(line + (result.reason.empty() ? "" : ": " + result.reason), 2);
  }
}

void SweepDriver::Interrupt() {
  Commit();
  const std::string text = "the sweep \"" + run_.name +
                           "\" was interrupted, and its journal is complete: " + "Tuner::Restore(\"" + run_.name +
                           "\", \"" + run_.storage + "\") goes on with it";
  table_->Update(Seconds(), false);
  table_->Say(text, 0);
  interrupt_->PassOn();
  // Manta's own handler ends the process soon; until then the caller is not to print an error and exit in its own way.
  for (const auto end = Clock::now() + kEndLimit; Clock::now() < end; std::this_thread::sleep_for(kRestartDelay)) {
    (void)CurrentContext();  // does not come back after Shutdown
  }
  throw SweepInterruptedError(text);
}

ResultGrid SweepDriver::Finish() {
  table_->Finish(Seconds());
  CloseRunners();
  const SweepSettings& settings = core_->settings();
  std::vector<TrialResult> trials = core_->trials();
  const std::string directory = DirectoryOf(run_);
  for (TrialResult& trial : trials) {
    if (!trial.checkpoint.empty()) trial.checkpoint = directory + "/" + trial.checkpoint;
  }
  ResultGrid results(settings.name, settings.space, settings.metric, settings.mode, std::move(trials));
  WriteDurably(directory + "/results.csv", results.ToCsv());
  WriteDurably(directory + "/results.json", results.ToJson());
  results.WriteHtml(directory + "/report.html");
  interrupt_.reset();
  journal_.reset();
  if (!left_behind_.empty()) throw TrialsLeftBehindError(LeftBehind(), std::move(results));
  return results;
}

// Trials that were told to end have a while to do so.
void SweepDriver::CloseRunners() {
  for (const Runner& runner : runners_) {
    if (runner.calls.close) runner.calls.close(milliseconds(0));
  }
  const auto end = Clock::now() + kStopGrace;
  for (const Runner& runner : runners_) {
    if (runner.trials.empty()) continue;
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    if (!runner.calls.close(std::max(left, milliseconds(0)))) EndProcess(runner);
  }
  runners_.clear();
}

std::string SweepDriver::LeftBehind() const {
  std::string trials;
  for (const TrialId trial : left_behind_) trials += (trials.empty() ? "" : ", ") + std::to_string(trial);
  return "the sweep \"" + run_.name +
         "\" is over, but these of its trials did not end when they were told to, and may "
         "still run in this process, which cannot end them (--manta-local): " +
         trials + ". The results are those of this error, and of Tuner::Restore(\"" + run_.name + "\", \"" +
         run_.storage + "\").Fit()";
}

}  // namespace manta::ml::internal

// A sweep on a disk that forgets what was not synced, is full, or breaks: what trials are told is on it.
#include "ml/tune/sweep_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "manta/manta.h"
#include "manta/ml/asha.h"
#include "manta/ml/error.h"
#include "manta/ml/pbt.h"
#include "ml/testing/local_test.h"

namespace manta::ml::internal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kSteps = 6;
constexpr int kTrials = 24;

enum class Fault { kNone, kFull, kTorn, kSync };

// What a journal's file does; see DiskFile.
struct Disk {
  Fault fault = Fault::kNone;
  int at = 0;  // the number of the append, from 1, that it happens to
  int appends = 0;
  int syncs = 0;

  bool Has(Fault which) const { return fault == which && appends == at; }
  OpenAppendFile Opener();
};

// What was appended comes to the file by Sync; a crash before that forgets it.
class DiskFile final : public AppendFile {
 public:
  DiskFile(Disk* disk, std::unique_ptr<AppendFile> file) : disk_(disk), file_(std::move(file)) {}

  std::error_code Append(std::string_view bytes) override {
    ++disk_->appends;
    if (disk_->Has(Fault::kTorn)) file_->Append(bytes.substr(0, bytes.size() / 2));
    if (disk_->Has(Fault::kTorn)) return std::make_error_code(std::errc::io_error);
    if (disk_->Has(Fault::kFull)) return std::make_error_code(std::errc::no_space_on_device);
    unsynced_ += bytes;
    return {};
  }
  std::error_code Sync() override {
    if (disk_->Has(Fault::kSync)) return std::make_error_code(std::errc::io_error);
    ++disk_->syncs;
    if (const std::error_code error = file_->Append(std::exchange(unsynced_, {}))) return error;
    return file_->Sync();
  }
  std::error_code CutTo(uint64_t size_bytes) override {
    if (disk_->Has(Fault::kTorn)) return std::make_error_code(std::errc::io_error);
    unsynced_.clear();
    return file_->CutTo(size_bytes);
  }

 private:
  Disk* const disk_;
  const std::unique_ptr<AppendFile> file_;
  std::string unsynced_;
};

// Where a journal that is only read would go on.
class Unread final : public AppendFile {
 public:
  std::error_code Append(std::string_view) override { return {}; }
  std::error_code Sync() override { return {}; }
  std::error_code CutTo(uint64_t) override { return {}; }
};

OpenAppendFile Disk::Opener() {
  return [this](const std::string& path) { return std::make_unique<DiskFile>(this, OpenOnDisk(path)); };
}

// A runner without a process: its trials report at once. A checkpoint comes with every second step.
class QuickRunner {
 public:
  // What `orders` follow from: the report that they answer, if there is one.
  using Listener = std::function<void(const TrialOrders& orders, const TrialEvent* report)>;

  explicit QuickRunner(Listener listener) : listener_(std::move(listener)) {}

  std::vector<TrialEvent> Exchange(TrialOrders orders) {
    listener_(orders, report_ ? &*report_ : nullptr);
    std::vector<TrialEvent> events;
    if (report_ && orders.verdict == TrialOrders::kUnwind) End(&events);
    report_.reset();
    for (TrialAssignment& trial : orders.trials) {
      trial.is_next ? waiting_.push_front(std::move(trial)) : waiting_.push_back(std::move(trial));
    }
    while (!report_ && (running_ || !waiting_.empty())) {
      if (!running_) Begin();
      step_ == kSteps ? End(&events) : Report(&events);
    }
    return events;
  }

 private:
  void Begin() {
    running_ = std::move(waiting_.front());
    waiting_.pop_front();
    step_ = running_->step;
  }
  void Report(std::vector<TrialEvent>* events) {
    ++step_;
    TrialEvent event{.kind = TrialEvent::kReport, .trial = running_->trial, .attempt = running_->attempt};
    event.step = step_;
    event.metrics = {{"loss", running_->config.Double("x") + 1.0 / double(step_)}};
    event.has_checkpoint = step_ % 2 == 0;
    if (event.has_checkpoint) event.checkpoint = Tensor(DType::kInt32, {4});
    report_ = event;
    events->push_back(std::move(event));
  }
  void End(std::vector<TrialEvent>* events) {
    events->push_back({.kind = TrialEvent::kEnd, .trial = running_->trial, .attempt = running_->attempt});
    running_.reset();
  }

  const Listener listener_;
  std::deque<TrialAssignment> waiting_;
  std::optional<TrialAssignment> running_;
  int64_t step_ = 0;
  std::optional<TrialEvent> report_;  // not answered yet
};

class SweepDriverTest : public LocalTest {
 protected:
  SweepDriverTest() : LocalTest({.num_cpus = 2}) {
    std::string path = fs::temp_directory_path() / "sweep_driver_test.XXXXXX";
    storage_ = mkdtemp(path.data());
  }
  ~SweepDriverTest() override { fs::remove_all(storage_); }

  // Eight runners, so that there are several events in a round.
  RunConfig Run() const { return {.name = "sweep", .storage = storage_, .resources = {.cpus = 0.25}, .verbosity = 0}; }
  std::string File(const std::string& name) const { return storage_ + "/sweep/" + name; }
  MakeRunner Runners(QuickRunner::Listener listener = [](const TrialOrders&, const TrialEvent*) {}) const {
    return [listener](const RunConfig::Resources&) {
      const auto runner = std::make_shared<QuickRunner>(listener);
      RunnerCalls calls;
      calls.exchange = [runner](TrialOrders orders) { return Put(runner->Exchange(std::move(orders))); };
      calls.close = [](std::chrono::milliseconds) { return true; };
      calls.kill = [] {};
      return calls;
    };
  }
  SweepDriver NewSweep(std::shared_ptr<TrialScheduler> scheduler, MakeRunner runners, Disk* disk) const {
    SearchSpace space;
    space.Uniform("x", 0, 1);
    TuneConfig tune{.metric = "loss", .num_samples = kTrials};
    tune.scheduler = std::move(scheduler);
    return {space, tune, Run(), std::move(runners), disk->Opener()};
  }
  static std::shared_ptr<TrialScheduler> MakeAsha() {
    return std::make_shared<Asha>(Asha::Options{.steps_max = kSteps, .eta = 2});
  }
  static std::shared_ptr<TrialScheduler> MakePbt() {
    return std::make_shared<Pbt>(Pbt::Options{.population = kTrials, .interval = 2, .fixed = {}});
  }

  // What a machine that crashed now would find when it is up again, but for the sweep's first entry.
  std::vector<json> OnDisk() const {
    const std::string copy = storage_ + "/copy";
    fs::remove_all(copy);
    fs::create_directory(copy);
    fs::copy_file(File("journal-000000"), copy + "/journal-000000");
    Journal::Contents contents;
    Journal::Open(copy, &contents, [](const std::string&) { return std::make_unique<Unread>(); });
    std::vector<json> entries;
    for (size_t i = 1; i < contents.entries.size(); ++i) entries.push_back(json::parse(contents.entries[i]));
    return entries;
  }

  static bool SaysThatItRuns(const json& entry, const TrialAssignment& trial) {
    if (entry.value("trial", TrialId(kTrials)) != trial.trial) return false;
    return (entry.at("op") == "run" && entry.at("attempt") == trial.attempt) ||
           (entry.at("op") == "report" && entry.at("decision") == "exploit");
  }
  // Every order follows from an entry of the disk; what is there.
  std::vector<json> ExpectOnDisk(const TrialOrders& orders, const TrialEvent* report) const {
    std::vector<json> entries = OnDisk();
    for (const TrialAssignment& trial : orders.trials) {
      EXPECT_TRUE(
          std::any_of(entries.begin(), entries.end(), [&](const json& entry) { return SaysThatItRuns(entry, trial); }))
          << "trial " << trial.trial << " is begun, and the disk does not say so";
    }
    if (report == nullptr) return entries;
    const auto answer = std::find_if(entries.rbegin(), entries.rend(), [&](const json& entry) {
      return entry.at("op") == "report" && entry.at("trial") == report->trial && entry.at("step") == report->step;
    });
    if (answer == entries.rend()) {
      ADD_FAILURE() << "trial " << report->trial << " is answered, and the disk does not know why";
      return entries;
    }
    EXPECT_EQ(orders.verdict == TrialOrders::kContinue, answer->at("decision") == "continue") << *answer;
    EXPECT_TRUE(!answer->contains("checkpoint") || fs::exists(File(answer->at("checkpoint").at("file"))) ||
                answer->at("decision") != "continue")
        << *answer;
    return entries;
  }

  std::string storage_;
};

TEST_F(SweepDriverTest, ATrialLearnsOnlyWhatIsOnTheDisk) {
  for (const auto& scheduler : {MakeAsha(), MakePbt()}) {
    SCOPED_TRACE(scheduler->name());
    fs::remove_all(storage_ + "/sweep");
    Disk disk;
    int orders_sent = 0;
    const auto listener = [&](const TrialOrders& orders, const TrialEvent* report) {
      if (orders.trials.empty() && report == nullptr) return;
      ++orders_sent;
      ExpectOnDisk(orders, report);
    };
    const ResultGrid results = NewSweep(scheduler, Runners(listener), &disk).Fit();
    EXPECT_EQ(results.Count(TrialState::kDone) + results.Count(TrialState::kStopped), size_t(kTrials));
    EXPECT_GT(orders_sent, kTrials);
    EXPECT_GT(int(OnDisk().size()), 3 * disk.syncs) << "events of one round share a sync";
  }
}

TEST_F(SweepDriverTest, ADiskThatFailsEndsTheSweepAndKeepsWhatTrialsWereTold) {
  struct Case {
    Fault fault;
    const char* says;
  };
  for (const Case& c : {Case{Fault::kFull, "cannot write: No space left on device"},
                        Case{Fault::kTorn, "cannot write: Input/output error"},
                        Case{Fault::kSync, "cannot sync: Input/output error"}}) {
    for (const int at : {1, 2, 7}) {
      SCOPED_TRACE(std::string(c.says) + ", write " + std::to_string(at));
      fs::remove_all(storage_ + "/sweep");
      Disk disk{.fault = c.fault, .at = at};
      std::vector<json> told;  // what was on the disk when orders went out for the last time
      const auto listener = [&](const TrialOrders& orders, const TrialEvent* report) {
        told = ExpectOnDisk(orders, report);
      };
      try {
        NewSweep(MakeAsha(), Runners(listener), &disk).Fit();
        ADD_FAILURE() << "no error";
      } catch (const FileError& error) {
        EXPECT_EQ(error.file(), File("journal-000000"));
        EXPECT_THAT(error.what(), AllOf(HasSubstr(c.says), HasSubstr("Tuner::Restore goes on from there")));
      }
      const std::vector<json> kept = OnDisk();
      ASSERT_GE(kept.size(), told.size());
      EXPECT_TRUE(std::equal(told.begin(), told.end(), kept.begin()));

      SweepDriver restored(Run(), {.verbosity = 0}, Runners());
      const ResultGrid results = restored.Fit();
      EXPECT_EQ(results.Count(TrialState::kDone) + results.Count(TrialState::kStopped), size_t(kTrials));
      for (const TrialResult& trial : results.trials()) EXPECT_EQ(trial.failures, 0) << trial.id;
      const std::vector<json> all = OnDisk();
      EXPECT_TRUE(std::equal(kept.begin(), kept.end(), all.begin())) << "the past has changed";
    }
  }
}

TEST_F(SweepDriverTest, ACheckpointThatCannotBeWrittenEndsTheSweepBeforeItIsUsed) {
  Disk disk;
  int answers = 0;
  const auto listener = [&](const TrialOrders&, const TrialEvent* report) {
    if (report == nullptr || ++answers != 20) return;
    fs::remove_all(File("checkpoints"));
    std::ofstream(File("checkpoints")) << "a file where a directory belongs";
  };
  try {
    NewSweep(MakeAsha(), Runners(listener), &disk).Fit();
    ADD_FAILURE() << "no error";
  } catch (const FileError& error) {
    EXPECT_THAT(error.file(), HasSubstr(File("checkpoints/trial-")));
    size_t checkpoints = 0;
    for (const json& entry : OnDisk()) {
      if (!entry.contains("checkpoint")) continue;
      ++checkpoints;
      EXPECT_THAT(error.file(), Not(HasSubstr(entry.at("checkpoint").at("file").get<std::string>())));
    }
    EXPECT_GT(checkpoints, 0u);
  }
}

}  // namespace
}  // namespace manta::ml::internal

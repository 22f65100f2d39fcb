// What all schedulers have in common: the life of a trial, and that they are deterministic.
#include "manta/ml/trial_scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "manta/error.h"
#include "manta/ml/asha.h"
#include "manta/ml/fifo.h"
#include "manta/ml/median_stopping.h"
#include "manta/ml/pbt.h"

namespace manta::ml {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using Action = Decision::Action;
using Make = std::function<std::unique_ptr<TrialScheduler>()>;

SearchSpace Example() {
  SearchSpace space;
  space.LogUniform("rate", 1e-4, 1e-1).IntUniform("hidden", 4, 64).Choice("optimizer", {"sgd", "adam"});
  space.Uniform("momentum", 0, 1).When("optimizer", {"sgd"});
  return space;
}

TEST(Fifo, RunsTrialsInTheirOrderToTheirEnd) {
  Fifo fifo;
  fifo.Begin({}, Mode::kMin);
  EXPECT_EQ(fifo.NextToRun(), std::nullopt);
  for (const TrialId trial : {3, 1, 2}) fifo.OnAdd(trial, {});
  EXPECT_EQ(fifo.NextToRun(), 1u);
  fifo.OnRun(1);
  EXPECT_EQ(fifo.NextToRun(), 2u);
  for (int64_t step = 1; step < 100; ++step) {
    EXPECT_EQ(fifo.OnReport({.trial = 1, .step = step, .metric = NAN}), Decision());
  }
  fifo.OnPause(1);
  EXPECT_EQ(fifo.NextToRun(), 1u);
  EXPECT_TRUE(fifo.Rungs().empty());
}

TEST(TrialScheduler, RefusesStepsThatATrialCannotTake) {
  Fifo fifo;
  fifo.Begin({}, Mode::kMin);
  EXPECT_THAT([&] { fifo.OnRun(5); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("trial 5 cannot run: it is not there")));
  fifo.OnAdd(5, {});
  EXPECT_THAT([&] { fifo.OnAdd(5, {}); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("trial 5 cannot be added")));
  EXPECT_THAT([&] { fifo.OnReport({.trial = 5}); },
              ThrowsMessage<InvalidArgumentError>(HasSubstr("trial 5 cannot report: it waits")));
  EXPECT_THROW(fifo.OnPause(5), InvalidArgumentError);
  EXPECT_THROW(fifo.OnComplete(5), InvalidArgumentError);
  fifo.OnRun(5);
  EXPECT_THAT([&] { fifo.OnRun(5); }, ThrowsMessage<InvalidArgumentError>(HasSubstr("trial 5 cannot run: it runs")));
  fifo.OnComplete(5);
  EXPECT_THROW(fifo.OnComplete(5), InvalidArgumentError);
  EXPECT_THROW(fifo.OnFailure(5), InvalidArgumentError);
  fifo.OnAdd(6, {});
  fifo.OnFailure(6);  // it could not even be started
  EXPECT_EQ(fifo.NextToRun(), std::nullopt);
}

class EachScheduler : public ::testing::TestWithParam<std::pair<const char*, Make>> {
 protected:
  std::unique_ptr<TrialScheduler> Fresh() const {
    auto scheduler = GetParam().second();
    scheduler->Begin(Example(), Mode::kMax);
    return scheduler;
  }
};

// A sweep of 30 trials of 20 steps, four at a time, that do one thing each in a seeded order. Some fail and are tried
// again from their checkpoint, some fail for good.
class Sweep {
 public:
  Sweep(TrialScheduler* scheduler, uint64_t seed) : scheduler_(scheduler), random_(seed) {}
  void Use(TrialScheduler* scheduler) { scheduler_ = scheduler; }

  // What happened; empty: the sweep is over.
  std::string Step() {
    if (running_.size() < 4) {
      const std::string begun = Begin();
      if (!begun.empty()) return begun;
    }
    if (running_.empty()) return "";
    const size_t at = random_.Below(running_.size());
    const TrialId trial = running_[at];
    const auto leave = [&] { running_.erase(running_.begin() + std::ptrdiff_t(at)); };
    const uint64_t luck = random_.Below(40);
    if (luck == 0) {
      scheduler_->OnFailure(trial);
      leave();
      return "failed " + std::to_string(trial);
    }
    if (luck == 1) {
      scheduler_->OnPause(trial);
      leave();
      steps_[trial] = checkpoints_[trial];
      return "paused " + std::to_string(trial);
    }
    return Report(trial, leave);
  }

 private:
  std::string Begin() {
    std::optional<TrialId> trial = scheduler_->NextToRun();
    if (!trial && added_ < 30) {
      scheduler_->OnAdd(added_++, Example().Sample(&random_));
      return "added";
    }
    if (!trial && added_ == 30) {
      ++added_;
      scheduler_->OnNoMoreTrials();
      return "no more";
    }
    if (!trial) return "";
    scheduler_->OnRun(*trial);
    running_.push_back(*trial);
    return "run " + std::to_string(*trial);
  }

  template <class Leave>
  std::string Report(TrialId trial, Leave leave) {
    const int64_t step = ++steps_[trial];
    const double metric = random_.Below(30) == 0 ? NAN : double(random_.Below(50)) + double(trial % 7) * 5;
    const Decision decision =
        scheduler_->OnReport({.trial = trial, .step = step, .metric = metric, .has_checkpoint = step % 2 == 0});
    if (step % 2 == 0) checkpoints_[trial] = step;
    if (decision.action == Action::kExploit) {
      EXPECT_EQ(checkpoints_[decision.source], decision.source_step);
      EXPECT_NO_THROW(Example().Check(decision.config));
      steps_[trial] = decision.source_step;
    } else if (decision.action == Action::kStop || decision.action == Action::kDone) {
      leave();
    } else if (decision.action == Action::kPause) {
      EXPECT_EQ(checkpoints_[trial], step);
      leave();
    } else if (step == 20) {
      scheduler_->OnComplete(trial);
      leave();
    }
    return std::to_string(int(decision.action)) + " " + std::to_string(decision.source) + " " +
           decision.config.ToJson() + decision.reason;
  }

  TrialScheduler* scheduler_;
  RandomStream random_;
  TrialId added_ = 0;
  std::vector<TrialId> running_;
  std::map<TrialId, int64_t> steps_;
  std::map<TrialId, int64_t> checkpoints_;
};

TEST_P(EachScheduler, GoesOnFromAnyPointAsIfItHadNotStopped) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto straight = Fresh();
    auto restored = Fresh();
    Sweep one(straight.get(), seed);
    Sweep other(restored.get(), seed);
    std::string happened = "begun";
    int events = 0;
    for (; !happened.empty(); ++events) {
      ASSERT_LT(events, 20'000) << "the sweep does not end";
      if (events < 250 || events % 31 == int(seed)) {
        restored = LoadTrialScheduler(restored->SaveState());
        other.Use(restored.get());
      }
      happened = one.Step();
      ASSERT_EQ(happened, other.Step()) << "event " << events;
      if (events < 250) {
        ASSERT_EQ(straight->SaveState(), restored->SaveState()) << "event " << events;
      }
      ASSERT_EQ(straight->Rungs(), restored->Rungs());
    }
    EXPECT_GT(events, 100);
    EXPECT_EQ(straight->SaveState(), restored->SaveState());
    EXPECT_EQ(straight->NextToRun(), std::nullopt);
  }
}

TEST_P(EachScheduler, RefusesStatesOfOthers) {
  const auto scheduler = Fresh();
  scheduler->OnAdd(0, Example().Sample(std::make_unique<RandomStream>(1).get()));
  const std::string state = scheduler->SaveState();
  for (const std::string& bad :
       {std::string(), std::string("[]"), state.substr(0, state.size() / 2), std::string(R"({"scheduler":"other"})")}) {
    EXPECT_THROW(scheduler->LoadState(bad), SerializationError) << bad;
    EXPECT_THROW(LoadTrialScheduler(bad), SerializationError) << bad;
  }
  EXPECT_EQ(scheduler->SaveState(), state);
}

INSTANTIATE_TEST_SUITE_P(
    All, EachScheduler,
    ::testing::Values(std::pair<const char*, Make>("Fifo", [] { return std::make_unique<Fifo>(); }),
                      std::pair<const char*, Make>("MedianStopping", [] { return std::make_unique<MedianStopping>(); }),
                      std::pair<const char*, Make>(
                          "Asha", [] { return std::make_unique<Asha>(Asha::Options{.steps_max = 18, .eta = 2.5}); }),
                      std::pair<const char*, Make>("AshaOfThreeBrackets",
                                                   [] {
                                                     return std::make_unique<Asha>(Asha::Options{
                                                         .steps_max = 18, .eta = 2.5, .brackets = 3, .seed = 3});
                                                   }),
                      std::pair<const char*, Make>(
                          "Pbt", [] { return std::make_unique<Pbt>(Pbt::Options{.population = 30, .interval = 4}); })),
    [](const auto& info) { return info.param.first; });

}  // namespace
}  // namespace manta::ml

// Actors: order, names, handles that travel, death and restart.
#include <condition_variable>
#include <mutex>
#include <stdexcept>

#include "api/api_test.h"

namespace manta::api_test {
namespace {

class CounterBase {
 public:
  int Value() const noexcept { return value_; }

 protected:
  int value_ = 0;
};
class Counter : public CounterBase {
 public:
  explicit Counter(int start) { value_ = start; }
  int Add(int by) { return value_ += by; }
  int Add(const std::string& digits) { return value_ += std::stoi(digits); }
  void Throw(const std::string& message) { throw std::out_of_range(message); }
  int LeaveWith(int value) {
    ExitActor();
    return value;
  }
};
constexpr int (Counter::*kAddInt)(int) = &Counter::Add;

int BumpBy(ActorHandle<Counter> counter, int by) { return Get(counter.Call<kAddInt>().Remote(by)); }

TEST(Actor, KeepsState) {
  auto counter = Actor<Counter>().Remote(10);
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 11);
  EXPECT_EQ(Get(counter.Call<static_cast<int (Counter::*)(const std::string&)>(&Counter::Add)>().Remote("5")), 16);
  EXPECT_EQ(Get(counter.Call<&CounterBase::Value>().Remote()), 16);  // const, noexcept, of a base
}

class Journal {
 public:
  void Write(int value) { lines_.push_back(value); }
  std::vector<int> Lines() { return lines_; }

 private:
  std::vector<int> lines_;
};

TEST(Actor, RunsCallsInTheOrderOfTheirCaller) {
  auto journal = Actor<Journal>().Remote();
  std::vector<int> expected;
  for (int i = 0; i < 1000; ++i) {
    journal.Call<&Journal::Write>().Remote(i);
    expected.push_back(i);
  }
  EXPECT_EQ(Get(journal.Call<&Journal::Lines>().Remote()), expected);
}

int WriteTo(ActorHandle<Journal> journal, int value) {
  Get(journal.Call<&Journal::Write>().Remote(value));
  return value;
}

TEST(Actor, HoldsUpTheCallerWhoseArgumentIsMissingAndNobodyElse) {
  auto journal = Actor<Journal>().Remote();
  auto gate = Actor<Gate>().Remote();
  ObjectRef<int> late = Task<&PassGate>().Remote(gate, 1);
  journal.Call<&Journal::Write>().Remote(late);
  journal.Call<&Journal::Write>().Remote(2);                      // ours: behind the first
  EXPECT_EQ(Get(Task<&WriteTo>().Remote(journal, 3), kLong), 3);  // another's
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_THAT(Get(journal.Call<&Journal::Lines>().Remote()), ElementsAre(3, 1, 2));
}

TEST(Actor, GoesOnAfterACallWhoseArgumentFailed) {
  auto journal = Actor<Journal>().Remote();
  ObjectRef<int> failed = Task<[](int x) -> int { throw x; }>().Remote(1);
  ObjectRef<void> first = journal.Call<&Journal::Write>().Remote(failed);
  journal.Call<&Journal::Write>().Remote(2);
  ErrorOf<TaskError>(first);
  EXPECT_THAT(Get(journal.Call<&Journal::Lines>().Remote()), ElementsAre(2));
}

TEST(Actor, LivesOnAfterAnException) {
  auto counter = Actor<Counter>().Remote(1);
  const auto error = ErrorOf<TaskError>(counter.Call<&Counter::Throw>().Remote("no such row"));
  EXPECT_EQ(error.type(), "std::out_of_range");
  EXPECT_STREQ(error.what(), "no such row");
  EXPECT_THAT(error.where(), HasSubstr("Counter::Throw"));
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 2);
}

class Labelled {
 public:
  Labelled(std::string label, ObjectRef<int> ref, int value) : text_(label + std::to_string(Get(ref) + value)) {}
  std::string Text() { return text_; }

 private:
  std::string text_;
};

TEST(Actor, IsConstructedFromLiteralsRefsAndValuesOfRefs) {
  auto labelled = Actor<Labelled>().Remote("label", Put(1), Put(41));  // the first as a ref, the second as its value
  EXPECT_EQ(Get(labelled.Call<&Labelled::Text>().Remote()), "label42");
}

class NeverMade {
 public:
  explicit NeverMade(const std::string& why) { throw std::invalid_argument(why); }
  int Method() { return 1; }
};

TEST(Actor, ThatCannotBeConstructedFailsItsCalls) {
  auto actor = Actor<NeverMade>().Remote("bad configuration");
  for (int i = 0; i < 2; ++i) {
    const auto error = ErrorOf<ActorDiedError>(actor.Call<&NeverMade::Method>().Remote());
    EXPECT_THAT(error.what(), HasSubstr("std::invalid_argument"));
    EXPECT_THAT(error.what(), HasSubstr("bad configuration"));
    EXPECT_FALSE(error.may_have_run());
  }
}

// ---------------------------------------------------------------- handles that travel

class Parent {
 public:
  Parent() : child_(Actor<Counter>().Remote(100)) {}
  ActorHandle<Counter> Child() { return child_; }
  int AddToChild(int by) { return Get(child_.Call<kAddInt>().Remote(by)); }

 private:
  ActorHandle<Counter> child_;
};
struct Team {
  std::vector<ActorHandle<Counter>> counters;
  std::optional<ObjectRef<int>> bonus;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(counters, bonus);
  }
};
int AddToAll(const Team& team) {
  int sum = 0;
  for (const auto& counter : team.counters) sum += Get(counter.Call<kAddInt>().Remote(*team.bonus));
  return sum;
}
Team Recruit(int size) {
  Team team;
  for (int i = 0; i < size; ++i) team.counters.push_back(Actor<Counter>().Remote(i));
  team.bonus = Put(10);
  return team;
}

TEST(ActorHandle, MayBeGivenToTasksAndReturned) {
  auto counter = Actor<Counter>().Remote(0);
  EXPECT_EQ(Get(Task<&BumpBy>().Remote(counter, 5)), 5);
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 6);

  auto parent = Actor<Parent>().Remote();
  ActorHandle<Counter> child = Get(parent.Call<&Parent::Child>().Remote());
  EXPECT_EQ(Get(child.Call<kAddInt>().Remote(1)), 101);
  EXPECT_EQ(Get(parent.Call<&Parent::AddToChild>().Remote(1)), 102);
  EXPECT_EQ(child, Get(parent.Call<&Parent::Child>().Remote()));
  EXPECT_NE(child, counter);
  EXPECT_THAT(child.ToString(), HasSubstr(".a"));
}

TEST(ActorHandle, MayBeNestedInValues) {
  Team team = Get(Task<&Recruit>().Remote(3), kLong);
  EXPECT_EQ(Get(Task<&AddToAll>().Remote(team)), 0 + 1 + 2 + 30);
  EXPECT_EQ(Get(Task<&AddToAll>().Remote(Put(team))), 0 + 1 + 2 + 60);
}

TEST(ActorHandle, LastOneEndsTheActor) {
  for (int i = 0; i < 3; ++i) {  // the second can only be placed when the first is gone
    auto holder = Actor<Counter>().Resources({{"token", 1}}).NumCpus(0).Remote(i);
    EXPECT_EQ(Get(holder.Call<kAddInt>().Remote(1), kLong), i + 1);
  }
}

TEST(ActorHandle, GoneBeforeItsCallsStillLetsThemRun) {
  ObjectRef<int> sum;
  {
    auto counter = Actor<Counter>().Remote(1);
    counter.Call<kAddInt>().Remote(1);
    sum = counter.Call<kAddInt>().Remote(1);
  }
  EXPECT_EQ(Get(sum, kLong), 3);
}

TEST(ActorHandle, EmptyOneIsRefused) {
  ActorHandle<Counter> empty;
  EXPECT_FALSE(empty);
  EXPECT_THROW(empty.Call<kAddInt>().Remote(1), InvalidArgumentError);
  EXPECT_THROW(Kill(empty), InvalidArgumentError);
}

// ---------------------------------------------------------------- names

TEST(NamedActor, IsFoundUntilItDies) {
  EXPECT_FALSE(GetActor<Counter>("found"));
  auto counter = Actor<Counter>().Name("found").Remote(1);
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 2);
  auto same = GetActor<Counter>("found");
  ASSERT_TRUE(same);
  EXPECT_EQ(*same, counter);
  EXPECT_EQ(Get(same->Call<kAddInt>().Remote(1)), 3);
  EXPECT_FALSE(GetActor<Counter>("found", "another namespace"));
  Kill(counter);
  ErrorOf<ActorDiedError>(same->Call<kAddInt>().Remote(1));
  EXPECT_FALSE(GetActor<Counter>("found"));
}

TEST(NamedActor, LivesWithoutHandles) {
  {
    auto counter = Actor<Counter>().Name("stays").Remote(1);
    Get(counter.Call<kAddInt>().Remote(1));
  }
  auto counter = GetActor<Counter>("stays");
  ASSERT_TRUE(counter);
  EXPECT_EQ(Get(counter->Call<kAddInt>().Remote(1)), 3);
  Kill(*counter);
}

TEST(NamedActor, NameIsTakenOnceInANamespace) {
  auto first = Actor<Counter>().Name("taken").Remote(1);
  Get(first.Call<kAddInt>().Remote(0));
  auto second = Actor<Counter>().Name("taken").Remote(2);
  EXPECT_THAT(ErrorOf<NameTakenError>(second.Call<kAddInt>().Remote(0)).what(), HasSubstr("taken"));
  auto elsewhere = Actor<Counter>().Name("taken").Namespace("elsewhere").Remote(3);
  EXPECT_EQ(Get(elsewhere.Call<kAddInt>().Remote(0)), 3);
  EXPECT_EQ(Get(GetActor<Counter>("taken", "elsewhere")->Call<kAddInt>().Remote(0)), 3);
  auto same = Actor<Counter>().Name("taken").GetIfExists().Remote(4);
  EXPECT_EQ(Get(same.Call<kAddInt>().Remote(0)), 1);
  Kill(first);
  Kill(elsewhere);
}

TEST(NamedActor, IsNotCalledAsAnotherClass) {
  auto counter = Actor<Counter>().Name("a counter").Remote(1);
  Get(counter.Call<kAddInt>().Remote(1));
  auto journal = GetActor<Journal>("a counter");
  ASSERT_TRUE(journal);
  const auto error = ErrorOf<FunctionNotFoundError>(journal->Call<&Journal::Lines>().Remote());
  EXPECT_THAT(error.what(), HasSubstr("Counter"));
  EXPECT_THAT(error.what(), HasSubstr("Journal"));
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 3);
  Kill(counter);
}

// ---------------------------------------------------------------- death

class Sleeper {
 public:
  int WaitForGate(ActorHandle<Gate> started, ActorHandle<Gate> gate) {
    Get(started.Call<&Gate::Open>().Remote());
    WaitAtGate(gate);
    return static_cast<int>(CurrentContext().incarnation());
  }
  int Incarnation() { return static_cast<int>(CurrentContext().incarnation()); }
  bool WasRestarted() { return CurrentContext().WasRestarted(); }
};

TEST(Kill, FailsTheRunningCallAndThoseBehindIt) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().Remote();
  ObjectRef<int> running = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  ObjectRef<int> behind = sleeper.Call<&Sleeper::Incarnation>().Remote();
  WaitAtGate(started);
  Kill(sleeper);
  EXPECT_TRUE(ErrorOf<ActorDiedError>(running).may_have_run());
  ErrorOf<ActorDiedError>(behind);
  EXPECT_FALSE(ErrorOf<ActorDiedError>(sleeper.Call<&Sleeper::Incarnation>().Remote()).may_have_run());
  Get(gate.Call<&Gate::Open>().Remote());
}

TEST(Kill, RestartsAnActorThatMayBe) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().MaxRestarts(1).Remote();
  EXPECT_EQ(Get(sleeper.Call<&Sleeper::Incarnation>().Remote()), 1);
  EXPECT_FALSE(Get(sleeper.Call<&Sleeper::WasRestarted>().Remote()));
  ObjectRef<int> running = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  WaitAtGate(started);
  Kill(sleeper, /*no_restart=*/false);
  EXPECT_TRUE(ErrorOf<ActorDiedError>(running).may_have_run());
  EXPECT_EQ(Get(sleeper.Call<&Sleeper::Incarnation>().Remote(), kLong), 2);
  EXPECT_TRUE(Get(sleeper.Call<&Sleeper::WasRestarted>().Remote()));
  Get(gate.Call<&Gate::Open>().Remote());
  Kill(sleeper, /*no_restart=*/false);  // once more than MaxRestarts
  ErrorOf<ActorDiedError>(sleeper.Call<&Sleeper::Incarnation>().Remote());
}

TEST(Kill, RunsCallsAgainThatMayBe) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().MaxRestarts(-1).MaxTaskRetries(1).Remote();
  ObjectRef<int> running = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  ObjectRef<int> behind = sleeper.Call<&Sleeper::Incarnation>().Remote();
  WaitAtGate(started);
  Kill(sleeper, /*no_restart=*/false);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(running, kLong), 2);
  EXPECT_EQ(Get(behind, kLong), 2);
}

TEST(ExitActor, DeliversTheResultAndEndsTheActor) {
  auto counter = Actor<Counter>().MaxRestarts(5).Remote(1);
  EXPECT_EQ(Get(counter.Call<&Counter::LeaveWith>().Remote(7)), 7);
  EXPECT_THAT(ErrorOf<ActorDiedError>(counter.Call<kAddInt>().Remote(1)).what(), HasSubstr("ExitActor"));
}

class Obituaries {
 public:
  void Add(const std::string& text) {
    std::lock_guard lock(mutex_);
    texts_.push_back(text);
    changed_.notify_all();
  }
  std::vector<std::string> WaitFor(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kLong, [&] { return texts_.size() >= count; });
    return texts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> texts_;
};

TEST(OnDeath, RunsOnceWhenTheActorIsDeadForGood) {
  Obituaries obituaries;  // the callback runs in this process
  auto sleeper = Actor<Sleeper>().MaxRestarts(1).MaxTaskRetries(1).Remote();
  EXPECT_EQ(Get(sleeper.Call<&Sleeper::Incarnation>().Remote()), 1);
  sleeper.OnDeath([&](const ActorDiedError& error) { obituaries.Add(error.what()); });
  Kill(sleeper, /*no_restart=*/false);
  EXPECT_EQ(Get(sleeper.Call<&Sleeper::Incarnation>().Remote(), kLong), 2);
  Kill(sleeper);
  EXPECT_THAT(obituaries.WaitFor(1), SizeIs(1));
  sleeper.OnDeath([&](const ActorDiedError& error) { obituaries.Add(error.what()); });  // dead already: soon
  EXPECT_THAT(obituaries.WaitFor(2), SizeIs(2));
}

// ---------------------------------------------------------------- options

class Meeting {
 public:
  bool Join() {  // waits for the other
    std::unique_lock lock(mutex_);
    ++present_;
    changed_.notify_all();
    return changed_.wait_for(lock, kLong, [&] { return present_ >= 2; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int present_ = 0;
};

TEST(Actor, RunsAsManyCallsAtATimeAsMaxConcurrencySays) {
  auto meeting = Actor<Meeting>().MaxConcurrency(2).Remote();
  ObjectRef<bool> first = meeting.Call<&Meeting::Join>().Remote();
  ObjectRef<bool> second = meeting.Call<&Meeting::Join>().Remote();
  EXPECT_TRUE(Get(first));
  EXPECT_TRUE(Get(second));
}

TEST(Actor, RefusesMoreThanMaxPendingCalls) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().MaxPendingCalls(2).Remote();
  ObjectRef<int> first = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  ObjectRef<int> second = sleeper.Call<&Sleeper::Incarnation>().Remote();
  EXPECT_THROW(sleeper.Call<&Sleeper::Incarnation>().Remote(), BackPressureError);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(second, kLong), 1);
  EXPECT_EQ(Get(sleeper.Call<&Sleeper::Incarnation>().Remote()), 1);
}

TEST(Actor, CallEndsAtItsTimeout) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().Remote();
  ObjectRef<int> first = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  ObjectRef<int> second = sleeper.Call<&Sleeper::Incarnation>().Timeout(20ms).Remote();
  ErrorOf<TimeoutError>(second);
  WaitAtGate(started);
  Cancel(first);  // has begun: nothing
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(first, kLong), 1);
}

TEST(Actor, CallIsCancelledBeforeItBegins) {
  auto started = Actor<Gate>().Remote();
  auto gate = Actor<Gate>().Remote();
  auto sleeper = Actor<Sleeper>().Remote();
  ObjectRef<int> first = sleeper.Call<&Sleeper::WaitForGate>().Remote(started, gate);
  ObjectRef<int> second = sleeper.Call<&Sleeper::Incarnation>().Remote();
  WaitAtGate(started);
  Cancel(second);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(first, kLong), 1);
  ErrorOf<CancelledError>(second);
}

TEST(Actor, RefusesOptionsThatMakeNoSense) {
  Actor<Sleeper> actor;
  EXPECT_THROW(actor.Name(""), InvalidArgumentError);
  EXPECT_THROW(actor.NumCpus(-0.1), InvalidArgumentError);
  EXPECT_THROW(actor.Resources({{"x", std::numeric_limits<double>::infinity()}}), InvalidArgumentError);
  EXPECT_THROW(actor.MaxRestarts(-2), InvalidArgumentError);
  EXPECT_THROW(actor.MaxConcurrency(0), InvalidArgumentError);
  EXPECT_THROW(actor.MaxPendingCalls(0), InvalidArgumentError);
}

std::string WhoAmI() { return CurrentContext().actor(); }
class Introspective {
 public:
  Introspective() : in_constructor_(CurrentContext().actor()) {}
  std::vector<std::string> Who() {
    return {in_constructor_, CurrentContext().actor(), CurrentContext().function(), Get(Task<&WhoAmI>().Remote())};
  }

 private:
  std::string in_constructor_;
};

TEST(Context, TellsWhichActorRuns) {
  auto actor = Actor<Introspective>().Remote();
  const std::vector<std::string> who = Get(actor.Call<&Introspective::Who>().Remote());
  EXPECT_EQ(who[0], actor.ToString());
  EXPECT_EQ(who[1], actor.ToString());
  EXPECT_THAT(who[2], HasSubstr("Introspective::Who"));
  EXPECT_EQ(who[3], "");  // a task of its own
}

// ---------------------------------------------------------------- where it lives, and how long

TEST(Actor, LivesWhereItIsTold) {
  const std::string here = CurrentContext().node();
  auto counter = Actor<Counter>().SchedulingStrategy(NodeAffinity(here)).Remote(1);
  EXPECT_EQ(Get(counter.Call<kAddInt>().Remote(1)), 2);
  auto never = Actor<Counter>().SchedulingStrategy(NodeAffinity("n99")).Remote(1);
  EXPECT_THAT(ErrorOf<ActorDiedError>(never.Call<kAddInt>().Remote(1)).what(), HasSubstr("n99"));
  auto named = Actor<Counter>().Name("nowhere").SchedulingStrategy(NodeAffinity("n99")).Remote(1);
  EXPECT_THAT(ErrorOf<ActorDiedError>(named.Call<kAddInt>().Remote(1)).what(), HasSubstr("n99"));
  auto soft = Actor<Counter>().SchedulingStrategy(NodeAffinity("n99").Soft()).Remote(1);
  EXPECT_EQ(Get(soft.Call<kAddInt>().Remote(1)), 2);
}

TEST(Actor, ThatIsDetachedNeedsANameAndAClusterThatOutlivesItsJob) {
  EXPECT_THROW(Actor<Counter>().Lifetime(Lifetime::kDetached).Remote(1), InvalidArgumentError);
  auto refused = Actor<Counter>().Name("for ever").Lifetime(Lifetime::kDetached).Remote(1);
  EXPECT_THAT(ErrorOf<InvalidArgumentError>(refused.Call<kAddInt>().Remote(1)).what(), HasSubstr("manta start --head"));
  EXPECT_FALSE(GetActor<Counter>("for ever"));
  auto job = Actor<Counter>().Name("for now").Lifetime(Lifetime::kJob).Remote(1);
  EXPECT_EQ(Get(job.Call<kAddInt>().Remote(1)), 2);
  Kill(job);
}

}  // namespace
}  // namespace manta::api_test

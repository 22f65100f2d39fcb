// Actors of an embedded cluster, as a user meets them.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// ------------------------------------------------------------------ the actors

class Counter {
 public:
  explicit Counter(int start) : value_(start) {}
  int Add(int by) { return value_ += by; }
  int Value() { return value_; }
  int Pid() { return getpid(); }
  void WaitFor(std::string path) { AwaitFile(path); }
  int AddAndLeave(int by) {
    ExitActor();
    return value_ += by;
  }
  int Throw(std::string what) { throw std::runtime_error(what); }
  std::vector<std::string> WhereAmI() {
    const Context context = CurrentContext();
    return {context.actor(), context.function(), context.task(), context.process(),
            std::to_string(context.incarnation())};
  }

 private:
  int value_ = 0;
};

class Diary {
 public:
  void Note(int who, int what) { entries_.emplace_back(who, what); }
  std::vector<std::pair<int, int>> Entries() { return entries_; }

 private:
  std::vector<std::pair<int, int>> entries_;
};
int NoteMany(ActorHandle<Diary> diary, int who, int count) {
  std::vector<ObjectRef<void>> noted;
  for (int i = 0; i < count; ++i) noted.push_back(diary.Call<&Diary::Note>().Remote(who, i));
  Get(noted);
  return count;
}
int LateNumber(std::string path) {
  AwaitFile(path);
  return 1000;
}

class Household {  // makes actors of its own
 public:
  ActorHandle<Counter> Have(int start) {
    children_.push_back(Actor<Counter>().Remote(start));
    return children_.back();
  }
  int SumOfChildren() {
    int sum = 0;
    for (const ActorHandle<Counter>& child : children_) sum += Get(child.Call<&Counter::Value>().Remote());
    return sum;
  }

 private:
  std::vector<ActorHandle<Counter>> children_;
};
int AddThrough(ActorHandle<Counter> counter, int by) { return Get(counter.Call<&Counter::Add>().Remote(by)); }
std::vector<ActorHandle<Counter>> TwoCounters() { return {Actor<Counter>().Remote(1), Actor<Counter>().Remote(2)}; }
int AddByName(std::string name, int by) {
  const std::optional<ActorHandle<Counter>> counter = GetActor<Counter>(name);
  return counter ? Get(counter->Call<&Counter::Add>().Remote(by)) : -1;
}

class Meeting {
 public:
  int Arrive(int parties) {
    std::unique_lock<std::mutex> lock(mutex_);
    most_ = std::max(most_, ++there_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return there_ >= parties || over_; });
    return there_;
  }
  void Over() {
    std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int there_ = 0;
  int most_ = 0;
  bool over_ = false;
};

class Unmakeable {
 public:
  explicit Unmakeable(int number) {
    if (number != 0) throw std::invalid_argument("it takes 0, not " + std::to_string(number));
  }
  int Ping() { return 1; }
};

// Writes a byte to `path` for each of its constructions, and throws from the one after `times`.
class Unrepeatable {
 public:
  Unrepeatable(std::string path, size_t times) {
    std::ofstream(path, std::ios::app) << 'x';
    if (std::filesystem::file_size(path) > times) throw std::logic_error("made too often");
  }
  int Ping() { return 1; }
};

class Ball {
 public:
  int Bounce(std::vector<ActorHandle<Ball>> other, int times) {
    if (times == 0) return 0;
    return 1 + Get(other[0].Call<&Ball::Drop>().Remote());
  }
  int Drop() { return 1; }
};

int HaveByName(std::string name, std::string directory, int parties) {
  AppendLine(directory + "/there", std::to_string(getpid()));
  while (Lines(directory + "/there").size() < static_cast<size_t>(parties))
    std::this_thread::sleep_for(milliseconds(1));
  const auto counter = Actor<Counter>().Name(name).GetIfExists().Remote(0);
  return Get(counter.Call<&Counter::Add>().Remote(1));
}

class Patient {  // waits for a task that needs a CPU, in its constructor and in a call
 public:
  Patient() : number_(Get(Task<&One>().Remote())) {}
  int Twice() { return number_ + Get(Task<&One>().Remote()); }
  static int One() { return 1; }

 private:
  int number_;
};

class Mortal {
 public:
  int DieOnce(std::string path) {
    AppendLine(path, "ran");
    if (!CurrentContext().WasRestarted()) raise(SIGKILL);
    return static_cast<int>(CurrentContext().incarnation());
  }
};
int LetDie(ActorHandle<Mortal> mortal, std::string path) { return Get(mortal.Call<&Mortal::DieOnce>().Remote(path)); }

std::vector<std::string> WhereTasksRun() {
  const Context context = CurrentContext();
  return {context.actor(), context.function(), context.task(), context.process(), context.node()};
}

// ------------------------------------------------------------------ the tests

class Actors : public EmbeddedTest {};

TEST_F(Actors, KeepTheirState) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(10);
  EXPECT_EQ(Get(counter.Call<&Counter::Add>().Remote(1)), 11);
  EXPECT_EQ(Get(counter.Call<&Counter::Add>().Remote(Put(2))), 13);
  EXPECT_NE(Get(counter.Call<&Counter::Pid>().Remote()), getpid());
  const auto error = ErrorOf<TaskError>([&] { Get(counter.Call<&Counter::Throw>().Remote("a word")); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "a word");
  EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote()), 13) << "an exception ends a call, not the actor";
}

TEST_F(Actors, RunCallsOfOneCallerInOrder) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  std::vector<ObjectRef<int>> values;
  for (int i = 0; i < 20'000; ++i) values.push_back(counter.Call<&Counter::Add>().Remote(1));
  const std::vector<int> got = Get(values);
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(got[i], i + 1);
}

TEST_F(Actors, KeepTheOrderOfEachCaller) {
  StartCluster({"--manta-num-cpus=3"});
  const auto diary = Actor<Diary>().Remote();
  std::vector<ObjectRef<int>> writers;
  for (int who = 0; who < 3; ++who) writers.push_back(Task<&NoteMany>().Remote(diary, who, 500));
  EXPECT_EQ(NoteMany(diary, 3, 500), 500);
  EXPECT_EQ(Get(writers), (std::vector<int>{500, 500, 500}));
  std::vector<int> next(4, 0);
  for (const auto& [who, what] : Get(diary.Call<&Diary::Entries>().Remote())) ASSERT_EQ(what, next[who]++) << who;
  EXPECT_EQ(next, (std::vector<int>{500, 500, 500, 500}));
}

TEST_F(Actors, LetACallWithoutItsArgumentHoldUpOnlyItsCaller) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  const auto late = counter.Call<&Counter::Add>().Remote(Task<&LateNumber>().Remote(File("go")));
  const auto after = counter.Call<&Counter::Add>().Remote(1);
  EXPECT_EQ(Get(Task<&AddThrough>().Remote(counter, 10)), 10);  // another caller's passes
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(after, milliseconds(50)); }));
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(late), 1010);
  EXPECT_EQ(Get(after), 1011);
}

TEST_F(Actors, MakeActorsAndHandThemAround) {
  StartCluster();
  const auto family = Actor<Household>().Remote();
  const ActorHandle<Counter> child = Get(family.Call<&Household::Have>().Remote(5));
  Get(family.Call<&Household::Have>().Remote(6));
  EXPECT_EQ(Get(child.Call<&Counter::Add>().Remote(10)), 15);
  EXPECT_EQ(Get(Task<&AddThrough>().Remote(child, 100)), 115);
  EXPECT_EQ(Get(family.Call<&Household::SumOfChildren>().Remote()), 121);
  const std::vector<ActorHandle<Counter>> two = Get(Task<&TwoCounters>().Remote());
  EXPECT_EQ(Get(two[0].Call<&Counter::Value>().Remote()) + Get(two[1].Call<&Counter::Value>().Remote()), 3);
}

TEST_F(Actors, CallEachOther) {
  StartCluster();
  const auto a = Actor<Ball>().Remote();
  const auto b = Actor<Ball>().Remote();
  EXPECT_EQ(Get(a.Call<&Ball::Bounce>().Remote(std::vector<ActorHandle<Ball>>{b}, 1)), 2);
  EXPECT_EQ(Get(b.Call<&Ball::Bounce>().Remote(std::vector<ActorHandle<Ball>>{a}, 1)), 2);
}

TEST_F(Actors, AreFoundByTheirName) {
  StartCluster();
  EXPECT_FALSE(GetActor<Counter>("hits"));
  const auto counter = Actor<Counter>().Name("hits").Remote(10);
  EXPECT_EQ(Get(counter.Call<&Counter::Add>().Remote(1)), 11);
  const auto found = GetActor<Counter>("hits");
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, counter);
  EXPECT_EQ(Get(found->Call<&Counter::Add>().Remote(1)), 12);
  EXPECT_EQ(Get(Task<&AddByName>().Remote("hits", 1)), 13);
  EXPECT_EQ(Get(Task<&AddByName>().Remote("misses", 1)), -1);
  EXPECT_FALSE(GetActor<Counter>("hits", "elsewhere"));
}

TEST_F(Actors, HaveANameOnlyOnce) {
  StartCluster();
  const auto first = Actor<Counter>().Name("one").Remote(1);
  const auto second = Actor<Counter>().Name("one").Remote(2);
  EXPECT_TRUE(ErrorOf<NameTakenError>([&] { Get(second.Call<&Counter::Value>().Remote()); }));
  const auto same = Actor<Counter>().Name("one").GetIfExists().Remote(3);
  EXPECT_EQ(Get(same.Call<&Counter::Value>().Remote()), 1);
  const auto other = Actor<Counter>().Name("one").Namespace("other").Remote(4);
  EXPECT_EQ(Get(other.Call<&Counter::Value>().Remote()), 4);
  const auto made = Actor<Counter>().Name("two").GetIfExists().Remote(5);
  EXPECT_EQ(Get(made.Call<&Counter::Value>().Remote()), 5);
}

TEST_F(Actors, AreMadeOnceBySeveralWhoWantThemAtOnce) {
  StartCluster({"--manta-num-cpus=4"});
  std::vector<ObjectRef<int>> counts;
  for (int i = 0; i < 4; ++i) counts.push_back(Task<&HaveByName>().Remote("one for all", File(""), 4));
  const std::vector<int> got = Get(counts);
  EXPECT_EQ(std::set<int>(got.begin(), got.end()), (std::set<int>{1, 2, 3, 4})) << "each of its calls counted";
  EXPECT_EQ(Get(GetActor<Counter>("one for all")->Call<&Counter::Value>().Remote()), 4);
}

TEST_F(Actors, GiveTheirNameBackWhenTheyDie) {
  StartCluster();
  const auto first = Actor<Counter>().Name("phoenix").Remote(1);
  Get(first.Call<&Counter::Value>().Remote());
  Kill(first);
  ASSERT_TRUE(Within(seconds(5), [] { return !GetActor<Counter>("phoenix"); }));
  EXPECT_TRUE(Within(seconds(5), [&] { return !TryGet(first.Call<&Counter::Value>().Remote()).ok(); }));
  const auto second = Actor<Counter>().Name("phoenix").Remote(2);
  EXPECT_EQ(Get(second.Call<&Counter::Value>().Remote()), 2);
}

TEST_F(Actors, LiveByNameWithoutAHandle) {
  StartCluster();
  { const auto counter = Actor<Counter>().Name("quiet").Remote(7); }
  std::this_thread::sleep_for(milliseconds(100));
  const auto found = GetActor<Counter>("quiet");
  ASSERT_TRUE(found);
  EXPECT_EQ(Get(found->Call<&Counter::Value>().Remote()), 7);
}

TEST_F(Actors, EndWithTheirLastHandleAfterTheirCalls) {
  StartCluster();
  auto counter = Actor<Counter>().Remote(0);
  const int pid = Get(counter.Call<&Counter::Pid>().Remote());
  counter.Call<&Counter::WaitFor>().Remote(File("go"));
  const ObjectRef<int> last = counter.Call<&Counter::Add>().Remote(5);
  counter = {};
  std::this_thread::sleep_for(milliseconds(50));
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(last), 5);
  EXPECT_TRUE(Within(seconds(10), [pid] { return !IsAlive(pid); })) << Family::Describe();
}

TEST_F(Actors, LiveAsLongAsAnybodyHasAHandle) {
  StartCluster();
  const auto family = Actor<Household>().Remote();
  auto child = Get(family.Call<&Household::Have>().Remote(5));
  const int pid = Get(child.Call<&Counter::Pid>().Remote());
  child = {};
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_TRUE(IsAlive(pid));
  EXPECT_EQ(Get(family.Call<&Household::SumOfChildren>().Remote()), 5);
}

TEST_F(Actors, RunCallsAtTheSameTimeIfAllowed) {
  StartCluster({"--manta-num-cpus=1"});
  const auto meeting = Actor<Meeting>().MaxConcurrency(4).Remote();
  std::vector<ObjectRef<int>> arrived;
  for (int i = 0; i < 4; ++i) arrived.push_back(meeting.Call<&Meeting::Arrive>().Remote(4));
  for (const int there : Get(arrived)) EXPECT_EQ(there, 4);
}

TEST_F(Actors, RunNoMoreCallsAtATimeThanAllowed) {
  StartCluster();
  const auto meeting = Actor<Meeting>().MaxConcurrency(2).Remote();
  std::vector<ObjectRef<int>> arrived;
  for (int i = 0; i < 3; ++i) arrived.push_back(meeting.Call<&Meeting::Arrive>().Remote(3));
  EXPECT_THAT(Wait(arrived, 1, milliseconds(200)).ready, SizeIs(0));
  Kill(meeting);
}

TEST_F(Actors, PushBackWhenTooMuchIsUnfinished) {
  StartCluster();
  const auto counter = Actor<Counter>().MaxPendingCalls(3).Remote(0);
  std::vector<ObjectRef<void>> pending;
  for (int i = 0; i < 3; ++i) pending.push_back(counter.Call<&Counter::WaitFor>().Remote(File("go")));
  const auto error = ErrorOf<BackPressureError>([&] { counter.Call<&Counter::Value>().Remote(); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr(counter.ToString()));
  WriteFile(File("go"), "");
  Get(pending);
  EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote()), 0);
}

TEST_F(Actors, TakeManyCallsAtATime) {
  // Three times the default credit: Remote waits, and nothing is lost.
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  ObjectRef<int> last;
  for (int i = 0; i < 50'000; ++i) last = counter.Call<&Counter::Add>().Remote(1);
  EXPECT_EQ(Get(last), 50'000);
}

TEST_F(Actors, AreKilled) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  const int pid = Get(counter.Call<&Counter::Pid>().Remote());
  std::atomic<int> deaths = 0;
  counter.OnDeath([&deaths](const ActorDiedError&) { ++deaths; });
  const ObjectRef<void> running = counter.Call<&Counter::WaitFor>().Remote(File("never"));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(running, milliseconds(100)); }));
  Kill(counter);
  const auto error = ErrorOf<ActorDiedError>([&] { Get(running, seconds(5)); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->may_have_run());
  const auto later = ErrorOf<ActorDiedError>([&] { Get(counter.Call<&Counter::Value>().Remote(), seconds(5)); });
  ASSERT_TRUE(later);
  EXPECT_FALSE(later->may_have_run());
  EXPECT_TRUE(Within(seconds(2), [&] { return deaths == 1 && !IsAlive(pid); })) << deaths;
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(deaths, 1);
  std::atomic<int> late = 0;
  counter.OnDeath([&late](const ActorDiedError&) { ++late; });
  EXPECT_TRUE(Within(seconds(2), [&] { return late == 1; })) << "of one that is dead already";
}

TEST_F(Actors, LeaveByThemselves) {
  StartCluster();
  const auto counter = Actor<Counter>().MaxRestarts(5).Remote(1);
  const int pid = Get(counter.Call<&Counter::Pid>().Remote());
  const ObjectRef<int> last = counter.Call<&Counter::AddAndLeave>().Remote(1);
  const ObjectRef<int> behind = counter.Call<&Counter::Value>().Remote();
  EXPECT_EQ(Get(last), 2);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(behind); }));
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(counter.Call<&Counter::Value>().Remote()); })) << "it was restarted";
  EXPECT_TRUE(Within(seconds(5), [pid] { return !IsAlive(pid); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([] { ExitActor(); }));
}

TEST_F(Actors, KnowWhereTheyAre) {
  StartCluster();
  const Context driver = CurrentContext();
  EXPECT_TRUE(driver.is_driver());
  EXPECT_FALSE(driver.is_local());
  EXPECT_EQ(driver.actor(), "");
  EXPECT_EQ(driver.task(), "");
  EXPECT_EQ(driver.node(), "n1");
  const auto counter = Actor<Counter>().Remote(0);
  const auto call = counter.Call<&Counter::WhereAmI>().Remote();
  const std::vector<std::string> there = Get(call);
  EXPECT_EQ(there[0], counter.ToString());
  EXPECT_THAT(there[1], HasSubstr("WhereAmI"));
  EXPECT_NE(there[2], "");
  EXPECT_NE(there[3], driver.process());
  EXPECT_EQ(there[4], "1");
  EXPECT_THAT(Get(counter.Call<&Counter::WhereAmI>().Name("called so").Remote())[1], HasSubstr("called so"));
  const std::vector<std::string> task = Get(Task<&WhereTasksRun>().Remote());
  EXPECT_EQ(task[0], "");
  EXPECT_THAT(task[1], HasSubstr("WhereTasksRun"));
  EXPECT_EQ(task[4], "n1");
}

TEST_F(Actors, WhoseConstructorThrowsSayWhy) {
  StartCluster();
  const auto actor = Actor<Unmakeable>().MaxRestarts(3).Remote(7);
  std::atomic<int> deaths = 0;
  actor.OnDeath([&deaths](const ActorDiedError&) { ++deaths; });
  const auto error = ErrorOf<ActorDiedError>([&] { Get(actor.Call<&Unmakeable::Ping>().Remote()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("it takes 0, not 7"));
  EXPECT_THAT(error->what(), HasSubstr("std::invalid_argument"));
  EXPECT_EQ(error->type(), "std::invalid_argument");
  EXPECT_FALSE(error->may_have_run());
  EXPECT_TRUE(Within(seconds(2), [&] { return deaths == 1; }));
  EXPECT_EQ(Get(Actor<Unmakeable>().Remote(0).Call<&Unmakeable::Ping>().Remote()), 1);
}

TEST_F(Actors, WhoseConstructorThrowsAreNotMadeAgain) {
  StartCluster();
  const auto never = Actor<Unrepeatable>().MaxRestarts(5).Remote(File("never"), 0);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(never.Call<&Unrepeatable::Ping>().Remote()); }));
  const auto once = Actor<Unrepeatable>().MaxRestarts(5).Remote(File("once"), 1);
  EXPECT_EQ(Get(once.Call<&Unrepeatable::Ping>().Remote()), 1);
  Kill(once, /*no_restart=*/false);
  const auto error = ErrorOf<ActorDiedError>([&] { Get(once.Call<&Unrepeatable::Ping>().Remote()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("std::logic_error"), HasSubstr("made too often")));
  EXPECT_EQ(ReadFile(File("never")), "x");
  EXPECT_EQ(ReadFile(File("once")), "xx");
}

TEST_F(Actors, AreNotCalledAsAnotherClass) {
  StartCluster();
  const auto counter = Actor<Counter>().Name("counter").Remote(3);
  const auto wrong = GetActor<Diary>("counter");
  ASSERT_TRUE(wrong);
  EXPECT_TRUE(ErrorOf<FunctionNotFoundError>([&] { Get(wrong->Call<&Diary::Note>().Remote(1, 2)); }));
  EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote()), 3);
}

TEST_F(Actors, NeedNoCpuToLive) {
  StartCluster({"--manta-num-cpus=1"});
  std::vector<ActorHandle<Counter>> counters;
  for (int i = 0; i < 10; ++i) counters.push_back(Actor<Counter>().Remote(i));
  std::set<int> pids;
  for (const auto& counter : counters) pids.insert(Get(counter.Call<&Counter::Pid>().Remote()));
  EXPECT_THAT(pids, SizeIs(10)) << "each has a process of its own";
  EXPECT_EQ(Get(Task<&AddThrough>().Remote(counters[3], 1)), 4);
}

TEST_F(Actors, HoldWhatTheyAskFor) {
  StartCluster({"--manta-num-cpus=1"});
  const auto holder = Actor<Counter>().NumCpus(1).Remote(0);
  Get(holder.Call<&Counter::Value>().Remote());
  const ObjectRef<std::vector<std::string>> task = Task<&WhereTasksRun>().Remote();
  const auto second = Actor<Counter>().NumCpus(1).Remote(1);
  const ObjectRef<int> value = second.Call<&Counter::Value>().Remote();
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(task, milliseconds(200)); }));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(value, milliseconds(10)); }));
  Kill(holder);
  // In whatever order: the task gives its CPU back, the second actor keeps it.
  EXPECT_EQ(Get(value, seconds(10)), 1);
  Kill(second);
  Get(task, seconds(10));
}

TEST_F(Actors, LendTheirCpuWhileTheyWait) {
  StartCluster({"--manta-num-cpus=1"});
  const auto patient = Actor<Patient>().NumCpus(1).Remote();
  EXPECT_EQ(Get(patient.Call<&Patient::Twice>().Remote(), seconds(20)), 2);
  const auto light = Actor<Patient>().Remote();  // only its constructor has one
  Kill(patient);
  EXPECT_EQ(Get(light.Call<&Patient::Twice>().Remote(), seconds(20)), 2);
}

TEST_F(Actors, RunCallsAgainWhoeverMadeThem) {
  StartCluster();
  const auto mortal = Actor<Mortal>().MaxRestarts(1).MaxTaskRetries(1).Remote();
  EXPECT_EQ(Get(Task<&LetDie>().MaxRetries(0).Remote(mortal, File("ran")), seconds(20)), 2);
  EXPECT_THAT(Lines(File("ran")), SizeIs(2));
  const auto frail = Actor<Mortal>().MaxRestarts(1).Remote();
  EXPECT_TRUE(
      ErrorOf<TaskError>([&] { Get(Task<&LetDie>().MaxRetries(0).Remote(frail, File("frail")), seconds(20)); }));
  EXPECT_THAT(Lines(File("frail")), SizeIs(1));
}

TEST_F(Actors, TimeOutTheirCalls) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  counter.Call<&Counter::WaitFor>().Remote(File("go"));
  const auto behind = counter.Call<&Counter::Add>().Timeout(milliseconds(100)).Remote(7);
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(behind); }));
  // The actor counts the time from when it read the call: a little later than its caller does.
  std::this_thread::sleep_for(seconds(1));
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote()), 0) << "what had timed out before it began was run";
}

TEST_F(Actors, TakeBackWhatTheyHaveNotBegun) {
  StartCluster();
  const auto counter = Actor<Counter>().Remote(0);
  const ObjectRef<void> waits = counter.Call<&Counter::WaitFor>().Remote(File("go"));
  const auto unready = counter.Call<&Counter::Add>().Remote(Task<&LateNumber>().Remote(File("never")));
  Cancel(unready);
  EXPECT_TRUE(ErrorOf<CancelledError>([&] { Get(unready, seconds(5)); }));
  WriteFile(File("go"), "");
  Get(waits);
  EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote()), 0);
  WriteFile(File("never"), "");
}

}  // namespace manta::embedded

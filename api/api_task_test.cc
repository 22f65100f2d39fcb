// Tasks: what can be called, with what, and what becomes of what goes wrong.
#include <deque>
#include <map>
#include <set>
#include <stdexcept>
#include <variant>

#include "api/api_test.h"

extern bool worker_was_started;

namespace manta::api_test {
namespace {

int Add(int a, int b) { return a + b; }
double Add(double a, double b) { return a + b; }
template <class T>
T Twice(T value) {
  return value + value;
}
struct Maths {
  static int Square(int x) noexcept { return x * x; }
};

TEST(Task, CallsAFunction) { EXPECT_EQ(Get(Task<static_cast<int (*)(int, int)>(&Add)>().Remote(1, 2)), 3); }

TEST(Task, CallsEachOverload) {
  EXPECT_EQ(Get(Task<static_cast<double (*)(double, double)>(&Add)>().Remote(0.25, 0.5)), 0.75);
}

TEST(Task, CallsTemplatesStaticMembersAndLambdas) {
  EXPECT_EQ(Get(Task<&Twice<std::string>>().Remote("ab")), "abab");
  EXPECT_EQ(Get(Task<&Twice<int>>().Remote(4)), 8);
  EXPECT_EQ(Get(Task<&Maths::Square>().Remote(5)), 25);
  EXPECT_EQ(Get(Task<[](int x) { return x + 1; }>().Remote(1)), 2);
  EXPECT_EQ(Get(Task<[](int x) { return x + 2; }>().Remote(1)), 3);
}

TEST(Task, ConvertsArguments) {
  EXPECT_EQ(Get(Task<static_cast<double (*)(double, double)>(&Add)>().Remote(1, 2.5f)), 3.5);
  const std::string lvalue = "x";
  EXPECT_EQ(Get(Task<&Twice<std::string>>().Remote(lvalue)), "xx");
}

void Nothing() {}

TEST(Task, MayReturnNothing) {
  ObjectRef<void> done = Task<&Nothing>().Remote();
  Get(done);
  EXPECT_TRUE(TryGet(done).ok());
}

enum class Colour { kRed, kGreen };
struct Point {
  int x = 0;
  std::vector<double> coordinates;
  std::string label;
  bool operator==(const Point&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(x, coordinates, label);
  }
};
using Everything =
    std::tuple<bool, char, int8_t, uint64_t, float, double, Colour, std::string, std::vector<int>, std::vector<bool>,
               std::vector<std::string>, std::array<int, 3>, std::pair<int, std::string>, std::optional<int>,
               std::optional<Point>, std::variant<int, std::string>, std::map<std::string, int>, std::set<int>,
               std::unordered_map<int, std::string>, std::unordered_set<std::string>, std::shared_ptr<Point>,
               std::chrono::milliseconds, Point>;

Everything Echo(const Everything& value) { return value; }
std::unique_ptr<Point> EchoPointer(std::unique_ptr<Point> value) { return value; }

TEST(Task, TakesAndReturnsEveryTypeOfMantaH) {
  const Everything value{true,
                         'c',
                         int8_t{-3},
                         UINT64_MAX,
                         1.5f,
                         -2.5,
                         Colour::kGreen,
                         std::string("text\0more", 9),
                         {1, 2},
                         {true, false},
                         {"a", ""},
                         {7, 8, 9},
                         {1, "one"},
                         std::nullopt,
                         Point{1, {0.5}, "p"},
                         std::string("alternative"),
                         {{"k", 1}},
                         {3, 1},
                         {{5, "five"}},
                         {"u"},
                         std::make_shared<Point>(Point{2, {}, "shared"}),
                         std::chrono::milliseconds(17),
                         Point{3, {1, 2}, "q"}};
  const Everything echo = Get(Task<&Echo>().Remote(value));
  EXPECT_EQ(*std::get<20>(echo), *std::get<20>(value));
  Everything with_same_pointer = echo;
  std::get<20>(with_same_pointer) = std::get<20>(value);
  EXPECT_EQ(with_same_pointer, value);

  const auto pointer = Get(Task<&EchoPointer>().Remote(std::make_unique<Point>(Point{4, {}, "unique"})));
  EXPECT_EQ(pointer->label, "unique");
}

std::vector<float> Reversed(std::vector<float> values) {
  std::reverse(values.begin(), values.end());
  return values;
}
size_t Length(const std::string& text) { return text.size(); }

TEST(Task, TakesAndReturnsBigVectors) {
  std::vector<float> values(2'000'000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::vector<float> reversed = Get(Task<&Reversed>().Remote(values));
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(reversed, values);
  EXPECT_EQ(Get(Task<&Length>().Remote(std::string(3 << 20, 'x'))), size_t{3 << 20});
}

TEST(Task, TakesRefsAsTheirValues) {
  ObjectRef<int> sum = Put(1);
  for (int i = 0; i < 50; ++i) sum = Task<static_cast<int (*)(int, int)>(&Add)>().Remote(sum, 1);
  EXPECT_EQ(Get(sum), 51);
}

int SumOf(std::vector<ObjectRef<int>> refs) {
  int sum = 0;
  for (int value : Get(refs)) sum += value;
  return sum;
}
int Deref(ObjectRef<int> ref) { return Get(ref); }
ObjectRef<int> MakeRef(int value) { return Put(value); }
struct Holder {
  ObjectRef<std::string> text;
  std::map<std::string, ObjectRef<int>> numbers;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(text, numbers);
  }
};
Holder MakeHolder(ObjectRef<std::string> text) {
  return {text, {{"two", Task<static_cast<int (*)(int, int)>(&Add)>().Remote(1, 1)}, {"three", Put(3)}}};
}

TEST(Task, PassesNestedRefsAsRefs) {
  const std::vector<ObjectRef<int>> refs = {Put(1), Task<static_cast<int (*)(int, int)>(&Add)>().Remote(1, 1), Put(3)};
  EXPECT_EQ(Get(Task<&SumOf>().Remote(refs)), 6);
  EXPECT_EQ(Get(Task<&Deref>().Remote(refs[2])), 3);
}

TEST(Task, ReturnsRefs) {
  ObjectRef<ObjectRef<int>> ref = Task<&MakeRef>().Remote(5);
  EXPECT_EQ(Get(Get(ref)), 5);
  EXPECT_EQ(Get(Task<&Deref>().Remote(ref)), 5);  // the value of `ref` is a ref

  const Holder holder = Get(Task<&MakeHolder>().Remote(Put(std::string("text"))));
  EXPECT_EQ(Get(holder.text), "text");
  EXPECT_EQ(Get(holder.numbers.at("two")), 2);
  EXPECT_EQ(Get(holder.numbers.at("three")), 3);
}

int Fibonacci(int n) {
  if (n < 2) return n;
  ObjectRef<int> a = Task<&Fibonacci>().Remote(n - 1);
  ObjectRef<int> b = Task<&Fibonacci>().Remote(n - 2);
  return Get(a) + Get(b);
}
int Depth(int n) { return n == 0 ? 0 : 1 + Get(Task<&Depth>().Remote(n - 1)); }

TEST(Task, CallsTasks) {
  EXPECT_EQ(Get(Task<&Fibonacci>().Remote(6), kLong), 8);
  EXPECT_EQ(Get(Task<&Depth>().Remote(8), kLong), 8);  // more levels than CPUs: who waits lends its CPU
}

// ---------------------------------------------------------------- errors

struct Oops : std::runtime_error {
  using std::runtime_error::runtime_error;
};
int Fail(const std::string& message) { throw Oops(message); }
int FailInside(const std::string& message) { return Get(Task<&Fail>().Remote(message)) + 1; }
int FailWithInt() { throw 42; }
struct NullWhat : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
int FailWithNullWhat() { throw NullWhat(); }

TEST(TaskErrors, CarryTypeMessageAndPlace) {
  const auto error = ErrorOf<TaskError>(Task<&Fail>().Remote("the message"));
  EXPECT_STREQ(error.what(), "the message");
  EXPECT_THAT(error.type(), HasSubstr("Oops"));
  EXPECT_THAT(error.where(), HasSubstr("Fail"));
  EXPECT_THAT(error.where(), HasSubstr("n1.p"));
  EXPECT_THAT(error.call_chain(), SizeIs(1));
  EXPECT_THAT(error.Describe(), HasSubstr("TaskError"));
}

TEST(TaskErrors, KeepTheInnermostCauseAndTheChainOfCalls) {
  const auto error = ErrorOf<TaskError>(Task<&FailInside>().Name("outer").Remote("inner message"));
  EXPECT_STREQ(error.what(), "inner message");
  EXPECT_THAT(error.type(), HasSubstr("Oops"));
  ASSERT_THAT(error.call_chain(), SizeIs(2));
  EXPECT_EQ(error.call_chain()[0], "outer");
  EXPECT_THAT(error.call_chain()[1], HasSubstr("Fail"));
}

TEST(TaskErrors, TellOfWhatIsNoException) {
  const auto error = ErrorOf<TaskError>(Task<&FailWithInt>().Remote());
  EXPECT_STREQ(error.what(), "unknown exception");
  EXPECT_EQ(error.type(), "int");
}

TEST(TaskErrors, SurviveHostileText) {
  EXPECT_STREQ(ErrorOf<TaskError>(Task<&FailWithNullWhat>().Remote()).what(), "");
  EXPECT_STREQ(ErrorOf<TaskError>(Task<&Fail>().Remote("a\x1b[2J\xff\xfe ok \xc3\xa9")).what(), "a?[2J?? ok \xc3\xa9");
  const std::string what = ErrorOf<TaskError>(Task<&Fail>().Remote(std::string(1 << 20, 'x'))).what();
  EXPECT_LT(what.size(), size_t{20000});
  EXPECT_THAT(what, HasSubstr("(cut)"));
}

TEST(TaskErrors, SpreadToCallsThatNeedTheValue) {
  ObjectRef<int> failed = Task<&Fail>().Remote("first");
  const auto error = ErrorOf<TaskError>(Task<static_cast<int (*)(int, int)>(&Add)>().Remote(failed, 1));
  EXPECT_STREQ(error.what(), "first");
}

int CatchAndGoOn() {
  try {
    return Get(Task<&Fail>().Remote("caught"));
  } catch (const TaskError& error) {
    return static_cast<int>(std::string(error.what()).size());
  }
}

TEST(TaskErrors, CanBeCaughtInTasks) { EXPECT_EQ(Get(Task<&CatchAndGoOn>().Remote()), 6); }

class Attempts {
 public:
  int Next() { return ++count_; }
  int Count() const { return count_; }

 private:
  int count_ = 0;
};
uint32_t FailTwice(ActorHandle<Attempts> attempts) {
  if (Get(attempts.Call<&Attempts::Next>().Remote()) <= 2) throw Oops("not yet");
  return CurrentContext().attempt();
}

TEST(Task, IsRetriedOnExceptionOnlyIfAsked) {
  auto attempts = Actor<Attempts>().Remote();
  EXPECT_EQ(Get(Task<&FailTwice>().RetryOnException().Remote(attempts)), 2u);
  EXPECT_EQ(Get(attempts.Call<&Attempts::Count>().Remote()), 3);

  auto others = Actor<Attempts>().Remote();
  ErrorOf<TaskError>(Task<&FailTwice>().Remote(others));
  EXPECT_EQ(Get(others.Call<&Attempts::Count>().Remote()), 1);

  auto thirds = Actor<Attempts>().Remote();
  ErrorOf<TaskError>(Task<&FailTwice>().RetryOnException().MaxRetries(1).Remote(thirds));
  EXPECT_EQ(Get(thirds.Call<&Attempts::Count>().Remote()), 2);
}

struct CannotBeWritten {
  int x = 0;
  template <class Archive>
  void save(Archive&) const {
    throw std::runtime_error("will not be written");
  }
  template <class Archive>
  void load(Archive&) {}
};
CannotBeWritten MakeUnwritable() { return {}; }
int TakeUnwritable(const CannotBeWritten& value) { return value.x; }
struct CannotBeRead {
  template <class Archive>
  void save(Archive& archive) const {
    archive(1);
  }
  template <class Archive>
  void load(Archive&) {
    throw std::runtime_error("will not be read");
  }
};
int TakeUnreadable(CannotBeRead) { return 0; }
CannotBeRead MakeUnreadable() { return {}; }

TEST(TaskErrors, TellOfValuesThatCannotTravel) {
  EXPECT_THROW(Task<&TakeUnwritable>().Remote(CannotBeWritten()), SerializationError);
  const auto result = ErrorOf<SerializationError>(Task<&MakeUnwritable>().Remote());
  EXPECT_THAT(result.what(), HasSubstr("the result of"));
  EXPECT_THAT(result.what(), HasSubstr("will not be written"));
  const auto argument = ErrorOf<SerializationError>(Task<&TakeUnreadable>().Remote(CannotBeRead()));
  EXPECT_THAT(argument.what(), HasSubstr("argument 1"));
  EXPECT_THAT(argument.what(), HasSubstr("will not be read"));
  EXPECT_THROW(Get(Task<&MakeUnreadable>().Remote()), SerializationError);
  EXPECT_EQ(Get(Task<static_cast<int (*)(int, int)>(&Add)>().Remote(1, 1)), 2);  // life goes on
}

// Says that it has 2^60 elements.
struct Liar {
  std::vector<std::string> values;
  template <class Archive>
  void save(Archive& archive) const {
    archive(cereal::make_size_tag(uint64_t{1} << 60), std::string("one"));
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(values);
  }
};
size_t TakeLiar(const Liar& liar) { return liar.values.size(); }

TEST(TaskErrors, RefuseFalseSizes) {
  EXPECT_THAT(ErrorOf<SerializationError>(Task<&TakeLiar>().Remote(Liar())).what(), HasSubstr("bytes are left"));
}

// ---------------------------------------------------------------- options

TEST(Task, WaitsForResourcesAndSaysSo) {
  ObjectRef<void> never = Task<&Nothing>().Name("greedy").Resources({{"unobtainium", 1}}).Remote();
  try {
    Get(never, 50ms);
    FAIL() << "it ran";
  } catch (const TimeoutError& error) {
    EXPECT_THAT(error.what(), HasSubstr("unobtainium"));
  }
  Cancel(never);
  ErrorOf<CancelledError>(never);
}

class Overlap {
 public:
  void Enter() { most_ = std::max(most_, ++now_); }
  void Leave() { --now_; }
  int Most() const { return most_; }

 private:
  int now_ = 0;
  int most_ = 0;
};
void Occupy(ActorHandle<Overlap> overlap) {
  Get(overlap.Call<&Overlap::Enter>().Remote());
  std::this_thread::sleep_for(5ms);
  Get(overlap.Call<&Overlap::Leave>().Remote());
}

TEST(Task, SharesResources) {
  auto overlap = Actor<Overlap>().Remote();
  std::vector<ObjectRef<void>> done;
  for (int i = 0; i < 6; ++i) done.push_back(Task<&Occupy>().NumCpus(0).Resources({{"token", 0.5}}).Remote(overlap));
  Get(done, kLong);
  EXPECT_EQ(Get(overlap.Call<&Overlap::Most>().Remote()), 2);
}

TEST(Task, RefusesOptionsThatMakeNoSense) {
  Task<&Nothing> task;
  EXPECT_THROW(task.NumCpus(-1), InvalidArgumentError);
  EXPECT_THROW(task.NumGpus(std::numeric_limits<double>::quiet_NaN()), InvalidArgumentError);
  EXPECT_THROW(task.Resources({{"x", -0.5}}), InvalidArgumentError);
  EXPECT_THROW(task.Resources({{"", 1}}), InvalidArgumentError);
  EXPECT_THROW(task.Resources({{"CPU", 1}}), InvalidArgumentError);
  EXPECT_THROW(task.MaxRetries(-2), InvalidArgumentError);
  EXPECT_THROW(task.Timeout(0s), InvalidArgumentError);
}

TEST(Task, EndsAtItsTimeout) {
  auto gate = Actor<Gate>().Remote();
  ObjectRef<int> late = Task<&PassGate>().Timeout(50ms).Remote(gate, 1);
  EXPECT_THAT(ErrorOf<TimeoutError>(late).what(), HasSubstr("PassGate"));
  Get(gate.Call<&Gate::Open>().Remote());

  ObjectRef<void> never = Task<&Nothing>().Resources({{"unobtainium", 1}}).Timeout(50ms).Remote();
  ErrorOf<TimeoutError>(never);
}

TEST(Task, IsCancelledBeforeItBegins) {
  auto gate = Actor<Gate>().Remote();
  ObjectRef<int> first = Task<&PassGate>().Remote(gate, 1);
  ObjectRef<int> second = Task<static_cast<int (*)(int, int)>(&Add)>().Remote(first, 1);  // waits for the first
  Cancel(second);
  ErrorOf<CancelledError>(second);
  Get(gate.Call<&Gate::Open>().Remote());
  EXPECT_EQ(Get(first, kLong), 1);
  Cancel(first);  // has ended: nothing
  EXPECT_EQ(Get(first), 1);
}

std::vector<std::string> WhereAmI() {
  const Context context = CurrentContext();
  return {context.node(),
          context.process(),
          context.task(),
          context.function(),
          context.actor(),
          context.is_driver() ? "driver" : "task",
          std::to_string(context.attempt())};
}

TEST(Context, TellsWhereATaskRuns) {
  EXPECT_TRUE(CurrentContext().is_driver());
  EXPECT_EQ(CurrentContext().task(), "");
  EXPECT_NE(CurrentContext().job(), 0u);
  const std::vector<std::string> where = Get(Task<&WhereAmI>().Name("locator").Remote());
  EXPECT_EQ(where[0], "n1");
  EXPECT_THAT(where[1], HasSubstr("n1.p"));
  EXPECT_THAT(where[2], HasSubstr(".c"));
  EXPECT_EQ(where[3], "locator");
  EXPECT_EQ(where[4], "");
  EXPECT_EQ(where[5], "task");
  EXPECT_EQ(where[6], "0");
}

bool WorkerWasStarted() { return worker_was_started; }

TEST(Runtime, RunsOnWorkerStartInEachWorker) {
  EXPECT_TRUE(Get(Task<&WorkerWasStarted>().Remote()));
  EXPECT_THROW(OnWorkerStart([] {}), InvalidArgumentError);
}

int ExitActorInATask() {
  ExitActor();
  return 0;
}

TEST(TaskErrors, TellOfExitActorOutsideOfAnActor) {
  EXPECT_THROW(ExitActor(), InvalidArgumentError);
  EXPECT_THAT(ErrorOf<TaskError>(Task<&ExitActorInATask>().Remote()).type(), HasSubstr("InvalidArgumentError"));
}

// ---------------------------------------------------------------- where it runs

std::string NodeOfTask() { return CurrentContext().node(); }

TEST(SchedulingStrategy, ATaskRunsWhereItIsTold) {
  const std::string here = CurrentContext().node();
  EXPECT_EQ(Get(Task<&NodeOfTask>().SchedulingStrategy(NodeAffinity(here)).Remote()), here);
  EXPECT_EQ(Get(Task<&NodeOfTask>().SchedulingStrategy(NodeAffinity(here).Soft()).Remote()), here);
  EXPECT_EQ(Get(Task<&NodeOfTask>().SchedulingStrategy(Spread()).Remote()), here) << "there is no other node";
  std::vector<ObjectRef<std::string>> spread;
  for (int i = 0; i < 20; ++i) spread.push_back(Task<&NodeOfTask>().SchedulingStrategy(Spread()).Remote());
  EXPECT_THAT(Get(spread), testing::Each(here));
}

TEST(SchedulingStrategy, ANodeThatIsNotThereIsAnErrorUnlessTheAffinityIsSoft) {
  auto never = Task<&NodeOfTask>().SchedulingStrategy(NodeAffinity("n99")).Remote();
  EXPECT_THAT(ErrorOf<NodeDiedError>(never).what(), HasSubstr("n99"));
  EXPECT_EQ(Get(Task<&NodeOfTask>().SchedulingStrategy(NodeAffinity("n99").Soft()).Remote()), CurrentContext().node());
}

TEST(SchedulingStrategy, TakesNodeIdsOnly) {
  for (const char* text : {"", "n", "3", "n0", "n03", "n-1", "n1 ", "N1", "head", "n99999999999999999999"}) {
    EXPECT_THROW(NodeAffinity{text}, InvalidArgumentError) << text;
  }
}

TEST(Nodes, AreListedWithWhatTheyHave) {
  const std::vector<NodeInfo> nodes = Nodes();
  ASSERT_THAT(nodes, SizeIs(1));
  EXPECT_EQ(nodes[0].id, CurrentContext().node());
  EXPECT_FALSE(nodes[0].name.empty());
  EXPECT_EQ(nodes[0].total.at("CPU"), 2);
  EXPECT_EQ(nodes[0].total.at("token"), 1);
  EXPECT_EQ(Get(Task<[] { return Nodes().at(0).id; }>().Remote()), nodes[0].id);
}

}  // namespace
}  // namespace manta::api_test

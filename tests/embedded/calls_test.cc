// Tasks of an embedded cluster, as a user calls them.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// ------------------------------------------------------------------ what is called

int Add(int a, int b) { return a + b; }
double Add(double a, double b) { return a + b; }
template <class T>
T Twice(T value) {
  return value + value;
}
struct Maths {
  static int Square(int x) { return x * x; }
};
int PidOf() { return getpid(); }
std::string Echo(std::string text) { return text; }
void DoNothing() {}
int Sum(std::vector<ObjectRef<int>> terms) {
  const std::vector<int> values = Get(terms);
  return std::accumulate(values.begin(), values.end(), 0);
}
int Depth(int levels) { return levels == 0 ? 0 : 1 + Get(Task<&Depth>().Remote(levels - 1)); }
int Fibonacci(int n) {
  if (n < 2) return n;
  const ObjectRef<int> a = Task<&Fibonacci>().Remote(n - 1);
  const ObjectRef<int> b = Task<&Fibonacci>().Remote(n - 2);
  return Get(a) + Get(b);
}

struct Parcel {
  std::string label;
  ObjectRef<std::string> inside;
  std::vector<ObjectRef<int>> more;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(label, inside, more);
  }
};
Parcel Pack(std::string label) {
  Parcel parcel;
  parcel.label = label;
  parcel.inside = Put("in " + label);
  for (int i = 0; i < 3; ++i) parcel.more.push_back(Task<static_cast<int (*)(int, int)>(&Add)>().Remote(i, i));
  return parcel;
}
std::string Unpack(Parcel parcel) {
  return parcel.label + ": " + Get(parcel.inside) + ", " + std::to_string(Get(Task<&Sum>().Remote(parcel.more)));
}
ObjectRef<int> RefToSum(int a, int b) { return Task<static_cast<int (*)(int, int)>(&Add)>().Remote(a, b); }

[[noreturn]] int ThrowOutOfRange(std::string what) { throw std::out_of_range(what); }
int ThrowInt() { throw 17; }
int CallsWhoThrows(std::string what) { return Get(Task<&ThrowOutOfRange>().Remote(what)); }
int CallsWhoCallsWhoThrows(std::string what) { return Get(Task<&CallsWhoThrows>().Remote(what)); }
int FailUntilAttempt(int attempt) {
  if (static_cast<int>(CurrentContext().attempt()) < attempt) throw std::runtime_error("not yet");
  return static_cast<int>(CurrentContext().attempt());
}

int WaitForFile(std::string path) {
  AwaitFile(path);
  return 1;
}
int AppendOnce(std::string path) {
  AppendLine(path, "ran");
  return 1;
}
// 1 if it was alone with the lock.
int HoldLockAlone(std::string path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const bool alone = flock(fd, LOCK_EX | LOCK_NB) == 0;
  if (alone) std::this_thread::sleep_for(milliseconds(20));
  close(fd);
  return alone ? 1 : 0;
}
// Comes back when `parties` such tasks run at the same time.
int MeetInDirectory(std::string directory, int parties) {
  AppendLine(directory + "/there", std::to_string(getpid()));
  while (Lines(directory + "/there").size() < static_cast<size_t>(parties))
    std::this_thread::sleep_for(milliseconds(1));
  return 1;
}
int GetWithThreads(int n) {
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) {
    threads.emplace_back([&sum, i] { sum += Get(Task<&Twice<int>>().Remote(i)); });
  }
  for (std::thread& thread : threads) thread.join();
  return sum;
}

constexpr auto kAddInts = static_cast<int (*)(int, int)>(&Add);

// ------------------------------------------------------------------ the tests

class Calls : public EmbeddedTest {};

TEST_F(Calls, RunTasksInOtherProcesses) {
  StartCluster();
  EXPECT_EQ(Get(Task<kAddInts>().Remote(1, 2)), 3);
  EXPECT_NE(Get(Task<&PidOf>().Remote()), getpid());
  EXPECT_DOUBLE_EQ(Get(Task<static_cast<double (*)(double, double)>(&Add)>().Remote(0.5, 0.25)), 0.75);
  EXPECT_EQ(Get(Task<&Twice<std::string>>().Remote("ab")), "abab");
  EXPECT_EQ(Get(Task<&Maths::Square>().Remote(7)), 49);
  EXPECT_EQ(Get(Task<[](int x) { return x + 1; }>().Remote(1)), 2);
  Get(Task<&DoNothing>().Remote());
}

TEST_F(Calls, RunTenThousandTasksOnce) {
  StartCluster();
  std::vector<ObjectRef<int>> sums;
  for (int i = 0; i < 10'000; ++i) sums.push_back(Task<kAddInts>().Remote(i, 1));
  const std::vector<int> values = Get(sums);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(values[i], i + 1);
}

TEST_F(Calls, CarryValuesOfEverySize) {
  StartCluster();
  for (const size_t size : {0u, 1u, 4095u, 4096u, 65535u, 65536u, 65537u, 300'000u, 5'000'000u}) {
    std::string text(size, 'x');
    if (size > 0) text.front() = 'a', text.back() = 'z';
    EXPECT_EQ(Get(Task<&Echo>().Remote(text)), text) << size;
    EXPECT_EQ(Get(Task<&Echo>().Remote(Put(text))), text) << size;
  }
}

TEST_F(Calls, PassRefsAsValues) {
  StartCluster();
  ObjectRef<int> sum = Task<kAddInts>().Remote(0, 1);
  for (int i = 0; i < 100; ++i) sum = Task<kAddInts>().Remote(sum, 1);
  EXPECT_EQ(Get(sum), 101);
  EXPECT_EQ(Get(Task<kAddInts>().Remote(sum, sum)), 202);
}

TEST_F(Calls, PassRefsInsideOfValues) {
  StartCluster();
  EXPECT_EQ(Get(Task<&Sum>().Remote(std::vector<ObjectRef<int>>{Put(1), Task<kAddInts>().Remote(2, 3)})), 6);
  const ObjectRef<Parcel> packed = Task<&Pack>().Remote("a box");
  const Parcel parcel = Get(packed);
  EXPECT_EQ(Get(parcel.inside), "in a box");
  EXPECT_THAT(Get(parcel.more), ElementsAre(0, 2, 4));
  EXPECT_EQ(Get(Task<&Unpack>().Remote(packed)), "a box: in a box, 6");
  EXPECT_EQ(Get(Get(Task<&RefToSum>().Remote(20, 22))), 42);
}

TEST_F(Calls, KeepWhatATaskPutWhenItsWorkerIsGone) {
  StartCluster({"--manta-worker-idle-timeout=10ms"});
  const Parcel parcel = Get(Task<&Pack>().Remote("left behind"));
  ASSERT_TRUE(Within(seconds(10), [] { return Family::Workers().empty(); })) << Family::Describe();
  EXPECT_EQ(Get(parcel.inside), "in left behind");
  EXPECT_THAT(Get(parcel.more), ElementsAre(0, 2, 4));
}

TEST_F(Calls, NestTasks) {
  StartCluster();
  EXPECT_EQ(Get(Task<&Fibonacci>().Remote(9)), 34);
}

TEST_F(Calls, NestDeeperThanThereAreCpus) {
  StartCluster({"--manta-num-cpus=1"});
  EXPECT_EQ(Get(Task<&Depth>().Remote(25)), 25);
}

TEST_F(Calls, CountTheirCpuWhileTheyWait) {
  // A waiting task lends its CPU and takes it back: with a second holder there are never two at once.
  StartCluster({"--manta-num-cpus=1"});
  std::vector<ObjectRef<int>> alone;
  for (int i = 0; i < 10; ++i) alone.push_back(Task<&HoldLockAlone>().Remote(File("lock")));
  const ObjectRef<int> nested = Task<&Depth>().Remote(3);
  EXPECT_EQ(Get(nested), 3);
  for (const int was_alone : Get(alone)) EXPECT_EQ(was_alone, 1);
}

TEST_F(Calls, MayComeFromManyThreads) {
  StartCluster();
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&right, t] {
      for (int i = 0; i < 200; ++i) right += Get(Task<kAddInts>().Remote(t, i)) == t + i;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 800);
  EXPECT_EQ(Get(Task<&GetWithThreads>().Remote(5)), 20);
}

TEST_F(Calls, ReportWhatUserCodeThrew) {
  StartCluster();
  const auto error = ErrorOf<TaskError>([] { Get(Task<&CallsWhoCallsWhoThrows>().Remote("of reach")); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "of reach");
  EXPECT_EQ(error->type(), "std::out_of_range");
  EXPECT_THAT(error->where(), HasSubstr("ThrowOutOfRange"));
  ASSERT_THAT(error->call_chain(), SizeIs(3)) << error->Describe();
  EXPECT_THAT(error->call_chain()[0], HasSubstr("CallsWhoCallsWhoThrows"));
  EXPECT_THAT(error->call_chain()[1], HasSubstr("CallsWhoThrows"));
  EXPECT_THAT(error->call_chain()[2], HasSubstr("ThrowOutOfRange"));

  const auto number = ErrorOf<TaskError>([] { Get(Task<&ThrowInt>().Remote()); });
  ASSERT_TRUE(number);
  EXPECT_EQ(number->type(), "int");
  EXPECT_STREQ(number->what(), "unknown exception");

  const Result<int> result = TryGet(Task<&ThrowInt>().Remote());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kTaskError);
}

TEST_F(Calls, PassErrorsThroughArguments) {
  StartCluster();
  const ObjectRef<int> failed = Task<&ThrowOutOfRange>().Remote("first");
  const auto error = ErrorOf<TaskError>([&] { Get(Task<kAddInts>().Remote(failed, 1)); });
  ASSERT_TRUE(error);
  EXPECT_STREQ(error->what(), "first");
}

TEST_F(Calls, AreTriedAgainAfterExceptionsIfAskedTo) {
  StartCluster();
  EXPECT_EQ(Get(Task<&FailUntilAttempt>().RetryOnException().MaxRetries(3).Remote(2)), 2);
  EXPECT_TRUE(ErrorOf<TaskError>([] { Get(Task<&FailUntilAttempt>().RetryOnException().MaxRetries(1).Remote(2)); }));
  EXPECT_TRUE(ErrorOf<TaskError>([] { Get(Task<&FailUntilAttempt>().MaxRetries(3).Remote(1)); }));
}

TEST_F(Calls, EndAtTheirTimeout) {
  StartCluster({"--manta-num-cpus=1"});
  const ObjectRef<int> runs = Task<&WaitForFile>().Name("waits").Timeout(milliseconds(200)).Remote(File("go"));
  const ObjectRef<int> queued = Task<&AppendOnce>().Timeout(milliseconds(100)).Remote(File("ran"));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(queued); }));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(runs); }));
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(Task<kAddInts>().Remote(1, 1)), 2);
  EXPECT_FALSE(Exists(File("ran"))) << "what had timed out before it began was run";
}

TEST_F(Calls, GoOnWhenAGetTimesOut) {
  StartCluster();
  const ObjectRef<int> ref = Task<&WaitForFile>().Remote(File("go"));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(ref, milliseconds(50)); }));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(ref, milliseconds(0)); }));
  EXPECT_FALSE(TryGet(ref, milliseconds(10)).ok());
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(ref, seconds(10)), 1);
  EXPECT_EQ(Get(ref, milliseconds(0)), 1);
}

TEST_F(Calls, CanBeTakenBackBeforeTheyBegin) {
  StartCluster({"--manta-num-cpus=1"});
  const ObjectRef<int> runs = Task<&WaitForFile>().Remote(File("go"));
  std::vector<ObjectRef<int>> queued;
  for (int i = 0; i < 5; ++i) queued.push_back(Task<&AppendOnce>().Remote(File("ran")));
  for (const ObjectRef<int>& ref : queued) Cancel(ref);
  for (const ObjectRef<int>& ref : queued) EXPECT_TRUE(ErrorOf<CancelledError>([&] { Get(ref); }));
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(runs), 1);
  Cancel(runs);  // too late: nothing
  EXPECT_EQ(Get(runs), 1);
  EXPECT_EQ(Get(Task<kAddInts>().Remote(1, 1)), 2);
  EXPECT_FALSE(Exists(File("ran")));
}

TEST_F(Calls, AreWaitedForInAnyOrder) {
  StartCluster({"--manta-num-cpus=4"});
  std::vector<ObjectRef<int>> refs = {Task<&WaitForFile>().Remote(File("a")), Task<kAddInts>().Remote(1, 1),
                                      Task<&WaitForFile>().Remote(File("b")), Task<&ThrowOutOfRange>().Remote("x")};
  const auto first = Wait(refs, 2);
  EXPECT_THAT(first.ready, ElementsAre(refs[1], refs[3]));
  EXPECT_THAT(first.pending, ElementsAre(refs[0], refs[2]));
  const auto timed_out = Wait(first.pending, 1, milliseconds(20));
  EXPECT_THAT(timed_out.ready, SizeIs(0));
  WriteFile(File("b"), "");
  const auto second = Wait(first.pending, 1);
  EXPECT_THAT(second.ready, ElementsAre(refs[2]));
  WriteFile(File("a"), "");
  EXPECT_THAT(Wait(refs, 4).pending, SizeIs(0));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Wait(refs, 5); }));
}

TEST_F(Calls, ShareACpuByFractions) {
  StartCluster({"--manta-num-cpus=1"});
  std::vector<ObjectRef<int>> met;
  for (int i = 0; i < 4; ++i) met.push_back(Task<&MeetInDirectory>().NumCpus(0.25).Remote(File(""), 4));
  for (const int one : Get(met)) EXPECT_EQ(one, 1);
}

TEST_F(Calls, NeverUseMoreOfAResourceThanThereIs) {
  StartCluster({"--manta-num-cpus=4", "--manta-resources={\"licence\": 1}"});
  std::vector<ObjectRef<int>> alone;
  for (int i = 0; i < 20; ++i)
    alone.push_back(Task<&HoldLockAlone>().Resources({{"licence", 0.6}}).Remote(File("lock")));
  for (const int was_alone : Get(alone)) EXPECT_EQ(was_alone, 1);
}

TEST_F(Calls, TakeSeveralCpus) {
  StartCluster({"--manta-num-cpus=2"});
  std::vector<ObjectRef<int>> alone;
  for (int i = 0; i < 10; ++i) {
    alone.push_back(Task<&HoldLockAlone>().NumCpus(2).Remote(File("lock")));
    Get(Task<kAddInts>().Remote(i, i));
  }
  for (const int was_alone : Get(alone)) EXPECT_EQ(was_alone, 1);
}

TEST_F(Calls, UseAllCpusAtOnce) {
  StartCluster({"--manta-num-cpus=3"});
  std::vector<ObjectRef<int>> met;
  for (int i = 0; i < 3; ++i) met.push_back(Task<&MeetInDirectory>().Remote(File(""), 3));
  for (const int one : Get(met)) EXPECT_EQ(one, 1);
}

// At most max(64, 8 x cores) workers for tasks: the chain of waiting tasks is longer.
TEST_F(Calls, SayThatThereAreNoMoreWorkers) {
  StartCluster({"--manta-num-cpus=1"});
  const int levels = 20 + std::max(64, 8 * static_cast<int>(std::thread::hardware_concurrency()));
  const ObjectRef<int> chain = Task<&Depth>().MaxRetries(0).Remote(levels);
  EXPECT_TRUE(Within(seconds(20), [] { return Family::Workers().size() >= 64; }));
  const auto error = ErrorOf<WorkerLimitError>([] { Get(Task<kAddInts>().Timeout(seconds(2)).Remote(1, 1)); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("workers"));
  EXPECT_THAT(error->what(), HasSubstr("limit"));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(chain, milliseconds(10)); }));
  // One link less: its caller tries again, in the room that this made, and fills it up anew.
  kill(Family::Workers().back().pid, SIGKILL);
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(chain, seconds(1)); }));
}

}  // namespace manta::embedded

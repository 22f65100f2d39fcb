// Init, Drain, Shutdown and Init again; what workers print; OnWorkerStart.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// ------------------------------------------------------------------ what runs in workers

namespace {
std::atomic<int> worker_starts = 0;
pid_t started_pid = 0;
const bool registered = [] {
  OnWorkerStart([] {
    ++worker_starts;
    started_pid = getpid();
  });
  return true;
}();
}  // namespace

std::vector<int> HowStarted() { return {worker_starts.load(), started_pid == getpid() ? 1 : 0}; }
int NextNumber(int number) { return number + 1; }
int WaitUntilThere(std::string path) {
  WriteFile(path + ".waits", "");
  AwaitFile(path);
  return 1;
}
int NoteRun(std::string path) {
  AppendLine(path, "ran");
  return 1;
}
std::string ShutDownInTask() {
  try {
    Shutdown();
    return "nothing";
  } catch (const InvalidArgumentError& error) {
    return error.what();
  }
}
int PrintLines(std::string text) {
  std::printf("%s on stdout\n", text.c_str());
  std::cerr << text << " on stderr\n";
  return 1;
}
int PrintAndDie() {
  std::printf("last words");
  std::fflush(stdout);
  _exit(3);
}
int PrintWithoutNewline() {
  std::printf("no newline");
  return 1;
}
int PrintMegabytes(int count) {
  const std::string line(1023, 'm');
  for (int i = 0; i < count * 1024; ++i) std::printf("%s\n", line.c_str());
  return count;
}
class Holder {
 public:
  int Number() { return 7; }
};

// ------------------------------------------------------------------ the tests

class Lifecycle : public EmbeddedTest {};

TEST_F(Lifecycle, EndsWithNothingLeftBehind) {
  StartCluster();
  EXPECT_EQ(Get(Task<&NextNumber>().Remote(1)), 2);
}

TEST_F(Lifecycle, EndsWithoutAnyCall) { StartCluster(); }

TEST_F(Lifecycle, BeginsAgain) {
  std::vector<ObjectRef<int>> old;
  std::vector<ActorHandle<Holder>> old_actors;
  for (int round = 0; round < 5; ++round) {
    StartCluster();
    EXPECT_EQ(Get(Task<&NextNumber>().Remote(round)), round + 1);
    for (const ObjectRef<int>& ref : old) {
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Get(ref); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { (void)TryGet(ref); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&NextNumber>().Remote(ref); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Wait(std::vector<ObjectRef<int>>{ref}); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Cancel(ref); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { (void)Put(std::vector<ObjectRef<int>>{ref}); }));
    }
    for (const ActorHandle<Holder>& actor : old_actors) {
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { actor.Call<&Holder::Number>().Remote(); }));
      EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Kill(actor); }));
    }
    old.push_back(Task<&NextNumber>().Remote(round));
    old_actors.push_back(Actor<Holder>().Remote());
    Get(old.back());
    EndCluster();
    ExpectNothingLeft();
  }
}

TEST_F(Lifecycle, RefusesCallsOutsideOfItsTime) {
  EXPECT_TRUE(ErrorOf<ShutdownError>([] { Put(1); }));
  EXPECT_TRUE(ErrorOf<ShutdownError>([] { Task<&NextNumber>().Remote(1); }));
  StartCluster();
  const ObjectRef<int> ref = Put(1);
  const auto actor = Actor<Holder>().Remote();
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster(); })) << "one at a time";
  Shutdown();
  EXPECT_TRUE(ErrorOf<ShutdownError>([&] { Get(ref); }));
  EXPECT_TRUE(ErrorOf<ShutdownError>([&] { Put(1); }));
  EXPECT_TRUE(ErrorOf<ShutdownError>([&] { actor.Call<&Holder::Number>().Remote(); }));
  EXPECT_TRUE(ErrorOf<ShutdownError>([&] { (void)CurrentContext(); }));
  EXPECT_TRUE(ErrorOf<ShutdownError>([&] { Drain(); }));
  Shutdown();  // does nothing
}

TEST_F(Lifecycle, IsEndedByTheDriverOnly) {
  StartCluster();
  EXPECT_THAT(Get(Task<&ShutDownInTask>().Remote()), HasSubstr("driver"));
  EXPECT_EQ(Get(Task<&NextNumber>().Remote(1)), 2);
}

TEST_F(Lifecycle, DrainsWhatWasSubmitted) {
  StartCluster();
  EXPECT_TRUE(Drain(seconds(0)));
  for (int i = 0; i < 100; ++i) Task<&NoteRun>().Remote(File("ran"));
  EXPECT_TRUE(Drain());
  EXPECT_EQ(Lines(File("ran")).size(), 100u);
  const ObjectRef<int> waits = Task<&WaitUntilThere>().Remote(File("go"));
  EXPECT_FALSE(Drain(milliseconds(50)));
  WriteFile(File("go"), "");
  EXPECT_TRUE(Drain(seconds(20)));
  EXPECT_EQ(Get(waits, seconds(0)), 1);
}

TEST_F(Lifecycle, ShutsDownWhileCallsRunAndWait) {
  StartCluster({"--manta-num-cpus=1"});
  const ObjectRef<int> runs = Task<&WaitUntilThere>().Remote(File("never"));
  std::vector<ObjectRef<int>> queued;
  for (int i = 0; i < 20; ++i) queued.push_back(Task<&NoteRun>().Remote(File("ran")));
  AwaitFile(File("never.waits"));
  std::atomic<bool> woken = false;
  std::thread waits([&] {
    try {
      Get(runs);
    } catch (const Error& error) {
      woken = error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kShutdown ||
              error.code() == ErrorCode::kWorkerDied || error.code() == ErrorCode::kNodeDied;
      EXPECT_TRUE(woken) << error.Describe();
    }
  });
  std::this_thread::sleep_for(milliseconds(50));
  Shutdown();
  waits.join();
  EXPECT_TRUE(woken);
  EXPECT_FALSE(Exists(File("ran")));
}

TEST_F(Lifecycle, ShutsDownUnderManyThreads) {
  for (int round = 0; round < 5; ++round) {
    StartCluster();
    const auto actor = Actor<Holder>().Remote();
    std::atomic<bool> over = false;
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        while (!over) {
          try {
            Get(actor.Call<&Holder::Number>().Remote());
            Get(Task<&NextNumber>().Remote(1));
          } catch (const Error&) {
          }
        }
      });
    }
    std::this_thread::sleep_for(milliseconds(50));
    Shutdown();
    over = true;
    for (std::thread& thread : threads) thread.join();
    EndCluster();
  }
}

TEST_F(Lifecycle, RunsOnWorkerStartOnceInEachWorker) {
  EXPECT_EQ(worker_starts, 0);
  StartCluster();
  EXPECT_EQ(worker_starts, 0) << "the driver is no worker";
  EXPECT_EQ(Get(Task<&HowStarted>().Remote()), (std::vector<int>{1, 1}));
  EXPECT_EQ(Get(Task<&HowStarted>().Remote()), (std::vector<int>{1, 1}));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([] { OnWorkerStart([] {}); }));
}

TEST_F(Lifecycle, StopsIdleWorkers) {
  StartCluster({"--manta-worker-idle-timeout=100ms"});
  EXPECT_EQ(Get(Task<&NextNumber>().Remote(1)), 2);
  EXPECT_FALSE(Family::Workers().empty());
  EXPECT_TRUE(Within(seconds(5), [] { return Family::Workers().empty(); })) << Family::Describe();
  EXPECT_EQ(Get(Task<&NextNumber>().Remote(1)), 2);
}

// ------------------------------------------------------------------ output

SCENARIO(DriverOfPrinters) {
  Options options;
  options.log_to_driver = ArgumentOf(argc, argv, "quiet").empty();
  const Runtime runtime = Init(argc, argv, options);
  Get(Task<&PrintLines>().Remote("hello"));
  Get(Task<&PrintWithoutNewline>().Remote());
  (void)TryGet(Task<&PrintAndDie>().MaxRetries(0).Remote());
  std::this_thread::sleep_for(milliseconds(500));
  Say("done");
  return 0;
}
TEST_F(Lifecycle, ShowsWhatWorkersPrintAndWhoPrintedIt) {
  Scenario driver = Run("DriverOfPrinters");
  EXPECT_EQ(driver.Join().status, 0) << driver.output();
  EXPECT_THAT(driver.output(), testing::ContainsRegex("\\(n1\\.p[0-9]+\\) hello on stdout\n"));
  EXPECT_THAT(driver.output(), testing::ContainsRegex("\\(n1\\.p[0-9]+\\) hello on stderr\n"));
  EXPECT_THAT(driver.output(), HasSubstr("last words"));
  EXPECT_THAT(driver.output(), HasSubstr("no newline")) << "what a worker has printed by its end";
}
TEST_F(Lifecycle, ShowsNothingIfAskedTo) {
  Scenario driver = Run("DriverOfPrinters", {"--quiet=1"});
  EXPECT_EQ(driver.Join().status, 0) << driver.output();
  EXPECT_THAT(driver.output(), AllOf(HasSubstr("done"), Not(HasSubstr("hello"))));
}

SCENARIO(DriverOfALoudWorker) {
  const Runtime runtime = Init(argc, argv);
  const auto start = std::chrono::steady_clock::now();
  Get(Task<&PrintMegabytes>().Remote(64));
  Say("printed in " + std::to_string((std::chrono::steady_clock::now() - start) / milliseconds(1)) + " ms");
  for (int i = 0; i < 12; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
    Get(Task<&PrintLines>().Remote("afterwards"));
  }
  return 0;
}
TEST_F(Lifecycle, DropsWhatIsTooMuchAndSaysSo) {
  Scenario driver = Run("DriverOfALoudWorker");
  EXPECT_EQ(driver.Join(seconds(30)).status, 0);
  EXPECT_LT(driver.output().size(), size_t{16} << 20) << "a bounded rate";
  EXPECT_THAT(driver.output(), HasSubstr("bytes of output dropped"));
  EXPECT_TRUE(driver.Said("printed in"));
  EXPECT_THAT(driver.output(), HasSubstr("afterwards on stdout"));
}

SCENARIO(DriverThatLooksAtItsArguments) {
  const Runtime runtime = Init(argc, argv);
  std::string rest;
  for (int i = 1; i < argc; ++i) rest += std::string(" ") + argv[i];
  Say("left" + rest);
  return 0;
}
TEST_F(Lifecycle, LeavesTheUsersArguments) {
  Scenario driver = Run("DriverThatLooksAtItsArguments", {"--epochs=3", "file"});
  driver.Join();
  EXPECT_THAT(driver.output(), AllOf(HasSubstr("--epochs=3 file"), Not(HasSubstr("--manta"))));
}

}  // namespace manta::embedded

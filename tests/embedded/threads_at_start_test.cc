// A program whose static initialisers start threads: its zygote cannot be forked, so its workers are exec'ed.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::HasSubstr;

namespace {

std::atomic<int> ticks = 0;

struct Ticker {
  Ticker()
      : thread([this] {
          while (!over) {
            ++ticks;
            std::this_thread::sleep_for(milliseconds(1));
          }
        }) {}
  ~Ticker() {
    over = true;
    thread.join();
  }
  std::atomic<bool> over = false;
  std::thread thread;
};
Ticker ticker;

}  // namespace

// The worker's own thread runs: an exec'ed worker has run static initialisation itself.
int TicksInWorker() {
  const int before = ticks;
  while (ticks < before + 5) std::this_thread::sleep_for(milliseconds(1));
  return getpid();
}
int DieInWorker() { abort(); }
std::string OomScoreInWorker() { return ReadFile("/proc/self/oom_score_adj"); }
class Ticking {
 public:
  int Ticks() { return TicksInWorker(); }
};

class ThreadsAtStart : public EmbeddedTest {};

TEST_F(ThreadsAtStart, WorkersAreStartedByExec) {
  StartCluster();
  EXPECT_NE(Get(Task<&TicksInWorker>().Remote()), getpid());
  EXPECT_EQ(Get(Task<&OomScoreInWorker>().Remote()), "1000\n") << "as if forked";
  const auto actor = Actor<Ticking>().MaxRestarts(1).Remote();
  const int first = Get(actor.Call<&Ticking::Ticks>().Remote());
  EXPECT_THAT(Logs(), HasSubstr("by exec"));
  kill(first, SIGKILL);
  EXPECT_TRUE(Within(seconds(5), [&] {
    const Result<int> again = TryGet(actor.Call<&Ticking::Ticks>().Remote());
    return again.ok() && *again != first;
  }));
  const auto error = ErrorOf<WorkerDiedError>([] { Get(Task<&DieInWorker>().MaxRetries(0).Remote()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("signal 6")) << "the node is its parent";
}

SCENARIO(TickingDriver) {
  const Runtime runtime = Init(argc, argv);
  const auto actor = Actor<Ticking>().Remote();
  Get(actor.Call<&Ticking::Ticks>().Remote());
  Say("ticks");
  std::this_thread::sleep_for(seconds(20));
  return 0;
}
TEST_F(ThreadsAtStart, EverythingGoesWithAKilledDriver) {
  Scenario driver = Run("TickingDriver");
  driver.Await("ticks");
  driver.Signal(SIGKILL);
  driver.Join();
  EXPECT_TRUE(Within(seconds(1), [] { return Family::All().empty(); })) << Family::Describe();
}

}  // namespace manta::embedded

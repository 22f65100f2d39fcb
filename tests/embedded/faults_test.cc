// Processes of an embedded cluster that die, stop, or are interrupted.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

namespace {

using Clock = std::chrono::steady_clock;

// FAULTS: typed error or retry within 1 s of a kill -9; everything is gone 1 s after its driver.
constexpr milliseconds kNoticed = seconds(1);

void KillNow(pid_t pid) { ASSERT_EQ(kill(pid, SIGKILL), 0) << pid; }

}  // namespace

// ------------------------------------------------------------------ what runs in workers

int One() { return 1; }
int OwnPid() { return getpid(); }
int SayPidAndWait(std::string pid_file, std::string go) {
  WriteFile(pid_file, std::to_string(getpid()));
  AwaitFile(go);
  return static_cast<int>(CurrentContext().attempt());
}
int Increase(int by) { return by + 1; }
int SlowIncrease(int by, int ms) {
  std::this_thread::sleep_for(milliseconds(ms));
  return by + 1;
}
int NoteAndWork(std::string journal, int number) {
  AppendLine(journal, std::to_string(number));
  std::this_thread::sleep_for(std::chrono::microseconds(500));
  return number;
}
int StartProcessAndWait(std::string pid_file, std::string go, bool own_session) {
  const pid_t child = fork();
  if (child == 0) {
    if (own_session) setsid();
    execl("/bin/sleep", "sleep", "1000", nullptr);
    _exit(1);
  }
  WriteFile(pid_file, std::to_string(child));
  AwaitFile(go);
  return child;
}
int MakeTaskAndWait(std::string pid_file) { return Get(Task<&SayPidAndWait>().Remote(pid_file, pid_file + ".never")); }
ObjectRef<int> LeaveTaskBehind(std::string pid_file) {
  return Task<&SayPidAndWait>().Remote(pid_file, pid_file + ".never");
}

class Phoenix {
 public:
  int Add(int by) { return value_ += by; }
  int Pid() { return getpid(); }
  bool WasRestarted() { return CurrentContext().WasRestarted(); }
  int Incarnation() { return static_cast<int>(CurrentContext().incarnation()); }
  void WaitFor(std::string path) { AwaitFile(path); }
  // Waits in its first life; says so.
  int DieInFirstLife(std::string pid_file) {
    if (CurrentContext().WasRestarted()) return static_cast<int>(CurrentContext().incarnation());
    WriteFile(pid_file, std::to_string(getpid()));
    AwaitFile(pid_file + ".never");
    return 0;
  }
  int Note(std::string journal, int number) {
    AppendLine(journal, std::to_string(number));
    return number;
  }

 private:
  int value_ = 0;
};
class Owner {  // its calls are its own
 public:
  ObjectRef<int> Begin(std::string pid_file) {
    running_ = Task<&SayPidAndWait>().Remote(pid_file, pid_file + ".never");
    return running_;
  }
  int Pid() { return getpid(); }

 private:
  ObjectRef<int> running_;
};

// ------------------------------------------------------------------ workers

class Faults : public EmbeddedTest {
 protected:
  int AwaitPid(const std::string& name) {
    AwaitFile(File(name));
    return std::stoi(ReadFile(File(name)));
  }
  // Get's error or value within the limit after `kill`.
  template <class T>
  void ExpectSoon(const ObjectRef<T>& ref) {
    EXPECT_TRUE(Wait(std::vector<ObjectRef<T>>{ref}, 1, kNoticed).pending.empty()) << "not noticed in time";
  }
};

TEST_F(Faults, AKilledWorkersTaskIsTriedAgain) {
  StartCluster();
  const ObjectRef<int> ref = Task<&SayPidAndWait>().Remote(File("pid"), File("go"));
  const int first = AwaitPid("pid");
  WriteFile(File("go"), "");
  KillNow(first);
  EXPECT_EQ(Get(ref), 1) << "the attempt";
}

TEST_F(Faults, AKilledWorkersTaskEndsWithAnErrorIfItMayRunOnlyOnce) {
  StartCluster();
  const ObjectRef<int> ref = Task<&SayPidAndWait>().MaxRetries(0).Remote(File("pid"), File("never"));
  KillNow(AwaitPid("pid"));
  ExpectSoon(ref);
  const auto error = ErrorOf<WorkerDiedError>([&] { Get(ref); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->may_have_run());
  EXPECT_THAT(error->what(), HasSubstr("signal 9"));
  EXPECT_THAT(error->Describe(), HasSubstr("SayPidAndWait"));
  EXPECT_EQ(Get(Task<&One>().Remote()), 1);
}

TEST_F(Faults, RetriesComeToAnEnd) {
  StartCluster();
  const ObjectRef<int> ref = Task<[]() -> int {
                               raise(SIGKILL);
                               return 1;
                             }>()
                                 .MaxRetries(2)
                                 .Remote();
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([&] { Get(ref); }));
}

TEST_F(Faults, TasksBehindAKilledOneAreNotCharged) {
  StartCluster({"--manta-num-cpus=1"});
  const ObjectRef<int> doomed = Task<&SayPidAndWait>().MaxRetries(0).Remote(File("pid"), File("never"));
  std::vector<ObjectRef<int>> behind;
  for (int i = 0; i < 50; ++i) behind.push_back(Task<&Increase>().MaxRetries(0).Remote(i));
  KillNow(AwaitPid("pid"));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([&] { Get(doomed); }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Get(behind[i]), i + 1);
}

TEST_F(Faults, AKilledActorIsDead) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Remote();
  const int pid = Get(actor.Call<&Phoenix::Pid>().Remote());
  const ObjectRef<void> running = actor.Call<&Phoenix::WaitFor>().Remote(File("never"));
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(running, milliseconds(50)); }));
  KillNow(pid);
  ExpectSoon(running);
  const auto error = ErrorOf<ActorDiedError>([&] { Get(running); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->may_have_run());
  EXPECT_THAT(error->what(), HasSubstr("signal 9"));
  const auto later = ErrorOf<ActorDiedError>([&] { Get(actor.Call<&Phoenix::Add>().Remote(1)); });
  ASSERT_TRUE(later);
  EXPECT_FALSE(later->may_have_run());
}

TEST_F(Faults, AKilledActorIsMadeAnewAsOftenAsAllowed) {
  StartCluster();
  const auto actor = Actor<Phoenix>().MaxRestarts(2).Remote();
  std::atomic<int> deaths = 0;
  actor.OnDeath([&deaths](const ActorDiedError&) { ++deaths; });
  for (int life = 1; life <= 3; ++life) {
    EXPECT_EQ(Get(actor.Call<&Phoenix::Add>().Remote(5)), 5) << "state starts anew";
    EXPECT_EQ(Get(actor.Call<&Phoenix::Incarnation>().Remote()), life);
    EXPECT_EQ(Get(actor.Call<&Phoenix::WasRestarted>().Remote()), life > 1);
    EXPECT_EQ(deaths, 0);
    KillNow(Get(actor.Call<&Phoenix::Pid>().Remote()));
    // A call that meets the dead process may have run; one made once the death is known waits for the next life.
    if (life < 3) {
      EXPECT_TRUE(Within(seconds(5), [&] { return TryGet(actor.Call<&Phoenix::Add>().Remote(0)).ok(); }));
    }
  }
  EXPECT_TRUE(Within(seconds(5), [&] { return deaths == 1; })) << deaths;
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(actor.Call<&Phoenix::Add>().Remote(1)); }));
}

TEST_F(Faults, AKilledActorsRunningCallIsTriedAgainIfAllowed) {
  StartCluster();
  const auto actor = Actor<Phoenix>().MaxRestarts(-1).MaxTaskRetries(1).Remote();
  const ObjectRef<int> first = actor.Call<&Phoenix::DieInFirstLife>().Remote(File("pid"));
  std::vector<ObjectRef<int>> behind;
  for (int i = 1; i <= 20; ++i) behind.push_back(actor.Call<&Phoenix::Add>().Remote(1));
  KillNow(AwaitPid("pid"));
  EXPECT_EQ(Get(first), 2) << "run in the second life";
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(Get(behind[i - 1]), i) << "in their order, once";
}

TEST_F(Faults, ACallThatMayRunOnlyOnceEndsAndThoseBehindItWaitForTheNextLife) {
  StartCluster();
  const auto actor = Actor<Phoenix>().MaxRestarts(1).Remote();
  const ObjectRef<int> running = actor.Call<&Phoenix::DieInFirstLife>().Remote(File("pid"));
  const ObjectRef<int> retried = actor.Call<&Phoenix::DieInFirstLife>().MaxRetries(1).Remote(File("pid2"));
  KillNow(AwaitPid("pid"));
  const auto error = ErrorOf<ActorDiedError>([&] { Get(running, seconds(10)); });
  ASSERT_TRUE(error);
  EXPECT_TRUE(error->may_have_run());
  EXPECT_EQ(Get(retried, seconds(10)), 2);
}

TEST_F(Faults, ANamedActorIsFoundAfterItsRestart) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Name("phoenix").MaxRestarts(1).Remote();
  KillNow(Get(actor.Call<&Phoenix::Pid>().Remote()));
  EXPECT_TRUE(Within(seconds(5), [] {
    const auto found = GetActor<Phoenix>("phoenix");
    return found && TryGet(found->Call<&Phoenix::Incarnation>().Remote()).value_or(0) == 2;
  }));
}

TEST_F(Faults, AKilledWorkerTakesWithItWhatItStarted) {
  StartCluster();
  const ObjectRef<int> ref = Task<&StartProcessAndWait>().MaxRetries(0).Remote(File("child"), File("never"), false);
  const int child = AwaitPid("child");
  ASSERT_TRUE(IsAlive(child));
  for (const Relative& worker : Family::Workers()) kill(worker.pid, SIGKILL);
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([&] { Get(ref); }));
  EXPECT_TRUE(Within(kNoticed, [child] { return !IsAlive(child); }));
}

TEST_F(Faults, NothingOutlivesTheClusterInASessionOfItsOwn) {
  StartCluster();
  const ObjectRef<int> ref = Task<&StartProcessAndWait>().Remote(File("child"), File("go"), true);
  const int child = AwaitPid("child");
  WriteFile(File("go"), "");
  EXPECT_EQ(Get(ref), child);
  EndCluster();
  EXPECT_TRUE(Within(kNoticed, [child] { return !IsAlive(child); }));
}

TEST_F(Faults, TheTasksOfAKilledCallerEnd) {
  StartCluster({"--manta-num-cpus=4"});
  const auto owner = Actor<Owner>().Remote();
  const ObjectRef<int> inner = Get(owner.Call<&Owner::Begin>().Remote(File("pid")));
  const int worker = AwaitPid("pid");
  KillNow(Get(owner.Call<&Owner::Pid>().Remote()));
  ExpectSoon(inner);
  EXPECT_TRUE(ErrorOf<OwnerDiedError>([&] { Get(inner); }));
  EXPECT_TRUE(Within(seconds(5), [worker] { return !IsAlive(worker); })) << "its task runs on";
}

TEST_F(Faults, AStoppedWorkerIsNotDead) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Remote();
  const int pid = Get(actor.Call<&Phoenix::Pid>().Remote());
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const ObjectRef<int> call = actor.Call<&Phoenix::Add>().Remote(3);
  EXPECT_TRUE(ErrorOf<TimeoutError>([&] { Get(call, seconds(2)); }));
  EXPECT_EQ(Get(Task<&One>().Remote()), 1) << "the others work on";
  ASSERT_EQ(kill(pid, SIGCONT), 0);
  EXPECT_EQ(Get(call), 3);
  EXPECT_EQ(Get(actor.Call<&Phoenix::Pid>().Remote()), pid);
  EXPECT_EQ(Get(actor.Call<&Phoenix::Incarnation>().Remote()), 1);
}

TEST_F(Faults, AStoppedWorkerCanBeKilled) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Remote();
  const int pid = Get(actor.Call<&Phoenix::Pid>().Remote());
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const ObjectRef<int> call = actor.Call<&Phoenix::Add>().Remote(3);
  Kill(actor);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call, seconds(5)); }));
}

// ------------------------------------------------------------------ zygote and node

TEST_F(Faults, AKilledZygoteTakesNoWorkerWithIt) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Remote();
  EXPECT_EQ(Get(actor.Call<&Phoenix::Add>().Remote(1)), 1);
  const std::optional<Relative> zygote = Family::Zygote();
  ASSERT_TRUE(zygote);
  KillNow(zygote->pid);
  EXPECT_EQ(Get(actor.Call<&Phoenix::Add>().Remote(1)), 2);
  const auto another = Actor<Phoenix>().Remote();
  EXPECT_EQ(Get(another.Call<&Phoenix::Add>().Remote(1)), 1);
  EXPECT_EQ(Get(Task<&One>().Remote()), 1);
  const std::optional<Relative> next = Family::Zygote();
  ASSERT_TRUE(next);
  EXPECT_NE(next->pid, zygote->pid);
  // Orphans of the old one are watched over as before.
  KillNow(Get(actor.Call<&Phoenix::Pid>().Remote()));
  const ObjectRef<int> call = actor.Call<&Phoenix::Add>().Remote(1);
  ExpectSoon(call);
  EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
}

TEST_F(Faults, AZygoteMayBeKilledAtAnyTime) {
  StartCluster();
  std::vector<ObjectRef<int>> refs;
  for (int round = 0; round < 8; ++round) {
    std::vector<ActorHandle<Phoenix>> actors;
    for (int i = 0; i < 4; ++i) actors.push_back(Actor<Phoenix>().MaxRestarts(-1).MaxTaskRetries(-1).Remote());
    if (const std::optional<Relative> zygote = Family::Zygote()) kill(zygote->pid, SIGKILL);
    for (const auto& actor : actors) EXPECT_EQ(Get(actor.Call<&Phoenix::Add>().Remote(round), seconds(20)), round);
  }
}

TEST_F(Faults, WithoutItsNodeADriverIsTold) {
  StartCluster();
  const auto actor = Actor<Phoenix>().Remote();
  Get(actor.Call<&Phoenix::Add>().Remote(1));
  const ObjectRef<void> running = actor.Call<&Phoenix::WaitFor>().Remote(File("never"));
  const ObjectRef<int> queued = Task<&SayPidAndWait>().Remote(File("pid"), File("never"));
  AwaitPid("pid");
  const std::optional<Relative> node = Family::Node();
  ASSERT_TRUE(node);
  KillNow(node->pid);
  ExpectSoon(running);
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { Get(running); }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { Get(queued); }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { Get(Task<&One>().Remote(), seconds(5)); }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { Get(actor.Call<&Phoenix::Add>().Remote(1), seconds(5)); }));
  EXPECT_TRUE(
      ErrorOf<NodeDiedError>([&] { Get(Actor<Phoenix>().Remote().Call<&Phoenix::Add>().Remote(1), seconds(5)); }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { (void)GetActor<Phoenix>("whoever"); }));
  EXPECT_TRUE(ErrorOf<NodeDiedError>([&] { Put(std::string(10 << 20, 'x')); }));
  Drain(seconds(5));
  EXPECT_TRUE(Within(kNoticed, [] { return Family::Workers().empty() && !Family::Zygote(); })) << Family::Describe();
  EndCluster();
  ExpectNothingLeft();
  StartCluster();
  EXPECT_EQ(Get(Task<&One>().Remote()), 1);
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Get(queued); })) << "of the earlier Init";
}

// ------------------------------------------------------------------ the driver

SCENARIO(BusyDriver) {
  const Runtime runtime = Init(argc, argv);
  const std::string directory = ArgumentOf(argc, argv, "dir");
  const auto actor = Actor<Phoenix>().Name("named").MaxRestarts(-1).Remote();
  Get(actor.Call<&Phoenix::Add>().Remote(1));
  const auto anonymous = Actor<Phoenix>().Remote();
  Get(anonymous.Call<&Phoenix::Add>().Remote(1));
  const ObjectRef<Tensor> object = Put(Tensor(DType::kFloat32, {1 << 20}));
  const ObjectRef<int> child = Task<&StartProcessAndWait>().Remote(directory + "/child", directory + "/never", false);
  const ObjectRef<int> nested = Task<&MakeTaskAndWait>().Remote(directory + "/nested");
  AwaitFile(directory + "/child");
  AwaitFile(directory + "/nested");
  Say("busy");
  Get(child);
  Say("finished");
  return 0;
}

TEST_F(Faults, EverythingGoesWithAKilledDriver) {
  Scenario driver = Run("BusyDriver");
  driver.Await("busy");
  EXPECT_THAT(Family::All(), SizeIs(testing::Ge(7)))
      << "driver, node, zygote, 2 actors, 2 workers, and a process of one's own";
  driver.Signal(SIGKILL);
  EXPECT_EQ(driver.Join().signal, SIGKILL);
  EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << Family::Describe();
}

TEST_F(Faults, EverythingGoesWithADriverKilledWhileItStarts) {
  // At points some milliseconds apart, from before main to after Init.
  for (int delay_ms = 0; delay_ms < 60; delay_ms += 4) {
    Scenario driver = Run("BusyDriver");
    std::this_thread::sleep_for(milliseconds(delay_ms));
    driver.Signal(SIGKILL);
    driver.Join();
    EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << delay_ms << " ms\n" << Family::Describe();
    if (HasFailure()) break;
  }
}

TEST_F(Faults, TheRunDirectoryGoesWithAKilledDriverWhereverTheLogsAre) {
  Scenario driver("BusyDriver", File(""), {"--manta-run-dir=" + run_directory(), "--manta-num-cpus=2"}, {});
  driver.Await("busy");
  driver.Signal(SIGKILL);
  driver.Join();
  EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << Family::Describe();
}

TEST_F(Faults, OneCtrlCIsAnOrderlyEnd) {
  Scenario driver = Run("BusyDriver");
  driver.Await("busy");
  driver.Signal(SIGINT);
  const Scenario::End end = driver.Join(seconds(15));
  EXPECT_EQ(end.signal, SIGINT) << end.Describe();
  EXPECT_TRUE(driver.Said("interrupted")) << driver.output();
  EXPECT_FALSE(driver.Said("finished"));
  EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << Family::Describe();
}

TEST_F(Faults, TwoCtrlCsEndAtOnce) {
  Scenario driver = Run("BusyDriver");
  driver.Await("busy");
  driver.Signal(SIGINT);
  std::this_thread::sleep_for(milliseconds(50));
  driver.Signal(SIGINT);
  EXPECT_EQ(driver.Join(kNoticed).signal, SIGINT);
  EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << Family::Describe();
}

TEST_F(Faults, EverythingGoesWithATerminatedDriver) {
  Scenario driver = Run("BusyDriver");
  driver.Await("busy");
  driver.Signal(SIGTERM);
  EXPECT_EQ(driver.Join().signal, SIGTERM);
  EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << Family::Describe();
}

SCENARIO(DriverThatIsStopped) {
  const Runtime runtime = Init(argc, argv);
  const auto actor = Actor<Phoenix>().Remote();
  int value = Get(actor.Call<&Phoenix::Add>().Remote(1));
  Say("started");
  const std::string directory = ArgumentOf(argc, argv, "dir");
  while (!Exists(directory + "/continue")) value = Get(actor.Call<&Phoenix::Add>().Remote(1));
  std::vector<ObjectRef<int>> tasks;
  for (int i = 0; i < 100; ++i) tasks.push_back(Task<&Increase>().Remote(i));
  for (int i = 0; i < 100; ++i) {
    if (Get(tasks[i]) != i + 1) Say("wrong");
  }
  Say("right after " + std::to_string(Get(actor.Call<&Phoenix::Add>().Remote(1)) - value));
  return 0;
}
TEST_F(Faults, AStoppedDriverIsNotDead) {
  Scenario driver = Run("DriverThatIsStopped");
  driver.Await("started");
  driver.Signal(SIGSTOP);
  std::this_thread::sleep_for(seconds(2));
  WriteFile(File("continue"), "");
  driver.Signal(SIGCONT);
  EXPECT_EQ(driver.Await("right after"), "1");
  const Scenario::End end = driver.Join();
  EXPECT_TRUE(end.exited && end.status == 0) << end.Describe();
}

SCENARIO(DriverThatLeavesMain) {
  const Runtime runtime = Init(argc, argv);
  Task<&SayPidAndWait>().Remote(ArgumentOf(argc, argv, "dir") + "/pid", "/never");
  AwaitFile(ArgumentOf(argc, argv, "dir") + "/pid");
  const std::string how = ArgumentOf(argc, argv, "how");
  if (how == "exit") exit(5);
  if (how == "quick_exit") quick_exit(5);
  if (how == "abort") abort();
  if (how == "throw") throw std::runtime_error("nobody catches it");
  return 5;
}
TEST_F(Faults, EverythingGoesHoweverADriverEnds) {
  for (const std::string how : {"return", "exit", "quick_exit", "abort", "throw"}) {
    Scenario driver = Run("DriverThatLeavesMain", {"--how=" + how});
    const Scenario::End end = driver.Join();
    if (how == "abort" || how == "throw")
      EXPECT_EQ(end.signal, SIGABRT) << how;
    else
      EXPECT_EQ(end.status, 5) << how << " " << end.Describe() << driver.output();
    EXPECT_TRUE(Within(kNoticed, [] { return Family::All().empty(); })) << how << Family::Describe();
    unlink(File("pid").c_str());
  }
}

// ------------------------------------------------------------------ many faults

class ManyFaults : public Faults {
 protected:
  // Kills one worker at a time until it is destroyed.
  class Killer {
   public:
    explicit Killer(uint32_t seed, milliseconds every)
        : thread_([this, seed, every] {
            std::mt19937 random(seed);
            while (!over_) {
              std::this_thread::sleep_for(every);
              const std::vector<Relative> workers = Family::Workers();
              if (workers.empty()) continue;
              kill(workers[random() % workers.size()].pid, SIGKILL);
              ++kills_;
            }
          }) {}
    int Stop() {
      over_ = true;
      if (thread_.joinable()) thread_.join();
      return kills_;
    }
    ~Killer() { Stop(); }

   private:
    std::atomic<bool> over_ = false;
    std::atomic<int> kills_ = 0;
    std::thread thread_;
  };
};

TEST_F(ManyFaults, EachTaskHasOneOutcome) {
  StartCluster();
  Killer killer(1, milliseconds(40));
  std::vector<ObjectRef<int>> retried, once;
  for (int i = 0; i < 2000; ++i) {
    retried.push_back(Task<&NoteAndWork>().MaxRetries(-1).Remote(File("retried"), i));
    once.push_back(Task<&NoteAndWork>().MaxRetries(0).Remote(File("once"), i));
    if (i % 100 == 0) std::this_thread::sleep_for(milliseconds(20));
  }
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(Get(retried[i]), i);
  std::set<int> succeeded, failed;
  for (int i = 0; i < 2000; ++i) {
    const Result<int> result = TryGet(once[i]);
    if (result.ok()) {
      EXPECT_EQ(*result, i);
      succeeded.insert(i);
    } else {
      EXPECT_EQ(result.error().code(), ErrorCode::kWorkerDied) << result.error().Describe();
      failed.insert(i);
    }
  }
  EXPECT_GE(killer.Stop(), 5) << "fewer faults than planned";
  std::map<int, int> runs;
  for (const std::string& line : Lines(File("once"))) ++runs[std::stoi(line)];
  for (const auto& [number, count] : runs) EXPECT_EQ(count, 1) << "task " << number << " ran more than once";
  for (const int number : succeeded) EXPECT_EQ(runs[number], 1) << "task " << number << " succeeded and never ran";
}

TEST_F(ManyFaults, EachCallOfAnActorHasOneOutcome) {
  StartCluster();
  const auto actor = Actor<Phoenix>().MaxRestarts(-1).Remote();
  const auto patient = Actor<Phoenix>().MaxRestarts(-1).MaxTaskRetries(-1).Remote();
  Killer killer(2, milliseconds(60));
  std::vector<ObjectRef<int>> once, retried;
  for (int i = 0; i < 4000; ++i) {
    once.push_back(actor.Call<&Phoenix::Note>().Remote(File("once"), i));
    retried.push_back(patient.Call<&Phoenix::Note>().Remote(File("retried"), i));
    if (i % 50 == 0) std::this_thread::sleep_for(milliseconds(20));
  }
  for (int i = 0; i < 4000; ++i) ASSERT_EQ(Get(retried[i]), i);
  std::set<int> succeeded;
  for (int i = 0; i < 4000; ++i) {
    const Result<int> result = TryGet(once[i]);
    if (result.ok()) {
      EXPECT_EQ(*result, i);
      succeeded.insert(i);
    } else {
      EXPECT_EQ(result.error().code(), ErrorCode::kActorDied) << result.error().Describe();
    }
  }
  EXPECT_GE(killer.Stop(), 5) << "fewer faults than planned";
  std::map<int, int> runs;
  int before = -1;
  for (const std::string& line : Lines(File("once"))) {
    const int number = std::stoi(line);
    ++runs[number];
    EXPECT_GT(number, before) << "out of order";
    before = number;
  }
  for (const auto& [number, count] : runs) EXPECT_EQ(count, 1) << "call " << number << " ran more than once";
  for (const int number : succeeded) EXPECT_EQ(runs[number], 1) << "call " << number << " succeeded and never ran";
  // Retries included, the first runs of calls are in order.
  int newest = -1;
  for (const std::string& line : Lines(File("retried"))) {
    const int number = std::stoi(line);
    EXPECT_LE(number, newest + 1) << "a call overtook another";
    newest = std::max(newest, number);
  }
}

}  // namespace manta::embedded

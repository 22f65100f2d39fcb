// What the tests of dying, stopping and returning processes share: what runs in workers, and the fixture.
#ifndef MANTA_TESTS_CLUSTER_FAULT_STORY_H_
#define MANTA_TESTS_CLUSTER_FAULT_STORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace manta::cluster {

inline constexpr milliseconds kNoticed = seconds(1);
inline constexpr milliseconds kRecovered = seconds(5);
inline constexpr milliseconds kSilenceNoticed(3500);

// ------------------------------------------------------------------ what runs in workers

int OwnPid();
std::string Where();  // the node that it runs on
std::string SayPidAndWait(std::string pid_file, std::string go);
std::vector<uint8_t> Bytes(uint64_t count);
uint64_t SizeOf(std::vector<uint8_t> data);
int SlowOne(int ms);

class Counter {
 public:
  Counter() = default;
  // Says its pid, and waits for the file's twin that ends in ".go".
  explicit Counter(std::string pid_file);
  int Add(int by) { return value_ += by; }
  int Pid();
  std::string Node();
  int Life();
  void WaitFor(std::string path);

 private:
  int value_ = 0;
};
// Calls another actor, whose handle it holds.
class Caller {
 public:
  explicit Caller(ActorHandle<Counter> counter) : counter_(counter) {}
  int Call();
  // One call after another until the file is there; how many came back.
  int CallUntil(std::string path);
  int Ready() { return 1; }
  // What Get says when its own timeout, or that of the call, is over.
  std::string GetWithin(int ms);
  std::string CallWithin(int ms);

 private:
  ActorHandle<Counter> counter_;
};

// ------------------------------------------------------------------ the fixture

class Faults : public ClusterTest {
 protected:
  Faults() : ClusterTest(seconds(60)) {}

  int AwaitPid(const std::string& name);
  // How long until `ref` is ready, one way or the other.
  template <class T>
  milliseconds TimeToEnd(const ObjectRef<T>& ref, milliseconds limit) {
    const Stopwatch watch;
    EXPECT_TRUE(Wait(std::vector<ObjectRef<T>>{ref}, 1, limit).pending.empty()) << "not noticed in time";
    return watch.elapsed();
  }
  void Sleep(milliseconds time);
  void KillNow(pid_t pid);
  // Calls go through that the head has no part in.
  void ExpectCallsSucceed(const ActorHandle<Counter>& counter, int calls = 100);
  void ExpectNamesCanBeGiven(const std::string& name, milliseconds limit);
  // The head does not start: its Redis has lost what was acknowledged.
  void ExpectHeadRefusesLostHistory();
};

}  // namespace manta::cluster

#endif  // MANTA_TESTS_CLUSTER_FAULT_STORY_H_

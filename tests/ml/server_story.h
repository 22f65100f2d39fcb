// What the fault tests of parameter servers are told with: processes of its actors, killed by signal 9 at random
// moments while a training goes on.
#ifndef MANTA_TESTS_ML_SERVER_STORY_H_
#define MANTA_TESTS_ML_SERVER_STORY_H_

#include <signal.h>

#include <atomic>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "manta/ml/shard_storage.h"
#include "tests/embedded/story.h"

namespace manta::embedded {

class ServerFaultsTest : public EmbeddedTest {
 protected:
  static constexpr uint32_t kWorkers = 2;
  static constexpr size_t kShards = 2;

  ServerFaultsTest() : EmbeddedTest(seconds(100)) {}

  ml::CheckpointOptions Checkpoint() const { return {.directory = File("server"), .every_pushes = 40}; }
  // A worker's actor appends its pid when it has joined.
  std::string PidFile(uint32_t worker) const { return File("worker-" + std::to_string(worker)); }

  // Trains until `train` says so, whose argument is whether there have been `strikes` strikes; what it says.
  int TrainUnder(int strikes, const std::function<void(std::mt19937_64&)>& strike,
                 const std::function<int(const std::function<bool()>& enough)>& train) const {
    std::atomic<int> struck = 0;
    std::jthread killer([&] {
      for (std::mt19937_64 random(seed_); struck < strikes; ++struck) strike(random);
    });
    return train([&] { return struck >= strikes; });
  }
  static void Nap(std::mt19937_64& random, uint64_t max_ms) {
    std::this_thread::sleep_for(milliseconds(random() % max_ms));
  }

  void KillWorker(uint32_t worker) const {
    const size_t lives = Lines(PidFile(worker)).size();
    Strike(std::stoi(Lines(PidFile(worker)).back()));
    // It is back when it has joined, and the shards have written down what its last life kept.
    EXPECT_TRUE(Within(seconds(20), [&] { return Lines(PidFile(worker)).size() > lives; }));
  }
  void KillShard(size_t shard) const { Strike(PidOfShard(shard)); }
  void KillScheduler() const { Strike(PidThatMaps("/scheduler.state")); }
  pid_t PidOfShard(size_t shard) const { return PidThatMaps("/shard-" + std::to_string(shard) + "-"); }

 private:
  static void Strike(pid_t pid) {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    EXPECT_TRUE(Within(seconds(20), [&] { return !IsAlive(pid); }));
  }
  // The process that has a file mapped whose name begins so, in the server's directory.
  pid_t PidThatMaps(const std::string& name) const {
    pid_t pid = 0;
    EXPECT_TRUE(Within(seconds(20), [&] {
      for (const Relative& relative : Family::Workers()) {
        const std::string maps = ReadFile("/proc/" + std::to_string(relative.pid) + "/maps");
        if (maps.find(Checkpoint().directory + name) != std::string::npos) pid = relative.pid;
      }
      return pid != 0;
    }));
    return pid;
  }

  const uint64_t seed_ = std::random_device()();
  const ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
};

}  // namespace manta::embedded

#endif  // MANTA_TESTS_ML_SERVER_STORY_H_

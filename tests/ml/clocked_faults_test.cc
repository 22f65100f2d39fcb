// Parameter servers of every kind under kill -9, with workers that count iterations: worker w pushes, in iteration i,
// the PushId (0, w, i), and a worker that comes back goes on in the iteration that it had not finished. So each name is
// applied once, and under BSP, where all that an iteration sees is fixed, the values are those of an undisturbed run.
#include <unistd.h>

#include <cmath>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "manta/ml/parameter_worker.h"
#include "manta/ml/sparse_worker.h"
#include "tests/ml/server_story.h"

namespace manta::embedded {

using ml::Consistency;
using ml::PushId;
using ::testing::Each;

constexpr size_t kParameters = 60;

// A dense table, and how to use it.
struct Ranges {
  using Server = ml::ParameterServer<>;
  using Worker = ml::ParameterWorker<>;
  static Server Create(const Server::Options& options) {
    return Server::Create(std::vector<float>(kParameters), options);
  }
  static std::vector<float> Values(const Server& server) { return server.Values(); }
  static std::vector<float> Pull(Worker& worker) {
    std::vector<float> values(kParameters);
    worker.Pull().CopyTo(values);
    return values;
  }
  static void Push(Worker& worker, const std::vector<float>& gradient, const PushId& id) {
    worker.Push(gradient, 1, id);
  }
};

// A hashed one.
struct Keys {
  using Server = ml::SparseParameterServer<>;
  using Worker = ml::SparseWorker<>;
  static Server Create(const Server::Options& options) { return Server::Create(options); }
  static std::vector<uint64_t> All() {
    std::vector<uint64_t> keys;
    for (uint64_t i = 0; i < kParameters; ++i) keys.push_back(i * 0x9E3779B97F4A7C15u);
    return keys;
  }
  static std::vector<float> Values(const Server& server) { return server.Values(All()); }
  static std::vector<float> Pull(Worker& worker) {
    const auto values = worker.Pull(All());
    return {values.begin(), values.end()};
  }
  static void Push(Worker& worker, const std::vector<float>& gradient, const PushId& id) {
    worker.Push(All(), gradient, 1, id);
  }
};

// Depends on what the worker saw; sums of such depend on their order, by rounding.
std::vector<float> RoughGradient(uint32_t worker, uint64_t iteration, const std::vector<float>& seen) {
  std::mt19937_64 random(worker * 1'000'000 + iteration);
  std::vector<float> gradient;
  for (const float value : seen) {
    gradient.push_back(value * 1e-3f + float(random() % 1000) * 1e-3f * std::pow(10.0f, float(random() % 6)));
  }
  return gradient;
}

template <class Table>
class ClockedWorker {
 public:
  ClockedWorker(typename Table::Server server, uint32_t index, std::string pid_file) : worker_(server, index) {
    if (!pid_file.empty()) AppendLine(pid_file, std::to_string(getpid()));
  }

  // Its iterations before `end` that are not finished. BSP: of rough gradients, else of ones.
  void Train(uint64_t end, int pause_us) {
    const bool is_rough = worker_.server().consistency().adds_pushes();
    while (worker_.clock() < end) {
      const PushId id{0, worker_.index(), worker_.clock()};
      const std::vector<float> seen = Table::Pull(worker_);
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      Table::Push(worker_, is_rough ? RoughGradient(worker_.index(), id.step, seen) : std::vector(kParameters, 1.0f),
                  id);
      worker_.Clock();
    }
    worker_.Flush();
  }

 private:
  typename Table::Worker worker_;
};

class ClockedFaults : public ServerFaultsTest {
 protected:
  // Kills process number `kill` of a test.
  template <class Table>
  using Killer = std::function<void(std::mt19937_64& random, const typename Table::Server& server, int kill)>;

  template <class Table>
  typename Table::Server Create(const Consistency& consistency, const ml::CheckpointOptions& checkpoint) {
    return Table::Create(
        {.shards = kShards, .workers = kWorkers, .consistency = consistency, .checkpoint = checkpoint});
  }

  // The values after so many iterations if nobody is killed.
  template <class Table>
  std::vector<float> Undisturbed(const Consistency& consistency, uint64_t iterations) {
    const auto server = Create<Table>(consistency, {});
    std::vector<std::jthread> threads;
    for (uint32_t index = 0; index < kWorkers; ++index) {
      threads.emplace_back([&, index] { ClockedWorker<Table>(server, index, "").Train(iterations, 0); });
    }
    threads.clear();
    return Table::Values(server);
  }

  template <class Table>
  void ExpectEachPushOnceUnder(const Consistency& consistency, int kills, const Killer<Table>& kill_one) {
    StartCluster();
    const auto server = Create<Table>(consistency, Checkpoint());
    using Worker = ClockedWorker<Table>;
    std::vector<ActorHandle<Worker>> workers;
    for (uint32_t i = 0; i < kWorkers; ++i) {
      workers.push_back(Actor<Worker>().NumCpus(0).MaxRestarts(-1).MaxTaskRetries(-1).Remote(server, i, PidFile(i)));
    }
    for (uint32_t i = 0; i < kWorkers; ++i) AwaitFile(PidFile(i));
    int killed = 0;
    const auto strike = [&](std::mt19937_64& random) { kill_one(random, server, killed++); };
    const int iterations = TrainUnder(kills, strike, [&](const auto& enough) {
      int end = 0;
      do {
        end += 50;
        std::vector<ObjectRef<void>> trained;
        for (auto& worker : workers) {
          trained.push_back(worker.template Call<&Worker::Train>().Remote(uint64_t(end), /*pause_us=*/300));
        }
        Get(trained);
      } while (!enough());
      return end;
    });
    const std::vector<float> values = Table::Values(server);
    if (consistency.adds_pushes()) {
      EXPECT_EQ(values, Undisturbed<Table>(consistency, uint64_t(iterations)));
    } else {
      EXPECT_THAT(values, Each(-float(iterations * int(kWorkers))));
    }
    EXPECT_EQ(server.Stats().pushes, uint64_t(iterations) * kWorkers * kShards);
  }

  // Workers, the scheduler and shards by turns. Workers and shards are back before the next dies, because two deaths at
  // once may lose something; the scheduler need not be.
  template <class Table>
  void ExpectEachPushOnce(const Consistency& consistency) {
    ExpectEachPushOnceUnder<Table>(consistency, /*kills=*/12,
                                   [&](std::mt19937_64& random, const typename Table::Server& server, int kill) {
                                     Nap(random, 30);
                                     if (kill % 3 == 0) KillWorker(uint32_t(random() % kWorkers));
                                     if (kill % 3 == 1) KillScheduler();
                                     if (kill % 3 == 2) KillShard(random() % kShards);
                                     Table::Values(server);
                                   });
  }
};

TEST_F(ClockedFaults, BspComesOutAsIfNobodyHadBeenKilled) { ExpectEachPushOnce<Ranges>(ml::Bsp()); }
TEST_F(ClockedFaults, BspOfAHashedTableDoesToo) { ExpectEachPushOnce<Keys>(ml::Bsp()); }
TEST_F(ClockedFaults, SspLosesAndDoublesNoPush) { ExpectEachPushOnce<Ranges>(ml::Ssp(3)); }
TEST_F(ClockedFaults, AspOfAHashedTableDoesNeither) { ExpectEachPushOnce<Keys>(ml::Asp()); }

TEST_F(ClockedFaults, NobodyMissesASchedulerThatIsKilledAgainAndAgain) {
  ExpectEachPushOnceUnder<Ranges>(ml::Bsp(), /*kills=*/15, [&](std::mt19937_64& random, const auto&, int) {
    Nap(random, 40);
    KillScheduler();
  });
}

}  // namespace manta::embedded

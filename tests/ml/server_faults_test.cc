// A parameter server whose workers and shards are killed by signal 9 at random moments, while a training goes on whose
// result is known exactly: row r takes 1 from parameter r % kParameters, so that after e epochs each is
// -e * kRows / kParameters, whatever was sent again, restarted or computed again.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "manta/ml/leases.h"
#include "manta/ml/parameter_worker.h"
#include "tests/ml/server_story.h"

namespace manta::embedded {

using ml::ParameterServer;
using ml::PushId;
using ml::RowLease;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr uint64_t kRows = 2000, kParameters = 100, kRowsPerStep = 10;

class LeaseWorker {
 public:
  LeaseWorker(ParameterServer<> server, uint32_t index, std::string pid_file) : worker_(server, index) {
    AppendLine(pid_file, std::to_string(getpid()));
  }

  // One push for every kRowsPerStep rows.
  int Train(RowLease lease, int pause_us) {
    for (uint64_t begin = lease.begin; begin < lease.end; begin += kRowsPerStep) {
      std::vector<float> gradient(kParameters);
      for (uint64_t row = begin; row < std::min(begin + kRowsPerStep, lease.end); ++row)
        gradient[row % kParameters] += 1;
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      worker_.Push(gradient, 1, PushId{lease.epoch, lease.id, (begin - lease.begin) / kRowsPerStep});
    }
    worker_.Flush();
    return 0;
  }
  int Rest() { return 0; }

 private:
  ml::ParameterWorker<> worker_;
};

class ServerFaults : public ServerFaultsTest {
 protected:
  void Begin() {
    StartCluster();
    server_ = ParameterServer<>::Create(std::vector<float>(kParameters),
                                        {.shards = kShards, .workers = kWorkers, .checkpoint = Checkpoint()});
    for (uint32_t i = 0; i < kWorkers; ++i) {
      workers_.push_back(Actor<LeaseWorker>().NumCpus(0).MaxRestarts(-1).Remote(server_, i, PidFile(i)));
    }
    for (auto& worker : workers_) Get(worker.Call<&LeaseWorker::Rest>().Remote());
  }

  // Trains until `enough`, at least an epoch; how many epochs.
  int Train(const std::function<bool()>& enough) {
    constexpr int kPauseUs = 300;
    std::vector<int> commits(kRows);
    int epochs = 0;
    do {
      ml::TrainByLeases<int>(
          {.rows = kRows, .rows_total = kRows, .rows_per_lease = 100, .workers = kWorkers, .failures_max = 1000},
          [&](RowLease lease) {
            lease.epoch = uint64_t(epochs);
            return workers_[lease.worker].Call<&LeaseWorker::Train>().Remote(lease, kPauseUs);
          },
          [&](RowLease lease, int) {
            for (uint64_t row = lease.begin; row < lease.end; ++row) ++commits[row];
            server_.Retire(uint64_t(epochs), lease.id);
          });
      ++epochs;
      EXPECT_THAT(commits, Each(epochs));
    } while (!enough());
    return epochs;
  }
  // While `strike` kills.
  void ExpectAllRowsOnceUnder(int strikes, const std::function<void(std::mt19937_64&)>& strike) {
    const int epochs = TrainUnder(strikes, strike, [&](const auto& enough) { return Train(enough); });
    EXPECT_THAT(server_.Values(), Each(-float(epochs) * float(kRows / kParameters)));
  }
  // Kills a shard, and waits until it can be read again; for how long.
  double OutlastShard(size_t shard) {
    const auto begin = std::chrono::steady_clock::now();
    KillShard(shard);
    server_.Values();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  // A lease of 100 rows, 10 pushes.
  void TrainOneLease(const RowLease& lease) {
    Get(workers_[0].Call<&LeaseWorker::Train>().Remote(lease, /*pause_us=*/0));
  }

  ParameterServer<> server_;
  std::vector<ActorHandle<LeaseWorker>> workers_;
};

TEST_F(ServerFaults, KilledWorkersLoseAndDoubleNoRow) {
  Begin();
  ExpectAllRowsOnceUnder(15, [&](std::mt19937_64& random) {
    Nap(random, 40);
    KillWorker(uint32_t(random() % kWorkers));
  });
}

TEST_F(ServerFaults, KilledShardsLoseAndDoubleNoAcknowledgedPush) {
  Begin();
  std::vector<double> stalls;
  ExpectAllRowsOnceUnder(15, [&](std::mt19937_64& random) {
    Nap(random, 60);
    stalls.push_back(OutlastShard(random() % kShards));
  });
  std::ranges::sort(stalls);
  std::printf("stall of readers after kill -9 of a shard: median %.3f s, longest %.3f s\n", stalls[stalls.size() / 2],
              stalls.back());
  EXPECT_LT(stalls[stalls.size() / 2], 2);
}

// The shard is killed while a worker that is done rests: what it keeps comes from its thread.
TEST_F(ServerFaults, AWorkerThatRestsGivesBackWhatItKeeps) {
  Begin();
  TrainOneLease({.id = 0, .epoch = 0, .begin = 0, .end = 100});
  for (int times = 0; times < 3; ++times) OutlastShard(0);
  EXPECT_THAT(server_.Values(), Each(-1.0f));
}

TEST_F(ServerFaults, LossIsRefusedAndNamed) {
  Begin();
  TrainOneLease({.id = 7, .epoch = 3, .begin = 0, .end = 100});  // no checkpoint
  const pid_t shard = PidOfShard(0);
  kill(shard, SIGSTOP);  // it writes none when its worker dies
  Kill(workers_[0]);
  server_.scheduler().Call<&ml::ParameterScheduler::Leave>().Remote(uint32_t(0), uint64_t(0));
  kill(shard, SIGKILL);
  const auto error = ErrorOf<Error>([&] { server_.Values(); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(),
              HasSubstr("shard 0 was killed, and 10 acknowledged pushes after its checkpoint (0 pushes)"));
  EXPECT_THAT(error->what(), HasSubstr("step 0 of lease 7 in epoch 3, from worker 0"));
}

TEST_F(ServerFaults, AnotherServerGoesOnFromTheDirectory) {
  Begin();
  TrainOneLease({.id = 0, .epoch = 0, .begin = 0, .end = 100});
  server_.Checkpoint();
  workers_.clear();
  server_ = {};
  ParameterServer<>::Options options{.shards = kShards, .checkpoint = Checkpoint()};
  EXPECT_THROW(ParameterServer<>::Create(std::vector<float>(kParameters), options), InvalidArgumentError);
  options.checkpoint.resume = true;
  {
    const auto resumed = ParameterServer<>::Create(std::vector<float>(kParameters), options);
    EXPECT_THAT(resumed.Values(), Each(-1.0f));
    ml::ParameterWorker again(resumed);
    again.Push(std::vector<float>(kParameters, 1), 1, PushId{0, 0, 0});  // had been applied
    again.Flush();
    EXPECT_THAT(resumed.Values(), Each(-1.0f));
  }
  const auto error = ErrorOf<Error>([&] { ParameterServer<>::Create(std::vector<float>(kParameters + 2), options); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("has 50 values, and the table 51"));
}

}  // namespace manta::embedded

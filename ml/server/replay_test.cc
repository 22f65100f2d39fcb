// Recorded trainings are run again, inside one process.
#include "manta/ml/replay.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <random>
#include <thread>

#include "manta/ml/adam.h"
#include "manta/ml/ftrl.h"
#include "manta/ml/parameter_worker.h"
#include "manta/ml/sparse_worker.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

namespace fs = std::filesystem;

class ReplayTest : public LocalTest {
 protected:
  void SetUp() override {
    LocalTest::SetUp();
    std::string name = fs::temp_directory_path() / "replay_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override {
    LocalTest::TearDown();
    fs::remove_all(directory_);
  }

  std::string directory_;
};

TEST_F(ReplayTest, AnAsynchronousRunComesOutTheSameToTheLastBit) {
  for (const Consistency& consistency : {Asp(), Ssp(1), Bsp()}) {
    const std::string record = directory_ + "/" + consistency.ToString();
    const auto server = ParameterServer<Adam>::Create(
        std::vector<float>(500, 1), {.shards = 2, .workers = 3, .consistency = consistency, .record = record});
    std::vector<std::thread> threads;
    for (uint32_t index = 0; index < 3; ++index) {
      threads.emplace_back([&, index] {
        std::mt19937_64 random(index);
        ParameterWorker<Adam> worker(server, index);
        std::vector<float> gradient(500);
        for (int step = 0; step < 30; ++step) {
          worker.Pull().CopyTo(gradient);
          for (float& g : gradient) g = g * 0.1f + float(random() % 1000) * 1e-3f;
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
          worker.Push(gradient, 0.01f);
          worker.Clock();
        }
        worker.Leave();
      });
    }
    for (std::thread& thread : threads) thread.join();
    const std::vector<float> values = server.Values();
    const auto replayed = ReplayParameters<Adam>(record);
    EXPECT_EQ(replayed.values, values) << consistency.ToString();
    EXPECT_EQ(replayed.updates, server.Stats().updates);
    EXPECT_TRUE(replayed.cut_shards.empty());
  }
}

TEST_F(ReplayTest, SparseRunsDoToo) {
  const std::string record = directory_ + "/sparse";
  const auto server = SparseParameterServer<FtrlProximal>::Create({.shards = 2, .record = record});
  SparseWorker worker(server);
  std::mt19937_64 random(1);
  for (uint64_t step = 0; step < 100; ++step) {
    const std::vector<uint64_t> keys{random() % 50, random() % 50 + 100};
    worker.Push(keys, std::vector<float>{float(random() % 100) * 0.01f, 1}, 0.1f);
  }
  worker.Flush();
  const auto replayed = ReplaySparse<FtrlProximal>(record);
  EXPECT_EQ(replayed.values.size(), server.KeyCount());
  for (const auto& [key, value] : replayed.values) EXPECT_EQ(server.Values(std::vector{key}).front(), value);
  EXPECT_THROW(ReplaySparse<FtrlProximal>(directory_ + "/other"), FileError);
}

}  // namespace
}  // namespace manta::ml

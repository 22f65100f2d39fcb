// Sparse tables behind a parameter server, inside one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "manta/ml/ftrl.h"
#include "manta/ml/sparse_worker.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

class SparseServerTest : public LocalTest {};

TEST_F(SparseServerTest, HasEachKeyInOneShard) {
  for (const size_t shards : {1, 3}) {
    const uint64_t seed = std::random_device()();
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    const auto server = SparseParameterServer<>::Create({.shards = shards});
    SparseWorker first(server), second(server);
    std::map<uint64_t, float> expected;
    for (int step = 0; step < 200; ++step) {
      std::vector<uint64_t> keys;
      std::vector<float> gradient;
      for (uint64_t count = random() % 100; count > 0; --count) {
        keys.push_back(random() % 300 * 0x100000001);
        gradient.push_back(float(int(random() % 9) - 4));
        expected[keys.back()] -= gradient.back();
      }
      (random() % 2 == 0 ? first : second).Push(keys, gradient, 1);
    }
    first.Flush();
    second.Flush();
    std::vector<uint64_t> keys;
    std::vector<float> values;
    for (const auto& [key, value] : expected) {
      keys.push_back(key);
      values.push_back(value);
    }
    EXPECT_EQ(server.Values(keys), values);
    const auto pulled = first.Pull(keys);
    EXPECT_EQ(std::vector<float>(pulled.begin(), pulled.end()), values);
    EXPECT_EQ(server.KeyCount(), keys.size());
  }
}

TEST_F(SparseServerTest, APrefetchSeesWhatWasPushedBefore) {
  const auto server = SparseParameterServer<>::Create({.shards = 2});
  SparseWorker worker(server);
  const std::vector<uint64_t> keys{1, 2, 3};
  for (int step = 1; step < 100; ++step) {
    worker.Push(keys, std::vector<float>(3, 1), 1);
    worker.Prefetch(keys);
    EXPECT_THAT(worker.Pulled(), Each(-float(step)));
  }
}

TEST_F(SparseServerTest, PrefetchesAreTakenInTheirOrder) {
  const auto server = SparseParameterServer<>::Create({.shards = 2});
  SparseWorker worker(server);
  for (uint64_t key = 1; key <= 4; ++key) {
    worker.Push(std::vector{key}, std::vector<float>{1}, float(key));
    worker.Prefetch(std::vector{key, key - 1});
  }
  for (uint64_t key = 1; key <= 3; ++key) EXPECT_THAT(worker.Pulled(), ElementsAre(-float(key), 1 - float(key)));
  EXPECT_THAT(worker.Pull(std::vector<uint64_t>{2}), ElementsAre(-2));
  EXPECT_THROW(worker.Pulled(), InvalidArgumentError);
}

TEST_F(SparseServerTest, BspAddsByKey) {
  const auto server = SparseParameterServer<>::Create({.shards = 2, .workers = 2, .consistency = Bsp()});
  SparseWorker first(server, 0), second(server, 1);
  first.Push(std::vector<uint64_t>{1, 2}, std::vector<float>{1, 1}, 1);
  second.Push(std::vector<uint64_t>{2, 3}, std::vector<float>{10, 10}, 1);
  EXPECT_THAT(server.Values(std::vector<uint64_t>{1, 2, 3}), Each(0.0f));
  std::thread other([&] { second.Clock(); });
  first.Clock();
  other.join();
  EXPECT_THAT(first.Pull(std::vector<uint64_t>{1, 2, 3}), ElementsAre(-1, -11, -10));
}

TEST_F(SparseServerTest, InitialValuesAreTheSameEverywhere) {
  using Server = SparseParameterServer<Sgd, InitiallyNormal>;
  const InitiallyNormal initial{.deviation = 1, .seed = 5};
  const auto server = Server::Create({.shards = 2}, initial);
  EXPECT_THAT(server.Values(std::vector<uint64_t>{7, 8}), ElementsAre(initial(7), initial(8)));
}

TEST_F(SparseServerTest, RefusesKeysWithoutGradients) {
  SparseWorker worker(SparseParameterServer<FtrlProximal>::Create({}));
  EXPECT_THROW(worker.Push(std::vector<uint64_t>{1}, std::vector<float>{}, 1), InvalidArgumentError);
}

}  // namespace
}  // namespace manta::ml

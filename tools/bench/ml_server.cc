// Parameter servers: exchanges beside memory's bandwidth and the ring, and what each consistency makes of stragglers.
#include <manta/manta.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>

#include "manta/ml/dataset.h"
#include "manta/ml/leases.h"
#include "manta/ml/loss.h"
#include "manta/ml/mlp.h"
#include "manta/ml/parameter_replica.h"
#include "manta/ml/parameter_worker.h"
#include "manta/ml/sparse_worker.h"
#include "tools/bench/bench.h"

namespace manta::bench {
namespace {

using ml::ParameterServer;
using std::chrono::milliseconds;

// ------------------------------------------------------------------ exchanges

constexpr size_t kDenseValues = 2'500'000;  // 10 MB

class Exchanger {
 public:
  Exchanger(ParameterServer<> server, uint32_t index) : worker_(server, index), gradient_(kDenseValues, 1e-3F) {}

  // Each push is of memory that is written anew, or all are of the same.
  int Exchange(int times, bool writes) {
    std::vector<Tensor> parts = Written();
    for (int i = 0; i < times; ++i) {
      if (writes && i > 0) parts = Written();
      worker_.PushPull(parts, 0.1F);
    }
    return times;
  }

 private:
  std::vector<Tensor> Written() {
    std::vector<Tensor> parts = worker_.CreateGradient();
    size_t begin = 0;
    for (Tensor& part : parts) {
      std::memcpy(part.mutable_data<float>(), gradient_.data() + begin, part.size_bytes());
      begin += part.size();
    }
    return parts;
  }

  ml::ParameterWorker<> worker_;
  std::vector<float> gradient_;
};

// Copies of 10 MB per second, by two threads together.
double CopiesPerSecond() {
  constexpr int kCopies = 200;
  const Stopwatch watch;
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([] {
      const std::vector<float> from(kDenseValues, 1);
      std::vector<float> to(kDenseValues);
      for (int i = 0; i < kCopies; ++i) {
        std::memcpy(to.data(), from.data(), kDenseValues * sizeof(float));
        asm volatile("" : : "r"(to.data()) : "memory");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return 2 * kCopies / watch.seconds();
}

std::vector<Sample> DenseExchanges(const Context& context, bool writes) {
  constexpr int kTimes = 200;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv, {.store_memory_bytes = uint64_t{1} << 30});
  const auto server = ParameterServer<>::Create(std::vector<float>(kDenseValues), {.shards = 2, .workers = 2});
  std::vector<ActorHandle<Exchanger>> workers;
  for (uint32_t i = 0; i < 2; ++i) workers.push_back(Actor<Exchanger>().NumCpus(0).Remote(server, i));
  const auto exchange = [&](int times) {
    std::vector<ObjectRef<int>> done;
    for (auto& worker : workers) done.push_back(worker.Call<&Exchanger::Exchange>().Remote(times, writes));
    Get(done);
  };
  exchange(kTimes / 4);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const Stopwatch watch;
    exchange(kTimes);
    const double updates = 2 * kTimes / watch.seconds();
    samples.push_back({updates, CopiesPerSecond()});
  }
  return samples;
}

double Limit(const char* name) { return std::stod(RunSelf({"bench-limit", name})); }

std::vector<Sample> KeyPushP50(const Context& context) {
  constexpr int kPushes = 20'000;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  ml::SparseWorker worker(ml::SparseParameterServer<>::Create({}));
  const std::vector<float> gradient{1};
  std::vector<Sample> samples;
  for (int repeat = 0; repeat < context.repeats + 1; ++repeat) {
    std::vector<double> micros;
    for (uint64_t i = 0; i < kPushes; ++i) {
      const std::vector<uint64_t> key{i % 1000};
      const Stopwatch watch;
      worker.Push(key, gradient, 0.1F);
      worker.Flush();
      micros.push_back(watch.micros());
    }
    if (repeat > 0) samples.push_back({Median(std::move(micros)), Limit("message_ring_us")});  // the first warms up
  }
  return samples;
}

// Pushes of one key each, some 500 of which may be unacknowledged (ShardChannel bounds them).
std::vector<Sample> KeyPushesPerSecond(const Context& context) {
  constexpr uint64_t kPushes = 500'000;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  ml::SparseWorker worker(ml::SparseParameterServer<>::Create({}));
  const std::vector<float> gradient{1};
  std::vector<Sample> samples;
  for (int repeat = 0; repeat < context.repeats + 1; ++repeat) {
    const Stopwatch watch;
    for (uint64_t i = 0; i < kPushes; ++i) {
      const uint64_t key = i % 1000;
      worker.Push({&key, 1}, gradient, 0.1F);
    }
    worker.Flush();
    const double per_second = kPushes / watch.seconds();
    if (repeat > 0) samples.push_back({per_second, Limit("message_ring_per_s")});
  }
  return samples;
}

// ------------------------------------------------------------------ stragglers

constexpr uint64_t kRows = 4096, kColumns = 64, kBatch = 64;
constexpr uint32_t kWorkers = 4;
constexpr milliseconds kStep{2};  // of a worker that is not slow

// A seeded logistic regression; labels by known weights.
struct Problem {
  std::vector<float> rows = std::vector<float>(kRows * kColumns);
  std::vector<uint8_t> labels = std::vector<uint8_t>(kRows);

  Problem() {
    std::mt19937_64 random(7);
    std::normal_distribution<float> normal;
    std::vector<float> weights(kColumns);
    for (float& weight : weights) weight = normal(random);
    for (float& x : rows) x = normal(random);
    for (uint64_t row = 0; row < kRows; ++row) labels[row] = Logit(weights, row) + normal(random) > 0;
  }
  float Logit(std::span<const float> weights, uint64_t row) const {
    float logit = 0;
    for (uint64_t i = 0; i < kColumns; ++i) logit += weights[i] * rows[row * kColumns + i];
    return logit;
  }
  double Loss(std::span<const float> weights) const {
    double loss = 0;
    for (uint64_t row = 0; row < kRows; ++row) {
      const double logit = Logit(weights, row);
      loss += ml::Softplus(logit) - labels[row] * logit;
    }
    return loss / double(kRows);
  }
  void AddGradient(std::span<const float> weights, uint64_t row, std::span<float> gradient) const {
    const float slope = (ml::Sigmoid(Logit(weights, row)) - float(labels[row])) / float(kBatch);
    for (uint64_t i = 0; i < kColumns; ++i) gradient[i] += slope * rows[row * kColumns + i];
  }
};

struct Slowness {
  double often = 0;  // the share of steps that take `often_times` as long
  double often_times = 10;
  double first_times = 1;  // how long worker 0's steps take

  template <class Archive>
  void serialize(Archive& archive) {
    archive(often, often_times, first_times);
  }
};

class Straggler {
 public:
  Straggler(ParameterServer<> server, uint32_t index, Slowness slowness, float rate)
      : worker_(server, index), slowness_(slowness), rate_(rate), random_(index) {}

  // Steps until Stop is called.
  uint64_t TrainOn() {
    uint64_t steps = 0;
    for (; !stops_; ++steps) Step(random_() % (kRows / kBatch) * kBatch);
    worker_.Leave();
    return steps;
  }
  void Stop() { stops_ = true; }
  // Steps through some rows once.
  uint64_t Train(ml::RowLease lease) {
    for (uint64_t row = lease.begin; row < lease.end; row += kBatch) Step(row);
    return lease.end - lease.begin;
  }
  int Rest() { return 0; }

 private:
  void Step(uint64_t begin) {
    const Tensor values = worker_.Pull().values.front();
    std::vector<float> gradient(kColumns);
    for (uint64_t row = begin; row < begin + kBatch; ++row) {
      problem_.AddGradient(values.values<float>(), row, gradient);
    }
    const bool is_slow = double(random_() % 1000) < slowness_.often * 1000;
    const double times = (is_slow ? slowness_.often_times : 1) * (worker_.index() == 0 ? slowness_.first_times : 1);
    std::this_thread::sleep_for(kStep * times);
    worker_.Push(gradient, rate_);
    worker_.Clock();
  }

  const Problem problem_;
  ml::ParameterWorker<> worker_;
  const Slowness slowness_;
  const float rate_;
  std::mt19937_64 random_;
  std::atomic<bool> stops_ = false;
};

struct Crew {
  ParameterServer<> server;
  std::vector<ActorHandle<Straggler>> workers;

  // BSP applies the mean of the workers' gradients at `rate`, the others each of them at a share of it.
  Crew(ml::Consistency consistency, Slowness slowness) {
    constexpr float kRate = 0.1F;
    server = ParameterServer<>::Create(std::vector<float>(kColumns),
                                       {.workers = kWorkers, .consistency = consistency, .average = true});
    const float rate = consistency.adds_pushes() ? kRate : kRate / float(kWorkers);
    for (uint32_t i = 0; i < kWorkers; ++i) {
      workers.push_back(Actor<Straggler>().NumCpus(0).MaxConcurrency(2).Remote(server, i, slowness, rate));
    }
    for (auto& worker : workers) Get(worker.Call<&Straggler::Rest>().Remote());
  }
};

// Seconds until the loss on all rows is at most `target`.
double SecondsToLoss(ml::Consistency consistency, Slowness slowness, double target) {
  static const Problem* const problem = new Problem;
  Crew crew(consistency, slowness);
  const Stopwatch watch;
  std::vector<ObjectRef<uint64_t>> running;
  for (auto& worker : crew.workers) running.push_back(worker.Call<&Straggler::TrainOn>().Remote());
  while (problem->Loss(crew.server.Values()) > target && watch.seconds() < 20)
    std::this_thread::sleep_for(milliseconds(2));
  const double seconds = watch.seconds();
  std::vector<ObjectRef<void>> stopped;
  for (auto& worker : crew.workers) stopped.push_back(worker.Call<&Straggler::Stop>().Remote());
  Get(stopped);
  Get(running);
  return seconds;
}

// Seconds for all rows, twice: in leases to whoever is free, or split evenly.
double SecondsForRows(ml::Consistency consistency, Slowness slowness, bool split_evenly) {
  Crew crew(consistency, slowness);
  const Stopwatch watch;
  ml::LeasePlan plan{.rows = kRows, .rows_total = 2 * kRows, .rows_per_lease = kBatch, .workers = kWorkers};
  plan.leases_per_worker = 1;
  if (split_evenly) plan.shares.assign(kWorkers, 1);
  ml::TrainByLeases<uint64_t>(
      plan,
      [&](const ml::RowLease& lease) { return crew.workers[lease.worker].Call<&Straggler::Train>().Remote(lease); },
      [](const ml::RowLease&, uint64_t) {});
  return watch.seconds();
}

constexpr double kTargetLoss = 0.30;
constexpr Slowness kTransient{.often = 0.05};
constexpr Slowness kPermanent{.first_times = 4};

std::vector<Sample> Compare(const Context& context, const std::function<double()>& bsp,
                            const std::function<double()>& other) {
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double slow = bsp(), fast = other();
    samples.push_back({slow / fast, std::nullopt});
  }
  return samples;
}

std::vector<Sample> SspOverBsp(const Context& context) {
  return Compare(
      context, [] { return SecondsToLoss(ml::Bsp(), kTransient, kTargetLoss); },
      [] { return SecondsToLoss(ml::Ssp(8), kTransient, kTargetLoss); });
}
std::vector<Sample> AspOverBsp(const Context& context) {
  return Compare(
      context, [] { return SecondsToLoss(ml::Bsp(), kPermanent, kTargetLoss); },
      [] { return SecondsToLoss(ml::Asp(), kPermanent, kTargetLoss); });
}
std::vector<Sample> DynamicOverBsp(const Context& context) {
  return Compare(
      context, [] { return SecondsForRows(ml::Bsp(), kPermanent, true); },
      [] { return SecondsForRows(ml::Asp(), kPermanent, false); });
}

// ------------------------------------------------------------------ Fashion-MNIST

constexpr uint64_t kMnistBatch = 256;
constexpr int kPushEvery = 3;
constexpr float kMnistRate = 0.05F;
constexpr int kEpochsMax = 20;

class Stepper {
 public:
  Stepper(ml::Dataset data, ParameterServer<> server, uint32_t index)
      : data_(std::move(data)), replica_(server, {.overlap = false, .worker = index}), model_({}, kMnistBatch) {}

  int Train(ml::RowLease lease) {
    for (uint64_t begin = lease.begin, step = 1; begin < lease.end; begin += kMnistBatch, ++step) {
      const auto [rows, labels] = data_.Rows(begin, std::min(begin + kMnistBatch, lease.end));
      model_.Step(replica_.values(), {rows, labels}, kMnistRate);
      if (step % kPushEvery == 0 || begin + kMnistBatch >= lease.end) replica_.Synchronize();
    }
    replica_.Flush();
    return 0;
  }
  int Rest() { return 0; }

 private:
  ml::Dataset data_;
  ml::ParameterReplica<> replica_;
  ml::Mlp<float> model_;
};

// Parameters as they were at some moments; evaluated when the clock has stopped.
struct Course {
  std::vector<std::pair<double, std::vector<float>>> moments;

  double SecondsTo(double accuracy, const ml::Dataset& test) const {
    ml::Mlp<float> model({}, kMnistBatch);
    for (const auto& [seconds, parameters] : moments) {
      const auto score = model.Evaluate(parameters, {test.rows.values<float>(), test.labels.values<uint8_t>()});
      if (double(score.correct) >= accuracy * double(test.count())) return seconds;
    }
    throw std::runtime_error("the accuracy was not reached in " + std::to_string(kEpochsMax) + " epochs");
  }
};

Course TrainInOneLoop(const ml::Dataset& train, std::vector<float> parameters) {
  ml::Mlp<float> model({}, kMnistBatch);
  Course course;
  const Stopwatch watch;
  for (int epoch = 0; epoch < kEpochsMax; ++epoch) {
    for (uint64_t begin = 0, step = 1; begin < train.count(); begin += kMnistBatch, ++step) {
      const auto [rows, labels] = train.Rows(begin, std::min(begin + kMnistBatch, train.count()));
      model.Step(parameters, {rows, labels}, kMnistRate);
      if (step % 64 == 0) course.moments.emplace_back(watch.seconds(), parameters);
    }
  }
  return course;
}

// One shard, and no overlap: all cores are busy, so the shard works on the core of the worker that waits for it.
Course TrainAsynchronously(const ml::Dataset& train, std::span<const float> parameters) {
  const auto server = ParameterServer<>::Create(parameters, {.shards = 1, .workers = 2});
  std::vector<ActorHandle<Stepper>> workers;
  for (uint32_t i = 0; i < 2; ++i) workers.push_back(Actor<Stepper>().NumCpus(0).Remote(train, server, i));
  for (auto& worker : workers) Get(worker.Call<&Stepper::Rest>().Remote());
  Course course;
  const Stopwatch watch;
  ml::TrainByLeases<int>(
      {.rows = train.count(),
       .rows_total = kEpochsMax * train.count(),
       .rows_per_lease = 16 * kMnistBatch,
       .workers = 2},
      [&](const ml::RowLease& lease) { return workers[lease.worker].Call<&Stepper::Train>().Remote(lease); },
      [&](const ml::RowLease& lease, int) {
        if (lease.id % 4 == 0) course.moments.emplace_back(watch.seconds(), server.Values());
      });
  return course;
}

// The time that two workers take to an accuracy of 0.87, beside that of one plain loop; a seed each repeat.
std::vector<Sample> AsyncTimeTo087(const Context& context) {
  constexpr double kAccuracy = 0.87;
  constexpr int kSeeds = 9;
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  std::vector<Sample> samples;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const ml::IdxOptions idx{.shuffle_seed = seed, .mean = 0.286F, .deviation = 0.353F, .in_store = true};
    const ml::Dataset train = ml::LoadMnist(folder, "train", idx), test = ml::LoadMnist(folder, "t10k", idx);
    ml::Mlp<float> model({}, kMnistBatch);
    std::vector<float> parameters(model.shape().parameter_count());
    model.Initialize(seed, parameters);
    const double one = TrainInOneLoop(train, parameters).SecondsTo(kAccuracy, test);
    const double two = TrainAsynchronously(train, parameters).SecondsTo(kAccuracy, test);
    samples.push_back({two, one});
  }
  return samples;
}

}  // namespace

void AddServerBenchmarks(std::vector<Benchmark>* all) {
  all->push_back({"ps_dense_10mb", "updates/s", "10 MB memcpy, two threads together", true,
                  [](const Context& context) { return DenseExchanges(context, false); }});
  all->push_back({"ps_dense_10mb_written", "updates/s", "10 MB memcpy, two threads together", true,
                  [](const Context& context) { return DenseExchanges(context, true); }});
  all->push_back({"ps_key_push_p50", "us", "polling ping-pong over a raw ring", false, KeyPushP50});
  all->push_back({"ps_key_pushes", "per s", "messages one way through a raw ring", true, KeyPushesPerSecond});
  all->push_back({"ps_async_time_to_087", "s", "one process, same code, batch and rate", false, AsyncTimeTo087});
  all->push_back({"ps_ssp8_over_bsp", "x", "", true, SspOverBsp});
  all->push_back({"ps_asp_over_bsp", "x", "", true, AspOverBsp});
  all->push_back({"ps_dynamic_over_bsp", "x", "", true, DynamicOverBsp});
}

}  // namespace manta::bench

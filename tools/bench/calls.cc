// Actor calls and tasks.
#include <manta/manta.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/status.h"
#include "rpc/ring_bench.h"
#include "tools/bench/bench.h"

namespace manta::bench {
namespace {

class Counter {
 public:
  int Add(int by) { return value_ += by; }

 private:
  int value_ = 0;
};

int Nothing(int value) { return value; }

// The median time of one call, waited for, in us.
double CallMicros(const ActorHandle<Counter>& counter, int calls, std::chrono::microseconds pause) {
  std::vector<double> micros;
  micros.reserve(static_cast<size_t>(calls));
  for (int i = 0; i < calls; ++i) {
    if (pause.count() != 0) std::this_thread::sleep_for(pause);
    const Stopwatch watch;
    Get(counter.Call<&Counter::Add>().Remote(1));
    micros.push_back(watch.micros());
  }
  return Median(std::move(micros));
}

// What the machine can do, measured by a process without a runtime (it forks).
double Limit(const char* name) { return std::stod(RunSelf({"bench-limit", name})); }

// Calls per second with `window` in flight.
template <typename Submit>
double Pipelined(int calls, size_t window, Submit submit) {
  std::vector<decltype(submit())> in_flight(window);
  const Stopwatch watch;
  for (int i = 0; i < calls; ++i) {
    auto& slot = in_flight[static_cast<size_t>(i) % window];
    if (i >= static_cast<int>(window)) Get(slot);
    slot = submit();
  }
  for (auto& slot : in_flight) Get(slot);
  return calls / watch.seconds();
}

std::vector<Sample> ActorCallP50(const Context& context) {
  constexpr int kCalls = 20000;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  auto counter = Actor<Counter>().Remote();
  CallMicros(counter, 2000, {});
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double value = CallMicros(counter, kCalls, {});
    samples.push_back({value, Limit("message_ring_us")});
  }
  return samples;
}

std::vector<Sample> ActorCallAsleepP50(const Context& context) {
  constexpr int kCalls = 100;
  constexpr std::chrono::milliseconds kPause(3);
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  auto counter = Actor<Counter>().Remote();
  CallMicros(counter, 20, kPause);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double value = CallMicros(counter, kCalls, kPause);
    samples.push_back({value, Limit("sleeping_socket_us")});
  }
  return samples;
}

std::vector<Sample> ActorCallsPipelined(const Context& context) {
  constexpr int kCalls = 300000;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  auto counter = Actor<Counter>().Remote();
  auto submit = [&] { return counter.Call<&Counter::Add>().Remote(1); };
  Pipelined(kCalls / 10, 1000, submit);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double value = Pipelined(kCalls, 1000, submit);
    samples.push_back({value, Limit("message_ring_per_s")});
  }
  return samples;
}

std::vector<Sample> TasksPipelined(const Context& context) {
  constexpr int kTasks = 100000;
  Context copy = context;
  auto runtime = Init(copy.argc, copy.argv);
  auto counter = Actor<Counter>().NumCpus(0).Remote();
  auto submit = [] { return Task<&Nothing>().Remote(1); };
  auto submit_call = [&] { return counter.Call<&Counter::Add>().Remote(1); };
  Pipelined(kTasks / 5, 1000, submit);
  Pipelined(kTasks / 5, 1000, submit_call);
  std::vector<Sample> samples;
  for (int i = 0; i < context.repeats; ++i) {
    const double value = Pipelined(kTasks, 1000, submit);
    samples.push_back({value, Pipelined(kTasks, 1000, submit_call)});
  }
  return samples;
}

template <typename T>
T Checked(absl::StatusOr<T> measured) {
  if (!measured.ok()) throw std::runtime_error(base::Message(measured.status()));
  return *std::move(measured);
}

}  // namespace

int BenchLimitMain(const std::string& name) {
  constexpr double kNanosPerMicro = 1000;
  double value = 0;
  if (name == "message_ring_us") {
    value = static_cast<double>(Checked(rpc::BenchMessageRing(50000)).p50.count()) / kNanosPerMicro;
  } else if (name == "message_ring_per_s") {
    value = Checked(rpc::BenchMessageRingStream(300000));
  } else if (name == "sleeping_socket_us") {
    value = static_cast<double>(Checked(rpc::BenchSleepingSocket(100)).p50.count()) / kNanosPerMicro;
  } else {
    return 2;
  }
  std::printf("%.3f\n", value);
  return 0;
}

void AddCallBenchmarks(std::vector<Benchmark>* all) {
  all->push_back({"actor_call_p50", "us", "polling ping-pong over a raw ring, one Cap'n Proto message each way", false,
                  ActorCallP50});
  all->push_back({"actor_call_asleep_p50", "us", "blocking unix-socket ping-pong after the same pause of 3 ms", false,
                  ActorCallAsleepP50});
  all->push_back(
      {"actor_calls_pipelined", "per s", "call messages one way through a raw ring", true, ActorCallsPipelined});
  all->push_back({"tasks_pipelined", "per s", "actor calls pipelined, same run", true, TasksPipelined});
}

}  // namespace manta::bench

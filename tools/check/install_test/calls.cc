// The calls of `manta bench`, from a user's program on an installed tree: the median of one call waited for, in us, and
// calls per second with 1,000 in flight.
#include <manta/manta.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using Clock = std::chrono::steady_clock;

class Counter {
 public:
  int Add(int by) { return value_ += by; }

 private:
  int value_ = 0;
};

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  auto counter = manta::Actor<Counter>().Remote();
  std::vector<double> micros;
  for (int i = 0; i < 100'000; ++i) {
    const Clock::time_point start = Clock::now();
    manta::Get(counter.Call<&Counter::Add>().Remote(1));
    micros.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
  std::nth_element(micros.begin(), micros.begin() + 50'000, micros.end());

  std::vector<manta::ObjectRef<int>> in_flight(1000);
  constexpr int kCalls = 1'000'000;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < kCalls; ++i) {
    manta::ObjectRef<int>& slot = in_flight[static_cast<size_t>(i) % in_flight.size()];
    if (i >= 1000) manta::Get(slot);
    slot = counter.Call<&Counter::Add>().Remote(1);
  }
  for (const manta::ObjectRef<int>& ref : in_flight) manta::Get(ref);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::printf("installed: actor_call_p50 %.2f us, actor_calls_pipelined %.0f per s\n", micros[50'000],
              kCalls / seconds);
}

// Pi by tasks: each task throws darts at the unit square, and counts those that land inside the circle.
//
// Prints:
//   pi is about 3.14...
#include <manta/manta.h>

#include <cstdint>
#include <iostream>
#include <random>
#include <vector>

int64_t CountInside(uint64_t seed, int64_t darts) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> side(-1.0, 1.0);
  int64_t inside = 0;
  for (int64_t i = 0; i < darts; ++i) {
    const double x = side(random);
    const double y = side(random);
    if (x * x + y * y <= 1.0) ++inside;
  }
  return inside;
}

int main(int argc, char** argv) {
  auto runtime = manta::Init(argc, argv);
  constexpr int kTasks = 64;
  constexpr int64_t kDartsPerTask = 100000;

  std::vector<manta::ObjectRef<int64_t>> counts;
  for (int task = 0; task < kTasks; ++task) {
    counts.push_back(manta::Task<&CountInside>().Remote(static_cast<uint64_t>(task), kDartsPerTask));
  }

  // Take the results in the order in which they come.
  int64_t inside = 0;
  while (!counts.empty()) {
    auto [ready, pending] = manta::Wait(counts, 1);
    for (const auto& count : ready) inside += manta::Get(count);
    counts = std::move(pending);
  }
  std::cout << "pi is about " << 4.0 * static_cast<double>(inside) / (kTasks * kDartsPerTask) << "\n";
}

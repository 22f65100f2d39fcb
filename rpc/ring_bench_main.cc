// Prints what the machine can do between two processes of one node. Run it while two cores are free.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "rpc/ring_bench.h"

namespace manta::rpc {
namespace {

template <typename T>
T OrExit(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::exit(1);
}

void Print(const char* what, const RoundTrips& trips) {
  std::printf("%-52s p50 %8.2f us   p99 %8.2f us   (%zu)\n", what, static_cast<double>(trips.p50.count()) / 1e3,
              static_cast<double>(trips.p99.count()) / 1e3, trips.count);
}
void Print(const char* what, double per_second) { std::printf("%-52s %12.2f M/s\n", what, per_second / 1e6); }

int Main() {
  // 4,000 channels, both ends of them here.
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  Print("raw ring, polling", OrExit(BenchRawRing(200'000)));
  Print("ring, a Cap'n Proto message each way, polling", OrExit(BenchMessageRing(200'000)));
  Print("ring, a Cap'n Proto message each way, 1000 in flight", OrExit(BenchMessageRingStream(2'000'000)));
  Print("ShmChannel, one call at a time", OrExit(BenchChannel(200'000)));
  Print("ShmChannel, 1000 in flight", OrExit(BenchChannelStream(2'000'000)));
  Print("ShmChannel, 3 ms pause", OrExit(BenchSleepingChannel(300)));
  Print("blocking unix socket, 3 ms pause", OrExit(BenchSleepingSocket(300)));
  for (const size_t channels : {1, 100, 4000}) {
    std::printf("ShmPort::Drain, one of %-5zu channels has a frame %14.0f ns\n", channels,
                OrExit(BenchDrainOfMany(channels, 100'000)));
  }
  return 0;
}

}  // namespace
}  // namespace manta::rpc

int main() { return manta::rpc::Main(); }

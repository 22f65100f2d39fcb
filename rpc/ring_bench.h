// What the machine can do between two processes of one node: the limits that `manta bench` prints beside its own
// figures.
//
// Each function forks a peer, measures, and ends it. Both processes poll unless it says otherwise, so the figures mean
// something only while two cores are free.
// Threads:    thread-safe, but forks: call them from a process with one thread.
#ifndef MANTA_RPC_RING_BENCH_H_
#define MANTA_RPC_RING_BENCH_H_

#include <cstddef>

#include "base/status.h"
#include "base/time.h"

namespace manta::rpc {

struct RoundTrips {
  size_t count = 0;
  Duration p50{};
  Duration p99{};
};

// A ring each way, 8 bytes copied in and out.
absl::StatusOr<RoundTrips> BenchRawRing(size_t count);
// The same with a Cap'n Proto CallRequest built and read one way, a CallReply the other.
absl::StatusOr<RoundTrips> BenchMessageRing(size_t count);
// The same, `in_flight` requests at a time: calls per second.
absl::StatusOr<double> BenchMessageRingStream(size_t count, size_t in_flight = 1000);

// CallRequest and CallReply as rpc::Message over a ShmChannel: codec, doorbells, handlers.
absl::StatusOr<RoundTrips> BenchChannel(size_t count);
absl::StatusOr<double> BenchChannelStream(size_t count, size_t in_flight = 1000);

// Both processes sleep for `pause` before each round trip: over a ShmChannel, and with blocking reads and writes of 64
// bytes on a unix socket.
absl::StatusOr<RoundTrips> BenchSleepingChannel(size_t count, Duration pause = std::chrono::milliseconds(3));
absl::StatusOr<RoundTrips> BenchSleepingSocket(size_t count, Duration pause = std::chrono::milliseconds(3));

// ShmPort::Drain of a port with `channels` channels when one of them, in turn, has a frame: nanoseconds.
absl::StatusOr<double> BenchDrainOfMany(size_t channels, size_t count);

}  // namespace manta::rpc

#endif  // MANTA_RPC_RING_BENCH_H_

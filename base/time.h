// Time: durations, instants of the monotonic clock, and the Clock interface that every shell reads it from.
//
// Problem:    code that reads a clock of its own cannot run in the simulator or be tested without sleeping.
// Invariants: (1) instants of one Clock never go back.
//             (2) pure cores take `now` as an argument and hold no Clock.
#ifndef MANTA_BASE_TIME_H_
#define MANTA_BASE_TIME_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace manta {

using Duration = std::chrono::nanoseconds;

// CLOCK_MONOTONIC as a tag: instants of it compare across the processes of one host, and with no others.
struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock, Duration>;
  static constexpr bool is_steady = true;
};
using Time = MonotonicClock::time_point;

inline constexpr Time kInfiniteFuture = Time::max();

inline constexpr Time TimeFromNanos(int64_t nanos) { return Time(Duration(nanos)); }
inline constexpr int64_t ToNanos(Time time) { return time.time_since_epoch().count(); }

// `time + duration` that stays at kInfiniteFuture instead of overflowing.
inline constexpr Time SaturatingAdd(Time time, Duration duration) {
  if (duration.count() > 0 && time.time_since_epoch() > Duration::max() - duration) return kInfiniteFuture;
  return time + duration;
}

std::string ToString(Duration duration);  // "1.5ms"

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time Now() const = 0;
};

namespace base {

// CLOCK_MONOTONIC. Thread-safe.
class SystemClock : public Clock {
 public:
  Time Now() const override;
};

// A clock that a test moves. Thread-safe.
class FakeClock : public Clock {
 public:
  explicit FakeClock(Time start = TimeFromNanos(1'000'000'000)) : nanos_(ToNanos(start)) {}
  Time Now() const override { return TimeFromNanos(nanos_.load(std::memory_order_acquire)); }
  void Advance(Duration by) { nanos_.fetch_add(by.count(), std::memory_order_acq_rel); }
  void Set(Time to) { nanos_.store(ToNanos(to), std::memory_order_release); }

 private:
  std::atomic<int64_t> nanos_;
};

}  // namespace base
}  // namespace manta

#endif  // MANTA_BASE_TIME_H_

// Checks of the values that builders are given. Errors: InvalidArgumentError, naming option and value.
#ifndef MANTA_INTERNAL_OPTIONS_H_
#define MANTA_INTERNAL_OPTIONS_H_

#include <chrono>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include "manta/internal/export.h"

namespace manta::internal {

MANTA_EXPORT std::map<std::string, double> CheckedResources(std::map<std::string, double> amounts);
MANTA_EXPORT double CheckedAmount(const char* option, double amount);
MANTA_EXPORT int CheckedCount(const char* option, int count);  // >= -1
MANTA_EXPORT std::chrono::nanoseconds CheckedTimeout(std::chrono::nanoseconds timeout);
MANTA_EXPORT std::string CheckedName(const char* option, std::string name);  // UTF-8, not empty, 256 bytes at most

MANTA_EXPORT uint32_t CheckedConcurrency(uint32_t threads);  // 1..1000
MANTA_EXPORT uint64_t CheckedPendingCalls(uint64_t count);   // >= 1

// A duration of any kind in nanoseconds; what does not fit becomes the largest there is, NaN 0.
template <class Rep, class Period>
constexpr std::chrono::nanoseconds ToNanos(std::chrono::duration<Rep, Period> duration) {
  using Wide = std::chrono::duration<long double, std::nano>;
  const long double count = std::chrono::duration_cast<Wide>(duration).count();
  constexpr long double kMax = 9.2e18L;  // 292 years
  if (!(count > -kMax)) return std::chrono::nanoseconds(count == count ? std::numeric_limits<int64_t>::min() : 0);
  if (count > kMax) return std::chrono::nanoseconds::max();
  return std::chrono::nanoseconds(static_cast<int64_t>(count));
}

// `timeout` from now; none for one that never ends.
MANTA_EXPORT std::optional<std::chrono::steady_clock::time_point> DeadlineAfter(std::chrono::nanoseconds timeout);

}  // namespace manta::internal

#endif  // MANTA_INTERNAL_OPTIONS_H_

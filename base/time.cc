#include "base/time.h"

#include <time.h>

#include <cmath>
#include <cstdio>

namespace manta {

std::string ToString(Duration duration) {
  struct Unit {
    int64_t nanos;
    const char* name;
  };
  static constexpr Unit kUnits[] = {{3'600'000'000'000, "h"}, {60'000'000'000, "min"}, {1'000'000'000, "s"},
                                    {1'000'000, "ms"},        {1'000, "us"},           {1, "ns"}};
  const double nanos = static_cast<double>(duration.count());
  for (const Unit& unit : kUnits) {
    if (std::abs(nanos) < static_cast<double>(unit.nanos)) continue;
    char text[32];
    std::snprintf(text, sizeof(text), "%.4g%s", nanos / static_cast<double>(unit.nanos), unit.name);
    return text;
  }
  return "0s";
}

namespace base {

Time SystemClock::Now() const {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return TimeFromNanos(int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec);
}

}  // namespace base
}  // namespace manta

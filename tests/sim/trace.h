// Trace hashes everything that happens in a run, and writes it down if somebody wants to read it.
//
// Threads:    externally synchronised.
// Invariants: (1) two runs of one seed have the same hash; what is printed does not change it.
#ifndef MANTA_TESTS_SIM_TRACE_H_
#define MANTA_TESTS_SIM_TRACE_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/time.h"

namespace manta::sim {

class Trace {
 public:
  // `out`: null, nothing is printed.
  explicit Trace(std::FILE* out) : out_(out) {}

  // `text` is called only if it is printed; `data` goes into the hash.
  template <typename Text>
  void Note(Time now, std::string_view who, std::string_view what, std::string_view data, Text text) {
    const int64_t nanos = ToNanos(now);
    hasher_.Update(&nanos, sizeof nanos);
    hasher_.Update(who.data(), who.size());
    hasher_.Update(what.data(), what.size());
    hasher_.Update(data.data(), data.size());
    if (out_ != nullptr) {
      const std::string line = text();
      std::fprintf(out_, "%12.6f %-10.*s %-10.*s %s\n", static_cast<double>(nanos) * 1e-9 - 1,
                   static_cast<int>(who.size()), who.data(), static_cast<int>(what.size()), what.data(), line.c_str());
    }
  }
  void Note(Time now, std::string_view who, std::string_view what, std::string_view data) {
    Note(now, who, what, data, [&] { return std::string(data); });
  }
  uint64_t hash() const { return hasher_.Digest(); }
  bool printing() const { return out_ != nullptr; }

 private:
  base::Hasher64 hasher_;
  std::FILE* out_;
};

}  // namespace manta::sim

#endif  // MANTA_TESTS_SIM_TRACE_H_

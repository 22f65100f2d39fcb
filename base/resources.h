// Fixed and ResourceSet: amounts of CPUs, GPUs and whatever a user names, in exact fixed point.
//
// Problem:    0.1 + 0.2 != 0.3 would leak or lose fractions of a GPU over a million leases.
// Threads:    values; externally synchronised.
// Invariants: (1) amounts are multiples of 1/10000.
//             (2) a set holds no zero amounts, so equal sets compare equal.
#ifndef MANTA_BASE_RESOURCES_H_
#define MANTA_BASE_RESOURCES_H_

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace manta::base {

class Fixed {
 public:
  static constexpr int64_t kUnitsPerOne = 10000;
  // The largest amount of one resource: 2^40, so that a million of them still add up.
  static constexpr int64_t kUnitsMax = (int64_t{1} << 40) * kUnitsPerOne;

  constexpr Fixed() = default;
  constexpr explicit Fixed(int whole) : units_(int64_t{whole} * kUnitsPerOne) {}
  static constexpr Fixed FromUnits(int64_t units) {
    Fixed fixed;
    fixed.units_ = units;
    return fixed;
  }
  // Rounded to the nearest unit. kInvalidArgument: NaN, infinite, negative, above kUnitsMax, or above 0 but less than
  // half a unit.
  static absl::StatusOr<Fixed> FromDouble(double value);

  constexpr int64_t units() const { return units_; }
  double ToDouble() const { return static_cast<double>(units_) / kUnitsPerOne; }
  auto operator<=>(const Fixed&) const = default;
  constexpr Fixed operator+(Fixed other) const { return FromUnits(units_ + other.units_); }
  constexpr Fixed operator-(Fixed other) const { return FromUnits(units_ - other.units_); }
  constexpr Fixed operator-() const { return FromUnits(-units_); }
  constexpr Fixed& operator+=(Fixed other) { return *this = *this + other; }
  constexpr Fixed& operator-=(Fixed other) { return *this = *this - other; }
  std::string ToString() const;  // "2", "0.5"

 private:
  int64_t units_ = 0;
};

class ResourceSet {
 public:
  static constexpr size_t kNamesMax = 256;
  static constexpr size_t kNameBytesMax = 128;

  // {"CPU": 2, "x": 0.5}. kInvalidArgument, naming the entry, when it is not a JSON object of numbers that Fixed
  // takes, names one thing twice, or has an empty or over-long name.
  static absl::StatusOr<ResourceSet> FromJson(std::string_view text);
  std::string ToJson() const;

  ResourceSet() = default;
  ResourceSet(std::initializer_list<std::pair<const std::string, Fixed>> amounts);

  // 0 for what is not there.
  Fixed Get(std::string_view name) const;
  void Set(std::string_view name, Fixed amount);

  // Whether `demand` can be taken from this set: every amount above 0 of it is there.
  bool Fits(const ResourceSet& demand) const;
  // REQUIRES: Fits(demand).
  void Subtract(const ResourceSet& demand);
  // Subtract without that: amounts may fall below 0 (a task that resumes before its CPU is free).
  void SubtractAllowNegative(const ResourceSet& demand);
  void Add(const ResourceSet& other);
  bool HasNegative() const;

  bool empty() const { return amounts_.empty(); }
  const std::map<std::string, Fixed, std::less<>>& amounts() const { return amounts_; }
  std::string ToString() const;  // "{CPU: 2, x: 0.5}"
  bool operator==(const ResourceSet&) const = default;

 private:
  std::map<std::string, Fixed, std::less<>> amounts_;
};

}  // namespace manta::base

namespace manta {
using base::Fixed;
using base::ResourceSet;
}  // namespace manta

#endif  // MANTA_BASE_RESOURCES_H_

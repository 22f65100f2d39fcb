#include "manta/internal/options.h"

#include <cmath>

#include "base/resources.h"
#include "manta/error.h"
#include "rpc/utf8.h"

namespace manta::internal {
namespace {

void CheckFixed(const std::string& what, double amount) {
  const absl::StatusOr<base::Fixed> fixed = base::Fixed::FromDouble(amount);
  if (!fixed.ok()) throw InvalidArgumentError(what + ": " + base::Message(fixed.status()));
}

}  // namespace

std::map<std::string, double> CheckedResources(std::map<std::string, double> amounts) {
  if (amounts.size() > base::ResourceSet::kNamesMax) throw InvalidArgumentError("Resources: more than 256 names");
  for (const auto& [name, amount] : amounts) {
    if (name.empty() || name.size() > base::ResourceSet::kNameBytesMax) {
      throw InvalidArgumentError("Resources: the name '" + name + "' is empty or longer than 128 bytes");
    }
    if (name == "CPU" || name == "GPU")
      throw InvalidArgumentError("Resources: for " + name + " there is " + (name == "CPU" ? "NumCpus" : "NumGpus"));
    CheckFixed("Resources: " + name, amount);
  }
  return amounts;
}

double CheckedAmount(const char* option, double amount) {
  CheckFixed(option, amount);
  return amount;
}

int CheckedCount(const char* option, int count) {
  if (count < -1)
    throw InvalidArgumentError(std::string(option) + "(" + std::to_string(count) + "): -1 (for ever), 0 or more");
  return count;
}

std::chrono::nanoseconds CheckedTimeout(std::chrono::nanoseconds timeout) {
  if (timeout.count() <= 0) throw InvalidArgumentError("Timeout: not above 0");
  return timeout;
}

std::string CheckedName(const char* option, std::string name) {
  constexpr size_t kNameBytesMax = 256;
  if (name.empty() || name.size() > kNameBytesMax || !rpc::IsUtf8(name))
    throw InvalidArgumentError(std::string(option) + ": empty, longer than 256 bytes, or not UTF-8");
  return name;
}

uint32_t CheckedConcurrency(uint32_t threads) {
  if (threads < 1 || threads > 1000)
    throw InvalidArgumentError("MaxConcurrency(" + std::to_string(threads) + "): 1 to 1000");
  return threads;
}

uint64_t CheckedPendingCalls(uint64_t count) {
  if (count == 0) throw InvalidArgumentError("MaxPendingCalls(0): no call could ever be made");
  return count;
}

std::optional<std::chrono::steady_clock::time_point> DeadlineAfter(std::chrono::nanoseconds timeout) {
  const auto now = std::chrono::steady_clock::now();
  if (timeout > std::chrono::steady_clock::time_point::max() - now) return std::nullopt;
  return now + std::max(timeout, std::chrono::nanoseconds(0));
}

}  // namespace manta::internal

#include "manta/ml/cost_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <limits>

#include "manta/error.h"

namespace manta::ml {
namespace {

constexpr std::array kChoices = {Algorithm::kSharedMemory, Algorithm::kHierarchical, Algorithm::kHalvingDoubling,
                                 Algorithm::kRing,         Algorithm::kTree,         Algorithm::kStar};
// By their numbers.
constexpr std::array kAlgorithmNames = {"auto", "ring",          "tree",        "halving-doubling",
                                        "star", "shared-memory", "hierarchical"};

template <class... Values>
std::string Format(const char* format, Values... values) {
  char text[160];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

}  // namespace

const char* ReductionName(Reduction reduction) {
  constexpr const char* kNames[] = {"sum", "mean", "max", "min"};
  return kNames[static_cast<size_t>(reduction)];
}

const char* AlgorithmName(Algorithm algorithm) { return kAlgorithmNames[static_cast<size_t>(algorithm)]; }

Algorithm AlgorithmNamed(const std::string& name) {
  const auto* const found = std::find(kAlgorithmNames.begin(), kAlgorithmNames.end(), name);
  if (found != kAlgorithmNames.end()) return static_cast<Algorithm>(found - kAlgorithmNames.begin());
  std::string names;
  for (const char* each : kAlgorithmNames) names += (names.empty() ? "" : ", ") + std::string(each);
  throw InvalidArgumentError("algorithm " + name + ": there is none of this name; there are " + names);
}

double CostModel::Predict(Algorithm algorithm, size_t bytes) const {
  if (members <= 1) return 0;
  const double n = static_cast<double>(members);
  const double s = static_cast<double>(bytes);
  const double alpha = message_seconds;
  const double beta = message_byte_seconds;
  const uint64_t power = std::bit_floor(members);
  constexpr double kNever = std::numeric_limits<double>::infinity();
  switch (algorithm) {
    case Algorithm::kAuto:
      return Predict(Choose(bytes), bytes);
    case Algorithm::kRing:
      return 2 * (n - 1) * (alpha + beta * s / n);
    case Algorithm::kTree:
      return 2 * std::bit_width(members - 1) * (alpha + beta * s);
    case Algorithm::kHalvingDoubling: {
      const double p = static_cast<double>(power);
      const double folded = power == members ? 0 : 2 * (alpha + beta * s);
      return 2 * (std::bit_width(power) - 1) * alpha + 2 * (p - 1) / p * beta * s + folded;
    }
    case Algorithm::kStar:
      return 2 * alpha + 2 * (n - 1) * beta * s;
    case Algorithm::kSharedMemory:
      return shares_window ? window_seconds + window_byte_seconds * s : kNever;
    case Algorithm::kHierarchical:
      if (nodes <= 1 || nodes >= members || window_seconds == 0) return kNever;
      return 2 * (window_seconds + window_byte_seconds * s) + OfLeaders().Predict(Algorithm::kAuto, bytes);
  }
  return kNever;
}

CostModel CostModel::OfLeaders() const {
  CostModel leaders = *this;
  leaders.members = nodes;
  leaders.shares_window = false;
  return leaders;
}

Algorithm CostModel::Choose(size_t bytes) const {
  return *std::min_element(kChoices.begin(), kChoices.end(),
                           [&](Algorithm a, Algorithm b) { return Predict(a, bytes) < Predict(b, bytes); });
}

std::string CostModel::ToString() const {
  if (members == 0) return "cost model: not measured\n";
  std::string text = Format("cost model of %d members, all at the same time\n", static_cast<int>(members));
  text += Format("  message  %8.1f us + %7.3f ms/MiB\n", message_seconds * 1e6, message_byte_seconds * 1e3 * (1 << 20));
  if (window_seconds != 0) {
    text += Format("  window   %8.1f us + %7.3f ms/MiB", window_seconds * 1e6, window_byte_seconds * 1e3 * (1 << 20));
    text += shares_window ? "\n" : Format(", within each of %d nodes\n", static_cast<int>(nodes));
  } else {
    text += nodes > 1 ? "  window   none: each member is on a node of its own\n" : "  window   none\n";
  }
  text += "  us of an AllReduce of so many bytes by each algorithm\n       bytes";
  for (Algorithm algorithm : kChoices) text += Format("%18s", AlgorithmName(algorithm));
  text += "  choice\n";
  for (size_t bytes = 1 << 10; bytes <= (64 << 20); bytes *= 16) {
    text += Format("%12zu", bytes);
    for (Algorithm algorithm : kChoices) text += Format("%18.1f", Predict(algorithm, bytes) * 1e6);
    text += Format("  %s\n", AlgorithmName(Choose(bytes)));
  }
  return text;
}

}  // namespace manta::ml

#include "manta/ml/clock_table.h"

#include <algorithm>
#include <string>

#include "manta/error.h"

namespace manta::ml {

std::string Consistency::ToString() const {
  switch (kind) {
    case kAsp:
      return "ASP";
    case kSsp:
      return "SSP(" + std::to_string(bound) + ")";
    case kBsp:
      return "BSP";
    case kGroupSync:
      return "GroupSync(" + std::to_string(bound) + ")";
  }
  return "unknown";
}

Consistency GroupSync(uint64_t workers_per_group) {
  if (workers_per_group == 0) throw InvalidArgumentError("GroupSync: a group of 0 workers");
  return {Consistency::kGroupSync, workers_per_group};
}

ClockTable::ClockTable(Consistency consistency, uint32_t workers) : consistency_(consistency) {
  for (uint32_t worker = 0; worker < workers; ++worker) Join(worker);
}

uint64_t ClockTable::Join(uint32_t worker) {
  if (const auto member = finished_.find(worker); member != finished_.end()) return member->second;
  const uint64_t group = consistency_.GroupOf(worker), slowest = FinishedByGroup(group);
  const uint64_t reached = reached_.try_emplace(group, 0).first->second;
  const uint64_t begin = slowest == kAll ? reached : slowest;
  finished_[worker] = begin;
  return begin;
}

void ClockTable::Leave(uint32_t worker) { finished_.erase(worker); }

void ClockTable::Finish(uint32_t worker, uint64_t count) {
  const auto member = finished_.find(worker);
  if (member == finished_.end()) {
    throw InvalidArgumentError("worker " + std::to_string(worker) + " is no member: it never joined, or has left");
  }
  if (count <= member->second) return;
  if (count > member->second + 1 || !MayEnter(worker)) {
    throw InvalidArgumentError("worker " + std::to_string(worker) + " says that it finished iteration " +
                               std::to_string(count) + ", and had not entered it: it finished " +
                               std::to_string(member->second) + ", the slowest " + std::to_string(FinishedByAll()));
  }
  ++gaps_[std::min<uint64_t>(member->second - FinishedByAll(), kGapMax)];
  member->second = count;
  uint64_t& reached = reached_[consistency_.GroupOf(worker)];
  reached = std::max(reached, count);
}

bool ClockTable::MayEnter(uint32_t worker) const {
  if (consistency_.kind == Consistency::kAsp) return true;
  const uint64_t ahead = finished_.at(worker) - FinishedByGroup(consistency_.GroupOf(worker));
  return ahead <= (consistency_.kind == Consistency::kSsp ? consistency_.bound : 0);
}

uint64_t ClockTable::FinishedByGroup(uint64_t group) const {
  uint64_t slowest = kAll;
  for (const auto& [worker, finished] : finished_) {
    if (consistency_.GroupOf(worker) == group) slowest = std::min(slowest, finished);
  }
  return slowest;
}

uint32_t ClockTable::SlowestBeside(uint32_t worker) const {
  const uint64_t group = consistency_.GroupOf(worker), slowest = FinishedByGroup(group);
  for (const auto& [other, finished] : finished_) {
    if (finished == slowest && consistency_.GroupOf(other) == group) return other;
  }
  return worker;
}

uint64_t ClockTable::FinishedByAll() const {
  uint64_t slowest = kAll;
  for (const auto& [worker, finished] : finished_) slowest = std::min(slowest, finished);
  return slowest;
}

std::vector<std::pair<uint64_t, uint64_t>> ClockTable::FinishedByGroups() const {
  std::vector<std::pair<uint64_t, uint64_t>> finished;
  for (const auto& [group, reached] : reached_) finished.emplace_back(group, FinishedByGroup(group));
  return finished;
}

// gaps_, then finished_ and reached_ as (count, (key, value)...).
std::vector<uint64_t> ClockTable::ToWords() const {
  std::vector<uint64_t> words(gaps_.begin(), gaps_.end());
  words.push_back(finished_.size());
  for (const auto& [worker, finished] : finished_) words.insert(words.end(), {worker, finished});
  words.push_back(reached_.size());
  for (const auto& [group, reached] : reached_) words.insert(words.end(), {group, reached});
  return words;
}

ClockTable ClockTable::FromWords(Consistency consistency, std::span<const uint64_t> words) {
  ClockTable table(consistency, 0);
  const auto take = [&] {
    if (words.empty()) throw InvalidArgumentError("ClockTable: the words end in the middle of a table");
    const uint64_t word = words.front();
    words = words.subspan(1);
    return word;
  };
  for (uint64_t& gap : table.gaps_) gap = take();
  for (uint64_t count = take(); count > 0; --count) {
    const auto worker = uint32_t(take());
    table.finished_[worker] = take();
  }
  for (uint64_t count = take(); count > 0; --count) {
    const uint64_t group = take();
    table.reached_[group] = take();
  }
  if (!words.empty()) throw InvalidArgumentError("ClockTable: words behind its end");
  return table;
}

}  // namespace manta::ml

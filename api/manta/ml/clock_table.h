// ClockTable decides which worker may enter its next iteration; the scheduler of a parameter server has one.
//
//   finish:  a worker has finished n iterations when it has called Finish n times.
//   enter:   it may enter iteration n (from 0) when MayEnter says so; see consistency.h for the rule.
//
// Invariants: (1) a worker that has entered iteration n is at most Consistency::bound (SSP; 0 for the synchronous
//                 ones) ahead of what the slowest member of its group has finished.
//             (2) who has left holds nobody up; who joins begins where the slowest member of its group is.
// Threads:    externally synchronised. Pure: no clock, no randomness.
#ifndef MANTA_ML_CLOCK_TABLE_H_
#define MANTA_ML_CLOCK_TABLE_H_

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "manta/internal/export.h"
#include "manta/ml/consistency.h"

namespace manta::ml {

class MANTA_EXPORT ClockTable {
 public:
  static constexpr uint64_t kAll = std::numeric_limits<uint64_t>::max();
  static constexpr size_t kGapMax = 31;

  // Workers 0..workers-1 are members from the beginning, so that nobody runs ahead of those that are still starting.
  ClockTable(Consistency consistency, uint32_t workers);

  const Consistency& consistency() const { return consistency_; }
  bool IsMember(uint32_t worker) const { return finished_.contains(worker); }
  size_t size() const { return finished_.size(); }
  // Makes `worker` a member, if it is none; how many iterations it has finished.
  uint64_t Join(uint32_t worker);
  void Leave(uint32_t worker);

  // `worker` has finished `count` iterations in all; fewer than before are ignored (a call that came twice).
  // InvalidArgumentError: no member, or it had not entered the last one.
  void Finish(uint32_t worker, uint64_t count);
  // Whether `worker` may enter iteration Finished(worker). REQUIRES: IsMember(worker).
  bool MayEnter(uint32_t worker) const;
  uint64_t Finished(uint32_t worker) const { return finished_.at(worker); }

  // How many iterations all members of a group have finished; kAll if it has no members.
  uint64_t FinishedByGroup(uint64_t group) const;
  // The same of all groups that ever had a member: [group, finished].
  std::vector<std::pair<uint64_t, uint64_t>> FinishedByGroups() const;
  // The same of all members.
  uint64_t FinishedByAll() const;
  // The member, of the worker's group, that has finished the fewest; of several the first. REQUIRES: IsMember(worker).
  uint32_t SlowestBeside(uint32_t worker) const;
  // gaps()[n]: how often a worker, when it finished an iteration, was n ahead of the slowest of all members; the last
  // one counts all above.
  const std::array<uint64_t, kGapMax + 1>& gaps() const { return gaps_; }

  // All of it, and back. InvalidArgumentError: not the words of a table.
  std::vector<uint64_t> ToWords() const;
  static ClockTable FromWords(Consistency consistency, std::span<const uint64_t> words);

 private:
  Consistency consistency_;
  std::map<uint32_t, uint64_t> finished_;
  // By group, all that ever had a member: the most that anybody has finished. Where an empty one goes on.
  std::map<uint64_t, uint64_t> reached_;
  std::array<uint64_t, kGapMax + 1> gaps_{};
};

}  // namespace manta::ml

#endif  // MANTA_ML_CLOCK_TABLE_H_

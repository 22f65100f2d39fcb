// ProcessGroup is where the members of a collective find each other.
//
//   auto group = manta::ml::ProcessGroup::Create({.members = 4});                 // in the driver
//   auto worker = manta::Actor<Worker>().Remote(group, rank);                     // a handle: pass it anywhere
//
//   manta::ml::Communicator all = group.Join(rank);                               // in each member: an actor, the
//   driver all.AllReduce(std::span<float>(gradient), manta::ml::Reduction::kMean);
//
// The members that have met are a *generation*. When one of them dies or leaves, the generation is over: every other
// member gets a MemberDiedError from what it is doing or does next, and Communicator::Reform makes the next generation,
// of those that live, or with replacements that Join.
//
// Each member has a companion, an actor on its node that takes messages for it while it is busy in a method of its own.
// The group lives as long as there are handles to it.
//
// Threads:    thread-safe, as ActorHandle is.
#ifndef MANTA_ML_PROCESS_GROUP_H_
#define MANTA_ML_PROCESS_GROUP_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "manta/manta.h"
#include "manta/ml/communicator.h"
#include "manta/ml/cost_model.h"

namespace manta::ml {

namespace internal {
class GroupActor;
}

class MANTA_EXPORT ProcessGroup {
 public:
  static constexpr size_t kMembersMax = 64;
  static constexpr size_t kAnyRank = SIZE_MAX;

  struct Options {
    size_t members = 1;  // of the first generation; 1 to kMembersMax
    // How long Join, Reform, or one collective may take: then a TimeoutError.
    std::chrono::milliseconds timeout = std::chrono::seconds(60);
    // Whether the members measure the cost model when they first meet (some 20 ms); without it kAuto is kSharedMemory
    // on one node, kHalvingDoubling or, from 1 MiB on, kRing across nodes.
    bool measure_costs = true;
  };

  ProcessGroup() = default;  // none
  // Makes the actor at which members meet. InvalidArgumentError: no members, too many, or no time.
  static ProcessGroup Create(Options options);

  explicit operator bool() const { return static_cast<bool>(meeting_); }

  // Makes this process a member, and waits until all others of the generation have joined, too. After a death it waits
  // for the members that live to call Reform(members) with a place for it. kAnyRank: the lowest free one.
  // InvalidArgumentError: no such rank, or a living member has it; TimeoutError names the ranks that have not come;
  // MemberDiedError: a member died while the group met; ActorDiedError: the group is no more.
  Communicator Join(size_t rank = kAnyRank) const;

  // Has the group form anew, from outside of it: for a driver that knows that a member hangs, is to be replaced, or
  // will not come. Returns at once; GetStatus says when it has formed. The newest generation is over: its members get a
  // MemberDiedError (whose rank is their own) from what they are doing or do next, within 2 s, and call
  // Communicator::Reform, whose argument does not count then.
  //
  // `members`: of the next generation; 0: those that live. If they are more than live, the missing ones Join. Of a
  // group that has not met yet: how many it is of. `without`: ranks that count as dead, whether they are or not; one
  // that is not gets MemberDiedErrors from then on, and may Join anew. InvalidArgumentError: fewer than would live,
  // none, or no such rank; ActorDiedError: the group is no more.
  void Reform(size_t members = 0, const std::vector<size_t>& without = {}) const;

  // Ends the group for good: who waits in Join or Reform, or calls them, gets an ActorDiedError. For a driver that
  // knows that a member will not come. Operations under way are not ended by it.
  void Abort() const;

  // Of the newest generation, as it formed.
  struct Status {
    uint64_t generation = 0;                  // 0: none yet
    std::vector<std::string> processes = {};  // of each rank: "n1.p4 on n1"
    std::vector<size_t> gone = {};            // ranks that have died or left since
  };
  Status GetStatus() const;
  // As measured; members == 0: not yet.
  CostModel cost_model() const;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(meeting_, timeout_ms_, measure_costs_);
  }

 private:
  friend class Communicator;

  ActorHandle<internal::GroupActor> meeting_;
  uint64_t timeout_ms_ = 0;
  bool measure_costs_ = true;
};

}  // namespace manta::ml

#endif  // MANTA_ML_PROCESS_GROUP_H_

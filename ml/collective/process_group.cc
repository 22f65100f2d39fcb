#include "manta/ml/process_group.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "ml/collective/group_actor.h"
#include "ml/collective/member.h"
#include "ml/collective/rank_actor.h"

namespace manta::ml {

using internal::Admission;
using internal::GroupActor;
using internal::GroupStatus;
using internal::Member;
using internal::RankActor;
using internal::Seat;

namespace {

// Beyond the group's own timeout, which its actor looks at.
constexpr std::chrono::seconds kGrace(5);

}  // namespace

ProcessGroup ProcessGroup::Create(Options options) {
  if (options.members == 0 || options.members > kMembersMax) {
    throw InvalidArgumentError("ProcessGroup: " + std::to_string(options.members) + " members: 1 to " +
                               std::to_string(kMembersMax));
  }
  if (options.timeout.count() <= 0) {
    throw InvalidArgumentError("ProcessGroup: a timeout of " + std::to_string(options.timeout.count()) + " ms");
  }
  ProcessGroup group;
  group.timeout_ms_ = static_cast<uint64_t>(options.timeout.count());
  group.measure_costs_ = options.measure_costs;
  // Every member may wait there, its replacement too.
  group.meeting_ = Actor<GroupActor>()
                       .NumCpus(0)
                       .MaxConcurrency(4 * kMembersMax)
                       .Remote(uint64_t(options.members), group.timeout_ms_);
  return group;
}

Communicator ProcessGroup::Join(size_t rank) const {
  if (!meeting_) throw InvalidArgumentError("ProcessGroup::Join: of no group; ProcessGroup::Create makes one");
  if (rank >= kMembersMax && rank != kAnyRank) {
    throw InvalidArgumentError("ProcessGroup::Join(" + std::to_string(rank) + "): no such rank");
  }
  const Context context = CurrentContext();
  Actor<RankActor> builder;
  builder.NumCpus(0).MaxConcurrency(RankActor::kThreads);
  if (!context.is_local()) builder.SchedulingStrategy(NodeAffinity(context.node()));
  Seat seat;
  seat.companion = builder.Remote(int64_t(getpid()));
  seat.node = context.node();
  seat.process = context.process();
  seat.pid = getpid();
  const std::chrono::milliseconds timeout(timeout_ms_);
  Admission admission = Get(meeting_.Call<&GroupActor::Join>().Remote(seat, uint64_t(rank)), timeout + kGrace);
  internal::ThrowUnlessAdmitted(admission, rank);
  return Communicator(
      std::make_shared<Member>(meeting_, std::move(admission.view), Member::Options{timeout, measure_costs_}));
}

void ProcessGroup::Reform(size_t members, const std::vector<size_t>& without) const {
  if (!meeting_) throw InvalidArgumentError("ProcessGroup::Reform: of no group; ProcessGroup::Create makes one");
  const std::vector<uint64_t> ranks(without.begin(), without.end());
  internal::ThrowUnlessAdmitted(Get(meeting_.Call<&GroupActor::Recall>().Remote(uint64_t(members), ranks),
                                    std::chrono::milliseconds(timeout_ms_) + kGrace),
                                /*rank=*/0);
}

void ProcessGroup::Abort() const { Kill(meeting_); }

ProcessGroup::Status ProcessGroup::GetStatus() const {
  const GroupStatus found = Get(meeting_.Call<&GroupActor::Status>().Remote());
  return {found.generation, found.processes, {found.gone.begin(), found.gone.end()}};
}

CostModel ProcessGroup::cost_model() const { return Get(meeting_.Call<&GroupActor::Status>().Remote()).model; }

}  // namespace manta::ml

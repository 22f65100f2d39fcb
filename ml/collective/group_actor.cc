#include "ml/collective/group_actor.h"

#include <algorithm>
#include <utility>

namespace manta::ml::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// A replacement may come before the news of the death that it is for.
constexpr milliseconds kNewsTime(2000);

std::string JoinRanks(const std::vector<uint64_t>& ranks) {
  std::string text;
  for (uint64_t rank : ranks) text += (text.empty() ? "" : ", ") + std::to_string(rank);
  return text;
}

Admission Refuse(Admission::Outcome outcome, std::string message) { return {outcome, std::move(message), {}}; }

Admission RefuseFewer(uint64_t members, uint64_t living) {
  return Refuse(Admission::Outcome::kInvalid, "Reform(" + std::to_string(members) + "): " + std::to_string(living) +
                                                  " members live; the others must Leave first");
}

}  // namespace

GroupActor::GroupActor(uint64_t members, uint64_t timeout_ms) : timeout_(timeout_ms) {
  base::MutexLock lock(&state_->mutex);
  state_->wanted = members;
}

Admission GroupActor::Join(const Seat& seat, uint64_t rank) {
  const std::string companion = seat.companion.ToString();
  {
    base::MutexLock lock(&state_->mutex);
    const auto news = steady_clock::now() + kNewsTime;
    while (HoldsLivingSeat(rank)) {
      const auto left = news - steady_clock::now();
      if (left.count() <= 0) {
        return Refuse(Admission::Outcome::kInvalid, "Join(" + std::to_string(rank) + "): a living member, " +
                                                        state_->seats[rank].process + ", has that rank");
      }
      state_->changed.WaitFor(&state_->mutex, left);
    }
    // Each waits in a thread of the actor's, of which Reform and the window need some, too.
    if (state_->joiners.size() >= ProcessGroup::kMembersMax) {
      return Refuse(Admission::Outcome::kInvalid, "Join: " + std::to_string(state_->joiners.size()) +
                                                      " wait already to become members; a group has that many at most");
    }
    for (const auto& [name, joiner] : state_->joiners) {
      if (rank == ProcessGroup::kAnyRank || joiner.rank != rank) continue;
      return Refuse(Admission::Outcome::kInvalid,
                    "Join(" + std::to_string(rank) + "): " + joiner.seat.process + " waits for that rank already");
    }
    state_->joiners[companion] = {seat, rank};
    state_->arrivals.push_back(companion);
  }
  std::weak_ptr<State> weak = state_;
  seat.companion.OnDeath([weak, companion](const ActorDiedError&) {
    if (auto state = weak.lock()) state->OnGone(companion, "died");
  });
  base::MutexLock lock(&state_->mutex);
  const uint64_t before = state_->generation;
  // It may have formed already, by the hands of another that came meanwhile.
  Admission admission = AwaitPlace(companion, state_->places.contains(companion) ? before - 1 : before);
  state_->joiners.erase(companion);
  std::erase(state_->arrivals, companion);
  return admission;
}

Admission GroupActor::Reform(uint64_t generation, uint64_t rank, uint64_t members) {
  base::MutexLock lock(&state_->mutex);
  if (generation != state_->generation || rank >= state_->seats.size() || state_->IsGone(rank)) {
    return Refuse(Admission::Outcome::kDied, "is no member of the group's newest generation any more");
  }
  const uint64_t living = state_->seats.size() - state_->gone.size();
  if (!state_->is_recalled) {
    if (members != 0 && members < living) return RefuseFewer(members, living);
    if (state_->wanted && *state_->wanted != members) {
      return Refuse(Admission::Outcome::kInvalid, "Reform(" + std::to_string(members) +
                                                      "): another member called Reform(" +
                                                      std::to_string(*state_->wanted) + ")");
    }
    state_->wanted = members;
  }
  state_->callers.insert(rank);
  Admission admission = AwaitPlace(state_->seats[rank].companion.ToString(), generation);
  if (admission.outcome == Admission::Outcome::kTimeout) {
    state_->callers.erase(rank);
    if (state_->callers.empty() && !state_->is_recalled) state_->wanted.reset();
  }
  return admission;
}

Admission GroupActor::Recall(uint64_t members, const std::vector<uint64_t>& without) {
  std::vector<Seat> recalled;
  uint64_t generation = 0;
  {
    base::MutexLock lock(&state_->mutex);
    const std::string call = "Reform(" + std::to_string(members) + "): ";
    std::set<uint64_t> living;
    for (uint64_t rank = 0; rank < state_->seats.size(); ++rank) {
      if (state_->IsGone(rank)) continue;
      living.insert(rank);
      recalled.push_back(state_->seats[rank]);
    }
    for (const uint64_t rank : without) {
      if (rank >= state_->seats.size()) {
        return Refuse(Admission::Outcome::kInvalid,
                      call + "without member " + std::to_string(rank) + " of " + std::to_string(state_->seats.size()));
      }
      living.erase(rank);
    }
    if (members > ProcessGroup::kMembersMax || (members == 0 && living.empty())) {
      return Refuse(Admission::Outcome::kInvalid, call + std::to_string(living.size()) +
                                                      " members live; a group has 1 to " +
                                                      std::to_string(ProcessGroup::kMembersMax));
    }
    if (members != 0 && members < living.size()) return RefuseFewer(members, living.size());
    for (const uint64_t rank : without) state_->Drop(state_->seats[rank].companion.ToString(), "was given up");
    state_->wanted = members;
    state_->is_recalled = true;
    generation = state_->generation;
    state_->TryForm();
    state_->changed.NotifyAll();
  }
  for (const Seat& seat : recalled) seat.companion.Call<&RankActor::Recall>().Remote(generation);
  return {};
}

Admission GroupActor::AwaitPlace(const std::string& companion, uint64_t after) {
  const TimePoint deadline = Deadline();
  for (;;) {
    state_->TryForm();
    auto place = state_->places.find(companion);
    if (state_->generation > after && place != state_->places.end()) {
      Admission admission;
      admission.view = {state_->generation, place->second, state_->seats, state_->model};
      return admission;
    }
    const bool waits = state_->joiners.contains(companion) || place != state_->places.end();
    if (!waits) return Refuse(Admission::Outcome::kDied, "died while the group met");
    const auto left = deadline - steady_clock::now();
    if (left.count() <= 0) return Refuse(Admission::Outcome::kTimeout, state_->Missing());
    state_->changed.WaitFor(&state_->mutex, left);
  }
}

bool GroupActor::HoldsLivingSeat(uint64_t rank) const {
  return state_->generation != 0 && rank < state_->seats.size() && !state_->IsGone(rank);
}

std::vector<uint64_t> GroupActor::State::TryForm() {
  if (!wanted) return {};
  std::vector<uint64_t> living;
  for (uint64_t rank = 0; rank < seats.size(); ++rank) {
    if (!IsGone(rank)) living.push_back(rank);
  }
  for (uint64_t rank : living) {
    if (!callers.contains(rank)) return {};
  }
  const uint64_t size = *wanted == 0 ? living.size() : *wanted;
  if (size == 0 || size < living.size()) return {};
  std::vector<std::optional<Seat>> next(size);
  auto take_lowest = [&next](const Seat& seat) {
    auto free = std::find(next.begin(), next.end(), std::nullopt);
    if (free != next.end()) *free = seat;
  };
  // Who has a rank keeps it; then who asked for one; then the others.
  std::vector<Seat> others;
  for (uint64_t rank : living) {
    if (*wanted != 0 && rank < size) {
      next[rank] = seats[rank];
    } else {
      others.push_back(seats[rank]);
    }
  }
  for (const std::string& name : arrivals) {
    if (*wanted == 0) break;
    const Joiner& joiner = joiners.at(name);
    if (joiner.rank < size && !next[joiner.rank]) next[joiner.rank] = joiner.seat;
  }
  for (const Seat& seat : others) take_lowest(seat);
  for (const std::string& name : arrivals) {
    if (*wanted != 0 && joiners.at(name).rank == ProcessGroup::kAnyRank) take_lowest(joiners.at(name).seat);
  }
  std::vector<uint64_t> missing;
  std::vector<Seat> full;
  for (uint64_t rank = 0; rank < size; ++rank) {
    if (next[rank]) {
      full.push_back(*next[rank]);
    } else {
      missing.push_back(rank);
    }
  }
  if (missing.empty()) Form(std::move(full));
  return missing;
}

void GroupActor::State::Form(std::vector<Seat> next) {
  // Costs are those of another group if it has another size, or other nodes.
  if (next.size() != seats.size()) model = CostModel();
  for (size_t i = 0; i < next.size() && i < seats.size(); ++i) {
    if (next[i].node != seats[i].node) model = CostModel();
  }
  seats = std::move(next);
  ++generation;
  gone.clear();
  callers.clear();
  wanted.reset();
  is_recalled = false;
  windows.clear();
  opened.clear();
  refusal.clear();
  places.clear();
  for (uint64_t rank = 0; rank < seats.size(); ++rank) {
    const std::string companion = seats[rank].companion.ToString();
    places[companion] = rank;
    joiners.erase(companion);
    std::erase(arrivals, companion);
  }
  changed.NotifyAll();
}

void GroupActor::State::OnGone(const std::string& companion, const std::string& how) {
  base::MutexLock lock(&mutex);
  Drop(companion, how);
  TryForm();
  changed.NotifyAll();
}

void GroupActor::State::Drop(const std::string& companion, const std::string& how) {
  joiners.erase(companion);
  std::erase(arrivals, companion);
  if (auto place = places.find(companion); place != places.end()) {
    gone.try_emplace(place->second, how);
    callers.erase(place->second);
    places.erase(place);
  }
}

// For the error of one who waited in vain.
std::string GroupActor::State::Missing() {
  if (!wanted) return "the members of generation " + std::to_string(generation) + " have not called Reform";
  std::vector<uint64_t> silent;
  for (uint64_t rank = 0; rank < seats.size(); ++rank) {
    if (!IsGone(rank) && !callers.contains(rank)) silent.push_back(rank);
  }
  if (!silent.empty()) return "ranks that have not called Reform: " + JoinRanks(silent);
  return "ranks that nobody has joined as: " + JoinRanks(TryForm());
}

void GroupActor::Leave(uint64_t generation, uint64_t rank) {
  std::string companion;
  {
    base::MutexLock lock(&state_->mutex);
    if (generation != state_->generation || rank >= state_->seats.size()) return;
    companion = state_->seats[rank].companion.ToString();
  }
  state_->OnGone(companion, "left");
}

void GroupActor::ShowWindow(uint64_t generation, uint64_t leader, const SharedMemory& memory) {
  base::MutexLock lock(&state_->mutex);
  if (generation == state_->generation) state_->windows[leader] = memory;
  state_->changed.NotifyAll();
}

WindowOffer GroupActor::TakeWindow(uint64_t generation, uint64_t leader) {
  const TimePoint deadline = Deadline();
  base::MutexLock lock(&state_->mutex);
  while (generation == state_->generation && state_->gone.empty() && !state_->windows.contains(leader)) {
    const auto left = deadline - steady_clock::now();
    if (left.count() <= 0) break;
    state_->changed.WaitFor(&state_->mutex, left);
  }
  WindowOffer offer;
  offer.is_broken = generation != state_->generation || !state_->gone.empty();
  if (!state_->gone.empty()) offer.gone = state_->gone.begin()->first;
  if (auto window = state_->windows.find(leader); !offer.is_broken && window != state_->windows.end()) {
    offer.memory = window->second;
  }
  return offer;
}

WindowOffer GroupActor::AgreeOnWindow(uint64_t generation, uint64_t rank, const std::string& refusal) {
  const TimePoint deadline = Deadline();
  base::MutexLock lock(&state_->mutex);
  WindowOffer offer;
  if (generation == state_->generation) {
    state_->opened.insert(rank);
    if (state_->refusal.empty()) state_->refusal = refusal;
    state_->changed.NotifyAll();
  }
  while (generation == state_->generation && state_->gone.empty() && state_->opened.size() < state_->seats.size()) {
    const auto left = deadline - steady_clock::now();
    if (left.count() <= 0) break;
    state_->changed.WaitFor(&state_->mutex, left);
  }
  // All may have agreed before one died: then nobody hears of it here, but from its companion.
  offer.is_broken = generation != state_->generation || state_->opened.size() < state_->seats.size();
  if (!state_->gone.empty()) offer.gone = state_->gone.begin()->first;
  offer.refusal = state_->refusal;
  return offer;
}

void GroupActor::SetModel(const CostModel& model) {
  base::MutexLock lock(&state_->mutex);
  if (model.members == state_->seats.size()) state_->model = model;
}

GroupStatus GroupActor::Status() const {
  base::MutexLock lock(&state_->mutex);
  GroupStatus status;
  status.generation = state_->generation;
  for (const Seat& seat : state_->seats) status.processes.push_back(seat.process + " on " + seat.node);
  for (const auto& [rank, how] : state_->gone) status.gone.push_back(rank);
  status.model = state_->model;
  return status;
}

}  // namespace manta::ml::internal

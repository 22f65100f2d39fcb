// GroupActor is where the members of a ProcessGroup meet: it forms generations, one after another.
//
//   no generation --1--> forming --2--> generation g --3--> broken --4--> forming --2--> generation g + 1
//
//   1 members Join          2 every seat is taken
//   3 a member dies (its companion does) or leaves; Recall  4 members that live call Reform; also without 3
//
// Invariants: (1) a generation's seats never change. (2) A generation forms only when every member of the one before
//             that lives has asked for it: nobody is left waiting in the old one.
// Waits:      each call waits in a thread of the actor's until it can be answered, or its time is up.
// Threads:    thread-safe (an actor with MaxConcurrency).
#ifndef MANTA_ML_COLLECTIVE_GROUP_ACTOR_H_
#define MANTA_ML_COLLECTIVE_GROUP_ACTOR_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "manta/manta.h"
#include "manta/ml/cost_model.h"
#include "manta/ml/process_group.h"
#include "ml/collective/rank_actor.h"

namespace manta::ml::internal {

// A member as the others know it.
struct Seat {
  ActorHandle<RankActor> companion;
  std::string node;     // "n1"
  std::string process;  // "n1.p4"
  int64_t pid = 0;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(companion, node, process, pid);
  }
};

// A generation, as one of its members gets it.
struct View {
  uint64_t generation = 0;
  uint64_t rank = 0;
  std::vector<Seat> seats;
  CostModel model;  // measured by an earlier generation alike, or members == 0

  template <class Archive>
  void serialize(Archive& archive) {
    archive(generation, rank, seats, model);
  }
};

struct Admission {
  enum class Outcome : uint8_t { kAdmitted, kInvalid, kTimeout, kDied };

  Outcome outcome = Outcome::kAdmitted;
  std::string message;
  View view;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(outcome, message, view);
  }
};

// What became of the window of a generation.
struct WindowOffer {
  bool is_broken = false;  // the generation is over
  uint64_t gone = 0;       // who broke it
  std::string refusal;     // why a member could not open it; empty: all have
  SharedMemory memory;     // for TakeWindow

  template <class Archive>
  void serialize(Archive& archive) {
    archive(is_broken, gone, refusal, memory);
  }
};

struct GroupStatus {
  uint64_t generation = 0;
  std::vector<std::string> processes;
  std::vector<uint64_t> gone;
  CostModel model;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(generation, processes, gone, model);
  }
};

class GroupActor {
 public:
  GroupActor(uint64_t members, uint64_t timeout_ms);

  // `rank`: ProcessGroup::kAnyRank: any.
  Admission Join(const Seat& seat, uint64_t rank);
  Admission Reform(uint64_t generation, uint64_t rank, uint64_t members);
  void Leave(uint64_t generation, uint64_t rank);

  // Ends the newest generation, and says of how many the next one is, whatever its members say when they call Reform;
  // 0: of those that live. `without`: ranks that count as dead from now on. Outcome: kAdmitted, without a view, or
  // kInvalid.
  Admission Recall(uint64_t members, const std::vector<uint64_t>& without);

  // Of the newest generation: the leader of each node with several members shows its window, the others of the node
  // take it, and all members say whether they could open theirs (`refusal` empty) and learn whether everyone could.
  void ShowWindow(uint64_t generation, uint64_t leader, const SharedMemory& memory);
  WindowOffer TakeWindow(uint64_t generation, uint64_t leader);
  WindowOffer AgreeOnWindow(uint64_t generation, uint64_t rank, const std::string& refusal);

  void SetModel(const CostModel& model);
  GroupStatus Status() const;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  // One who waits for a seat; by the name of its companion.
  struct Joiner {
    Seat seat;
    uint64_t rank;
  };
  // What callbacks of deaths share with the actor.
  struct State {
    mutable base::Mutex mutex;
    base::CondVar changed;
    uint64_t generation MANTA_GUARDED_BY(mutex) = 0;
    std::vector<Seat> seats MANTA_GUARDED_BY(mutex);
    std::map<uint64_t, std::string> gone MANTA_GUARDED_BY(mutex);  // rank -> "died", "left"
    std::vector<std::string> arrivals MANTA_GUARDED_BY(mutex);     // joiners in the order of their coming
    std::map<std::string, Joiner> joiners MANTA_GUARDED_BY(mutex);
    std::set<uint64_t> callers MANTA_GUARDED_BY(mutex);                // ranks that wait in Reform
    std::optional<uint64_t> wanted MANTA_GUARDED_BY(mutex);            // members of the next generation; 0: survivors
    std::map<std::string, uint64_t> places MANTA_GUARDED_BY(mutex);    // companion -> rank in the newest generation
    bool is_recalled MANTA_GUARDED_BY(mutex) = false;                  // `wanted` is Recall's
    std::map<uint64_t, SharedMemory> windows MANTA_GUARDED_BY(mutex);  // by leader
    std::set<uint64_t> opened MANTA_GUARDED_BY(mutex);
    std::string refusal MANTA_GUARDED_BY(mutex);
    CostModel model MANTA_GUARDED_BY(mutex);

    bool IsGone(uint64_t rank) const MANTA_REQUIRES(mutex) { return gone.contains(rank); }
    // Forms the next generation if nothing is missing; the ranks that nobody has taken otherwise.
    std::vector<uint64_t> TryForm() MANTA_REQUIRES(mutex);
    void Form(std::vector<Seat> next) MANTA_REQUIRES(mutex);
    void OnGone(const std::string& companion, const std::string& how);
    void Drop(const std::string& companion, const std::string& how) MANTA_REQUIRES(mutex);
    std::string Missing() MANTA_REQUIRES(mutex);
  };

  TimePoint Deadline() const { return std::chrono::steady_clock::now() + timeout_; }
  Admission AwaitPlace(const std::string& companion, uint64_t after) MANTA_REQUIRES(state_->mutex);
  bool HoldsLivingSeat(uint64_t rank) const MANTA_REQUIRES(state_->mutex);

  const std::chrono::milliseconds timeout_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_GROUP_ACTOR_H_

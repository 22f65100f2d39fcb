// RankActor is a member's companion: the mailbox that takes messages while the member is busy in a method of its own.
//
// Problem:    an actor that reduces cannot be called meanwhile; and whoever waits must hear of a death.
// Protocol:   Post puts a message where Take, of the member, finds it, whichever comes first. A message is of one
//             generation of the group: Begin drops those of older ones, and from then on they are refused.
//             MarkGone ends the Takes that wait for what will not come.
// Death:      it lives on its member's node, watches the member's process, and ends when that ends, so that everybody
//             who has a handle to it hears of the one by the other.
// Threads:    thread-safe (an actor with MaxConcurrency).
#ifndef MANTA_ML_COLLECTIVE_RANK_ACTOR_H_
#define MANTA_ML_COLLECTIVE_RANK_ACTOR_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "manta/manta.h"
#include "ml/collective/window.h"

namespace manta::ml::internal {

// Which message of a generation: of which operation (kPointToPoint | tag: of Send), which step of it, from whom.
struct MessageKey {
  static constexpr uint64_t kPointToPoint = uint64_t{1} << 63;

  uint64_t operation = 0;
  uint32_t step = 0;
  uint32_t from = 0;

  auto operator<=>(const MessageKey&) const = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(operation, step, from);
  }
};

struct Message {
  Label label;
  uint32_t chain = 0;  // of how many messages, one after another, this is the last
  Tensor values;       // uint8

  template <class Archive>
  void serialize(Archive& archive) {
    archive(label, chain, values);
  }
};

struct Taken {
  enum class Outcome : uint8_t { kTaken, kMismatch, kGone, kTimeout, kStale };

  Outcome outcome = Outcome::kTaken;
  Message message;     // kMismatch: without values
  uint32_t gone = 0;   // kGone, kMismatch: the member
  std::string reason;  // kGone

  template <class Archive>
  void serialize(Archive& archive) {
    archive(outcome, message, gone, reason);
  }
};

class RankActor {
 public:
  static constexpr uint32_t kThreads = 16;  // a member has at most a few Takes under way

  // `member_process`: the pid of the member, on this node.
  explicit RankActor(int64_t member_process);
  ~RankActor();

  void Begin(uint64_t generation);
  // False: refused, its generation is over here.
  bool Post(uint64_t generation, const MessageKey& key, const Message& message);
  // kMismatch: a message of the same operation is there whose label is not `label` (of point-to-point ones, never).
  Taken Take(uint64_t generation, const MessageKey& key, const Label& label, uint64_t timeout_ms);
  // Member `rank` will send nothing more in this generation: ends the Takes from it, or, if it is dead, all of them.
  // (One that left has had its part in what others are still at; who depends on it by way of others is told by them.)
  void MarkGone(uint64_t generation, uint32_t rank, bool is_dead, const std::string& reason);
  // The member is to give up this generation, and to call Reform: told when it asks.
  void Recall(uint64_t generation);
  bool IsRecalled(uint64_t generation);

 private:
  struct Gone {
    bool is_dead;
    std::string reason;
  };
  using GoneOfGeneration = std::map<uint32_t, Gone>;  // by rank

  void WatchMember(int pidfd) const;
  // What a Take can be answered with at once.
  std::optional<Taken> TryTake(uint64_t generation, const MessageKey& key, const Label& label) MANTA_REQUIRES(mutex_);

  base::Mutex mutex_;
  base::CondVar changed_;
  uint64_t generation_ MANTA_GUARDED_BY(mutex_) = 0;
  std::map<std::pair<uint64_t, MessageKey>, Message> messages_ MANTA_GUARDED_BY(mutex_);  // by generation, key
  std::map<uint64_t, GoneOfGeneration> gone_ MANTA_GUARDED_BY(mutex_);
  uint64_t recalled_ MANTA_GUARDED_BY(mutex_) = 0;  // the newest generation; 0: none

  base::UniqueFd stop_;  // an eventfd
  std::thread watch_;    // none where the member is of this process
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_RANK_ACTOR_H_

// Generation is what a member knows of its generation: who the others are, whether they live, and how to send to them.
//
// Problem:    whoever waits must hear of a death, wherever it waits, and everybody must give up the same generation.
// Signs:      a companion's death (OnDeath; any node, some 10 ms); the pidfd of a member on this node, looked at by who
//             waits; MarkGone and Window::Abandon of one that leaves or gives up; a Recall of the group's, for which
//             the companion is asked now and then. The first sign that comes is the verdict, which every later
//             operation throws.
// Threads:    thread-safe.
#ifndef MANTA_ML_COLLECTIVE_GENERATION_H_
#define MANTA_ML_COLLECTIVE_GENERATION_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/unique_fd.h"
#include "ml/collective/group_actor.h"
#include "ml/collective/rank_actor.h"

namespace manta::ml::internal {

using TimePoint = std::chrono::steady_clock::time_point;

class Generation {
 public:
  // Makes the companion, `view.seats[view.rank]`, begin this generation.
  static std::shared_ptr<Generation> Begin(View view);

  const View& view() const { return view_; }
  size_t rank() const { return view_.rank; }
  size_t size() const { return view_.seats.size(); }

  // The first verdict stays.
  void End(std::exception_ptr verdict);
  bool has_ended() const { return has_ended_.load(std::memory_order_acquire); }
  // Throws the verdict, if there is one.
  void ThrowIfEnded() const;
  // Throws, and makes it the verdict, when a member of this node has died.
  void LookAtOthers();
  // The same when the group has been recalled. Does not wait: it asks at most every kAskPause, and looks at the answer
  // later.
  void LookForRecall();
  // The same, and a TimeoutError that says what was waited for when it is past `deadline`.
  void Check(TimePoint deadline, size_t member, const std::string& what);

  // Sends a message; does not wait. The tensor is sealed.
  void Post(size_t to, const MessageKey& key, const Message& message);
  // Waits for a message of that label (of a point-to-point one: of any). Throws the verdict, or TimeoutError, or
  // InvalidArgumentError: a member called something else.
  Message Take(const MessageKey& key, const Label& label, TimePoint deadline);
  // Waits until what was posted has arrived, for a while.
  void Flush();
  // Tells all others that this member will send nothing more.
  void TellOthers(const std::string& reason);

 private:
  explicit Generation(View view);
  Message Accept(Taken taken, const MessageKey& key, const Label& label);
  void OnCompanionDeath(size_t member, const std::string& how);
  void Fail(size_t member, const std::string& how);
  const ActorHandle<RankActor>& companion(size_t member) const { return view_.seats[member].companion; }

  const View view_;
  std::vector<base::UniqueFd> pidfds_;  // of the members; empty: of another node, or this process
  std::atomic<bool> has_ended_ = false;
  mutable base::Mutex mutex_;
  std::exception_ptr verdict_ MANTA_GUARDED_BY(mutex_);
  std::deque<ObjectRef<bool>> posted_ MANTA_GUARDED_BY(mutex_);  // the newest
  ObjectRef<bool> asked_ MANTA_GUARDED_BY(mutex_);               // whether it is recalled
  TimePoint ask_next_ MANTA_GUARDED_BY(mutex_);
};

}  // namespace manta::ml::internal

#endif  // MANTA_ML_COLLECTIVE_GENERATION_H_

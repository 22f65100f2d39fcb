// Member is what stands behind a Communicator: it does operations one after another, in the order of their calls, each
// by the algorithm that was asked for or costs least.
//
// Problem:    a collective is several processes' affair; one that fails in one of them has failed in all.
// Rule:       what an operation throws, but for arguments refused before it begins, ends the generation: the others are
//             told, and every later operation throws the same.
// Threads:    thread-safe.
#ifndef MANTA_ML_COLLECTIVE_MEMBER_H_
#define MANTA_ML_COLLECTIVE_MEMBER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "manta/ml/communicator.h"
#include "manta/ml/process_group.h"
#include "ml/collective/generation.h"
#include "ml/collective/group_actor.h"
#include "ml/collective/label.h"
#include "ml/collective/message_collectives.h"
#include "ml/collective/node_plan.h"
#include "ml/collective/window.h"

namespace manta::ml {

// Of Work: an operation that waits for its turn, and what became of it.
struct Work::State {
  internal::Operation operation;
  base::Mutex mutex;
  base::CondVar changed;
  bool is_done MANTA_GUARDED_BY(mutex) = false;
  std::exception_ptr error MANTA_GUARDED_BY(mutex);
};

namespace internal {

// Throws what a refusal means to member `rank`.
void ThrowUnlessAdmitted(const Admission& admission, size_t rank);

class Member {
 public:
  struct Options {
    std::chrono::milliseconds timeout;
    bool measure_costs;
  };

  // Meets the others of `view`: opens the window, measures costs. Throws MemberDiedError, TimeoutError.
  Member(ActorHandle<GroupActor> meeting, View view, const Options& options);
  ~Member();  // Leave

  size_t rank() const { return generation_->rank(); }
  size_t size() const { return generation_->size(); }
  uint64_t generation() const { return generation_->view().generation; }
  bool shares_window() const { return window_.has_value() && nodes_.is_one_node(); }
  const CostModel& cost_model() const { return model_; }
  CollectiveStats stats() const;

  void Run(const Operation& operation);
  Work Start(const Operation& operation);
  void Send(const void* values, size_t bytes, size_t to, uint32_t tag);
  void Receive(void* values, size_t bytes, size_t from, uint32_t tag);

  std::shared_ptr<Member> Reform(size_t members);
  void Leave();

 private:
  void OpenWindow();
  SharedMemory MeetAtWindow();
  void ThrowIfBroken(const WindowOffer& offer) const;
  void MeasureCosts();
  void MeasureWindow(CostModel* measured);

  // The operation with an algorithm that can do it; InvalidArgumentError: there is none, or arguments make no sense.
  Operation Resolved(const Operation& operation) const;
  Algorithm Chosen(const Operation& operation) const;
  Traffic DoOperation(const Operation& operation, const Label& label);
  std::shared_ptr<Work::State> Enqueue(const Operation& operation) MANTA_REQUIRES(mutex_);
  void WorkThrough();  // the thread
  void Execute(const Operation& operation);
  void ExecuteAlone(const Operation& operation) const;
  // Ends the generation for everybody.
  void GiveUp(std::exception_ptr why, const std::string& reason);
  // Waits until all operations that were begun are done, and ends the thread.
  void StopThread();
  void CheckOther(size_t other, const char* verb) const;

  const ActorHandle<GroupActor> meeting_;
  const Options options_;
  const std::shared_ptr<Generation> generation_;
  const NodePlan nodes_;
  std::optional<Window> window_;  // of the members of this node, if they are several
  std::string no_window_;         // why a member that should have one has none
  CostModel model_;

  mutable base::Mutex mutex_;
  base::CondVar changed_;
  bool is_busy_ MANTA_GUARDED_BY(mutex_) = false;  // somebody is in Execute
  bool stops_ MANTA_GUARDED_BY(mutex_) = false;
  bool has_left_ MANTA_GUARDED_BY(mutex_) = false;
  std::deque<std::shared_ptr<Work::State>> queue_ MANTA_GUARDED_BY(mutex_);
  CollectiveStats stats_ MANTA_GUARDED_BY(mutex_);
  std::map<std::pair<size_t, uint32_t>, uint32_t> sent_ MANTA_GUARDED_BY(mutex_);      // by member and tag
  std::map<std::pair<size_t, uint32_t>, uint32_t> received_ MANTA_GUARDED_BY(mutex_);  // likewise
  std::thread thread_ MANTA_GUARDED_BY(mutex_);

  // Of who is busy.
  uint64_t operations_ = 0;
  TimePoint deadline_;
};

}  // namespace internal
}  // namespace manta::ml

#endif  // MANTA_ML_COLLECTIVE_MEMBER_H_

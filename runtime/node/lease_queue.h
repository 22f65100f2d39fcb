// LeaseQueue holds the requests for workers that wait on this node, and says who is next.
//
// Problem:    a task that waits for its subtasks must not be starved by newer top-level ones: deeper requests are
// granted first,
//             equals in the order of arrival. A request that cannot be met must not hold up those that can.
//
// Requests that want the same (job, shape, hint) form a *class*: what stops one stops all of them, so a pass looks at
// one request of each class. A hint says on which node: NodeCore heeds it first (Settle, or Sent).
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) a request is here once: waiting, or sent to another node.
//             (2) within a class the order is (deeper, earlier); between classes the best first request wins.
// See:        docs/task.md, rpc/schema/lease.capnp
#ifndef MANTA_RUNTIME_NODE_LEASE_QUEUE_H_
#define MANTA_RUNTIME_NODE_LEASE_QUEUE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "rpc/message.h"

namespace manta::runtime::node {

class LeaseQueue {
 public:
  using Key = std::pair<ProcessId, uint64_t>;  // caller, request
  // Deeper first, then earlier.
  struct Rank {
    uint32_t depth = 0;
    uint64_t arrival = 0;
    bool operator<(const Rank& other) const {
      return depth != other.depth ? depth > other.depth : arrival < other.arrival;
    }
    bool operator==(const Rank&) const = default;
  };
  struct Class {
    JobId job = 0;
    base::ResourceSet shape;
    rpc::SchedulingHint hint;  // none: it may be granted here
    std::map<Rank, Key> waiting;
    std::string reason;       // why they wait
    std::vector<Key> untold;  // have not heard it
  };

  LeaseQueue() = default;
  LeaseQueue(const LeaseQueue&) = delete;
  LeaseQueue& operator=(const LeaseQueue&) = delete;

  // False: it is here already.
  bool Add(const rpc::LeaseRequest& request);
  // Null: not here.
  const rpc::LeaseRequest* Find(const Key& key) const;
  // Granted, refused or cancelled. Where it was sent to (0: it waited here), or none: it was not here.
  std::optional<NodeId> Remove(const Key& key);
  void Sent(const Key& key, NodeId to);
  // Its hint has been heeded: it waits as one without. `here`: and is not sent to another node.
  void Settle(const Key& key, bool here);
  NodeId SentTo(const Key& key) const;  // 0: it waits here
  // Those that were sent to `node` wait here again, in their old places. It will not answer.
  void TakeBack(NodeId node);
  // It was refused there.
  void TakeBack(const Key& key);

  std::vector<Key> OfCaller(ProcessId caller) const;
  std::vector<Key> OfCallersOn(NodeId node) const;
  std::vector<Key> OfJob(JobId job) const;
  // Those that wait and have a hint, class by class.
  std::vector<Key> Hinted() const;
  // What those that wait without one want in all, but no more than `count_max` of each class.
  base::ResourceSet WantedHere(size_t count_max) const;

  // The class whose first request is the best, among those not in `passed_over`; null: none is left. A class ends with
  // its last waiting request.
  Class* Best(const std::set<const Class*>& passed_over);  // NOLINT(layering): membership only
  // Every class that waits here.
  template <typename Visit>
  void ForEachClass(Visit visit) const {
    for (const auto& [key, of] : classes_) visit(of);
  }
  // Why the class waits: the requests to tell, each of them once per reason.
  std::vector<Key> SetReason(Class* of, const std::string& reason);

  size_t size() const { return requests_.size(); }

 private:
  using Amounts = std::map<std::string, base::Fixed, std::less<>>;
  using ClassKey = std::tuple<JobId, Amounts, rpc::SchedulingHint>;
  struct Request {
    rpc::LeaseRequest asked;
    Rank rank;
    NodeId sent_to = 0;
  };
  static ClassKey KeyOf(const rpc::LeaseRequest& request) {
    return {request.job, request.shape.amounts(), request.hint};
  }
  void Enqueue(const Key& key, const Request& request);
  void Dequeue(const Request& request);

  std::map<Key, Request> requests_;
  std::map<ClassKey, Class> classes_;
  uint64_t last_arrival_ = 0;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_LEASE_QUEUE_H_

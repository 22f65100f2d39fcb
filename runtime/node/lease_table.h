// LeaseTable knows who holds which of this node's resources: tasks' leases and actors.
//
// Problem:    a CPU that is granted twice is a node that thrashes; one that is never given back is a node that idles.
// Ownership:  owned by NodeCore.
// Threads:    externally synchronised; pure.
// Invariants: (1) available + what all leases hold = total.
//             (2) available falls below 0 only by Unblock (a task that resumes never waits) and Change.
//             (3) lease numbers rise.
// See:        docs/task.md, rpc/schema/lease.capnp
#ifndef MANTA_RUNTIME_NODE_LEASE_TABLE_H_
#define MANTA_RUNTIME_NODE_LEASE_TABLE_H_

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/resources.h"

namespace manta::runtime::node {

class LeaseTable {
 public:
  struct Lease {
    LeaseId id;
    ProcessId caller;  // an actor's: none
    ProcessId worker;  // an actor's: none until it has one
    base::ResourceSet shape;
    bool blocked = false;  // its CPU is lent to others
  };

  explicit LeaseTable(base::ResourceSet total) : total_(std::move(total)), available_(total_) {}
  LeaseTable(const LeaseTable&) = delete;
  LeaseTable& operator=(const LeaseTable&) = delete;

  // Nothing is granted while resumed tasks have more than there is.
  bool Fits(const base::ResourceSet& shape) const { return !overdrawn() && available_.Fits(shape); }
  bool overdrawn() const { return available_.HasNegative(); }

  // REQUIRES: Fits(shape); the worker, if any, has no lease.
  LeaseId Grant(NodeId node, ProcessId caller, ProcessId worker, const base::ResourceSet& shape);
  void SetWorker(LeaseId lease, ProcessId worker);
  // It holds `shape` from now on: an actor that has been constructed.
  void Change(LeaseId lease, const base::ResourceSet& shape);
  void End(LeaseId lease);
  // Gives back, or takes again, the CPUs (only) of a lease. False: no change.
  bool SetBlocked(LeaseId lease, bool blocked);

  const Lease* Find(LeaseId lease) const;
  const Lease* OfWorker(ProcessId worker) const;
  std::vector<LeaseId> OfCaller(ProcessId caller) const;
  std::vector<LeaseId> OfCallersOn(NodeId node) const;
  const base::ResourceSet& total() const { return total_; }
  const base::ResourceSet& available() const { return available_; }
  size_t size() const { return leases_.size(); }

 private:
  static base::ResourceSet CpusOf(const base::ResourceSet& shape);

  const base::ResourceSet total_;
  base::ResourceSet available_;
  uint64_t last_number_ = 0;
  std::map<LeaseId, Lease> leases_;
  std::map<ProcessId, LeaseId> by_worker_;
  std::set<std::pair<ProcessId, LeaseId>> by_caller_;
};

}  // namespace manta::runtime::node

#endif  // MANTA_RUNTIME_NODE_LEASE_TABLE_H_

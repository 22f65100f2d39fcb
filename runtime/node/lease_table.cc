#include "runtime/node/lease_table.h"

#include "base/check.h"

namespace manta::runtime::node {

LeaseId LeaseTable::Grant(NodeId node, ProcessId caller, ProcessId worker, const base::ResourceSet& shape) {
  MANTA_CHECK(Fits(shape)) << shape.ToString() << " of " << available_.ToString();
  const LeaseId id{node, ++last_number_};
  leases_[id] = {id, caller, {}, shape, false};
  if (caller.is_user_process()) by_caller_.insert({caller, id});
  available_.Subtract(shape);
  if (worker.is_user_process()) SetWorker(id, worker);
  return id;
}

void LeaseTable::SetWorker(LeaseId id, ProcessId worker) {
  MANTA_CHECK(!by_worker_.contains(worker)) << ToString(worker) << " has a lease";
  leases_.at(id).worker = worker;
  by_worker_[worker] = id;
}

void LeaseTable::Change(LeaseId id, const base::ResourceSet& shape) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  const bool blocked = it->second.blocked;
  if (blocked) SetBlocked(id, false);
  available_.Add(it->second.shape);
  available_.SubtractAllowNegative(shape);
  it->second.shape = shape;
  if (blocked) SetBlocked(id, true);
}

void LeaseTable::End(LeaseId id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  if (it->second.blocked) SetBlocked(id, false);
  available_.Add(it->second.shape);
  if (it->second.worker.is_user_process()) by_worker_.erase(it->second.worker);
  by_caller_.erase({it->second.caller, id});
  leases_.erase(it);
}

bool LeaseTable::SetBlocked(LeaseId id, bool blocked) {
  const auto it = leases_.find(id);
  if (it == leases_.end() || it->second.blocked == blocked) return false;
  it->second.blocked = blocked;
  const base::ResourceSet cpus = CpusOf(it->second.shape);
  if (blocked) {
    available_.Add(cpus);
  } else {
    available_.SubtractAllowNegative(cpus);
  }
  return true;
}

const LeaseTable::Lease* LeaseTable::Find(LeaseId id) const {
  const auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : &it->second;
}

const LeaseTable::Lease* LeaseTable::OfWorker(ProcessId worker) const {
  const auto it = by_worker_.find(worker);
  return it == by_worker_.end() ? nullptr : &leases_.at(it->second);
}

std::vector<LeaseId> LeaseTable::OfCaller(ProcessId caller) const {
  std::vector<LeaseId> ids;
  for (auto it = by_caller_.lower_bound({caller, LeaseId{}}); it != by_caller_.end() && it->first == caller; ++it) {
    ids.push_back(it->second);
  }
  return ids;
}

std::vector<LeaseId> LeaseTable::OfCallersOn(NodeId node) const {
  std::vector<LeaseId> ids;
  for (auto it = by_caller_.lower_bound({ProcessId{node, 0}, LeaseId{}});
       it != by_caller_.end() && it->first.node == node; ++it) {
    ids.push_back(it->second);
  }
  return ids;
}

base::ResourceSet LeaseTable::CpusOf(const base::ResourceSet& shape) {
  base::ResourceSet cpus;
  cpus.Set("CPU", shape.Get("CPU"));
  return cpus;
}

}  // namespace manta::runtime::node

#include "runtime/head/job_table.h"

#include <algorithm>

#include "base/rule.h"

namespace manta::runtime {

void JobTable::Restore(JobId job, Job what) {
  by_driver_[what.driver] = job;
  jobs_[job] = std::move(what);
  next_ = std::max(next_, job + 1);
}

JobTable::Registered JobTable::Register(ProcessId driver, const std::string& program) {
  const auto it = by_driver_.find(driver);
  if (MANTA_RULE("head.job_once") && it != by_driver_.end()) return {it->second, false};
  const JobId job = next_++;
  jobs_[job] = {driver, program};
  by_driver_[driver] = job;
  return {job, true};
}

bool JobTable::End(JobId job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return false;
  const auto driven = by_driver_.find(it->second.driver);
  if (driven != by_driver_.end() && driven->second == job) by_driver_.erase(driven);
  jobs_.erase(it);
  return true;
}

std::vector<JobId> JobTable::DrivenFrom(NodeId node) const {
  std::vector<JobId> jobs;
  for (auto it = by_driver_.lower_bound({node, 0}); it != by_driver_.end() && it->first.node == node; ++it) {
    jobs.push_back(it->second);
  }
  return jobs;
}

}  // namespace manta::runtime

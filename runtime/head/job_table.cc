#include "runtime/head/job_table.h"

#include <algorithm>

#include "base/rule.h"

namespace manta::runtime {

void JobTable::Restore(JobId job, Job what) {
  if (!what.over) by_driver_[what.driver] = job;
  jobs_[job] = std::move(what);
  next_ = std::max(next_, job + 1);
}

JobTable::Registered JobTable::Register(ProcessId driver, const std::string& program) {
  const auto it = by_driver_.find(driver);
  if (MANTA_RULE("head.job_once") && it != by_driver_.end()) return {it->second, false};
  const JobId job = next_++;
  jobs_[job] = {driver, program, false, {}};
  by_driver_[driver] = job;
  return {job, true};
}

bool JobTable::Linger(JobId job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end() || it->second.over) return false;
  ForgetDriver(it->second, job);
  it->second.over = true;
  return true;
}

bool JobTable::End(JobId job) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return false;
  ForgetDriver(it->second, job);
  jobs_.erase(it);
  return true;
}

void JobTable::ForgetDriver(const Job& job, JobId number) {
  const auto driven = by_driver_.find(job.driver);
  if (driven != by_driver_.end() && driven->second == number) by_driver_.erase(driven);
}

NodeId JobTable::ProgramSource(JobId job, NodeId asker, const std::function<bool(NodeId)>& alive) {
  const auto it = jobs_.find(job);
  if (it == jobs_.end()) return 0;
  Job& known = it->second;
  NodeId source = alive(known.driver.node) ? known.driver.node : 0;
  for (const NodeId node : known.program_on) {
    if (source == 0 && node != asker && alive(node)) source = node;
  }
  if (source != 0) known.program_on.insert(asker);
  return source;
}

std::vector<JobId> JobTable::DrivenFrom(NodeId node) const {
  std::vector<JobId> jobs;
  for (auto it = by_driver_.lower_bound({node, 0}); it != by_driver_.end() && it->first.node == node; ++it) {
    jobs.push_back(it->second);
  }
  return jobs;
}

}  // namespace manta::runtime

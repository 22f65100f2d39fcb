// JobTable knows which jobs run, and numbers them.
//
// Threads:    externally synchronised; pure.
// Invariants: (1) job numbers rise for ever; a number that was allotted and is not running has ended.
//             (2) one driver has one job, however often it registers.
//             (3) a job whose driver is gone stays, over, while detached actors of it live.
#ifndef MANTA_RUNTIME_HEAD_JOB_TABLE_H_
#define MANTA_RUNTIME_HEAD_JOB_TABLE_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"

namespace manta::runtime {

class JobTable {
 public:
  struct Job {
    ProcessId driver;
    std::string program;
    bool over = false;            // its driver is gone
    std::set<NodeId> program_on;  // nodes that have asked for the program since this head started
  };

  // After a restart of the head.
  void Restore(JobId job, Job what);
  void RestoreNext(JobId next) { next_ = next; }

  // The driver's job: a new one, unless it has one already.
  struct Registered {
    JobId job = 0;
    bool is_new = false;
  };
  Registered Register(ProcessId driver, const std::string& program);
  // Its driver is gone. Whether it was there until now.
  bool Linger(JobId job);
  // Nothing of it is left. Whether it was here until now.
  bool End(JobId job);
  // Who can give `asker` the job's program: one of `alive`, its driver's node first. 0: nobody.
  NodeId ProgramSource(JobId job, NodeId asker, const std::function<bool(NodeId)>& alive);

  // Detached actors of one that is over count, and what they do.
  bool runs(JobId job) const { return jobs_.contains(job); }
  bool is_over(JobId job) const { return runs(job) && jobs_.at(job).over; }
  std::vector<JobId> DrivenFrom(NodeId node) const;
  JobId next() const { return next_; }
  size_t size() const { return jobs_.size(); }
  const std::map<JobId, Job>& jobs() const { return jobs_; }

 private:
  void ForgetDriver(const Job& job, JobId number);

  std::map<JobId, Job> jobs_;
  std::map<ProcessId, JobId> by_driver_;
  JobId next_ = 1;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_JOB_TABLE_H_

// JobTable knows which jobs run, and numbers them.
//
// Threads:    externally synchronised; pure.
// Invariants: (1) job numbers rise for ever; a number that was allotted and is not running has ended.
//             (2) one driver has one job, however often it registers.
#ifndef MANTA_RUNTIME_HEAD_JOB_TABLE_H_
#define MANTA_RUNTIME_HEAD_JOB_TABLE_H_

#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace manta::runtime {

class JobTable {
 public:
  struct Job {
    ProcessId driver;
    std::string program;
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
  // Whether it ran until now.
  bool End(JobId job);

  bool runs(JobId job) const { return jobs_.contains(job); }
  std::vector<JobId> DrivenFrom(NodeId node) const;
  JobId next() const { return next_; }
  size_t size() const { return jobs_.size(); }
  const std::map<JobId, Job>& jobs() const { return jobs_; }

 private:
  std::map<JobId, Job> jobs_;
  std::map<ProcessId, JobId> by_driver_;
  JobId next_ = 1;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_JOB_TABLE_H_

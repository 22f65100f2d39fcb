// LocalService runs functions on a thread of its own, now or at a time: --manta-local's timeouts, callbacks of OnDeath,
// and what may not be done where it is noticed.
//
// Threads:    thread-safe; functions run one at a time, in the order of their times, with no lock held.
#ifndef MANTA_API_LOCAL_SERVICE_H_
#define MANTA_API_LOCAL_SERVICE_H_

#include <chrono>
#include <functional>
#include <map>
#include <thread>

#include "base/mutex.h"

namespace manta::internal {

class LocalService {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  LocalService() : thread_([this] { Run(); }) {}
  ~LocalService() { Stop(); }

  void Post(std::function<void()> function) { PostAt(TimePoint::min(), std::move(function)); }
  void PostAt(TimePoint time, std::function<void()> function) MANTA_EXCLUDES(mutex_);
  // Runs what is posted for now; drops the rest and what comes later. Idempotent. The object must outlive a function
  // that calls it.
  void Stop() MANTA_EXCLUDES(mutex_);

 private:
  void Run() MANTA_EXCLUDES(mutex_);

  base::Mutex mutex_;
  base::CondVar wake_;
  std::multimap<TimePoint, std::function<void()>> functions_ MANTA_GUARDED_BY(mutex_);
  bool stopping_ MANTA_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace manta::internal

#endif  // MANTA_API_LOCAL_SERVICE_H_

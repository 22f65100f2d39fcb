// Mutex is std::mutex with thread-safety annotations, and CondVar waits on it.
//
// Problem:    Debian's absl::Mutex is not built for TSan; std::mutex is not annotated.
// Threads:    thread-safe.
#ifndef MANTA_BASE_MUTEX_H_
#define MANTA_BASE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/thread_annotations.h"

namespace manta::base {

class MANTA_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() MANTA_ACQUIRE() { mutex_.lock(); }
  void Unlock() MANTA_RELEASE() { mutex_.unlock(); }
  bool TryLock() MANTA_TRY_ACQUIRE(true) { return mutex_.try_lock(); }
  // Tells the analysis, not the machine, that the caller holds the lock.
  void AssertHeld() const MANTA_ASSERT_CAPABILITY(this) {}

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class MANTA_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) MANTA_ACQUIRE(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() MANTA_RELEASE() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

class CondVar {
 public:
  // Waits once; spurious wake-ups happen, so call it in a loop over the condition.
  void Wait(Mutex* mutex) MANTA_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // The same for at most `timeout`; false if it ran out.
  bool WaitFor(Mutex* mutex, std::chrono::nanoseconds timeout) MANTA_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    const bool woken = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace manta::base

#endif  // MANTA_BASE_MUTEX_H_

#include "api/local_service.h"

#include <algorithm>
#include <utility>

namespace manta::internal {

void LocalService::PostAt(TimePoint time, std::function<void()> function) {
  base::MutexLock lock(&mutex_);
  if (stopping_) return;
  functions_.emplace(time, std::move(function));
  wake_.NotifyOne();
}

void LocalService::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyOne();
  }
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // Shutdown in a callback: this thread ends when that returns
  } else if (thread_.joinable()) {
    thread_.join();
  }
}

void LocalService::Run() {
  constexpr std::chrono::nanoseconds kSleepMax = std::chrono::hours(1);
  mutex_.Lock();
  for (;;) {
    const TimePoint now = std::chrono::steady_clock::now();
    if (!functions_.empty() && functions_.begin()->first <= now) {
      std::function<void()> function = std::move(functions_.begin()->second);
      functions_.erase(functions_.begin());
      mutex_.Unlock();
      function();
      function = nullptr;  // what it holds may post when it goes
      mutex_.Lock();
    } else if (stopping_) {
      break;
    } else {
      const std::chrono::nanoseconds sleep = functions_.empty() ? kSleepMax : functions_.begin()->first - now;
      wake_.WaitFor(&mutex_, std::min(sleep, kSleepMax));
    }
  }
  const std::multimap<TimePoint, std::function<void()>> dropped = std::move(functions_);
  mutex_.Unlock();
}

}  // namespace manta::internal

#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace manta::base {
namespace {

struct Counter {
  Mutex mutex;
  CondVar changed;
  int value MANTA_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, ExcludesThreads) {
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 10'000; ++j) {
        MutexLock lock(&counter.mutex);
        ++counter.value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(&counter.mutex);
  EXPECT_EQ(counter.value, 40'000);
}

TEST(CondVar, WakesAWaiterAndTimesOut) {
  Counter counter;
  std::thread other([&] {
    MutexLock lock(&counter.mutex);
    counter.value = 1;
    counter.changed.NotifyAll();
  });
  {
    MutexLock lock(&counter.mutex);
    while (counter.value == 0) counter.changed.Wait(&counter.mutex);
    EXPECT_FALSE(counter.changed.WaitFor(&counter.mutex, std::chrono::milliseconds(1)));
  }
  other.join();
  const bool locked = counter.mutex.TryLock();
  EXPECT_TRUE(locked);
  if (locked) counter.mutex.Unlock();
}

}  // namespace
}  // namespace manta::base

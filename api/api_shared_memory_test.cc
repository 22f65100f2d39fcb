#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "api/api_test.h"
#include "manta/shared_memory.h"

namespace manta {
namespace {

// Holds a window, of its own or another's.
class Keeper {
 public:
  SharedMemory Create(uint64_t size_bytes) { return window_ = SharedMemory::Create(size_bytes); }
  int Add(SharedMemory window, int by) {
    window_ = std::move(window);
    return AddAgain(by);
  }
  int AddAgain(int by) { return *Counter(window_) += by; }
  SharedMemory Window() const { return window_; }
  int Pid() const { return getpid(); }

  static std::atomic<int>* Counter(const SharedMemory& window) {
    return reinterpret_cast<std::atomic<int>*>(window.bytes().data());
  }

 private:
  SharedMemory window_;
};

TEST(SharedMemory, IsOneMemoryForAllWhoHaveIt) {
  SharedMemory window = SharedMemory::Create(5000);
  EXPECT_EQ(window.size(), 5000u);
  EXPECT_EQ(window.bytes().size(), 5000u);
  EXPECT_EQ(*Keeper::Counter(window), 0);
  auto a = Actor<Keeper>().NumCpus(0).Remote();
  auto b = Actor<Keeper>().NumCpus(0).Remote();
  EXPECT_EQ(Get(a.Call<&Keeper::Add>().Remote(window, 1)), 1);
  EXPECT_EQ(Get(b.Call<&Keeper::Add>().Remote(a.Call<&Keeper::Window>().Remote(), 2)), 3);
  EXPECT_EQ(*Keeper::Counter(window), 3);
}

TEST(SharedMemory, OutlivesTheProcessThatMadeIt) {
  auto maker = Actor<Keeper>().NumCpus(0).Remote();
  auto other = Actor<Keeper>().NumCpus(0).Remote();
  SharedMemory window = Get(maker.Call<&Keeper::Create>().Remote(4096));
  EXPECT_EQ(Get(other.Call<&Keeper::Add>().Remote(window, 4)), 4);
  Kill(maker);
  EXPECT_EQ(Get(other.Call<&Keeper::AddAgain>().Remote(1)), 5);
  EXPECT_EQ(*Keeper::Counter(Get(other.Call<&Keeper::Window>().Remote())), 5);
}

TEST(SharedMemory, IsLostWithTheLastProcessThatHasIt) {
  auto maker = Actor<Keeper>().NumCpus(0).Remote();
  SharedMemory window = Get(maker.Call<&Keeper::Create>().Remote(4096));
  if (CurrentContext().is_local()) {  // the own process has it
    EXPECT_EQ(*Keeper::Counter(window), 0);
    return;
  }
  const pid_t pid = Get(maker.Call<&Keeper::Pid>().Remote());
  Kill(maker);
  std::atomic<bool> is_dead = false;
  maker.OnDeath([&](const ActorDiedError&) { is_dead = true; });
  while (!is_dead) usleep(1000);
  while (kill(pid, 0) == 0) usleep(1000);  // the actor is dead as soon as its process must end, which takes a moment
  EXPECT_THROW(window.bytes(), ObjectLostError);
}

TEST(SharedMemory, RefusesWhatMakesNoSense) {
  EXPECT_THROW(SharedMemory::Create(0), InvalidArgumentError);
  EXPECT_FALSE(SharedMemory());
  EXPECT_EQ(SharedMemory().size(), 0u);
  EXPECT_THROW(SharedMemory().bytes(), InvalidArgumentError);
  auto keeper = Actor<Keeper>().NumCpus(0).Remote();
  EXPECT_FALSE(Get(keeper.Call<&Keeper::Window>().Remote()));
}

}  // namespace
}  // namespace manta

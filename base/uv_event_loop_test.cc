#include "base/uv_event_loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/socket.h"

namespace manta::base {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

class UvEventLoopTest : public testing::Test {
 protected:
  // Ends the test's loop if what it waits for does not come.
  void RunForAtMost(Duration limit) {
    const TimerId timer = loop_.RunAfter(limit, [this] { loop_.Stop(); });
    loop_.Run();
    loop_.CancelTimer(timer);
  }
  auto Append(std::string text) {
    return [this, text] { order_ += text; };
  }

  UvEventLoop loop_;
  std::string order_;
};

TEST_F(UvEventLoopTest, RunsPostedFunctionsInOrderAndThenStops) {
  loop_.Post(Append("a"));
  loop_.Post([this] {
    order_ += "b";
    loop_.Post(Append("d"));  // next turn, not inside this one
    loop_.Post([this] { loop_.Stop(); });
  });
  loop_.Post(Append("c"));
  loop_.Run();
  EXPECT_EQ(order_, "abcd");
}

TEST_F(UvEventLoopTest, StopBeforeRunLetsWhatWasPostedRun) {
  loop_.Post(Append("a"));
  loop_.Stop();
  loop_.Run();
  EXPECT_EQ(order_, "a");
  RunForAtMost(milliseconds(5));  // the Stop was used up
  EXPECT_EQ(order_, "a");
}

TEST_F(UvEventLoopTest, StopSurvivesRunOnce) {
  loop_.Stop();
  loop_.RunOnce();
  loop_.Run();
}

TEST_F(UvEventLoopTest, EveryPostFromManyThreadsRunsOnTheLoopsThread) {
  constexpr int kThreads = 4, kPosts = 5000;
  int ran = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < kPosts; ++j) {
        loop_.Post([&] {
          ASSERT_TRUE(loop_.IsLoopThread());
          if (++ran == kThreads * kPosts) loop_.Stop();
        });
      }
    });
  }
  loop_.Run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ran, kThreads * kPosts);
}

TEST_F(UvEventLoopTest, IsConfinedToTheThreadThatRunsIt) {
  EXPECT_TRUE(loop_.IsLoopThread());
  loop_.Post([this] {
    EXPECT_TRUE(loop_.IsLoopThread());
    std::thread([this] { EXPECT_FALSE(loop_.IsLoopThread()); }).join();
    loop_.Stop();
  });
  loop_.Run();
}

TEST_F(UvEventLoopTest, TimersRunInOrderOfTheirTimesAndNeverEarly) {
  const Time start = loop_.Now();
  loop_.RunAfter(milliseconds(4), [this, start] {
    order_ += "c";
    EXPECT_GE(loop_.Now() - start, milliseconds(4));
    loop_.Stop();
  });
  loop_.RunAfter(microseconds(100), Append("b"));
  loop_.RunAfter(-milliseconds(1), Append("a"));
  EXPECT_EQ(order_, "");
  loop_.Run();
  EXPECT_EQ(order_, "abc");
}

TEST_F(UvEventLoopTest, TimersAreFinerThanAMillisecond) {
  // The fastest of many: the machine may be busy.
  Duration fastest = Duration::max();
  for (int i = 0; i < 50; ++i) {
    const Time start = loop_.Now();
    loop_.RunAfter(microseconds(50), [this] { loop_.Stop(); });
    loop_.Run();
    fastest = std::min(fastest, loop_.Now() - start);
  }
  EXPECT_GE(fastest, microseconds(50));
  EXPECT_LT(fastest, microseconds(900));
}

TEST_F(UvEventLoopTest, CancelledTimersDoNotRunEvenIfDue) {
  TimerId second = 0;
  loop_.RunAfter(milliseconds(1), [&] { loop_.CancelTimer(second); });
  second = loop_.RunAfter(milliseconds(1), Append("never"));
  std::this_thread::sleep_for(milliseconds(3));  // both are due now
  const TimerId last = loop_.RunAfter(milliseconds(2), [this] { loop_.Stop(); });
  loop_.Run();
  EXPECT_EQ(order_, "");
  loop_.CancelTimer(last);  // ran already: no effect
  loop_.CancelTimer(0);
}

TEST_F(UvEventLoopTest, ATimerThatSetsAnEarlierOneThanTheRestIsFollowed) {
  loop_.RunAfter(milliseconds(500), Append("late"));
  loop_.RunAfter(milliseconds(1), [this] { loop_.RunAfter(milliseconds(1), [this] { loop_.Stop(); }); });
  loop_.Run();
  EXPECT_EQ(order_, "");
}

TEST_F(UvEventLoopTest, WatchSeesADescriptorForAsLongAsItLives) {
  auto pair = SocketPair();
  ASSERT_TRUE(pair.ok());
  int seen = 0;
  FdWatch watch = loop_.WatchFd(pair->first.get(), kReadable, [&](int events) {
    EXPECT_EQ(events, kReadable);
    if (++seen == 3) {  // level-triggered: nobody has read
      watch.Reset();
      loop_.RunAfter(milliseconds(2), [this] { loop_.Stop(); });
    }
  });
  ASSERT_EQ(write(pair->second.get(), "x", 1), 1);
  loop_.Run();
  EXPECT_EQ(seen, 3);
}

TEST_F(UvEventLoopTest, WatchedEventsCanBeChangedAndPaused) {
  auto pair = SocketPair();
  FdWatch watch = loop_.WatchFd(pair->first.get(), kReadable, [&](int events) {
    order_ += events == kWritable ? "w" : "?";
    watch.SetEvents(0);
  });
  RunForAtMost(milliseconds(2));
  EXPECT_EQ(order_, "");
  watch.SetEvents(kWritable);
  RunForAtMost(milliseconds(2));
  EXPECT_EQ(order_, "w");
}

TEST_F(UvEventLoopTest, EndOfFileAndErrorsAreReadable) {
  auto pair = SocketPair();
  FdWatch watch = loop_.WatchFd(pair->first.get(), kReadable, [&](int events) {
    EXPECT_EQ(events & kReadable, kReadable);
    loop_.Stop();
  });
  ASSERT_EQ(write(pair->first.get(), "unread", 6), 6);
  pair->second.reset();  // resets the connection: an error for the other side
  loop_.Run();
  char byte;
  EXPECT_LE(read(pair->first.get(), &byte, 1), 0);
}

TEST_F(UvEventLoopTest, AWatchMayBeMovedAndEndInItsOwnFunction) {
  const UniqueFd bell(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  auto holder = std::make_unique<FdWatch>();
  auto token = std::make_shared<int>(7);
  *holder = loop_.WatchFd(bell.get(), kReadable, [&, token](int) {
    holder.reset();
    EXPECT_EQ(*token, 7);  // the function that runs is not destroyed under itself
    loop_.Stop();
  });
  loop_.Run();
}

TEST_F(UvEventLoopTest, OneDescriptorCanBeWatchedAgainAfterTheWatchEnded) {
  const UniqueFd bell(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
  for (int i = 0; i < 3; ++i) {
    FdWatch watch = loop_.WatchFd(bell.get(), kReadable, [&](int) {
      order_ += "x";
      watch.Reset();
      loop_.Stop();
    });
    loop_.Run();
  }
  EXPECT_EQ(order_, "xxx");
}

TEST_F(UvEventLoopTest, BackendBecomesReadableForTimersWatchesAndPosts) {
  const UniqueFd bell(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  FdWatch watch = loop_.WatchFd(bell.get(), kReadable, [&](int) {
    order_ += "w";
    uint64_t count;
    ASSERT_EQ(read(bell.get(), &count, sizeof(count)), 8);
  });
  const auto wait_and_run = [this] {
    pollfd backend{loop_.backend_fd(), POLLIN, 0};
    ASSERT_EQ(poll(&backend, 1, 2000), 1);
    loop_.RunOnce();
  };
  loop_.RunOnce();
  const uint64_t one = 1;
  ASSERT_EQ(write(bell.get(), &one, sizeof(one)), 8);
  wait_and_run();
  loop_.RunAfter(microseconds(100), Append("t"));
  wait_and_run();
  loop_.Post(Append("p"));
  wait_and_run();
  EXPECT_EQ(order_, "wtp");
}

TEST_F(UvEventLoopTest, UnrunFunctionsAreDestroyedWithTheLoop) {
  auto token = std::make_shared<int>();
  {
    UvEventLoop loop;
    loop.Post([token] {});
    loop.RunAfter(milliseconds(1), [token] {});
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(UvEventLoop, MayEndBeforeAPostedFunctionThatOwnsAWatch) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    UvEventLoop loop;
    const auto watch = std::make_shared<FdWatch>(loop.WatchFd(ends[0], kReadable, [](int) {}));
    loop.Post([watch] {});
  }
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace manta::base

// Partitions: each node has an address of its own in 127.0.0.0/8, in a network namespace of this test's own, and
// nftables cuts them.
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "tests/cluster/cluster.h"

namespace manta::cluster {

using embedded::WriteFile;

namespace {

constexpr char kHead[] = "127.0.0.1";  // and the node beside it, whose driver the test is
constexpr char kOne[] = "127.0.0.2";
constexpr char kTwo[] = "127.0.0.3";
constexpr seconds kLease(3);
constexpr milliseconds kHealed = kLease + seconds(2);

std::string Where() { return CurrentContext().node(); }

}  // namespace

class Counter {
 public:
  int Add(int by) { return value_ += by; }
  int Value() { return value_; }
  void WaitForEver() {
    while (true) pause();
  }

 private:
  int value_ = 0;
};
// Calls another actor, whose handle it holds, until a file is there; how many calls came back.
class Caller {
 public:
  explicit Caller(ActorHandle<Counter> counter) : counter_(counter) {}
  int CallUntil(std::string path) {
    int calls = 0;
    for (; !embedded::Exists(path); ++calls) Get(counter_.Call<&Counter::Add>().Remote(1), seconds(20));
    return calls;
  }

 private:
  ActorHandle<Counter> counter_;
};

class Partitions : public ClusterTest {
 protected:
  Partitions() : ClusterTest(seconds(60)) {}

  void SetUp() override {
    ClusterTest::SetUp();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << std::strerror(errno)
                                        << ": this test needs a network namespace of its own; run it as root";
    const base::UniqueFd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq loopback{};
    std::strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP | IFF_RUNNING;
    ASSERT_EQ(ioctl(any.get(), SIOCSIFFLAGS, &loopback), 0) << std::strerror(errno);
    Nft("add table ip cut; add chain ip cut in { type filter hook input priority 0 ; }");
  }

  void Nft(const std::string& rules) {
    Scenario nft({"/usr/sbin/nft", rules}, directory());
    EXPECT_EQ(nft.Join().status, 0) << "nft (package nftables) failed: " << nft.output();
  }
  void CutOneWay(const std::string& from, const std::string& to) {
    Nft("add rule ip cut in ip saddr " + from + " ip daddr " + to + " drop");
  }
  void Cut(const std::string& a, const std::string& b) {
    CutOneWay(a, b);
    CutOneWay(b, a);
  }
  void Heal() { Nft("flush chain ip cut in"); }
  void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

  // Three machines: the head's and two more.
  void StartThree() {
    StartHead({std::string("--host=") + kHead});
    one_ = AddNode("w1", {std::string("--host=") + kOne});
    two_ = AddNode("w2", {std::string("--host=") + kTwo});
    Attach();
    ExpectRunsOn({"w1", "w2"});
  }
  // The caller's error comes in time, and after the healing the node is used again, as another.
  void ExpectDeclaredDeadAndBack(const std::function<void()>& cut) {
    const auto actor = On("w1", Actor<Counter>()).Remote();
    Get(actor.Call<&Counter::Add>().Remote(1));
    const auto call = actor.Call<&Counter::WaitForEver>().Remote();
    cut();
    const Stopwatch silent;
    EXPECT_TRUE(Wait(std::vector{call}, 1, seconds(8)).pending.empty());
    ReportBar("node cut off -> caller's error", silent.elapsed(), milliseconds(3500));
    EXPECT_TRUE(ErrorOf<ActorDiedError>([&] { Get(call); }));
    const auto waits = On("w1", Task<&Where>()).Remote();
    Sleep(seconds(10) - silent.elapsed());
    Heal();
    const Stopwatch healed;
    EXPECT_NE(Get(waits, kHealed), one_.number) << "an old incarnation is not taken back";
    ReportBar("healed -> the node is used again", healed.elapsed(), kHealed);
    EXPECT_EQ(Get(On("w2", Task<&Where>()).Remote(), kHealed), two_.number);
  }

  Node one_, two_;
};

TEST_F(Partitions, OfOneSecondIsNothingButAWait) {
  StartThree();
  const auto actor = On("w1", Actor<Counter>()).Remote();
  EXPECT_EQ(Get(actor.Call<&Counter::Add>().Remote(1)), 1);
  Cut(kHead, kOne);
  const auto call = actor.Call<&Counter::Add>().Remote(1);
  Sleep(seconds(1));
  Heal();
  EXPECT_EQ(Get(call, kHealed), 2);
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kHealed), one_.number);
}

TEST_F(Partitions, SymmetricOfTenSeconds) {
  StartThree();
  ExpectDeclaredDeadAndBack([this] { Cut(kHead, kOne); });
}

TEST_F(Partitions, OneWayFromTheNodeOfTenSeconds) {
  StartThree();
  ExpectDeclaredDeadAndBack([this] { CutOneWay(kOne, kHead); });
}

TEST_F(Partitions, OneWayToTheNodeOfTenSeconds) {
  StartThree();
  ExpectDeclaredDeadAndBack([this] { CutOneWay(kHead, kOne); });
}

// Both reach the head: nobody is dead, and what they say to each other waits.
TEST_F(Partitions, BetweenTwoNodesLoseNothing) {
  StartThree();
  const auto counter = On("w1", Actor<Counter>()).Remote();
  const auto caller = On("w2", Actor<Caller>()).Remote(counter);
  const auto calls = caller.Call<&Caller::CallUntil>().Remote(File("enough"));
  for (const seconds length : {seconds(1), seconds(10)}) {
    ASSERT_TRUE(Within(kHealed, [&, before = Get(counter.Call<&Counter::Value>().Remote())] {
      return Get(counter.Call<&Counter::Value>().Remote()) > before;
    }));
    Cut(kOne, kTwo);
    Sleep(milliseconds(100));
    const int during = Get(counter.Call<&Counter::Value>().Remote(), seconds(2));
    Sleep(length);
    EXPECT_EQ(Get(counter.Call<&Counter::Value>().Remote(), seconds(2)), during) << "they are not cut";
    Heal();
    EXPECT_TRUE(Within(kHealed, [&] { return Get(counter.Call<&Counter::Value>().Remote()) > during; }));
  }
  WriteFile(File("enough"), "");
  EXPECT_EQ(Get(calls, kHealed), Get(counter.Call<&Counter::Value>().Remote())) << "each call was run once";
  EXPECT_EQ(Get(On("w1", Task<&Where>()).Remote(), kHealed), one_.number);
  EXPECT_EQ(Get(On("w2", Task<&Where>()).Remote(), kHealed), two_.number);
}

}  // namespace manta::cluster

// A node whose connection to the head is slow, late, or half open.
#include <signal.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/cluster/cluster.h"
#include "tests/cluster/slow_proxy.h"

namespace manta::cluster {
namespace {

std::string Where() { return CurrentContext().node(); }
constexpr milliseconds kRecovered = seconds(10);

}  // namespace

class Slow : public ClusterTest {
 protected:
  void SetUp() override {
    ClusterTest::SetUp();
    StartHead();
    proxy_ = std::make_unique<SlowProxy>(address());
  }
  void TearDown() override {
    proxy_.reset();  // before the audit of this process
    ClusterTest::TearDown();
  }
  // By the proxy.
  Node AddFarNode() { return AddNode("far", {"--address=" + proxy_->address()}); }
  std::string AskWhere(milliseconds limit) { return Get(On("far", Task<&Where>()).Remote(), limit); }
  void Sleep(milliseconds time) { std::this_thread::sleep_for(time); }

  std::unique_ptr<SlowProxy> proxy_;
};

TEST_F(Slow, TenKilobytesASecondStarveNoHeartbeat) {
  proxy_->Set({.bytes_per_second = 10'000});
  const Node node = AddFarNode();
  Attach();
  const Stopwatch watch;
  while (watch.elapsed() < seconds(6)) {
    EXPECT_EQ(AskWhere(seconds(3)), node.number);
    Sleep(milliseconds(50));
  }
}

TEST_F(Slow, HalfASecondEachWayIsNoDeath) {
  proxy_->Set({.delay = milliseconds(500)});
  const Node node = AddFarNode();
  Attach();
  const Stopwatch watch;
  while (watch.elapsed() < seconds(6)) {
    EXPECT_EQ(AskWhere(seconds(5)), node.number);
    Sleep(milliseconds(200));
  }
}

TEST_F(Slow, OneByteASecondIsADeathAndTheNodeComesBackAsAnother) {
  const Node node = AddFarNode();
  Attach();
  EXPECT_EQ(AskWhere(seconds(3)), node.number);
  proxy_->Set({.bytes_per_second = 1});
  Sleep(seconds(8));
  proxy_->Set({});
  const Stopwatch watch;
  EXPECT_TRUE(Within(kRecovered, [&] {
    const Result<std::string> where = TryGet(On("far", Task<&Where>()).Remote(), kRecovered);
    return where.ok() && *where != node.number;
  }));
  ReportBar("a link of one byte a second is mended -> the node is used again", watch.elapsed(), seconds(5));
}

TEST_F(Slow, AHalfOpenConnectionIsReplaced) {
  const Node node = AddFarNode();
  Attach();
  EXPECT_EQ(AskWhere(seconds(3)), node.number);
  proxy_->FreezeThoseOfNow();
  const Stopwatch watch;
  Sleep(seconds(4));  // the head has declared it dead
  EXPECT_TRUE(Within(kRecovered, [&] {
    const Result<std::string> where = TryGet(On("far", Task<&Where>()).Remote(), kRecovered);
    return where.ok() && *where != node.number;
  })) << "it does not know that nobody hears it";
  ReportBar("half-open connection -> the node is used again", watch.elapsed(), kRecovered);
}

}  // namespace manta::cluster

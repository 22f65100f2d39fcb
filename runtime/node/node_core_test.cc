// Processes, jobs, leases, the head.
#include "runtime/node/node_core.h"

#include "runtime/node/node_core_fixture.h"

namespace manta::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const ResourceSet kGpu{{"GPU", Fixed(1)}};

// ---------------------------------------------------------------- processes

TEST_F(NodeCoreTest, ADriverIsWelcomeWhenTheHeadHasGivenItAJob) {
  Join();
  rpc::ProcessHello hello;
  hello.program = "train";
  Do(HelloReceived{1, hello});
  EXPECT_THAT(TakeActions<Welcome>(), IsEmpty());
  const auto asked = Take<rpc::JobRegister>(kHead);
  ASSERT_THAT(asked, SizeIs(1));
  EXPECT_EQ(asked[0].program, "train");
  FromHead(rpc::JobAccepted{asked[0].request, asked[0].driver, 7});
  const auto welcomes = TakeActions<Welcome>();
  ASSERT_THAT(welcomes, SizeIs(1));
  EXPECT_EQ(welcomes[0].welcome.job, 7u);
  EXPECT_EQ(welcomes[0].welcome.process, asked[0].driver);
  EXPECT_EQ(welcomes[0].welcome.process.node, kSelf);
}

TEST_F(NodeCoreTest, ADriverThatComesBeforeTheHeadAcceptsTheNodeWaits) {
  Open();
  Do(HelloReceived{1, {}});
  EXPECT_THAT(actions_, IsEmpty());
  Join();
  EXPECT_THAT(Take<rpc::JobRegister>(kHead), SizeIs(1));
}

TEST_F(NodeCoreTest, AJobIsAskedForAgainWhenTheHeadComesBack) {
  Join();
  Do(HelloReceived{1, {}});
  const auto first = Take<rpc::JobRegister>(kHead);
  Do(HeadLost{});
  Do(HeadConnected{});
  EXPECT_THAT(Take<rpc::JobRegister>(kHead), IsEmpty()) << "before the head has taken the node back";
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_EQ(Take<rpc::JobRegister>(kHead), first);
}

TEST_F(NodeCoreTest, RefusesWorkersThatItHasNotStarted) {
  Join();
  Hello({kSelf, 99});
  EXPECT_THAT(TakeActions<Refuse>(), SizeIs(1));
  const ProcessId driver = Driver();
  AskLease(driver, 1);
  const auto started = TakeStarts();
  ASSERT_THAT(started, SizeIs(1));
  Hello(started[0]);
  EXPECT_THAT(TakeActions<Refuse>(), IsEmpty());
  Hello(started[0]);
  EXPECT_THAT(TakeActions<Refuse>(), SizeIs(1)) << "a second process with that id";
}

TEST_F(NodeCoreTest, IgnoresWhatUnknownAndDeadProcessesSay) {
  Join();
  const ProcessId driver = Driver();
  Ended(driver);
  actions_.clear();
  AskLease(driver, 1);
  From({kSelf, 77}, rpc::ObjectPublish{.object = {{kSelf, 77}, 1, 0}, .pending = true, .value = {}, .error = {}});
  EXPECT_THAT(actions_, IsEmpty());
  EXPECT_EQ(counts().home_entries, 0u);
}

TEST_F(NodeCoreTest, ABrokenRingEndsOneOfTheTwoAndNeverTheDriver) {
  Join();
  const ProcessId driver = Driver();
  const ProcessId first = Lease(driver, 1).worker;
  const ProcessId second = Lease(driver, 2).worker;
  From(driver, rpc::PeerBroke{first, "no header"});
  EXPECT_EQ(TakeKills(), std::set<ProcessId>{first});
  From(second, rpc::PeerBroke{first, "no header"});
  EXPECT_EQ(TakeKills(), std::set<ProcessId>{first});
  From(second, rpc::PeerBroke{driver, "no header"});
  EXPECT_EQ(TakeKills(), std::set<ProcessId>{second});
  From(second, rpc::PeerBroke{DaemonOf(kSelf), "no header"});
  EXPECT_EQ(TakeKills(), std::set<ProcessId>{second});
}

TEST_F(NodeCoreTest, ABrokenRingToTheDeadOrToAnotherJobEndsNobodyElse) {
  Join();
  const ProcessId driver = Driver(1);
  const ProcessId stranger = Driver(2);
  AskLease(stranger, 1, 1, 0, 2);
  const ProcessId foreign = TakeStarts().at(0);
  Hello(foreign);
  const ProcessId worker = Lease(driver, 1).worker;
  From(worker, rpc::PeerBroke{foreign, "no header"});
  EXPECT_EQ(TakeKills(), std::set<ProcessId>{worker});
  Ended(foreign);
  actions_.clear();
  From(worker, rpc::PeerBroke{foreign, "no header"});
  From(worker, rpc::PeerBroke{{kSelf, 99}, "no header"});
  EXPECT_THAT(TakeKills(), IsEmpty());
}

TEST_F(NodeCoreTest, TellsTheOthersOfADeathAndGathersTheirAnswers) {
  Join();
  See({Node(6, 2)});
  const ProcessId driver = Driver();
  const ProcessId worker = Lease(driver, 1).worker;
  actions_.clear();
  Ended(worker);
  EXPECT_THAT(Take<rpc::ProcessDied>(driver), SizeIs(1));
  EXPECT_THAT(Take<rpc::ProcessDied>(kHead), SizeIs(1));
  const auto told = Take<rpc::ProcessDied>(DaemonOf(6));
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].newest_node, 6u);
  EXPECT_THAT(Take<rpc::DeathDrained>(DaemonOf(6)), IsEmpty()) << "the driver has not answered";
  From(driver, rpc::DeathDrained{worker, kSelf});
  EXPECT_THAT(Take<rpc::DeathDrained>(DaemonOf(6)), ElementsAre(rpc::DeathDrained{worker, kSelf}));
  Ended(worker);
  EXPECT_THAT(Take<rpc::ProcessDied>(driver), IsEmpty()) << "told twice";
}

TEST_F(NodeCoreTest, TellsANewNodeOfRecentDeaths) {
  Join();
  const ProcessId driver = Driver();
  Ended(driver);
  actions_.clear();
  See({Node(6, 2)});
  EXPECT_THAT(Take<rpc::ProcessDied>(DaemonOf(6)), SizeIs(1));
  EXPECT_THAT(Take<rpc::DeathDrained>(DaemonOf(6)), SizeIs(1));
}

// ---------------------------------------------------------------- leases

TEST_F(NodeCoreTest, StartsAWorkerAndGrantsIt) {
  Join();
  const ProcessId driver = Driver();
  AskLease(driver, 1);
  const auto pending = Take<rpc::LeasePending>(driver);
  ASSERT_THAT(pending, SizeIs(1));
  EXPECT_THAT(pending[0].reason, HasSubstr("a worker is being started"));
  const auto workers = TakeStarts();
  ASSERT_THAT(workers, SizeIs(1));
  Hello(workers[0]);
  const auto grants = Take<rpc::LeaseGrant>(driver);
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].worker, workers[0]);
  EXPECT_EQ(grants[0].address, "worker" + std::to_string(workers[0].number));
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(1));
}

TEST_F(NodeCoreTest, StartsNoMoreWorkersThanItCanGrant) {
  Join();
  const ProcessId driver = Driver();
  for (uint64_t request = 1; request <= 10; ++request) AskLease(driver, request);
  EXPECT_THAT(TakeStarts(), SizeIs(2));
}

TEST_F(NodeCoreTest, AReturnedWorkerIsFencedAndGrantedAgain) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant first = Lease(driver, 1);
  From(driver, rpc::LeaseReturn{first.lease});
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(2));
  const auto fences = Take<rpc::LeaseFence>(first.worker);
  ASSERT_THAT(fences, SizeIs(1));
  EXPECT_GT(fences[0].lowest, first.lease);
  const rpc::LeaseGrant second = Lease(driver, 2);
  EXPECT_EQ(second.worker, first.worker);
  EXPECT_GE(second.lease, fences[0].lowest);
}

TEST_F(NodeCoreTest, OnlyItsCallerReturnsALease) {
  Join();
  const ProcessId driver = Driver();
  const ProcessId other = Driver(2);
  const rpc::LeaseGrant grant = Lease(driver, 1);
  From(other, rpc::LeaseReturn{grant.lease});
  EXPECT_EQ(counts().leases, 1u);
}

TEST_F(NodeCoreTest, DeeperRequestsGoFirst) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant first = Lease(driver, 1);
  Lease(driver, 2);
  AskLease(driver, 3);
  AskLease(driver, 4, 1, 2);
  From(driver, rpc::LeaseReturn{first.lease});
  const auto grants = Take<rpc::LeaseGrant>(driver);
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].request, 4u);
}

TEST_F(NodeCoreTest, ABlockedTaskLendsItsCpuAndTakesItBackAtOnce) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant first = Lease(driver, 1);
  const rpc::LeaseGrant second = Lease(driver, 2);
  AskLease(driver, 3);
  From(first.worker, rpc::LeaseBlocked{first.lease, true});
  const auto workers = TakeStarts();
  ASSERT_THAT(workers, SizeIs(1));
  Hello(workers[0]);
  EXPECT_THAT(Take<rpc::LeaseGrant>(driver), SizeIs(1));
  From(first.worker, rpc::LeaseBlocked{first.lease, false});
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(-1));
  AskLease(driver, 4);
  From(driver, rpc::LeaseReturn{second.lease});
  EXPECT_THAT(Take<rpc::LeaseGrant>(driver), IsEmpty()) << "not before it is out of debt";
  From(driver, rpc::LeaseReturn{first.lease});
  EXPECT_THAT(Take<rpc::LeaseGrant>(driver), SizeIs(1));
}

TEST_F(NodeCoreTest, SaysWhatIsMissing) {
  Join();
  const ProcessId driver = Driver();
  AskLease(driver, 1, kGpu);
  const auto pending = Take<rpc::LeasePending>(driver);
  ASSERT_THAT(pending, SizeIs(1));
  EXPECT_EQ(pending[0].reason, "needs {GPU: 1}; node n5 (test) has none: start a node with --num-gpus=1");
  EXPECT_THAT(TakeActions<LogLine>(), SizeIs(1));
  EXPECT_THAT(TakeStarts(), IsEmpty());
}

TEST_F(NodeCoreTest, AtTheLimitSaysSoAndTakesTheWorkerOfAnotherJob) {
  NodeOptions options = TwoCpus();
  options.task_workers_max = 1;
  Open(options);
  Join();
  const ProcessId driver = Driver();
  const ProcessId other = Driver(2);
  const rpc::LeaseGrant grant = Lease(driver, 1);
  AskLease(driver, 2);
  EXPECT_THAT(Take<rpc::LeasePending>(driver).back().reason, HasSubstr("runs 1 workers for tasks, its limit"));
  From(driver, rpc::LeaseCancel{driver, 2});
  From(driver, rpc::LeaseReturn{grant.lease});
  AskLease(other, 1, 1, 0, 2);
  EXPECT_THAT(Take<rpc::ProcessExit>(grant.worker), SizeIs(1));
  Ended(grant.worker, "exited");
  EXPECT_THAT(TakeStarts(), SizeIs(1));
}

TEST_F(NodeCoreTest, AWorkersDeathFreesItsLease) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant grant = Lease(driver, 1);
  Ended(grant.worker);
  EXPECT_EQ(counts().leases, 0u);
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(2));
}

TEST_F(NodeCoreTest, ACallersDeathKillsTheWorkersThatRunItsTasks) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant outer = Lease(driver, 1);
  const rpc::LeaseGrant inner = Lease(outer.worker, 1);
  AskLease(outer.worker, 2);
  actions_.clear();
  Ended(outer.worker);
  EXPECT_THAT(TakeKills(), ElementsAre(inner.worker));
  EXPECT_EQ(counts().lease_requests, 0u);
  EXPECT_EQ(counts().leases, 1u) << "until the worker is dead";
  Ended(inner.worker);
  EXPECT_EQ(counts().leases, 0u);
}

TEST_F(NodeCoreTest, AStartThatTakesTooLongIsKilledAndTriedAgainThenGivenUp) {
  Join();
  const ProcessId driver = Driver();
  AskLease(driver, 1);
  for (int i = 0; i < 3; ++i) {
    const auto workers = TakeStarts();
    ASSERT_THAT(workers, SizeIs(1));
    Pass(seconds(10));
    EXPECT_THAT(TakeKills(), ElementsAre(workers[0]));
    Hello(workers[0]);
    EXPECT_THAT(TakeActions<Refuse>(), SizeIs(1)) << "too late";
    Ended(workers[0]);
  }
  const auto grants = Take<rpc::LeaseGrant>(driver);
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_EQ(grants[0].error.code, rpc::ErrorCode::kWorkerDied);
  EXPECT_THAT(grants[0].error.message, HasSubstr("did not say hello within 10s (3 times in a row)"));
}

TEST_F(NodeCoreTest, SaysWhyWorkersCannotBeStarted) {
  Join();
  const ProcessId driver = Driver();
  AskLease(driver, 1);
  for (int i = 0; i < 3; ++i) {
    for (const ProcessId worker : TakeStarts()) Do(StartFailed{worker, "fork: Resource temporarily unavailable"});
  }
  const auto grants = Take<rpc::LeaseGrant>(driver);
  ASSERT_THAT(grants, SizeIs(1));
  EXPECT_THAT(grants[0].error.message, HasSubstr("fork: Resource temporarily unavailable"));
}

TEST_F(NodeCoreTest, StopsIdleWorkers) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant grant = Lease(driver, 1);
  From(driver, rpc::LeaseReturn{grant.lease});
  Pass(milliseconds(999));
  EXPECT_THAT(Take<rpc::ProcessExit>(grant.worker), IsEmpty());
  Pass(milliseconds(1));
  const auto exits = Take<rpc::ProcessExit>(grant.worker);
  ASSERT_THAT(exits, SizeIs(1));
  EXPECT_TRUE(exits[0].graceful);
  AskLease(driver, 2);
  EXPECT_THAT(TakeStarts(), SizeIs(1)) << "it is not granted any more";
}

// ---------------------------------------------------------------- other nodes

TEST_F(NodeCoreTest, SendsOnWhatFitsElsewhereAndRelaysTheGrant) {
  Join();
  See({Node(6, 2, 1)});
  const ProcessId driver = Driver();
  AskLease(driver, 1, kGpu);
  const auto sent = Take<rpc::LeaseRequest>(DaemonOf(6));
  ASSERT_THAT(sent, SizeIs(1));
  EXPECT_TRUE(sent[0].forwarded);
  AskLease(driver, 2, kGpu);
  EXPECT_THAT(Take<rpc::LeaseRequest>(DaemonOf(6)), IsEmpty()) << "its one GPU is spoken for";
  rpc::LeaseGrant grant;
  grant.caller = driver;
  grant.request = 1;
  grant.lease = {6, 3};
  grant.worker = {6, 9};
  FromNode(6, grant);
  EXPECT_THAT(Take<rpc::LeaseGrant>(driver), ElementsAre(grant));
  From(driver, rpc::LeaseReturn{grant.lease});
  EXPECT_THAT(Take<rpc::LeaseReturn>(DaemonOf(6)), ElementsAre(rpc::LeaseReturn{grant.lease}));
  FromNode(6, grant);
  EXPECT_THAT(Take<rpc::LeaseReturn>(DaemonOf(6)), SizeIs(1)) << "nobody asks for it any more";
}

TEST_F(NodeCoreTest, GrantsWhatOtherNodesSendOn) {
  Join();
  See({Node(6, 2)});
  const ProcessId driver = Driver();
  const ProcessId caller{6, 4};
  AskLease(caller, 1);
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const auto grants = Take<rpc::LeaseGrant>(DaemonOf(6));
  ASSERT_THAT(grants, SizeIs(1));
  FromNode(6, rpc::ProcessDied{.process = caller, .reason = "", .newest_node = 6});
  EXPECT_THAT(TakeKills(), ElementsAre(grants[0].worker));
  AskLease(caller, 2);
  EXPECT_EQ(counts().lease_requests, 0u) << "the dead ask for nothing";
  EXPECT_EQ(counts().processes, 2u);
  From(driver, rpc::DeathDrained{caller, kSelf});
}

TEST_F(NodeCoreTest, WhatADeadNodeWasAskedForIsQueuedHereAgain) {
  Join();
  See({Node(6, 2, 1)});
  const ProcessId driver = Driver();
  AskLease(driver, 1, kGpu);
  actions_.clear();
  FromHead(rpc::NodeDied{6, "silent"});
  EXPECT_THAT(Take<rpc::LeasePending>(driver), SizeIs(1));
  EXPECT_THAT(Take<rpc::NodeDied>(driver), SizeIs(1));
  See({Node(7, 2, 1)});
  EXPECT_THAT(Take<rpc::LeaseRequest>(DaemonOf(7)), SizeIs(1));
}

TEST_F(NodeCoreTest, ADeadNodeIsFenced) {
  Join();
  See({Node(6, 2)});
  FromHead(rpc::NodeDied{6, "silent"});
  AskLease({6, 4}, 1);
  EXPECT_EQ(counts().lease_requests, 0u);
  See({Node(6, 2)});
  actions_.clear();
  const ProcessId driver = Driver();
  From(driver, rpc::RefRelease{.object = {{6, 1}, 1, 0}, .holder = driver, .borrow = 1});
  EXPECT_THAT(Take<rpc::RefRelease>(DaemonOf(6)), IsEmpty());
}

// ---------------------------------------------------------------- jobs

TEST_F(NodeCoreTest, ADriversEndEndsItsJob) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant grant = Lease(driver, 1);
  AskLease(driver, 2);
  const auto starting = TakeStarts();
  actions_.clear();
  Ended(driver, "exited with status 0");
  EXPECT_THAT(Take<rpc::JobEnd>(kHead), ElementsAre(rpc::JobEnd{1}));
  EXPECT_THAT(TakeKills(), ::testing::IsSupersetOf(starting));
  Ended(grant.worker);
  EXPECT_THAT(TakeActions<JobGone>(), IsEmpty());
  for (const ProcessId worker : starting) Ended(worker);
  EXPECT_THAT(TakeActions<JobGone>(), SizeIs(1));
  EXPECT_EQ(counts().leases, 0u);
  EXPECT_EQ(counts().processes, 0u);
  AskLease({6, 1}, 5, 1, 0, 1);
  EXPECT_THAT(TakeStarts(), IsEmpty());
}

TEST_F(NodeCoreTest, AnOrderlyEndAsksIdleWorkersToEndAndKillsThemAfterAWhile) {
  Join();
  const ProcessId driver = Driver();
  const rpc::LeaseGrant grant = Lease(driver, 1);
  From(driver, rpc::LeaseReturn{grant.lease});
  From(driver, rpc::JobEnd{1});
  EXPECT_THAT(Take<rpc::ProcessExit>(grant.worker), SizeIs(1));
  EXPECT_THAT(TakeKills(), IsEmpty());
  Pass(milliseconds(500));
  EXPECT_THAT(TakeKills(), ElementsAre(grant.worker));
}

TEST_F(NodeCoreTest, TheHeadIsToldOfAJobsEndAgainUntilItSaysSoItself) {
  Join();
  const ProcessId driver = Driver();
  Do(HeadLost{});
  Ended(driver);
  EXPECT_THAT(Take<rpc::JobEnd>(kHead), IsEmpty());
  Do(HeadConnected{});
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_THAT(Take<rpc::JobEnd>(kHead), SizeIs(1));
  FromHead(rpc::JobEnd{1});
  Do(HeadLost{});
  Do(HeadConnected{});
  FromHead(rpc::NodeAccepted{kSelf, 3});
  EXPECT_THAT(Take<rpc::JobEnd>(kHead), IsEmpty());
}

// ---------------------------------------------------------------- the head

TEST_F(NodeCoreTest, ReportsChangesAtMostOncePerInterval) {
  Join();
  const ProcessId driver = Driver();
  Pass(milliseconds(200));
  actions_.clear();
  const rpc::LeaseGrant first = Lease(driver, 1);
  EXPECT_THAT(Take<rpc::NodeReport>(kHead), SizeIs(1));
  From(driver, rpc::LeaseReturn{first.lease});
  Lease(driver, 2);
  Lease(driver, 3);
  EXPECT_THAT(Take<rpc::NodeReport>(kHead), IsEmpty());
  Pass(milliseconds(100));
  const auto reports = Take<rpc::NodeReport>(kHead);
  ASSERT_THAT(reports, SizeIs(1));
  EXPECT_EQ(reports[0].info.available.Get("CPU"), Fixed(0));
}

TEST_F(NodeCoreTest, SendsHeartbeats) {
  Join();
  actions_.clear();
  Pass(seconds(2));
  EXPECT_THAT(Take<rpc::Heartbeat>(kHead), SizeIs(4));
  Do(HeadLost{});
  EXPECT_EQ(core_->next_deadline(), kInfiniteFuture);
}

TEST_F(NodeCoreTest, AFencedNodeKillsItsWorkersAndStartsANewLife) {
  Join();
  const rpc::LeaseGrant grant = Lease(Driver(), 1);
  FromHead(rpc::NodeFenced{kSelf});
  EXPECT_THAT(TakeKills(), ElementsAre(grant.worker));
  const auto ends = TakeActions<EndDaemon>();
  ASSERT_THAT(ends, SizeIs(1));
  EXPECT_TRUE(ends[0].new_life);
  actions_.clear();
  Pass(seconds(5));
  EXPECT_THAT(actions_, IsEmpty());
}

TEST_F(NodeCoreTest, TheSameEventsGiveTheSameActions) {
  std::vector<size_t> sizes;
  for (int run = 0; run < 2; ++run) {
    core_.reset();
    actions_.clear();
    connections_ = view_version_ = 0;
    now_ = TimeFromNanos(1'000'000'000);
    Join();
    See({Node(6, 4), Node(7, 4), Node(8, 4)});
    rpc::ProcessHello hello;
    Do(HelloReceived{1, hello});
    FromHead(rpc::JobAccepted{1, {kSelf, 1}, 1});
    for (uint64_t request = 1; request <= 9; ++request) AskLease({kSelf, 1}, request, 2);
    std::string trace;
    for (const NodeAction& action : actions_) {
      if (const auto* send = std::get_if<SendMessage>(&action)) {
        trace += ToString(send->to) + " " + rpc::MessageName(send->message) + "\n";
      }
    }
    sizes.push_back(std::hash<std::string>()(trace));
  }
  EXPECT_EQ(sizes[0], sizes[1]);
}

}  // namespace
}  // namespace manta::runtime

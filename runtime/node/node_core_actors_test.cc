// Actors that live here, and the directory of those created here.
#include "runtime/node/node_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ActorState;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class NodeActors : public NodeCoreTest {
 protected:
  void SetUp() override {
    Join();
    driver_ = Driver();
    actions_.clear();
  }
  rpc::ActorUpdate LastUpdate(ProcessId watcher) {
    const auto updates = Take<rpc::ActorUpdate>(watcher);
    EXPECT_THAT(updates, ::testing::Not(IsEmpty()));
    return updates.empty() ? rpc::ActorUpdate{} : updates.back();
  }
  void Kill(ActorId actor) { From(driver_, rpc::ActorKill{.actor = actor}); }
  void DropHandle(ActorId actor) { From(driver_, rpc::RefRelease{.object = actor.handle(), .holder = driver_}); }

  ProcessId driver_;
};

TEST_F(NodeActors, AnAnonymousActorGetsAWorkerOfItsOwn) {
  const ProcessId worker = CreateActor(driver_, 1);
  const rpc::ActorUpdate update = LastUpdate(driver_);
  EXPECT_EQ(update.state, ActorState::kAlive);
  EXPECT_EQ(update.worker, worker);
  EXPECT_EQ(update.address, "worker" + std::to_string(worker.number));
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(2)) << "it takes a CPU to be placed and none to live";
  EXPECT_NE(Lease(driver_, 1).worker, worker);
}

TEST_F(NodeActors, AnActorThatFindsNoRoomWaitsForIt) {
  const rpc::LeaseGrant first = Lease(driver_, 1);
  Lease(driver_, 2);
  From(driver_, rpc::ActorCreate{Spec(driver_, 1)});
  EXPECT_THAT(TakeStarts(), IsEmpty());
  From(driver_, rpc::LeaseReturn{first.lease});
  const ProcessId worker = Construct();
  EXPECT_EQ(worker, first.worker) << "a worker that is free need not be started";
  EXPECT_EQ(LastUpdate(driver_).state, ActorState::kAlive);
}

TEST_F(NodeActors, AnActorThatFitsNowhereSaysWhatItLacks) {
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.placement.Set("GPU", Fixed(8));
  From(driver_, rpc::ActorCreate{spec});
  const rpc::ActorUpdate update = LastUpdate(driver_);
  EXPECT_EQ(update.state, ActorState::kPending);
  EXPECT_THAT(update.waiting, HasSubstr("GPU: 8"));
  const auto lines = TakeActions<LogLine>();
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0].text, HasSubstr("GPU: 8"));
  From(driver_, rpc::ActorCreate{Spec(driver_, 2)});  // settles again: nothing new about the first
  EXPECT_THAT(TakeActions<LogLine>(), IsEmpty());
}

TEST_F(NodeActors, AnActorThatWaitsForAnotherLendsItsCpu) {
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.placement.Set("CPU", Fixed(2));
  spec.lifetime.Set("CPU", Fixed(2));
  From(driver_, rpc::ActorCreate{spec});
  const ProcessId worker = TakeStarts().at(0);
  Hello(worker);
  const auto construct = Take<rpc::ActorConstruct>(worker);
  ASSERT_THAT(construct, SizeIs(1));
  rpc::ActorStarted started;
  started.actor = spec.actor;
  started.incarnation = 1;
  From(worker, started);
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(0));
  From(worker, rpc::LeaseBlocked{construct[0].lease, true});
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(2));
  From(worker, rpc::LeaseBlocked{construct[0].lease, false});
  EXPECT_EQ(counts().available.Get("CPU"), Fixed(0));
}

TEST_F(NodeActors, AConstructorThatThrowsEndsTheActorWithItsError) {
  From(driver_, rpc::ActorCreate{Spec(driver_, 1)});
  const ProcessId worker = TakeStarts().at(0);
  Hello(worker);
  rpc::ActorStarted failed;
  failed.actor = {driver_, 1};
  failed.incarnation = 1;
  failed.error.code = rpc::ErrorCode::kTaskError;
  failed.error.message = "no such file";
  From(worker, failed);
  const rpc::ActorUpdate update = LastUpdate(driver_);
  EXPECT_EQ(update.state, ActorState::kDead);
  EXPECT_EQ(update.error.message, "no such file");
  EXPECT_THAT(Take<rpc::ProcessExit>(worker), SizeIs(1));
}

TEST_F(NodeActors, AWorkersDeathEndsItsActorAndSaysHow) {
  const ProcessId worker = CreateActor(driver_, 1);
  actions_.clear();
  Ended(worker, "killed by signal 11 (Segmentation fault)");
  const rpc::ActorUpdate update = LastUpdate(driver_);
  EXPECT_EQ(update.state, ActorState::kDead);
  EXPECT_THAT(update.error.message, HasSubstr("in which Counter lived, ended: killed by signal 11"));
  EXPECT_EQ(counts().actors, 0u);
}

TEST_F(NodeActors, WhatTheWorkerOfAnEndedActorStillHadIsToldWhyItEnded) {
  const ProcessId worker = CreateActor(driver_, 1);
  From(worker, rpc::ActorEnded{.actor = {driver_, 1}, .incarnation = 1, .intended = true, .error = {}});
  actions_.clear();
  Ended(worker, "killed by signal 9");
  EXPECT_THAT(Take<rpc::ProcessDied>(driver_).at(0).reason, HasSubstr("ExitActor"));
}

TEST_F(NodeActors, TheLastHandleEndsTheActorGracefully) {
  const ProcessId worker = CreateActor(driver_, 1);
  const ActorId actor{driver_, 1};
  const TicketId ticket{{driver_, 7}, 0, 0, false};
  From(driver_, rpc::RefTicket{ticket, actor.handle(), driver_, {}});
  DropHandle(actor);
  EXPECT_THAT(Take<rpc::ActorKill>(worker), IsEmpty()) << "a handle is on its way to somebody";
  From(driver_, rpc::RefOutcome{ticket, actor.handle(), {}});
  const auto kills = Take<rpc::ActorKill>(worker);
  ASSERT_THAT(kills, SizeIs(1));
  EXPECT_TRUE(kills[0].graceful);
  rpc::ActorEnded ended;
  ended.actor = actor;
  ended.incarnation = 1;
  ended.intended = true;
  From(worker, ended);
  Ended(worker, "exited with status 0");
  EXPECT_EQ(counts().actors, 0u);
  EXPECT_EQ(counts().directory_actors, 0u);
  EXPECT_EQ(counts().home_entries, 0u);
}

TEST_F(NodeActors, KillEndsTheWorkerAtOnce) {
  const ProcessId worker = CreateActor(driver_, 1);
  Kill({driver_, 1});
  EXPECT_THAT(TakeKills(), ElementsAre(worker));
  EXPECT_EQ(LastUpdate(driver_).state, ActorState::kDead);
}

TEST_F(NodeActors, AnActorDiesWithItsCreator) {
  const ProcessId parent = Lease(driver_, 1).worker;
  const ProcessId worker = CreateActor(parent, 1);
  actions_.clear();
  Ended(parent);
  EXPECT_THAT(TakeKills(), ElementsAre(worker));
}

TEST_F(NodeActors, AnActorDiesWithItsJob) {
  const ProcessId worker = CreateActor(driver_, 1);
  actions_.clear();
  From(driver_, rpc::JobEnd{1});
  EXPECT_THAT(Take<rpc::ProcessExit>(worker), SizeIs(1));
  EXPECT_EQ(counts().actors, 0u);
}

TEST_F(NodeActors, WatchersAreToldWhatThereIsAndWhatComes) {
  const ProcessId watcher = Lease(driver_, 1).worker;
  const ActorId actor{driver_, 1};
  From(watcher, rpc::ActorWatch{actor, watcher});
  EXPECT_THAT(Take<rpc::ActorUpdate>(watcher), IsEmpty()) << "its creation is still to come";
  From(driver_, rpc::ActorCreate{Spec(driver_, 1)});
  EXPECT_EQ(LastUpdate(watcher).state, ActorState::kPending);
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  actions_.erase(std::remove_if(actions_.begin(), actions_.end(),
                                [](const NodeAction& action) {
                                  const auto* send = std::get_if<SendMessage>(&action);
                                  return send == nullptr || !std::holds_alternative<rpc::ActorConstruct>(send->message);
                                }),
                 actions_.end());
  Construct();
  EXPECT_EQ(LastUpdate(watcher).state, ActorState::kAlive);
}

TEST_F(NodeActors, WhoeverWaitsForAnActorThatIsNeverCreatedIsTold) {
  const ProcessId watcher = Lease(driver_, 1).worker;
  From(watcher, rpc::ActorWatch{{driver_, 1}, watcher});
  From(watcher, rpc::ActorWatch{{driver_, 2}, watcher});
  Kill({driver_, 1});
  EXPECT_EQ(LastUpdate(watcher).state, ActorState::kDead);
  From(watcher, rpc::ActorWatch{{driver_, 1}, watcher});
  EXPECT_EQ(LastUpdate(watcher).state, ActorState::kDead);
  Ended(driver_);
  EXPECT_EQ(LastUpdate(watcher).actor, (ActorId{driver_, 2}));
}

// ---------------------------------------------------------------- registered actors

TEST_F(NodeActors, ARegisteredActorIsTheHeads) {
  From(driver_, rpc::ActorCreate{Spec(driver_, 1, "hits")});
  EXPECT_THAT(Take<rpc::ActorCreate>(kHead), SizeIs(1));
  EXPECT_EQ(counts().directory_actors, 0u);
  FromHead(rpc::ActorStart{Spec(driver_, 1, "hits"), 1});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId worker = Construct();
  const auto started = Take<rpc::ActorStarted>(kHead);
  ASSERT_THAT(started, SizeIs(1));
  EXPECT_EQ(started[0].worker, worker);
  FromHead(rpc::ActorStart{Spec(driver_, 1, "hits"), 1});
  EXPECT_EQ(Take<rpc::ActorStarted>(kHead), started) << "asked again";
  DropHandle({driver_, 1});
  EXPECT_THAT(Take<rpc::ActorKill>(kHead), IsEmpty()) << "a named actor lives on";
}

TEST_F(NodeActors, CreationsLookupsAndWatchesAreSentAgainToANewHead) {
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.max_restarts = 3;
  From(driver_, rpc::ActorCreate{spec});
  const rpc::ActorLookup lookup{driver_, 4, "ns", "other"};
  From(driver_, lookup);
  DropHandle({driver_, 1});
  actions_.clear();
  Do(HeadLost{});
  Do(HeadConnected{});
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_THAT(Take<rpc::ActorCreate>(kHead), SizeIs(1));
  EXPECT_THAT(Take<rpc::ActorLookup>(kHead), ElementsAre(lookup));
  EXPECT_THAT(Take<rpc::ActorKill>(kHead), SizeIs(1)) << "nobody has a handle";
  rpc::ActorUpdate update;
  update.actor = spec.actor;
  update.watcher = driver_;
  update.version = 1;
  FromHead(update);
  FromHead(rpc::ActorFound{.asker = driver_, .request = 4, .actor = {driver_, 9}});
  EXPECT_THAT(Take<rpc::ActorFound>(driver_), SizeIs(1));
  Do(HeadLost{});
  Do(HeadConnected{});
  FromHead(rpc::NodeAccepted{kSelf, 3});
  EXPECT_THAT(Take<rpc::ActorCreate>(kHead), IsEmpty());
  EXPECT_THAT(Take<rpc::ActorLookup>(kHead), IsEmpty());
  EXPECT_THAT(Take<rpc::ActorWatch>(kHead), ElementsAre(rpc::ActorWatch{spec.actor, driver_}));
}

TEST_F(NodeActors, ANewerIncarnationTakesTheOldersPlace) {
  rpc::ActorSpec spec = Spec({6, 1}, 1, "hits");
  FromHead(rpc::ActorStart{spec, 1});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId first = Construct();
  FromHead(rpc::ActorStart{spec, 2});
  EXPECT_THAT(TakeKills(), ElementsAre(first));
  FromHead(rpc::ActorStart{spec, 1});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId second = Construct();
  EXPECT_EQ(Take<rpc::ActorStarted>(kHead).back().incarnation, 2u);
  Ended(first);
  EXPECT_THAT(Take<rpc::ActorEnded>(kHead), IsEmpty()) << "an end of the old incarnation is no news";
  FromHead(rpc::ActorKill{.actor = spec.actor, .incarnation = 1});
  EXPECT_THAT(TakeKills(), IsEmpty()) << "a kill of the old incarnation";
  FromHead(rpc::ActorKill{.actor = spec.actor, .incarnation = 2});
  EXPECT_THAT(TakeKills(), ElementsAre(second));
}

TEST_F(NodeActors, AStartWithoutRoomGoesBackAfterAWhile) {
  Lease(driver_, 1);
  Lease(driver_, 2);
  FromHead(rpc::ActorStart{Spec({6, 1}, 1, "hits"), 1});
  Pass(seconds(1));
  EXPECT_THAT(Take<rpc::ActorStarted>(kHead), IsEmpty());
  Pass(seconds(1));
  const auto refused = Take<rpc::ActorStarted>(kHead);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].error.code, rpc::ErrorCode::kWorkerLimit);
  EXPECT_EQ(counts().actors, 0u);
}

TEST_F(NodeActors, RegistersWithTheActorsThatLiveHere) {
  FromHead(rpc::ActorStart{Spec({6, 1}, 1, "hits"), 3});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId worker = Construct();
  Do(HeadLost{});
  Do(HeadConnected{});
  const auto registrations = Take<rpc::NodeRegister>(kHead);
  ASSERT_THAT(registrations, SizeIs(1));
  ASSERT_THAT(registrations[0].actors, SizeIs(1));
  EXPECT_EQ(registrations[0].actors[0].worker, worker);
  EXPECT_EQ(registrations[0].actors[0].incarnation, 3u);
  Ended(worker);
  EXPECT_THAT(Take<rpc::ActorEnded>(kHead), IsEmpty());
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_THAT(Take<rpc::ActorEnded>(kHead), SizeIs(1)) << "it ended between the registration and its acceptance";
}

// ---------------------------------------------------------------- other nodes

TEST_F(NodeActors, PlacesActorsOnOtherNodes) {
  See({Node(6, 4, 1)});
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.placement = {{"GPU", Fixed(1)}};
  From(driver_, rpc::ActorCreate{spec});
  EXPECT_THAT(Take<rpc::ActorStart>(DaemonOf(6)), SizeIs(1));
  rpc::ActorStarted started;
  started.actor = spec.actor;
  started.incarnation = 1;
  started.worker = {6, 3};
  started.address = "there";
  FromNode(6, started);
  EXPECT_EQ(LastUpdate(driver_).worker, started.worker);
  Kill(spec.actor);
  const auto kills = Take<rpc::ActorKill>(DaemonOf(6));
  ASSERT_THAT(kills, SizeIs(1));
  EXPECT_EQ(kills[0].incarnation, 1u);
}

TEST_F(NodeActors, AnActorOnANodeThatDiesIsDead) {
  See({Node(6, 4, 1)});
  rpc::ActorSpec spec = Spec(driver_, 1);
  spec.placement = {{"GPU", Fixed(1)}};
  From(driver_, rpc::ActorCreate{spec});
  rpc::ActorStarted started;
  started.actor = spec.actor;
  started.incarnation = 1;
  started.worker = {6, 3};
  FromNode(6, started);
  actions_.clear();
  FromHead(rpc::NodeDied{6, "silent"});
  EXPECT_EQ(LastUpdate(driver_).state, ActorState::kDead);
}

TEST_F(NodeActors, AFinalKillThatWasLostWithANodeGoesToTheHead) {
  See({Node(6, 4)});
  const ActorId actor{{6, 1}, 1};
  const ActorId spared{{6, 1}, 2};
  From(driver_, rpc::ActorKill{.actor = actor, .no_restart = true});
  From(driver_, rpc::ActorKill{.actor = spared, .no_restart = false});
  EXPECT_THAT(Take<rpc::ActorKill>(DaemonOf(6)), SizeIs(2));
  FromHead(rpc::NodeDied{6, "silent"});
  const auto kills = Take<rpc::ActorKill>(kHead);
  ASSERT_THAT(kills, SizeIs(1)) << "the other one may have come through, and would end another life";
  EXPECT_EQ(kills[0].actor, actor);
  Do(HeadLost{});
  Do(HeadConnected{});
  FromHead(rpc::NodeAccepted{kSelf, 2});
  EXPECT_THAT(Take<rpc::ActorKill>(kHead), SizeIs(1)) << "a new head may not have heard of it";
}

TEST_F(NodeActors, ActorsOfCreatorsOnADeadNodeEnd) {
  See({Node(6, 4)});
  FromNode(6, rpc::ActorStart{Spec({6, 1}, 1), 1});
  for (const ProcessId worker : TakeStarts()) Hello(worker);
  const ProcessId worker = Construct();
  FromHead(rpc::NodeDied{6, "silent"});
  EXPECT_THAT(TakeKills(), ElementsAre(worker));
}

TEST_F(NodeActors, AnUpdateWaitsUntilTheNodeThatItNamesIsKnown) {
  rpc::ActorUpdate update;
  update.actor = {{6, 1}, 1};
  update.watcher = driver_;
  update.version = 2;
  update.state = ActorState::kAlive;
  update.worker = {7, 1};
  FromHead(update);
  EXPECT_THAT(Take<rpc::ActorUpdate>(driver_), IsEmpty());
  See({Node(7, 2)});
  EXPECT_THAT(Take<rpc::ActorUpdate>(driver_), ElementsAre(update));
}

TEST_F(NodeActors, WatchesOfADeadCreatorsNodeGoToTheHead) {
  See({Node(6, 4)});
  const rpc::ActorWatch watch{{{6, 1}, 1}, driver_};
  From(driver_, watch);
  EXPECT_THAT(Take<rpc::ActorWatch>(DaemonOf(6)), ElementsAre(watch));
  FromHead(rpc::NodeDied{6, "silent"});
  EXPECT_THAT(Take<rpc::ActorWatch>(kHead), ElementsAre(watch));
}

}  // namespace
}  // namespace manta::runtime

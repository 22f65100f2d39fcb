#include "runtime/actor_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime {
namespace {

using rpc::ActorState;
using rpc::ErrorCode;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr ProcessId kCreator{1, 1};
constexpr ProcessId kOther{2, 1};
constexpr ProcessId kWorker{2, 7};
constexpr ProcessId kWorker2{3, 8};

class ActorDirectoryTest : public ::testing::Test {
 protected:
  rpc::ActorSpec Spec(uint64_t number, int32_t max_restarts = 0, std::string name = "") {
    rpc::ActorSpec spec;
    spec.actor = {kCreator, number};
    spec.job = 1;
    spec.name = std::move(name);
    spec.max_restarts = max_restarts;
    spec.args.resize(1);
    return spec;
  }
  ActorDirectory::Output Create(const rpc::ActorSpec& spec) {
    return Do([&](auto* out) { directory_.Create(spec, out); });
  }
  ActorDirectory::Output Place(ActorId actor, uint64_t incarnation, NodeId node) {
    return Do([&](auto* out) { directory_.PlacedAt(actor, incarnation, node, out); });
  }
  ActorDirectory::Output Start(ActorId actor, uint64_t incarnation, ProcessId worker, rpc::ErrorInfo error = {}) {
    rpc::ActorStarted message;
    message.actor = actor;
    message.incarnation = incarnation;
    message.worker = worker;
    message.address = "addr";
    message.error = std::move(error);
    return Do([&](auto* out) { directory_.Started(message, worker.node, out); });
  }
  ActorDirectory::Output End(ActorId actor, uint64_t incarnation, bool intended) {
    rpc::ActorEnded message;
    message.actor = actor;
    message.incarnation = incarnation;
    message.intended = intended;
    return Do([&](auto* out) { directory_.Ended(message, out); });
  }
  ActorDirectory::Output Kill(ActorId actor, bool no_restart, bool graceful = false) {
    return Do([&](auto* out) { directory_.Kill({actor, no_restart, graceful}, out); });
  }
  ActorDirectory::Output Watch(ActorId actor, ProcessId watcher) {
    return Do([&](auto* out) { directory_.Watch({actor, watcher}, out); });
  }
  ActorDirectory::Output ProcessDied(ProcessId process) {
    return Do([&](auto* out) { directory_.ProcessDied(process, "killed", out); });
  }
  ActorDirectory::Output NodeDied(NodeId node) {
    return Do([&](auto* out) { directory_.NodeDied(node, "silent", out); });
  }
  ActorId Alive(uint64_t number, int32_t max_restarts = 0, std::string name = "") {
    const rpc::ActorSpec spec = Spec(number, max_restarts, std::move(name));
    Create(spec);
    Place(spec.actor, 1, 2);
    Start(spec.actor, 1, kWorker);
    return spec.actor;
  }
  ActorState StateOf(ActorId actor) { return directory_.Find(actor)->state; }

  template <typename Fn>
  ActorDirectory::Output Do(Fn fn) {
    ActorDirectory::Output out;
    fn(&out);
    return out;
  }
  static rpc::ErrorInfo Error(ErrorCode code) {
    rpc::ErrorInfo error;
    error.code = code;
    error.message = "no";
    return error;
  }

  ActorDirectory directory_;
};

TEST_F(ActorDirectoryTest, TellsTheCreatorWhenTheActorIsAlive) {
  const rpc::ActorSpec spec = Spec(1);
  const auto created = Create(spec);
  ASSERT_THAT(created.places, SizeIs(1));
  EXPECT_EQ(created.places[0].incarnation, 1u);
  ASSERT_THAT(created.updates, SizeIs(1));
  EXPECT_EQ(created.updates[0].state, ActorState::kPending);
  Place(spec.actor, 1, 2);
  EXPECT_FALSE(directory_.has_unplaced());
  const auto started = Start(spec.actor, 1, kWorker);
  ASSERT_THAT(started.updates, SizeIs(1));
  EXPECT_EQ(started.updates[0].state, ActorState::kAlive);
  EXPECT_EQ(started.updates[0].worker, kWorker);
  EXPECT_EQ(started.updates[0].watcher, kCreator);
  EXPECT_GT(started.updates[0].version, created.updates[0].version);
}

TEST_F(ActorDirectoryTest, TakesDuplicatesForNothing) {
  const ActorId actor = Alive(1, 3);
  EXPECT_TRUE(Start(actor, 1, kWorker).empty());
  const auto again = Create(Spec(1, 3));
  EXPECT_THAT(again.places, IsEmpty());
  ASSERT_THAT(again.updates, SizeIs(1));
  EXPECT_EQ(again.updates[0].state, ActorState::kAlive);
  EXPECT_THAT(End(actor, 1, false).places, SizeIs(1));
  EXPECT_TRUE(End(actor, 1, false).empty());
}

TEST_F(ActorDirectoryTest, StopsAnOlderIncarnationThatShowsUp) {
  const ActorId actor = Alive(1, 3);
  NodeDied(2);
  Place(actor, 2, 3);
  const auto late = Start(actor, 1, kWorker);
  ASSERT_THAT(late.stops, SizeIs(1));
  EXPECT_EQ(late.stops[0].incarnation, 1u);
  EXPECT_EQ(late.stops[0].node, 2u);
  EXPECT_EQ(StateOf(actor), ActorState::kRestarting);
}

TEST_F(ActorDirectoryTest, RestartsUntilTheBudgetIsSpent) {
  const ActorId actor = Alive(1, 1);
  const auto lost = ProcessDied(kWorker);
  ASSERT_THAT(lost.places, SizeIs(1));
  EXPECT_EQ(lost.places[0].incarnation, 2u);
  EXPECT_EQ(lost.places[0].last_node, 2u);
  ASSERT_THAT(lost.updates, SizeIs(1));
  EXPECT_TRUE(lost.updates[0].will_restart);
  Place(actor, 2, 3);
  Start(actor, 2, kWorker2);
  const auto dead = ProcessDied(kWorker2);
  EXPECT_THAT(dead.places, IsEmpty());
  ASSERT_THAT(dead.dead, SizeIs(1));
  EXPECT_EQ(dead.updates[0].state, ActorState::kDead);
  EXPECT_EQ(dead.updates[0].error.code, ErrorCode::kActorDied);
}

TEST_F(ActorDirectoryTest, RestartsForEverIfToldSo) {
  const ActorId actor = Alive(1, -1);
  for (uint64_t incarnation = 1; incarnation < 100; ++incarnation) {
    EXPECT_THAT(End(actor, incarnation, false).places, SizeIs(1));
    Place(actor, incarnation + 1, 2);
    Start(actor, incarnation + 1, {2, 100 + incarnation});
  }
}

TEST_F(ActorDirectoryTest, EndsWithTheConstructorsException) {
  const rpc::ActorSpec spec = Spec(1, 5);
  Create(spec);
  Place(spec.actor, 1, 2);
  const auto failed = Start(spec.actor, 1, kWorker, Error(ErrorCode::kTaskError));
  ASSERT_THAT(failed.updates, SizeIs(1));
  EXPECT_EQ(failed.updates[0].state, ActorState::kDead);
  EXPECT_EQ(failed.updates[0].error.code, ErrorCode::kTaskError);
  EXPECT_THAT(failed.stops, IsEmpty());
}

TEST_F(ActorDirectoryTest, EndsWithTheExceptionOfARestartThoughRestartsAreLeft) {
  const ActorId actor = Alive(1, 5);
  End(actor, 1, false);
  Place(actor, 2, 2);
  const auto failed = Start(actor, 2, {2, 9}, Error(ErrorCode::kActorDied));
  EXPECT_EQ(StateOf(actor), ActorState::kDead);
  EXPECT_THAT(failed.places, IsEmpty());
  // An argument that is such an error is no want of room.
  const rpc::ActorSpec spec = Spec(2, 5);
  Create(spec);
  Place(spec.actor, 1, 2);
  EXPECT_THAT(Start(spec.actor, 1, {2, 9}, Error(ErrorCode::kWorkerLimit)).places, IsEmpty());
  EXPECT_EQ(StateOf(spec.actor), ActorState::kDead);
  // A node that could start no worker for it has not run the constructor.
  const rpc::ActorSpec unstarted = Spec(3, 1);
  Create(unstarted);
  Place(unstarted.actor, 1, 2);
  EXPECT_THAT(Start(unstarted.actor, 1, {2, 0}, Error(ErrorCode::kWorkerDied)).places, SizeIs(1));
  EXPECT_EQ(directory_.Find(unstarted.actor)->restarts, 1);
}

TEST_F(ActorDirectoryTest, ARefusalByTheNodeCostsNoRestart) {
  const rpc::ActorSpec spec = Spec(1);
  Create(spec);
  Place(spec.actor, 1, 2);
  const auto refused = Start(spec.actor, 1, {2, 0}, Error(ErrorCode::kWorkerLimit));
  ASSERT_THAT(refused.places, SizeIs(1));
  EXPECT_EQ(refused.places[0].incarnation, 2u);
  EXPECT_EQ(StateOf(spec.actor), ActorState::kPending);
}

TEST_F(ActorDirectoryTest, TellsItsWatchersOnceWhatAnActorLacks) {
  rpc::ActorSpec spec = Spec(1);
  spec.max_task_retries = 4;
  const ActorId actor = spec.actor;
  EXPECT_EQ(Create(spec).updates.at(0).max_task_retries, 4);
  const auto told = Do([&](auto* out) { EXPECT_TRUE(directory_.SetWaiting(actor, "needs a GPU", out)); });
  ASSERT_THAT(told.updates, SizeIs(1));
  EXPECT_EQ(told.updates[0].waiting, "needs a GPU");
  EXPECT_THAT(told.changed, IsEmpty()) << "not worth a write";
  EXPECT_TRUE(Do([&](auto* out) { EXPECT_FALSE(directory_.SetWaiting(actor, "needs a GPU", out)); }).empty());
  EXPECT_EQ(Watch(actor, kOther).updates.at(0).waiting, "needs a GPU");
  Place(actor, 1, 2);
  EXPECT_EQ(Start(actor, 1, kWorker).updates.at(0).waiting, "");
}

TEST_F(ActorDirectoryTest, KillsWhateverIsThere) {
  const rpc::ActorSpec unplaced = Spec(1, 3);
  Create(unplaced);
  EXPECT_THAT(Kill(unplaced.actor, true).stops, IsEmpty());
  EXPECT_FALSE(directory_.has_unplaced());
  const rpc::ActorSpec placed = Spec(2, 3);
  Create(placed);
  Place(placed.actor, 1, 2);
  EXPECT_THAT(Kill(placed.actor, true).stops, SizeIs(1));
  EXPECT_THAT(Start(placed.actor, 1, kWorker).stops, SizeIs(1));  // it crossed the kill
  const ActorId alive = Alive(3, 3);
  const auto killed = Kill(alive, true);
  ASSERT_THAT(killed.stops, SizeIs(1));
  EXPECT_EQ(killed.stops[0].worker, kWorker);
  EXPECT_EQ(StateOf(alive), ActorState::kDead);
  EXPECT_TRUE(End(alive, 1, true).empty());
  EXPECT_EQ(directory_.live(), 0u);
}

TEST_F(ActorDirectoryTest, KillOfOneIncarnationRestartsWhenItsEndIsReported) {
  const ActorId actor = Alive(1, 3);
  const auto killed = Kill(actor, false);
  EXPECT_THAT(killed.stops, SizeIs(1));
  EXPECT_THAT(killed.places, IsEmpty());
  EXPECT_THAT(End(actor, 1, false).places, SizeIs(1));
}

TEST_F(ActorDirectoryTest, KillOfOneIncarnationDoesNotReachTheNext) {
  const ActorId actor = Alive(1, 3);
  End(actor, 1, false);
  Place(actor, 2, 3);
  Start(actor, 2, kWorker2);
  const auto kill = [&](uint64_t incarnation) {
    return Do(
        [&](auto* out) { directory_.Kill({.actor = actor, .no_restart = false, .incarnation = incarnation}, out); });
  };
  EXPECT_TRUE(kill(1).empty());
  EXPECT_THAT(kill(2).stops, SizeIs(1));
}

TEST_F(ActorDirectoryTest, LastHandleEndsItGracefullyAndForgetsIt) {
  const ActorId actor = Alive(1, 3);
  const auto gone = Kill(actor, true, true);
  ASSERT_THAT(gone.stops, SizeIs(1));
  EXPECT_TRUE(gone.stops[0].graceful);
  EXPECT_EQ(StateOf(actor), ActorState::kAlive);
  const auto ended = End(actor, 1, true);
  EXPECT_THAT(ended.dead, SizeIs(1));
  EXPECT_EQ(directory_.size(), 0u);
}

TEST_F(ActorDirectoryTest, LastHandleGoneBeforeTheStartEndsItAfterTheStart) {
  const rpc::ActorSpec spec = Spec(1);
  Create(spec);
  Place(spec.actor, 1, 2);
  EXPECT_THAT(Kill(spec.actor, true, true).stops, IsEmpty());
  const auto started = Start(spec.actor, 1, kWorker);
  ASSERT_THAT(started.stops, SizeIs(1));
  EXPECT_TRUE(started.stops[0].graceful);
}

TEST_F(ActorDirectoryTest, NamedActorsOutliveTheirHandlesAndCreators) {
  const ActorId actor = Alive(1, 0, "hits");
  EXPECT_TRUE(Kill(actor, true, true).empty());
  ProcessDied(kCreator);
  NodeDied(1);
  EXPECT_EQ(StateOf(actor), ActorState::kAlive);
}

TEST_F(ActorDirectoryTest, AnonymousActorsDieWithTheirCreator) {
  const ActorId anonymous = Alive(1);
  const ActorId restartable = Alive(2, 3);
  const auto died = ProcessDied(kCreator);
  ASSERT_THAT(died.stops, SizeIs(1));
  EXPECT_EQ(died.stops[0].actor, anonymous);
  EXPECT_EQ(StateOf(restartable), ActorState::kAlive);
  const auto node = NodeDied(kCreator.node);
  ASSERT_THAT(node.stops, SizeIs(1));
  EXPECT_EQ(node.stops[0].actor, restartable);
  EXPECT_EQ(directory_.size(), 0u);
}

TEST_F(ActorDirectoryTest, AnswersAWatchThatCameBeforeTheCreation) {
  EXPECT_TRUE(Watch({kCreator, 1}, kOther).empty());
  const auto created = Create(Spec(1));
  EXPECT_THAT(created.updates, SizeIs(2));
}

TEST_F(ActorDirectoryTest, AWatchOfAnActorThatNeverCameEndsWithItsCreator) {
  Watch({kCreator, 1}, kOther);
  const auto died = ProcessDied(kCreator);
  ASSERT_THAT(died.updates, SizeIs(1));
  EXPECT_EQ(died.updates[0].state, ActorState::kDead);
  EXPECT_EQ(directory_.size(), 0u);
  Watch({kCreator, 2}, kOther);
  ProcessDied(kOther);
  EXPECT_EQ(directory_.size(), 0u);
}

TEST_F(ActorDirectoryTest, TellsLateAskersHowItDied) {
  const ActorId actor = Alive(1);
  ProcessDied(kWorker);
  const auto late = Watch(actor, kOther);
  ASSERT_THAT(late.updates, SizeIs(1));
  EXPECT_EQ(late.updates[0].state, ActorState::kDead);
  EXPECT_EQ(late.updates[0].error.code, ErrorCode::kActorDied);
}

TEST_F(ActorDirectoryTest, JobEndStopsItsActorsAndKeepsFewTombstones) {
  for (uint64_t n = 1; n <= 3000; ++n) Alive(n, 0, "name" + std::to_string(n));
  const auto ended = Do([&](auto* out) { directory_.JobEnded(1, out); });
  EXPECT_THAT(ended.stops, SizeIs(3000));
  EXPECT_THAT(ended.dead, SizeIs(3000));
  EXPECT_EQ(directory_.live(), 0u);
  EXPECT_EQ(directory_.size(), ActorDirectory::kTombstonesMax);
}

TEST_F(ActorDirectoryTest, ReconcilesWithANodeThatRegistersAgain) {
  const ActorId stays = Alive(1, 3);
  const ActorId ended = Alive(2, 3);
  const rpc::ActorSpec on_its_way = Spec(3, 3);
  Create(on_its_way);
  Place(on_its_way.actor, 1, 2);
  const rpc::ActorSpec came_alive = Spec(4, 3);
  Create(came_alive);
  Place(came_alive.actor, 1, 2);

  ActorDirectory restored;
  for (const ActorId actor : {stays, ended, on_its_way.actor, came_alive.actor})
    restored.Restore(*directory_.Find(actor));
  std::vector<rpc::ActorStarted> alive(2);
  alive[0].actor = stays;
  alive[0].incarnation = 1;
  alive[0].worker = kWorker;
  alive[1].actor = came_alive.actor;
  alive[1].incarnation = 1;
  alive[1].worker = kWorker;
  const auto returned = Do([&](auto* out) { restored.NodeReturned(2, alive, {}, out); });
  EXPECT_EQ(restored.Find(stays)->state, ActorState::kAlive);
  EXPECT_EQ(restored.Find(came_alive.actor)->state, ActorState::kAlive);
  ASSERT_THAT(returned.places, SizeIs(1));
  EXPECT_EQ(returned.places[0].actor, ended);
  ASSERT_THAT(returned.restarts, SizeIs(1));
  EXPECT_EQ(returned.restarts[0].actor, on_its_way.actor);
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/head/head_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <deque>

namespace manta::runtime {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A head with a store beside it, and the messages that it has sent to each node.
class HeadCoreTest : public ::testing::Test {
 protected:
  HeadCoreTest() { StartHead(); }

  void StartHead() {
    head_ = std::make_unique<HeadCore>(HeadOptions{.epoch = ++epoch_}, now_, store_);
    accepted_.clear();
    waiting_.clear();
  }
  void Do(HeadEvent event) {
    std::vector<HeadAction> actions;
    head_->Handle(now_, std::move(event), &actions);
    uint64_t batch = 0;
    for (HeadAction& action : actions) {
      if (auto* persist = std::get_if<Persist>(&action)) {
        batch = persist->batch;
        waiting_.push_back(std::move(*persist));
      } else if (auto* send = std::get_if<SendMessage>(&action)) {
        sent_[send->to.node].push_back(std::move(send->message));
      } else if (auto* accept = std::get_if<AcceptNode>(&action)) {
        accepted_[accept->connection] = accept->accepted;
      }
    }
    if (batch != 0 && store_works_) MakeDurable();
  }
  void MakeDurable() {
    uint64_t batch = 0;
    for (Persist& persist : std::exchange(waiting_, {})) {
      batch = persist.batch;
      if (persist.value) {
        store_[persist.key] = *persist.value;
      } else {
        store_.erase(persist.key);
      }
    }
    Do(Persisted{batch});
  }
  void Pass(Duration time, std::vector<NodeId> beating = {}) {
    const Time until = now_ + time;
    while (now_ < until) {
      now_ = std::min(until, now_ + milliseconds(100));
      for (const NodeId node : beating) Say(node, rpc::Heartbeat{node, 1});
      if (head_->next_deadline() <= now_) Do(HeadTick{});
    }
  }
  NodeId Join(NodeId node = 0, std::vector<rpc::ActorStarted> actors = {}) {
    rpc::NodeRegister message;
    message.info.node = node;
    message.info.total.Set("CPU", base::Fixed(4));
    message.info.available = message.info.total;
    message.actors = std::move(actors);
    Do(HeadHello{++connection_, message});
    return accepted_.contains(connection_) ? accepted_[connection_].node : 0;
  }
  void Say(NodeId node, rpc::Message message) { Do(MessageReceived{DaemonOf(node), std::move(message)}); }
  JobId NewJob(ProcessId driver) {
    Say(driver.node, rpc::JobRegister{1, driver.node, driver, "train"});
    const auto accepted = Last<rpc::JobAccepted>(driver.node);
    return accepted ? accepted->job : 0;
  }
  rpc::ActorSpec Spec(ProcessId creator, uint64_t number, std::string name, int32_t max_restarts = 0) {
    rpc::ActorSpec spec;
    spec.actor = {creator, number};
    spec.job = job_;
    spec.name = std::move(name);
    spec.name_space = "space";
    spec.max_restarts = max_restarts;
    spec.placement.Set("CPU", base::Fixed(1));
    return spec;
  }
  void SayStarted(NodeId node, ActorId actor, uint64_t incarnation, ProcessId worker) {
    Say(node, Started(actor, incarnation, worker));
  }
  static rpc::ActorStarted Started(ActorId actor, uint64_t incarnation, ProcessId worker) {
    rpc::ActorStarted message;
    message.actor = actor;
    message.incarnation = incarnation;
    message.worker = worker;
    return message;
  }
  ActorId Lookup(NodeId node, const std::string& name) {
    Say(node, rpc::ActorLookup{{node, 1}, 7, "space", name});
    return Last<rpc::ActorFound>(node)->actor;
  }

  template <typename T>
  std::vector<T> All(NodeId node) {
    std::vector<T> found;
    for (const rpc::Message& message : sent_[node]) {
      if (const T* body = std::get_if<T>(&message)) found.push_back(*body);
    }
    return found;
  }
  template <typename T>
  std::optional<T> Last(NodeId node) {
    const std::vector<T> all = All<T>(node);
    return all.empty() ? std::nullopt : std::optional<T>(all.back());
  }
  // The node that was told last to start the actor.
  NodeId StartedOn(ActorId actor, uint64_t incarnation) {
    for (const auto& [node, messages] : sent_) {
      for (const rpc::ActorStart& start : All<rpc::ActorStart>(node)) {
        if (start.spec.actor == actor && start.incarnation == incarnation) return node;
      }
    }
    return 0;
  }

  Time now_ = TimeFromNanos(1'000'000'000);
  uint64_t epoch_ = 0;
  uint64_t connection_ = 0;
  JobId job_ = 1;
  bool store_works_ = true;
  std::map<std::string, std::string> store_;
  std::vector<Persist> waiting_;
  std::map<uint64_t, rpc::NodeAccepted> accepted_;
  std::map<NodeId, std::deque<rpc::Message>> sent_;
  std::unique_ptr<HeadCore> head_;
};

TEST_F(HeadCoreTest, NumbersNodesAndJobsForEver) {
  EXPECT_EQ(Join(), 1u);
  EXPECT_EQ(Join(), 2u);
  EXPECT_EQ(NewJob({1, 1}), 1u);
  EXPECT_EQ(NewJob({2, 1}), 2u);
  EXPECT_EQ(NewJob({2, 1}), 2u) << "the same driver, asking again";
  StartHead();
  EXPECT_EQ(Join(), 3u);
  EXPECT_EQ(NewJob({3, 1}), 3u);
}

TEST_F(HeadCoreTest, SaysNothingBeforeItIsDurable) {
  Join();
  store_works_ = false;
  EXPECT_EQ(Join(), 0u);
  sent_.clear();
  Say(1, rpc::JobRegister{1, 1, {1, 1}, "train"});
  EXPECT_THAT(All<rpc::JobAccepted>(1), IsEmpty());
  Say(1, rpc::Heartbeat{1, 5});
  EXPECT_THAT(All<rpc::Heartbeat>(1), SizeIs(1)) << "a slow store does not make the head look dead";
  store_works_ = true;
  MakeDurable();
  EXPECT_THAT(All<rpc::JobAccepted>(1), SizeIs(1));
  EXPECT_EQ(accepted_[connection_].node, 2u);
}

TEST_F(HeadCoreTest, TellsEverybodyWhoLives) {
  Join();
  Join();
  const auto view = Last<rpc::ClusterView>(1);
  ASSERT_TRUE(view);
  EXPECT_THAT(view->nodes, SizeIs(2));
  rpc::NodeReport report{view->nodes[0]};
  report.info.version = 1;
  report.info.available.Set("CPU", base::Fixed(1));
  sent_.clear();
  Say(1, report);
  Pass(milliseconds(300), {1, 2});
  ASSERT_THAT(All<rpc::ClusterView>(2), SizeIs(1));
  EXPECT_EQ(Last<rpc::ClusterView>(2)->nodes[0].available.Get("CPU"), base::Fixed(1));
  EXPECT_GT(Last<rpc::ClusterView>(2)->version, view->version);
  sent_.clear();
  Pass(seconds(5), {1, 2});
  EXPECT_THAT(All<rpc::ClusterView>(2), IsEmpty()) << "nothing has changed";
}

TEST_F(HeadCoreTest, DeclaresASilentNodeDeadAndFencesItWhenItReturns) {
  Join();
  Join();
  Pass(seconds(2), {1});
  EXPECT_EQ(head_->counts().nodes_alive, 2u);
  Pass(seconds(2), {1});
  ASSERT_TRUE(Last<rpc::NodeDied>(1));
  EXPECT_EQ(Last<rpc::NodeDied>(1)->node, 2u);
  EXPECT_THAT(Last<rpc::ClusterView>(1)->nodes, SizeIs(1));
  sent_.clear();
  Say(2, rpc::Heartbeat{2, 9});
  EXPECT_THAT(All<rpc::NodeFenced>(2), SizeIs(1));
  Join(2);
  EXPECT_EQ(accepted_[connection_].node, 0u) << "join anew";
  EXPECT_EQ(Join(), 3u);
}

TEST_F(HeadCoreTest, AConfirmedDeathIsKnownAtOnce) {
  Join();
  Join();
  Do(NodeConnectionLost{2, false});
  EXPECT_FALSE(Last<rpc::NodeDied>(1));
  Do(NodeConnectionLost{2, true});
  EXPECT_TRUE(Last<rpc::NodeDied>(1));
}

TEST_F(HeadCoreTest, GivesANameToOneActor) {
  Join();
  job_ = NewJob({1, 1});
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits")});
  EXPECT_EQ(Lookup(1, "hits"), (ActorId{{1, 1}, 1}));
  Say(1, rpc::ActorCreate{Spec({1, 2}, 1, "hits")});
  const auto refused = Last<rpc::ActorUpdate>(1);
  EXPECT_EQ(refused->state, rpc::ActorState::kDead);
  EXPECT_EQ(refused->error.code, rpc::ErrorCode::kNameTaken);
  EXPECT_EQ(head_->counts().names, 1u);
  Say(1, rpc::ActorKill{{{1, 1}, 1}, true, false});
  EXPECT_FALSE(Lookup(1, "hits"));
  Say(1, rpc::ActorCreate{Spec({1, 2}, 2, "hits")});
  EXPECT_EQ(Lookup(1, "hits"), (ActorId{{1, 2}, 2}));
}

TEST_F(HeadCoreTest, OfSeveralCreatorsAtOnceOneMakesTheNamedActor) {
  Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec first = Spec({1, 1}, 1, "hits");
  rpc::ActorSpec second = Spec({1, 2}, 1, "hits");
  first.get_if_exists = second.get_if_exists = true;
  Say(1, rpc::ActorCreate{first});
  EXPECT_FALSE(Last<rpc::ActorUpdate>(1)->instead);
  Say(1, rpc::ActorCreate{second});
  const auto refused = Last<rpc::ActorUpdate>(1);
  EXPECT_EQ(refused->watcher, second.actor.creator);
  EXPECT_EQ(refused->state, rpc::ActorState::kDead);
  EXPECT_EQ(refused->error.code, rpc::ErrorCode::kNameTaken);
  EXPECT_EQ(refused->instead, first.actor);
  EXPECT_EQ(head_->counts().actors, 1u);
}

TEST_F(HeadCoreTest, SaysWhatAnActorThatFitsNowhereLacks) {
  Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "large");
  spec.placement.Set("GPU", base::Fixed(8));
  Say(1, rpc::ActorCreate{spec});
  const auto update = Last<rpc::ActorUpdate>(1);
  EXPECT_EQ(update->state, rpc::ActorState::kPending);
  EXPECT_NE(update->waiting.find("GPU: 8"), std::string::npos) << update->waiting;
}

TEST_F(HeadCoreTest, RestartsAnActorElsewhereWhenItsNodeDies) {
  Join();
  Join();
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits", 1)});
  NodeId host = StartedOn(actor, 1);
  ASSERT_NE(host, 0u);
  if (host == 1) {  // the driver's own node: its death would end the job
    SayStarted(1, actor, 1, {1, 5});
    Say(1, rpc::ActorEnded{actor, 1, false, {}});
    host = StartedOn(actor, 2);
    ASSERT_NE(host, 1u);
    return;
  }
  SayStarted(host, actor, 1, {host, 5});
  EXPECT_EQ(Last<rpc::ActorUpdate>(1)->state, rpc::ActorState::kAlive);
  Do(NodeConnectionLost{host, true});
  const NodeId second = StartedOn(actor, 2);
  EXPECT_NE(second, 0u);
  EXPECT_NE(second, host);
}

TEST_F(HeadCoreTest, EndsAJobWithItsDriversNode) {
  Join();
  Join();
  job_ = NewJob({2, 1});
  Say(1, rpc::ActorCreate{Spec({1, 9}, 1, "hits", 1)});
  EXPECT_EQ(head_->counts().actors, 1u);
  Do(NodeConnectionLost{2, true});
  EXPECT_EQ(Last<rpc::JobEnd>(1)->job, job_);
  EXPECT_EQ(head_->counts().jobs, 0u);
  EXPECT_EQ(head_->counts().actors, 0u);
  EXPECT_EQ(head_->counts().names, 0u);
  Say(1, rpc::ActorCreate{Spec({1, 9}, 2, "more", 1)});
  EXPECT_EQ(Last<rpc::ActorUpdate>(1)->error.code, rpc::ErrorCode::kShutdown);
}

TEST_F(HeadCoreTest, ComesBackWithEverythingAndDeclaresNobodyDeadTooSoon) {
  Join();
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits", 3)});
  const NodeId host = StartedOn(actor, 1);
  SayStarted(host, actor, 1, {host, 5});

  StartHead();
  EXPECT_EQ(head_->counts().nodes_alive, 2u);
  EXPECT_EQ(head_->counts().jobs, 1u);
  Pass(seconds(2));
  EXPECT_EQ(head_->counts().nodes_alive, 2u);
  EXPECT_EQ(Join(host, {Started(actor, 1, {host, 5})}), host);
  EXPECT_EQ(Lookup(host, "hits"), actor);
  EXPECT_EQ(StartedOn(actor, 2), 0u);
  Pass(seconds(2), {host});
  EXPECT_EQ(head_->counts().nodes_alive, 1u) << "the other one did not come";
}

TEST_F(HeadCoreTest, RestartsWhatEndedWhileItWasAwayAfterTheGrace) {
  Join();
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits", 3)});
  const NodeId host = StartedOn(actor, 1);
  SayStarted(host, actor, 1, {host, 5});
  StartHead();
  Join(1);
  Join(2);
  EXPECT_EQ(StartedOn(actor, 2), 0u);
  Pass(seconds(4), {1, 2});
  EXPECT_NE(StartedOn(actor, 2), 0u);
}

TEST_F(HeadCoreTest, StartsAgainWhatTheOldHeadMayNotHaveSent) {
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits", 3)});
  sent_.clear();
  StartHead();
  Join(1);
  EXPECT_EQ(StartedOn(actor, 1), 1u);
}

TEST_F(HeadCoreTest, PlacesWhatTheOldHeadHadNotPlaced) {
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Do(NodeConnectionLost{1, false});
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "hits", 3)});
  EXPECT_EQ(StartedOn(actor, 1), 0u);
  StartHead();
  Join(1);
  Pass(milliseconds(200), {1});
  EXPECT_EQ(StartedOn(actor, 1), 1u);
}

TEST_F(HeadCoreTest, AnswersAWatchOfAnActorThatItHasErased) {
  Join();
  job_ = NewJob({1, 1});
  const ActorId actor{{1, 1}, 1};
  Say(1, rpc::ActorCreate{Spec({1, 1}, 1, "", 3)});
  SayStarted(1, actor, 1, {1, 5});
  Say(1, rpc::ActorKill{.actor = actor, .no_restart = true, .graceful = true});
  rpc::ActorEnded ended;
  ended.actor = actor;
  ended.incarnation = 1;
  ended.intended = true;
  Say(1, ended);
  EXPECT_EQ(head_->counts().actors, 0u);
  sent_.clear();
  Say(1, rpc::ActorWatch{actor, {1, 1}});
  ASSERT_TRUE(Last<rpc::ActorUpdate>(1));
  EXPECT_EQ(Last<rpc::ActorUpdate>(1)->state, rpc::ActorState::kDead);
}

TEST_F(HeadCoreTest, TellsReturningNodesWhoDiedMeanwhile) {
  Join();
  Join();
  job_ = NewJob({2, 1});
  Do(NodeConnectionLost{2, true});
  sent_.clear();
  StartHead();
  Join(1);
  EXPECT_EQ(Last<rpc::NodeDied>(1)->node, 2u);
  EXPECT_EQ(Last<rpc::JobEnd>(1)->job, job_);
}

TEST_F(HeadCoreTest, SurvivesDamagedMetadata) {
  Join();
  store_["actor/x"] = "garbage";
  store_["node/00000000000000000001"] = "1 2 3\n";
  store_["job/y"] = "";
  StartHead();
  EXPECT_EQ(Join(), 2u);
}

// ---------------------------------------------------------------- where actors live

TEST_F(HeadCoreTest, AnActorLivesWhereItsHintSaysAfterARestartToo) {
  for (int i = 0; i < 3; ++i) Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "hits", 5);
  spec.hint = {.affinity = 3, .affinity_hard = true};
  Say(1, rpc::ActorCreate{spec});
  EXPECT_EQ(StartedOn(spec.actor, 1), 3u);
  SayStarted(3, spec.actor, 1, {3, 4});
  Say(3, rpc::ProcessDied{{3, 4}, "killed"});
  EXPECT_EQ(StartedOn(spec.actor, 2), 3u);
  Do(NodeConnectionLost{3, true});
  const auto update = Last<rpc::ActorUpdate>(1);
  EXPECT_EQ(update->state, rpc::ActorState::kDead);
  EXPECT_EQ(update->error.code, rpc::ErrorCode::kActorDied);
  EXPECT_THAT(update->error.message, ::testing::HasSubstr("node n3, which has died"));
  EXPECT_EQ(Lookup(1, "hits"), ActorId());
}

TEST_F(HeadCoreTest, SoftAffinityPrefersItsNodeAndDoesWithout) {
  for (int i = 0; i < 3; ++i) Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "hits", 5);
  spec.hint = {.affinity = 3};
  Say(1, rpc::ActorCreate{spec});
  EXPECT_EQ(StartedOn(spec.actor, 1), 3u);
  SayStarted(3, spec.actor, 1, {3, 4});
  Say(3, rpc::ProcessDied{{3, 4}, "killed"});
  EXPECT_EQ(StartedOn(spec.actor, 2), 3u) << "the node lives";
  SayStarted(3, spec.actor, 2, {3, 5});
  Do(NodeConnectionLost{3, true});
  EXPECT_NE(StartedOn(spec.actor, 3), 0u);
}

TEST_F(HeadCoreTest, ANodeWhoseHeartBeatsIsConnectedWhateverBecameOfAnOlderConnection) {
  Join();
  Join();
  Join(2);
  Do(NodeConnectionLost{2, false});
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "hits");
  spec.hint = {.affinity = 2, .affinity_hard = true};
  Say(1, rpc::ActorCreate{spec});
  EXPECT_EQ(StartedOn(spec.actor, 1), 0u);
  Pass(milliseconds(200), {1, 2});
  EXPECT_EQ(StartedOn(spec.actor, 1), 2u);
}

TEST_F(HeadCoreTest, AnActorThatWantsANodeThatNeverWasDies) {
  Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "hits");
  spec.hint = {.affinity = 9, .affinity_hard = true};
  Say(1, rpc::ActorCreate{spec});
  EXPECT_THAT(Last<rpc::ActorUpdate>(1)->error.message, ::testing::HasSubstr("no such node"));
}

// ---------------------------------------------------------------- detached actors

TEST_F(HeadCoreTest, ADetachedActorOutlivesItsJobAndItsNode) {
  Join();
  Join();
  job_ = NewJob({2, 1});
  rpc::ActorSpec spec = Spec({2, 1}, 1, "db", -1);
  spec.detached = true;
  spec.hint = {.affinity = 1};
  Say(2, rpc::ActorCreate{spec});
  EXPECT_TRUE(Last<rpc::JobAccepted>(2)->has_detached);
  Say(2, rpc::ActorCreate{Spec({2, 1}, 2, "cache", -1)});
  SayStarted(1, spec.actor, 1, {1, 4});
  sent_.clear();
  Say(2, rpc::JobEnd{job_});
  EXPECT_EQ(Lookup(1, "db"), spec.actor);
  EXPECT_EQ(Lookup(1, "cache"), ActorId()) << "it was not detached";
  EXPECT_FALSE(Last<rpc::JobEnd>(1));

  // Node 1 has had the program, and gives it to others when the driver's node is gone.
  Say(1, rpc::ProgramRequest{job_, 1});
  EXPECT_EQ(Last<rpc::ProgramRequest>(2)->asker, 1u);
  Do(NodeConnectionLost{2, true});
  EXPECT_EQ(Lookup(1, "db"), spec.actor);
  const NodeId third = Join();
  Say(third, rpc::ProgramRequest{job_, third});
  EXPECT_EQ(Last<rpc::ProgramRequest>(1)->asker, third);

  // A head that comes back still knows.
  StartHead();
  Join(1, {Started(spec.actor, 1, {1, 4})});
  EXPECT_EQ(Lookup(1, "db"), spec.actor);
  EXPECT_EQ(head_->counts().jobs, 1u);

  Say(1, rpc::ActorKill{.actor = spec.actor, .no_restart = true});
  EXPECT_EQ(Lookup(1, "db"), ActorId());
  EXPECT_EQ(Last<rpc::JobEnd>(1)->job, job_);
  EXPECT_EQ(head_->counts().jobs, 0u);
  EXPECT_FALSE(store_.contains("lingering_job/00000000000000000001"));
}

TEST_F(HeadCoreTest, AnEmbeddedClusterHasNoDetachedActors) {
  head_ = std::make_unique<HeadCore>(HeadOptions{.epoch = ++epoch_, .embedded = true}, now_, store_);
  Join();
  job_ = NewJob({1, 1});
  rpc::ActorSpec spec = Spec({1, 1}, 1, "db");
  spec.detached = true;
  Say(1, rpc::ActorCreate{spec});
  EXPECT_EQ(Last<rpc::ActorUpdate>(1)->error.code, rpc::ErrorCode::kInvalidArgument);
  EXPECT_EQ(Lookup(1, "db"), ActorId());
}

// ---------------------------------------------------------------- many actors

// `Remote()` waits for none of this; the head's own part of a creation, its record included, without the store.
TEST_F(HeadCoreTest, RegistersManyNamedActorsAtTheSameCostEach) {
  const auto register_all = [this](uint64_t first, uint64_t count, int cpus) {
    const auto start = std::chrono::steady_clock::now();
    for (uint64_t number = first; number < first + count; ++number) {
      rpc::ActorSpec spec = Spec({1, 1}, number, "actor" + std::to_string(number));
      spec.placement.Set("CPU", base::Fixed(cpus));
      std::vector<HeadAction> actions;
      head_->Handle(now_, MessageReceived{DaemonOf(1), rpc::ActorCreate{spec}}, &actions);
      uint64_t batch = 0;
      for (const HeadAction& action : actions) {
        if (const auto* persist = std::get_if<Persist>(&action)) batch = persist->batch;
      }
      actions.clear();
      head_->Handle(now_, Persisted{batch}, &actions);
    }
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() /
           static_cast<double>(count);
  };
  Join();
  job_ = NewJob({1, 1});
  const double few = register_all(1, 1'000, 1);
  const double many = register_all(10'001, 10'000, 1);
  const double waiting = register_all(50'001, 10'000, 64);  // more than any node has
  RecordProperty("us_each_of_1000", std::to_string(few));
  std::printf("registered: %.1f us each of 1,000, %.1f of 10,000, %.1f of 10,000 that fit nowhere\n", few, many,
              waiting);
  EXPECT_EQ(head_->counts().names, 21'000u);
  EXPECT_LT(many, 10 * few + 20);
  EXPECT_LT(waiting, 10 * few + 20);
}

}  // namespace
}  // namespace manta::runtime

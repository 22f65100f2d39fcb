#include "runtime/worker/mailbox.h"

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ErrorCode;
using rpc::Outcome;
using std::chrono::microseconds;
using std::chrono::milliseconds;

class Mailbox : public ProcessFixture {
 protected:
  // The numbers of the calls that were started since the last time.
  std::vector<uint64_t> Ran() {
    std::vector<uint64_t> numbers;
    for (const Execute& execute : Take<Execute>()) numbers.push_back(execute.request.call.number);
    return numbers;
  }
  // The numbers of the calls that were answered NotExecuted since the last time.
  std::vector<uint64_t> Refused() {
    std::vector<uint64_t> numbers;
    for (const rpc::CallReply& reply : Sent<rpc::CallReply>()) {
      if (reply.outcome == Outcome::kNotExecuted) numbers.push_back(reply.call.number);
    }
    return numbers;
  }
};
using Numbers = std::vector<uint64_t>;

// ---------------------------------------------------------------- tasks

TEST_F(Mailbox, RunsTasksOneAtATimeInTheirOrder) {
  const auto a = TaskFrom(kPeer, 1);
  const auto b = TaskFrom(kPeer, 2);
  EXPECT_EQ(Ran(), Numbers{1});
  Finish(a, {Inline("a")});
  EXPECT_EQ(Ran(), Numbers{2});
  const rpc::CallReply reply = SentOne<rpc::CallReply>(kPeer);
  EXPECT_EQ(reply.outcome, Outcome::kOk);
  EXPECT_EQ(reply.returns[0].bytes.view(), "a");
  EXPECT_EQ(reply.run_ns, 1000u);
  Finish(b);
  ExpectNothingLeft();
}

TEST_F(Mailbox, AnExceptionIsAnError) {
  const auto a = TaskFrom(kPeer, 1);
  Executed executed;
  executed.call = a.call;
  executed.error = Error(ErrorCode::kTaskError, "user's");
  Feed(std::move(executed));
  const rpc::CallReply reply = SentOne<rpc::CallReply>(kPeer);
  EXPECT_EQ(reply.outcome, Outcome::kError);
  EXPECT_EQ(reply.error.message, "user's");
}

TEST_F(Mailbox, RefusesALowerLease) {
  const auto a = TaskFrom(kPeer, 1, {kNode, 5});
  TaskFrom(kPeer2, 2, {kNode, 4});
  EXPECT_EQ(Refused(), Numbers{2});
  FromDaemon(rpc::LeaseFence{{kNode, 7}});
  TaskFrom(kPeer, 3, {kNode, 6});
  EXPECT_EQ(Refused(), Numbers{3});
  Finish(a);
  TaskFrom(kPeer2, 4, {kNode, 7});
  EXPECT_EQ(Ran(), (Numbers{1, 4}));
}

TEST_F(Mailbox, AFenceSendsBackWhatHasNotStarted) {
  TaskFrom(kPeer, 1, {kNode, 5});
  TaskFrom(kPeer, 2, {kNode, 5});
  FromDaemon(rpc::LeaseFence{{kNode, 6}});
  EXPECT_EQ(Refused(), Numbers{2});
}

TEST_F(Mailbox, WhenTheTaskThatRunsBlocksTheOthersGoBack) {
  const auto a = TaskFrom(kPeer, 1, {kNode, 5});
  TaskFrom(kPeer, 2, {kNode, 5});
  TaskFrom(kPeer, 3, {kNode, 5});
  Feed(BlockedChanged{a.call, true});
  const auto blocked = SentOne<rpc::LeaseBlocked>(kDaemon);
  EXPECT_TRUE(blocked.blocked);
  EXPECT_EQ(blocked.lease, (LeaseId{kNode, 5}));
  EXPECT_EQ(Refused(), (Numbers{2, 3}));
  TaskFrom(kPeer, 4, {kNode, 5});
  EXPECT_EQ(Refused(), Numbers{4}) << "it would wait, too";
  Feed(BlockedChanged{a.call, false});
  EXPECT_FALSE(SentOne<rpc::LeaseBlocked>().blocked);
  TaskFrom(kPeer, 5, {kNode, 5});
  EXPECT_TRUE(Refused().empty());
}

TEST_F(Mailbox, ATaskThatEndsWhileItIsBlockedTakesItsCpuBack) {
  const auto a = TaskFrom(kPeer, 1, {kNode, 5});
  Feed(BlockedChanged{a.call, true});
  Forget();
  Finish(a);
  EXPECT_FALSE(SentOne<rpc::LeaseBlocked>().blocked);
}

TEST_F(Mailbox, WhenTheTaskThatRunsTakesLongTheOthersGoBack) {
  const auto a = TaskFrom(kPeer, 1);
  EXPECT_EQ(core_.next_deadline(), Time::max()) << "nothing waits behind it";
  Advance(microseconds(300));
  TaskFrom(kPeer, 2);
  Pass(microseconds(600));
  EXPECT_TRUE(Refused().empty());
  Pass(microseconds(500));
  EXPECT_EQ(Refused(), Numbers{2});
  TaskFrom(kPeer, 3);
  EXPECT_EQ(Refused(), Numbers{3});
  Finish(a);
  TaskFrom(kPeer, 4);
  EXPECT_EQ(Ran(), (Numbers{1, 4}));
}

TEST_F(Mailbox, TheClockStartsAnewForEachTask) {
  const auto a = TaskFrom(kPeer, 1);
  TaskFrom(kPeer, 2);
  TaskFrom(kPeer, 3);
  Pass(microseconds(900));
  Finish(a);
  Pass(microseconds(900));
  EXPECT_TRUE(Refused().empty());
  Pass(microseconds(200));
  EXPECT_EQ(Refused(), Numbers{3});
}

TEST_F(Mailbox, CancelTakesBackWhatHasNotStarted) {
  const auto a = TaskFrom(kPeer, 1);
  const auto b = TaskFrom(kPeer, 2);
  From(kPeer, rpc::CallCancel{b.call, 0});
  rpc::CallReply reply = SentOne<rpc::CallReply>();
  EXPECT_EQ(reply.outcome, Outcome::kNotExecuted);
  EXPECT_EQ(reply.error.code, ErrorCode::kCancelled);
  From(kPeer, rpc::CallCancel{a.call, 0});
  From(kPeer, rpc::CallCancel{{kPeer, 99}, 0});
  EXPECT_TRUE(Sent<rpc::CallReply>().empty());
  Finish(a);
  EXPECT_EQ(SentOne<rpc::CallReply>().outcome, Outcome::kOk);
}

TEST_F(Mailbox, ACallWhoseDeadlinePassedWhileItWaitedDoesNotRun) {
  const auto a = TaskFrom(kPeer, 1);
  rpc::CallRequest late;
  late.call = {kPeer, 2};
  late.lease = {kNode, 1};
  late.deadline_ns = 100'000;
  From(kPeer, late);
  Advance(microseconds(200));
  Finish(a);
  EXPECT_EQ(Ran(), Numbers{1});
  const auto replies = Sent<rpc::CallReply>();
  EXPECT_EQ(replies[1].outcome, Outcome::kNotExecuted);
  EXPECT_EQ(replies[1].error.code, ErrorCode::kTimeout);
}

TEST_F(Mailbox, IgnoresRequestsInSomebodyElsesName) {
  rpc::CallRequest forged;
  forged.call = {kPeer2, 1};
  From(kPeer, forged);
  EXPECT_TRUE(Ran().empty());
  EXPECT_EQ(Take<LogLine>().size(), 1u);
}

// ---------------------------------------------------------------- actors

TEST_F(Mailbox, RunsAnActorsCallsInEachCallersOrder) {
  Host();
  MethodFrom(kPeer, 12, 2);  // early
  EXPECT_TRUE(Ran().empty());
  const auto first = MethodFrom(kPeer, 11, 1);
  MethodFrom(kPeer2, 5, 1);
  EXPECT_EQ(Ran(), Numbers{11});
  Finish(first);
  EXPECT_EQ(Ran(), Numbers{12}) << "first in, first out, across callers";
  MethodFrom(kPeer, 11, 1);  // a repetition
  EXPECT_EQ(core_.counts().mailbox_calls, 2u);
}

TEST_F(Mailbox, CallsWaitForTheConstructor) {
  Construct();
  MethodFrom(kPeer, 1, 1);
  EXPECT_TRUE(Ran().empty());
  ASSERT_EQ(Take<ConstructActor>().size(), 1u);
  Feed(Constructed{kHosted, 1, {}});
  const rpc::ActorStarted started = SentOne<rpc::ActorStarted>(kDaemon);
  EXPECT_EQ(started.actor, kHosted);
  EXPECT_EQ(started.worker, kSelf);
  EXPECT_FALSE(started.error);
  EXPECT_EQ(Ran(), Numbers{1});
}

TEST_F(Mailbox, AConstructorThatThrowsSendsItsCallsBack) {
  Construct();
  MethodFrom(kPeer, 1, 1);
  Feed(Constructed{kHosted, 1, Error(ErrorCode::kTaskError, "no")});
  EXPECT_EQ(SentOne<rpc::ActorStarted>().error.message, "no");
  EXPECT_EQ(Refused(), Numbers{1});
  MethodFrom(kPeer, 2, 2);
  EXPECT_EQ(Refused(), Numbers{2});
  ExpectNothingLeft();
}

TEST_F(Mailbox, AConstructorKeepsRefsLikeACall) {
  const ObjectId borrowed{kHosted.creator, 77, 0};
  Construct(1, 1, {Nest("a", {borrowed})});
  AddHandle(borrowed);
  Feed(Constructed{kHosted, 1, {}});
  EXPECT_EQ(SentOne<rpc::RefRegister>().ticket, (TicketId{{kHosted.creator, kHosted.number}, 0, 0, false}));
  EXPECT_EQ(SentOne<rpc::ActorStarted>().kept, std::vector<uint32_t>{0});
}

TEST_F(Mailbox, ALaterIncarnationRegistersWithoutTickets) {
  const ObjectId borrowed{kHosted.creator, 77, 0};
  Construct(1, 2, {Nest("a", {borrowed})});
  AddHandle(borrowed);
  Feed(Constructed{kHosted, 2, {}});
  EXPECT_EQ(SentOne<rpc::RefRegister>().ticket.call.number, 0u);
  EXPECT_TRUE(SentOne<rpc::ActorStarted>().kept.empty());
}

TEST_F(Mailbox, RefusesCallsForAnotherIncarnation) {
  Host(1, 2);
  MethodFrom(kPeer, 1, 1, {}, 1);
  MethodFrom(kPeer, 2, 1, {}, 3);
  MethodFrom(kPeer, 3, 1, {}, 2, ActorId{kPeer, 123});
  EXPECT_EQ(Refused(), (Numbers{1, 2, 3}));
  MethodFrom(kPeer, 4, 1, {}, 2);
  EXPECT_EQ(Ran(), Numbers{4});
}

TEST_F(Mailbox, RunsUpToMaxConcurrencyAtATime) {
  Host(2);
  const auto a = MethodFrom(kPeer, 1, 1);
  MethodFrom(kPeer, 2, 2);
  MethodFrom(kPeer, 3, 3);
  EXPECT_EQ(Ran(), (Numbers{1, 2}));
  Finish(a);
  EXPECT_EQ(Ran(), Numbers{3});
}

TEST_F(Mailbox, ExitActorSendsBackWhatIsQueuedAndEndsAfterWhatRuns) {
  Host(2);
  const auto a = MethodFrom(kPeer, 1, 1);
  const auto b = MethodFrom(kPeer, 2, 2);
  MethodFrom(kPeer, 3, 3);
  MethodFrom(kPeer, 5, 5);  // early
  Finish(a, {Inline("a")}, true);
  EXPECT_EQ(Order().front(), "CallReply") << "the result is delivered first";
  MethodFrom(kPeer2, 6, 1);
  EXPECT_EQ(Ran(), (Numbers{1, 2}));
  EXPECT_EQ(Refused(), (Numbers{3, 5, 6}));
  EXPECT_TRUE(Take<ExitProcess>().empty());
  Finish(b);
  const rpc::ActorEnded ended = SentOne<rpc::ActorEnded>(kDaemon);
  EXPECT_TRUE(ended.intended);
  EXPECT_EQ(ended.incarnation, 1u);
  EXPECT_EQ(Take<ExitProcess>().size(), 1u);
  ExpectNothingLeft();
}

TEST_F(Mailbox, AnActorLendsItsCpuWhileAllItsCallsBlock) {
  rpc::ActorConstruct construct;
  construct.spec.actor = kHosted;
  construct.spec.max_concurrency = 2;
  construct.spec.lifetime = cpu_;
  construct.incarnation = 1;
  construct.lease = {kNode, 3};
  FromDaemon(std::move(construct));
  Feed(Constructed{kHosted, 1, {}});
  const auto a = MethodFrom(kPeer, 1, 1);
  const auto b = MethodFrom(kPeer, 2, 2);
  Feed(BlockedChanged{a.call, true});
  EXPECT_TRUE(Sent<rpc::LeaseBlocked>().empty()) << "b needs it";
  Finish(b);
  EXPECT_EQ(SentOne<rpc::LeaseBlocked>(kDaemon), (rpc::LeaseBlocked{{kNode, 3}, true}));
  const auto c = MethodFrom(kPeer, 3, 3);
  EXPECT_EQ(SentOne<rpc::LeaseBlocked>(), (rpc::LeaseBlocked{{kNode, 3}, false}));
  Feed(BlockedChanged{c.call, true});
  EXPECT_TRUE(SentOne<rpc::LeaseBlocked>().blocked);
  Finish(c);
  EXPECT_TRUE(Sent<rpc::LeaseBlocked>().empty()) << "a still waits, alone";
  Feed(BlockedChanged{a.call, false});
  EXPECT_FALSE(SentOne<rpc::LeaseBlocked>().blocked);
  Feed(BlockedChanged{a.call, true});
  EXPECT_TRUE(SentOne<rpc::LeaseBlocked>().blocked);
  Finish(a);
  EXPECT_FALSE(SentOne<rpc::LeaseBlocked>().blocked);
}

TEST_F(Mailbox, AConstructorThatBlocksLendsTheCpuThatItWasPlacedWith) {
  rpc::ActorConstruct construct;
  construct.spec.actor = kHosted;
  construct.incarnation = 1;
  construct.lease = {kNode, 3};
  FromDaemon(std::move(construct));
  const CallId constructor{kHosted.creator, kHosted.number};
  Feed(BlockedChanged{constructor, true});
  EXPECT_EQ(SentOne<rpc::LeaseBlocked>(kDaemon), (rpc::LeaseBlocked{{kNode, 3}, true}));
  Feed(BlockedChanged{constructor, false});
  EXPECT_FALSE(SentOne<rpc::LeaseBlocked>().blocked);
  Feed(BlockedChanged{constructor, true});
  Feed(Constructed{kHosted, 1, {}});
  EXPECT_FALSE(Sent<rpc::LeaseBlocked>().back().blocked);
  Feed(BlockedChanged{MethodFrom(kPeer, 1, 1).call, true});
  EXPECT_TRUE(Sent<rpc::LeaseBlocked>().empty()) << "it has none while it lives";
}

TEST_F(Mailbox, AGracefulKillRunsWhatIsQueuedThenEnds) {
  Host();
  const auto a = MethodFrom(kPeer, 1, 1);
  rpc::ActorKill kill;
  kill.actor = kHosted;
  kill.graceful = true;
  kill.incarnation = 1;
  FromDaemon(kill);
  EXPECT_TRUE(Sent<rpc::ActorEnded>().empty());
  Finish(a);
  EXPECT_EQ(Sent<rpc::ActorEnded>().size(), 1u);
  EXPECT_TRUE(Take<ExitProcess>()[0].graceful);
}

TEST_F(Mailbox, AKillEndsTheProcessAtOnce) {
  Host();
  MethodFrom(kPeer, 1, 1);
  rpc::ActorKill old;
  old.actor = {kPeer, 5};
  FromDaemon(old);
  EXPECT_TRUE(Take<ExitProcess>().empty()) << "that one is not here";
  rpc::ActorKill kill;
  kill.actor = kHosted;
  FromDaemon(kill);
  EXPECT_FALSE(Take<ExitProcess>()[0].graceful);
}

TEST_F(Mailbox, AKillForAnOlderIncarnationIsIgnored) {
  Host(1, 3);
  rpc::ActorKill kill;
  kill.actor = kHosted;
  kill.incarnation = 2;
  FromDaemon(kill);
  EXPECT_TRUE(Take<ExitProcess>().empty());
}

TEST_F(Mailbox, OneOfSeveralHostedActorsEndsAlone) {
  Host();
  const ActorId other{{kNode, 9}, 5};
  Construct(1, 1, {}, other);
  Feed(Constructed{other, 1, {}});
  rpc::ActorKill kill;
  kill.actor = other;
  FromDaemon(kill);
  EXPECT_EQ(SentOne<rpc::ActorEnded>().actor, other);
  EXPECT_TRUE(Take<ExitProcess>().empty());
  MethodFrom(kPeer, 1, 1);
  EXPECT_EQ(Ran(), Numbers{1});
}

TEST_F(Mailbox, CancelOfAWaitingActorCallLetsTheNextOneRun) {
  Host();
  const ObjectId far{{kOtherNode, 7}, 5, 0};
  const auto waits = MethodFrom(kPeer, 1, 1, {Stored(far, kOtherNode)});
  MethodFrom(kPeer, 2, 2);
  const auto early = MethodFrom(kPeer, 4, 4);
  EXPECT_TRUE(Ran().empty());
  From(kPeer, rpc::CallCancel{waits.call, 0});
  EXPECT_EQ(Ran(), Numbers{2});
  From(kPeer, rpc::CallCancel{early.call, 0});
  EXPECT_EQ(Refused(), (Numbers{1, 4}));
  MethodFrom(kPeer, 3, 3);
  MethodFrom(kPeer, 5, 5);
  EXPECT_EQ(core_.counts().mailbox_calls, 3u) << "5 has taken the turn of 4";
}

// ---------------------------------------------------------------- ends

TEST_F(Mailbox, AnOrderlyExitLetsTheRunningCallEnd) {
  const auto a = TaskFrom(kPeer, 1);
  TaskFrom(kPeer, 2);
  FromDaemon(rpc::ProcessExit{.graceful = true, .reason = "the job ended"});
  EXPECT_EQ(Refused(), Numbers{2});
  TaskFrom(kPeer, 3);
  EXPECT_EQ(Refused(), Numbers{3});
  EXPECT_TRUE(Take<ExitProcess>().empty());
  Finish(a);
  const auto exits = Take<ExitProcess>();
  ASSERT_EQ(exits.size(), 1u);
  EXPECT_EQ(exits[0].reason, "the job ended");
}

TEST_F(Mailbox, AnIdleWorkerExitsAtOnce) {
  FromDaemon(rpc::ProcessExit{.graceful = true, .reason = "idle"});
  FromDaemon(rpc::ProcessExit{.graceful = true, .reason = "idle"});
  EXPECT_EQ(Take<ExitProcess>().size(), 1u);
}

TEST_F(Mailbox, CallsOfADeadCallerStillRunInOrderButThoseOutOfOrderGo) {
  Host();
  const auto a = MethodFrom(kPeer, 1, 1);
  const auto b = MethodFrom(kPeer, 2, 2);
  MethodFrom(kPeer, 9, 9);
  Died(kPeer);
  EXPECT_EQ(core_.counts().mailbox_calls, 2u);
  MethodFrom(kPeer, 3, 3);
  EXPECT_EQ(core_.counts().mailbox_calls, 2u) << "nothing is heard from the dead";
  Finish(a);
  Finish(b);
  EXPECT_EQ(Ran(), (Numbers{1, 2}));
  EXPECT_TRUE(Sent<rpc::CallReply>().empty());
  ExpectNothingLeft();
}

TEST_F(Mailbox, ATaskThatWaitsLongForItsArgumentsLendsItsCpu) {
  const ObjectId far{{kOtherNode, 7}, 5, 0};
  const auto task = TaskFrom(kPeer, 1, {kNode, 1}, {Stored(far, kOtherNode)});
  EXPECT_EQ(Ran(), Numbers{});
  Pass(milliseconds(10));
  EXPECT_TRUE(Sent<rpc::LeaseBlocked>().empty());
  Pass(milliseconds(20));
  EXPECT_EQ(SentOne<rpc::LeaseBlocked>(kDaemon), (rpc::LeaseBlocked{task.lease, true}));
  Forget();
  Resolved(far, Stored(far, kNode));
  EXPECT_EQ(SentOne<rpc::LeaseBlocked>(kDaemon), (rpc::LeaseBlocked{task.lease, false}));
  EXPECT_EQ(Ran(), Numbers{1});
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/worker/lease_client.h"

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ErrorCode;
using std::chrono::milliseconds;

class LeaseClient : public ProcessFixture {};

TEST_F(LeaseClient, RunsATaskUnderALeaseAndGivesItBackAfterTheLinger) {
  const ObjectId sum = Task({Inline("2")});
  const rpc::LeaseRequest request = SentOne<rpc::LeaseRequest>(kDaemon);
  EXPECT_EQ(request.caller, kSelf);
  EXPECT_EQ(request.shape, cpu_);
  Grant(request.request, {kNode, 4});
  EXPECT_EQ(Take<Connect>().size(), 1u);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "there is no channel yet";
  Connected();
  const rpc::CallRequest call = SentOne<rpc::CallRequest>(kPeer);
  EXPECT_EQ(call.lease, (LeaseId{kNode, 4}));
  EXPECT_EQ(call.args[0].bytes.view(), "2");
  EXPECT_EQ(call.return_count, 1u);
  Reply(call, Inline("4"));
  EXPECT_EQ(ValueOf(sum), "4");
  Pass(milliseconds(1));
  EXPECT_TRUE(Sent<rpc::LeaseReturn>().empty());
  Pass(milliseconds(2));
  EXPECT_EQ(SentOne<rpc::LeaseReturn>(kDaemon).lease, (LeaseId{kNode, 4}));
  EXPECT_FALSE(IsDone(999));
  Drop(sum);
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(LeaseClient, AsksForAsManyLeasesAsTasksWaitUpToTheLimit) {
  for (int i = 0; i < 40; ++i) Task();
  EXPECT_EQ(Sent<rpc::LeaseRequest>().size(), 16u);
}

TEST_F(LeaseClient, ReturnsASurplusGrantAndCancelsWhatIsNotNeeded) {
  HaveLease();
  Task();
  Task();  // behind the first one, which is known to be fast
  const auto pushed = Sent<rpc::CallRequest>();
  ASSERT_EQ(pushed.size(), 2u);
  Pass(milliseconds(5));
  Forget();
  // A task of unknown speed waits; its lease comes when it is not needed any more.
  SubmitCall slow;
  slow.function = 8;
  slow.shape = cpu_;
  const ObjectId waits = Submit(std::move(slow));
  const uint64_t request = SentOne<rpc::LeaseRequest>().request;
  for (const auto& call : pushed) Reply(call, Inline(""));
  Reply(SentOne<rpc::CallRequest>(), Inline("done"));
  EXPECT_EQ(ValueOf(waits), "done");
  Grant(request, {kNode, 9}, kPeer2);
  EXPECT_EQ(SentOne<rpc::LeaseReturn>().lease, (LeaseId{kNode, 9}));
}

TEST_F(LeaseClient, CancelsRequestsThatNobodyNeedsAfterTheLinger) {
  const ObjectId task = Task();
  const uint64_t request = SentOne<rpc::LeaseRequest>().request;
  Feed(CancelCall{task});
  EXPECT_EQ(CodeOf(task), ErrorCode::kCancelled);
  Pass(milliseconds(3));
  EXPECT_EQ(SentOne<rpc::LeaseCancel>().request, request);
  // The grant crossed the cancel.
  Grant(request, {kNode, 9});
  EXPECT_EQ(SentOne<rpc::LeaseReturn>().lease, (LeaseId{kNode, 9}));
  Drop(task);
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(LeaseClient, PushesBehindOnlyWhatIsKnownToBeFast) {
  HaveLease();  // F took 1 us
  Task();
  Task();
  Task();
  EXPECT_EQ(Sent<rpc::CallRequest>().size(), 3u);
  SubmitCall unknown;
  unknown.function = 99;
  unknown.shape = cpu_;
  Submit(std::move(unknown));
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "how long function 99 takes is not known";
  EXPECT_EQ(Sent<rpc::LeaseRequest>().size(), 1u);
}

TEST_F(LeaseClient, DoesNotPileMoreThanOneSlowTaskOfWorkOnAWorker) {
  HaveLease();
  // F turns out to take half a millisecond.
  for (int i = 0; i < 30; ++i) {
    Task();
    Reply(SentOne<rpc::CallRequest>(), Inline(""), {}, kPeer, 500'000);
  }
  for (int i = 0; i < 10; ++i) Task();
  const size_t pushed = Sent<rpc::CallRequest>().size();
  EXPECT_GE(pushed, 2u);
  EXPECT_LE(pushed, 3u);
  EXPECT_FALSE(Sent<rpc::LeaseRequest>().empty()) << "the rest needs other workers";
}

TEST_F(LeaseClient, TasksGivenBackGoFirstAndForFree) {
  HaveLease();
  const ObjectId a = Task({}, 0);
  const ObjectId b = Task({}, 0);
  const ObjectId c = Task({}, 0);
  auto calls = Sent<rpc::CallRequest>();
  ASSERT_EQ(calls.size(), 3u);
  ReplyNotExecuted(calls[1]);
  ReplyNotExecuted(calls[2]);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "the worker is busy for long";
  EXPECT_FALSE(Sent<rpc::LeaseRequest>().empty());
  Task();
  Reply(calls[0], Inline("a"), {}, kPeer, 100);
  calls = Sent<rpc::CallRequest>();
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].call.number, b.number);
  EXPECT_EQ(calls[1].call.number, c.number);
  EXPECT_EQ(calls[0].attempt, 1u);
  Reply(calls[0], Inline("b"));
  Reply(calls[1], Inline("c"));
  EXPECT_EQ(ValueOf(a) + ValueOf(b) + ValueOf(c), "abc") << "MaxRetries(0) does not count what was not executed";
}

TEST_F(LeaseClient, ALeaseThatTheWorkerRefusesIsGivenBack) {
  HaveLease(1);
  const ObjectId task = Task();
  ReplyNotExecuted(SentOne<rpc::CallRequest>());  // it was the first one there
  EXPECT_EQ(SentOne<rpc::LeaseReturn>().lease, (LeaseId{kNode, 1}));
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 2}, kPeer);
  Reply(SentOne<rpc::CallRequest>(), Inline("x"));
  EXPECT_EQ(ValueOf(task), "x");
}

TEST_F(LeaseClient, AWorkersDeathCostsATryOnlyTheTaskThatRan) {
  HaveLease();
  const ObjectId ran = Task({}, 1);
  const ObjectId behind = Task({}, 1);
  ASSERT_EQ(Sent<rpc::CallRequest>().size(), 2u);
  Died(kPeer);
  EXPECT_EQ(Sent<rpc::DeathDrained>().size(), 1u);
  const auto requests = Sent<rpc::LeaseRequest>();
  ASSERT_EQ(requests.size(), 2u);
  Grant(requests[0].request, {kNode, 2}, kPeer2);
  Connected(kPeer2);
  // How fast F is is known: both go there.
  auto calls = Sent<rpc::CallRequest>(kPeer2);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].call.number, ran.number);
  EXPECT_EQ(calls[0].attempt, 1u);
  Died(kPeer2);
  EXPECT_EQ(CodeOf(ran), ErrorCode::kWorkerDied);
  EXPECT_TRUE(ErrorOf(ran).may_have_run);
  EXPECT_EQ(ErrorOf(ran).chain, std::vector<std::string>{"F"});
  EXPECT_NE(ErrorOf(ran).message.find("signal 9"), std::string::npos);
  EXPECT_FALSE(IsDone(behind));
}

TEST_F(LeaseClient, OnAnotherNodeEveryTaskPushedMayHaveRun) {
  HaveLease(1, kFarPeer);
  const ObjectId ran = Task({}, 0);
  const ObjectId behind = Task({}, 0);
  ASSERT_EQ(Sent<rpc::CallRequest>().size(), 2u);
  NodeDies(kOtherNode);
  EXPECT_EQ(CodeOf(ran), ErrorCode::kWorkerDied);
  EXPECT_EQ(CodeOf(behind), ErrorCode::kWorkerDied);
  EXPECT_EQ(SentOne<rpc::DeathDrained>().process, DaemonOf(kOtherNode));
}

TEST_F(LeaseClient, AnExceptionIsRetriedOnlyIfAskedFor) {
  HaveLease();
  SubmitCall call;
  call.shape = cpu_;
  call.max_retries = 1;
  call.retry_on_exception = true;
  const ObjectId result = Submit(std::move(call));
  const rpc::CallRequest first = SentOne<rpc::CallRequest>();
  EXPECT_TRUE(first.retry_on_exception);
  ReplyError(first, Error(ErrorCode::kTaskError));
  const rpc::CallRequest second = SentOne<rpc::CallRequest>();
  EXPECT_EQ(second.attempt, 1u);
  EXPECT_FALSE(second.retry_on_exception) << "this exception is the last one";
  rpc::ErrorInfo error = Error(ErrorCode::kTaskError);
  error.chain = {"Inner"};
  ReplyError(second, error);
  EXPECT_EQ(ErrorOf(result).chain, (std::vector<std::string>{"F", "Inner"}));
  const ObjectId plain = Task();
  ReplyError(SentOne<rpc::CallRequest>(), Error(ErrorCode::kTaskError));
  EXPECT_EQ(CodeOf(plain), ErrorCode::kTaskError);
}

TEST_F(LeaseClient, AStaleReplyIsRefused) {
  HaveLease();
  const ObjectId task = Task();
  const rpc::CallRequest first = SentOne<rpc::CallRequest>();
  Died(kPeer);
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 2}, kPeer2);
  Connected(kPeer2);
  const rpc::CallRequest second = SentOne<rpc::CallRequest>();
  Reply(first, Inline("late"), {}, kPeer2);  // of attempt 0
  EXPECT_FALSE(IsDone(task));
  Reply(second, Inline("late"), {}, kPeer);  // from the dead
  EXPECT_FALSE(IsDone(task));
  Reply(second, Inline("right"), {}, kPeer2);
  EXPECT_EQ(ValueOf(task), "right");
}

TEST_F(LeaseClient, ARefusalThatPassesIsAskedAgain) {
  const ObjectId task = Task();
  rpc::LeaseGrant refusal;
  refusal.request = SentOne<rpc::LeaseRequest>().request;
  refusal.error = Error(ErrorCode::kWorkerLimit, "64 workers run");
  FromDaemon(refusal);
  EXPECT_FALSE(IsDone(task));
  EXPECT_TRUE(Sent<rpc::LeaseRequest>().empty()) << "not at once";
  Pass(milliseconds(150));
  EXPECT_EQ(Sent<rpc::LeaseRequest>().size(), 1u);
}

TEST_F(LeaseClient, ARefusalForGoodEndsTheTasksOfThatShape) {
  const ObjectId task = Task();
  SubmitCall other;
  other.shape = ResourceSet{{"GPU", base::Fixed(1)}};
  const ObjectId gpu = Submit(std::move(other));
  rpc::LeaseGrant refusal;
  refusal.request = Sent<rpc::LeaseRequest>()[0].request;
  refusal.error = Error(ErrorCode::kInvalidArgument, "no node will ever have this");
  FromDaemon(refusal);
  EXPECT_EQ(CodeOf(task), ErrorCode::kInvalidArgument);
  EXPECT_FALSE(IsDone(gpu));
}

TEST_F(LeaseClient, WorkersThatNeverStartEndTheTasks) {
  const ObjectId task = Task();
  for (int i = 0; i < 5; ++i) {
    const auto requests = Sent<rpc::LeaseRequest>();
    ASSERT_EQ(requests.size(), 1u) << i;
    rpc::LeaseGrant refusal;
    refusal.request = requests[0].request;
    refusal.error = Error(ErrorCode::kWorkerDied, "the worker exited with status 1 when it started");
    FromDaemon(refusal);
    Pass(milliseconds(200));
  }
  EXPECT_EQ(CodeOf(task), ErrorCode::kWorkerDied);
}

TEST_F(LeaseClient, ATimeoutEndsAnUnsentTaskWithTheReasonItWaits) {
  SubmitCall call;
  call.shape = cpu_;
  call.timeout = milliseconds(50);
  const ObjectId task = Submit(std::move(call));
  const uint64_t request = SentOne<rpc::LeaseRequest>().request;
  FromDaemon(rpc::LeasePending{.caller = kSelf, .request = request, .reason = "all CPUs are in use"});
  Pass(milliseconds(60));
  EXPECT_EQ(CodeOf(task), ErrorCode::kTimeout);
  EXPECT_NE(ErrorOf(task).message.find("all CPUs are in use"), std::string::npos);
  EXPECT_FALSE(ErrorOf(task).may_have_run);
  EXPECT_EQ(Sent<rpc::LeaseCancel>().size(), 1u);
}

TEST_F(LeaseClient, ATimeoutForWantOfAWorkerSaysThatThereAreNoMore) {
  SubmitCall call;
  call.shape = cpu_;
  call.timeout = milliseconds(50);
  const ObjectId task = Submit(std::move(call));
  const uint64_t request = SentOne<rpc::LeaseRequest>().request;
  FromDaemon(rpc::LeasePending{.caller = kSelf, .request = request, .reason = "64 workers run", .worker_limit = true});
  Pass(milliseconds(60));
  EXPECT_EQ(CodeOf(task), ErrorCode::kWorkerLimit);
}

TEST_F(LeaseClient, ATimeoutEndsASentTaskAndTheLateReplyIsIgnored) {
  HaveLease();
  SubmitCall call;
  call.shape = cpu_;
  call.timeout = milliseconds(50);
  const ObjectId task = Submit(std::move(call));
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  EXPECT_EQ(request.deadline_ns, 50'000'000u);
  Pass(milliseconds(60));
  EXPECT_EQ(CodeOf(task), ErrorCode::kTimeout);
  EXPECT_TRUE(ErrorOf(task).may_have_run);
  EXPECT_EQ(SentOne<rpc::CallCancel>().call, request.call);
  EXPECT_EQ(core_.counts().calls_late, 1u);
  Drop(task);
  Reply(request, Inline("late"));
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(LeaseClient, CancelOfAPushedTaskLetsTheReplyDecide) {
  HaveLease();
  const ObjectId taken_back = Task();
  const ObjectId ran = Task();
  const auto calls = Sent<rpc::CallRequest>();
  Feed(CancelCall{taken_back});
  Feed(CancelCall{ran});
  EXPECT_EQ(Sent<rpc::CallCancel>(kPeer).size(), 2u);
  EXPECT_FALSE(IsDone(taken_back));
  ReplyNotExecuted(calls[0], ErrorCode::kCancelled);
  Reply(calls[1], Inline("it ran"));
  EXPECT_EQ(CodeOf(taken_back), ErrorCode::kCancelled);
  EXPECT_EQ(ValueOf(ran), "it ran");
}

TEST_F(LeaseClient, AWorkerThatCannotBeReachedCostsNothing) {
  const ObjectId task = Task({}, 0);
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 1});
  Feed(PeerUnreachable{kPeer, "connection refused"});
  EXPECT_EQ(Sent<rpc::LeaseReturn>().size(), 1u);
  Died(kPeer);
  Pass(milliseconds(150));
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 2}, kPeer2);
  Connected(kPeer2);
  Reply(SentOne<rpc::CallRequest>(), Inline("ok"), {}, kPeer2);
  EXPECT_EQ(ValueOf(task), "ok");
}

TEST_F(LeaseClient, AnOrphanGrantOfADeadWorkerIsForgotten) {
  Task();
  Died(kPeer);
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 1}, kPeer);
  EXPECT_TRUE(Take<Connect>().empty());
  EXPECT_EQ(Sent<rpc::LeaseRequest>().size(), 1u) << "it asks for another one";
}

TEST_F(LeaseClient, DeeperTasksAskForThemselves) {
  Task();
  EXPECT_EQ(SentOne<rpc::LeaseRequest>().depth, 0u);
  SubmitCall deep;
  deep.shape = cpu_;
  deep.depth = 3;
  Submit(std::move(deep));
  EXPECT_EQ(SentOne<rpc::LeaseRequest>().depth, 3u);
}

TEST_F(LeaseClient, SaysWhyATaskThatSomebodyWaitsForWaits) {
  const ObjectId task = Task();
  Feed(RefWanted{task});
  const uint64_t request = SentOne<rpc::LeaseRequest>().request;
  FromDaemon(rpc::LeasePending{.caller = kSelf, .request = request, .reason = "busy"});
  FromDaemon(rpc::LeasePending{.caller = kSelf, .request = request, .reason = "busy"});
  const auto waiting = Take<WaitingFor>();
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].object, task);
  EXPECT_EQ(waiting[0].reason, "busy");
}

TEST_F(LeaseClient, TasksWithHintsHaveLeasesOfTheirOwn) {
  SubmitCall here;
  here.function = 7;
  here.shape = cpu_;
  here.hint = {.affinity = 9, .affinity_hard = true};
  const ObjectId waits = Submit(std::move(here));
  Task();
  const auto requests = Sent<rpc::LeaseRequest>();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].hint, (rpc::SchedulingHint{.affinity = 9, .affinity_hard = true}));
  EXPECT_EQ(requests[1].hint, rpc::SchedulingHint());
  rpc::LeaseGrant refusal;
  refusal.caller = kSelf;
  refusal.request = requests[0].request;
  refusal.error.code = ErrorCode::kNodeDied;
  refusal.error.message = "node n9 has died";
  FromDaemon(refusal);
  EXPECT_EQ(ErrorOf(waits).code, ErrorCode::kNodeDied) << "no other node may run it";
}

TEST_F(LeaseClient, ATaskThatIsSpreadHasALeaseForItself) {
  for (int i = 0; i < 3; ++i) {
    SubmitCall call;
    call.function = 7;
    call.shape = cpu_;
    call.hint = {.spreading = rpc::Spreading::kSpread};
    Submit(std::move(call));
  }
  const auto requests = Sent<rpc::LeaseRequest>();
  ASSERT_EQ(requests.size(), 3u);
  Grant(requests[0].request, {kNode, 4});
  Connected();
  Reply(SentOne<rpc::CallRequest>(kPeer), Inline("1"));
  EXPECT_EQ(SentOne<rpc::LeaseReturn>(kDaemon).lease, (LeaseId{kNode, 4}));
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "the other two wait for leases of their own";
}

}  // namespace
}  // namespace manta::runtime

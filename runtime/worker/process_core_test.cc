#include "runtime/worker/process_core.h"

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ErrorCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

class ProcessCoreTest : public ProcessFixture {};

TEST_F(ProcessCoreTest, ManyResultsOfOneCall) {
  HaveLease();
  SubmitCall call;
  call.number = ++last_number_;
  call.shape = cpu_;
  call.function = 7;
  call.returns = {201, 202, 203};
  const uint64_t number = call.number;
  Feed(std::move(call));
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  EXPECT_EQ(request.return_count, 3u);
  Drop(ObjectId{kSelf, number, 1}, 202);
  rpc::CallReply reply;
  reply.call = request.call;
  reply.returns = {Inline("a"), Inline("b"), Inline("c")};
  From(kPeer, std::move(reply));
  EXPECT_EQ(ValueOf(201) + ValueOf(203), "ac");
  EXPECT_FALSE(IsDone(202)) << "it was dropped";
  EXPECT_EQ(core_.counts().objects_owned, 2u);
  Drop(ObjectId{kSelf, number, 0}, 201);
  Drop(ObjectId{kSelf, number, 2}, 203);
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(ProcessCoreTest, ACallWithoutHandlesRuns) {
  HaveLease();
  SubmitCall call;
  call.number = ++last_number_;
  call.shape = cpu_;
  call.function = 7;
  Feed(std::move(call));
  rpc::CallReply reply;
  reply.call = SentOne<rpc::CallRequest>().call;
  From(kPeer, std::move(reply));
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

rpc::Value WithRefs(size_t count) {
  rpc::Value value = Inline("v");
  for (size_t i = 0; i < count; ++i) value.refs.push_back({ObjectId{kPeer, i + 1, 0}, {}});
  return value;
}

TEST_F(ProcessCoreTest, WhatNoMessageCouldCarryIsRefusedBeforeAnythingIsSent) {
  HaveLease();
  const size_t too_many = rpc::kValuesBytesMax / 64;
  const ObjectId put = Put(WithRefs(too_many));
  EXPECT_EQ(CodeOf(put), ErrorCode::kInvalidArgument);
  EXPECT_NE(ErrorOf(put).message.find("too large"), std::string::npos);
  EXPECT_EQ(CodeOf(Task({WithRefs(too_many / 2), WithRefs(too_many / 2)})), ErrorCode::kInvalidArgument);
  EXPECT_EQ(CodeOf(Task({Inline(std::string(rpc::kValuesBytesMax, 'x'))})), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  // Arguments that are small refs to large values.
  const ObjectId half = Put(Inline(std::string(rpc::kValuesBytesMax / 2, 'x')));
  EXPECT_EQ(CodeOf(Task({RefTo(half), RefTo(half)})), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  EXPECT_FALSE(IsDone(Task({RefTo(half)}))) << "it runs";
}

TEST_F(ProcessCoreTest, TheWrongNumberOfResultsIsAnError) {
  HaveLease();
  const ObjectId task = Task();
  rpc::CallReply reply;
  reply.call = SentOne<rpc::CallRequest>().call;
  From(kPeer, std::move(reply));
  EXPECT_EQ(CodeOf(task), ErrorCode::kInternal);
}

TEST_F(ProcessCoreTest, DroppingAllHandlesDoesNotCancel) {
  const ObjectId task = Task();
  Drop(task);
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 1});
  Connected();
  Reply(SentOne<rpc::CallRequest>(), Inline("x"));
  EXPECT_FALSE(IsDone(task));
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(ProcessCoreTest, WhenTheDaemonIsLostEverythingEnds) {
  HaveLease();
  const ObjectId sent = Task();
  const ObjectId behind = Task({RefTo(sent)});
  const ActorId actor = Create();
  const ObjectId call = CallActor(actor);
  const Cookie borrowed = AddHandle({kFarPeer, 3, 0});
  Feed(FindActor{"", "x", 5});
  Forget();
  Feed(DaemonLost{});
  for (const ObjectId& object : {sent, behind, call}) EXPECT_EQ(CodeOf(object), ErrorCode::kNodeDied);
  EXPECT_TRUE(ErrorOf(sent).may_have_run);
  EXPECT_FALSE(ErrorOf(behind).may_have_run);
  EXPECT_EQ(ErrorOf(actor.number).code, ErrorCode::kNodeDied);
  EXPECT_EQ(ErrorOf(borrowed).code, ErrorCode::kNodeDied);
  EXPECT_EQ(Take<ActorLookedUp>().size(), 1u);
  // So does whatever comes later.
  EXPECT_EQ(CodeOf(Task()), ErrorCode::kNodeDied);
  EXPECT_EQ(CodeOf(CallActor(kActor)), ErrorCode::kNodeDied);
  EXPECT_EQ(ErrorOf(Create().number).code, ErrorCode::kNodeDied);
  EXPECT_EQ(ErrorOf(AddHandle({kFarPeer, 4, 0})).code, ErrorCode::kNodeDied);
  EXPECT_EQ(CodeOf(Put(Stored({}, kNode))), ErrorCode::kNodeDied);
  EXPECT_EQ(ValueOf(Put(Inline("still"))), "still");
  EXPECT_TRUE(Order().empty());
  EXPECT_EQ(core_.counts().leases, 0u);
  EXPECT_EQ(core_.counts().calls_pending, 0u);
  EXPECT_EQ(core_.next_deadline(), Time::max());
}

TEST_F(ProcessCoreTest, ShutdownCancelsWhatIsUnsentAndWaitsForTheRest) {
  HaveLease();
  const ObjectId sent = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  SubmitCall other;
  other.function = 50;  // not known to be fast: it waits for a lease
  other.shape = cpu_;
  const ObjectId unsent = Submit(std::move(other));
  const ObjectId waits = Task({RefTo(unsent)});
  const ObjectId to_actor = CallActor(kActor);
  const ActorId creation = Create({RefTo(sent)});
  Forget();
  Feed(BeginShutdown{});
  for (const ObjectId& object : {unsent, waits, to_actor}) EXPECT_EQ(CodeOf(object), ErrorCode::kCancelled);
  EXPECT_EQ(ErrorOf(creation.number).code, ErrorCode::kCancelled);
  EXPECT_EQ(Sent<rpc::LeaseCancel>().size(), 1u);
  EXPECT_EQ(CodeOf(Task()), ErrorCode::kShutdown);
  Reply(request, Inline("delivered"));
  EXPECT_EQ(ValueOf(sent), "delivered");
  Pass(milliseconds(0));
  EXPECT_EQ(Sent<rpc::LeaseReturn>().size(), 1u) << "nothing lingers";
}

TEST_F(ProcessCoreTest, AfterShutdownNothingIsTriedAgain) {
  HaveLease();
  const ObjectId sent = Task();
  Feed(BeginShutdown{});
  ReplyNotExecuted(SentOne<rpc::CallRequest>());
  EXPECT_EQ(CodeOf(sent), ErrorCode::kCancelled);
}

TEST_F(ProcessCoreTest, EveryDeathIsAnsweredOnce) {
  Died(kPeer);
  Died(kPeer);
  NodeDies(kOtherNode);
  NodeDies(kOtherNode);
  Died(kFarPeer);  // went with its node
  const auto drained = Sent<rpc::DeathDrained>(kDaemon);
  ASSERT_EQ(drained.size(), 2u);
  EXPECT_EQ(drained[0].process, kPeer);
  EXPECT_EQ(drained[0].by, kNode);
  EXPECT_EQ(drained[1].process, DaemonOf(kOtherNode));
}

TEST_F(ProcessCoreTest, AConnectedPeersDeathClosesItsChannel) {
  HaveLease();
  Died(kPeer);
  const auto closed = Take<Disconnect>();
  ASSERT_EQ(closed.size(), 1u);
  EXPECT_EQ(closed[0].peer, kPeer);
}

TEST_F(ProcessCoreTest, CancelOfSomebodyElsesCallIsLogged) {
  Feed(CancelCall{{kPeer, 5, 0}});
  EXPECT_EQ(Take<LogLine>().size(), 1u);
  EXPECT_TRUE(Order().empty());
}

TEST_F(ProcessCoreTest, CancelTwiceAndCancelOfADoneCallDoNothing) {
  HaveLease();
  const ObjectId task = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Feed(CancelCall{task});
  Feed(CancelCall{task});
  EXPECT_EQ(Sent<rpc::CallCancel>().size(), 1u);
  Reply(request, Inline("x"));
  Feed(CancelCall{task});
  EXPECT_TRUE(Sent<rpc::CallCancel>().empty());
  EXPECT_EQ(ValueOf(task), "x");
}

TEST_F(ProcessCoreTest, SaysWhatAPendingResultWaitsFor) {
  const ObjectId arg = Task();
  const ObjectId task = Task({RefTo(arg)});
  Feed(RefWanted{task});
  AddHandle(kActor.handle());
  const ObjectId call = CallActor(kActor);
  Feed(RefWanted{call});
  const auto waiting = Take<WaitingFor>();
  ASSERT_EQ(waiting.size(), 2u);
  EXPECT_EQ(waiting[0].object, task);
  EXPECT_NE(waiting[0].reason.find("arguments"), std::string::npos);
  EXPECT_NE(waiting[1].reason.find("asked for, and not answered yet"), std::string::npos);
}

TEST_F(ProcessCoreTest, AMessageThatTheSenderMayNotSendIsIgnored) {
  From(kPeer, rpc::ProcessDied{.process = kPeer2, .reason = "says who?"});
  From(kPeer, rpc::LeaseGrant{});
  EXPECT_EQ(Take<LogLine>().size(), 2u);
  EXPECT_TRUE(Order().empty());
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/worker/ref_table.h"

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ErrorCode;
using std::chrono::milliseconds;
using Names = std::vector<std::string>;

constexpr ObjectId kBorrowed{{kNode, 8}, 5, 0};
constexpr ObjectId kBorrowed2{{kNode, 8}, 6, 0};
constexpr ObjectId kFar{{kOtherNode, 7}, 5, 0};

class RefTable : public ProcessFixture {
 protected:
  // This process hosts an actor; returns a call that runs with these arguments.
  rpc::CallRequest Running(std::vector<rpc::Value> args, uint64_t number = 1) {
    if (!hosting_) Host();
    hosting_ = true;
    const rpc::CallRequest request = MethodFrom(kPeer, number, ++sequence_, std::move(args));
    EXPECT_EQ(Take<Execute>().size(), 1u);
    return request;
  }
  bool hosting_ = false;
  uint64_t sequence_ = 0;
};

// ---------------------------------------------------------------- own objects

TEST_F(RefTable, ARefThatStaysInItsProcessCostsNoMessage) {
  const ObjectId put = Put(Inline("1"));
  EXPECT_EQ(ValueOf(put), "1");
  const Cookie again = AddHandle(put);
  EXPECT_EQ(ValueOf(again), "1");
  Drop(put, again);
  Drop(put);
  EXPECT_TRUE(Order().empty());
  ExpectNothingLeft();
}

TEST_F(RefTable, ANestedRefIsPublishedAndTicketedBeforeTheCall) {
  HaveLease();
  const ObjectId put = Put(Inline("1"));
  const ObjectId call = Task({Nest("n", {put})});
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "RefTicket", "CallRequest"}));
  const rpc::ObjectPublish publish = SentOne<rpc::ObjectPublish>(kDaemon);
  EXPECT_EQ(publish.object, put);
  EXPECT_FALSE(publish.pending);
  EXPECT_EQ(publish.value.bytes.view(), "1");
  const rpc::RefTicket ticket = SentOne<rpc::RefTicket>(kDaemon);
  EXPECT_EQ(ticket.ticket, (TicketId{{kSelf, call.number}, 0, 0, false}));
  EXPECT_EQ(ticket.holder, kSelf);
  EXPECT_EQ(ticket.receiver, ProcessId{});
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();

  Drop(put);  // the call still holds it
  EXPECT_TRUE(Order().empty());
  Reply(request, Inline(""), {0});
  EXPECT_EQ(Order(), (Names{"RefOutcome", "RefRelease"}));
  EXPECT_EQ(SentOne<rpc::RefOutcome>().kept_by, kPeer);
  const rpc::RefRelease release = SentOne<rpc::RefRelease>();
  EXPECT_EQ(release.object, put);
  EXPECT_EQ(release.borrow, 0u);
}

TEST_F(RefTable, APendingRefIsPublishedAgainWhenItResolves) {
  HaveLease();
  const ObjectId pending = Task();
  const rpc::CallRequest first = SentOne<rpc::CallRequest>();
  const ObjectId user = Task({Nest("n", {pending})});
  EXPECT_TRUE(SentOne<rpc::ObjectPublish>().pending);
  const rpc::CallRequest second = SentOne<rpc::CallRequest>();
  Forget();
  Drop(pending);
  Reply(first, Inline("late"));
  EXPECT_EQ(SentOne<rpc::ObjectPublish>().value.bytes.view(), "late");
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty()) << "the second call holds it";
  Reply(second, Inline("x"));
  EXPECT_EQ(Order(), (Names{"RefOutcome", "RefRelease"}));
  EXPECT_EQ(ValueOf(user), "x");
}

TEST_F(RefTable, ADroppedPendingRefIsKeptUntilItIsPublished) {
  HaveLease();
  const ObjectId pending = Task();
  const rpc::CallRequest first = SentOne<rpc::CallRequest>();
  Task({Nest("n", {pending})});
  Reply(SentOne<rpc::CallRequest>(), Inline("x"), {0});
  Drop(pending);
  Forget();
  ReplyError(first, Error(ErrorCode::kTaskError, "no"));
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "RefRelease"}));
  EXPECT_EQ(SentOne<rpc::ObjectPublish>().error.message, "no");
}

TEST_F(RefTable, NestingIsPublishedFromTheInside) {
  HaveLease();
  const ObjectId inner = Put(Inline("i"));
  const ObjectId middle = Put(Nest("m", {inner}));
  const ObjectId outer = Put(Nest("o", {middle, inner}));
  Drop(inner);
  Drop(middle);
  Task({Nest("n", {outer})});
  const auto published = Sent<rpc::ObjectPublish>();
  ASSERT_EQ(published.size(), 3u);
  EXPECT_EQ(published[0].object, inner);
  EXPECT_EQ(published[1].object, middle);
  EXPECT_EQ(published[2].object, outer);
  EXPECT_EQ(Sent<rpc::RefTicket>().size(), 1u) << "only what the message itself carries";
  Drop(outer);
  Reply(SentOne<rpc::CallRequest>(), Inline(""));
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 3u) << "the values held what was nested in them";
}

TEST_F(RefTable, ALongChainOfNestedRefsIsNoRecursion) {
  HaveLease();
  ObjectId last = Put(Inline("end"));
  for (int i = 0; i < 50'000; ++i) {
    const ObjectId next = Put(Nest("n", {last}));
    Drop(last);
    last = next;
  }
  const ObjectId user = Task({Nest("n", {last})});
  EXPECT_EQ(Sent<rpc::ObjectPublish>().size(), 50'001u);
  Reply(SentOne<rpc::CallRequest>(), Inline(""));
  Drop(last);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 50'001u);
  Drop(user);
  EXPECT_EQ(core_.counts().objects_owned, 0u);
}

TEST_F(RefTable, AStoredPutIsSealedAndReleased) {
  const ObjectId inner = Put(Inline("i"));
  rpc::Value value = Stored({}, kNode);
  value.refs.push_back({inner, {}});
  const ObjectId put = Put(value);
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "ObjectSeal"}));
  const rpc::ObjectSeal seal = SentOne<rpc::ObjectSeal>(kDaemon);
  EXPECT_EQ(seal.object, put);
  EXPECT_EQ(seal.holder, kSelf);
  EXPECT_EQ(seal.refs.size(), 1u);
  EXPECT_TRUE(IsDone(put));
  Forget();
  Drop(inner);
  Drop(put);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 2u);
  ExpectNothingLeft();
}

TEST_F(RefTable, AStoredResultIsReleasedWithTheNodeItWasSealedOn) {
  HaveLease();
  const ObjectId result = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Reply(request, Stored(result, kOtherNode));
  EXPECT_FALSE(IsDone(result)) << "it is not on this node";
  const auto elsewhere = Take<Elsewhere>();
  ASSERT_EQ(elsewhere.size(), 1u) << "the call has ended all the same";
  EXPECT_EQ(elsewhere[0].handle, result.number);
  EXPECT_TRUE(Sent<rpc::ObjectResolve>(kDaemon).empty()) << "nobody wants it yet";
  Feed(RefWanted{result});
  Feed(RefWanted{result});
  EXPECT_EQ(SentOne<rpc::ObjectResolve>(kDaemon).object, result);
  Resolved(result, Stored(result, kNode));
  EXPECT_TRUE(IsDone(result));
  Drop(result);
  const rpc::RefRelease release = SentOne<rpc::RefRelease>();
  EXPECT_EQ(release.borrow, 0u);
  EXPECT_EQ(release.sealed_on, kOtherNode);
}

TEST_F(RefTable, AStoredResultGoesOnAsALocationWithATicket) {
  HaveLease();
  const ObjectId result = Task();
  Reply(SentOne<rpc::CallRequest>(), Stored(result, kOtherNode));
  Task({RefTo(result)});
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "RefTicket", "CallRequest"}));
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  EXPECT_EQ(request.args[0].kind, rpc::Value::Kind::kStored);
  EXPECT_EQ(request.args[0].object, result);
  EXPECT_EQ(request.args[0].location.node, kOtherNode);
}

TEST_F(RefTable, ASmallArgumentIsCopiedIn) {
  HaveLease();
  const ObjectId put = Put(Inline("5"));
  Task({RefTo(put)});
  EXPECT_EQ(Order(), (Names{"CallRequest"}));
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  EXPECT_EQ(request.args[0].kind, rpc::Value::Kind::kInline);
  EXPECT_EQ(request.args[0].bytes.view(), "5");
  Drop(put);
  EXPECT_EQ(core_.counts().objects_owned, 1u) << "the call's own result";
}

TEST_F(RefTable, AnErroredArgumentIsTheCallsError) {
  HaveLease();
  const ObjectId bad = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ObjectId user = Task({RefTo(bad)});
  const ObjectId users_user = Task({RefTo(user), RefTo(bad)});
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  ReplyError(request, Error(ErrorCode::kTaskError, "root cause"));
  EXPECT_EQ(ErrorOf(user).message, "root cause");
  EXPECT_EQ(ErrorOf(users_user).message, "root cause");
  const ObjectId later = Task({RefTo(bad)});
  EXPECT_EQ(ErrorOf(later).message, "root cause");
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
}

TEST_F(RefTable, TicketsOfARetryAreItsOwn) {
  HaveLease();
  const ObjectId put = Put(Inline("1"));
  Task({Nest("n", {put})});
  const rpc::CallRequest first = SentOne<rpc::CallRequest>();
  Forget();
  ReplyNotExecuted(first);
  const rpc::RefOutcome outcome = SentOne<rpc::RefOutcome>();
  EXPECT_EQ(outcome.ticket.attempt, 0u);
  EXPECT_EQ(outcome.kept_by, ProcessId{});
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 2});
  EXPECT_EQ(SentOne<rpc::RefTicket>().ticket.attempt, 1u);
}

TEST_F(RefTable, WhatALostAttemptMayHaveSealedIsReleased) {
  HaveLease();
  const ObjectId task = Task({}, 1);
  Forget();
  Died(kPeer);
  Grant(SentOne<rpc::LeaseRequest>().request, {kNode, 2}, kPeer2);
  Connected(kPeer2);
  Reply(SentOne<rpc::CallRequest>(), Inline("small this time"), {}, kPeer2);
  Drop(task);
  EXPECT_EQ(SentOne<rpc::RefRelease>().object, task);
}

TEST_F(RefTable, AStaleReplysRefsAndSealsAreDealtWith) {
  HaveLease();
  SubmitCall call;
  call.shape = cpu_;
  call.timeout = milliseconds(5);
  const ObjectId task = Submit(std::move(call));
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Pass(milliseconds(6));
  Drop(task);
  Forget();
  rpc::Value late = Stored(task, kOtherNode);
  late.refs.push_back({kBorrowed, {}});
  Reply(request, late);
  const rpc::RefOutcome outcome = SentOne<rpc::RefOutcome>();
  EXPECT_EQ(outcome.ticket, (TicketId{{kSelf, task.number}, 0, 1, true}));
  const rpc::RefRelease release = SentOne<rpc::RefRelease>();
  EXPECT_EQ(release.object, task);
  EXPECT_EQ(release.sealed_on, kOtherNode);
  Pass(milliseconds(10));
  ExpectNothingLeft();
}

// ---------------------------------------------------------------- borrowed objects

TEST_F(RefTable, ABorrowedRefIsRegisteredResolvedAndReleased) {
  const Cookie handle = AddHandle(kBorrowed);
  const rpc::RefRegister registered = SentOne<rpc::RefRegister>(kDaemon);
  EXPECT_EQ(registered.holder, kSelf);
  EXPECT_EQ(registered.ticket.call.number, 0u);
  Feed(RefWanted{kBorrowed});
  EXPECT_EQ(Sent<rpc::ObjectResolve>().size(), 1u);
  const Cookie second = AddHandle(kBorrowed);
  Resolved(kBorrowed, Inline("v"));
  EXPECT_EQ(ValueOf(handle), "v");
  EXPECT_EQ(ValueOf(second), "v");
  Drop(kBorrowed, handle);
  Drop(kBorrowed, second);
  EXPECT_EQ(SentOne<rpc::RefRelease>().borrow, registered.borrow);
  const Cookie third = AddHandle(kBorrowed);
  EXPECT_GT(SentOne<rpc::RefRegister>().borrow, registered.borrow) << "numbers rise with each borrow";
  Drop(kBorrowed, third);
  ExpectNothingLeft();
}

TEST_F(RefTable, AHintOnTheOwnNodeAsksNobody) {
  const Cookie handle = AddHandle(kFar, {kNode, 5, 0, 100});
  EXPECT_TRUE(IsDone(handle));
  EXPECT_TRUE(Sent<rpc::ObjectResolve>().empty());
  // The copy has gone: asked again.
  Feed(RefWanted{kFar});
  EXPECT_EQ(Sent<rpc::ObjectResolve>().size(), 1u);
  const Cookie second = AddHandle(kFar);
  EXPECT_FALSE(IsDone(second));
  Resolved(kFar, Stored(kFar, kNode, 6));
  EXPECT_EQ(done_.at(second).value.location.segment, 6u);
}

TEST_F(RefTable, ACallWaitsForABorrowedArgument) {
  HaveLease();
  AddHandle(kBorrowed);
  const ObjectId task = Task({RefTo(kBorrowed)});
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  EXPECT_EQ(Sent<rpc::ObjectResolve>().size(), 1u);
  Resolved(kBorrowed, Inline("v"));
  EXPECT_EQ(SentOne<rpc::CallRequest>().args[0].bytes.view(), "v");
  EXPECT_FALSE(IsDone(task));
}

TEST_F(RefTable, RefsNestedInAReplyAreRegisteredWithItsTickets) {
  HaveLease();
  const ObjectId put = Put(Inline("mine"));
  const ObjectId task = Task();
  Reply(SentOne<rpc::CallRequest>(), Nest("r", {kBorrowed, put, kBorrowed}));
  const rpc::RefRegister registered = SentOne<rpc::RefRegister>();
  EXPECT_EQ(registered.object, kBorrowed);
  EXPECT_EQ(registered.ticket, (TicketId{{kSelf, task.number}, 0, 0, true}));
  const auto ended = Sent<rpc::RefOutcome>();
  ASSERT_EQ(ended.size(), 2u) << "what it owns or holds already";
  EXPECT_EQ(ended[0].object, put);
  EXPECT_EQ(ended[1].ticket.index, 2u);
  // The value holds it until the result is dropped.
  const Cookie handle = AddHandle(kBorrowed);
  Drop(task);
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty());
  Drop(kBorrowed, handle);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 1u);
}

TEST_F(RefTable, AMadeUpIdOfOursIsAnErrorAndNoCrash) {
  const ObjectId made_up{kSelf, 1'000'000, 0};
  const Cookie handle = AddHandle(made_up);
  EXPECT_EQ(ErrorOf(handle).code, ErrorCode::kObjectLost);
  Drop(made_up, handle);
  HaveLease();
  const ObjectId task = Task();
  Reply(SentOne<rpc::CallRequest>(), Nest("r", {made_up}));
  EXPECT_TRUE(IsDone(task));
  EXPECT_FALSE(done_.at(task.number).value.refs[0].object);
  Drop(task);
}

TEST_F(RefTable, AnOwnObjectThatComesBackAfterItsReleaseIsBorrowed) {
  HaveLease();
  const ObjectId put = Put(Inline("1"));
  Task({Nest("n", {put})});
  Drop(put);
  Reply(SentOne<rpc::CallRequest>(), Inline(""), {0});
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 1u);
  const Cookie back = AddHandle(put);
  const rpc::RefRegister registered = SentOne<rpc::RefRegister>();
  EXPECT_EQ(registered.holder, kSelf);
  EXPECT_GT(registered.borrow, 0u);
  Feed(RefWanted{put});
  Resolved(put, Inline("1"));
  EXPECT_EQ(ValueOf(back), "1");
  Drop(put, back);
  EXPECT_EQ(SentOne<rpc::RefRelease>().borrow, registered.borrow);
}

TEST_F(RefTable, ObjectsOfADeadHomeAreLost) {
  const Cookie waits = AddHandle(kFar);
  Feed(RefWanted{kFar});
  const ObjectId user = Task({RefTo(kFar)});
  NodeDies(kOtherNode);
  EXPECT_EQ(ErrorOf(waits).code, ErrorCode::kObjectLost);
  EXPECT_EQ(CodeOf(user), ErrorCode::kObjectLost);
  Forget();
  Drop(kFar, waits);
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty()) << "nobody counts";
}

// ---------------------------------------------------------------- calls from others

TEST_F(RefTable, ARefThatUserCodeKeepsIsRegisteredBeforeTheReply) {
  const rpc::CallRequest request = Running({Nest("n", {kBorrowed, kBorrowed2})});
  const Cookie kept = AddHandle(kBorrowed);
  const Cookie dropped = AddHandle(kBorrowed2);
  Drop(kBorrowed2, dropped);
  EXPECT_TRUE(Order().empty()) << "the call's ticket covers both";
  Finish(request);
  EXPECT_EQ(Order(), (Names{"RefRegister", "CallReply"}));
  const rpc::RefRegister registered = SentOne<rpc::RefRegister>();
  EXPECT_EQ(registered.object, kBorrowed);
  EXPECT_EQ(registered.ticket, (TicketId{request.call, 0, 0, false}));
  EXPECT_EQ(SentOne<rpc::CallReply>(kPeer).kept, std::vector<uint32_t>{0});

  // The next call with the same ref keeps it again: the registration, and not the caller's word, ends the ticket.
  const rpc::CallRequest next = Running({Nest("n", {kBorrowed})}, 2);
  Finish(next);
  EXPECT_EQ(SentOne<rpc::CallReply>().kept, std::vector<uint32_t>{0});
  Drop(kBorrowed, kept);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 1u);
}

TEST_F(RefTable, ARefPassedOnInACallIsKeptWhileThatCallLasts) {
  HaveLease();
  const rpc::CallRequest request = Running({Nest("n", {kBorrowed})});
  const Cookie handle = AddHandle(kBorrowed);
  Task({Nest("n", {kBorrowed})});
  EXPECT_EQ(SentOne<rpc::RefTicket>().object, kBorrowed);
  const rpc::CallRequest inner = SentOne<rpc::CallRequest>();
  Drop(kBorrowed, handle);
  Finish(request);
  EXPECT_EQ(SentOne<rpc::CallReply>().kept, std::vector<uint32_t>{0});
  EXPECT_EQ(Sent<rpc::RefRegister>().size(), 1u);
  Reply(inner, Inline(""));
  EXPECT_EQ(Order(), (Names{"RefOutcome", "RefRelease"}));
}

TEST_F(RefTable, ARefThatComesOutOfAReadValueIsRegisteredAtOnce) {
  const rpc::CallRequest request = Running({Nest("n", {kBorrowed})});
  const Cookie outer = AddHandle(kBorrowed);
  Feed(RefWanted{kBorrowed});
  Resolved(kBorrowed, Nest("v", {kBorrowed2}));
  AddHandle(kBorrowed2);  // by reading the value: no ticket covers it
  EXPECT_EQ(SentOne<rpc::RefRegister>().object, kBorrowed2);
  Drop(kBorrowed, outer);
  Finish(request);
  EXPECT_TRUE(SentOne<rpc::CallReply>().kept.empty());
}

TEST_F(RefTable, AReplysRefsAreTicketedForTheCaller) {
  const rpc::CallRequest request = Running({Nest("n", {kBorrowed})});
  const Cookie handle = AddHandle(kBorrowed);
  const ObjectId put = Put(Inline("own"));
  Finish(request, {Nest("r", {put, kBorrowed})});
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "RefTicket", "RefTicket", "RefRegister", "CallReply"}));
  const auto tickets = Sent<rpc::RefTicket>(kDaemon);
  EXPECT_EQ(tickets[0].object, put);
  EXPECT_EQ(tickets[0].receiver, kPeer);
  EXPECT_EQ(tickets[0].holder, kSelf);
  EXPECT_EQ(tickets[1].ticket, (TicketId{request.call, 0, 1, true}));
  Drop(put);
  Drop(kBorrowed, handle);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 2u);
}

TEST_F(RefTable, AStoredResultIsSealedForTheCallerBeforeTheReply) {
  const rpc::CallRequest request = Running({});
  const ObjectId inner = Put(Inline("i"));
  rpc::Value value = Stored({}, kNode);
  value.refs.push_back({inner, {}});
  Finish(request, {value});
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "ObjectSeal", "RefTicket", "CallReply"}));
  const rpc::ObjectSeal seal = SentOne<rpc::ObjectSeal>(kDaemon);
  EXPECT_EQ(seal.object, (ObjectId{kPeer, 1, 0}));
  EXPECT_EQ(seal.holder, kPeer);
  EXPECT_EQ(SentOne<rpc::RefTicket>().ticket.index, 1u);
}

TEST_F(RefTable, AStoredArgumentElsewhereIsFetchedBeforeTheCallRuns) {
  Host();
  const rpc::CallRequest first = MethodFrom(kPeer, 1, 1, {Stored(kFar, kOtherNode), Stored(kFar, kOtherNode)});
  MethodFrom(kPeer, 2, 2);
  MethodFrom(kPeer2, 1, 1);
  const auto ran = Take<Execute>();
  ASSERT_EQ(ran.size(), 1u) << "it holds up its own caller's calls, nobody else's";
  EXPECT_EQ(ran[0].request.call.caller, kPeer2);
  EXPECT_EQ(SentOne<rpc::ObjectResolve>().object, kFar);
  Finish(ran[0].request);
  Resolved(kFar, Stored(kFar, kNode));
  const auto next = Take<Execute>();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].request.call, first.call);
  EXPECT_EQ(next[0].request.args[1].location.node, kNode);
}

TEST_F(RefTable, ALostArgumentIsTheCallsError) {
  Host();
  MethodFrom(kPeer, 1, 1, {Stored(kFar, kOtherNode)});
  Resolved(kFar, {}, Error(ErrorCode::kObjectLost, "gone"));
  EXPECT_TRUE(Take<Execute>().empty());
  const rpc::CallReply reply = SentOne<rpc::CallReply>();
  EXPECT_EQ(reply.outcome, rpc::Outcome::kError);
  EXPECT_EQ(reply.error.message, "gone");
}

TEST_F(RefTable, WhenACallerDiesItsRefsAreRegisteredBeforeTheDrainIsReported) {
  const rpc::CallRequest runs = Running({Nest("n", {kBorrowed})});
  MethodFrom(kPeer, 2, 2, {Nest("n", {kBorrowed2})});
  Died(kPeer);
  EXPECT_EQ(Order(), (Names{"RefRegister", "RefRegister", "DeathDrained"}));
  const auto registered = Sent<rpc::RefRegister>();
  ASSERT_EQ(registered.size(), 2u);
  EXPECT_EQ(registered[1].ticket, (TicketId{{kPeer, 2}, 0, 0, false}));
  Forget();
  Finish(runs);
  EXPECT_TRUE(Sent<rpc::CallReply>().empty()) << "nobody is there to read it";
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 1u) << "nobody here refers to it any more";
  EXPECT_EQ(Take<Execute>().size(), 1u) << "what it had submitted still runs";
}

}  // namespace
}  // namespace manta::runtime

#include "runtime/worker/actor_stream.h"

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ActorState;
using rpc::ErrorCode;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Names = std::vector<std::string>;

class ActorStream : public ProcessFixture {
 protected:
  // An actor elsewhere that is alive on kPeer; its handle.
  Cookie Know(ActorId actor = kActor) {
    const Cookie handle = AddHandle(actor.handle());
    Feed(RefWanted{actor.handle()});
    Alive(actor);
    Forget();
    return handle;
  }
};

// ---------------------------------------------------------------- creation

TEST_F(ActorStream, CreatesAnActorAndCompletesItsHandle) {
  const ObjectId nested = Put(Inline("n"));
  const ActorId actor = Create({Nest("a", {nested})});
  EXPECT_EQ(Order(), (Names{"ObjectPublish", "RefTicket", "ActorCreate"}));
  EXPECT_EQ(SentOne<rpc::RefTicket>().ticket, (TicketId{{kSelf, actor.number}, 0, 0, false}));
  const rpc::ActorCreate create = SentOne<rpc::ActorCreate>(kDaemon);
  EXPECT_EQ(create.spec.actor, actor);
  EXPECT_EQ(create.spec.args.size(), 1u);
  Drop(nested);
  Forget();
  Update(actor, ActorState::kAlive, 1, kPeer, {0});
  EXPECT_TRUE(IsDone(actor.number));
  EXPECT_EQ(SentOne<rpc::RefOutcome>().kept_by, kPeer);
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty()) << "a restart needs the arguments";
  Drop(actor.handle(), actor.number);
  EXPECT_EQ(SentOne<rpc::RefRelease>().object, actor.handle()) << "the home ends it when nobody has a handle";
  Update(actor, ActorState::kDead, 1);
  EXPECT_EQ(SentOne<rpc::RefRelease>().object, nested);
  Drop(nested);
  ExpectNothingLeft();
}

TEST_F(ActorStream, ACreationWaitsForItsArguments) {
  HaveLease();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ActorId actor = Create({RefTo(arg)});
  EXPECT_TRUE(Sent<rpc::ActorCreate>().empty());
  const ObjectId call = CallActor(actor);
  EXPECT_TRUE(Sent<rpc::ActorWatch>().empty()) << "the directory tells the creator unasked";
  Reply(request, Inline("7"));
  EXPECT_EQ(SentOne<rpc::ActorCreate>().spec.args[0].bytes.view(), "7");
  Alive(actor);
  EXPECT_EQ(SentOne<rpc::CallRequest>().call.number, call.number);
}

TEST_F(ActorStream, AFailedArgumentFailsTheActorAndItsCalls) {
  HaveLease();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ActorId actor = Create({RefTo(arg)});
  const ObjectId call = CallActor(actor);
  ReplyError(request, Error(ErrorCode::kTaskError, "no argument"));
  EXPECT_EQ(ErrorOf(actor.number).message, "no argument");
  EXPECT_EQ(ErrorOf(call).message, "no argument");
  const ObjectId later = CallActor(actor);
  EXPECT_EQ(ErrorOf(later).message, "no argument");
  for (const ObjectId& object : {arg, call, later}) Drop(object);
  Drop(actor.handle(), actor.number);
  Pass(seconds(5));
  ExpectNothingLeft();
}

TEST_F(ActorStream, AHandleDroppedWhileTheCreationWaitsEndsTheActorOnlyThen) {
  HaveLease();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ActorId actor = Create({RefTo(arg)});
  Drop(actor.handle(), actor.number);
  Forget();
  Reply(request, Inline("7"));
  EXPECT_EQ(Order(), (Names{"ActorCreate", "RefRelease"}));
}

TEST_F(ActorStream, KillBeforeTheCreationIsSentEndsItAtOnce) {
  HaveLease();
  const ObjectId arg = Task();
  Forget();
  const ActorId actor = Create({RefTo(arg)});
  Feed(KillActor{actor, true});
  EXPECT_EQ(ErrorOf(actor.number).code, ErrorCode::kActorDied);
}

TEST_F(ActorStream, OthersHearOfAnActorThatFailedBeforeItsCreation) {
  HaveLease();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ActorId actor = Create({RefTo(arg)});
  Forget();
  ReplyError(request, Error(ErrorCode::kTaskError, "no argument"));
  const rpc::ActorCreate create = SentOne<rpc::ActorCreate>();
  EXPECT_EQ(create.spec.actor, actor);
  EXPECT_EQ(create.spec.constructor, 0u);
  EXPECT_FALSE(create.spec.placement.empty()) << "no node has such a thing";
  EXPECT_EQ(SentOne<rpc::ActorKill>().actor, actor);
}

TEST_F(ActorStream, AHandleThatLeavesBeforeTheCreationIsTicketed) {
  HaveLease();
  const ActorId actor = Create();
  Forget();
  Task({Nest("h", {actor.handle()})});
  EXPECT_EQ(Order(), (Names{"RefTicket", "CallRequest"}));
}

// ---------------------------------------------------------------- calls

TEST_F(ActorStream, NumbersCallsInOrderAndHoldsThemUntilItIsAlive) {
  AddHandle(kActor.handle());
  const ObjectId a = CallActor(kActor);
  const ObjectId b = CallActor(kActor);
  EXPECT_EQ(SentOne<rpc::ActorWatch>(kDaemon).watcher, kSelf);
  Update(kActor, ActorState::kAlive, 3);
  EXPECT_EQ(Take<Connect>().size(), 1u);
  Connected();
  const ObjectId c = CallActor(kActor);
  const auto calls = Sent<rpc::CallRequest>(kPeer);
  ASSERT_EQ(calls.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(calls[i].sequence, i + 1);
    EXPECT_EQ(calls[i].actor_incarnation, 3u);
    EXPECT_EQ(calls[i].actor, kActor);
  }
  Reply(calls[0], Inline("a"));
  Reply(calls[2], Inline("c"));
  Reply(calls[1], Inline("b"));
  EXPECT_EQ(ValueOf(a) + ValueOf(b) + ValueOf(c), "abc");
}

TEST_F(ActorStream, ACallThatWaitsForAnArgumentHoldsUpThoseBehindIt) {
  HaveLease(1, kPeer2);
  Know();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ObjectId waits = CallActor(kActor, {RefTo(arg)});
  const ObjectId behind = CallActor(kActor);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  Reply(request, Inline("1"), {}, kPeer2);
  const auto calls = Sent<rpc::CallRequest>(kPeer);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].call.number, waits.number);
  EXPECT_EQ(calls[1].call.number, behind.number);
}

TEST_F(ActorStream, AFailedOrCancelledHeadOfTheLineLetsTheOthersGo) {
  HaveLease(1, kPeer2);
  Know();
  const ObjectId arg = Task();
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  const ObjectId failed = CallActor(kActor, {RefTo(arg)});
  const ObjectId behind = CallActor(kActor);
  ReplyError(request, Error(ErrorCode::kTaskError), kPeer2);
  EXPECT_EQ(CodeOf(failed), ErrorCode::kTaskError);
  EXPECT_EQ(SentOne<rpc::CallRequest>().call.number, behind.number);

  const ObjectId arg2 = Task();
  const ObjectId cancelled = CallActor(kActor, {RefTo(arg2)});
  const ObjectId behind2 = CallActor(kActor);
  Sent<rpc::CallRequest>();
  Feed(CancelCall{cancelled});
  EXPECT_EQ(CodeOf(cancelled), ErrorCode::kCancelled);
  EXPECT_EQ(SentOne<rpc::CallRequest>().call.number, behind2.number);
}

TEST_F(ActorStream, CallsOnADeadActorFailAtOnce) {
  const Cookie handle = Know();
  Update(kActor, ActorState::kDead, 1);
  const ObjectId call = CallActor(kActor);
  EXPECT_EQ(ErrorOf(call).message, "the actor is gone");
  EXPECT_FALSE(ErrorOf(call).may_have_run);
  EXPECT_EQ(ErrorOf(call).chain, std::vector<std::string>{"F"});
  Drop(call);
  Drop(kActor.handle(), handle);
  ExpectNothingLeft();
}

TEST_F(ActorStream, OldAndRepeatedUpdatesAreIgnored) {
  Know();
  const rpc::ActorUpdate alive = last_update_;
  Update(kActor, ActorState::kRestarting, 2);
  FromDaemon(alive);
  const ObjectId call = CallActor(kActor);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "version " << alive.version << " is old news";
  Alive(kActor, 2, kPeer2);
  EXPECT_EQ(SentOne<rpc::CallRequest>(kPeer2).call.number, call.number);
}

TEST_F(ActorStream, WhatADeadActorsWorkerGivesBackEnds) {
  Know();
  const ObjectId call = CallActor(kActor);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Update(kActor, ActorState::kDead, 1);
  EXPECT_FALSE(IsDone(call)) << "it may have run";
  ReplyNotExecuted(request);
  EXPECT_EQ(CodeOf(call), ErrorCode::kActorDied);
  EXPECT_FALSE(ErrorOf(call).may_have_run);
}

TEST_F(ActorStream, WhoWatchesADeadActorIsToldAtOnce) {
  Know();
  Update(kActor, ActorState::kDead, 1);
  Forget();
  Feed(WatchActor{kActor});
  const auto changes = Take<ActorChanged>();
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].update.actor, kActor);
  EXPECT_EQ(changes[0].update.state, ActorState::kDead);
  EXPECT_EQ(changes[0].update.error.message, "the actor is gone");
}

TEST_F(ActorStream, SaysWhatAnActorThatIsBeingPlacedWaitsFor) {
  const ActorId actor = Create();
  const ObjectId call = CallActor(actor);
  Update(actor, ActorState::kPending, 1);
  rpc::ActorUpdate waits = last_update_;  // of the same version
  waits.waiting = "needs {GPU: 8}; node n1 has none";
  FromDaemon(waits);
  Feed(RefWanted{call});
  const auto waiting = Take<WaitingFor>();
  ASSERT_EQ(waiting.size(), 1u);
  EXPECT_EQ(waiting[0].object, call);
  EXPECT_EQ(waiting[0].reason, "the actor is being placed: needs {GPU: 8}; node n1 has none");
}

TEST_F(ActorStream, TellsWhichActorHasTheName) {
  SubmitActor create;
  create.spec.actor = {kSelf, ++last_number_};
  create.spec.name = "one";
  create.spec.get_if_exists = true;
  create.decided = 77;
  const ActorId actor = create.spec.actor;
  SubmitActor second = create;
  second.spec.actor = {kSelf, ++last_number_};
  second.decided = 78;
  Feed(std::move(create));
  Feed(second);
  EXPECT_TRUE(Take<ActorLookedUp>().empty());
  Update(actor, ActorState::kPending, 1);
  auto found = Take<ActorLookedUp>();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].cookie, 77u);
  EXPECT_EQ(found[0].actor, actor);
  rpc::ActorUpdate refused;
  refused.actor = second.spec.actor;
  refused.version = 1;
  refused.state = ActorState::kDead;
  refused.error = Error(ErrorCode::kNameTaken);
  refused.instead = actor;
  FromDaemon(refused);
  found = Take<ActorLookedUp>();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].cookie, 78u);
  EXPECT_EQ(found[0].actor, actor);
  Update(actor, ActorState::kAlive, 1);
  EXPECT_TRUE(Take<ActorLookedUp>().empty()) << "once";
}

// ---------------------------------------------------------------- kills

TEST_F(ActorStream, CallsAfterAKillAreForTheNextIncarnation) {
  Know();
  const rpc::ActorUpdate alive = last_update_;
  const ObjectId before = CallActor(kActor);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Feed(KillActor{kActor, false});
  const rpc::ActorKill kill = SentOne<rpc::ActorKill>(kDaemon);
  EXPECT_FALSE(kill.no_restart);
  EXPECT_EQ(kill.incarnation, 1u);
  const ObjectId after = CallActor(kActor);
  FromDaemon(alive);  // the directory has not heard of the kill
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  Reply(request, Inline("in time"));
  EXPECT_EQ(ValueOf(before), "in time");
  Pass(seconds(2));
  EXPECT_EQ(SentOne<rpc::ActorKill>().incarnation, 1u) << "it may have been lost";
  Died(kPeer);
  Alive(kActor, 2, kPeer2);
  EXPECT_EQ(SentOne<rpc::CallRequest>(kPeer2).call.number, after.number);
}

TEST_F(ActorStream, CallsAfterAKillForGoodEnd) {
  Know();
  Feed(KillActor{kActor, true});
  EXPECT_TRUE(SentOne<rpc::ActorKill>().no_restart);
  const ObjectId call = CallActor(kActor);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  Update(kActor, ActorState::kDead, 1);
  EXPECT_EQ(CodeOf(call), ErrorCode::kActorDied);
  EXPECT_FALSE(ErrorOf(call).may_have_run);
}

// ---------------------------------------------------------------- deaths

TEST_F(ActorStream, CallsAreTriedAgainAsOftenAsTheActorSays) {
  AddHandle(kActor.handle());
  Feed(RefWanted{kActor.handle()});
  rpc::ActorUpdate alive;
  alive.actor = kActor;
  alive.version = ++last_version_;
  alive.state = ActorState::kAlive;
  alive.incarnation = 1;
  alive.worker = kPeer;
  alive.max_task_retries = 1;
  SubmitCall submit;
  submit.actor = kActor;
  submit.max_retries = 0;
  submit.retries_of_actor = true;
  const ObjectId call = Submit(std::move(submit));
  FromDaemon(alive);
  Connected();
  SentOne<rpc::CallRequest>();
  Died(kPeer);
  EXPECT_FALSE(IsDone(call));
  Alive(kActor, 2, kPeer2);
  EXPECT_EQ(SentOne<rpc::CallRequest>(kPeer2).attempt, 1u);
  Died(kPeer2);
  EXPECT_EQ(CodeOf(call), ErrorCode::kActorDied) << "no try is left";
}

TEST_F(ActorStream, AWorkersDeathEndsWhatWasSentAndKeepsTheRest) {
  Know();
  const ObjectId sent = CallActor(kActor);
  Sent<rpc::CallRequest>();
  Died(kPeer);
  EXPECT_EQ(CodeOf(sent), ErrorCode::kActorDied);
  EXPECT_TRUE(ErrorOf(sent).may_have_run);
  const ObjectId unsent = CallActor(kActor);
  EXPECT_FALSE(IsDone(unsent));
  Alive(kActor, 2, kPeer2);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>(kPeer2);
  EXPECT_EQ(request.call.number, unsent.number);
  EXPECT_EQ(request.sequence, 1u) << "numbers begin anew with each incarnation";
  EXPECT_EQ(request.actor_incarnation, 2u);
}

TEST_F(ActorStream, RetriesGoAheadOfWhatWasNotSentInTheirOrder) {
  Know();
  const ObjectId a = CallActor(kActor, {}, 1);
  const ObjectId b = CallActor(kActor, {}, 1);
  Sent<rpc::CallRequest>();
  Died(kPeer);
  const ObjectId c = CallActor(kActor);
  Alive(kActor, 2, kPeer2);
  const auto calls = Sent<rpc::CallRequest>(kPeer2);
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].call.number, a.number);
  EXPECT_EQ(calls[0].attempt, 1u);
  EXPECT_EQ(calls[1].call.number, b.number);
  EXPECT_EQ(calls[2].call.number, c.number);
  Died(kPeer2);
  EXPECT_EQ(CodeOf(a), ErrorCode::kActorDied) << "no try is left";
}

TEST_F(ActorStream, ANewIncarnationWaitsForTheOldOnesDeathToBeReported) {
  Know();
  const ObjectId a = CallActor(kActor, {}, 1);
  Sent<rpc::CallRequest>();
  Alive(kActor, 2, kPeer2);  // the directory was faster than the node
  const ObjectId b = CallActor(kActor);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "call a might have to go first";
  Died(kPeer);
  const auto calls = Sent<rpc::CallRequest>(kPeer2);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].call.number, a.number);
  EXPECT_EQ(calls[1].call.number, b.number);
}

TEST_F(ActorStream, RefusedCallsGoToTheNextIncarnationForFree) {
  Know();
  const ObjectId a = CallActor(kActor, {}, 0);
  const ObjectId b = CallActor(kActor, {}, 0);
  const auto refused = Sent<rpc::CallRequest>();
  ReplyNotExecuted(refused[0]);
  const ObjectId c = CallActor(kActor, {}, 0);
  ReplyNotExecuted(refused[1]);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "that incarnation is over";
  Alive(kActor, 2, kPeer2);
  const auto calls = Sent<rpc::CallRequest>(kPeer2);
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].call.number, a.number);
  EXPECT_EQ(calls[1].call.number, b.number);
  EXPECT_EQ(calls[2].call.number, c.number);
}

TEST_F(ActorStream, ACallThatComesBackFromADeadActorEndsWithIt) {
  Know();
  const ObjectId call = CallActor(kActor);
  Update(kActor, ActorState::kDead, 1);
  ReplyNotExecuted(SentOne<rpc::CallRequest>());
  EXPECT_EQ(CodeOf(call), ErrorCode::kActorDied);
}

TEST_F(ActorStream, ARefusedStreamAsksTheDirectoryAgainAfterASecond) {
  Know();
  const ObjectId call = CallActor(kActor);
  ReplyNotExecuted(SentOne<rpc::CallRequest>());
  Pass(milliseconds(900));
  EXPECT_TRUE(Sent<rpc::ActorWatch>().empty());
  Pass(milliseconds(200));
  EXPECT_EQ(Sent<rpc::ActorWatch>().size(), 1u);
  FromDaemon(last_update_);  // as it was: the refusal was a mistake
  Reply(SentOne<rpc::CallRequest>(), Inline("x"));
  EXPECT_EQ(ValueOf(call), "x");
}

TEST_F(ActorStream, AliveOnAWorkerThatIsKnownToBeDeadIsNotBelieved) {
  AddHandle(kActor.handle());
  const ObjectId call = CallActor(kActor);
  Died(kPeer);
  Forget();
  Update(kActor, ActorState::kAlive, 1);
  EXPECT_TRUE(Take<Connect>().empty());
  Pass(seconds(1));
  EXPECT_EQ(Sent<rpc::ActorWatch>().size(), 1u);
  Update(kActor, ActorState::kDead, 1);
  EXPECT_EQ(CodeOf(call), ErrorCode::kActorDied);
}

TEST_F(ActorStream, AnUnreachableWorkerIsTriedAgainAfterASecond) {
  AddHandle(kActor.handle());
  const ObjectId call = CallActor(kActor);
  Update(kActor, ActorState::kAlive, 1);
  EXPECT_EQ(Take<Connect>().size(), 1u);
  Feed(PeerUnreachable{kPeer, "too many files"});
  CallActor(kActor);
  EXPECT_TRUE(Take<Connect>().empty());
  Pass(milliseconds(1100));
  EXPECT_EQ(Take<Connect>().size(), 1u);
  Connected();
  EXPECT_EQ(Sent<rpc::CallRequest>()[0].call.number, call.number);
}

TEST_F(ActorStream, CallsDoNotWaitForEverForAChannelOnTheirOwnNode) {
  AddHandle(kActor.handle());
  const ObjectId call = CallActor(kActor);
  Update(kActor, ActorState::kAlive, 1);
  for (int second = 0; second <= 3; ++second) {
    EXPECT_FALSE(IsDone(call));
    EXPECT_EQ(Take<Connect>().size(), 1u) << second;
    Feed(PeerUnreachable{kPeer, "too many files"});
    Pass(milliseconds(1100));
  }
  EXPECT_EQ(CodeOf(call), ErrorCode::kWorkerLimit);
  EXPECT_NE(ErrorOf(call).message.find("too many files"), std::string::npos);
  EXPECT_FALSE(ErrorOf(call).may_have_run);
  EXPECT_TRUE(Take<Connect>().empty());
  const ObjectId next = CallActor(kActor);
  EXPECT_EQ(Take<Connect>().size(), 1u);
  Connected();
  EXPECT_EQ(Sent<rpc::CallRequest>()[0].call.number, next.number);
}

TEST_F(ActorStream, AfterTheActorsDeathWhatIsInFlightWaitsForTheWorkers) {
  Know();
  const ObjectId call = CallActor(kActor, {}, 5);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Update(kActor, ActorState::kDead, 1);
  EXPECT_FALSE(IsDone(call)) << "its reply may be on the way";
  Died(kPeer);
  EXPECT_EQ(ErrorOf(call).message, "the actor is gone");
  EXPECT_TRUE(ErrorOf(call).may_have_run);
}

TEST_F(ActorStream, ALastReplyOutrunsTheDeath) {
  Know();
  const ObjectId call = CallActor(kActor);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Update(kActor, ActorState::kDead, 1);
  Reply(request, Inline("x"));
  EXPECT_EQ(ValueOf(call), "x");
}

// ---------------------------------------------------------------- ends

TEST_F(ActorStream, TheHandleIsHeldUntilTheSubmittedCallsAreOver) {
  const Cookie handle = Know();
  const ObjectId call = CallActor(kActor);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Drop(kActor.handle(), handle);
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty());
  Reply(request, Inline("x"));
  EXPECT_EQ(SentOne<rpc::RefRelease>().object, kActor.handle());
  Drop(call);
  ExpectNothingLeft();
}

TEST_F(ActorStream, CompletesHandlesOfAnActorThatIsKnownAlready) {
  Know();
  const Cookie second = AddHandle(kActor.handle());
  EXPECT_TRUE(IsDone(second));
  Update(kActor, ActorState::kDead, 1);
  const Cookie third = AddHandle(kActor.handle());
  EXPECT_EQ(ErrorOf(third).code, ErrorCode::kActorDied);
}

TEST_F(ActorStream, ATimedOutCallIsTakenOutOfTheStream) {
  Know();
  SubmitCall slow;
  slow.actor = kActor;
  slow.timeout = milliseconds(10);
  const ObjectId sent = Submit(slow);
  const rpc::CallRequest request = SentOne<rpc::CallRequest>();
  Pass(milliseconds(11));
  EXPECT_EQ(CodeOf(sent), ErrorCode::kTimeout);
  EXPECT_EQ(Sent<rpc::CallCancel>().size(), 1u);
  Died(kPeer);
  EXPECT_EQ(core_.counts().calls_late, 0u);
  const ObjectId unsent = Submit(slow);
  Pass(milliseconds(11));
  EXPECT_EQ(CodeOf(unsent), ErrorCode::kTimeout);
  EXPECT_NE(ErrorOf(unsent).message.find("restart"), std::string::npos);
}

TEST_F(ActorStream, LooksUpNamesAndTellsOfDeaths) {
  Feed(FindActor{"ns", "hits", 77});
  const rpc::ActorLookup lookup = SentOne<rpc::ActorLookup>(kDaemon);
  EXPECT_EQ(lookup.name, "hits");
  rpc::ActorFound found;
  found.asker = kSelf;
  found.request = lookup.request;
  found.actor = kActor;
  found.max_concurrency = 4;
  FromDaemon(found);
  FromDaemon(found);
  const auto answers = Take<ActorLookedUp>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].cookie, 77u);
  EXPECT_EQ(answers[0].max_concurrency, 4u);

  AddHandle(kActor.handle());
  Feed(WatchActor{kActor});
  Update(kActor, ActorState::kAlive, 1);
  Update(kActor, ActorState::kDead, 1);
  EXPECT_EQ(Take<ActorChanged>().size(), 2u);
}

TEST_F(ActorStream, AProcessCanCallAnActorOfItsOwn) {
  Host();
  AddHandle(kHosted.handle());
  const ObjectId call = CallActor(kHosted);
  Update(kHosted, ActorState::kAlive, 1, kSelf);
  const auto ran = Take<Execute>();
  ASSERT_EQ(ran.size(), 1u);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty()) << "it does not leave the process";
  Finish(ran[0].request, {Inline("self")});
  EXPECT_EQ(ValueOf(call), "self");
}

}  // namespace
}  // namespace manta::runtime

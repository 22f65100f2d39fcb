#include "runtime/node/home_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace manta::runtime::node {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr ProcessId kOwner{1, 1};  // on the home's node
constexpr ProcessId kBorrower{2, 1};
constexpr ProcessId kWorker{3, 1};
constexpr uint64_t kBytes = 100'000;

ObjectId Object(uint64_t number) { return {kOwner, number, 0}; }
TicketId Ticket(uint64_t call, bool reply = false) { return {{kOwner, call}, 0, 0, reply}; }
rpc::StoreLocation At(NodeId node, uint64_t offset = 0) { return {node, 1, offset, kBytes}; }

class HomeTableTest : public ::testing::Test {
 protected:
  HomeTableTest() : home_(&deaths_) {
    deaths_.SetSelf(1);
    home_.SetSelf(1);
    DeathTable::Output output;
    deaths_.SetNodes({1, 2, 3}, 3, &output);
  }

  // ---- what processes say
  void PublishPending(const ObjectId& object) {
    home_.Publish({.object = object, .pending = true, .value = {}, .error = {}}, &output_);
  }
  void PublishValue(const ObjectId& object, std::string_view text, std::vector<rpc::NestedRef> refs = {}) {
    rpc::ObjectPublish message;
    message.object = object;
    message.value.bytes = Bytes(text);
    message.value.refs = std::move(refs);
    home_.Publish(message, &output_);
  }
  void PublishStored(const ObjectId& object, rpc::StoreLocation location) {
    rpc::ObjectPublish message;
    message.object = object;
    message.value.kind = rpc::Value::Kind::kStored;
    message.value.location = location;
    home_.Publish(message, &output_);
  }
  void Seal(const ObjectId& object, rpc::StoreLocation location, uint32_t attempt = 0,
            std::vector<rpc::NestedRef> refs = {}) {
    home_.Seal({object, attempt, location, object.owner, std::move(refs)}, &output_);
  }
  void Lend(const ObjectId& object, const TicketId& ticket, ProcessId holder = kOwner, ProcessId receiver = {}) {
    home_.Ticket({ticket, object, holder, receiver}, &output_);
  }
  void End(const ObjectId& object, const TicketId& ticket, ProcessId kept_by = {}) {
    home_.Outcome({ticket, object, kept_by}, &output_);
  }
  void Register(const ObjectId& object, ProcessId holder, uint64_t borrow, const TicketId& ticket = {}) {
    home_.Register({object, holder, borrow, ticket}, &output_);
  }
  void Release(const ObjectId& object, ProcessId holder = kOwner, uint64_t borrow = 0, NodeId sealed_on = 0,
               uint32_t sealed_attempt = 0) {
    home_.Release({object, holder, borrow, sealed_on, sealed_attempt}, &output_);
  }
  void Resolve(const ObjectId& object, ProcessId asker) { home_.Resolve({object, asker}, &output_); }

  // ---- deaths
  void Dies(ProcessId process) {
    DeathTable::Output drains;
    deaths_.Report({.process = process, .reason = "killed", .newest_node = 3}, {}, &drains);
    if (process.is_daemon()) {
      home_.NodeDied(process.node, &output_);
      deaths_.SetNodes({1, process.node == 2 ? NodeId{3} : NodeId{2}}, 3, &drains);
    } else if (process.node == 1) {
      home_.OwnerDied(process, "killed", &output_);
    }
    Apply(drains);
  }
  void Drained(ProcessId process) {
    DeathTable::Output drains;
    for (const NodeId node : {2, 3}) deaths_.Answered(process, node, &drains);
    Apply(drains);
  }
  void Apply(const DeathTable::Output& drains) {
    for (const ProcessId dead : drains.drained) home_.Drained(dead, &output_);
  }

  // ---- what came of it
  std::vector<rpc::ObjectResolved> TakeAnswers() { return Take<rpc::ObjectResolved>(); }
  // The nodes that were told to drop `object`.
  std::vector<NodeId> TakeDrops(const ObjectId& object) {
    std::vector<NodeId> nodes;
    for (auto& [node, message] : std::exchange(output_.sends, {})) {
      const auto* drop = std::get_if<rpc::ObjectDrop>(&message);
      if (drop != nullptr && drop->object == object) nodes.push_back(node);
    }
    return nodes;
  }
  template <typename Message>
  std::vector<Message> Take() {
    std::vector<Message> messages;
    for (auto& [node, message] : std::exchange(output_.sends, {})) {
      if (auto* wanted = std::get_if<Message>(&message)) messages.push_back(*wanted);
    }
    return messages;
  }
  bool IsFree(const ObjectId& object) const { return !home_.Contains(object); }

  DeathTable deaths_;
  HomeTable home_;
  HomeTable::Output output_;
};

// ---------------------------------------------------------------- who holds it

TEST_F(HomeTableTest, FreesAnObjectWhenItsOwnerLetsGo) {
  PublishValue(Object(1), "x");
  EXPECT_TRUE(home_.IsHeld(Object(1)));
  Release(Object(1));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ATicketHoldsWhileTheMessageTravels) {
  PublishValue(Object(1), "x");
  Lend(Object(1), Ticket(7));
  Release(Object(1));
  EXPECT_FALSE(IsFree(Object(1)));
  End(Object(1), Ticket(7));
  EXPECT_TRUE(IsFree(Object(1)));
  EXPECT_EQ(home_.ticket_count(), 0u);
}

TEST_F(HomeTableTest, AKeptTicketEndsWithTheRegistration) {
  PublishValue(Object(1), "x");
  Lend(Object(1), Ticket(7));
  End(Object(1), Ticket(7), kBorrower);
  Release(Object(1));
  EXPECT_FALSE(IsFree(Object(1))) << "the borrower's registration is on its way";
  Register(Object(1), kBorrower, 1, Ticket(7));
  EXPECT_EQ(home_.ticket_count(), 0u);
  EXPECT_FALSE(IsFree(Object(1)));
  Release(Object(1), kBorrower, 1);
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ARegistrationThatOvertakesItsTicketEndsItOnArrival) {
  Register(Object(1), kBorrower, 1, Ticket(7));
  Release(Object(1), kBorrower, 1);
  PublishValue(Object(1), "x");
  Lend(Object(1), Ticket(7));
  EXPECT_EQ(home_.ticket_count(), 0u);
  End(Object(1), Ticket(7), kBorrower);
  Release(Object(1));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ATicketThatOvertakesThePublicationHolds) {
  Lend(Object(1), Ticket(9), kBorrower);
  PublishValue(Object(1), "x");
  Release(Object(1));
  EXPECT_FALSE(IsFree(Object(1)));
  End(Object(1), Ticket(9));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ARefusedReplysTicketMayEndBeforeItComes) {
  PublishValue(Object(1), "x");
  End(Object(1), Ticket(7, true));
  Lend(Object(1), Ticket(7, true), kWorker, kOwner);
  EXPECT_EQ(home_.ticket_count(), 0u);
  Release(Object(1));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, AReplysTicketThatItsDeadWriterNeverSentIsNotAwaited) {
  const ObjectId object = Object(7);
  PublishValue(object, "x");
  home_.Outcome({Ticket(1, true), object, {}, kWorker}, &output_);
  Release(object);
  EXPECT_FALSE(IsFree(object));
  Dies(DaemonOf(kWorker.node));
  Drained(DaemonOf(kWorker.node));
  EXPECT_TRUE(IsFree(object));
}

TEST_F(HomeTableTest, IgnoresLowerBorrowNumbers) {
  PublishValue(Object(1), "x");
  Register(Object(1), kBorrower, 5);
  Release(Object(1), kBorrower, 4);
  Release(Object(1));
  EXPECT_FALSE(IsFree(Object(1))) << "the release of an earlier borrow";
  Register(Object(1), kWorker, 9);
  Release(Object(1), kBorrower, 5);
  Register(Object(1), kBorrower, 3);
  Register(Object(1), kBorrower, 5);
  Release(Object(1), kWorker, 9);
  EXPECT_TRUE(IsFree(Object(1))) << "the registration of an earlier borrow";
}

TEST_F(HomeTableTest, ASecondRegistrationOfABorrowEndsAnotherTicket) {
  PublishValue(Object(1), "x");
  Lend(Object(1), Ticket(7));
  Lend(Object(1), Ticket(8));
  Register(Object(1), kBorrower, 1, Ticket(7));
  Register(Object(1), kBorrower, 1, Ticket(8));
  EXPECT_EQ(home_.ticket_count(), 0u);
  Release(Object(1));
  Release(Object(1), kBorrower, 1);
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, IgnoresReleasesAndOutcomesOfUnknownObjects) {
  Release(Object(1));
  End(Object(1), Ticket(7));
  EXPECT_EQ(home_.entry_count(), 0u);
}

// ---------------------------------------------------------------- seals

TEST_F(HomeTableTest, TellsEveryNodeWithACopyToDropIt) {
  Seal(Object(1), At(2));
  home_.Copy({Object(1), 0, At(3), true}, &output_);
  Release(Object(1));
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2, 3));
}

TEST_F(HomeTableTest, ASealAfterItsOwnersReleaseIsDroppedWhenItComes) {
  Release(Object(1), kOwner, 0, 2, 0);
  EXPECT_EQ(home_.tombstone_count(), 1u);
  Seal(Object(1), At(2));
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ATombstoneWaitsForTheAttemptThatWasReleased) {
  Release(Object(1), kOwner, 0, 2, 1);
  Seal(Object(1), At(2), 0);
  EXPECT_EQ(home_.tombstone_count(), 1u);
  Seal(Object(1), At(2, 4096), 1);
  EXPECT_TRUE(IsFree(Object(1)));
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2, 2));
}

TEST_F(HomeTableTest, ATombstoneEndsWithTheNodeThatTheSealShouldComeFrom) {
  Release(Object(1), kOwner, 0, 2, 0);
  Dies(DaemonOf(2));
  EXPECT_TRUE(IsFree(Object(1)));
  Release(Object(1), kOwner, 0, 2, 0);
  EXPECT_TRUE(IsFree(Object(1))) << "no seal will come from a dead node";
}

TEST_F(HomeTableTest, ANewerAttemptReplacesTheCopies) {
  Seal(Object(1), At(2), 0);
  Seal(Object(1), At(3), 1);
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2));
  Seal(Object(1), At(2), 0);
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2));
  Resolve(Object(1), kWorker);
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].attempt, 1u);
  EXPECT_EQ(answers[0].value.location, At(3));
}

TEST_F(HomeTableTest, ACopyOfAnObjectThatHasGoneIsDropped) {
  home_.Copy({Object(1), 0, At(3), true}, &output_);
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(3));
}

// ---------------------------------------------------------------- nested refs

TEST_F(HomeTableTest, AContainerHoldsWhatIsNestedInIt) {
  PublishValue(Object(1), "inner");
  PublishValue(Object(2), "outer", {{Object(1), {}}});
  Release(Object(1));
  EXPECT_FALSE(IsFree(Object(1)));
  Release(Object(2));
  EXPECT_TRUE(IsFree(Object(1)));
  EXPECT_EQ(home_.entry_count(), 0u);
}

TEST_F(HomeTableTest, FreesALongChainWithoutRecursion) {
  constexpr uint64_t kLength = 200'000;
  PublishValue(Object(1), "end");
  for (uint64_t i = 2; i <= kLength; ++i) {
    PublishValue(Object(i), "", {{Object(i - 1), {}}});
    Release(Object(i - 1));
  }
  EXPECT_EQ(home_.entry_count(), kLength);
  Release(Object(kLength));
  EXPECT_EQ(home_.entry_count(), 0u);
  EXPECT_EQ(home_.inline_bytes(), 0u);
}

TEST_F(HomeTableTest, HoldsWhatIsCountedElsewhereAsADaemon) {
  const ObjectId foreign{{2, 9}, 4, 0};
  PublishValue(Object(1), "a", {{foreign, {}}});
  PublishValue(Object(2), "b", {{foreign, {}}});
  const auto registrations = Take<rpc::RefRegister>();
  ASSERT_EQ(registrations.size(), 1u);
  EXPECT_EQ(registrations[0].object, foreign);
  EXPECT_EQ(registrations[0].holder, DaemonOf(1));
  Release(Object(1));
  EXPECT_THAT(Take<rpc::RefRelease>(), IsEmpty());
  Release(Object(2));
  const auto releases = Take<rpc::RefRelease>();
  ASSERT_EQ(releases.size(), 1u);
  EXPECT_EQ(releases[0].borrow, registrations[0].borrow);
  PublishValue(Object(3), "c", {{foreign, {}}});
  EXPECT_GT(Take<rpc::RefRegister>().at(0).borrow, releases[0].borrow);
}

TEST_F(HomeTableTest, TellsWhenNobodyHasAHandleOfAnActor) {
  const ActorId actor{kOwner, 3};
  home_.OpenHandle(actor);
  Lend(actor.handle(), Ticket(7));
  Release(actor.handle());
  EXPECT_THAT(output_.unheld_actors, IsEmpty());
  End(actor.handle(), Ticket(7));
  EXPECT_THAT(output_.unheld_actors, ElementsAre(actor));
}

// ---------------------------------------------------------------- answers

TEST_F(HomeTableTest, AnswersWhenAPendingObjectResolves) {
  PublishPending(Object(1));
  Resolve(Object(1), kBorrower);
  EXPECT_THAT(TakeAnswers(), IsEmpty());
  PublishValue(Object(1), "done");
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kBorrower);
  EXPECT_EQ(answers[0].value.bytes.view(), "done");
}

TEST_F(HomeTableTest, WaitsForTheSealOfWhatIsPublishedAsStored) {
  PublishPending(Object(1));
  Resolve(Object(1), kBorrower);
  PublishStored(Object(1), At(3));
  EXPECT_THAT(TakeAnswers(), IsEmpty());
  Seal(Object(1), At(3));
  ASSERT_EQ(TakeAnswers().size(), 1u);
}

TEST_F(HomeTableTest, ASealDoesNotResolveWhatItsOwnerHasNotSeen) {
  PublishPending(Object(1));
  Seal(Object(1), At(3), 0);
  Resolve(Object(1), kBorrower);
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "the worker may have died, and another attempt may answer";
  PublishValue(Object(1), "of attempt 1");
  EXPECT_EQ(TakeAnswers().at(0).value.bytes.view(), "of attempt 1");
}

TEST_F(HomeTableTest, PrefersTheCopyOnTheAskersNode) {
  Seal(Object(1), At(2));
  home_.Copy({Object(1), 0, At(3, 64), true}, &output_);
  Resolve(Object(1), kWorker);
  EXPECT_EQ(TakeAnswers().at(0).value.location, At(3, 64));
}

TEST_F(HomeTableTest, AnswersWhoAsksBeforeTheOwnerHasSpoken) {
  Resolve(Object(1), kBorrower);
  PublishValue(Object(1), "x");
  EXPECT_EQ(TakeAnswers().size(), 1u);
}

TEST_F(HomeTableTest, AnObjectWhoseLastCopyIsGoneIsLost) {
  Seal(Object(1), At(2));
  home_.Copy({Object(1), 0, At(2), false}, &output_);
  Resolve(Object(1), kWorker);
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kObjectLost);
}

// ---------------------------------------------------------------- deaths

TEST_F(HomeTableTest, ADeadOwnersPendingObjectsEndAtOnceAndItsSealedOnesStay) {
  PublishPending(Object(1));
  PublishPending(Object(2));
  Seal(Object(2), At(2));
  for (const uint64_t number : {1, 2}) {
    Register(Object(number), kBorrower, number);
    Resolve(Object(number), kBorrower);
  }
  Dies(kOwner);
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].error.code, rpc::ErrorCode::kOwnerDied);
  EXPECT_THAT(answers[0].error.message, HasSubstr("n1.p1"));
  EXPECT_EQ(answers[1].value.location, At(2));
  Drained(kOwner);
  EXPECT_FALSE(IsFree(Object(2))) << "the borrower holds it";
}

TEST_F(HomeTableTest, ADeadProcessHoldsUntilItsDeathIsDrained) {
  PublishValue(Object(1), "x");
  Register(Object(1), kBorrower, 1);
  Release(Object(1));
  Dies(kBorrower);
  EXPECT_FALSE(IsFree(Object(1)));
  Drained(kBorrower);
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, ADeadSendersTicketHoldsUntilTheReceiverCanHaveRegistered) {
  PublishValue(Object(1), "x");
  Register(Object(1), kBorrower, 1);
  Lend(Object(1), {{kBorrower, 4}, 0, 0, false}, kBorrower);
  Release(Object(1));
  Dies(kBorrower);
  Register(Object(1), kWorker, 1, {{kBorrower, 4}, 0, 0, false});
  Drained(kBorrower);
  EXPECT_FALSE(IsFree(Object(1))) << "the worker has it";
  Release(Object(1), kWorker, 1);
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, TicketsThatOnlyTheDeadCouldEndGoWithThem) {
  PublishValue(Object(1), "x");
  Lend(Object(1), Ticket(7));
  End(Object(1), Ticket(7), kBorrower);                               // kept by the dead
  Lend(Object(1), {{kBorrower, 4}, 0, 0, true}, kWorker, kBorrower);  // a reply to the dead
  Release(Object(1));
  Dies(kBorrower);
  Drained(kBorrower);
  EXPECT_TRUE(IsFree(Object(1)));
  Lend(Object(1), {{kBorrower, 5}, 0, 0, true}, kWorker, kBorrower);
  EXPECT_EQ(home_.ticket_count(), 0u) << "nobody could end it";
}

TEST_F(HomeTableTest, ASealForADeadCallerIsDropped) {
  Dies(kOwner);
  Seal(Object(1), At(3));
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(3));
  EXPECT_EQ(home_.entry_count(), 0u);
}

TEST_F(HomeTableTest, WhatADeadOwnerNeverPublishedIsAnError) {
  Dies(kOwner);
  Resolve(Object(1), kBorrower);
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kOwnerDied);
  EXPECT_EQ(home_.entry_count(), 0u);
  Register(Object(2), kBorrower, 1);
  Resolve(Object(2), kBorrower);
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kOwnerDied);
}

TEST_F(HomeTableTest, ALaterAttemptsSealReplacesWhatWasLost) {
  const ObjectId object = Object(7);
  Seal(object, At(2));
  Dies(DaemonOf(2));
  Seal(object, At(3), 1);
  PublishStored(object, At(3));
  Resolve(object, kWorker);
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_FALSE(answers[0].error);
  EXPECT_EQ(answers[0].value.location, At(3));
}

TEST_F(HomeTableTest, ADeadNodesCopiesAreGone) {
  Seal(Object(1), At(2));
  home_.Copy({Object(1), 0, At(3), true}, &output_);
  Seal(Object(2), At(2));
  Dies(DaemonOf(2));
  Resolve(Object(1), {1, 5});
  EXPECT_EQ(TakeAnswers().at(0).value.location, At(3));
  Resolve(Object(2), {1, 5});
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kObjectLost);
}

TEST_F(HomeTableTest, ACopyThatComesDamagedCountsAsLostAndIsKeptWhereItIs) {
  Seal(Object(1), At(2));
  PublishStored(Object(1), At(2));
  home_.Copy({Object(1), 0, At(3), true}, &output_);
  home_.Copy({Object(1), 0, At(3, 64), false, true}, &output_);
  home_.Copy({Object(1), 0, At(2), false, true}, &output_);
  EXPECT_THAT(TakeDrops(Object(1)), IsEmpty()) << "processes there may read it";
  Resolve(Object(1), {1, 5});
  EXPECT_EQ(TakeAnswers().at(0).value.location, At(3)) << "another place was damaged on that node";
  home_.Copy({Object(1), 0, At(3), false, true}, &output_);
  Resolve(Object(1), {1, 5});
  EXPECT_EQ(TakeAnswers().at(0).asker, kOwner) << "can it be made again?";
  PublishStored(Object(1), At(3));
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "that was said before it was asked";
  rpc::ObjectPublish lost;
  lost.object = Object(1);
  lost.error.code = rpc::ErrorCode::kObjectLost;
  home_.Publish(lost, &output_);
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kObjectLost);
  Release(Object(1));
  EXPECT_THAT(TakeDrops(Object(1)), ElementsAre(2, 3));
  EXPECT_TRUE(IsFree(Object(1)));
}

TEST_F(HomeTableTest, WhatIsMadeAgainReplacesADamagedCopy) {
  Seal(Object(1), At(2));
  PublishStored(Object(1), At(2));
  home_.Copy({Object(1), 0, At(2), false, true}, &output_);
  Resolve(Object(1), kWorker);
  const auto asked = TakeAnswers();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_THAT(asked[0].error.message, HasSubstr("on node n2"));
  EXPECT_THAT(asked[0].error.message, HasSubstr(ToString(Object(1)) + " came damaged"));
  Seal(Object(1), At(2, 64), 1);
  PublishStored(Object(1), At(2, 64));
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kWorker);
  EXPECT_EQ(answers[0].value.location, At(2, 64));
}

TEST_F(HomeTableTest, ADeadNodesHoldsGoWhenItIsDrained) {
  PublishValue(Object(1), "x");
  Register(Object(1), kBorrower, 1);
  Register(Object(1), DaemonOf(2), 1);
  Release(Object(1));
  Dies(DaemonOf(2));
  EXPECT_FALSE(IsFree(Object(1)));
  DeathTable::Output drains;
  deaths_.Answered(DaemonOf(2), 3, &drains);
  Apply(drains);
  EXPECT_TRUE(IsFree(Object(1)));
}

// ---------------------------------------------------------------- lineage

// The owner has read its result, which nobody else has, and a borrower asks for it.
TEST_F(HomeTableTest, TheOwnerIsAskedToMakeAgainWhatIsLostAndTheAskerWaits) {
  const ObjectId object = Object(1);
  Seal(object, At(2), 3);
  Register(object, kBorrower, 1);
  Dies(DaemonOf(2));
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "nobody wants it yet";
  Resolve(object, kWorker);
  auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kOwner);
  EXPECT_EQ(answers[0].attempt, 3u);
  EXPECT_EQ(answers[0].error.code, rpc::ErrorCode::kObjectLost);
  Resolve(object, {1, 5});
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "it is asked once";
  Seal(object, At(3), 4);
  EXPECT_THAT(TakeAnswers(), IsEmpty()) << "until the owner says so, another attempt may replace it";
  PublishStored(object, At(3));
  answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 2u);
  for (const rpc::ObjectResolved& answer : answers) EXPECT_EQ(answer.value.location, At(3));
}

TEST_F(HomeTableTest, TheOwnersWordThatItCannotBeMadeAgainIsTheAnswer) {
  const ObjectId object = Object(1);
  Seal(object, At(2));
  Dies(DaemonOf(2));
  Resolve(object, kWorker);
  (void)TakeAnswers();
  rpc::ObjectPublish no;
  no.object = object;
  no.error.code = rpc::ErrorCode::kObjectLost;
  no.error.message = "it was Put";
  home_.Publish(no, &output_);
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kWorker);
  EXPECT_EQ(answers[0].error.message, "it was Put");
}

TEST_F(HomeTableTest, AnOwnerWithoutARefIsNotAskedAndOneThatLetsGoHasAnswered) {
  Seal(Object(1), At(2));
  Register(Object(1), kBorrower, 1);
  Release(Object(1));
  Seal(Object(2), At(2));
  Register(Object(2), kBorrower, 2);
  Dies(DaemonOf(2));
  Resolve(Object(1), kWorker);
  auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kWorker);
  EXPECT_EQ(answers[0].error.code, rpc::ErrorCode::kObjectLost);
  Resolve(Object(2), kWorker);
  EXPECT_EQ(TakeAnswers().at(0).asker, kOwner);
  Release(Object(2), kOwner, 0, 2, 0);
  answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].asker, kWorker);
  EXPECT_EQ(answers[0].error.code, rpc::ErrorCode::kObjectLost);
}

TEST_F(HomeTableTest, AnOwnerThatLetGoAndBorrowedItBackIsNotAsked) {
  Seal(Object(1), At(2));
  Register(Object(1), kBorrower, 1);
  Release(Object(1));
  Register(Object(1), kOwner, 4);
  Dies(DaemonOf(2));
  Resolve(Object(1), kOwner);
  const auto answers = TakeAnswers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_THAT(answers[0].error.message, HasSubstr("cannot be computed again"));
  Resolve(Object(1), kWorker);
  EXPECT_EQ(TakeAnswers().size(), 1u);
}

TEST_F(HomeTableTest, WhatTheOwnerSaidBeforeItWasAskedIsNoAnswer) {
  const ObjectId object = Object(1);
  Seal(object, At(2));
  Dies(DaemonOf(2));
  Resolve(object, kWorker);
  EXPECT_EQ(TakeAnswers().size(), 1u);
  PublishStored(object, At(2));
  EXPECT_THAT(TakeAnswers(), IsEmpty());
  PublishStored(object, At(3));
  Seal(object, At(3), 1);
  EXPECT_EQ(TakeAnswers().at(0).value.location, At(3));
}

TEST_F(HomeTableTest, AnAskedOwnerThatDiesEndsTheWait) {
  const ObjectId object = Object(1);
  Seal(object, At(2));
  Dies(DaemonOf(2));
  Resolve(object, kWorker);
  (void)TakeAnswers();
  Dies(kOwner);
  EXPECT_EQ(TakeAnswers().at(0).error.code, rpc::ErrorCode::kOwnerDied);
}

}  // namespace
}  // namespace manta::runtime::node

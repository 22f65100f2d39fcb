#include "runtime/worker/lineage.h"

#include <gmock/gmock.h>

#include "runtime/worker/process_core_fixture.h"

namespace manta::runtime {
namespace {

using rpc::ErrorCode;
using ::testing::HasSubstr;

// The process is on kNode; what its tasks make is stored on kOtherNode.
class Lineage : public ProcessFixture {
 protected:
  Lineage() { HaveLease(); }
  rpc::Value StoredThere(uint64_t size_bytes = 1 << 20) {
    rpc::Value value;
    value.kind = rpc::Value::Kind::kStored;
    value.location = {kOtherNode, 1, 64 * ++last_offset_, size_bytes};
    return value;
  }
  // A task whose result is stored on the other node.
  ObjectId Made(std::vector<rpc::Value> args = {}, int32_t max_retries = 3) {
    const ObjectId object = Task(std::move(args), max_retries);
    Reply(SentOne<rpc::CallRequest>(), StoredThere());
    Forget();
    return object;
  }
  // The home says that the last copy is gone, because somebody asks.
  void Lost(const ObjectId& object, uint32_t attempt = 0) {
    rpc::ObjectResolved message;
    message.object = object;
    message.asker = kSelf;
    message.attempt = attempt;
    message.error = Error(ErrorCode::kObjectLost, "the only copy was on node n8, and is gone");
    FromDaemon(std::move(message));
  }
  // What the home was told of the object.
  rpc::ObjectPublish Published(const ObjectId& object) {
    const auto published = SentOne<rpc::ObjectPublish>(kDaemon);
    EXPECT_EQ(published.object, object);
    return published;
  }

  uint64_t last_offset_ = 0;
};

TEST_F(Lineage, ALostResultIsComputedAgainWithTheSameArguments) {
  const ObjectId object = Made({Inline("data")});
  Lost(object);
  const auto again = SentOne<rpc::CallRequest>();
  EXPECT_EQ(again.call.number, object.number);
  EXPECT_EQ(again.attempt, 1u);
  EXPECT_EQ(again.args[0].bytes.view(), "data");
  EXPECT_EQ(again.deadline_ns, 0u);
  const rpc::Value second = StoredThere();
  Reply(again, second);
  EXPECT_EQ(Published(object).value.location, second.location) << "whoever asked is answered";
  Drop(object);
  EXPECT_EQ(SentOne<rpc::RefRelease>().sealed_attempt, 1u);
}

TEST_F(Lineage, EachTimeCountsAsATry) {
  const ObjectId object = Made({}, 1);
  Lost(object);
  Reply(SentOne<rpc::CallRequest>(), StoredThere());
  Forget();
  Lost(object, 1);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  const rpc::ErrorInfo error = Published(object).error;
  EXPECT_EQ(error.code, ErrorCode::kObjectLost);
  EXPECT_THAT(error.message, HasSubstr("no try is left, see MaxRetries"));
}

TEST_F(Lineage, TheErrorSaysWhyAPutOrAnActorsResultIsLost) {
  const ObjectId never = Made({}, 0);
  Lost(never);
  EXPECT_THAT(Published(never).error.message, HasSubstr("MaxRetries"));
  Forget();

  const Cookie handle = AddHandle(kActor.handle());
  const ObjectId result = CallActor(kActor);
  Alive(kActor);
  Reply(SentOne<rpc::CallRequest>(), StoredThere());
  Forget();
  Lost(result);
  EXPECT_THAT(Published(result).error.message, HasSubstr("actor"));
  Drop(kActor.handle(), handle);
}

TEST_F(Lineage, AQuestionAboutAnOlderAttemptIsAnsweredWithWhatThereIs) {
  const ObjectId object = Made();
  Lost(object);
  const auto again = SentOne<rpc::CallRequest>();
  Lost(object);
  EXPECT_TRUE(Sent<rpc::CallRequest>().size() <= 1) << "it runs already";
  const rpc::Value second = StoredThere();
  Reply(again, second);
  Forget();
  Lost(object, 0);
  EXPECT_TRUE(Sent<rpc::CallRequest>().empty());
  EXPECT_EQ(Published(object).value.location, second.location);
}

TEST_F(Lineage, ASmallSecondResultOrAnErrorIsTheAnswerToo) {
  const ObjectId object = Made();
  Lost(object);
  ReplyError(SentOne<rpc::CallRequest>(), Error(ErrorCode::kTaskError, "no more"));
  EXPECT_EQ(Published(object).error.code, ErrorCode::kTaskError);
  EXPECT_EQ(CodeOf(object), ErrorCode::kTaskError);
}

TEST_F(Lineage, ArgumentsAreHeldUntilTheResultIsDropped) {
  const ObjectId first = Made();
  const ObjectId second = Made({RefTo(first)});
  Drop(first);
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty()) << "the second task may have to be run again";
  Lost(second);
  const auto again = SentOne<rpc::CallRequest>();
  EXPECT_EQ(again.args[0].object, first);
  Reply(again, StoredThere());
  Forget();
  Drop(second);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 2u);
  Pass(std::chrono::milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(Lineage, ALongChainIsDroppedWithoutRecursionAndLeavesNothing) {
  ObjectId last = Made();
  for (int i = 0; i < 60; ++i) {
    const ObjectId next = Made({RefTo(last)});
    Drop(last);
    last = next;
  }
  Drop(last);
  Pass(std::chrono::milliseconds(10));
  ExpectNothingLeft();
}

TEST_F(Lineage, WhatArgumentsAloneKeepAliveIsBounded) {
  std::vector<ObjectId> results;
  std::vector<ObjectId> inputs;
  for (int i = 0; i < 70; ++i) {  // each input is 1 MiB, and nobody else holds it
    inputs.push_back(Made());
    results.push_back(Made({RefTo(inputs.back())}));
  }
  EXPECT_TRUE(Sent<rpc::RefRelease>().empty());
  for (const ObjectId& input : inputs) Drop(input);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 7u) << "63 inputs and the records of all tasks are within 64 MiB";
  Forget();
  Lost(results.front());
  EXPECT_THAT(Published(results.front()).error.message, HasSubstr("64 MiB"));
  Forget();
  Lost(results.back());
  EXPECT_EQ(Sent<rpc::CallRequest>().size(), 1u);
}

TEST_F(Lineage, InlineArgumentsCountToo) {
  const std::string large(60 << 10, 'x');
  std::vector<ObjectId> results;
  for (int i = 0; i < 1200; ++i) results.push_back(Made({Inline(large)}));
  Lost(results.front());
  EXPECT_THAT(Published(results.front()).error.message, HasSubstr("64 MiB"));
}

TEST_F(Lineage, NothingIsKeptForResultsInTheOwnNodesStore) {
  const ObjectId input = Made();
  const ObjectId object = Task({RefTo(input)});
  rpc::Value here = StoredThere();
  here.location.node = kNode;
  Reply(SentOne<rpc::CallRequest>(), here);
  Drop(input);
  EXPECT_EQ(Sent<rpc::RefRelease>().size(), 1u);
  Drop(object);
}

TEST_F(Lineage, TheHomeIsToldOfResultsOnANodeThatDiesWhoseSealsMayBeLostToo) {
  const ObjectId object = Made();
  NodeDies(kOtherNode);
  EXPECT_EQ(Published(object).value.location.node, kOtherNode);
}

}  // namespace
}  // namespace manta::runtime

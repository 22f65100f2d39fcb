#include "api/user_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "api/registry.h"
#include "manta/manta.h"
#include "rpc/message.h"

namespace manta::internal {
namespace {

using testing::HasSubstr;

int Halve(int x) {
  if (x % 2 != 0) throw std::domain_error("odd");
  return x / 2;
}
class Doubler {
 public:
  int Double(int x) { return 2 * x; }
  void Leave() { CurrentFrame()->exit_actor = true; }
};
class Stranger {};

Payload PayloadOf(const int& value) { return {reinterpret_cast<const char*>(&value), sizeof value, nullptr, {}, {}}; }
int ValueOf(const Serialized& value) {
  int result = 0;
  std::memcpy(&result, value.head.data(), sizeof result);
  return result;
}
CallFrame FrameOf(uint64_t function) {
  CallFrame frame;
  frame.function = function;
  frame.process = "n1.p4";
  return frame;
}
const uint64_t kHalve = Registration<TaskFunction<&Halve>>::id;
const uint64_t kDouble = Registration<MethodFunction<Doubler, &Doubler::Double>>::id;

TEST(RunUserCode, ReturnsTheResult) {
  CallFrame frame = FrameOf(kHalve);
  const int argument = 8;
  const UserCodeResult result = RunUserCode(&frame, {PayloadOf(argument)}, nullptr);
  EXPECT_EQ(result.error.code, 0);
  EXPECT_EQ(ValueOf(result.returns.at(0)), 4);
  EXPECT_EQ(CurrentFrame(), nullptr);
}

TEST(RunUserCode, TellsExceptionsFromBadArguments) {
  CallFrame frame = FrameOf(kHalve);
  const int argument = 7;
  UserCodeResult result = RunUserCode(&frame, {PayloadOf(argument)}, nullptr);
  EXPECT_EQ(result.error.code, static_cast<uint16_t>(rpc::ErrorCode::kTaskError));
  EXPECT_EQ(result.error.type, "std::domain_error");
  EXPECT_EQ(result.error.message, "odd");
  EXPECT_THAT(result.error.where, HasSubstr("Halve"));
  EXPECT_THAT(result.error.where, HasSubstr("n1.p4"));

  result = RunUserCode(&frame, {}, nullptr);
  EXPECT_EQ(result.error.code, static_cast<uint16_t>(rpc::ErrorCode::kSerialization));
  EXPECT_THAT(result.error.message, HasSubstr("0 arguments"));
  result = RunUserCode(&frame, {{"ab", 2, nullptr, {}, {}}}, nullptr);
  EXPECT_EQ(result.error.code, static_cast<uint16_t>(rpc::ErrorCode::kSerialization));
  EXPECT_THAT(result.error.message, HasSubstr("argument 1"));
}

TEST(RunUserCode, ConstructsAndCallsActors) {
  CallFrame frame = FrameOf(Registration<ConstructorFunction<Doubler>>::id);
  const UserCodeResult made = RunUserCode(&frame, {}, nullptr);
  ASSERT_NE(made.constructed.object, nullptr);
  CallFrame call = FrameOf(kDouble);
  const int argument = 21;
  EXPECT_EQ(ValueOf(RunUserCode(&call, {PayloadOf(argument)}, &made.constructed).returns.at(0)), 42);
  CallFrame leave = FrameOf(Registration<MethodFunction<Doubler, &Doubler::Leave>>::id);
  EXPECT_TRUE(RunUserCode(&leave, {}, &made.constructed).exit_actor);
}

TEST(RunUserCode, RefusesAnotherClassAndUnknownFunctions) {
  const HostedActor stranger{std::make_shared<Stranger>(), typeid(Stranger).name()};
  CallFrame frame = FrameOf(kDouble);
  const int argument = 1;
  UserCodeResult result = RunUserCode(&frame, {PayloadOf(argument)}, &stranger);
  EXPECT_EQ(result.error.code, static_cast<uint16_t>(rpc::ErrorCode::kFunctionNotFound));
  EXPECT_THAT(result.error.message, HasSubstr("Stranger"));
  CallFrame unknown = FrameOf(1);
  result = RunUserCode(&unknown, {}, nullptr);
  EXPECT_EQ(result.error.code, static_cast<uint16_t>(rpc::ErrorCode::kFunctionNotFound));
  EXPECT_THAT(result.error.message, HasSubstr("0000000000000001"));
}

class Offered {
 public:
  int First() { return 1; }
  int Second(int x) const { return x; }
};
MANTA_METHODS(Offered, First, Second);

TEST(Registry, HasWhatMantaMethodsNames) {
  std::string all;
  EXPECT_NE(FindFunction(Registration<MethodFunction<Offered, &Offered::First>>::id), nullptr);
  EXPECT_THAT(FunctionName(Registration<MethodFunction<Offered, &Offered::Second>>::id), HasSubstr("Offered::Second"));
  EXPECT_TRUE(FunctionCollisions().empty());
}

TEST(Registry, GivesFunctionsTheNamesThatPeopleUse) {
  EXPECT_EQ(PrettyFunctionName("manta::internal::TaskFunction<&(Add(int, int))>"), "Add(int, int)");
  EXPECT_EQ(PrettyFunctionName("manta::internal::TaskFunction<&Add>"), "Add");
  EXPECT_EQ(PrettyFunctionName("manta::internal::TaskFunction<main::{lambda(int)#1}{}>"), "main::{lambda(int)#1}");
  EXPECT_EQ(PrettyFunctionName("manta::internal::MethodFunction<a::Counter, &(a::Counter::Add(std::pair<int, int>))>"),
            "a::Counter::Add(std::pair<int, int>)");
  EXPECT_EQ(PrettyFunctionName("manta::internal::ConstructorFunction<Counter, int>"), "Counter");
  EXPECT_EQ(PrettyFunctionName("something else"), "something else");
  EXPECT_EQ(FunctionName(2), "function 0000000000000002");
}

TEST(Registry, KnowsTwoFunctionsOfOneName) {
  static const int a = 0, b = 0;
  FunctionEntry entry;
  entry.mangled_name = "no_such_mangled_name";
  entry.address = &a;
  entry.file = "one.cc";
  const uint64_t id = RegisterFunction(entry);
  EXPECT_EQ(RegisterFunction(entry), id);
  EXPECT_TRUE(FunctionCollisions().empty());
  entry.address = &b;
  entry.file = "two.cc";
  EXPECT_EQ(RegisterFunction(entry), id);
  ASSERT_EQ(FunctionCollisions().size(), 1u);
  const std::string text = ToString(FunctionCollisions()[0]);
  EXPECT_THAT(text, HasSubstr("one.cc"));
  EXPECT_THAT(text, HasSubstr("two.cc"));
}

TEST(CleanText, IsUtf8AndShort) {
  EXPECT_EQ(CleanText("plain \xe2\x82\xac\n\t"), "plain \xe2\x82\xac\n\t");
  EXPECT_EQ(CleanText(std::string("a\0b\x7f", 4)), "a?b?");
  EXPECT_EQ(CleanText("\xc3"), "?");
  EXPECT_EQ(CleanText("\xed\xa0\x80"), "???");
  EXPECT_LT(CleanText(std::string(1 << 20, 'x')).size(), kErrorTextBytesMax + 20);
}

TEST(Error, HasTheClassThatItsCodeSays) {
  for (uint16_t code = 1; code <= static_cast<uint16_t>(ErrorCode::kInternal); ++code) {
    ErrorValue value;
    value.code = code;
    value.message = "m";
    try {
      ThrowError(value);
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<uint16_t>(error.code()), code);
      EXPECT_STREQ(error.what(), "m");
      EXPECT_NE(typeid(error), typeid(Error));
      const std::shared_ptr<const Error> made = MakeError(value);
      const Error& same = *made;
      EXPECT_EQ(typeid(error), typeid(same));
    }
  }
}

}  // namespace
}  // namespace manta::internal

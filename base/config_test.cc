#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace manta::base {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ConfigTest : public testing::Test {
 protected:
  absl::StatusOr<Config> Read(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    std::vector<char*> argv = {program_.data()};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<const char*> variables;
    for (const std::string& variable : environment) variables.push_back(variable.c_str());
    variables.push_back(nullptr);
    int argc = static_cast<int>(argv.size()) - 1;
    absl::StatusOr<Config> config = Config::FromArgs(&argc, argv.data(), variables.data());
    EXPECT_EQ(argv[argc] == nullptr, true);
    left_.assign(argv.begin() + 1, argv.begin() + argc);
    return config;
  }
  std::string ErrorOf(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
    const absl::StatusOr<Config> config = Read(std::move(arguments), std::move(environment));
    EXPECT_TRUE(absl::IsInvalidArgument(config.status()));
    return Message(config.status());
  }

  std::string program_ = "./train";
  std::vector<std::string> left_;  // in argv after FromArgs
};

TEST_F(ConfigTest, HasDefaults) {
  const Config config = *Read({});
  EXPECT_EQ(config.address, "");
  EXPECT_FALSE(config.local);
  EXPECT_FALSE(config.num_cpus.has_value());
  EXPECT_EQ(config.worker_idle_timeout, std::chrono::seconds(60));
}

TEST_F(ConfigTest, TakesItsFlagsOutOfArgvAndLeavesTheRest) {
  const Config config = *Read({"--epochs=3", "--manta-num-cpus", "4", "data.csv", "--manta-local",
                               "--manta-address=h:1", "--", "--manta-num-cpus=9"});
  EXPECT_EQ(config.num_cpus, 4);
  EXPECT_TRUE(config.local);
  EXPECT_EQ(config.address, "h:1");
  EXPECT_THAT(left_, ElementsAre("--epochs=3", "data.csv", "--", "--manta-num-cpus=9"));
}

TEST_F(ConfigTest, AFlagWinsOverTheEnvironment) {
  EXPECT_EQ((*Read({}, {"MANTA_NUM_CPUS=2", "HOME=/x"})).num_cpus, 2);
  EXPECT_EQ((*Read({"--manta-num-cpus=3"}, {"MANTA_NUM_CPUS=2"})).num_cpus, 3);
  EXPECT_FALSE((*Read({}, {"MANTA_NUM_CPUS="})).num_cpus.has_value());
}

TEST_F(ConfigTest, UnknownNamesAreErrorsThatNameTheNearest) {
  EXPECT_EQ(ErrorOf({"--manta-num-cpu=2"}), "unknown flag --manta-num-cpu; the nearest known one is --manta-num-cpus");
  EXPECT_EQ(ErrorOf({}, {"MANTA_ADRESS=h:1"}),
            "unknown environment variable MANTA_ADRESS; the nearest known one is MANTA_ADDRESS");
  EXPECT_TRUE(Read({}, {"MANTA_INTERNAL_TOKEN=x"}).ok());
  EXPECT_TRUE(Read({}, {"MANTAX=1", "malformed"}).ok());
}

TEST_F(ConfigTest, ErrorsSayWhereTheValueCameFrom) {
  EXPECT_THAT(ErrorOf({"--manta-num-cpus=-1"}), HasSubstr("--manta-num-cpus=-1: it is not a whole number of 0..65536"));
  EXPECT_THAT(ErrorOf({}, {"MANTA_POLL=fast"}), HasSubstr("MANTA_POLL=fast: "));
  EXPECT_THAT(ErrorOf({"--manta-address"}), HasSubstr("--manta-address=HOST:PORT"));
  EXPECT_THAT(ErrorOf({"--manta-local=maybe"}), HasSubstr("neither true nor false"));
}

TEST_F(ConfigTest, AddressesHaveAHostAndAPort) {
  for (const char* good : {"localhost:1", "10.0.0.1:65535", "[::1]:6379"}) {
    EXPECT_EQ((*Read({std::string("--manta-address=") + good})).address, good);
  }
  for (const char* bad : {"", "host", "host:", ":1", "host:0", "host:65536", "host:1x", "::1:6379", "host:-1"}) {
    EXPECT_FALSE(Read({std::string("--manta-address=") + bad}).ok()) << bad;
  }
}

TEST_F(ConfigTest, ResourcesAreACheckedJsonObject) {
  EXPECT_EQ((*Read({R"(--manta-resources={"x": 0.5})"})).resources.Get("x").ToString(), "0.5");
  EXPECT_THAT(ErrorOf({R"(--manta-resources={"x": -1})"}), HasSubstr("'x': -1 is negative"));
  EXPECT_THAT(ErrorOf({R"(--manta-resources={"x": NaN})"}), HasSubstr("not JSON"));
  EXPECT_THAT(ErrorOf({R"(--manta-resources={"CPU": 1})"}), HasSubstr("CPU is set with --manta-num-cpus"));
}

TEST_F(ConfigTest, PollIsInMicrosecondsUnlessItSaysOtherwise) {
  EXPECT_EQ(*(*Read({"--manta-poll=50"})).poll, std::chrono::microseconds(50));
  EXPECT_EQ(*(*Read({"--manta-poll=1ms"})).poll, std::chrono::milliseconds(1));
  EXPECT_FALSE(Read({"--manta-poll=2s"}).ok());
}

TEST_F(ConfigTest, EveryKnobIsInTheHelpAndInTheMap) {
  const std::string help = Config::HelpText();
  for (const auto& [name, value] : Read({})->ToMap()) EXPECT_THAT(help, HasSubstr("--manta-" + name));
  EXPECT_THAT(help, HasSubstr("MANTA_SECRET_FILE"));
  EXPECT_EQ((*Read({"--manta-store-memory=1GiB"})).ToMap().at("store-memory"), "1073741824");
}

TEST(ParseBytes, TakesSuffixesAndRefusesTheRest) {
  EXPECT_EQ(*ParseBytes("4096"), 4096u);
  EXPECT_EQ(*ParseBytes("1.5GiB"), 1610612736u);
  EXPECT_EQ(*ParseBytes("2GB"), 2000000000u);
  for (const char* bad : {"", "-1", "nan", "inf", "1e400", "GiB", "1 GiB", "1gib", "0x10", "9999999999GiB"}) {
    EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
  }
}

TEST(ParseDuration, WantsAUnit) {
  EXPECT_EQ(*ParseDuration("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(*ParseDuration("50us"), std::chrono::microseconds(50));
  EXPECT_EQ(*ParseDuration("2m"), std::chrono::minutes(2));
  for (const char* bad : {"", "5", "-1s", "nans", "1d", "s", "1000000h"}) EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
}

}  // namespace
}  // namespace manta::base

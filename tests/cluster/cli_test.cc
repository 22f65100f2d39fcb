// The command line against a real cluster: what it says is what the processes are.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "base/process.h"
#include "nlohmann/json.hpp"

namespace manta {
namespace {

using nlohmann::json;

constexpr const char* kManta = MANTA_BIN_DIR "/manta";
constexpr const char* kProgram = MANTA_BIN_DIR "/cli_program";

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest() {
    std::filesystem::create_directories(directory_);
    setenv("MANTA_RUN_DIR", (directory_ + "/run").c_str(), 1);
    setenv("XDG_STATE_HOME", (directory_ + "/state").c_str(), 1);
    unsetenv("MANTA_ADDRESS");
  }
  ~CliTest() override {
    EndProgram();
    if (!address_.empty()) Manta("stop");
    std::filesystem::remove_all(directory_);
  }

  // `arguments` as a shell reads them.
  Outcome Manta(const std::string& arguments) const {
    const std::string errors = directory_ + "/errors";
    FILE* const pipe = popen((std::string(kManta) + " " + arguments + " 2>" + errors).c_str(), "r");
    Outcome outcome;
    std::array<char, 4096> buffer;
    for (size_t size = 0; (size = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
      outcome.out.append(buffer.data(), size);
    }
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    FILE* const file = fopen(errors.c_str(), "r");
    for (size_t size = 0; file != nullptr && (size = fread(buffer.data(), 1, buffer.size(), file)) > 0;) {
      outcome.err.append(buffer.data(), size);
    }
    if (file != nullptr) fclose(file);
    return outcome;
  }
  json Ask(const std::string& arguments) const {
    const Outcome outcome = Manta(arguments + " --format json");
    EXPECT_EQ(outcome.exit_code, 0) << arguments << ": " << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
  // The one row with that value.
  json Row(const std::string& what, const std::string& key, const json& value) const {
    json found;
    for (const json& row : Ask("list " + what)) {
      if (row.value(key, json()) == value) found = row;
    }
    return found;
  }
  static bool Eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  void StartCluster() {
    const Outcome started = Manta("start --head --port 0 --num-cpus 2 --store-memory 64MiB --metadata memory");
    ASSERT_EQ(started.exit_code, 0) << started.err;
    address_ = TextAt(Ask("status"), "address");
    ASSERT_NE(address_, "");
  }
  static std::string TextAt(const json& object, const std::string& key) { return object.value(key, std::string()); }

  // Runs until EndProgram.
  void StartProgram() {
    std::array<int, 2> in, out;
    ASSERT_EQ(pipe2(in.data(), O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(out.data(), O_CLOEXEC), 0);
    program_ = fork();
    if (program_ == 0) {
      setenv("MANTA_ADDRESS", address_.c_str(), 1);
      dup2(in[0], STDIN_FILENO);
      dup2(out[1], STDOUT_FILENO);
      execl(kProgram, kProgram, nullptr);
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    program_in_ = in[1];
    FILE* const lines = fdopen(out[0], "r");
    std::array<char, 1024> line;
    while (fgets(line.data(), line.size(), lines) != nullptr) {
      int driver = 0;
      if (sscanf(line.data(), "ready %d %d %d", &driver, &keeper_pid_, &anonymous_pid_) == 3) break;
    }
    fclose(lines);
    ASSERT_NE(keeper_pid_, 0) << "the program did not come so far";
  }
  void EndProgram() {
    if (program_ <= 0) return;
    close(program_in_);
    EXPECT_EQ(waitpid(program_, nullptr, 0), program_);
    program_ = 0;
  }

  const std::string directory_ = ::testing::TempDir() + "manta-cli-" + std::to_string(getpid());
  std::string address_;
  pid_t program_ = 0;
  int program_in_ = -1;
  int keeper_pid_ = 0;
  int anonymous_pid_ = 0;
};

TEST_F(CliTest, WithoutAClusterEveryVerbSaysSo) {
  for (const char* verb : {"status", "list nodes", "summary tasks", "memory", "logs", "kill hits"}) {
    const Outcome outcome = Manta(verb);
    EXPECT_EQ(outcome.exit_code, 3) << verb;
    EXPECT_EQ(outcome.out, "") << verb;
    EXPECT_NE(outcome.err.find("manta start"), std::string::npos) << verb << ": " << outcome.err;
  }
}

TEST_F(CliTest, WhatCannotBeMeantIsAUsageError) {
  for (const char* arguments : {"list", "list planets", "list nodes --filter x", "status --format xml", "kill",
                                "summary nodes", "list nodes --limit 0", "logs --node n1 --actor a", "nonsense"}) {
    const Outcome outcome = Manta(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << arguments;
    EXPECT_NE(outcome.err, "") << arguments;
  }
  for (const char* verb : {"", "status", "list", "summary", "memory", "logs", "kill"}) {
    const Outcome help = Manta(std::string(verb) + " --help");
    EXPECT_EQ(help.exit_code, 0) << verb;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << verb;
  }
}

TEST_F(CliTest, WhatItListsIsWhatThereIs) {
  StartCluster();
  StartProgram();

  const json node = Row("nodes", "node_id", "n1");
  EXPECT_EQ(node.value("state", ""), "ALIVE");
  EXPECT_TRUE(base::ReadProcessStat(node.value("pid", 0)).ok());

  std::set<int> pids;
  for (const json& worker : Ask("list workers")) pids.insert(worker.value("pid", 0));
  EXPECT_TRUE(pids.contains(program_));
  EXPECT_TRUE(pids.contains(keeper_pid_));
  EXPECT_TRUE(pids.contains(anonymous_pid_));
  for (const int pid : pids) EXPECT_TRUE(base::ReadProcessStat(pid).ok()) << pid;

  const json keeper = Row("actors", "name", "keeper");
  EXPECT_EQ(keeper.value("pid", 0), keeper_pid_);
  EXPECT_EQ(keeper.value("state", ""), "ALIVE");
  EXPECT_NE(keeper.value("class_name", "").find("Keeper"), std::string::npos) << keeper;
  EXPECT_EQ(Row("actors", "pid", anonymous_pid_).value("state", ""), "ALIVE");
  EXPECT_EQ(Ask("list actors").size(), 2u);

  EXPECT_EQ(Ask("list jobs").size(), 1u);
  EXPECT_NE(Row("programs", "jobs", 1).value("program", "").find("cli_program"), std::string::npos);

  EXPECT_EQ(Ask("list tasks --filter name=twice --filter state=FINISHED").size(), 20u);
  const json failed = Row("tasks", "name", "fail");
  EXPECT_EQ(failed.value("state", ""), "FAILED");
  EXPECT_NE(failed.value("error_type", "").find("runtime_error"), std::string::npos) << failed;
  EXPECT_TRUE(Eventually([&] { return Row("tasks", "name", "sleeping").value("state", "") == "RUNNING"; }));
  EXPECT_TRUE(pids.contains(Row("tasks", "name", "sleeping").value("pid", 0)));
  EXPECT_EQ(Row("tasks", "name", "impossible").value("state", ""), "PENDING_NODE");
  int twice = 0;
  for (const json& row : Ask("summary tasks")) {
    if (row.value("name", "") == "twice" && row.value("state", "") == "FINISHED") twice = row.value("count", 0);
  }
  EXPECT_EQ(twice, 20);

  const json memory = Ask("memory");
  ASSERT_FALSE(memory.empty());
  EXPECT_GE(memory[0].value("size", 0), 4 << 20);
  EXPECT_NE(memory[0].value("why", ""), "");

  const json status = Ask("status");
  EXPECT_EQ(status["resources"]["CPU"]["used"], 1.0) << status;
  EXPECT_EQ(status["actors"]["ALIVE"], 2);
  EXPECT_GE(status["store"].value("used_bytes", 0), 4 << 20);
  ASSERT_EQ(status["demand"].size(), 1u) << status;
  EXPECT_NE(status["demand"][0].value("reason", "").find("moon"), std::string::npos);

  const Outcome logs = Manta("logs --actor keeper");
  EXPECT_EQ(logs.exit_code, 0) << logs.err;
  EXPECT_NE(logs.out.find("printed by the keeper"), std::string::npos) << logs.out;
  EXPECT_EQ(Manta("logs --node n1").exit_code, 0);

  EndProgram();
  EXPECT_TRUE(Eventually([&] { return Ask("list workers").empty() && Row("jobs", "job_id", 1)["status"] == "ENDED"; }));
  EXPECT_TRUE(Ask("list objects").empty());
  EXPECT_EQ(Row("tasks", "name", "sleeping").value("state", ""), "FAILED") << "its job has ended";
}

TEST_F(CliTest, AnActorThatIsKilledIsRestartedOnceAndThenNoMore) {
  StartCluster();
  StartProgram();
  ASSERT_EQ(kill(keeper_pid_, SIGKILL), 0);
  const auto lives_again = [&] {
    const json keeper = Row("actors", "name", "keeper");
    const int pid = keeper.value("pid", 0);
    return keeper.value("state", "") == "ALIVE" && pid != keeper_pid_ && base::ReadProcessStat(pid).ok();
  };
  ASSERT_TRUE(Eventually(lives_again));
  EXPECT_EQ(Row("actors", "name", "keeper").value("restarts", 0), 1);
  EXPECT_NE(Ask("status")["failures"].dump().find("signal 9"), std::string::npos) << Ask("status")["failures"];

  const int second = Row("actors", "name", "keeper").value("pid", 0);
  EXPECT_EQ(Manta("kill nobody").exit_code, 1);
  EXPECT_EQ(Manta("kill keeper --no-restart").exit_code, 0);
  EXPECT_TRUE(Eventually([&] { return !base::ReadProcessStat(second).ok(); }));
  EXPECT_TRUE(Eventually([&] { return Row("actors", "name", "keeper").value("state", "") == "DEAD"; }));

  const std::string anonymous = Row("actors", "pid", anonymous_pid_).value("actor_id", "");
  EXPECT_EQ(Manta("kill " + anonymous).exit_code, 0);
  EXPECT_TRUE(Eventually([&] { return !base::ReadProcessStat(anonymous_pid_).ok(); }));
}

TEST_F(CliTest, ANodeThatIsKilledIsListedAsDead) {
  StartCluster();
  const Outcome joined = Manta("start --num-cpus 1 --store-memory 64MiB --address " + address_);
  ASSERT_EQ(joined.exit_code, 0) << joined.err;
  const json node = Row("nodes", "node_id", "n2");
  ASSERT_EQ(node.value("state", ""), "ALIVE");
  ASSERT_EQ(kill(node.value("pid", 0), SIGKILL), 0);
  ASSERT_TRUE(Eventually([&] { return Row("nodes", "node_id", "n2").value("state", "") == "DEAD"; }));
  EXPECT_NE(Row("nodes", "node_id", "n2").value("message", ""), "");
  EXPECT_EQ(Ask("status")["resources"]["CPU"]["total"], 2.0);
}

TEST_F(CliTest, ANodeThatIsStoppedIsNamedWithinASecond) {
  StartCluster();
  const Outcome joined = Manta("start --num-cpus 1 --store-memory 64MiB --address " + address_);
  ASSERT_EQ(joined.exit_code, 0) << joined.err;
  const pid_t pid = Row("nodes", "node_id", "n2").value("pid", 0);
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const auto begin = std::chrono::steady_clock::now();
  const Outcome workers = Manta("list workers");
  const auto took = std::chrono::steady_clock::now() - begin;
  kill(pid, SIGCONT);
  EXPECT_EQ(workers.exit_code, 0);
  EXPECT_NE(workers.err.find("n2"), std::string::npos) << workers.err;
  EXPECT_LT(took, std::chrono::seconds(3));
}

}  // namespace
}  // namespace manta

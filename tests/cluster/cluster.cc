#include "tests/cluster/cluster.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "runtime/cluster_files.h"

namespace manta::cluster {
namespace {

constexpr seconds kCommandLimit(15);
constexpr seconds kFarAboveABar(5);

bool HasFlag(const std::vector<std::string>& flags, const std::string& name) {
  return std::any_of(flags.begin(), flags.end(),
                     [&](const std::string& flag) { return flag == name || flag.starts_with(name + "="); });
}

void AddFlag(std::vector<std::string>* flags, const std::string& name, const std::string& value) {
  if (!HasFlag(*flags, name)) flags->push_back(name + "=" + value);
}

// What follows `word` in `text`, up to a space, a parenthesis or the line's end.
std::string After(const std::string& text, const std::string& word) {
  const size_t at = text.find(word);
  if (at == std::string::npos) return "";
  const size_t begin = at + word.size();
  return text.substr(begin, text.find_first_of(" :)\n", begin) - begin);
}

pid_t PidAfter(const std::string& text, const std::string& word) {
  const size_t at = text.find(word);
  return at == std::string::npos ? 0 : std::atoi(After(text.substr(at), "pid ").c_str());
}

int Plus(int a, int b) { return a + b; }
std::string WhereAmI() { return CurrentContext().node(); }
class Tally {
 public:
  int Add(int by) { return sum_ += by; }

 private:
  int sum_ = 0;
};

SCENARIO(Visit) {
  const Runtime runtime = Init(argc, argv);
  const auto tally = Actor<Tally>().Remote();
  const int sum = Get(tally.Call<&Tally::Add>().Remote(Task<&Plus>().Remote(1, 2)), seconds(10));
  embedded::Say("the sum is " + std::to_string(sum));
  return sum == 3 ? 0 : 1;
}

}  // namespace

void ReportBar(const std::string& what, milliseconds measured, milliseconds bar) {
  std::printf("bar: %s %lld ms (bar %lld ms)\n", what.c_str(), static_cast<long long>(measured.count()),
              static_cast<long long>(bar.count()));
  EXPECT_LE(measured, bar + kFarAboveABar) << what;
}

ClusterTest::ClusterTest(seconds deadline) : EmbeddedTest(deadline) {}

// ------------------------------------------------------------------ commands

Scenario ClusterTest::BeginManta(std::vector<std::string> args, const std::vector<std::string>& environment) {
  args.insert(args.begin(), MANTA_PROGRAM);
  std::vector<std::string> variables = environment;
  variables.push_back("MANTA_RUN_DIR=" + run_directory());
  return Scenario(args, directory(), variables);
}

ClusterTest::Ran ClusterTest::Manta(std::vector<std::string> args, const std::vector<std::string>& environment) {
  const Stopwatch watch;
  Scenario command = BeginManta(std::move(args), environment);
  const Scenario::End end = command.Join(kCommandLimit);
  return {end.exited ? end.status : 128 + end.signal, command.output(), watch.elapsed()};
}

void ClusterTest::StartHead(std::vector<std::string> flags) {
  AddFlag(&flags, "--port", "0");
  AddFlag(&flags, "--state-dir", state_dir());
  AddFlag(&flags, "--num-cpus", "0");
  AddFlag(&flags, "--store-memory", "128MiB");
  std::vector<std::string> command = {"start", "--head"};
  command.insert(command.end(), flags.begin(), flags.end());
  const Ran ran = Manta(std::move(command));
  ASSERT_EQ(ran.status, 0) << ran.output;
  address_ = After(ran.output, " at ") + ":" + After(ran.output, After(ran.output, " at ") + ":");
  head_ = PidAfter(ran.output, "(head:");
  const pid_t node = PidAfter(ran.output, "node");
  if (node != 0) node_beside_head_ = node;
  ASSERT_NE(head_, 0) << ran.output;
  head_flags_ = std::move(flags);
}

ClusterTest::Node ClusterTest::AddNode(const std::string& name, std::vector<std::string> flags) {
  AddFlag(&flags, "--address", address_);
  AddFlag(&flags, "--state-dir", state_dir());
  AddFlag(&flags, "--num-cpus", "1");
  AddFlag(&flags, "--store-memory", "128MiB");
  AddFlag(&flags, "--node-name", name);
  AddFlag(&flags, "--resources", "{\"" + name + "\": 1, \"" + kAnywhere + "\": 1}");
  flags.insert(flags.begin(), "start");
  const Ran ran = Manta(std::move(flags));
  EXPECT_EQ(ran.status, 0) << ran.output;
  return {name, After(ran.output, "started node "), PidAfter(ran.output, "started node")};
}

void ClusterTest::RestartHead() {
  std::erase_if(head_flags_, [](const std::string& flag) { return flag.starts_with("--port="); });
  head_flags_.push_back("--port=" + address_.substr(address_.rfind(':') + 1));
  StartHead(head_flags_);
}

void ClusterTest::KillHead() {
  Send(SIGKILL, head_);
  ASSERT_TRUE(Within(seconds(2), [this] { return !embedded::IsAlive(head_); }));
}

pid_t ClusterTest::redis() const { return std::atoi(embedded::ReadFile(File("state/redis/redis.pid")).c_str()); }

std::string ClusterTest::Redis(const std::vector<std::string>& command) {
  std::string id = embedded::ReadFile(File("state/cluster_id"));
  id.erase(id.find_last_not_of('\n') + 1);
  std::vector<std::string> argv = {"redis-cli", "-s", run_directory() + "/" + id + "/redis.sock"};
  argv.insert(argv.end(), command.begin(), command.end());
  Scenario client(argv, directory());
  EXPECT_EQ(client.Join().status, 0) << client.output();
  return client.output();
}

// ------------------------------------------------------------------ drivers

void ClusterTest::Attach(std::vector<std::string> flags) {
  AddFlag(&flags, "--manta-address", address_);
  AddFlag(&flags, "--manta-state-dir", state_dir());
  StartCluster(std::move(flags));
}

Scenario ClusterTest::Drive(const std::string& name, std::vector<std::string> args,
                            const std::vector<std::string>& environment) {
  AddFlag(&args, "--manta-address", address_);
  AddFlag(&args, "--manta-state-dir", state_dir());
  AddFlag(&args, "--manta-run-dir", run_directory());
  return Scenario(name, directory(), args, environment);
}

void ClusterTest::ExpectItWorks() {
  Scenario visit = Drive("Visit");
  const Scenario::End end = visit.Join(seconds(15));
  EXPECT_TRUE(end.exited && end.status == 0) << end.Describe() << "; it said:\n" << visit.output();
}

void ClusterTest::ExpectRunsOn(const std::vector<std::string>& names) {
  std::set<std::string> found;
  for (const std::string& name : names) found.insert(Get(On(name, Task<&WhereAmI>()).Remote(), seconds(10)));
  EXPECT_EQ(found.size(), names.size()) << ::testing::PrintToString(found);
}

// ------------------------------------------------------------------ faults

void ClusterTest::Send(int signal, pid_t pid) const {
  ASSERT_GT(pid, 0);
  ASSERT_EQ(kill(pid, signal), 0) << "signal " << signal << " to " << pid << ": " << std::strerror(errno);
}

void ClusterTest::KillAllOf(const Node& node) const {
  std::vector<pid_t> pids = {node.pid};
  for (const Relative& relative : Family::All()) {
    if (relative.parent == node.pid || relative.name.starts_with("manta-" + node.number + ".")) {
      pids.push_back(relative.pid);
    }
  }
  for (const pid_t pid : pids) kill(pid, SIGKILL);
}

// ------------------------------------------------------------------ the end

void ClusterTest::TearDown() {
  EndCluster();
  for (const Relative& relative : Family::All()) {
    if (relative.state == 'T') kill(relative.pid, SIGCONT);
  }
  StopAll();
  ExpectNoRedisLeft();
  EmbeddedTest::TearDown();
}

void ClusterTest::StopAll() {
  for (const runtime::ClusterHere& cluster : runtime::ClustersEverHere(run_directory())) {
    const Ran ran = Manta({"stop", "--address=" + cluster.address});
    EXPECT_TRUE(ran.status == 0 || cluster.daemons.empty()) << ran.output;
  }
}

// A redis-server writes its title over its environment, by which the audit knows this test's processes.
void ClusterTest::ExpectNoRedisLeft() const {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory(), ignored)) {
    const pid_t pid = std::atoi(embedded::ReadFile(entry.path().string() + "/redis/redis.pid").c_str());
    if (pid == 0 || Within(seconds(2), [pid] { return !embedded::IsAlive(pid); })) continue;
    ADD_FAILURE() << "left behind: redis-server " << pid << " of " << entry.path();
    kill(pid, SIGKILL);
  }
}

std::string ClusterTest::Logs() const {
  std::string text = EmbeddedTest::Logs();
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory(), ignored)) {
    const std::string logs = entry.path().string() + "/logs";
    if (std::filesystem::is_directory(logs, ignored)) text += embedded::TailsOf(logs);
  }
  return text;
}

}  // namespace manta::cluster

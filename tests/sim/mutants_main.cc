// sim_mutants takes rules out of the cores, one at a time, and expects the simulator to find out.
//
//   sim_mutants                  the mutants below, each until the first seed that catches it
//   sim_mutants RULE...          these
//   sim_mutants --list SEED...   the rules that these seeds ask for
// Fails if a mutant survives kSeeds seeds, or if no seed ever asked for its rule (base/rule.h). Each mutant is a
// process of its own: one may end in a failed check, and that is a catch, too.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/rule.h"
#include "tests/sim/world.h"

namespace {

using namespace manta;
using namespace manta::sim;

constexpr uint64_t kSeeds = 500;
constexpr size_t kProcesses = 2;

// Fences, de-duplication, streams and who is at their ends, and the rules of tickets.
constexpr const char* kMutants[] = {
    "session.dedup",
    "session.order",
    "session.resend",
    "send_queue.short_write",
    "frame.keeps_rest",
    "handshake.addressee",
    "handshake.proof",
    "head.fence",
    "head.name_once",
    "head.job_once",
    "directory.incarnation",
    "node.expected_worker",
    "actor.numbered_before",
    "home.kept_awaits_registration",
    "home.seal_after_release",
    "ref.ticket_before_send",
    "ref.kept_in_reply",
    "pull.room_until_written",
    "home.ask_owner",
    "redis.watch",
    "redis.fence",
    "redis.read_back",
    "redis.lost_history",
    "redis.floor",
    "commit.draft",
    "commit.sync",
};

enum Exit : int { kCaught = 0, kSurvived = 1, kNeverAsked = 2 };

bool WasAsked(std::string_view rule) {
  for (const std::string& asked : base::AskedRules()) {
    if (asked == rule) return true;
  }
  return false;
}

// The workload that a rule is about, where few of the others' runs would miss it; null: all of them.
const Workload* WorkloadOf(const std::string& rule) {
  if (rule != "pull.room_until_written") return nullptr;
  for (const Workload& workload : Workloads()) {
    if (std::string_view(workload.name) == "large") return &workload;
  }
  return nullptr;
}

// In the child.
int Search(const std::string& rule) {
  base::SetActiveMutant(rule);
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    RunOptions options;
    options.seed = seed;
    options.workload = WorkloadOf(rule);
    const RunReport report = World(options).Run();
    if (report.violations.empty()) continue;
    std::printf("%-32s seed %3llu (%s, %s): %s\n", rule.c_str(), static_cast<unsigned long long>(seed),
                report.workload.c_str(), report.mix.c_str(), report.violations.front().substr(0, 120).c_str());
    return kCaught;
  }
  return WasAsked(rule) ? kSurvived : kNeverAsked;
}

pid_t Start(const std::string& rule) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child != 0) return child;
  const int result = Search(rule);
  std::fflush(stdout);
  _exit(result);
}

// Whether it was caught.
bool Judge(const std::string& rule, int status) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
    std::printf("%-32s a check failed\n", rule.c_str());
    return true;
  }
  const int result = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (result == kCaught) return true;
  std::printf("FAILED: %s %s\n", rule.c_str(),
              result == kSurvived     ? "survives all seeds"
              : result == kNeverAsked ? "is no rule that any seed asks for"
                                      : "ends in no way that a mutant may end in");
  return false;
}

int List(int count, char** seeds) {
  std::set<std::string> rules;
  for (int i = 0; i < count; ++i) {
    base::SetActiveMutant("");
    RunOptions options;
    options.seed = std::strtoull(seeds[i], nullptr, 10);
    (void)World(options).Run();
    for (const std::string& rule : base::AskedRules()) rules.insert(rule);
  }
  for (const std::string& rule : rules) std::printf("%s\n", rule.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--list") == 0) return List(argc - 2, argv + 2);
  std::vector<std::string> rules(argv + 1, argv + argc);
  if (rules.empty()) rules.assign(std::begin(kMutants), std::end(kMutants));
  const auto start = std::chrono::steady_clock::now();
  std::map<pid_t, std::string> running;
  size_t next = 0, caught = 0;
  while (next < rules.size() || !running.empty()) {
    while (next < rules.size() && running.size() < kProcesses) {
      const pid_t child = Start(rules[next]);
      if (child < 0) {
        std::perror("fork");
        return 1;
      }
      running[child] = rules[next++];
    }
    int status = 0;
    const pid_t ended = wait(&status);
    const auto it = running.find(ended);
    if (it == running.end()) continue;
    caught += Judge(it->second, status);
    running.erase(it);
  }
  std::printf("%zu of %zu mutants caught in %.1f s\n", caught, rules.size(),
              std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return caught == rules.size() ? 0 : 1;
}

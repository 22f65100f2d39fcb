// What a test of a cluster of daemons is told with: `manta start` and its kin as users run them, drivers in this
// process or in processes of their own, faults by name.
//
//   TEST_F(Daemons, ...) { StartHead(); AddNode("w1"); Attach(); EXPECT_EQ(Get(On("w1", Task<&Add>()).Remote(1, 2)),
//   3); }
//
// A node is made with one of the custom resource that is called as it is, so that On("w1", ...) runs there. At its end
// each test stops what it started with `manta stop`, and nothing may be left: no process, file, shared memory, server.
#ifndef MANTA_TESTS_CLUSTER_CLUSTER_H_
#define MANTA_TESTS_CLUSTER_CLUSTER_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::cluster {

using embedded::EmbeddedTest;
using embedded::ErrorOf;
using embedded::Family;
using embedded::Relative;
using embedded::Scenario;
using embedded::Within;
using std::chrono::milliseconds;
using std::chrono::seconds;

// On(kAnywhere, ...): on one of the nodes that AddNode made, not on the one beside the head.
inline constexpr char kAnywhere[] = "anywhere";
// Builders of tasks and actors: there, without CPUs.
template <class Builder>
Builder On(const std::string& node, Builder builder) {
  builder.NumCpus(0).Resources({{node, 0.001}});
  return builder;
}

// How long something takes.
class Stopwatch {
 public:
  milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - start_);
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// "bar: node killed -> error 12 ms (bar 100 ms)": a measured bar of the issue; fails the test far above it only, since
// the machine runs other things too.
void ReportBar(const std::string& what, milliseconds measured, milliseconds bar);

class ClusterTest : public EmbeddedTest {
 protected:
  explicit ClusterTest(seconds deadline = seconds(60));
  void TearDown() override;

  struct Ran {
    int status = -1;  // 128 + n: killed by signal n
    std::string output;
    milliseconds took{0};
  };
  // `manta` with these arguments and this test's run directory, to its end.
  Ran Manta(std::vector<std::string> args, const std::vector<std::string>& environment = {});
  // The same, in the background.
  Scenario BeginManta(std::vector<std::string> args, const std::vector<std::string>& environment = {});

  struct Node {
    std::string name;    // ours: "w1"
    std::string number;  // the cluster's: "n2"
    pid_t pid = 0;       // of its daemon
  };
  // A head on any port, on the state directory "state", and a node of 0 CPUs beside it. `flags` win.
  void StartHead(std::vector<std::string> flags = {});
  // 1 CPU and a store of 128 MiB, unless the flags say otherwise.
  Node AddNode(const std::string& name, std::vector<std::string> flags = {});
  // After its death, with the same command.
  void RestartHead();
  void KillHead();
  // The head's private redis-server: its pid, and what redis-cli says to a command.
  pid_t redis() const;
  std::string Redis(const std::vector<std::string>& command);
  const std::string& address() const { return address_; }
  pid_t head() const { return head_; }
  pid_t node_beside_head() const { return node_beside_head_; }

  // This process becomes a driver of the cluster, until Detach or the test's end.
  void Attach(std::vector<std::string> flags = {});
  void Detach() { EndCluster(); }
  // A driver in a process of its own.
  Scenario Drive(const std::string& name, std::vector<std::string> args = {},
                 const std::vector<std::string>& environment = {});
  // A new driver comes, has a task and an actor run, and goes.
  void ExpectItWorks();
  // The nodes that the head knows, itself included, by what programs find: tasks run on each of `names`.
  void ExpectRunsOn(const std::vector<std::string>& names);

  std::vector<Relative> WorkersOf(const Node& node) const { return Family::Named("manta-" + node.number + "."); }
  // The daemon, its zygotes and workers at once.
  void KillAllOf(const Node& node) const;
  void Send(int signal, pid_t pid) const;
  std::string state_dir() const { return File("state"); }
  std::string Logs() const override;

 private:
  void StopAll();
  void ExpectNoRedisLeft() const;

  std::vector<std::string> head_flags_;
  std::string address_;
  pid_t head_ = 0;
  pid_t node_beside_head_ = 0;
};

}  // namespace manta::cluster

#endif  // MANTA_TESTS_CLUSTER_CLUSTER_H_

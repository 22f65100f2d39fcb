// What a test of the embedded cluster is told with: a cluster of its own, scenarios in processes of their own,
// deadlines.
//
//   TEST_F(Faults, ...) { StartCluster({"--manta-num-cpus=1"}); ... EXPECT_EQ(Get(...)); }     // audited at its end
//   SCENARIO(DriverThatWaits) { auto runtime = manta::Init(argc, argv); ... }
//   Scenario driver = Run("DriverThatWaits"); driver.Await("working"); driver.Signal(SIGKILL);
//
// These programs are Manta programs: main (main.cc) calls Init at its top in every process that Manta started from
// them. In the driver Init comes with the test, whose flags it takes, or with the scenario.
#ifndef MANTA_TESTS_EMBEDDED_STORY_H_
#define MANTA_TESTS_EMBEDDED_STORY_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "manta/manta.h"
#include "tests/embedded/leak_audit.h"

namespace manta::embedded {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Whether a process has the memory that its program asks for, and no sanitizer's shadow beside it.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kHasShadowMemory = true;
#else
inline constexpr bool kHasShadowMemory = false;
#endif
#else
inline constexpr bool kHasShadowMemory = false;
#endif

// ------------------------------------------------------------------ files, by which processes tell each other things

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& text);
// Appends one line in one write: lines of several processes do not mix.
void AppendLine(const std::string& path, const std::string& line);
std::vector<std::string> Lines(const std::string& path);
bool Exists(const std::string& path);
void AwaitFile(const std::string& path);  // as long as the test may take
bool IsAlive(pid_t pid);                  // false for a zombie, too

// ------------------------------------------------------------------ scenarios

using ScenarioFunction = int (*)(int argc, char** argv);
bool RegisterScenario(const char* name, ScenarioFunction function);
// Runs the scenario that argv asks for, if it asks for one; its exit status.
std::optional<int> RunScenario(int argc, char** argv);

#define SCENARIO(Name)                                                                                                \
  static int Name##Scenario(int argc, char** argv);                                                                   \
  [[maybe_unused]] static const bool Name##_registered = ::manta::embedded::RegisterScenario(#Name, &Name##Scenario); \
  static int Name##Scenario([[maybe_unused]] int argc, [[maybe_unused]] char** argv)

// Says a line to the test. A scenario's stdout is not buffered.
void Say(const std::string& line);
// The scenario's own argument --name=VALUE; "" if there is none. Manta's flags are Init's.
std::string ArgumentOf(int argc, char** argv, const std::string& name);

// The last bytes of each file under `directory` that says anything.
std::string TailsOf(const std::string& directory);

// One run of a scenario: a process of its own, this program started again.
class Scenario {
 public:
  struct End {
    bool exited = false;  // else: killed by `signal`
    int status = -1;
    int signal = 0;
    std::string Describe() const;
  };

  Scenario(const std::string& name, const std::string& directory, const std::vector<std::string>& args,
           const std::vector<std::string>& environment);
  // Another program, of that command line.
  Scenario(const std::vector<std::string>& argv, const std::string& directory,
           const std::vector<std::string>& environment = {});
  Scenario(const Scenario&) = delete;
  Scenario& operator=(const Scenario&) = delete;
  ~Scenario();  // kills it if it runs

  pid_t pid() const { return pid_; }
  // The rest of the first line that begins with `word`; fails the test, with what was said, after 20 s.
  std::string Await(const std::string& word);
  bool Said(const std::string& text) const { return output().find(text) != std::string::npos; }
  std::string output() const;  // stdout and stderr
  void Signal(int signal) const;
  End Join(milliseconds limit = seconds(20));

 private:
  void Start(std::vector<std::string> argv, const std::string& output_path,
             const std::vector<std::string>& environment);

  std::string output_path_;
  pid_t pid_ = 0;
  std::optional<End> end_;
};

// ------------------------------------------------------------------ the fixture

class EmbeddedTest : public ::testing::Test {
 protected:
  // A test that takes longer is ended, and says who waited where.
  explicit EmbeddedTest(seconds deadline = seconds(45));
  ~EmbeddedTest() override;
  void SetUp() override;
  void TearDown() override;

  // 2 CPUs and a store of 128 MiB, unless the flags say otherwise.
  void StartCluster(std::vector<std::string> flags = {}, Options options = {});
  void EndCluster();
  Scenario Run(const std::string& name, const std::vector<std::string>& args = {},
               const std::vector<std::string>& environment = {});

  // What the fixture adds to `flags`: its own directories.
  std::vector<std::string> WithDirectories(std::vector<std::string> flags) const;
  std::string File(const std::string& name) const { return directory_ + "/" + name; }
  const std::string& run_directory() const { return run_directory_; }
  const std::string& directory() const { return directory_; }
  // All logs of the cluster so far: of node and workers.
  virtual std::string Logs() const;
  // Nothing of this test's is left; called by TearDown, too.
  void ExpectNothingLeft();

 private:
  class Deadline;

  std::string directory_;
  std::string run_directory_;
  std::string log_directory_;
  std::unique_ptr<LeakAudit> audit_;
  std::unique_ptr<Deadline> deadline_;
  std::optional<Runtime> runtime_;
};

// The error of a Get as its class, or a failure of the test that says what came instead.
template <class ErrorType, class Function>
std::optional<ErrorType> ErrorOf(Function&& function) {
  try {
    function();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    if constexpr (std::is_same_v<ErrorType, Error>) {
      return error;
    } else if (const auto* expected = dynamic_cast<const ErrorType*>(&error)) {
      return *expected;
    }
    ADD_FAILURE() << "another error, code " << static_cast<int>(error.code()) << ": " << error.Describe();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not an error of Manta's: " << error.what();
  }
  return std::nullopt;
}

}  // namespace manta::embedded

#endif  // MANTA_TESTS_EMBEDDED_STORY_H_

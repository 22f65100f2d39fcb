// What users can ask for: flags, variables, options, directories, resources, sizes. A clear typed error each, and the
// cluster lives on.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/embedded/bad_input_story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::HasSubstr;

size_t CountOf(std::vector<ObjectRef<int>> refs) { return refs.size(); }
size_t LengthsOf(std::string a, std::string b, std::string c, std::string d, std::string e, std::string f) {
  return a.size() + b.size() + c.size() + d.size() + e.size() + f.size();
}
std::string ThrowLong(size_t size) { throw std::runtime_error(std::string(size, 'l')); }

// ------------------------------------------------------------------ flags and directories

SCENARIO(PlainDriver) {
  const Runtime runtime = Init(argc, argv);
  Say("got " + std::to_string(Get(Task<&Successor>().Remote(1))));
  return 0;
}

TEST_F(BadInput, FlagsThatMakeNoSenseAreRefused) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"--manta-num-cpu=3", "--manta-num-cpus"},
      {"--manta-num-cpus=-1", "num-cpus"},
      {"--manta-num-cpus=many", "num-cpus"},
      {"--manta-num-cpus=1e9", "num-cpus"},
      {"--manta-store-memory=1KiB", "store-memory"},
      {"--manta-store-memory=lots", "store-memory"},
      {"--manta-resources={\"a\": -1}", "resources"},
      {"--manta-resources={\"a\": nan}", "resources"},
      {"--manta-resources={\"CPU\": 1}", "num-cpus"},
      {"--manta-resources=a", "resources"},
      {"--manta-poll=2", ""},
      {"--manta-poll=5s", "poll"},
      {"--manta-log-level=loud", "log-level"},
      {"--manta-worker-idle-timeout=5", "worker-idle-timeout"},
      {"--manta-", "--manta-"},
      {"--manta-address=nowhere", "address"}};
  for (const auto& [flag, named] : bad) {
    Scenario driver = Run("PlainDriver", {flag});
    const Scenario::End end = driver.Join();
    if (named.empty()) {
      EXPECT_EQ(end.status, 0) << flag << driver.output();
      continue;
    }
    EXPECT_EQ(end.status, 97) << flag << " " << end.Describe();
    EXPECT_THAT(
        driver.output(),
        AllOf(HasSubstr("threw " + std::to_string(static_cast<int>(ErrorCode::kInvalidArgument))), HasSubstr(named)))
        << flag;
  }
}

TEST_F(BadInput, UnknownVariablesAreRefused) {
  Scenario driver = Run("PlainDriver", {}, {"MANTA_NUM_CPU=3"});
  EXPECT_EQ(driver.Join().status, 97);
  EXPECT_THAT(driver.output(), AllOf(HasSubstr("MANTA_NUM_CPU"), HasSubstr("MANTA_NUM_CPUS")));
  Scenario second = Run("PlainDriver", {}, {"MANTA_WORKER_IDLE_TIMEOUT=never"});
  EXPECT_EQ(second.Join().status, 97);
  EXPECT_THAT(second.output(), HasSubstr("MANTA_WORKER_IDLE_TIMEOUT"));
  Scenario third = Run("PlainDriver", {}, {"MANTA_INTERNAL_ROLE=emperor"});
  const Scenario::End end = third.Join();
  EXPECT_TRUE(end.exited && end.status != 0) << end.Describe();
  EXPECT_THAT(third.output(), HasSubstr("MANTA_INTERNAL_"));
  Scenario fourth = Run("PlainDriver", {}, {"MANTA_INTERNAL_ROLE=worker", "MANTA_INTERNAL_SOCKET=0"});
  const Scenario::End end4 = fourth.Join();
  EXPECT_TRUE(end4.exited && end4.status != 0) << end4.Describe();
}

TEST_F(BadInput, OptionsThatMakeNoSenseAreRefused) {
  Options options;
  options.resources = {{"licence", -1}};
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster({}, options); }));
  options.resources = {{"licence", std::nan("")}};
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster({}, options); }));
  options.resources = {{"CPU", 3}};
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster({}, options); }));
  options = {};
  options.num_cpus = -3;
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster({}, options); }));
  options = {};
  options.store_memory_bytes = 3;
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { StartCluster({}, options); }));
  StartCluster();
  ExpectAlive();
}

TEST_F(BadInput, AClusterThatCannotStartSaysWhy) {
  // Not a directory, somebody else's, not there to be made: as root may write anywhere, permissions alone say nothing.
  WriteFile(File("file"), "");
  ASSERT_EQ(mkdir(File("foreign").c_str(), 0700), 0);
  if (getuid() == 0) {
    ASSERT_EQ(chown(File("foreign").c_str(), 65534, 65534), 0);
  } else
    ASSERT_EQ(chmod(File("foreign").c_str(), 0500), 0);
  ASSERT_EQ(symlink(run_directory().c_str(), File("link").c_str()), 0);
  for (const std::string& directory :
       {File("file"), File("foreign"), File("not/there"), std::string("/proc/manta"), File("link")}) {
    try {
      StartCluster({"--manta-run-dir=" + directory});
      ADD_FAILURE() << directory << " was taken";
      EndCluster();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(directory), HasSubstr("--manta-run-dir")));
    }
    ExpectNothingLeft();
  }
  StartCluster();
  ExpectAlive();
}

TEST_F(BadInput, StaleRunDirectoriesAreSwept) {
  namespace fs = std::filesystem;
  const std::string stale = run_directory() + "/run-4194305-1-1";                            // no such pid can be
  const std::string reused = run_directory() + "/run-" + std::to_string(getpid()) + "-1-1";  // another life of this pid
  const std::string foreign = run_directory() + "/notes";
  for (const std::string& directory : {stale, reused}) {
    fs::create_directories(directory + "/logs");
    WriteFile(directory + "/logs/node.log", "old");
  }
  WriteFile(foreign, "keep");
  StartCluster();
  EXPECT_FALSE(Exists(stale));
  EXPECT_FALSE(Exists(reused));
  EXPECT_TRUE(Exists(foreign));
  // A living driver's is left alone.
  Scenario other = Run("PlainDriver");
  other.Join();
  ExpectAlive();
  fs::remove(foreign);
}

// ------------------------------------------------------------------ resources

TEST_F(BadInput, ResourcesThatMakeNoSenseAreRefused) {
  StartCluster();
  const double inf = std::numeric_limits<double>::infinity();
  for (const double amount : {-1.0, std::nan(""), inf, -inf, 1e300}) {
    EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().NumCpus(amount); })) << amount;
    EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().Resources({{"x", amount}}); })) << amount;
    EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Actor<Clerk>().NumGpus(amount); })) << amount;
  }
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().Resources({{"", 1}}); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().Resources({{"CPU", 1}}); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().MaxRetries(-2); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().Timeout(seconds(0)); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Get(ObjectRef<int>()); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Task<&Successor>().Remote(ObjectRef<int>()); }));
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { ActorHandle<Clerk>().Call<&Clerk::Number>().Remote(); }));
  ExpectAlive();
}

TEST_F(BadInput, ADemandThatCannotBeMetWaitsAndSaysWhy) {
  StartCluster();
  const ObjectRef<int> many = Task<&Successor>().NumCpus(1000).Remote(1);
  const auto error = ErrorOf<TimeoutError>([&] { Get(many, seconds(1)); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("CPU"), HasSubstr("1000")));
  const ObjectRef<int> unknown = Task<&Successor>().Resources({{"unobtainium", 1}}).Timeout(seconds(1)).Remote(1);
  const auto timeout = ErrorOf<TimeoutError>([&] { Get(unknown); });
  ASSERT_TRUE(timeout);
  EXPECT_THAT(timeout->what(), HasSubstr("unobtainium"));
  const ObjectRef<int> actor = Actor<Clerk>().NumGpus(8).Remote().Call<&Clerk::Number>().Remote();
  const auto placed = ErrorOf<TimeoutError>([&] { Get(actor, seconds(1)); });
  ASSERT_TRUE(placed);
  EXPECT_THAT(placed->what(), HasSubstr("GPU"));
  EXPECT_THAT(Logs(), AllOf(HasSubstr("1000"), HasSubstr("unobtainium")));
  ExpectAlive();
  Cancel(many);
  EXPECT_TRUE(ErrorOf<CancelledError>([&] { Get(many, seconds(5)); }));
}

// ------------------------------------------------------------------ sizes

TEST_F(BadInput, LargeThingsAreCarriedOrRefused) {
  StartCluster();
  const std::string half(64 * 1024 - 64, 'x');  // just in line
  EXPECT_EQ(Get(Task<&LengthsOf>().Remote(half, half, half, half, half, half)), 6 * half.size());
  std::vector<ObjectRef<int>> many;
  const ObjectRef<int> one = Put(1);
  for (int i = 0; i < 100'000; ++i) many.push_back(one);
  const Result<size_t> counted = TryGet(Task<&CountOf>().Remote(many), seconds(20));
  if (counted.ok())
    EXPECT_EQ(*counted, many.size());
  else
    EXPECT_THAT(counted.error().what(), HasSubstr("large")) << counted.error().Describe();
  ExpectAlive();
  const auto error = ErrorOf<TaskError>([] { Get(Task<&ThrowLong>().MaxRetries(0).Remote(20 * kMiB)); });
  ASSERT_TRUE(error);
  EXPECT_LT(std::strlen(error->what()), kMiB) << "cut";
  ExpectAlive();
  const std::string long_name(10 * kMiB, 'n');
  try {
    EXPECT_EQ(Get(Task<&Successor>().Name(long_name).Remote(1), seconds(20)), 2);
  } catch (const InvalidArgumentError&) {  // as for actors
  }
  EXPECT_TRUE(ErrorOf<InvalidArgumentError>([&] { Actor<Clerk>().Name(long_name); }));
  ExpectAlive();
}

TEST_F(BadInput, ManyDifferentRefsInOneValueAreCarriedOrRefused) {
  StartCluster();
  std::vector<ObjectRef<int>> many;
  for (int i = 0; i < 20'000; ++i) many.push_back(Put(i));
  const Result<size_t> counted = TryGet(Task<&CountOf>().Remote(many), seconds(20));
  if (counted.ok())
    EXPECT_EQ(*counted, many.size());
  else
    EXPECT_NE(counted.error().code(), ErrorCode::kTimeout) << counted.error().Describe();
  ExpectAlive();
}

}  // namespace manta::embedded

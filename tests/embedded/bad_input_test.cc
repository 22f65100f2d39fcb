// What users, files and broken processes can send: a clear typed error each, and the cluster lives on.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

constexpr size_t kMiB = size_t{1} << 20;

// FAULTS' seed corpus, as far as it fits one datagram.
std::vector<std::string> BadBytes() {
  std::vector<std::string> corpus = {std::string(1, 'x'),
                                     "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                     std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
                                     "*1\r\n$4\r\nPING\r\n",
                                     std::string(64, '\xff'),
                                     std::string(64, '\0')};
  std::string asdf;
  for (int i = 0; i < 1000; ++i) asdf += "asdf";
  corpus.push_back(asdf);
  corpus.emplace_back(200 * 1024, '\xff');
  return corpus;
}

// Seqpacket sockets of this process, lowest number first: those to its node.
std::vector<int> NodeSockets() {
  std::vector<int> sockets;
  for (int fd = 3; fd < 1024; ++fd) {
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) sockets.push_back(fd);
  }
  return sockets;
}

struct Range {
  char* begin = nullptr;
  char* end = nullptr;
};
std::vector<Range> WritableMappingsOf(const std::string& memfd) {
  std::vector<Range> ranges;
  std::istringstream maps(ReadFile("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    if (line.find("memfd:" + memfd) == std::string::npos || line.find(" rw") == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) == 2) {
      ranges.push_back({reinterpret_cast<char*>(begin), reinterpret_cast<char*>(end)});
    }
  }
  return ranges;
}

}  // namespace

// ------------------------------------------------------------------ what runs in workers

int Successor(int number) { return number + 1; }
size_t LengthOf(std::string text) { return text.size(); }
size_t CountOf(std::vector<ObjectRef<int>> refs) { return refs.size(); }
size_t LengthsOf(std::string a, std::string b, std::string c, std::string d, std::string e, std::string f) {
  return a.size() + b.size() + c.size() + d.size() + e.size() + f.size();
}
std::string ThrowLong(size_t size) { throw std::runtime_error(std::string(size, 'l')); }
int Exit(int status) { exit(status); }
int QuickExit(int status) { quick_exit(status); }
int Abort() { abort(); }
int Terminate() {
  std::thread([] { throw std::runtime_error("in a thread of one's own"); }).join();
  return 1;
}
int Overflow(int depth) {  // no tail call: the result is used
  volatile char frame[4096];
  frame[0] = static_cast<char>(depth);
  return depth < 0 ? 0 : Overflow(depth + 1) + frame[0];
}
int CloseAllDescriptors() {
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  return 1;
}
// Sends junk number `junk` into socket number `socket` to the node, and waits for what comes.
int SendJunk(int socket, int junk) {
  const std::vector<int> sockets = NodeSockets();
  if (socket >= static_cast<int>(sockets.size())) return -1;
  const std::string bytes = BadBytes().at(static_cast<size_t>(junk));
  if (send(sockets[static_cast<size_t>(socket)], bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return -2;
  std::this_thread::sleep_for(seconds(20));
  return 1;
}
// Overwrites everything that this process shares with others under a name.
int Scribble(std::string memfd, int with) {
  for (const Range& range : WritableMappingsOf(memfd)) {
    std::memset(range.begin, with, static_cast<size_t>(range.end - range.begin));
  }
  return 1;
}
int ScribbleForLong(std::string memfd, unsigned seed) {
  const std::vector<Range> ranges = WritableMappingsOf(memfd);
  for (int round = 0; round < 3000; ++round) {
    for (const Range& range : ranges) {
      const size_t words = static_cast<size_t>(range.end - range.begin) / sizeof(unsigned);
      for (int i = 0; i < 200; ++i) {
        seed = seed * 1664525 + 1013904223;
        std::memcpy(range.begin + (seed >> 8) % words * sizeof(unsigned), &seed, sizeof seed);
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
  return 1;
}
size_t AllocateWithoutEnd() {
  std::vector<char*> blocks;
  for (size_t i = 0;; ++i) {
    blocks.push_back(new char[kMiB]);
    std::memset(blocks.back(), static_cast<int>(i), kMiB);
    if (i > 64 * 1024) return i;
  }
}
size_t AllocateUnderALimit(size_t limit_bytes) {
  const rlimit limit = {limit_bytes, limit_bytes};
  if (setrlimit(RLIMIT_AS, &limit) != 0) return 0;
  return AllocateWithoutEnd();
}

class Clerk {
 public:
  int Number() { return 7; }
  int Exit(int status) { exit(status); }
};

struct Unwritable {
  int kind = 0;
  template <class Archive>
  void save(Archive& archive) const {
    if (kind == 1) throw std::runtime_error("it will not be written");
    if (kind == 2) throw 17;
    archive(kind);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(kind);
    if (kind == 3) throw std::runtime_error("it will not be read");
  }
};
Unwritable MakeUnwritable(int kind) {
  Unwritable value;
  value.kind = kind;
  return value;
}
int KindOf(Unwritable value) { return value.kind; }

std::string ForkAndUse() {
  int pipe_fds[2];
  if (pipe(pipe_fds) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    std::string heard;
    try {
      Put(1);
      heard = "nothing";
    } catch (const ShutdownError& error) {
      heard = error.what();
    } catch (...) {
      heard = "another error";
    }
    [[maybe_unused]] const ssize_t written = write(pipe_fds[1], heard.data(), heard.size());
    _exit(0);
  }
  close(pipe_fds[1]);
  std::string text(1000, '\0');
  const ssize_t size = read(pipe_fds[0], text.data(), text.size());
  close(pipe_fds[0]);
  waitpid(child, nullptr, 0);
  return text.substr(0, size < 0 ? 0 : static_cast<size_t>(size));
}

// ------------------------------------------------------------------ flags and directories

class BadInput : public EmbeddedTest {
 protected:
  // The cluster works as ever.
  void ExpectAlive() {
    EXPECT_EQ(Get(Task<&Successor>().Remote(1), seconds(20)), 2);
    EXPECT_EQ(Get(Actor<Clerk>().Remote().Call<&Clerk::Number>().Remote(), seconds(20)), 7);
  }
};

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

// ------------------------------------------------------------------ user code that goes wrong

TEST_F(BadInput, TasksThatEndTheirProcess) {
  StartCluster();
  const auto exited = ErrorOf<WorkerDiedError>([] { Get(Task<&Exit>().MaxRetries(0).Remote(3)); });
  ASSERT_TRUE(exited);
  EXPECT_THAT(exited->what(), AllOf(HasSubstr("status 3"), Not(HasSubstr("socket"))));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&Exit>().MaxRetries(0).Remote(0)); }));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&QuickExit>().MaxRetries(0).Remote(1)); }));
  const auto aborted = ErrorOf<WorkerDiedError>([] { Get(Task<&Abort>().MaxRetries(0).Remote()); });
  ASSERT_TRUE(aborted);
  EXPECT_THAT(aborted->what(), HasSubstr("signal 6"));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&Terminate>().MaxRetries(0).Remote()); }));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&Overflow>().MaxRetries(0).Remote(0)); }));
  EXPECT_TRUE(ErrorOf<WorkerDiedError>([] { Get(Task<&CloseAllDescriptors>().MaxRetries(0).Remote(), seconds(20)); }));
  ExpectAlive();
}

TEST_F(BadInput, MethodsThatExit) {
  StartCluster();
  const auto clerk = Actor<Clerk>().Remote();
  const auto error = ErrorOf<ActorDiedError>([&] { Get(clerk.Call<&Clerk::Exit>().Remote(3)); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("status 3"));
  EXPECT_TRUE(error->may_have_run());
  ExpectAlive();
}

TEST_F(BadInput, ValuesThatCannotBeWrittenOrRead) {
  StartCluster();
  const auto thrown = ErrorOf<SerializationError>([] { Get(Task<&MakeUnwritable>().Remote(1)); });
  ASSERT_TRUE(thrown);
  EXPECT_THAT(thrown->what(), AllOf(HasSubstr("it will not be written"), HasSubstr("MakeUnwritable")));
  EXPECT_TRUE(ErrorOf<SerializationError>([] { Get(Task<&MakeUnwritable>().Remote(2)); }));
  EXPECT_EQ(Get(Task<&KindOf>().Remote(MakeUnwritable(0))), 0);
  const auto unread = ErrorOf<SerializationError>([] { Get(Task<&KindOf>().Remote(MakeUnwritable(3))); });
  ASSERT_TRUE(unread);
  EXPECT_THAT(unread->what(), HasSubstr("it will not be read"));
  EXPECT_ANY_THROW(Get(Task<&MakeUnwritable>().Remote(3)));     // by this process's own load
  EXPECT_ANY_THROW(Task<&KindOf>().Remote(MakeUnwritable(1)));  // by this process's own save
  EXPECT_ANY_THROW(Put(MakeUnwritable(2)));
  ExpectAlive();
}

SCENARIO(DriverThatForks) {
  const Runtime runtime = Init(argc, argv);
  const ObjectRef<int> before = Task<&Successor>().Remote(1);
  const auto clerk = Actor<Clerk>().Remote();
  std::vector<ObjectRef<int>> refs = {before};
  Get(clerk.Call<&Clerk::Number>().Remote());
  const pid_t child = fork();
  if (child == 0) {
    int refused = 0;
    const auto count = [&refused](const auto& use) {
      try {
        use();
      } catch (const ShutdownError& error) {
        if (std::string(error.what()).find("fork") != std::string::npos) ++refused;
      }
    };
    count([] { Put(1); });
    count([] { Task<&Successor>().Remote(1); });
    count([&] { Get(before); });
    count([&] { Wait(refs); });
    count([&] { clerk.Call<&Clerk::Number>().Remote(); });
    count([&] { Kill(clerk); });
    count([] { (void)CurrentContext(); });
    count([&] { const Runtime again = Init(argc, argv); });
    std::vector<ObjectRef<int>> copies = refs;
    copies.clear();
    Say("refused " + std::to_string(refused));
    return 0;  // ~Runtime in the child: nothing
  }
  int status = 0;
  waitpid(child, &status, 0);
  Say("child " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)));
  Say("value " +
      std::to_string(Get(before) + Get(Task<&Successor>().Remote(1)) + Get(clerk.Call<&Clerk::Number>().Remote())));
  return 0;
}
TEST_F(BadInput, ForkInTheDriver) {
  Scenario driver = Run("DriverThatForks");
  EXPECT_EQ(driver.Await("refused"), "8");
  EXPECT_EQ(driver.Await("child"), "0");
  EXPECT_EQ(driver.Await("value"), "11");
  const Scenario::End end = driver.Join();
  EXPECT_EQ(end.status, 0) << end.Describe() << driver.output();
}

SCENARIO(DriverWithAForkedChildThatStays) {
  const Runtime runtime = Init(argc, argv);
  Get(Task<&Successor>().Remote(1));
  const pid_t child = fork();
  if (child == 0) {
    sleep(30);
    _exit(0);
  }
  Say("child " + std::to_string(child));
  std::this_thread::sleep_for(seconds(20));
  return 0;
}
TEST_F(BadInput, AForkedChildDoesNotKeepTheClusterOfAKilledDriver) {
  Scenario driver = Run("DriverWithAForkedChildThatStays");
  const pid_t child = std::stoi(driver.Await("child"));
  std::string held;  // what the child still has of its parent's
  EXPECT_TRUE(Within(seconds(2),
                     [&] {
                       held.clear();
                       std::error_code ignored;
                       for (const auto& entry :
                            std::filesystem::directory_iterator("/proc/" + std::to_string(child) + "/fd", ignored)) {
                         const std::string target = std::filesystem::read_symlink(entry.path(), ignored).string();
                         if (target.starts_with("socket:") || target.find("memfd:manta") != std::string::npos)
                           held += target + " ";
                       }
                       return held.empty();
                     }))
      << "the child holds " << held;
  driver.Signal(SIGKILL);
  driver.Join();
  EXPECT_TRUE(Within(seconds(1), [&] {
    const std::vector<Relative> left = Family::All();
    return left.size() == 1 && left[0].pid == child;
  })) << Family::Describe();
  kill(child, SIGKILL);
}

TEST_F(BadInput, ForkInAWorker) {
  StartCluster();
  EXPECT_THAT(Get(Task<&ForkAndUse>().Remote()), HasSubstr("fork"));
  EXPECT_EQ(Get(Task<[]() { return std::system("exit 3"); }>().Remote()), 3 << 8);
  ExpectAlive();
}

// ------------------------------------------------------------------ junk

TEST_F(BadInput, JunkOnAWorkersSocketsEndsThatWorker) {
  StartCluster({"--manta-num-cpus=4"});
  const auto witness = Actor<Clerk>().Remote();
  EXPECT_EQ(Get(witness.Call<&Clerk::Number>().Remote()), 7);
  const int kinds = static_cast<int>(BadBytes().size());
  for (int socket = 0; socket < 2; ++socket) {
    for (int junk = 0; junk < kinds; ++junk) {
      const auto error =
          ErrorOf<WorkerDiedError>([&] { Get(Task<&SendJunk>().MaxRetries(0).Remote(socket, junk), seconds(10)); });
      ASSERT_TRUE(error) << "socket " << socket << ", junk " << junk;
      EXPECT_THAT(error->what(), HasSubstr("socket"));
    }
  }
  EXPECT_EQ(Get(Task<&SendJunk>().MaxRetries(0).Remote(99, 0)), -1);
  EXPECT_EQ(Get(witness.Call<&Clerk::Number>().Remote()), 7);
  ExpectAlive();
}

SCENARIO(DriverThatSendsJunk) {
  const Runtime runtime = Init(argc, argv);
  const auto clerk = Actor<Clerk>().Remote();
  Get(clerk.Call<&Clerk::Number>().Remote());
  const int socket = std::stoi(ArgumentOf(argc, argv, "socket"));
  const std::string junk = BadBytes().at(static_cast<size_t>(std::stoi(ArgumentOf(argc, argv, "junk"))));
  send(NodeSockets().at(static_cast<size_t>(socket)), junk.data(), junk.size(), MSG_NOSIGNAL);
  for (int i = 0; i < 200; ++i) {
    Get(Task<&Successor>().Remote(1), seconds(5));
    std::this_thread::sleep_for(milliseconds(10));
  }
  Say("nobody minds");
  return 0;
}
TEST_F(BadInput, JunkOnTheDriversSocketsEndsItsCluster) {
  for (int socket = 0; socket < 2; ++socket) {
    for (const int junk : {1, 4, 7}) {
      Scenario driver =
          Run("DriverThatSendsJunk", {"--socket=" + std::to_string(socket), "--junk=" + std::to_string(junk)});
      const Scenario::End end = driver.Join();
      EXPECT_FALSE(driver.Said("nobody minds")) << socket << " " << junk;
      const std::string node_died = "threw " + std::to_string(static_cast<int>(ErrorCode::kNodeDied));
      EXPECT_TRUE(end.signal == SIGKILL || driver.Said(node_died)) << end.Describe() << driver.output();
      EXPECT_TRUE(Within(seconds(1), [] { return Family::All().empty(); })) << Family::Describe();
    }
  }
}

// What a worker shares with its node and its callers: whatever is written there, only it ends.
TEST_F(BadInput, ForgedRingsEndWhoForgesThem) {
  StartCluster({"--manta-num-cpus=4"});
  const auto witness = Actor<Clerk>().Remote();
  EXPECT_EQ(Get(witness.Call<&Clerk::Number>().Remote()), 7);
  for (const int with : {0xff, 0x00, 0xa5, 0x01}) {
    const Result<int> result =
        TryGet(Task<&Scribble>().MaxRetries(0).Timeout(seconds(5)).Remote("manta-rings", with), seconds(10));
    if (!result.ok()) {
      EXPECT_NE(result.error().code(), ErrorCode::kInternal) << result.error().Describe();
    }
    EXPECT_EQ(Get(witness.Call<&Clerk::Number>().Remote(), seconds(10)), 7) << with;
    ExpectAlive();
  }
}

TEST_F(BadInput, RingsThatChangeWhileTheyAreReadEndWhoForgesThem) {
  StartCluster({"--manta-num-cpus=4"});
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const ObjectRef<int> forger =
        Task<&ScribbleForLong>().MaxRetries(0).Timeout(seconds(5)).Remote("manta-rings", seed);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(Get(Task<&Successor>().Remote(i), seconds(10)), i + 1);
    (void)TryGet(forger, seconds(10));
    ExpectAlive();
  }
}

TEST_F(BadInput, ForgedBellsAndPagesDoNoHarmToOthers) {
  StartCluster({"--manta-num-cpus=4"});
  for (const std::string memfd : {"manta-attention", "manta-polling", "manta-pins"}) {
    for (const int with : {0xff, 0x00}) {
      (void)TryGet(Task<&Scribble>().MaxRetries(0).Timeout(seconds(5)).Remote(memfd, with), seconds(10));
      ExpectAlive();
      const ObjectRef<std::string> large = Put(std::string(2 * kMiB, 'l'));
      EXPECT_EQ(Get(Task<&LengthOf>().Remote(large), seconds(20)), 2 * kMiB);
    }
  }
}

// ------------------------------------------------------------------ memory and disk

TEST_F(BadInput, AWorkersOwnLimitEndsAsAnException) {
  StartCluster();
  const auto error = ErrorOf<Error>([] { Get(Task<&AllocateUnderALimit>().MaxRetries(0).Remote(2048 * kMiB)); });
  ASSERT_TRUE(error);
  // A sanitizer's allocator ends the process.
  EXPECT_THAT(error->Describe(),
              AnyOf(HasSubstr("bad_alloc"), HasSubstr(kHasShadowMemory ? "exited with status" : "signal")));
  ExpectAlive();
}

// A memory cgroup of its own (v1 or v2) around a driver; gone with it.
class MemoryCgroup {
 public:
  explicit MemoryCgroup(uint64_t limit_bytes) {
    const bool is_v2 = Exists("/sys/fs/cgroup/cgroup.controllers");
    const std::string root = is_v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    path_ = root + "/embedded-test-" + std::to_string(getpid());
    std::error_code error;
    if (!std::filesystem::create_directory(path_, error)) {
      why_ = "mkdir " + path_ + ": " + error.message();
      return;
    }
    Set(is_v2 ? "memory.max" : "memory.limit_in_bytes", std::to_string(limit_bytes));
    std::ofstream(path_ + "/memory.swap.max") << "0";
  }
  ~MemoryCgroup() {
    if (!path_.empty()) Within(seconds(2), [this] { return rmdir(path_.c_str()) == 0 || errno == ENOENT; });
  }
  const std::string& path() const { return path_; }
  const std::string& why_not() const { return why_; }

 private:
  void Set(const std::string& file, const std::string& value) {
    std::ofstream(path_ + "/" + file) << value;
    if (!ReadFile(path_ + "/" + file).starts_with(value)) why_ = "cannot set " + path_ + "/" + file;
  }
  std::string path_, why_;
};

SCENARIO(DriverWithAGreedyTask) {
  std::ofstream(ArgumentOf(argc, argv, "cgroup") + "/cgroup.procs") << getpid();
  const Runtime runtime = Init(argc, argv);
  const auto witness = Actor<Clerk>().Remote();
  Get(witness.Call<&Clerk::Number>().Remote());
  const Result<size_t> result = TryGet(Task<&AllocateWithoutEnd>().MaxRetries(0).Remote());
  Say("error " +
      (result.ok() ? "none" : std::to_string(static_cast<int>(result.error().code())) + " " + result.error().what()));
  Say("alive " + std::to_string(Get(witness.Call<&Clerk::Number>().Remote()) + Get(Task<&Successor>().Remote(1))));
  return 0;
}
TEST_F(BadInput, ATaskThatAllocatesWithoutEndIsKilledAlone) {
  const MemoryCgroup cgroup(300 * kMiB);
  ASSERT_EQ(cgroup.why_not(), "") << "this test needs the right to make a memory cgroup (root)";
  Scenario driver = Run("DriverWithAGreedyTask", {"--cgroup=" + cgroup.path(), "--manta-store-memory=16MiB"});
  EXPECT_THAT(driver.Await("error"),
              AllOf(HasSubstr(std::to_string(static_cast<int>(ErrorCode::kWorkerDied))), HasSubstr("signal 9")));
  EXPECT_EQ(driver.Await("alive"), "9");
  EXPECT_EQ(driver.Join().status, 0);
}

SCENARIO(DriverOnAFullDisk) {
  // A file system of a namespace of its own: gone with the processes in it. Without root, in a user namespace.
  const std::string disk = ArgumentOf(argc, argv, "disk");
  if (unshare(getuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k,mode=700") != 0) {
    Say(std::string("cannot mount: ") + std::strerror(errno));
    return 96;
  }
  const bool full_at_start = ArgumentOf(argc, argv, "full") == "at-start";
  const auto fill = [&disk] {
    const int fd = open((disk + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::string page(4096, 'f');
    while (write(fd, page.data(), page.size()) > 0) {
    }
    close(fd);
  };
  if (full_at_start) fill();
  const Runtime runtime = Init(argc, argv);
  Say("started " + std::to_string(Get(Task<&Successor>().Remote(1))));
  fill();
  int sum = 0;
  for (int i = 0; i < 20; ++i) {
    sum += Get(Task<[](int number) {
                 std::printf("%s\n", std::string(4000, 'o').c_str());
                 return number;
               }>()
                   .Remote(i));
  }
  sum += Get(Actor<Clerk>().Remote().Call<&Clerk::Number>().Remote());
  const Result<int> died = TryGet(Task<&Abort>().MaxRetries(0).Remote());
  Say("worked " + std::to_string(sum) + " " + std::to_string(static_cast<int>(died.error().code())));
  return 0;
}
TEST_F(BadInput, AFullDiskUnderTheLogsStopsNothing) {
  for (const std::string full : {"later", "at-start"}) {
    std::filesystem::create_directory(File("disk"));
    Scenario driver = Run("DriverOnAFullDisk",
                          {"--disk=" + File("disk"), "--full=" + full, "--manta-log-dir=" + File("disk") + "/logs"});
    const Scenario::End end = driver.Join();
    ASSERT_FALSE(driver.Said("cannot mount")) << "this test needs the right to mount a file system\n"
                                              << driver.output();
    if (full == "at-start" && driver.Said("threw")) {  // the directory cannot be made: an error that names it
      EXPECT_THAT(driver.output(), HasSubstr("/logs"));
      continue;
    }
    EXPECT_EQ(end.status, 0) << end.Describe() << driver.output();
    EXPECT_TRUE(driver.Said("worked 197 1") || driver.Said("worked 197 2")) << driver.output();
  }
}

SCENARIO(DriverWithFewDescriptors) {
  const rlimit few = {64, 64};
  setrlimit(RLIMIT_NOFILE, &few);
  const Runtime runtime = Init(argc, argv);
  std::vector<ActorHandle<Clerk>> clerks;
  std::vector<ObjectRef<int>> numbers;
  for (int i = 0; i < 40; ++i) {
    clerks.push_back(Actor<Clerk>().Remote());
    numbers.push_back(clerks.back().Call<&Clerk::Number>().Remote());
  }
  int good = 0, bad = 0;
  for (const ObjectRef<int>& number : numbers) {
    const Result<int> result = TryGet(number, seconds(10));
    if (result.ok())
      ++good;
    else
      ++bad;
  }
  clerks.clear();
  Say("good " + std::to_string(good) + ", bad " + std::to_string(bad));
  bool recovered = false;
  for (int i = 0; i < 50 && !recovered; ++i) recovered = TryGet(Task<&Successor>().Remote(1), seconds(1)).ok();
  Say(recovered ? "recovered" : "lost");
  return 0;
}
TEST_F(BadInput, FewDescriptorsShedLoadAndRecover) {
  Scenario driver = Run("DriverWithFewDescriptors");
  driver.Await("good");
  driver.Await("recovered");
  const Scenario::End end = driver.Join();
  EXPECT_EQ(end.status, 0) << end.Describe() << driver.output();
}

}  // namespace manta::embedded

// User code that ends its process, cannot be written or read, or forks: a clear typed error each, and the cluster lives
// on.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/bad_input_story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

int Exit(int status) { exit(status); }
int QuickExit(int status) { quick_exit(status); }
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

}  // namespace manta::embedded

// Memory, disk and descriptors that run out: whoever used them up hears of it, and the cluster lives on.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/embedded/bad_input_story.h"

namespace manta::embedded {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

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

// What broken processes write to the sockets and memory that they share with others: they end, and nobody else.
#include <signal.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/embedded/bad_input_story.h"

namespace manta::embedded {

using ::testing::HasSubstr;

namespace {

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

}  // namespace manta::embedded

// What people type wrongly, and what strangers and broken peers send to a cluster's ports: a clear message each, within
// 3 s, and the cluster lives on.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/process.h"
#include "base/uv_event_loop.h"
#include "nlohmann/json.hpp"
#include "rpc/handshake.h"
#include "rpc/socket_address.h"
#include "rpc/socket_test_support.h"
#include "runtime/cluster_files.h"
#include "runtime/head/fake_redis.h"
#include "tests/cluster/cluster.h"
#include "tests/corpus/corpus.h"

namespace manta::cluster {

using embedded::IsAlive;
using embedded::ReadFile;
using embedded::WriteFile;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

constexpr milliseconds kRefusedIn = seconds(3);
constexpr milliseconds kCommandItself(500);  // of the machine, besides what it waits for
constexpr size_t kGrowthBytesMax = 16 << 20;

// Listens, and answers each connection's first bytes with `answer`; "": says nothing, for ever.
class Stranger {
 public:
  explicit Stranger(std::string answer) : answer_(std::move(answer)) {
    listener_ = *rpc::ListenOn("127.0.0.1:0", 16);
    address_ = *rpc::LocalAddress(listener_.get());
    thread_ = std::thread([this] { Serve(); });
  }
  ~Stranger() {
    ends_ = true;
    thread_.join();
  }
  const std::string& address() const { return address_; }

 private:
  void Serve() {
    std::vector<base::UniqueFd> guests;
    while (!ends_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (poll(&ready, 1, 5) > 0) guests.emplace_back(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char bytes[4096];
      for (base::UniqueFd& guest : guests) {
        if (answer_.empty() || !guest || recv(guest.get(), bytes, sizeof bytes, MSG_DONTWAIT) <= 0) continue;
        (void)send(guest.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
        guest.reset();
      }
    }
  }

  const std::string answer_;
  base::UniqueFd listener_;
  std::string address_;
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

constexpr char kHttp[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

size_t ResidentBytes(pid_t pid) {
  const std::string status = ReadFile("/proc/" + std::to_string(pid) + "/status");
  return std::stoul(status.substr(status.find("VmRSS:") + 6)) << 10;
}

}  // namespace

class BadInput : public ClusterTest {
 protected:
  BadInput() : ClusterTest(seconds(80)) {}

  Ran Join(const std::string& at, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"start", "--address=" + at, "--num-cpus=1", "--store-memory=64MiB"});
    return Manta(std::move(flags));
  }
  // In time, and not by chance.
  void ExpectRefused(const Ran& ran, int status, const std::string& because) {
    EXPECT_EQ(ran.status, status) << ran.output;
    EXPECT_THAT(ran.output, HasSubstr(because));
    EXPECT_LE(ran.took, kRefusedIn + kCommandItself) << ran.output;
  }

  runtime::ClusterIdentity Identity() {
    const auto found = runtime::FindCluster({address(), state_dir(), "", run_directory()});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : runtime::ClusterIdentity();
  }
  rpc::ClientHandshake::Options Member(ProcessId self = {}, ProcessId server = {},
                                       rpc::ConnectionKind kind = rpc::ConnectionKind::kControl) {
    const runtime::ClusterIdentity cluster = Identity();
    rpc::ClientHandshake::Options options;
    options.cluster_id = cluster.cluster_id;
    options.key = rpc::ClassKey(cluster.secret, rpc::TrustClass::kMember);
    options.self = self;
    options.server = server;
    options.connection = kind;
    return options;
  }
  std::unique_ptr<rpc::RawClient> Connect(const std::string& to) {
    absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(to);
    EXPECT_TRUE(socket.ok()) << socket.status();
    return socket.ok() ? std::make_unique<rpc::RawClient>(&loop_, *std::move(socket)) : nullptr;
  }
  // How a handshake ends.
  absl::Status Attempt(const std::string& to, const rpc::ClientHandshake::Options& options) {
    absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(to);
    if (!socket.ok()) return socket.status();
    rpc::Recorder recorder;
    const auto channel = rpc::SocketChannel::Client(&loop_, *std::move(socket), options, {}, &recorder);
    EXPECT_TRUE(rpc::RunUntil(&loop_, [&] { return recorder.peer || recorder.closed; }));
    return recorder.peer ? absl::OkStatus() : recorder.closed.value_or(absl::UnknownError("neither"));
  }
  std::string AddressOf(const Node& node) {
    const Ran list = Manta({"list", "nodes", "--address=" + address(), "--state-dir=" + state_dir(), "--format=json"});
    const auto rows = nlohmann::json::parse(list.output, nullptr, false);
    for (const auto& row : rows.is_array() ? rows : nlohmann::json::array()) {
      if (row.value("node_id", "") == node.number) return row.value("address", "");
    }
    ADD_FAILURE() << "no " << node.number << " in " << list.output;
    return "";
  }

  base::UvEventLoop loop_;
};

// ------------------------------------------------------------------ the command line

TEST_F(BadInput, FlagsThatMakeNoSense) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--resources={licence: 2}"}, "JSON"},
      {{"--resources=[1, 2]"}, "JSON"},
      {{"--resources={\"a\": -1}"}, "a"},
      {{"--resources={\"a\": 1e30}"}, "a"},
      {{"--resources={\"CPU\": 1}"}, "--num-cpus"},
      {{"--num-cpus=-1"}, "num-cpus"},
      {{"--num-cpus=many"}, "num-cpus"},
      {{"--store-memory=12"}, "at least 1MiB"},
      {{"--store-memory=lots"}, "4GiB"},
      {{"--port=70000"}, "port"},
      {{"--metadata=nowhere"}, "redis://"},
      {{"--metadata-durability=some"}, "durability"},
      {{"--nun-cpus=1"}, "nun-cpus"},
      {{"--node-name=evil\nname"}, "--node-name"},
      {{"--resources={\"a\\nb\": 1}"}, "--resources"},
  };
  for (const auto& [flags, because] : wrong) {
    std::vector<std::string> command = {"start", "--head", "--port=0", "--state-dir=" + state_dir()};
    command.insert(command.end(), flags.begin(), flags.end());
    const Ran ran = Manta(command);
    EXPECT_EQ(ran.status, 2) << flags.front() << ": " << ran.output;
    EXPECT_THAT(ran.output, HasSubstr(because)) << flags.front();
  }
  EXPECT_THAT(Family::Named("manta-"), ::testing::IsEmpty());
}

TEST_F(BadInput, AnAddressThatIsNotThisMachines) {
  const Ran ran = Manta({"start", "--head", "--host=0.0.0.0", "--port=0", "--state-dir=" + state_dir()});
  ExpectRefused(ran, 2, "loopback");
}

TEST_F(BadInput, APortInUse) {
  const Stranger stranger(kHttp);
  const std::string port = stranger.address().substr(stranger.address().rfind(':') + 1);
  const Ran ran = Manta({"start", "--head", "--port=" + port, "--state-dir=" + state_dir()});
  ExpectRefused(ran, 1, "port " + port + " is in use");
  EXPECT_THAT(ran.output, HasSubstr("--port"));
  StartHead();
  AddNode("w1");
  ExpectItWorks();
}

TEST_F(BadInput, AnAddressOfSomethingThatIsNotManta) {
  StartHead();
  const std::string state = "--state-dir=" + state_dir();
  const Stranger http(kHttp), redis("-ERR unknown command\r\n"), silent("");
  std::string nobody;
  {
    const Stranger gone("");
    nobody = gone.address();
  }
  for (const std::string& at : {http.address(), redis.address(), silent.address(), nobody}) {
    ExpectRefused(Join(at, {state}), 1, at);
  }
  ExpectRefused(Join("not an address", {state}), 2, "HOST:PORT");
  ExpectRefused(Join("10.1.2.3:7400", {state}), 2, "loopback");
  ExpectRefused(Join("127.0.0.1:1"), 3, "no secret is known");
  AddNode("w1");
  ExpectItWorks();
}

TEST_F(BadInput, AnotherClustersSecretOrIdentity) {
  StartHead();
  const Ran other = Manta({"start", "--head", "--port=0", "--state-dir=" + File("state2"), "--num-cpus=0"});
  ASSERT_EQ(other.status, 0) << other.output;
  ExpectRefused(Join(address(), {"--state-dir=" + state_dir(), "--secret-file=" + File("state2/secret")}), 1, "secret");
  ExpectRefused(Join(address(), {"--state-dir=" + File("state2")}), 1, "cluster");
  WriteFile(File("short"), "abc");
  std::filesystem::permissions(File("short"), std::filesystem::perms::owner_read);
  ExpectRefused(Join(address(), {"--state-dir=" + state_dir(), "--secret-file=" + File("short")}), 2, "64 hexadecimal");
  AddNode("w1");
  ExpectItWorks();
}

TEST_F(BadInput, ASecretThatOthersCanRead) {
  StartHead();
  AddNode("w1");
  std::filesystem::permissions(File("state/secret"), std::filesystem::perms(0644));
  ExpectRefused(Join(address(), {"--state-dir=" + state_dir()}), 1, "chmod 600");
  Scenario driver = Drive("Visit");
  EXPECT_NE(driver.Join().status, 0);
  EXPECT_TRUE(driver.Said("chmod 600")) << driver.output();
  std::filesystem::permissions(File("state/secret"), std::filesystem::perms(0600));
  ExpectItWorks();
}

TEST_F(BadInput, AStateDirectoryThatCannotBeUsed) {
  StartHead();
  AddNode("w1");
  ExpectRefused(Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir()}), 1, state_dir());
  ExpectRefused(Manta({"start", "--head", "--port=0", "--state-dir=/dev/null"}), 1, "/dev/null");
  WriteFile(File("file"), "");
  ExpectRefused(Manta({"start", "--head", "--port=0", "--state-dir=" + File("file/below")}), 1, "file/below");
  ExpectItWorks();
}

TEST_F(BadInput, ARedisThatIsMissing) {
  // The command looks in the usual places besides $PATH: there must be none.
  Scenario start({"unshare", "--mount", "sh", "-c",
                  "export MANTA_RUN_DIR=" + run_directory() +
                      "; for place in /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin /bin; do"
                      " test ! -e $place/redis-server || mount --bind /dev/null $place/redis-server || exit 99; done;"
                      " exec " MANTA_PROGRAM " start --head --port=0 --state-dir=" +
                      state_dir()},
                 directory());
  const Scenario::End end = start.Join();
  ASSERT_NE(end.status, 99) << "this test needs the right to mount (root)";
  EXPECT_EQ(end.status, 1) << start.output();
  EXPECT_THAT(start.output(), AllOf(HasSubstr("install"), HasSubstr("--metadata")));
  // The advice is good.
  StartHead({"--metadata=memory"});
  AddNode("w1");
  ExpectItWorks();
}

TEST_F(BadInput, ARedisThatLosesWrites) {
  const std::string socket = File("redis.sock");
  Scenario redis(
      {"redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", directory()},
      directory());
  ASSERT_TRUE(Within(seconds(5), [&] { return embedded::Exists(socket); })) << redis.output();
  const std::string metadata = "--metadata=unix://" + socket;
  ExpectRefused(Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), metadata}), 1, "CONFIG SET");
  StartHead({metadata, "--metadata-durability=none"});
  AddNode("w1");
  ExpectItWorks();
  EXPECT_EQ(Manta({"stop"}).status, 0);
  redis.Signal(SIGTERM);
  redis.Join();
}

// A server that says what a Redis of 2016 would.
TEST_F(BadInput, ARedisThatIsTooOld) {
  const std::string socket = File("old.sock");
  std::atomic<bool> ends = false;
  std::thread server([&] {
    base::UvEventLoop loop;
    const runtime::FakeRedis redis(&loop, socket, [](const runtime::FakeRedis::Words& words) {
      return words[0] == "INFO" ? runtime::FakeRedis::Text("redis_version:3.2.5\r\nrole:master\r\n")
                                : runtime::FakeRedis::Right(words);
    });
    while (!ends) {
      loop.RunOnce();
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  EXPECT_TRUE(Within(seconds(5), [&] { return embedded::Exists(socket); }));
  const std::string metadata = "--metadata=unix://" + socket;
  const Ran ran = Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), metadata});
  const Ran accepting =
      Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), metadata, "--metadata-durability=none"});
  ends = true;
  server.join();
  ExpectRefused(ran, 1, "Redis 3.2.5 is too old");
  EXPECT_THAT(ran.output, HasSubstr("install Redis 6.2 or later"));
  ExpectRefused(accepting, 1, "too old");
  std::filesystem::remove(socket);
}

TEST_F(BadInput, AMetadataStoreThatIsSomethingElse) {
  const Stranger http(kHttp);
  const Ran ran =
      Manta({"start", "--head", "--port=0", "--state-dir=" + state_dir(), "--metadata=redis://" + http.address()});
  EXPECT_EQ(ran.status, 1) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr(http.address()));
}

// ------------------------------------------------------------------ peers

TEST_F(BadInput, AuthenticationAttempts) {
  StartHead();
  const Node node = AddNode("w1");
  for (const std::string& to : {address(), AddressOf(node)}) {
    const bool is_head = to == address();
    const rpc::ClientHandshake::Options good = is_head ? Member() : Member(ProcessId{99, 0});
    ASSERT_TRUE(Attempt(to, good).ok());
    rpc::ClientHandshake::Options wrong = good;
    wrong.key = rpc::Sha256("a guess");
    EXPECT_EQ(Attempt(to, wrong).code(), absl::StatusCode::kUnauthenticated);
    wrong = good;
    wrong.cluster_id = "another";
    EXPECT_EQ(Attempt(to, wrong).code(), absl::StatusCode::kFailedPrecondition);
    wrong = good;
    wrong.protocol_version = rpc::kProtocolVersion + 1;
    const absl::Status version = Attempt(to, wrong);
    EXPECT_EQ(version.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(version.message()), HasSubstr("version"));
    wrong = good;
    wrong.credential = rpc::Credential::kUser;
    EXPECT_FALSE(Attempt(to, wrong).ok());
    wrong.credential = rpc::Credential::kToken;
    EXPECT_FALSE(Attempt(to, wrong).ok());
    wrong = good;
    wrong.trust = rpc::TrustClass::kReader;  // with a member's key
    EXPECT_FALSE(Attempt(to, wrong).ok());
    // None at all: a message in place of the handshake.
    const auto rude = Connect(to);
    (void)rude->Write(rpc::RawClient::MessageFrame(rpc::NodeRegister{}));
    EXPECT_TRUE(rude->EndsWithin(kRefusedIn));
  }
  ExpectItWorks();
}

TEST_F(BadInput, AHandshakeThatIsPlayedBack) {
  StartHead();
  const Node node = AddNode("w1");
  for (const std::string& to : {address(), AddressOf(node)}) {
    std::string said;
    {
      const auto listened_to = Connect(to);
      rpc::ClientHandshake handshake(to == address() ? Member() : Member(ProcessId{99, 0}));
      std::vector<rpc::HandshakeMessage> out;
      handshake.Start(&out);
      rpc::FrameParser parser(rpc::FrameLimits::Unauthenticated());
      while (!handshake.done()) {
        for (const rpc::HandshakeMessage& message : std::exchange(out, {})) {
          said += rpc::RawClient::HandshakeFrame(message);
          ASSERT_TRUE(listened_to->Write(rpc::RawClient::HandshakeFrame(message)));
        }
        const std::string bytes = listened_to->Read();
        ASSERT_FALSE(bytes.empty());
        const absl::Status fed = parser.Feed({bytes.data(), bytes.size()}, [&](const rpc::Frame& frame) {
          const auto message =
              rpc::DecodeHandshake(frame.header.type, frame.body, frame.header.body_bytes, frame.header.capnp_bytes);
          return message.ok() ? handshake.Receive(loop_.Now(), *message, &out) : message.status();
        });
        ASSERT_TRUE(fed.ok() || handshake.done()) << fed;  // what comes behind it is another protocol
      }
    }
    const auto player = Connect(to);
    (void)player->Write(said);
    (void)player->Write(rpc::RawClient::MessageFrame(rpc::NodeRegister{}));
    EXPECT_TRUE(player->EndsWithin(kRefusedIn));
  }
  ExpectItWorks();
}

TEST_F(BadInput, ANodeThatSaysImpossibleThings) {
  StartHead();
  AddNode("w1");
  rpc::NodeRegister good;
  good.info.name = "raw";
  good.info.address = "127.0.0.1:1";
  good.info.total.Set("odd", *base::Fixed::FromDouble(0x1234567));
  std::vector<std::pair<std::string, std::string>> frames;  // what is wrong with it, the frame
  const auto add = [&](const std::string& what, const std::function<void(rpc::NodeInfo*)>& spoil) {
    rpc::NodeRegister message = good;
    spoil(&message.info);
    frames.emplace_back(what, rpc::RawClient::MessageFrame(message));
  };
  add("a name with control characters", [](rpc::NodeInfo* info) { info->name = "evil\x1b[2J\nname"; });
  add("a long name", [](rpc::NodeInfo* info) { info->name = std::string(100'000, 'n'); });
  add("a name that is not text", [](rpc::NodeInfo* info) { info->name = "\xff\xfe"; });
  add("no address", [](rpc::NodeInfo* info) { info->address = ""; });
  add("no port", [](rpc::NodeInfo* info) { info->address = "127.0.0.1"; });
  add("an address elsewhere", [](rpc::NodeInfo* info) { info->address = "10.1.2.3:80"; });
  add("a path for an address", [](rpc::NodeInfo* info) { info->address = "/etc/passwd"; });
  add("an address of control characters", [](rpc::NodeInfo* info) { info->address = "127.0.0.1:1\n\n"; });
  add("a resource of control characters", [](rpc::NodeInfo* info) { info->total.Set("a\nb", base::Fixed(1)); });
  add("another's number", [](rpc::NodeInfo* info) { info->node = 2; });
  // An amount that no honest encoder writes.
  for (const int64_t units : {int64_t{-1}, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    std::string frame = rpc::RawClient::MessageFrame(good);
    const int64_t honest = base::Fixed::FromDouble(0x1234567)->units();
    const size_t at = frame.find(std::string(reinterpret_cast<const char*>(&honest), sizeof honest));
    ASSERT_NE(at, std::string::npos);
    std::memcpy(frame.data() + at, &units, sizeof units);
    frames.emplace_back("an amount of " + std::to_string(units), frame);
  }
  for (const auto& [what, frame] : frames) {
    const auto client = Connect(address());
    ASSERT_NO_FATAL_FAILURE(client->Handshake(Member()));
    ASSERT_TRUE(client->Write(frame));
    EXPECT_TRUE(client->EndsWithin(kRefusedIn)) << what << " was taken";
  }
  EXPECT_THAT(ReadFile(File("state/logs/head.log")), Not(HasSubstr("\x1b")));
  ExpectItWorks();
}

TEST_F(BadInput, OperationsThatNobodyKnows) {
  StartHead();
  const Node node = AddNode("w1");
  constexpr uint16_t kLastType = rpc::kAckFrameType - 1;
  for (const uint16_t type : {static_cast<uint16_t>(rpc::kMessageTypeCount), uint16_t{0x7000}, kLastType}) {
    for (const std::string& to : {address(), AddressOf(node)}) {
      tests::BadBody body;
      body.bytes = std::string(64, '\0');
      body.capnp_bytes = 64;
      const auto client = Connect(to);
      ASSERT_NO_FATAL_FAILURE(client->Handshake(to == address() ? Member() : Member(ProcessId{99, 0})));
      ASSERT_TRUE(client->Write(tests::Framed(type, body)));
      EXPECT_TRUE(client->EndsWithin(kRefusedIn)) << "type " << type << " was taken";
    }
  }
  ExpectItWorks();
}

TEST_F(BadInput, TenThousandConnectionsThatSayNothing) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  ASSERT_GE(files.rlim_cur, 11'000u) << "this test needs 11,000 descriptors (ulimit -Hn)";
  StartHead();
  const Node node = AddNode("w1");
  const std::string node_address = AddressOf(node);
  const size_t head_bytes = ResidentBytes(head()), node_bytes = ResidentBytes(node.pid);
  std::vector<base::UniqueFd> silent;
  for (int i = 0; i < 10'000; ++i) {
    absl::StatusOr<base::UniqueFd> socket = rpc::ConnectTo(i % 2 == 0 ? address() : node_address);
    ASSERT_TRUE(socket.ok()) << i << ": " << socket.status();
    silent.push_back(*std::move(socket));
  }
  const Stopwatch watch;
  AddNode("w2");
  ReportBar("a node joins beside 10,000 silent connections", watch.elapsed(), kRefusedIn);
  ExpectItWorks();
  if (!embedded::kHasShadowMemory) {  // which keeps what was freed
    EXPECT_LE(ResidentBytes(head()), head_bytes + kGrowthBytesMax);
    EXPECT_LE(ResidentBytes(node.pid), node_bytes + kGrowthBytesMax);
  }
}

TEST_F(BadInput, StrangersBytes) {
  StartHead();
  const Node node = AddNode("w1");
  const std::string node_address = AddressOf(node);
  const size_t head_bytes = ResidentBytes(head()), node_bytes = ResidentBytes(node.pid);
  for (const tests::BadStream& stream : tests::BadStreams()) {
    for (const std::string& to : {address(), node_address}) {
      const auto client = Connect(to);
      (void)client->Write(stream.bytes);
      shutdown(client->fd(), SHUT_WR);
      EXPECT_TRUE(client->EndsWithin(kRefusedIn)) << stream.name;
    }
  }
  if (!embedded::kHasShadowMemory) {  // which keeps what was freed
    EXPECT_LE(ResidentBytes(head()), head_bytes + kGrowthBytesMax);
    EXPECT_LE(ResidentBytes(node.pid), node_bytes + kGrowthBytesMax);
  }
  ExpectItWorks();
}

TEST_F(BadInput, TenThousandMalformedFrames) {
  StartHead();
  const Node node = AddNode("w1");
  const std::string node_address = AddressOf(node);
  const size_t head_bytes = ResidentBytes(head()), node_bytes = ResidentBytes(node.pid);
  const rpc::ClientHandshake::Options to_head = Member();
  const std::vector<rpc::ClientHandshake::Options> to_node = {
      Member(ProcessId{99, 0}), Member(ProcessId{98, 0}, {}, rpc::ConnectionKind::kData),
      Member(ProcessId{97, 1}, {}, rpc::ConnectionKind::kCalls)};
  const uint64_t mutants = embedded::kHasShadowMemory ? 2'000 : 10'000;  // all of them without a sanitizer
  for (uint64_t seed = 0; seed < mutants; ++seed) {
    const tests::BadBody mutant = tests::Mutant(seed);
    const bool at_head = seed % 2 == 0, proved = seed % 4 < 2;
    const auto client = Connect(at_head ? address() : node_address);
    ASSERT_NE(client, nullptr) << mutant.name;
    if (proved) {
      ASSERT_NO_FATAL_FAILURE(client->Handshake(at_head ? to_head : to_node[seed / 4 % to_node.size()]));
    }
    (void)client->Write(tests::Framed(mutant.type, mutant));
    if (seed % 512 < 4) {
      ASSERT_TRUE(IsAlive(head()) && IsAlive(node.pid)) << mutant.name;
    }
  }
  if (!embedded::kHasShadowMemory) {  // which keeps what was freed
    EXPECT_LE(ResidentBytes(head()), head_bytes + kGrowthBytesMax);
    EXPECT_LE(ResidentBytes(node.pid), node_bytes + kGrowthBytesMax);
  }
  EXPECT_TRUE(IsAlive(head()) && IsAlive(node.pid));
  ExpectItWorks();
}

TEST_F(BadInput, DaemonsThatMayOpenFewFiles) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{64, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  StartHead({"--metadata=memory"});
  const Node node = AddNode("w1");
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const std::string node_address = AddressOf(node);
  std::vector<base::UniqueFd> silent;
  for (int i = 0; i < 400; ++i) silent.push_back(*rpc::ConnectTo(i % 2 == 0 ? address() : node_address));
  ExpectItWorks();
  silent.clear();
  AddNode("w2");
  ExpectItWorks();
}

}  // namespace manta::cluster

#include "runtime/cluster_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/status.h"

namespace manta::runtime {
namespace {

using testing::HasSubstr;

class ClusterFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/cluster-files-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    state_ = directory_ + "/state";
    run_ = directory_ + "/run";
    ASSERT_TRUE(OwnDirectory(state_, "--state-dir").ok());
    ASSERT_TRUE(OwnDirectory(run_, "--run-dir").ok());
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // As the head leaves it: identity, address, and a daemon that lives (this process).
  ClusterIdentity MakeCluster(const std::string& state, const std::string& address) {
    EXPECT_TRUE(OwnDirectory(state, "--state-dir").ok());
    bool is_new = false;
    ClusterIdentity identity = *LoadOrMakeIdentity(state, false, &is_new);
    EXPECT_TRUE(is_new);
    EXPECT_TRUE(WriteAddress(state, address).ok());
    const std::string cluster_run = ClusterRunDirectory(run_, identity.cluster_id);
    EXPECT_TRUE(WriteClusterFile(cluster_run, address, state).ok());
    DaemonFile head = *OwnDaemonFile();
    head.is_head = true;
    EXPECT_TRUE(WriteDaemonFile(cluster_run, head).ok());
    return identity;
  }
  absl::StatusOr<ClusterIdentity> Find(const std::string& address, const std::string& state = "") {
    return FindCluster({address, state, "", run_});
  }

  std::string directory_, state_, run_;
};

TEST_F(ClusterFilesTest, AClusterIsFoundByItsAddressItsStateOrAlone) {
  const ClusterIdentity made = MakeCluster(state_, "127.0.0.1:7400");
  for (const auto& found : {Find("127.0.0.1:7400"), Find("localhost:7400"), Find("", state_), Find("")}) {
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->cluster_id, made.cluster_id);
    EXPECT_EQ(found->secret, made.secret);
    EXPECT_EQ(found->address, "127.0.0.1:7400");
  }
}

TEST_F(ClusterFilesTest, WhereWasLookedIsSaid) {
  const absl::Status none = Find("").status();
  EXPECT_TRUE(absl::IsNotFound(none));
  EXPECT_THAT(base::Message(none), HasSubstr("manta start --head"));
  const absl::Status unknown = Find("127.0.0.1:1").status();
  EXPECT_TRUE(absl::IsNotFound(unknown));
  EXPECT_THAT(base::Message(unknown), HasSubstr(run_));
}

TEST_F(ClusterFilesTest, SeveralClustersAreListed) {
  MakeCluster(state_, "127.0.0.1:7400");
  MakeCluster(directory_ + "/other", "127.0.0.1:7401");
  const absl::Status several = Find("").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(several));
  EXPECT_THAT(base::Message(several), HasSubstr("127.0.0.1:7400"));
  EXPECT_THAT(base::Message(several), HasSubstr("127.0.0.1:7401"));
  EXPECT_TRUE(Find("127.0.0.1:7401").ok());
}

TEST_F(ClusterFilesTest, ASecretThatOthersCanReadIsRefused) {
  MakeCluster(state_, "127.0.0.1:7400");
  ASSERT_EQ(chmod((state_ + "/secret").c_str(), 0644), 0);
  const absl::Status refused = Find("", state_).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(base::Message(refused), HasSubstr("chmod 600"));
}

TEST_F(ClusterFilesTest, ASecretThatIsNoneIsRefused) {
  MakeCluster(state_, "127.0.0.1:7400");
  for (const std::string& text :
       std::vector<std::string>{"", "abc", std::string(63, 'a'), std::string(64, 'x'), std::string(70'000, 'a')}) {
    std::ofstream(state_ + "/secret", std::ios::trunc) << text;
    EXPECT_TRUE(absl::IsInvalidArgument(Find("", state_).status())) << text.size();
  }
}

TEST_F(ClusterFilesTest, AnIdentityIsMadeOnceUnlessANewOneIsWanted) {
  bool is_new = false;
  const ClusterIdentity first = *LoadOrMakeIdentity(state_, false, &is_new);
  EXPECT_TRUE(is_new);
  EXPECT_EQ(LoadOrMakeIdentity(state_, false, &is_new)->cluster_id, first.cluster_id);
  EXPECT_FALSE(is_new);
  ASSERT_TRUE(WriteMetadataChoice(state_, "memory").ok());
  const ClusterIdentity second = *LoadOrMakeIdentity(state_, true, &is_new);
  EXPECT_TRUE(is_new);
  EXPECT_NE(second.cluster_id, first.cluster_id);
  EXPECT_NE(second.secret, first.secret);
  EXPECT_EQ(ReadMetadataChoice(state_), "");
  struct stat info;
  ASSERT_EQ(stat((state_ + "/secret").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(ClusterFilesTest, AStateDirectoryHasOneHead) {
  absl::StatusOr<base::UniqueFd> lock = LockState(state_);
  ASSERT_TRUE(lock.ok());
  EXPECT_TRUE(absl::IsAlreadyExists(LockState(state_).status()));
  lock->reset();
  EXPECT_TRUE(LockState(state_).ok());
}

TEST_F(ClusterFilesTest, DaemonsThatDiedAreForgotten) {
  const ClusterIdentity made = MakeCluster(state_, "127.0.0.1:7400");
  const std::string cluster_run = ClusterRunDirectory(run_, made.cluster_id);
  DaemonFile dead;
  dead.pid = getpid();
  dead.start_time_ticks = 1;  // another process had this pid then
  dead.socket = cluster_run + "/node-" + std::to_string(dead.pid) + ".sock";
  std::ofstream(dead.socket) << "";
  ASSERT_TRUE(WriteDaemonFile(cluster_run, dead).ok());
  ASSERT_EQ(LiveDaemons(cluster_run).size(), 1u);
  EXPECT_TRUE(LiveDaemons(cluster_run).front().is_head);
  EXPECT_FALSE(std::filesystem::exists(dead.socket));
}

TEST_F(ClusterFilesTest, FilesOfGarbageAreNoDaemons) {
  const ClusterIdentity made = MakeCluster(state_, "127.0.0.1:7400");
  const std::string cluster_run = ClusterRunDirectory(run_, made.cluster_id);
  int number = 1;
  for (const char* text : {"", "{", "[]", "{\"pid\": \"x\", \"start_time_ticks\": {}}", "null", "\xff\xfe"}) {
    std::ofstream(cluster_run + "/node-" + std::to_string(number++)) << text;
  }
  EXPECT_EQ(LiveDaemons(cluster_run).size(), 1u);
  std::ofstream(cluster_run + "/cluster", std::ios::trunc) << "{\"address\": 5}";
  EXPECT_EQ(ClustersHere(run_).size(), 1u);
  EXPECT_FALSE(Find("127.0.0.1:7400").ok());
}

}  // namespace
}  // namespace manta::runtime

#include "manta/ml/shard_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "manta/manta.h"
#include "manta/ml/error.h"
#include "manta/ml/leases.h"
#include "ml/testing/file_size_limit.h"
#include "ml/testing/local_test.h"

namespace manta::ml {
namespace {

using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;

// Uses up rows, and writes down which.
class PullingWorker {
 public:
  PullingWorker(ActorHandle<ShardServer> shards, size_t worker) : leases_(shards, worker) {}

  // Up to `leases_max` leases; then keeps one that it does not commit, if `keeps_one`.
  std::vector<RowLease> Work(int leases_max, bool keeps_one) {
    std::vector<RowLease> done;
    for (int i = 0; i < leases_max; ++i) {
      const std::optional<RowLease> lease = leases_.Next();
      if (!lease) break;
      if (leases_.Commit(*lease)) done.push_back(*lease);
    }
    if (keeps_one) (void)leases_.Next();
    return done;
  }

 private:
  LeasedRows leases_;
};

class ShardServerTest : public LocalTest {
 protected:
  static void Count(const std::vector<RowLease>& leases, std::vector<int>* times) {
    for (const RowLease& lease : leases) {
      for (uint64_t row = lease.begin; row < lease.end; ++row) ++(*times)[row];
    }
  }
};

TEST_F(ShardServerTest, WorkersPullTheirRowsAndADeadOnesComeBack) {
  auto shards = Actor<ShardServer>().NumCpus(0).Remote(RowPlan{.rows = 100, .rows_total = 200, .rows_per_lease = 7});
  auto doomed = Actor<PullingWorker>().Remote(shards, 0);
  ReturnLeasesOnDeath(shards, 0, doomed);
  std::vector<int> times(100);
  Count(Get(doomed.Call<&PullingWorker::Work>().Remote(5, true)), &times);
  Kill(doomed);
  auto late = Actor<PullingWorker>().Remote(shards, 1);
  Count(Get(late.Call<&PullingWorker::Work>().Remote(1000, false)), &times);  // waits for the dead one's lease
  EXPECT_THAT(times, Each(2));
  const std::vector<EpochAudit> audits = Get(shards.Call<&ShardServer::Audit>().Remote());
  EXPECT_THAT(audits, Each(Field(&EpochAudit::complete, true)));
  EXPECT_EQ(audits[0].leases_given_again + audits[1].leases_given_again, 1u);
}

TEST_F(ShardServerTest, GoesOnFromItsState) {
  auto shards = Actor<ShardServer>().NumCpus(0).Remote(RowPlan{.rows = 100, .rows_total = 100, .rows_per_lease = 7});
  auto first = Actor<PullingWorker>().Remote(shards, 0);
  std::vector<int> times(100);
  Count(Get(first.Call<&PullingWorker::Work>().Remote(5, true)), &times);
  const std::string state = Get(shards.Call<&ShardServer::State>().Remote());
  auto again = Actor<ShardServer>().NumCpus(0).Remote(state);
  auto second = Actor<PullingWorker>().Remote(again, 0);
  Count(Get(second.Call<&PullingWorker::Work>().Remote(1000, false)), &times);
  EXPECT_THAT(times, Each(1));
}

class ShardJournalTest : public ShardServerTest {
 protected:
  ShardJournalTest() : path_(::testing::TempDir() + "/leases_" + std::to_string(getpid())) {}
  ~ShardJournalTest() override { std::remove(path_.c_str()); }

  std::string Complaint(RowPlan plan) const {
    try {
      ShardServer server(std::move(plan), path_);
    } catch (const DataError& error) {
      EXPECT_EQ(error.file(), path_);
      return error.what();
    }
    return "no error";
  }

  const std::string path_;
  const RowPlan plan_{.rows = 100, .rows_total = 300, .rows_per_lease = 7, .shuffle_seed = 3};
};

// At each event the server is made anew from its journal, and asked again what it has answered.
TEST_F(ShardJournalTest, GoesOnWhereItWas) {
  std::mt19937 random(5);
  ShardServer reference(plan_);
  std::vector<RowLease> held;
  for (uint64_t step = 1; step <= 400; ++step) {
    ShardServer server(plan_, path_);
    ASSERT_EQ(server.State(), reference.State()) << "step " << step;
    const size_t worker = random() % 3;
    if (step <= 3 || random() % 20 == 0) {
      server.Join(step <= 3 ? step - 1 : worker), reference.Join(step <= 3 ? step - 1 : worker);
    } else if (random() % 2 == 0) {
      const LeaseAnswer answer = server.Lease(worker, step);
      EXPECT_EQ(answer.lease.has_value(), reference.Lease(worker, step).lease.has_value());
      if (!answer.lease) continue;
      EXPECT_EQ(ShardServer(plan_, path_).Lease(worker, step).lease->id, answer.lease->id);
      held.push_back(*answer.lease);
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      EXPECT_EQ(server.Commit(held.back().id, held.back().worker),
                reference.Commit(held.back().id, held.back().worker));
      held.pop_back();
    }
  }
}

TEST_F(ShardJournalTest, ForgetsALineThatWasNotFinishedAndRefusesOthers) {
  {
    ShardServer server(plan_, path_);
    server.Join(0);
    (void)server.Lease(0, 1);
  }
  std::ofstream(path_, std::ios::app) << "C 0";
  EXPECT_EQ(ShardServer(plan_, path_).Audit()[0].leases_committed, 0u);
  EXPECT_EQ(Complaint(plan_), "no error");
  RowPlan other = plan_;
  other.rows_per_lease = 8;
  EXPECT_THAT(Complaint(other), HasSubstr("line 1: is of another plan"));
  std::ofstream(path_, std::ios::app) << "L 5 1\n";
  EXPECT_THAT(Complaint(plan_), HasSubstr("line 4: cannot have happened: RowLedger: worker 5 has not joined"));
  std::ofstream(path_, std::ios::app) << "X\n";
  EXPECT_THAT(Complaint(plan_), HasSubstr("line 4"));
}

TEST_F(ShardJournalTest, RefusesWhatIsNoJournal) {
  std::ofstream(path_) << "a file of somebody else's\n";
  EXPECT_THAT(Complaint(plan_), HasSubstr("byte 0: line 1: is of another plan, a file of somebody else's, not {"));
  std::ofstream(path_) << "one without a line's end";
  EXPECT_THAT(Complaint(plan_), HasSubstr("is of another plan, one without a line's end, not {"));
  std::string kept;
  std::getline(std::ifstream(path_), kept);
  EXPECT_EQ(kept, "one without a line's end");
  EXPECT_THROW(ShardServer(plan_, "/nowhere/leases"), FileError);
}

TEST_F(ShardJournalTest, AFullDiskIsAnErrorAndKeepsWhatWasAnswered) {
  uint64_t lease = 0;
  {
    ShardServer server(plan_, path_);
    server.Join(0);
    lease = server.Lease(0, 1).lease->id;
    const std::string expected = path_ + ": cannot write the journal: File too large";
    try {
      const FileSizeLimit limit(std::filesystem::file_size(path_) + 2);
      (void)server.Commit(lease, 0);
      ADD_FAILURE() << "no error";
    } catch (const FileError& error) {
      EXPECT_EQ(error.what(), expected);
    }
    // There is room again, but the file is behind what this server knows.
    EXPECT_THROW((void)server.Commit(lease, 0), FileError);
    EXPECT_THROW(server.Join(1), FileError);
  }
  ShardServer server(plan_, path_);
  EXPECT_EQ(server.Audit()[0].leases_committed, 0u);
  EXPECT_EQ(server.Lease(0, 1).lease->id, lease) << "the answer to the same request";
  EXPECT_NE(server.Commit(lease, 0), CommitOutcome::kRevoked);
  EXPECT_EQ(server.Audit()[0].leases_committed, 1u);
}

TEST_F(ShardServerTest, WaitingForRowsThatOthersHoldEnds) {
  auto shards = Actor<ShardServer>().NumCpus(0).Remote(RowPlan{.rows = 7, .rows_total = 7, .rows_per_lease = 7});
  LeasedRows holder(shards, 0), other(shards, 1, {.wait_max = std::chrono::milliseconds(20)});
  const RowLease lease = *holder.Next();
  EXPECT_THROW(other.Next(), TimeoutError);
  holder.Return(lease);
  EXPECT_EQ(other.Next()->id, lease.id);
  EXPECT_FALSE(holder.Commit(lease));
}

// What TrainByLeases adds to the ledger: a plan's shares, and epochs that wait for each other.
class EchoWorker {
 public:
  std::pair<uint64_t, uint64_t> Echo(uint64_t begin, uint64_t end) { return {begin, end}; }
};

TEST_F(ShardServerTest, LeasesByShares) {
  std::vector<ActorHandle<EchoWorker>> workers(3);
  for (auto& worker : workers) worker = Actor<EchoWorker>().Remote();
  std::vector<uint64_t> rows(3), last_epoch(3);
  uint64_t epoch = 0;
  std::set<uint64_t> ids;
  TrainByLeases<std::pair<uint64_t, uint64_t>>(
      {.rows = 80, .rows_total = 240, .rows_per_lease = 7, .workers = 3, .shares = {1, 2, 5}, .epochs_open_max = 1},
      [&](const RowLease& lease) {
        EXPECT_GE(lease.epoch, epoch);
        epoch = lease.epoch;
        return workers[lease.worker].Call<&EchoWorker::Echo>().Remote(lease.begin, lease.end);
      },
      [&](const RowLease& lease, std::pair<uint64_t, uint64_t> range) {
        EXPECT_TRUE(ids.insert(lease.id).second);
        rows[lease.worker] += range.second - range.first;
      });
  EXPECT_EQ(rows, (std::vector<uint64_t>{30, 60, 150}));
  EXPECT_EQ(epoch, 2u);
}

TEST_F(ShardServerTest, SharesOfADeadWorkerGoToOthers) {
  std::vector<ActorHandle<EchoWorker>> workers{Actor<EchoWorker>().Remote(), Actor<EchoWorker>().Remote()};
  Kill(workers[1]);
  uint64_t rows = 0;
  TrainByLeases<std::pair<uint64_t, uint64_t>>(
      {.rows = 80, .rows_total = 160, .rows_per_lease = 7, .workers = 2, .shares = {1, 1}},
      [&](const RowLease& lease) {
        return workers[lease.worker].Call<&EchoWorker::Echo>().Remote(lease.begin, lease.end);
      },
      [&](const RowLease&, std::pair<uint64_t, uint64_t> range) { rows += range.second - range.first; });
  EXPECT_EQ(rows, 160u);
}

}  // namespace
}  // namespace manta::ml

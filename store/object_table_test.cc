#include "store/object_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace manta::store {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;
constexpr ProcessId kWriter{1, 1};
constexpr ProcessId kOther{1, 2};

ObjectId Object(uint64_t number) { return {kWriter, number, 0}; }

// A node's store and its shell: segments are made at once unless told otherwise.
class ObjectTableTest : public ::testing::Test {
 protected:
  void Open(uint64_t bytes_max) {
    table_.emplace(bytes_max);
    table_->SetNode(1);
  }

  rpc::SegmentGrant Ask(ProcessId writer, uint64_t bytes) {
    const uint64_t request = ++last_request_;
    ObjectTable::Actions actions;
    table_->Request(now_, writer, {request, bytes}, &actions);
    CarryOut(actions);
    return grants_[request];
  }
  // Asks for room of its own, writes there and seals.
  rpc::StoreLocation Put(ProcessId writer, uint64_t number, uint64_t bytes, uint32_t attempt = 0) {
    const rpc::SegmentGrant grant = Ask(writer, bytes);
    const rpc::StoreLocation location{1, grant.segment, grant.offset, bytes};
    EXPECT_TRUE(table_->Seal(writer, {Object(number), attempt, location, writer, {}}));
    Advance();
    return location;
  }
  void Drop(uint64_t number) {
    table_->Drop(Object(number), UINT32_MAX);
    Advance();
  }
  void Advance(Duration by = {}) {
    now_ += by;
    ObjectTable::Actions actions;
    table_->Advance(now_, &actions);
    CarryOut(actions);
  }

  void CarryOut(ObjectTable::Actions actions) {
    for (size_t i = 0; i < actions.size(); ++i) {
      if (auto* grant = std::get_if<ObjectTable::Grant>(&actions[i])) {
        grants_[grant->grant.request] = grant->grant;
      } else if (auto* create = std::get_if<ObjectTable::Create>(&actions[i])) {
        ++created_;
        segments_.insert(create->segment);
        const ObjectTable::Create what = *create;
        table_->Created(what.segment, what.size_bytes, create_error_, &actions);
      } else if (auto* destroy = std::get_if<ObjectTable::Destroy>(&actions[i])) {
        EXPECT_EQ(segments_.erase(destroy->segment), 1u);
      } else {
        std::vector<ObjectId> free, read;
        for (const auto& [object, location] : std::get<ObjectTable::Scan>(actions[i]).ranges) {
          (read_.contains(object) ? read : free).push_back(object);
        }
        ObjectTable::Actions more;
        table_->Scanned(now_, free, read, &more);
        table_->Advance(now_, &more);
        actions.insert(actions.end(), more.begin(), more.end());
      }
    }
  }

  std::optional<ObjectTable> table_;
  Time now_ = TimeFromNanos(1'000'000);
  uint64_t last_request_ = 0;
  std::map<uint64_t, rpc::SegmentGrant> grants_;
  std::set<uint64_t> segments_;
  std::set<ObjectId> read_;  // pinned by somebody
  std::string create_error_;
  int created_ = 0;
};

TEST_F(ObjectTableTest, GivesASmallWriterLeasesThatDouble) {
  Open(1024 * kMiB);
  EXPECT_EQ(Ask(kWriter, 100'000).size_bytes, 1 * kMiB);
  EXPECT_EQ(Ask(kWriter, 100'000).size_bytes, 2 * kMiB);
  EXPECT_EQ(Ask(kWriter, 100'000).size_bytes, 4 * kMiB);
  EXPECT_EQ(Ask(kOther, 100'000).size_bytes, 1 * kMiB);
}

TEST_F(ObjectTableTest, WhoseObjectsLiveForAShortTimeWritesTheSamePages) {
  Open(1024 * kMiB);
  constexpr uint64_t kBytes = 200 * 1024, kLive = 4;
  rpc::SegmentGrant lease;
  uint64_t offset = 0;
  for (uint64_t number = 1; number <= 10'000; ++number) {
    if (lease.offset + lease.size_bytes < offset + kBytes) {
      ObjectTable::Actions actions;
      table_->Return(kWriter, {lease.segment, offset, lease.offset + lease.size_bytes - offset}, &actions);
      lease = Ask(kWriter, kBytes);
      offset = lease.offset;
    }
    ASSERT_TRUE(table_->Seal(kWriter, {Object(number), 0, {1, lease.segment, offset, kBytes}, kWriter, {}}));
    offset += kBytes;
    if (number > kLive) Drop(number - kLive);
  }
  EXPECT_LE(table_->segment_bytes(), 8 * kMiB);
}

TEST_F(ObjectTableTest, WhoseObjectsStayGetsFewSegments) {
  Open(1024 * kMiB);
  constexpr uint64_t kBytes = 200 * 1024;
  rpc::SegmentGrant lease;
  uint64_t offset = 0;
  for (uint64_t number = 1; number <= 2'000; ++number) {
    if (lease.offset + lease.size_bytes < offset + kBytes) {
      lease = Ask(kWriter, kBytes);
      offset = lease.offset;
    }
    ASSERT_TRUE(table_->Seal(kWriter, {Object(number), 0, {1, lease.segment, offset, kBytes}, kWriter, {}}));
    offset += kBytes;
  }
  EXPECT_LE(created_, 30);
}

TEST_F(ObjectTableTest, GivesALargeObjectASegmentOfItsOwn) {
  Open(64 * kMiB);
  const rpc::SegmentGrant grant = Ask(kWriter, 5 * kMiB);
  EXPECT_EQ(grant.offset, 0u);
  EXPECT_EQ(grant.size_bytes, 5 * kMiB);
  EXPECT_NE(Ask(kWriter, 5 * kMiB).segment, grant.segment);
}

TEST_F(ObjectTableTest, TakesAWarmSegmentBeforeAFreshOne) {
  Open(64 * kMiB);
  const rpc::StoreLocation first = Put(kWriter, 1, 4 * kMiB);
  Drop(1);
  EXPECT_EQ(table_->object_count(), 0u);
  EXPECT_EQ(Put(kOther, 2, 4 * kMiB).segment, first.segment);
  EXPECT_EQ(created_, 1);
}

TEST_F(ObjectTableTest, RefusesASealOutsideOfTheWritersLease) {
  Open(64 * kMiB);
  const rpc::SegmentGrant grant = Ask(kWriter, 100'000);
  const auto seal = [&](ProcessId writer, NodeId node, uint64_t offset, uint64_t size) {
    return table_->Seal(writer, {Object(1), 0, {node, grant.segment, offset, size}, writer, {}});
  };
  EXPECT_FALSE(seal(kOther, 1, 0, 100'000));
  EXPECT_FALSE(seal(kWriter, 2, 0, 100'000));
  EXPECT_FALSE(seal(kWriter, 1, 10, 100'000));
  EXPECT_FALSE(seal(kWriter, 1, 0, 2 * kMiB));
  EXPECT_FALSE(seal(kWriter, 1, UINT64_MAX - 63, 100));
  EXPECT_TRUE(seal(kWriter, 1, 0, 100'000));
  EXPECT_FALSE(seal(kWriter, 1, 0, 100'000)) << "sealed twice";
}

TEST_F(ObjectTableTest, KeepsTheHighestAttempt) {
  Open(64 * kMiB);
  Put(kWriter, 1, 2 * kMiB, 0);
  const rpc::StoreLocation second = Put(kWriter, 1, 2 * kMiB, 1);
  EXPECT_EQ(table_->Find(Object(1))->location, second);
  Put(kWriter, 1, 2 * kMiB, 0);
  EXPECT_EQ(table_->Find(Object(1))->location, second);
  EXPECT_EQ(table_->sealed_bytes(), 2 * kMiB);
  table_->Drop(Object(1), 0);
  EXPECT_NE(table_->Find(Object(1)), nullptr) << "a drop of attempt 0 is not for attempt 1";
  table_->Drop(Object(1), 1);
  EXPECT_EQ(table_->Find(Object(1)), nullptr);
}

TEST_F(ObjectTableTest, KeepsAnAttemptThatOthersHavePulledWhenALaterOneReplacesIt) {
  Open(64 * kMiB);
  Put(kWriter, 1, 2 * kMiB, 0);
  EXPECT_EQ(table_->FindForOthers(Object(1), 1), nullptr);
  EXPECT_NE(table_->FindForOthers(Object(1), 0), nullptr);
  const rpc::StoreLocation second = Put(kWriter, 1, 2 * kMiB, 1);
  EXPECT_EQ(table_->Find(Object(1))->location, second);
  EXPECT_EQ(table_->sealed_bytes(), 4 * kMiB);
  table_->Drop(Object(1), 0);
  EXPECT_EQ(table_->sealed_bytes(), 2 * kMiB);
  EXPECT_NE(table_->FindForOthers(Object(1), 1), nullptr);
  Put(kWriter, 1, 2 * kMiB, 2);
  table_->Drop(Object(1), UINT32_MAX);
  EXPECT_EQ(table_->sealed_bytes(), 0u);
}

TEST_F(ObjectTableTest, FreesUnsealedMemoryOfADeadWriterAndKeepsWhatItSealed) {
  Open(64 * kMiB);
  const rpc::StoreLocation kept = Put(kWriter, 1, 100'000);
  Ask(kWriter, 8 * kMiB);
  ObjectTable::Actions actions;
  table_->ProcessDied(kWriter, &actions);
  CarryOut(actions);
  EXPECT_EQ(table_->Find(Object(1))->location, kept);
  // The rest of its lease, and the segment that it never sealed, go to the next writer.
  EXPECT_EQ(Ask(kOther, 100'000).segment, kept.segment);
  EXPECT_EQ(Ask(kOther, 8 * kMiB).size_bytes, 8 * kMiB);
  EXPECT_EQ(created_, 2);
}

TEST_F(ObjectTableTest, DoesNotReuseWhatIsStillRead) {
  Open(8 * kMiB);
  const rpc::StoreLocation location = Put(kWriter, 1, 6 * kMiB);
  read_.insert(Object(1));
  Drop(1);
  EXPECT_EQ(table_->leaving_bytes(), 6 * kMiB);
  EXPECT_EQ(Ask(kOther, 6 * kMiB).size_bytes, 0u);  // it waits
  Advance(ObjectTable::kRescan);
  EXPECT_EQ(table_->leaving_bytes(), 6 * kMiB);
  read_.clear();
  Advance(ObjectTable::kRescan);
  EXPECT_EQ(table_->leaving_bytes(), 0u);
  EXPECT_EQ(grants_[last_request_].segment, location.segment) << "granted when the reader had gone";
  EXPECT_EQ(grants_[last_request_].size_bytes, 6 * kMiB);
}

TEST_F(ObjectTableTest, RefusesAfterAWaitAndSaysWhatIsUsed) {
  Open(8 * kMiB);
  Put(kWriter, 1, 6 * kMiB);
  const rpc::SegmentGrant waiting = Ask(kOther, 4 * kMiB);
  EXPECT_EQ(waiting.error.code, rpc::ErrorCode::kNone);
  EXPECT_EQ(table_->next_deadline(), now_ + ObjectTable::kWaitMax);
  Advance(ObjectTable::kWaitMax);
  const rpc::SegmentGrant& refused = grants_[last_request_];
  EXPECT_EQ(refused.error.code, rpc::ErrorCode::kOutOfMemory);
  EXPECT_THAT(refused.error.message, HasSubstr("4.0 MiB asked for, 6.0 MiB of 8.0 MiB in use (6.0 MiB referenced"));
  EXPECT_EQ(table_->next_deadline(), kInfiniteFuture);
}

TEST_F(ObjectTableTest, RefusesWhatCanNeverFitAtOnce) {
  Open(8 * kMiB);
  EXPECT_EQ(Ask(kWriter, 9 * kMiB).error.code, rpc::ErrorCode::kOutOfMemory);
  EXPECT_EQ(Ask(kWriter, UINT64_MAX).error.code, rpc::ErrorCode::kOutOfMemory);
}

TEST_F(ObjectTableTest, DestroysWarmSegmentsToMakeRoomForALargerOne) {
  Open(8 * kMiB);
  for (uint64_t number = 1; number <= 3; ++number) Put(kWriter, number, 2 * kMiB);
  for (uint64_t number = 1; number <= 3; ++number) Drop(number);
  EXPECT_EQ(table_->warm_bytes(), 6 * kMiB);
  EXPECT_EQ(Ask(kOther, 7 * kMiB).size_bytes, 7 * kMiB);
  EXPECT_LE(table_->segment_bytes(), 8 * kMiB);
}

TEST_F(ObjectTableTest, UsesEverySmallHoleBeforeItRefuses) {
  Open(2 * kMiB);
  // Two writers fill the quota with their first leases; the second seals and returns the rest.
  Ask(kWriter, 100'000);
  const rpc::SegmentGrant lease = Ask(kOther, 100'000);
  ASSERT_EQ(lease.size_bytes, kMiB);
  ObjectTable::Actions actions;
  EXPECT_TRUE(table_->Seal(kOther, {Object(1), 0, {1, lease.segment, lease.offset, 640'000}, kOther, {}}));
  EXPECT_TRUE(table_->Return(kOther, {lease.segment, lease.offset + 640'000, kMiB - 640'000}, &actions));
  const rpc::SegmentGrant rest = Ask({1, 3}, 200'000);
  EXPECT_EQ(rest.segment, lease.segment);
  EXPECT_EQ(rest.offset, 640'000u);
}

TEST_F(ObjectTableTest, RefusesWhenTheShellCannotMakeASegment) {
  Open(64 * kMiB);
  create_error_ = "memfd: out of memory";
  const rpc::SegmentGrant refused = Ask(kWriter, 4 * kMiB);
  EXPECT_EQ(refused.error.code, rpc::ErrorCode::kOutOfMemory);
  EXPECT_THAT(refused.error.message, HasSubstr("memfd: out of memory"));
  EXPECT_EQ(table_->segment_bytes(), 0u);
}

TEST_F(ObjectTableTest, DropsEverythingOfADeadHome) {
  Open(64 * kMiB);
  const ObjectId foreign{{2, 5}, 1, 0};
  const rpc::SegmentGrant grant = Ask(kWriter, 2 * kMiB);
  ASSERT_TRUE(table_->Seal(kWriter, {foreign, 0, {1, grant.segment, 0, 2 * kMiB}, {2, 5}, {}}));
  Put(kWriter, 1, 2 * kMiB);
  table_->DropHomedAt(2);
  Advance();
  EXPECT_EQ(table_->Find(foreign), nullptr);
  EXPECT_EQ(table_->object_count(), 1u);
}

// Writers, seals, drops, readers and deaths at random: the quota holds, and nothing is lost when all is dropped.
TEST_F(ObjectTableTest, KeepsItsQuotaAndLosesNothingUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    segments_.clear();
    read_.clear();
    Open(32 * kMiB);
    std::set<uint64_t> alive;
    for (uint64_t step = 1; step <= 500; ++step) {
      const ProcessId writer{1, 1 + rng.Uniform(4)};
      const uint64_t bytes = rng.Bernoulli(0.6) ? rng.Between(64 << 10, 1 << 20) : rng.Between(1 << 20, 6 << 20);
      const rpc::SegmentGrant grant = Ask(writer, bytes);
      if (grant.size_bytes != 0 && rng.Bernoulli(0.8)) {
        ASSERT_GE(grant.size_bytes, bytes);
        ASSERT_TRUE(table_->Seal(writer, {Object(step), 0, {1, grant.segment, grant.offset, bytes}, writer, {}}));
        alive.insert(step);
      }
      if (rng.Bernoulli(0.1)) {
        ObjectTable::Actions actions;
        table_->ProcessDied(writer, &actions);
        CarryOut(actions);
      }
      while (!alive.empty() && rng.Bernoulli(0.5)) {
        const uint64_t victim = *alive.begin();
        if (rng.Bernoulli(0.2)) read_.insert(Object(victim));
        alive.erase(victim);
        Drop(victim);
      }
      if (rng.Bernoulli(0.2)) read_.clear();
      Advance(std::chrono::milliseconds(20));
      ASSERT_LE(table_->segment_bytes(), 32 * kMiB);
      ASSERT_EQ(table_->object_count(), alive.size());
    }
    for (const uint64_t number : alive) Drop(number);
    read_.clear();
    for (uint64_t number = 1; number <= 4; ++number) {
      ObjectTable::Actions actions;
      table_->ProcessDied({1, number}, &actions);
      CarryOut(actions);
    }
    Advance(ObjectTable::kWaitMax);
    Advance(ObjectTable::kRescan);
    EXPECT_EQ(table_->sealed_bytes(), 0u);
    EXPECT_EQ(table_->leaving_bytes(), 0u);
    EXPECT_EQ(table_->warm_bytes(), table_->segment_bytes());
  }
}

}  // namespace
}  // namespace manta::store

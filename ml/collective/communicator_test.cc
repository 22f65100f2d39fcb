// The other collectives, and what a group does when its members differ, leave, or are replaced.
#include <algorithm>
#include <atomic>

#include "ml/collective/collective_story.h"
#include "ml/collective/rank_actor.h"

namespace manta::ml {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CommunicatorTest : public CollectiveTest {
 protected:
  // The error of what `run` throws; a failure of the test if it throws another one, or none.
  template <class E, class Function>
  static std::string ErrorOf(Function run) {
    try {
      run();
      ADD_FAILURE() << "no error";
    } catch (const E& error) {
      return error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "another error: " << error.what();
    }
    return "";
  }
  static float SumOf(Communicator& all, float value) {
    all.AllReduce(std::span<float>(&value, 1));
    return value;
  }
};

TEST_F(CommunicatorTest, ReduceScatterGivesEachItsPart) {
  for (size_t members : {1, 2, 3, 7}) {
    RunMembers(members, [&](Communicator& all) {
      for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing}) {
        for (size_t part : {0, 1, 33, 70'001}) {
          std::vector<int64_t> values(part * members);
          for (size_t i = 0; i < values.size(); ++i) values[i] = int64_t(i * (all.rank() + 1));
          std::vector<int64_t> mine(part, -1);
          all.ReduceScatter(values, std::span<int64_t>(mine), Reduction::kSum, algorithm);
          const size_t factor = members * (members + 1) / 2;
          for (size_t i = 0; i < part; ++i) ASSERT_EQ(mine[i], int64_t((all.rank() * part + i) * factor)) << i;
        }
      }
    });
  }
}

TEST_F(CommunicatorTest, AllGatherGivesAllEveryPart) {
  for (size_t members : {1, 2, 4, 5}) {
    RunMembers(members, [&](Communicator& all) {
      for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing}) {
        for (size_t part : {0, 1, 33, 100'001}) {
          const std::vector<float> mine(part, float(all.rank()));
          std::vector<float> values(part * members, -1);
          all.AllGather(mine, std::span<float>(values), algorithm);
          for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], float(i / part)) << i;
        }
      }
    });
  }
}

TEST_F(CommunicatorTest, BroadcastAndReduceKnowTheirRoot) {
  for (size_t members : {1, 2, 3, 6}) {
    RunMembers(members, [&](Communicator& all) {
      for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kTree, Algorithm::kStar}) {
        for (size_t root = 0; root < members; ++root) {
          for (size_t count : {0, 1, 150'000}) {
            std::vector<double> values(count, double(all.rank() + 1));
            all.Reduce(std::span<double>(values), root, Reduction::kMean, algorithm);
            const double mean = double(members + 1) / 2;
            ASSERT_EQ(values, std::vector<double>(count, all.rank() == root ? mean : double(all.rank() + 1)));
            all.Broadcast(std::span<double>(values), root, algorithm);
            ASSERT_EQ(values, std::vector<double>(count, mean));
          }
        }
      }
    });
  }
}

TEST_F(CommunicatorTest, ARootWaitsForThoseWhoReadItsSlots) {
  RunMembers(3, [](Communicator& all) {
    std::vector<int64_t> values(4 << 20);
    for (size_t i = 0; i < values.size(); ++i) values[i] = all.rank() == 1 ? int64_t(i) : -1;
    all.Broadcast(std::span<int64_t>(values), 1, Algorithm::kSharedMemory);
    size_t wrong = 0;
    for (size_t i = 0; i < values.size(); ++i) wrong += values[i] != int64_t(i);
    EXPECT_EQ(wrong, 0u);
  });
}

TEST_F(CommunicatorTest, NobodyPassesABarrierBeforeAllHaveCome) {
  std::atomic<int> arrived = 0;
  RunMembers(4, [&](Communicator& all) {
    int round = 0;
    for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kTree, Algorithm::kRing, Algorithm::kStar,
                                Algorithm::kHalvingDoubling, Algorithm::kSharedMemory}) {
      ++arrived;
      all.Barrier(algorithm);
      EXPECT_GE(arrived, 4 * ++round);
    }
  });
}

TEST_F(CommunicatorTest, SendsToOne) {
  RunMembers(3, [](Communicator& all) {
    const size_t next = (all.rank() + 1) % 3, before = (all.rank() + 2) % 3;
    for (int i = 0; i < 3; ++i) {
      const std::vector<int32_t> values(5000, int32_t(10 * all.rank()) + i);
      all.Send(std::span<const int32_t>(values), next, uint32_t(i % 2));
    }
    std::vector<int32_t> got(5000);
    for (int i : {1, 0, 2}) {  // 1 is alone in its tag
      all.Receive(std::span<int32_t>(got), before, uint32_t(i % 2));
      EXPECT_EQ(got, std::vector<int32_t>(got.size(), int32_t(10 * before) + i));
    }
    EXPECT_THROW(all.Send(std::span<const int32_t>(got), all.rank()), InvalidArgumentError);
    EXPECT_THROW(all.Send(std::span<const int32_t>(got), 3), InvalidArgumentError);
    all.Barrier();
  });
}

TEST_F(CommunicatorTest, MembersThatCallDifferentThingsAreTold) {
  for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing, Algorithm::kTree}) {
    RunMembers(2, [&](Communicator& all) {
      std::vector<float> values(100 + all.rank());
      const std::string error = ErrorOf<Error>([&] {
        all.AllReduce(std::span<float>(values), Reduction::kSum, algorithm);
        all.Barrier(algorithm);
      });
      EXPECT_THAT(error, AllOf(HasSubstr("AllReduce of 100 float32"), HasSubstr("AllReduce of 101 float32")));
      // From then on, whatever is called.
      EXPECT_EQ(ErrorOf<Error>([&] { all.Barrier(); }), error);
    });
  }
}

TEST_F(CommunicatorTest, ArgumentsThatMakeNoSenseAreRefusedBeforeAnythingHappens) {
  RunMembers(2, [](Communicator& all) {
    std::vector<int32_t> values(4);
    std::vector<int32_t> part(3);
    EXPECT_THAT(ErrorOf<InvalidArgumentError>([&] { all.AllReduce(std::span<int32_t>(values), Reduction::kMean); }),
                HasSubstr("mean of int32"));
    EXPECT_THROW(all.Broadcast(std::span<int32_t>(values), 2), InvalidArgumentError);
    EXPECT_THAT(ErrorOf<InvalidArgumentError>([&] { all.AllGather(part, std::span<int32_t>(values)); }),
                AllOf(HasSubstr("3"), HasSubstr("4"), HasSubstr("6")));
    EXPECT_THROW(all.Reduce(std::span<int32_t>(values), 0, Reduction::kSum, Algorithm::kRing), InvalidArgumentError);
    EXPECT_EQ(SumOf(all, 1), 2);
  });
  EXPECT_THROW(ProcessGroup::Create({.members = 0}), InvalidArgumentError);
  EXPECT_THROW(ProcessGroup::Create({.members = ProcessGroup::kMembersMax + 1}), InvalidArgumentError);
  EXPECT_THROW(ProcessGroup().Join(0), InvalidArgumentError);
  EXPECT_THROW(Communicator().Barrier(), InvalidArgumentError);
}

TEST_F(CommunicatorTest, OneThatDoesNotComeIsNamed) {
  ProcessGroup group = ProcessGroup::Create({.members = 3, .timeout = std::chrono::milliseconds(300)});
  EXPECT_THAT(ErrorOf<TimeoutError>([&] { group.Join(1); }), HasSubstr("0, 2"));
}

TEST_F(CommunicatorTest, OneThatIsSilentIsNamed) {
  ProcessGroup group =
      ProcessGroup::Create({.members = 2, .timeout = std::chrono::milliseconds(500), .measure_costs = false});
  std::atomic<bool> has_seen = false;
  RunMembers(group, 2, [&](Communicator& all) {
    if (all.rank() == 1) {
      while (!has_seen) std::this_thread::yield();
      return;
    }
    EXPECT_THAT(ErrorOf<TimeoutError>([&] { all.Barrier(); }), HasSubstr("member 1"));
    EXPECT_THROW(all.Barrier(), TimeoutError);
    has_seen = true;
  });
}

TEST_F(CommunicatorTest, OneThatLeavesIsMissedByWhoNeedsIt) {
  for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing}) {
    RunMembers(3, [&](Communicator& all) {
      all.Barrier(algorithm);
      if (all.rank() == 1) return all.Leave();
      const std::string error = ErrorOf<MemberDiedError>([&] {
        for (;;) all.Barrier(algorithm);
      });
      EXPECT_THAT(error, HasSubstr("member"));
      Communicator rest = all.Reform();
      EXPECT_EQ(rest.generation(), 2u);
      EXPECT_EQ(rest.size(), 2u);
      EXPECT_EQ(rest.rank(), all.rank() == 0 ? 0u : 1u);
      EXPECT_EQ(SumOf(rest, float(all.rank())), 2);
      EXPECT_THROW(all.Barrier(), MemberDiedError);
    });
  }
}

TEST_F(CommunicatorTest, AReplacementTakesThePlace) {
  ProcessGroup group = CreateGroup(3);
  std::thread replacement;
  RunMembers(group, 3, [&](Communicator& all) {
    if (all.rank() == 1) {
      all.Leave();
      replacement = std::thread([&] {
        Communicator mine = group.Join(1);
        EXPECT_EQ(mine.generation(), 2u);
        EXPECT_EQ(SumOf(mine, 10), 12);
        mine.Barrier();
      });
      return;
    }
    Communicator rest = all.Reform(3);
    EXPECT_EQ(rest.rank(), all.rank());
    EXPECT_EQ(SumOf(rest, 1), 12);
    rest.Barrier();
  });
  replacement.join();
}

TEST_F(CommunicatorTest, AGroupGrows) {
  ProcessGroup group = CreateGroup(2);
  std::vector<std::thread> others;
  RunMembers(group, 2, [&](Communicator& all) {
    EXPECT_EQ(SumOf(all, 1), 2);
    if (all.rank() == 0) {
      for (int i = 0; i < 2; ++i) {
        others.emplace_back([&] {
          Communicator mine = group.Join();
          EXPECT_EQ(SumOf(mine, 1), 4);
          mine.Barrier();
        });
      }
    }
    all = all.Reform(4);
    EXPECT_EQ(all.size(), 4u);
    EXPECT_EQ(SumOf(all, 1), 4);
    all.Barrier();
  });
  for (std::thread& other : others) other.join();
}

// Members that reduce without a pause, by each kind of waiting; the driver has them meet again.
TEST_F(CommunicatorTest, ADriverHasTheGroupFormAnew) {
  for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing}) {
    ProcessGroup group = CreateGroup(3);
    std::thread driver([&] {
      while (group.GetStatus().generation == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_THAT(ErrorOf<InvalidArgumentError>([&] { group.Reform(2); }), HasSubstr("3 members live"));
      group.Reform();
    });
    RunMembers(group, 3, [&](Communicator& all) {
      const std::string error = ErrorOf<MemberDiedError>([&] {
        for (;;) all.Barrier(algorithm);
      });
      Communicator next = all.Reform(7);  // which the driver has decided otherwise
      EXPECT_EQ(next.generation(), 2u);
      EXPECT_EQ(next.size(), 3u);
      EXPECT_EQ(SumOf(next, float(all.rank())), 3) << error;
      next.Barrier();
    });
    driver.join();
  }
}

// The others wait for one that hangs until the driver says that they need not.
TEST_F(CommunicatorTest, ADriverReplacesAMemberThatHangs) {
  for (Algorithm algorithm : {Algorithm::kSharedMemory, Algorithm::kRing}) {
    ProcessGroup group = CreateGroup(3);
    std::atomic<int> waiting = 0, replaced = 0;
    std::thread replacement([&] {
      while (waiting < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_THAT(ErrorOf<InvalidArgumentError>([&] { group.Reform(3, {3}); }), HasSubstr("member 3 of 3"));
      group.Reform(3, {1});
      Communicator mine = group.Join(1);
      EXPECT_EQ(SumOf(mine, 10), 12);
      mine.Barrier();
    });
    RunMembers(group, 3, [&](Communicator& all) {
      if (all.rank() == 1) {
        while (replaced < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        ErrorOf<MemberDiedError>([&] {
          for (;;) all.Barrier(algorithm);  // the first may still end well: the others had come
        });
        EXPECT_THAT(ErrorOf<MemberDiedError>([&] { all.Reform(); }), HasSubstr("no member"));
        return;
      }
      ++waiting;
      ErrorOf<MemberDiedError>([&] { all.Barrier(algorithm); });
      Communicator rest = all.Reform();
      EXPECT_EQ(rest.size(), 3u);
      EXPECT_EQ(rest.rank(), all.rank());
      EXPECT_EQ(SumOf(rest, 1), 12);
      rest.Barrier();
      ++replaced;
    });
    replacement.join();
    EXPECT_THAT(group.GetStatus().generation, 2u);
  }
}

TEST_F(CommunicatorTest, ADriverBeginsWithoutOneThatDoesNotCome) {
  ProcessGroup group = CreateGroup(3);
  EXPECT_THROW(group.Reform(), InvalidArgumentError);
  EXPECT_THROW(group.Reform(ProcessGroup::kMembersMax + 1), InvalidArgumentError);
  EXPECT_THROW(ProcessGroup().Reform(), InvalidArgumentError);
  group.Reform(2);
  RunMembers(group, 2, [&](Communicator& all) {
    EXPECT_EQ(all.generation(), 1u);
    EXPECT_EQ(all.size(), 2u);
    EXPECT_EQ(SumOf(all, 1), 2);
    all.Barrier();
  });
}

TEST_F(CommunicatorTest, ARankThatIsTakenIsRefused) {
  ProcessGroup group = CreateGroup(2);
  RunMembers(group, 2, [&](Communicator& all) {
    all.Barrier();
    if (all.rank() == 0) {
      EXPECT_THAT(ErrorOf<InvalidArgumentError>([&] { group.Join(1); }), HasSubstr("a living member"));
    }
    all.Barrier();
  });
}

TEST_F(CommunicatorTest, MessagesOfAnOldGenerationAreRefused) {
  using internal::MessageKey;
  using internal::RankActor;
  using internal::Taken;
  auto companion = Actor<RankActor>().NumCpus(0).MaxConcurrency(RankActor::kThreads).Remote(int64_t(getpid()));
  const MessageKey key{7, 0, 1};
  const internal::Message message{{}, 1, Tensor(DType::kUint8, {3})};
  auto post = [&](uint64_t generation) {
    return Get(companion.Call<&RankActor::Post>().Remote(generation, key, message));
  };
  auto take = [&](uint64_t generation) {
    return Get(companion.Call<&RankActor::Take>().Remote(generation, key, internal::Label(), uint64_t(0))).outcome;
  };
  EXPECT_TRUE(post(4));  // one that is not begun here yet
  EXPECT_TRUE(post(5));
  Get(companion.Call<&RankActor::Begin>().Remote(uint64_t(5)));
  EXPECT_FALSE(post(4));
  EXPECT_EQ(take(4), Taken::Outcome::kStale);
  EXPECT_EQ(take(5), Taken::Outcome::kTaken);
  EXPECT_EQ(take(5), Taken::Outcome::kTimeout);
}

TEST_F(CommunicatorTest, CostsAreMeasuredAndTheSameForAll) {
  ProcessGroup group = ProcessGroup::Create({.members = 3});
  std::mutex mutex;
  std::vector<std::string> models;
  RunMembers(group, 3, [&](Communicator& all) {
    EXPECT_EQ(all.cost_model().members, 3u);
    EXPECT_GT(all.cost_model().message_seconds, 0);
    EXPECT_GT(all.cost_model().window_seconds, 0);
    std::vector<float> values(1000, 1);
    all.AllReduce(std::span<float>(values));
    EXPECT_EQ(all.stats().operations, 1u);
    EXPECT_EQ(all.stats().last_algorithm, all.cost_model().Choose(4000));
    std::lock_guard lock(mutex);
    models.push_back(all.cost_model().ToString());
  });
  EXPECT_EQ(models[0], models[1]);
  EXPECT_EQ(models[0], models[2]);
  EXPECT_THAT(models[0], AllOf(HasSubstr("3 members"), HasSubstr("shared-memory"), HasSubstr("halving-doubling")));
}

TEST(CostModel, PrefersFewStepsForLittleAndFewBytesForMuch) {
  CostModel model{.members = 8, .shares_window = false, .message_seconds = 20e-6, .message_byte_seconds = 1e-9};
  EXPECT_EQ(model.Choose(8), Algorithm::kStar);
  EXPECT_EQ(model.Choose(100 << 10), Algorithm::kHalvingDoubling);
  model.members = 7;  // no power of two: folding costs all bytes twice
  EXPECT_EQ(model.Choose(64 << 20), Algorithm::kRing);
  EXPECT_DOUBLE_EQ(model.Predict(Algorithm::kRing, 7000), 2 * 6 * (20e-6 + 1000e-9));
  EXPECT_DOUBLE_EQ(model.Predict(Algorithm::kTree, 1000), 2 * 3 * (20e-6 + 1000e-9));
  model.window_seconds = 1e-6;
  model.window_byte_seconds = 0.2e-9;
  EXPECT_EQ(model.Choose(64 << 20), Algorithm::kRing) << "no two members share a node, or all do";
  model.nodes = 2;
  EXPECT_EQ(model.OfLeaders().members, 2u);
  EXPECT_DOUBLE_EQ(model.Predict(Algorithm::kHierarchical, 1000), 2 * (1e-6 + 0.2e-6) + 2 * (20e-6 + 0.5e-6));
  EXPECT_EQ(model.Choose(64 << 20), Algorithm::kHierarchical);
  model.nodes = 7;
  EXPECT_EQ(model.Choose(64 << 20), Algorithm::kRing);
  model.nodes = 1;
  model.shares_window = true;
  EXPECT_EQ(model.Choose(64 << 20), Algorithm::kSharedMemory);
}

}  // namespace
}  // namespace manta::ml

// AllReduce: every algorithm, type, reduction, number of members and size gives what MPI_Allreduce's contract says.
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include "manta/ml/train_state.h"
#include "ml/collective/collective_story.h"

namespace manta::ml {
namespace {

constexpr Algorithm kAlgorithms[] = {Algorithm::kSharedMemory,    Algorithm::kRing, Algorithm::kTree,
                                     Algorithm::kHalvingDoubling, Algorithm::kStar, Algorithm::kHierarchical};

class AllReduce : public CollectiveTest {
 protected:
  // The reduction of all members' ValuesOf, in more precision than T's; `bound`: sum |x| of each element.
  template <class T>
  static std::vector<long double> Expected(size_t members, size_t count, Reduction reduction,
                                           std::vector<long double>* bound) {
    std::vector<long double> sum(count), magnitude(count);
    for (size_t rank = 0; rank < members; ++rank) {
      const std::vector<T> values = ValuesOf<T>(rank, count);
      for (size_t i = 0; i < count; ++i) {
        const long double x = values[i];
        magnitude[i] += std::abs(x);
        if (rank == 0) {
          sum[i] = x;
        } else if (reduction == Reduction::kMax) {
          sum[i] = std::max(sum[i], x);
        } else if (reduction == Reduction::kMin) {
          sum[i] = std::min(sum[i], x);
        } else {
          sum[i] += x;
        }
      }
    }
    if (reduction == Reduction::kMean) {
      for (long double& value : sum) value /= members;
    }
    if (bound != nullptr) *bound = magnitude;
    return sum;
  }

  template <class T>
  static void ExpectReduced(const std::vector<T>& values, size_t members, Reduction reduction) {
    std::vector<long double> magnitude;
    const std::vector<long double> expected = Expected<T>(members, values.size(), reduction, &magnitude);
    const bool is_exact = reduction == Reduction::kMax || reduction == Reduction::kMin;
    for (size_t i = 0; i < values.size(); ++i) {
      const long double bound = is_exact ? 0 : members * std::numeric_limits<T>::epsilon() * magnitude[i];
      ASSERT_LE(std::abs(values[i] - expected[i]), bound)
          << "element " << i << " of " << values.size() << ", " << members << " members, " << ReductionName(reduction);
    }
  }
  // Integers: sums wrap around.
  template <class T>
  requires std::is_integral_v<T>
  static void ExpectReduced(const std::vector<T>& values, size_t members, Reduction reduction) {
    std::vector<T> expected = ValuesOf<T>(0, values.size());
    for (size_t rank = 1; rank < members; ++rank) {
      const std::vector<T> theirs = ValuesOf<T>(rank, values.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        using U = std::make_unsigned_t<T>;
        expected[i] = reduction == Reduction::kSum   ? T(U(expected[i]) + U(theirs[i]))
                      : reduction == Reduction::kMax ? std::max(expected[i], theirs[i])
                                                     : std::min(expected[i], theirs[i]);
      }
    }
    ASSERT_EQ(values, expected) << members << " members, " << ReductionName(reduction);
  }

  // Runs it in `all`, and looks at the result; `replicas` collects the bits of all members.
  template <class T>
  void CheckOne(Communicator& all, size_t count, Reduction reduction, Algorithm algorithm) {
    SCOPED_TRACE(std::string(AlgorithmName(algorithm)) + ", rank " + std::to_string(all.rank()));
    std::vector<T> values = ValuesOf<T>(all.rank(), count);
    all.AllReduce(std::span<T>(values), reduction, algorithm);
    ExpectReduced<T>(values, all.size(), reduction);
    std::lock_guard lock(mutex_);
    if (is_first_ && count != 0) bits_.assign(reinterpret_cast<const char*>(values.data()), count * sizeof(T));
    const bool differs = count != 0 && std::memcmp(bits_.data(), values.data(), bits_.size()) != 0;
    EXPECT_FALSE(differs) << "the members' bits";
    if (++replicas_ == all.size()) replicas_ = 0;
    is_first_ = replicas_ == 0;
  }

 private:
  std::mutex mutex_;
  std::string bits_;
  size_t replicas_ = 0;
  bool is_first_ = true;
};

TEST_F(AllReduce, IsRightForAnyNumberOfMembers) {
  for (size_t members = 1; members <= 9; ++members) {
    RunMembers(members, [&](Communicator& all) {
      for (Algorithm algorithm : kAlgorithms) {
        for (size_t count : {0, 1, 2, 7, 64, 1000, 5003}) {
          CheckOne<double>(all, count, Reduction::kSum, algorithm);
          all.Barrier();
        }
      }
    });
  }
}

TEST_F(AllReduce, IsRightForAnyTypeAndReduction) {
  for (size_t members : {2, 3, 5}) {
    RunMembers(members, [&](Communicator& all) {
      for (Algorithm algorithm : kAlgorithms) {
        for (size_t count : {100, 20'011}) {
          for (Reduction reduction : {Reduction::kSum, Reduction::kMean, Reduction::kMax, Reduction::kMin}) {
            CheckOne<float>(all, count, reduction, algorithm);
            all.Barrier();
            CheckOne<double>(all, count, reduction, algorithm);
            all.Barrier();
            if (reduction == Reduction::kMean) continue;
            CheckOne<int32_t>(all, count, reduction, algorithm);
            all.Barrier();
            CheckOne<int64_t>(all, count, reduction, algorithm);
            all.Barrier();
          }
        }
      }
    });
  }
}

// All members' bits are the same, and within n eps sum|x| of the exact sum. The values repeat after kPeriod, for the
// sake of this test's time; those above 1 MiB go through the window, and by one algorithm of messages for each n.
TEST_F(AllReduce, IsRightFromNothingTo64MiB) {
  constexpr size_t kPeriod = 4096, kMiB = 1 << 20;
  for (size_t members = 1; members <= 9; ++members) {
    std::vector<long double> bound;
    const std::vector<long double> exact = Expected<float>(members, kPeriod, Reduction::kSum, &bound);
    std::vector<double> sum(exact.begin(), exact.end()), most(bound.begin(), bound.end());
    for (double& value : most) value *= double(members) * std::numeric_limits<float>::epsilon();
    std::mutex mutex;
    std::map<std::string, std::set<uint64_t>> hashes;  // of one operation's results
    RunMembers(members, [&](Communicator& all) {
      const std::vector<float> mine = ValuesOf<float>(all.rank(), kPeriod);
      for (const size_t bytes : {size_t(0), size_t(4), 64 * 1024 + size_t(4), kMiB, 16 * kMiB + 12, 64 * kMiB}) {
        for (size_t i = 0; i < std::size(kAlgorithms); ++i) {
          if (bytes > kMiB && i != 0 && i != 1 + members % (std::size(kAlgorithms) - 1)) continue;
          const std::string what = std::to_string(bytes) + " bytes, " + AlgorithmName(kAlgorithms[i]);
          std::vector<float> values(bytes / sizeof(float));
          for (size_t k = 0; k < values.size(); ++k) values[k] = mine[k % kPeriod];
          all.AllReduce(std::span<float>(values), Reduction::kSum, kAlgorithms[i]);
          size_t wrong = 0;
          for (size_t k = 0; k < values.size(); ++k) {
            wrong += !(std::abs(double(values[k]) - sum[k % kPeriod]) <= most[k % kPeriod]);
          }
          EXPECT_EQ(wrong, 0u) << what << ", " << members << " members";
          const std::lock_guard lock(mutex);
          hashes[what].insert(HashBytes(values.data(), bytes));
        }
      }
    });
    for (const auto& [what, bits] : hashes) EXPECT_EQ(bits.size(), 1u) << what << ", " << members << " members";
  }
}

TEST_F(AllReduce, ANaNOfAnyMemberIsTheLargestAndTheSmallest) {
  RunMembers(3, [](Communicator& all) {
    for (size_t culprit = 0; culprit < 3; ++culprit) {
      for (Reduction reduction : {Reduction::kMax, Reduction::kMin, Reduction::kSum}) {
        std::vector<float> values(40, float(all.rank()));
        if (all.rank() == culprit) values[17] = std::numeric_limits<float>::quiet_NaN();
        all.AllReduce(std::span<float>(values), reduction);
        EXPECT_TRUE(std::isnan(values[17])) << ReductionName(reduction) << " of member " << culprit;
        EXPECT_FALSE(std::isnan(values[16]));
      }
    }
  });
}

TEST_F(AllReduce, TakesTensors) {
  RunMembers(2, [](Communicator& all) {
    Tensor mine = Tensor::From<float>({1, 2, 3, 4}, {2, 2});
    const Tensor kept = mine;
    const Tensor sum = all.AllReduce(std::move(mine));
    EXPECT_EQ(sum.shape(), Shape({2, 2}));
    EXPECT_EQ(sum.values<float>()[3], 8);
    EXPECT_EQ(kept.values<float>()[3], 4) << "a shared tensor is written to";
    // A sealed one, of the store: neither written to nor copied, and the result is of the store again.
    for (Algorithm algorithm : kAlgorithms) {
      Tensor sealed = Create<float>({100'000});
      std::ranges::fill(sealed.mutable_values<float>(), float(all.rank() + 1));
      (void)Put(sealed);
      Tensor mean = all.AllReduce(sealed, Reduction::kMean, algorithm);
      EXPECT_THAT(mean.values<float>(), ::testing::Each(1.5f));
      EXPECT_TRUE(mean.in_store() && mean.is_writable());
      EXPECT_THAT(sealed.values<float>(), ::testing::Each(float(all.rank() + 1)));
      const float* const place = mean.data<float>();
      const Tensor again = all.AllReduce(std::move(mean), Reduction::kSum, algorithm);
      EXPECT_EQ(again.data<float>(), place) << "it was not reduced in place";
      EXPECT_THAT(again.values<float>(), ::testing::Each(3.0f));
    }
    EXPECT_THROW((void)all.AllReduce(Tensor(DType::kUint8, {3})), InvalidArgumentError);
  });
}

TEST(Algorithm, HasAName) {
  for (Algorithm algorithm : kAlgorithms) EXPECT_EQ(AlgorithmNamed(AlgorithmName(algorithm)), algorithm);
  EXPECT_EQ(AlgorithmNamed("auto"), Algorithm::kAuto);
  try {
    AlgorithmNamed("gossip");
    FAIL() << "no error";
  } catch (const InvalidArgumentError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("gossip"), ::testing::HasSubstr("halving")));
  }
}

TEST_F(AllReduce, BesideTheCallerIsDoneInOrder) {
  RunMembers(2, [](Communicator& all) {
    constexpr size_t kBuckets = 20;
    std::vector<std::vector<float>> buckets;
    for (size_t i = 0; i < kBuckets; ++i) buckets.emplace_back(1000 * i + 1, float(i + all.rank()));
    std::vector<Work> works;
    for (auto& bucket : buckets) works.push_back(all.AllReduceAsync(std::span<float>(bucket), Reduction::kMean));
    std::vector<float> last(3, 2);
    all.AllReduce(std::span<float>(last));  // behind them
    for (size_t i = 0; i < kBuckets; ++i) {
      EXPECT_TRUE(works[i].IsDone()) << i;
      works[i].Wait();
      EXPECT_THAT(buckets[i], ::testing::Each(float(i) + 0.5f));
    }
    EXPECT_THAT(last, ::testing::Each(4.f));
  });
}

// 2 S (n-1)/n bytes from each member, of any size that has whole elements for all.
TEST_F(AllReduce, RingSendsTheLeastPossible) {
  for (size_t members = 2; members <= 9; ++members) {
    RunMembers(members, [&](Communicator& all) {
      double before = 0;
      for (const size_t count : {5'000, 300'000, 3'000'000}) {
        std::vector<float> values(count, 1);
        all.AllReduce(std::span<float>(values), Reduction::kSum, Algorithm::kRing);
        const double sent = double(all.stats().bytes_sent) - before;
        const double least = 2.0 * double(count * sizeof(float)) * double(members - 1) / double(members);
        EXPECT_NEAR(sent, least, 0.02 * least) << members << " members, " << count << " values";
        before += sent;
      }
      const uint64_t segments = 1 + 1 + 2;  // of 8 MiB
      EXPECT_EQ(all.stats().messages_sent, segments * 2 * (members - 1));
    });
  }
}

TEST_F(AllReduce, ATreeIsAsDeepAsItsLogarithm) {
  for (size_t members = 2; members <= 9; ++members) {
    const auto depth = static_cast<uint32_t>(std::ceil(std::log2(members)));
    RunMembers(members, [&](Communicator& all) {
      std::vector<float> values(10, 1);
      all.AllReduce(std::span<float>(values), Reduction::kSum, Algorithm::kTree);
      EXPECT_LE(all.stats().longest_chain, 2 * depth);
      all.Broadcast(std::span<float>(values), members - 1, Algorithm::kTree);
      EXPECT_LE(all.stats().longest_chain, depth);
      all.AllReduce(std::span<float>(values), Reduction::kSum, Algorithm::kStar);
      EXPECT_LE(all.stats().longest_chain, 2u);
      EXPECT_EQ(all.stats().last_algorithm, Algorithm::kStar);
    });
  }
}

}  // namespace
}  // namespace manta::ml

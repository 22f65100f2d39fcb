#include "store/segment_space.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "base/random.h"

namespace manta::store {
namespace {

constexpr ProcessId kWriter{1, 1};
constexpr ProcessId kOther{1, 2};

TEST(SegmentSpace, JoinsNeighboursThatBecomeFree) {
  SegmentSpace space;
  space.Add(7, 4096);
  space.Lease({7, 0, 4096}, kWriter, true);
  space.Seal({7, 64, 128});
  space.Seal({7, 192, 64});
  space.FreeWriter(kWriter);
  EXPECT_EQ(space.used_bytes(), 192u);
  EXPECT_EQ(space.FindShared(kOther, 512), (Extent{7, 256, 3840}));
  space.Free({7, 192, 64});
  EXPECT_EQ(space.FindShared(kOther, 3841), (Extent{7, 192, 3904}));
  space.Free({7, 64, 128});
  EXPECT_EQ(space.warm_bytes(), 4096u);
  EXPECT_EQ(space.FindWarm(4096, 4096), 7u);
}

TEST(SegmentSpace, LetsOnlyOneWriterIntoASegment) {
  SegmentSpace space;
  space.Add(1, 4096);
  space.Lease({1, 0, 1024}, kWriter, true);
  EXPECT_EQ(space.FindShared(kOther, 64), std::nullopt);
  EXPECT_EQ(space.FindShared(kWriter, 64), (Extent{1, 1024, 3072}));
  space.Seal({1, 0, 1024});
  EXPECT_EQ(space.FindShared(kOther, 64), (Extent{1, 1024, 3072}));
}

TEST(SegmentSpace, KeepsTheRestOfALargeObjectsSegmentForTheNextLargeOne) {
  SegmentSpace space;
  space.Add(1, 4096);
  space.Lease({1, 0, 3072}, kWriter, false);
  space.Seal({1, 0, 3072});
  EXPECT_EQ(space.FindShared(kOther, 64), std::nullopt);
  EXPECT_EQ(space.FindWarm(64, 4096), std::nullopt);
}

TEST(SegmentSpace, SaysWhatIsLeasedToWhom) {
  SegmentSpace space;
  space.Add(1, 4096);
  space.Lease({1, 0, 1024}, kWriter, true);
  EXPECT_TRUE(space.IsLeased({1, 0, 1024}, kWriter));
  EXPECT_TRUE(space.IsLeased({1, 960, 64}, kWriter));
  EXPECT_FALSE(space.IsLeased({1, 960, 128}, kWriter));
  EXPECT_FALSE(space.IsLeased({1, 0, 64}, kOther));
  EXPECT_FALSE(space.IsLeased({1, 8192, 64}, kWriter));
  EXPECT_FALSE(space.IsLeased({1, 64, UINT64_MAX}, kWriter));
  EXPECT_FALSE(space.IsLeased({2, 0, 64}, kWriter));
  EXPECT_FALSE(space.IsLeased({1, 0, 0}, kWriter));
}

// Random leases, seals and frees against a byte map.
TEST(SegmentSpace, AgreesWithAMapOfUnits) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    constexpr uint64_t kUnits = 40;
    SegmentSpace space;
    space.Add(1, kUnits * 64);
    char units[kUnits];  // f, l, u
    std::fill(units, units + kUnits, 'f');
    for (int step = 0; step < 400; ++step) {
      const uint64_t from = rng.Uniform(kUnits);
      const uint64_t length = 1 + rng.Uniform(kUnits - from);
      const char kind = units[from];
      bool uniform = true;
      for (uint64_t i = from; i < from + length; ++i) uniform = uniform && units[i] == kind;
      const Extent extent{1, from * 64, length * 64};
      ASSERT_EQ(space.IsLeased(extent, kWriter), uniform && kind == 'l');
      if (!uniform) continue;
      char to = 'f';
      if (kind == 'f') {
        space.Lease(extent, kWriter, true);
        to = 'l';
      } else if (kind == 'l' && rng.Bernoulli(0.5)) {
        space.Seal(extent);
        to = 'u';
      } else if (kind == 'l') {
        space.Free(extent);
      } else {
        // A used range is freed as the object that it was; ask for its first unit alone.
        space.Free({1, from * 64, 64});
        units[from] = 'f';
        continue;
      }
      std::fill(units + from, units + from + length, to);
      ASSERT_EQ(space.leased_bytes(), 64u * static_cast<uint64_t>(std::count(units, units + kUnits, 'l')));
      ASSERT_EQ(space.used_bytes(), 64u * static_cast<uint64_t>(std::count(units, units + kUnits, 'u')));
    }
  }
}

}  // namespace
}  // namespace manta::store

#include "runtime/worker/number_table.h"

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace manta::runtime::worker {
namespace {

struct Record {
  uint64_t number = 0;
  LinkedList<Record>* list = nullptr;
  Record* prev = nullptr;
  Record* next = nullptr;
};

TEST(NumberTable, FindsWhatASurvivorLeftBehind) {
  NumberTable<Record> table;
  Record survivor{1}, young;
  ASSERT_TRUE(table.Insert(1, &survivor));
  for (uint64_t number = 2; number < 100'000; ++number) {
    ASSERT_TRUE(table.Insert(number, &young));
    ASSERT_EQ(table.Find(number), &young);
    ASSERT_TRUE(table.Erase(number));
  }
  EXPECT_EQ(table.Find(1), &survivor);
  EXPECT_FALSE(table.Insert(1, &young)) << "the number is taken";
  EXPECT_EQ(table.size(), 1u);
  EXPECT_TRUE(table.Erase(1));
  EXPECT_FALSE(table.Erase(1));
  EXPECT_TRUE(table.empty());
}

TEST(NumberTable, TakesNumbersThatComeLate) {
  NumberTable<Record> table;
  Record record;
  ASSERT_TRUE(table.Insert(1'000'000, &record));
  ASSERT_TRUE(table.Insert(999'999, &record));
  ASSERT_TRUE(table.Insert(uint64_t{1} << 60, &record));
  EXPECT_EQ(table.Find(999'999), &record);
  EXPECT_EQ(table.Find(1'000'000), &record);
  EXPECT_EQ(table.Find(uint64_t{1} << 60), &record);
  EXPECT_EQ(table.Find(999'998), nullptr);
}

TEST(NumberTable, AgreesWithAMapUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    uint64_t state = seed * 0x9E3779B97F4A7C15u;
    const auto random = [&](uint64_t below) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      return state % below;
    };
    NumberTable<Record> table;
    std::map<uint64_t, std::unique_ptr<Record>> model;
    uint64_t newest = 1;
    for (int step = 0; step < 5000; ++step) {
      if (random(3) != 0 || model.empty()) {
        newest += random(50) == 0 ? random(10'000) : random(4);
        const uint64_t number = newest - random(newest < 40 ? 1 : 40);
        auto record = std::make_unique<Record>();
        record->number = number;
        ASSERT_EQ(table.Insert(number, record.get()), !model.contains(number));
        if (!model.contains(number)) model[number] = std::move(record);
      } else {
        auto victim = model.lower_bound(random(newest + 1));
        if (victim == model.end()) victim = model.begin();
        ASSERT_TRUE(table.Erase(victim->first));
        model.erase(victim);
      }
    }
    ASSERT_EQ(table.size(), model.size());
    auto expected = model.begin();
    table.ForEach([&](Record* record) {
      ASSERT_NE(expected, model.end());
      EXPECT_EQ(record, expected->second.get());
      EXPECT_EQ(table.Find(record->number), record);
      ++expected;
    });
    EXPECT_EQ(expected, model.end());
  }
}

TEST(Pool, HandsOutWhatWasGivenBack) {
  Pool<Record> pool;
  Record* first = pool.Take();
  Record* second = pool.Take();
  EXPECT_NE(first, second);
  pool.GiveBack(first);
  EXPECT_EQ(pool.Take(), first);
}

TEST(LinkedList, KeepsItsOrder) {
  LinkedList<Record> list;
  Record a{1}, b{2}, c{3}, d{4};
  list.PushBack(&b);
  list.PushFront(&a);
  list.PushBack(&d);
  list.InsertAfter(&b, &c);
  list.Remove(&b);
  EXPECT_EQ(b.list, nullptr);
  EXPECT_EQ(list.size(), 3u);
  std::vector<uint64_t> order;
  while (!list.empty()) order.push_back(list.PopFront()->number);
  EXPECT_EQ(order, (std::vector<uint64_t>{1, 3, 4}));
  EXPECT_EQ(list.back(), nullptr);
}

}  // namespace
}  // namespace manta::runtime::worker

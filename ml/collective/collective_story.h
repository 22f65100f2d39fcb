// Members of a group as threads of one test: RunMembers(4, [](Communicator& all) { all.Barrier(); }).
#ifndef MANTA_ML_COLLECTIVE_COLLECTIVE_STORY_H_
#define MANTA_ML_COLLECTIVE_COLLECTIVE_STORY_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "manta/manta.h"
#include "manta/ml/process_group.h"
#include "ml/testing/local_test.h"

namespace manta::ml {

class CollectiveTest : public LocalTest {
 protected:
  CollectiveTest() : LocalTest({.store_memory_bytes = 512 << 20}) {}

  using MemberFunction = std::function<void(Communicator& all)>;

  static ProcessGroup CreateGroup(size_t members) {
    return ProcessGroup::Create({.members = members, .measure_costs = false});
  }
  // `run` in each member of `group`, at the same time; a thread's exception is the test's failure.
  static void RunMembers(const ProcessGroup& group, size_t members, const MemberFunction& run) {
    std::vector<std::thread> threads;
    for (size_t rank = 0; rank < members; ++rank) {
      threads.emplace_back([&, rank] {
        try {
          Communicator all = group.Join(rank);
          run(all);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "member " << rank << ": " << error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  static void RunMembers(size_t members, const MemberFunction& run) { RunMembers(CreateGroup(members), members, run); }

  // Member `rank`'s values: the same whenever it is asked. Some are large, some small, of both signs.
  template <class T>
  static std::vector<T> ValuesOf(size_t rank, size_t count) {
    std::mt19937_64 random(rank * 7919 + count);
    std::vector<T> values(count);
    for (T& value : values) {
      if constexpr (std::is_integral_v<T>) {
        value = static_cast<T>(random());
      } else {
        value = static_cast<T>((double(random() >> 11) / double(1ull << 53) - 0.5) * double(1 << (random() % 20)));
      }
    }
    return values;
  }
};

}  // namespace manta::ml

#endif  // MANTA_ML_COLLECTIVE_COLLECTIVE_STORY_H_

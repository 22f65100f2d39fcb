// What the tests of bad input share.
#ifndef MANTA_TESTS_EMBEDDED_BAD_INPUT_STORY_H_
#define MANTA_TESTS_EMBEDDED_BAD_INPUT_STORY_H_

#include <cstdlib>
#include <string>

#include "tests/embedded/story.h"

namespace manta::embedded {

inline constexpr size_t kMiB = size_t{1} << 20;

inline int Successor(int number) { return number + 1; }
inline size_t LengthOf(std::string text) { return text.size(); }
inline int Abort() { abort(); }

class Clerk {
 public:
  int Number() { return 7; }
  int Exit(int status) { exit(status); }
};

class BadInput : public EmbeddedTest {
 protected:
  // The cluster works as ever.
  void ExpectAlive() {
    EXPECT_EQ(Get(Task<&Successor>().Remote(1), seconds(20)), 2);
    EXPECT_EQ(Get(Actor<Clerk>().Remote().Call<&Clerk::Number>().Remote(), seconds(20)), 7);
  }
};

}  // namespace manta::embedded

#endif  // MANTA_TESTS_EMBEDDED_BAD_INPUT_STORY_H_

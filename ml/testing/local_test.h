// LocalTest is a test whose actors and tasks run inside its own process (--manta-local).
//
//   using ShardServerTest = LocalTest;
//   class TunerTest : public LocalTest { protected: TunerTest() : LocalTest({.num_cpus = 2}) {} ... };
//
// What needs processes that die is told with tests/embedded/story.h.
#ifndef MANTA_ML_TESTING_LOCAL_TEST_H_
#define MANTA_ML_TESTING_LOCAL_TEST_H_

#include <gtest/gtest.h>

#include <utility>

#include "manta/init.h"

namespace manta::ml {

// A runtime inside this process, for as long as what it returns lives.
inline Runtime StartLocal(const Options& options = {}) {
  int argc = 2;
  char program[] = "ml_test", local[] = "--manta-local";
  char* argv[] = {program, local, nullptr};
  return Init(argc, argv, options);
}

class LocalTest : public ::testing::Test {
 protected:
  explicit LocalTest(Options options = {}) : options_(std::move(options)) {}
  void SetUp() override { runtime_ = StartLocal(options_); }
  void TearDown() override { runtime_ = {}; }

 private:
  const Options options_;
  Runtime runtime_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_TESTING_LOCAL_TEST_H_

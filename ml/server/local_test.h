// The runtime of tests inside one process.
#ifndef MANTA_ML_SERVER_LOCAL_TEST_H_
#define MANTA_ML_SERVER_LOCAL_TEST_H_

#include <gtest/gtest.h>

#include "manta/manta.h"

namespace manta::ml {

class LocalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int argc = 2;
    char program[] = "ml_test", local[] = "--manta-local";
    char* argv[] = {program, local, nullptr};
    runtime_ = Init(argc, argv);
  }

  Runtime runtime_;
};

}  // namespace manta::ml

#endif  // MANTA_ML_SERVER_LOCAL_TEST_H_

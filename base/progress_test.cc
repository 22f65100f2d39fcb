#include "base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace manta::base {
namespace {

using std::chrono::seconds;

class ProgressTest : public testing::Test {
 protected:
  ProgressTest() : out_(open_memstream(&text_, &size_)) {
    options_.out = out_;
    options_.clock = &clock_;
    options_.unit = "row";
  }
  ~ProgressTest() override {
    std::fclose(out_);
    std::free(text_);
  }
  std::string Printed() {
    std::fflush(out_);
    return std::string(text_, size_);
  }

  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* out_;
  FakeClock clock_;
  Progress::Options options_;
};

TEST_F(ProgressTest, PrintsPlainLinesNowAndThenWhereThereIsNoTerminal) {
  options_.is_terminal = 0;
  Progress progress("import", 100, options_);
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(seconds(1));
    progress.Add(10);
  }
  progress.Finish();
  progress.Finish();
  EXPECT_EQ(Printed(),
            "import  50% 50/100 [0:05 < 0:05, 10 row/s]\n"
            "import 100% 100/100 [0:10, 10 row/s]\n"
            "import 100% 100/100 [0:10, 10 row/s]\n");
}

TEST_F(ProgressTest, RedrawsABarOnATerminal) {
  options_.is_terminal = 1;
  options_.bar_columns = 4;
  {
    Progress progress("epoch 1", 4000, options_);
    progress.SetNote("loss 0.31");
    clock_.Advance(seconds(2));
    progress.Set(2000);
  }
  EXPECT_EQ(Printed(),
            "\repoch 1  50% |##  | 2k/4k [0:02 < 0:02, 1k row/s] loss 0.31\033[K"
            "\repoch 1  50% |##  | 2k/4k [0:02 < 0:02, 1k row/s] loss 0.31\033[K\n");
}

TEST_F(ProgressTest, AnUnknownTotalHasNoTimeLeft) {
  options_.is_terminal = 0;
  {
    Progress progress("scan", 0, options_);
    clock_.Advance(seconds(3700));
    progress.Set(123456);
  }
  EXPECT_THAT(Printed(), testing::HasSubstr("scan 123k [1:01:40, 33.4 row/s]\n"));
}

TEST_F(ProgressTest, MoreThanTheTotalStaysAtAHundredPercent) {
  options_.is_terminal = 1;
  { Progress(std::string("x"), 2, options_).Set(5); }
  EXPECT_THAT(Printed(), testing::HasSubstr("100%"));
}

}  // namespace
}  // namespace manta::base

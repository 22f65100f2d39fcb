#include "tools/cli/table.h"

#include <gtest/gtest.h>

#include <sstream>

namespace manta::cli {
namespace {

Table Sample() {
  Table table({{"id"}, {"message"}, {"count", true}});
  table.Add({"n1", std::string(60, 'm'), "1"});
  table.Add({"n2", "short", "12345"});
  return table;
}

TEST(Table, AlignsNumbersRightAndLeavesNoTrailingSpace) {
  Table table({{"id"}, {"count", true}, {"what"}});
  table.Add({"n1.p1", "7", "a"});
  table.Add({"n1", "123456", ""});
  EXPECT_EQ(table.Render({}),
            "id      count  what\n"
            "n1.p1       7  a\n"
            "n1     123456\n");
}

TEST(Table, FitsTheTerminal) {
  for (const size_t width : {30u, 40u, 77u, 200u}) {
    std::istringstream lines(Sample().Render({.width = width}));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(WidthOf(line), width) << line;
  }
  EXPECT_NE(Sample().Render({.width = 30}).find("mm…"), std::string::npos);
}

TEST(Table, APipeGetsEverything) { EXPECT_NE(Sample().Render({}).find(std::string(60, 'm')), std::string::npos); }

TEST(Table, ColourOnlyWhereItIsWanted) {
  Table table({{"state"}});
  table.Add({"DEAD"});
  EXPECT_EQ(table.Render({}).find('\x1b'), std::string::npos);
  EXPECT_NE(table.Render({.colour = true}).find("\x1b[31mDEAD\x1b[0m"), std::string::npos);
}

TEST(Table, EmptyColumnsAreLeftOut) {
  Table table({{"id"}, {"name"}, {"pid", true}});
  table.Add({"a", "", "1"});
  EXPECT_EQ(table.Render({}), "id  pid\na     1\n");
}

TEST(Table, WithoutRowsTheTitlesSaySo) { EXPECT_EQ(Table({{"id"}, {"name"}}).Render({}), "id  name\n"); }

TEST(Table, ANameCannotPaintTheScreen) {
  EXPECT_EQ(Printable("a\x1b[2Jb\nc"), "a\\x1b[2Jb\\x0ac");
  EXPECT_EQ(Printable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI in 8 bits
}

TEST(Table, CutsBetweenCodePoints) {
  Table table({{"name"}});
  std::string name, cut;
  for (int i = 0; i < 20; ++i) name += "\xc3\xbc";
  for (int i = 0; i < 11; ++i) cut += "\xc3\xbc";
  table.Add({name});
  EXPECT_NE(table.Render({.width = 12}).find("\n" + cut + "…\n"), std::string::npos) << table.Render({.width = 12});
}

TEST(Table, AnIdIsWholeOrNotThereAtAll) {
  Table table({{"actor_id", false, true}, {"class_name"}, {"worker_id", false, true}});
  table.Add({"n1.p1.a12345", std::string(40, 'c'), "n12.p345"});
  const std::string wide = table.Render({.width = 40});
  EXPECT_NE(wide.find("n1.p1.a12345"), std::string::npos) << wide;
  EXPECT_NE(wide.find("n12.p345"), std::string::npos) << wide;
  const std::string narrow = table.Render({.width = 25});
  EXPECT_NE(narrow.find("n1.p1.a12345"), std::string::npos) << narrow;
  EXPECT_EQ(narrow.find("worker_id"), std::string::npos) << narrow;
}

TEST(HumanBytes, HasThreeDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(268435456), "256 MiB");
}

}  // namespace
}  // namespace manta::cli

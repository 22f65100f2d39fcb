// Table lays rows out in columns for a terminal or a pipe.
//
// Problem:    a table that is wider than the terminal is unreadable, one that is cut in a pipe is useless, and a name
//             with an escape sequence in it must not paint the screen.
// Threads:    values; pure.
// Invariants: (1) no line is wider than Look::width, if the columns' titles allow it.
#ifndef MANTA_TOOLS_CLI_TABLE_H_
#define MANTA_TOOLS_CLI_TABLE_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace manta::cli {

// How to write.
struct Look {
  size_t width = 0;  // columns; 0: as wide as it comes
  bool colour = false;
};
// What stdout is: a terminal's width, and colour unless NO_COLOR is set; else neither.
Look LookOfStdout();

enum class Paint { kNone, kBold, kDim, kGood, kBad, kWaiting };
std::string Painted(std::string_view text, Paint paint, const Look& look);
// ALIVE is good, DEAD is bad, PENDING_CREATION waits.
Paint PaintOfState(std::string_view state);

// Control characters and bytes that are no UTF-8 as "\x1b".
std::string Printable(std::string_view text);
// In columns: code points. REQUIRES: Printable.
size_t WidthOf(std::string_view text);
// "1.5 MiB".
std::string HumanBytes(double bytes);

class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;  // numbers
    bool whole = false;  // of no use when it is cut: an id; numbers are not cut either
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: one cell per column.
  void Add(std::vector<std::string> cells);
  size_t size() const { return rows_.size(); }
  // With a newline behind each line; without rows, the titles alone. Columns that are empty in every row are left out.
  // Where there is no room, texts are cut, and the last columns are left out.
  std::string Render(const Look& look) const;

 private:
  std::vector<size_t> Widths(const Look& look) const;
  bool Shrink(size_t width, std::vector<size_t>* widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_TABLE_H_

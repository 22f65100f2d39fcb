#include "tools/cli/table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace manta::cli {
namespace {

constexpr size_t kGap = 2;  // between columns
constexpr size_t kColumnMin = 10;
constexpr size_t kWidthUnknown = 80;
constexpr const char* kCut = "…";

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Bytes of the code point that begins at `at`; 0: it is none.
size_t CodePointBytes(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  const size_t bytes = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  if (bytes == 0 || first > 0xF4 || at + bytes > text.size()) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if (!IsContinuation(text[at + i])) return 0;
  }
  return bytes;
}

std::string CutTo(const std::string& text, size_t width) {
  if (WidthOf(text) <= width) return text;
  size_t at = 0;
  for (size_t shown = 0; shown + 1 < width; ++shown) {
    ++at;
    while (at < text.size() && IsContinuation(text[at])) ++at;
  }
  return text.substr(0, at) + kCut;
}

}  // namespace

Look LookOfStdout() {
  if (isatty(STDOUT_FILENO) == 0) return {};
  winsize size = {};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  const bool is_dumb = terminal != nullptr && std::string_view(terminal) == "dumb";
  return {.width = known ? size.ws_col : kWidthUnknown,
          .colour = (no_colour == nullptr || *no_colour == '\0') && !is_dumb};
}

std::string Painted(std::string_view text, Paint paint, const Look& look) {
  static constexpr std::array<const char*, 6> kCodes = {"", "1", "2", "32", "31", "33"};
  if (!look.colour || paint == Paint::kNone) return std::string(text);
  return "\x1b[" + std::string(kCodes[static_cast<size_t>(paint)]) + "m" + std::string(text) + "\x1b[0m";
}

Paint PaintOfState(std::string_view state) {
  for (const char* good :
       {"ALIVE", "RUNNING", "FINISHED", "CONNECTED", "LEASED", "ACTOR", "IDLE", "STORED", "INLINE"}) {
    if (state == good) return Paint::kGood;
  }
  for (const char* bad : {"DEAD", "FAILED", "LOST", "ERROR"}) {
    if (state == bad) return Paint::kBad;
  }
  for (const char* waiting : {"PENDING", "RESTARTING", "SUSPECTED", "UNKNOWN", "STARTING", "STOPPING", "DEPENDENCIES",
                              "SUBMITTED", "LEAVING"}) {
    if (state.starts_with(waiting)) return Paint::kWaiting;
  }
  return Paint::kNone;
}

std::string Printable(std::string_view text) {
  std::string printable;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = CodePointBytes(text, at);
    const auto first = static_cast<unsigned char>(text[at]);
    const bool is_control = first < 0x20 || first == 0x7F ||
                            (first == 0xC2 && bytes == 2 && static_cast<unsigned char>(text[at + 1]) < 0xA0);
    if (bytes == 0 || is_control) {
      std::array<char, 8> code{};
      std::snprintf(code.data(), code.size(), "\\x%02x", first);
      printable += code.data();
      ++at;
    } else {
      printable += text.substr(at, bytes);
      at += bytes;
    }
  }
  return printable;
}

size_t WidthOf(std::string_view text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), IsContinuation));
}

std::string HumanBytes(double bytes) {
  static constexpr std::array<const char*, 6> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return text.data();
}

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

// 0: left out.
std::vector<size_t> Table::Widths(const Look& look) const {
  std::vector<size_t> widths(columns_.size(), 0);
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], WidthOf(row[i]));
  }
  for (size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] != 0 || rows_.empty()) widths[i] = std::max(widths[i], WidthOf(columns_[i].title));
  }
  if (look.width == 0) return widths;
  for (size_t columns = columns_.size(); columns != 0; --columns) {
    std::vector<size_t> fitted(widths.begin(), widths.begin() + static_cast<std::ptrdiff_t>(columns));
    if (!Shrink(look.width, &fitted) && columns != 1) continue;
    fitted.resize(columns_.size(), 0);
    return fitted;
  }
  return widths;
}

// The widest text gives way first. False: that is not enough.
bool Table::Shrink(size_t width, std::vector<size_t>* widths) const {
  size_t total = 0;
  for (const size_t one : *widths) total += one == 0 ? 0 : one + (total == 0 ? 0 : kGap);
  while (total > width) {
    size_t* widest = nullptr;
    for (size_t i = 0; i < widths->size(); ++i) {
      const bool may_be_cut = !columns_[i].right && !columns_[i].whole && (*widths)[i] > kColumnMin;
      if (may_be_cut && (widest == nullptr || (*widths)[i] > *widest)) widest = &(*widths)[i];
    }
    if (widest == nullptr) return false;
    --*widest;
    --total;
  }
  return true;
}

std::string Table::Render(const Look& look) const {
  const std::vector<size_t> widths = Widths(look);
  std::string text;
  const auto add_line = [&](const auto& cell_of, const auto& paint_of) {
    std::string line;
    size_t owed = 0;  // spaces, if anything follows
    bool is_first = true;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (widths[i] == 0) continue;
      const std::string cell = CutTo(cell_of(i), widths[i]);
      const size_t padding = widths[i] - std::min(widths[i], WidthOf(cell));
      owed += is_first ? 0 : kGap;
      is_first = false;
      if (columns_[i].right) owed += padding;
      if (!cell.empty()) {
        line += std::string(owed, ' ') + Painted(cell, paint_of(i), look);
        owed = 0;
      }
      if (!columns_[i].right) owed += padding;
    }
    text += line + "\n";
  };
  add_line([&](size_t i) { return columns_[i].title; }, [](size_t) { return Paint::kBold; });
  for (const std::vector<std::string>& row : rows_) {
    add_line([&](size_t i) { return row[i]; }, [&](size_t i) { return PaintOfState(row[i]); });
  }
  return text;
}

}  // namespace manta::cli

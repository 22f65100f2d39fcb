// LastLines cuts the end off a text.
//
// Threads:    a pure function.
#ifndef MANTA_TOOLS_CLI_LOG_TAIL_H_
#define MANTA_TOOLS_CLI_LOG_TAIL_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace manta::cli {

// The last `lines` lines of `text`; one that is not ended counts.
inline std::string LastLines(std::string_view text, uint64_t lines) {
  size_t from = text.size();
  for (uint64_t seen = 0; from != 0; --from) {
    if (text[from - 1] != '\n' || from == text.size()) continue;
    if (++seen == lines) break;
  }
  return lines == 0 ? "" : std::string(text.substr(from));
}

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_LOG_TAIL_H_

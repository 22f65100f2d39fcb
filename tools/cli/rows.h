// Rows of the state API on their way to a person or a script: JSON, filters, tables.
//
// Threads:    pure functions.
#ifndef MANTA_TOOLS_CLI_ROWS_H_
#define MANTA_TOOLS_CLI_ROWS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "rpc/message.h"
#include "runtime/state_rows.h"
#include "tools/cli/table.h"

namespace manta::cli {

using Json = nlohmann::ordered_json;

// An array of objects, a row each. What says that it is JSON and is not stays text.
Json RowsToJson(const rpc::StateReply& reply);
// For a script: indented, one newline at the end; text that is no UTF-8 is mended.
std::string Dump(const Json& value);

// Keeps what all filters take. kInvalidArgument: no row has such a column; the text names those that there are.
absl::StatusOr<Json> Filtered(const Json& rows, const std::vector<runtime::StateFilter>& filters);

// A value in a table: sizes for people, lists without brackets.
std::string CellOf(std::string_view key, const Json& value);
// The columns `keys` of the rows.
Table TableOf(const Json& rows, const std::vector<std::string>& keys);
// row[key], or null.
const Json& At(const Json& row, std::string_view key);
// row[key] as a number; 0 if it is none.
int64_t NumberAt(const Json& row, std::string_view key);
std::string TextAt(const Json& row, std::string_view key);

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_ROWS_H_

#include "tools/cli/rows.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"

namespace manta::cli {

Json RowsToJson(const rpc::StateReply& reply) {
  Json rows = Json::array();
  for (const rpc::StateRow& row : reply.rows) {
    Json object = Json::object();
    for (const rpc::StateField& field : row.fields) {
      Json value = field.is_json ? Json::parse(field.value, nullptr, false) : Json(field.value);
      object[field.key] = value.is_discarded() ? Json(field.value) : std::move(value);
    }
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string Dump(const Json& value) { return value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

absl::StatusOr<Json> Filtered(const Json& rows, const std::vector<runtime::StateFilter>& filters) {
  std::set<std::string> keys;
  for (const Json& row : rows) {
    for (const auto& [key, value] : row.items()) keys.insert(key);
  }
  for (const runtime::StateFilter& filter : filters) {
    if (rows.empty() || keys.contains(filter.key)) continue;
    std::string known;
    for (const std::string& key : keys) known += (known.empty() ? "" : ", ") + key;
    return absl::InvalidArgumentError(base::AbslView("no column '" + filter.key + "': there are " + known));
  }
  Json kept = Json::array();
  for (const Json& row : rows) {
    const bool fits = std::all_of(filters.begin(), filters.end(), [&](const runtime::StateFilter& filter) {
      return filter.Takes(TextAt(row, filter.key));
    });
    if (fits) kept.push_back(row);
  }
  return kept;
}

const Json& At(const Json& row, std::string_view key) {
  static const Json kNull;
  const auto at = row.find(std::string(key));
  return at == row.end() ? kNull : *at;
}

int64_t NumberAt(const Json& row, std::string_view key) {
  const Json& value = At(row, key);
  return value.is_number() ? value.get<int64_t>() : 0;
}

std::string TextAt(const Json& row, std::string_view key) {
  const Json& value = At(row, key);
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string CellOf(std::string_view key, const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "";
  const bool is_size = key == "size" || key.ends_with("_bytes") || key.starts_with("store_bytes");
  if (value.is_number() && is_size) return HumanBytes(value.get<double>());
  if (value.is_number() && key == "pid" && value == 0) return "";
  if (!value.is_structured()) return value.dump();
  std::string text;
  for (const auto& [name, part] : value.items()) {
    if (!text.empty()) text += ", ";
    if (value.is_object()) text += name + ": ";
    text += CellOf("", part);
  }
  return text;
}

Table TableOf(const Json& rows, const std::vector<std::string>& keys) {
  std::vector<Table::Column> columns;
  for (const std::string& key : keys) {
    const bool right = std::any_of(rows.begin(), rows.end(), [&](const Json& row) { return At(row, key).is_number(); });
    columns.push_back({key, right, key.ends_with("_id") || key == "state" || key == "size"});
  }
  Table table(std::move(columns));
  for (const Json& row : rows) {
    std::vector<std::string> cells;
    for (const std::string& key : keys) cells.push_back(CellOf(key, At(row, key)));
    table.Add(std::move(cells));
  }
  return table;
}

}  // namespace manta::cli

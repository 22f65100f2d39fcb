#include "runtime/state_rows.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "nlohmann/json.hpp"

namespace manta::runtime {
namespace {

// Of one column in a message, beside its texts: pointers, a bit, padding.
constexpr size_t kFieldBytes = 40;
constexpr size_t kRowBytes = 16;

std::string Dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool IsKnown(const rpc::StateField& field) { return !field.value.empty() && !(field.is_json && field.value == "null"); }

// Of a task: its caller and its worker, on two nodes, see different steps.
bool IsFurther(const rpc::StateField& other, const rpc::StateField& known) {
  static constexpr std::string_view kSteps[] = {"PENDING_ARGS", "PENDING_NODE", "SUBMITTED_TO_WORKER",
                                                "RUNNING",      "FINISHED",     "FAILED"};
  if (known.key != "state") return false;
  const auto step = [](std::string_view state) {
    return std::find(std::begin(kSteps), std::end(kSteps), state) - std::begin(kSteps);
  };
  return step(other.value) < std::ssize(kSteps) && step(known.value) < step(other.value);
}

// A number above 0 behind its letter: "p7".
std::optional<uint64_t> ParseNumber(std::string_view text, char letter) {
  uint64_t number = 0;
  if (text.size() < 2 || text[0] != letter) return std::nullopt;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + 1, end, number);
  if (error != std::errc() || stop != end || number == 0) return std::nullopt;
  return number;
}

}  // namespace

StateRow& StateRow::Text(std::string_view key, std::string value) {
  row_.fields.push_back({std::string(key), std::move(value), false});
  return *this;
}

StateRow& StateRow::Json(std::string_view key, std::string value) {
  row_.fields.push_back({std::string(key), std::move(value), true});
  return *this;
}

StateRow& StateRow::Number(std::string_view key, int64_t value) { return Json(key, std::to_string(value)); }
StateRow& StateRow::NumberOrNull(std::string_view key, int64_t value) {
  return Json(key, value == 0 ? "null" : std::to_string(value));
}
StateRow& StateRow::Bool(std::string_view key, bool value) { return Json(key, value ? "true" : "false"); }
StateRow& StateRow::Resources(std::string_view key, const base::ResourceSet& amounts) {
  return Json(key, amounts.ToJson());
}
StateRow& StateRow::TextList(std::string_view key, const std::vector<std::string>& values) {
  return Json(key, Dump(nlohmann::json(values)));
}

StateRows::StateRows(const rpc::StateQuery& query, NodeId node) : limit_(query.limit) {
  reply_.request = query.request;
  reply_.node = node;
  if (query.subject == kStatePage) skip_ = query.offset;
  for (const std::string& text : query.filters) {
    if (std::optional<StateFilter> filter = ParseFilter(text)) filters_.push_back(*std::move(filter));
  }
}

std::optional<StateFilter> ParseFilter(std::string_view text) {
  const size_t at = text.find('=');
  if (at == std::string_view::npos || at == 0 || (at == 1 && text[0] == '!')) return std::nullopt;
  const bool is_equal = text[at - 1] != '!';
  return StateFilter{std::string(text.substr(0, is_equal ? at : at - 1)), std::string(text.substr(at + 1)), is_equal};
}

bool StateRows::Add(rpc::StateRow row) {
  for (const StateFilter& filter : filters_) {
    for (const rpc::StateField& field : row.fields) {
      // An empty one may be filled by somebody else who knows of the same thing.
      if (field.key == filter.key && IsKnown(field) && !filter.Takes(field.value)) return true;
    }
  }
  const size_t bytes = BytesOf(row);
  if (reply_.rows.size() >= limit_ || bytes_ + bytes > kBytesMax) {
    reply_.truncated = true;
    return false;
  }
  bytes_ += bytes;
  reply_.rows.push_back(std::move(row));
  return true;
}

const std::string& ValueOf(const rpc::StateRow& row, std::string_view key) {
  static const std::string none;
  for (const rpc::StateField& field : row.fields) {
    if (field.key == key) return field.value;
  }
  return none;
}

size_t BytesOf(const rpc::StateRow& row) {
  size_t bytes = kRowBytes;
  for (const rpc::StateField& field : row.fields) bytes += kFieldBytes + field.key.size() + field.value.size();
  return bytes;
}

std::string KeyOf(const rpc::StateQuery& query, const rpc::StateRow& row) {
  if (query.subject == rpc::kStateSummary) return "";
  switch (query.kind) {
    case rpc::StateKind::kNodes:
      return ValueOf(row, "node_id");
    case rpc::StateKind::kActors:
      return ValueOf(row, "actor_id");
    case rpc::StateKind::kObjects:
      return ValueOf(row, "object_id");
    case rpc::StateKind::kTasks:
      return ValueOf(row, "task_id") + "/" + ValueOf(row, "attempt");
    case rpc::StateKind::kStatus:
      return ValueOf(row, "row") == "node" ? ValueOf(row, "node_id") : "";
    default:
      return "";
  }
}

void MergeRow(const rpc::StateRow& other, rpc::StateRow* row) {
  for (const rpc::StateField& field : other.fields) {
    const auto same = std::find_if(row->fields.begin(), row->fields.end(),
                                   [&](const rpc::StateField& known) { return known.key == field.key; });
    if (same == row->fields.end()) {
      row->fields.push_back(field);
    } else if (!IsKnown(*same) || IsFurther(field, *same)) {
      *same = field;
    }
  }
}

StateRow DemandRow(const char* kind, const std::string& shape, int64_t count, const std::string& reason) {
  StateRow row;
  row.Text("row", "demand").Text("kind", kind).Json("shape", shape).Number("count", count).Text("reason", reason);
  return row;
}

StateRow FailureRow(const char* kind, const std::string& what, const std::string& reason) {
  StateRow row;
  row.Text("row", "failure").Text("kind", kind).Text("what", what).Text("reason", reason);
  return row;
}

std::optional<ActorId> ParseActorId(std::string_view text) {
  const size_t dot = text.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::optional<ProcessId> creator = ParseProcessId(text.substr(0, dot));
  const std::optional<uint64_t> number = ParseNumber(text.substr(dot + 1), 'a');
  if (!creator || !number) return std::nullopt;
  return ActorId{*creator, *number};
}

std::optional<ProcessId> ParseProcessId(std::string_view text) {
  const size_t dot = text.find('.');
  const std::optional<uint64_t> node = ParseNumber(text.substr(0, dot), 'n');
  if (!node) return std::nullopt;
  if (dot == std::string_view::npos) return DaemonOf(*node);
  const std::optional<uint64_t> number = ParseNumber(text.substr(dot + 1), 'p');
  if (!number) return std::nullopt;
  return ProcessId{*node, *number};
}

}  // namespace manta::runtime

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tools/cli/pages.h"
#include "tools/cli/status.h"
#include "tools/cli/verb.h"

namespace manta::cli {
namespace {

constexpr uint64_t kRowsMax = 1'000'000;

struct Kind {
  rpc::StateKind kind = rpc::StateKind::kNodes;
  std::vector<std::string> columns;  // of the table
};

const std::map<std::string, Kind>& Kinds() {
  static const std::map<std::string, Kind> kKinds = {
      {"nodes",
       {rpc::StateKind::kNodes,
        {"node_id", "state", "name", "is_head", "ip", "pid", "resources_total", "resources_available", "workers",
         "message"}}},
      {"workers",
       {rpc::StateKind::kWorkers,
        {"worker_id", "pid", "worker_type", "state", "job_id", "node_id", "actor_id", "program"}}},
      {"actors",
       {rpc::StateKind::kActors,
        {"actor_id", "class_name", "state", "name", "job_id", "node_id", "worker_id", "pid", "restarts", "detached",
         "namespace", "message"}}},
      {"tasks",
       {rpc::StateKind::kTasks,
        {"task_id", "attempt", "name", "state", "type", "job_id", "actor_id", "worker_id", "pid", "parent",
         "error_type"}}},
      {"objects",
       {rpc::StateKind::kObjects,
        {"object_id", "size", "state", "reference_type", "type", "pid", "node_id", "copies", "held_by"}}},
      {"jobs", {rpc::StateKind::kJobs, {"job_id", "status", "driver_id", "node_id", "program"}}},
      {"programs", {rpc::StateKind::kPrograms, {"program", "jobs", "job_ids"}}},
  };
  return kKinds;
}

struct ListOptions : VerbOptions {
  std::string what;
  uint64_t limit = 1000;
  std::vector<std::string> filters;
};

void PrintRows(const VerbOptions& options, const Json& rows, const std::vector<std::string>& columns) {
  Print(options.is_json() ? Dump(rows) : TableOf(rows, columns).Render(LookOfStdout()));
}

// What is longer than one answer comes in pages, and may be more than query.limit.
absl::StatusOr<rpc::StateReply> AskForList(HeadClient* head, const rpc::StateQuery& query) {
  MANTA_ASSIGN_OR_RETURN(rpc::StateReply reply, Ask(head, query));
  if (!reply.truncated || reply.rows.size() >= query.limit) return reply;
  absl::StatusOr<rpc::StateReply> whole =
      AskInPages([head](const rpc::StateQuery& asked) { return head->Ask(asked); }, query);
  if (whole.ok() && !whole->error.empty()) Warn(whole->error);
  return whole;
}

// Leaves `limit` rows. True: there were more.
bool CutTo(uint64_t limit, Json* rows) {
  if (rows->size() <= limit) return false;
  rows->erase(rows->begin() + static_cast<Json::difference_type>(limit), rows->end());
  return true;
}

absl::Status RunList(const ListOptions& options) {
  std::vector<runtime::StateFilter> filters;
  for (const std::string& text : options.filters) {
    std::optional<runtime::StateFilter> filter = runtime::ParseFilter(text);
    if (!filter) return base::Error(absl::StatusCode::kInvalidArgument, "--filter '" + text + "' is not KEY=VALUE");
    filters.push_back(*std::move(filter));
  }
  const Kind& kind = Kinds().at(options.what);
  MANTA_ASSIGN_OR_RETURN(const Connection connection, ConnectToHead(options, rpc::TrustClass::kReader));
  rpc::StateQuery query;
  query.kind = kind.kind;
  query.limit = options.limit;
  query.filters = options.filters;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, AskForList(connection.head.get(), query));
  MANTA_ASSIGN_OR_RETURN(Json rows, Filtered(RowsToJson(reply), filters));
  const bool is_cut = CutTo(options.limit, &rows);
  PrintRows(options, rows, kind.columns);
  if (is_cut || reply.truncated) {
    Warn("there are more than these " + std::to_string(rows.size()) + ": --limit shows more, --filter others");
  }
  return absl::OkStatus();
}

absl::Status RunSummary(const ListOptions& options) {
  static const std::map<std::string, std::pair<std::vector<std::string>, std::vector<std::string>>> kColumns = {
      {"tasks", {{"name", "type", "state"}, {"count"}}},
      {"actors", {{"class_name", "state"}, {"count"}}},
      {"objects", {{"reference_type", "state"}, {"count", "size"}}},
  };
  const auto& [keys, numbers] = kColumns.at(options.what);
  MANTA_ASSIGN_OR_RETURN(const Connection connection, ConnectToHead(options, rpc::TrustClass::kReader));
  rpc::StateQuery query;
  query.kind = Kinds().at(options.what).kind;
  query.subject = rpc::kStateSummary;
  query.limit = kRowsMax;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, Ask(connection.head.get(), query));
  std::vector<std::string> columns = keys;
  columns.insert(columns.end(), numbers.begin(), numbers.end());
  PrintRows(options, SummaryOf(reply, keys), columns);
  if (reply.truncated) Warn("there is more than fits into one answer");
  return absl::OkStatus();
}

// The largest first: those are what a full store is made of.
absl::Status RunMemory(const ListOptions& options) {
  MANTA_ASSIGN_OR_RETURN(const Connection connection, ConnectToHead(options, rpc::TrustClass::kReader));
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kObjects;
  query.limit = kRowsMax;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, AskForList(connection.head.get(), query));
  Json rows = RowsToJson(reply);
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Json& a, const Json& b) { return NumberAt(a, "size") > NumberAt(b, "size"); });
  int64_t bytes = 0;
  for (const Json& row : rows) bytes += NumberAt(row, "size");
  const size_t count = rows.size();
  CutTo(options.limit, &rows);
  if (!options.is_json()) {
    Print(HumanBytes(static_cast<double>(bytes)) + " in " + std::to_string(count) + " objects\n\n");
  }
  PrintRows(options, rows, {"object_id", "size", "state", "why", "held_by", "held_in", "copies"});
  if (count > rows.size() || reply.truncated) Warn("there are more than these " + std::to_string(rows.size()));
  return absl::OkStatus();
}

void AddLimit(CLI::App* verb, ListOptions* options) {
  verb->add_option("--limit", options->limit, "At most so many rows")
      ->check(CLI::Range(uint64_t{1}, kRowsMax))
      ->capture_default_str();
}

}  // namespace

void AddListVerbs(CLI::App* app, int* exit_code) {
  auto list = std::make_shared<ListOptions>();
  std::vector<std::string> kinds;
  for (const auto& [name, kind] : Kinds()) kinds.push_back(name);
  CLI::App* verb = app->add_subcommand("list", "What there is of a kind, a row each");
  verb->add_option("what", list->what, "Of which kind")->required()->check(CLI::IsMember(kinds));
  AddLimit(verb, list.get());
  verb->add_option("--filter", list->filters, "Only rows whose column is, or (!=) is not, that; all filters must hold")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  verb->footer(
      "Example:\n  manta list actors --filter state=ALIVE --filter name!=ps\n  manta list tasks --format json");
  SetUpVerb(
      verb, list, [list] { return RunList(*list); }, exit_code);

  auto summary = std::make_shared<ListOptions>();
  verb = app->add_subcommand("summary", "How many of what are in which state");
  verb->add_option("what", summary->what, "Of which kind")
      ->required()
      ->check(CLI::IsMember({"tasks", "actors", "objects"}));
  verb->footer("Example:\n  manta summary tasks");
  SetUpVerb(
      verb, summary, [summary] { return RunSummary(*summary); }, exit_code);

  auto memory = std::make_shared<ListOptions>();
  verb = app->add_subcommand("memory", "The largest objects, who holds them, and why they are not freed");
  AddLimit(verb, memory.get());
  verb->footer("Example:\n  manta memory --limit 20");
  SetUpVerb(
      verb, memory, [memory] { return RunMemory(*memory); }, exit_code);
}

}  // namespace manta::cli

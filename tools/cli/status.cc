#include "tools/cli/status.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>

namespace manta::cli {
namespace {

bool IsDead(const Json& node) { return TextAt(node, "state") == "DEAD"; }

double Amount(const Json& amounts, const std::string& name) {
  const Json& value = At(amounts, name);
  return value.is_number() ? value.get<double>() : 0;
}

void AddResources(const Json& node, Json* resources) {
  const Json& total = At(node, "resources_total");
  const Json& available = At(node, "resources_available");
  if (!total.is_object()) return;
  for (const auto& [name, amount] : total.items()) {
    if (!amount.is_number()) continue;
    Json& sum = (*resources)[name];
    if (sum.is_null()) sum = {{"used", 0.0}, {"total", 0.0}};
    sum["total"] = sum["total"].get<double>() + amount.get<double>();
    if (!available.is_object()) continue;
    sum["used"] = sum["used"].get<double>() + amount.get<double>() - Amount(available, name);
  }
}

// Several nodes may wait for the same thing.
void AddDemand(const Json& row, Json* demand) {
  for (Json& known : *demand) {
    if (known["kind"] != row["kind"] || known["shape"] != row["shape"] || known["reason"] != row["reason"]) continue;
    known["count"] = NumberAt(known, "count") + NumberAt(row, "count");
    return;
  }
  demand->push_back(row);
}

std::string Short(double amount) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", amount);
  return text.data();
}

std::string UsedOf(double used, double total) { return Short(used) + "/" + Short(total); }

std::string ResourcesOfNode(const Json& node) {
  const Json& total = At(node, "resources_total");
  const Json& available = At(node, "resources_available");
  std::string text;
  if (!total.is_object()) return text;
  for (const auto& [name, amount] : total.items()) {
    const double all = amount.is_number() ? amount.get<double>() : 0;
    const std::string used = available.is_object() ? UsedOf(all - Amount(available, name), all) : "?/" + Short(all);
    text += (text.empty() ? "" : ", ") + used + " " + name;
  }
  return text;
}

std::string Title(const std::string& text, const Look& look) { return Painted(text, Paint::kBold, look) + "\n"; }

std::string RenderNodes(const Json& nodes, const Look& look) {
  Table table({{"node_id", false, true},
               {"state", false, true},
               {"name"},
               {"address"},
               {"used"},
               {"store"},
               {"workers", true},
               {"message"}});
  for (const Json& node : nodes) {
    const bool told = At(node, "store_bytes_total").is_number();
    const std::string store =
        told ? CellOf("size", At(node, "store_bytes_used")) + " of " + CellOf("size", At(node, "store_bytes_total"))
             : "";
    const std::string name = TextAt(node, "name") + (At(node, "is_head") == true ? " (head)" : "");
    table.Add({TextAt(node, "node_id"), TextAt(node, "state"), name, TextAt(node, "address"),
               IsDead(node) ? "" : ResourcesOfNode(node), store, TextAt(node, "workers"), TextAt(node, "message")});
  }
  return table.Render(look);
}

std::string RenderDemand(const Json& demand, const Look& look) {
  Table table({{"count", true}, {"kind"}, {"needs"}, {"why it waits"}});
  for (const Json& row : demand) {
    table.Add({TextAt(row, "count"), TextAt(row, "kind"), CellOf("", At(row, "shape")), TextAt(row, "reason")});
  }
  return table.Render(look);
}

std::string RenderFailures(const Json& failures, const Look& look) {
  Table table({{"kind"}, {"what"}, {"why"}});
  for (const Json& row : failures) table.Add({TextAt(row, "kind"), TextAt(row, "what"), TextAt(row, "reason")});
  return table.Render(look);
}

}  // namespace

Json StatusOf(const std::string& address, const rpc::StateReply& reply) {
  Json status = {{"address", address},          {"nodes", Json::array()},
                 {"resources", Json::object()}, {"store", {{"used_bytes", 0}, {"total_bytes", 0}}},
                 {"demand", Json::array()},     {"actors", Json::object()},
                 {"failures", Json::array()},   {"warnings", Json::array()}};
  for (Json row : RowsToJson(reply)) {
    const std::string kind = TextAt(row, "row");
    row.erase("row");
    if (kind == "node") {
      Json& store = status["store"];
      if (!IsDead(row)) AddResources(row, &status["resources"]);
      store["used_bytes"] = NumberAt(store, "used_bytes") + NumberAt(row, "store_bytes_used");
      store["total_bytes"] = NumberAt(store, "total_bytes") + NumberAt(row, "store_bytes_total");
      status["nodes"].push_back(std::move(row));
    } else if (kind == "demand") {
      AddDemand(row, &status["demand"]);
    } else if (kind == "actors") {
      Json& count = status["actors"][TextAt(row, "state")];
      count = (count.is_number() ? count.get<int64_t>() : 0) + NumberAt(row, "count");
    } else if (kind == "failure") {
      status["failures"].push_back(std::move(row));
    }
  }
  if (!reply.error.empty()) status["warnings"].push_back(reply.error);
  if (reply.truncated) status["warnings"].push_back("there is more than fits into one answer");
  return status;
}

std::string RenderStatus(const Json& status, const Look& look) {
  const Json& nodes = status["nodes"];
  const auto dead = std::count_if(nodes.begin(), nodes.end(), &IsDead);
  std::string text = Title("Cluster at " + Printable(TextAt(status, "address")), look);
  text += std::to_string(nodes.size() - static_cast<size_t>(dead)) + " nodes live, " + std::to_string(dead) + " died\n";
  text += "\n" + Title("Nodes", look) + RenderNodes(nodes, look);
  text += "\n" + Title("Resources in use", look);
  for (const auto& [name, sum] : status["resources"].items()) {
    text += UsedOf(Amount(sum, "used"), Amount(sum, "total")) + " " + Printable(name) + "\n";
  }
  const Json& store = status["store"];
  text += CellOf("size", store["used_bytes"]) + " of " + CellOf("size", store["total_bytes"]) + " in the stores\n";
  text +=
      "\n" + Title("Waiting", look) + (status["demand"].empty() ? "nothing\n" : RenderDemand(status["demand"], look));
  text += "\n" + Title("Actors", look);
  if (status["actors"].empty()) text += "none\n";
  for (const auto& [state, count] : status["actors"].items()) {
    text += CellOf("", count) + " " + Painted(Printable(state), PaintOfState(state), look) + "\n";
  }
  if (!status["failures"].empty()) {
    text += "\n" + Title("Recent failures", look) + RenderFailures(status["failures"], look);
  }
  for (const Json& warning : status["warnings"]) {
    text += "\n" + Painted("warning: " + Printable(warning.get<std::string>()), Paint::kWaiting, look) + "\n";
  }
  return text;
}

Json SummaryOf(const rpc::StateReply& reply, const std::vector<std::string>& keys) {
  Json sums = Json::array();
  std::map<std::vector<std::string>, size_t> known;
  for (const Json& row : RowsToJson(reply)) {
    std::vector<std::string> group;
    for (const std::string& key : keys) group.push_back(TextAt(row, key));
    const auto [at, fresh] = known.try_emplace(group, sums.size());
    if (fresh) {
      sums.push_back(row);
      continue;
    }
    Json& sum = sums[at->second];
    for (const char* number : {"count", "size"}) {
      if (At(row, number).is_number()) sum[number] = NumberAt(sum, number) + NumberAt(row, number);
    }
  }
  std::stable_sort(sums.begin(), sums.end(),
                   [](const Json& a, const Json& b) { return NumberAt(a, "count") > NumberAt(b, "count"); });
  return sums;
}

}  // namespace manta::cli

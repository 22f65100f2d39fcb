#include "tools/cli/pages.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "runtime/state_rows.h"

namespace manta::cli {
namespace {

constexpr uint64_t kPageRowsMax = 1'000'000;  // its bytes are the limit

// The head, as node 0, and the nodes that live.
absl::StatusOr<std::vector<NodeId>> Sources(const AskFunction& ask) {
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kNodes;
  query.limit = kPageRowsMax;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, ask(query));
  std::vector<NodeId> sources = {0};
  for (const rpc::StateRow& row : reply.rows) {
    const std::optional<ProcessId> daemon = runtime::ParseProcessId(runtime::ValueOf(row, "node_id"));
    if (daemon && runtime::ValueOf(row, "state") != "DEAD") sources.push_back(daemon->node);
  }
  return sources;
}

}  // namespace

absl::StatusOr<rpc::StateReply> AskInPages(const AskFunction& ask, const rpc::StateQuery& query) {
  MANTA_ASSIGN_OR_RETURN(const std::vector<NodeId> sources, Sources(ask));
  rpc::StateReply whole;
  std::map<std::string, size_t> by_key;
  const auto add = [&](rpc::StateRow row) {
    const std::string key = runtime::KeyOf(query, row);
    const auto [at, fresh] = by_key.try_emplace(key, whole.rows.size());
    if (key.empty() || fresh) {
      whole.rows.push_back(std::move(row));
    } else {
      runtime::MergeRow(row, &whole.rows[at->second]);
    }
  };
  for (const NodeId source : sources) {
    rpc::StateQuery page = query;
    page.subject = runtime::kStatePage;
    page.node = source;
    page.limit = kPageRowsMax;
    page.filters.clear();  // a page goes on where the last one ended: by rows, all of them
    for (bool more = true; more;) {
      // What lives on one node is told by others, too: nothing is left out before all have been asked, but by filters.
      if (query.filters.empty() && whole.rows.size() > query.limit) {
        whole.truncated = true;
        break;
      }
      MANTA_ASSIGN_OR_RETURN(rpc::StateReply reply, ask(page));
      if (!reply.error.empty()) whole.error += (whole.error.empty() ? "" : "; ") + reply.error;
      more = reply.truncated && !reply.rows.empty();
      whole.truncated = whole.truncated || (reply.truncated && !more);
      page.offset += reply.rows.size();
      for (rpc::StateRow& row : reply.rows) add(std::move(row));
    }
  }
  return whole;
}

}  // namespace manta::cli

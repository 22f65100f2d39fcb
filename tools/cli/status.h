// The status of a cluster: out of the rows of the state API, as JSON, as text.
//
// Threads:    pure functions.
#ifndef MANTA_TOOLS_CLI_STATUS_H_
#define MANTA_TOOLS_CLI_STATUS_H_

#include <string>

#include "tools/cli/rows.h"

namespace manta::cli {

// {"address", "nodes": [..], "resources": {"CPU": {"used", "total"}}, "store": {"used_bytes", "total_bytes"},
// "demand": [{"kind", "shape", "count", "reason"}], "actors": {"ALIVE": 3}, "failures": [{"kind", "what", "reason"}],
// "warnings": [text]}. Resources and the store are those of the nodes that live.
Json StatusOf(const std::string& address, const rpc::StateReply& reply);
std::string RenderStatus(const Json& status, const Look& look);

// How many of what: the rows of a summary, those of equal columns `keys` added up, the most first.
Json SummaryOf(const rpc::StateReply& reply, const std::vector<std::string>& keys);

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_STATUS_H_

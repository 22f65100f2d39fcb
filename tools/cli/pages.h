// Lists that are longer than one answer: each source (the head, each node) is asked for what it knows, page by page.
//
// Rows that come or go between two pages may be told twice (then they are one here) or not at all.
// Threads:    externally synchronised.
// See:        runtime/state_rows.h (kStatePage)
#ifndef MANTA_TOOLS_CLI_PAGES_H_
#define MANTA_TOOLS_CLI_PAGES_H_

#include <functional>

#include "absl/status/statusor.h"
#include "rpc/message.h"

namespace manta::cli {

using AskFunction = std::function<absl::StatusOr<rpc::StateReply>(const rpc::StateQuery& query)>;

// The whole list of query.kind, at least query.limit rows of it if there are so many (truncated: there are more).
// query.filters must be applied to it. Errors: those of `ask`; what the replies say is missing is in `error`.
absl::StatusOr<rpc::StateReply> AskInPages(const AskFunction& ask, const rpc::StateQuery& query);

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_PAGES_H_

// StateRows makes the answers of the state API: rows of named columns, no more than fit into one message.
//
// Columns:    named as in `ray list` where Ray has them, so that scripts and people find what they know.
// Threads:    externally synchronised; pure.
// Invariants: (1) a reply has at most the query's limit of rows and kBytesMax bytes; one with fewer rows than there
//                 are says so (truncated).
// See:        rpc/schema/state.capnp
#ifndef MANTA_RUNTIME_STATE_ROWS_H_
#define MANTA_RUNTIME_STATE_ROWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/resources.h"
#include "rpc/message.h"

namespace manta::runtime {

// One row, column by column.
class StateRow {
 public:
  StateRow& Text(std::string_view key, std::string value);
  StateRow& Number(std::string_view key, int64_t value);
  StateRow& NumberOrNull(std::string_view key, int64_t value);  // 0: null, which somebody else may know
  StateRow& Bool(std::string_view key, bool value);
  StateRow& Resources(std::string_view key, const base::ResourceSet& amounts);  // {"CPU": 2}
  StateRow& TextList(std::string_view key, const std::vector<std::string>& values);
  StateRow& Json(std::string_view key, std::string value);
  rpc::StateRow Take() { return std::move(row_); }

 private:
  rpc::StateRow row_;
};

// "KEY=VALUE": the column is that. "KEY!=VALUE": it is not.
struct StateFilter {
  std::string key;
  std::string value;
  bool is_equal = true;
  bool Takes(std::string_view column) const { return (column == value) == is_equal; }
};
std::optional<StateFilter> ParseFilter(std::string_view text);

// A list's StateQuery::subject: only what the answerer (`node`; 0: the head) knows itself, from its row `offset` on.
// Who asks goes on behind the last row that came, without filters.
inline constexpr char kStatePage[] = "page";

class StateRows {
 public:
  static constexpr size_t kBytesMax = 512 << 10;

  // `node`: who answers; 0: the head.
  StateRows(const rpc::StateQuery& query, NodeId node);

  // False: there is room for no more. What the query's filters do not take is left out; filters that are none are
  // ignored.
  bool Add(StateRow row) { return Add(row.Take()); }
  bool Add(rpc::StateRow row);
  // For each row before it is made. True: it is on an earlier page, leave it out.
  bool SkipsNext() { return skip_ != 0 && skip_-- != 0; }
  void SetTruncated() { reply_.truncated = true; }
  rpc::StateReply Take() { return std::move(reply_); }

 private:
  const uint64_t limit_;
  std::vector<StateFilter> filters_;
  uint64_t skip_ = 0;
  size_t bytes_ = 0;
  rpc::StateReply reply_;
};

// The value of a column; "": the row has none.
const std::string& ValueOf(const rpc::StateRow& row, std::string_view key);
// About what the row takes in a message.
size_t BytesOf(const rpc::StateRow& row);

// What a row is about: rows of one query with equal keys tell of the same thing. "": it stands alone.
std::string KeyOf(const rpc::StateQuery& query, const rpc::StateRow& row);
// Adds the columns that `row` lacks from `other`, which is about the same thing. A task is as far as anybody has seen.
void MergeRow(const rpc::StateRow& other, rpc::StateRow* row);

// Of the status: `count` requests of one shape (JSON) wait, and why; what failed lately, and why; how many actors.
StateRow DemandRow(const char* kind, const std::string& shape, int64_t count, const std::string& reason);
StateRow FailureRow(const char* kind, const std::string& what, const std::string& reason);

// "n3.p7.a12" and "n3.p7"; none: it is something else.
std::optional<ActorId> ParseActorId(std::string_view text);
std::optional<ProcessId> ParseProcessId(std::string_view text);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_STATE_ROWS_H_

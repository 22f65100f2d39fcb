// Status: absl::Status and StatusOr under names of ours, their macros, and errors made of errno.
//
// Problem:    Debian's absl::string_view is a class of its own: it does not convert from std::string_view, so it
//             stays in this header.
// Threads:    immutable values.
#ifndef MANTA_BASE_STATUS_H_
#define MANTA_BASE_STATUS_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace manta::base {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

// The message alone; status.ToString() is "NOT_FOUND: message".
inline std::string Message(const absl::Status& status) { return std::string(status.message()); }

inline absl::Status Error(absl::StatusCode code, std::string_view message) {
  return absl::Status(code, AbslView(message));
}

// `what` says what was tried: ErrnoStatus(errno, "open /x") is NOT_FOUND "open /x: No such file or directory".
absl::Status ErrnoStatus(int error_number, std::string_view what);

// `status` with "context: " before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

namespace internal {
inline absl::Status TakeStatus(absl::Status&& status) { return std::move(status); }
inline const absl::Status& TakeStatus(const absl::Status& status) { return status; }
template <typename T>
absl::Status TakeStatus(absl::StatusOr<T>&& value) {
  return std::move(value).status();
}
}  // namespace internal
}  // namespace manta::base

#define MANTA_CONCAT_INNER(a, b) a##b
#define MANTA_CONCAT(a, b) MANTA_CONCAT_INNER(a, b)

// MANTA_RETURN_IF_ERROR(Open(path));
#define MANTA_RETURN_IF_ERROR(expression)                                          \
  do {                                                                             \
    if (absl::Status manta_status = (expression); !manta_status.ok()) [[unlikely]] \
      return manta_status;                                                         \
  } while (false)

// MANTA_ASSIGN_OR_RETURN(UniqueFd fd, Open(path));
// A type with a comma in it wants parentheses or `auto`.
#define MANTA_ASSIGN_OR_RETURN(declaration, expression) \
  MANTA_ASSIGN_OR_RETURN_INNER(MANTA_CONCAT(manta_result_, __LINE__), declaration, expression)
#define MANTA_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                         \
  if (!result.ok()) [[unlikely]]                                      \
    return ::manta::base::internal::TakeStatus(std::move(result));    \
  declaration = *std::move(result)

#endif  // MANTA_BASE_STATUS_H_

#include "base/status.h"

#include <cstring>
#include <string>

namespace manta::base {

// Not by absl::ErrnoToStatus, whose table of texts in the packaged library looks like a race to TSan.
absl::Status ErrnoStatus(int error_number, std::string_view what) {
  const char* const text = strerrordesc_np(error_number);
  return absl::Status(absl::ErrnoToStatusCode(error_number),
                      std::string(what) + ": " + (text != nullptr ? text : "errno " + std::to_string(error_number)));
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), std::string(context) + ": " + Message(status));
}

}  // namespace manta::base

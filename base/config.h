// Config is the process's typed table of knobs: flags (--manta-NAME) and environment (MANTA_NAME) over defaults.
//
// Problem:    a misspelt MANTA_NUM_CPU that is silently ignored costs an afternoon.
// Threads:    immutable after FromArgs.
// Invariants: (1) a flag wins over the environment, which wins over the default.
//             (2) an unknown --manta-* flag or MANTA_* variable is an error that names the nearest known one; variables
//                 that begin with MANTA_INTERNAL_ are ours and pass.
// Errors:     kInvalidArgument, naming the knob, where it was set, the value and what is allowed.
#ifndef MANTA_BASE_CONFIG_H_
#define MANTA_BASE_CONFIG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/resources.h"
#include "base/status.h"
#include "base/time.h"

namespace manta::base {

struct Config {
  // Unset optional: not given anywhere; the one who uses it knows the default that it documents.
  std::string address;                         // "host:port" of the head; "": none given
  bool local = false;                          // run everything inside this process
  std::optional<int> num_cpus;                 // 0..65536; unset: what the machine gives
  std::optional<int> num_gpus;                 // 0..1024; unset: what is found
  ResourceSet resources;                       // custom ones; without CPU and GPU, which have knobs of their own
  std::optional<uint64_t> store_memory_bytes;  // >= 1 MiB; unset: 30% of the memory available
  std::string log_dir;                         // "": <run dir>/logs
  LogLevel log_level = LogLevel::kInfo;
  std::string run_dir;    // sockets; "": $XDG_RUNTIME_DIR/manta or a private temp folder
  std::string state_dir;  // cluster id, secret; "": $XDG_STATE_HOME/manta/<port>
  Duration worker_idle_timeout = std::chrono::seconds(60);
  std::optional<Duration> poll;  // how long to poll before sleeping; unset: the runtime decides
  std::string secret_file;       // "": the state directory's

  // Reads `argv` from 1 on and removes the --manta-* flags from it (--manta-x=V and --manta-x V; a bool may stand
  // alone); what follows "--" is left alone. `environment` is environ's form, null: the process's own.
  static absl::StatusOr<Config> FromArgs(int* argc, char** argv, const char* const* environment = nullptr);

  // One line per knob: flag, variable, default, meaning.
  static std::string HelpText();

  // Every knob with its value as text: "num-cpus" -> "4". For `manta status` and the log's first line.
  std::map<std::string, std::string> ToMap() const;
};

// "1.5GiB", "512MiB", "4096" (bytes), "2GB". kInvalidArgument: anything else, negative, NaN, above 2^62.
absl::StatusOr<uint64_t> ParseBytes(std::string_view text);
// "250ms", "1.5s", "50us", "2m", "1h", "10ns"; kInvalidArgument: no unit, negative, NaN, above 100 years.
absl::StatusOr<Duration> ParseDuration(std::string_view text);

}  // namespace manta::base

#endif  // MANTA_BASE_CONFIG_H_

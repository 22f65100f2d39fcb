#include "base/config.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

namespace manta::base {
namespace {

constexpr std::string_view kFlagPrefix = "--manta-";
constexpr std::string_view kVariablePrefix = "MANTA_";
constexpr std::string_view kInternalPrefix = "MANTA_INTERNAL_";

struct Knob {
  std::string_view name;  // "num-cpus"
  std::string_view type;  // "N", shown as --manta-num-cpus=N; "": a bool, which may stand alone
  std::string_view default_text;
  std::string_view doc;
  absl::Status (*parse)(std::string_view text, Config* config);
  std::string (*show)(const Config& config);

  std::string flag() const { return std::string(kFlagPrefix) + std::string(name); }
  std::string variable() const {
    std::string text(kVariablePrefix);
    for (const char c : name) text += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
  }
};

absl::Status Invalid(std::string message) { return absl::InvalidArgumentError(std::move(message)); }

absl::Status ParseAddress(std::string_view text, std::string* to) {
  const size_t colon = text.rfind(':');
  int port = 0;
  const std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool bare_ipv6 = colon != std::string_view::npos && text[0] != '[' && text.find(':') != colon;
  if (colon == 0 || colon == std::string_view::npos || bare_ipv6 || error != std::errc() ||
      end != digits.data() + digits.size() || port < 1 || port > 65535) {
    return Invalid("it is not HOST:PORT with a port of 1..65535 ([HOST]:PORT for IPv6)");
  }
  *to = text;
  return absl::OkStatus();
}

absl::Status ParseBool(std::string_view text, bool* to) {
  if (text == "1" || text == "true" || text == "yes" || text == "on") {
    *to = true;
  } else if (text == "0" || text == "false" || text == "no" || text == "off") {
    *to = false;
  } else {
    return Invalid("it is neither true nor false");
  }
  return absl::OkStatus();
}

absl::Status ParseCount(std::string_view text, int max, std::optional<int>* to) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > max) {
    return Invalid("it is not a whole number of 0.." + std::to_string(max));
  }
  *to = value;
  return absl::OkStatus();
}

absl::Status ParseResources(std::string_view text, ResourceSet* to) {
  MANTA_ASSIGN_OR_RETURN(ResourceSet set, ResourceSet::FromJson(text));
  for (const auto& [name, knob] : {std::pair("CPU", "--manta-num-cpus"), std::pair("GPU", "--manta-num-gpus")}) {
    if (set.Get(name) != Fixed()) return Invalid(std::string(name) + " is set with " + knob);
  }
  *to = std::move(set);
  return absl::OkStatus();
}

absl::Status ParseStoreMemory(std::string_view text, std::optional<uint64_t>* to) {
  MANTA_ASSIGN_OR_RETURN(const uint64_t bytes, ParseBytes(text));
  if (bytes < (uint64_t{1} << 20)) return Invalid("it is below 1MiB");
  *to = bytes;
  return absl::OkStatus();
}

absl::Status ParseLevel(std::string_view text, LogLevel* to) {
  MANTA_ASSIGN_OR_RETURN(*to, ParseLogLevel(text));
  return absl::OkStatus();
}

absl::Status ParseIdleTimeout(std::string_view text, Duration* to) {
  MANTA_ASSIGN_OR_RETURN(*to, ParseDuration(text));
  return absl::OkStatus();
}

absl::Status ParsePoll(std::string_view text, std::optional<Duration>* to) {
  const bool bare =
      !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
  MANTA_ASSIGN_OR_RETURN(const Duration poll, ParseDuration(bare ? std::string(text) + "us" : std::string(text)));
  if (poll > std::chrono::seconds(1)) return Invalid("it is above 1s");
  *to = poll;
  return absl::OkStatus();
}

absl::Status ParsePath(std::string_view text, std::string* to) {
  *to = text;
  return absl::OkStatus();
}

std::string ShowLevel(LogLevel level) {
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error", "off"};
  return kNames[static_cast<int>(level)];
}

template <typename Number>
std::string Show(const std::optional<Number>& value) {
  return value ? std::to_string(*value) : "";
}

const Knob kKnobs[] = {
    {"address", "HOST:PORT", "", "the cluster's head; without one the program starts a cluster of its own",
     [](std::string_view text, Config* config) { return ParseAddress(text, &config->address); },
     [](const Config& config) { return config.address; }},
    {"local", "", "false", "run everything inside this one process, for debuggers",
     [](std::string_view text, Config* config) { return ParseBool(text, &config->local); },
     [](const Config& config) { return std::string(config.local ? "true" : "false"); }},
    {"num-cpus", "N", "what this machine gives", "CPUs of the node that this process starts",
     [](std::string_view text, Config* config) { return ParseCount(text, 65536, &config->num_cpus); },
     [](const Config& config) { return Show(config.num_cpus); }},
    {"num-gpus", "N", "what is found", "GPUs of the node that this process starts",
     [](std::string_view text, Config* config) { return ParseCount(text, 1024, &config->num_gpus); },
     [](const Config& config) { return Show(config.num_gpus); }},
    {"resources", "JSON", "{}", "its custom resources, as in {\"licence\": 2, \"tpu\": 0.5}",
     [](std::string_view text, Config* config) { return ParseResources(text, &config->resources); },
     [](const Config& config) { return config.resources.ToJson(); }},
    {"store-memory", "BYTES", "30% of the memory available", "its object store, as in 512MiB or 4GiB",
     [](std::string_view text, Config* config) { return ParseStoreMemory(text, &config->store_memory_bytes); },
     [](const Config& config) { return Show(config.store_memory_bytes); }},
    {"log-dir", "DIR", "<run dir>/logs", "log files and the output of workers",
     [](std::string_view text, Config* config) { return ParsePath(text, &config->log_dir); },
     [](const Config& config) { return config.log_dir; }},
    {"log-level", "LEVEL", "info", "debug, info, warning, error or off",
     [](std::string_view text, Config* config) { return ParseLevel(text, &config->log_level); },
     [](const Config& config) { return ShowLevel(config.log_level); }},
    {"run-dir", "DIR", "$XDG_RUNTIME_DIR/manta, else a private temporary folder", "sockets",
     [](std::string_view text, Config* config) { return ParsePath(text, &config->run_dir); },
     [](const Config& config) { return config.run_dir; }},
    {"state-dir", "DIR", "$XDG_STATE_HOME/manta/<port>", "cluster id and secret",
     [](std::string_view text, Config* config) { return ParsePath(text, &config->state_dir); },
     [](const Config& config) { return config.state_dir; }},
    {"worker-idle-timeout", "TIME", "60s", "how long a worker without work stays, as in 30s or 5m",
     [](std::string_view text, Config* config) { return ParseIdleTimeout(text, &config->worker_idle_timeout); },
     [](const Config& config) { return ToString(config.worker_idle_timeout); }},
    {"poll", "US", "what the runtime finds best", "microseconds to poll before sleeping; 0 never polls",
     [](std::string_view text, Config* config) { return ParsePoll(text, &config->poll); },
     [](const Config& config) { return config.poll ? ToString(*config.poll) : ""; }},
    {"secret-file", "FILE", "the state directory's", "the cluster's secret",
     [](std::string_view text, Config* config) { return ParsePath(text, &config->secret_file); },
     [](const Config& config) { return config.secret_file; }},
};

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// `text_of` gives the form of a knob's name that `unknown` is in: flag or variable.
absl::Status Unknown(std::string_view kind, std::string_view unknown, std::string (Knob::*text_of)() const) {
  const Knob* nearest = &kKnobs[0];
  const auto distance = [&](const Knob& knob) { return EditDistance(unknown, (knob.*text_of)()); };
  for (const Knob& knob : kKnobs) {
    if (distance(knob) < distance(*nearest)) nearest = &knob;
  }
  return Invalid("unknown " + std::string(kind) + " " + std::string(unknown) + "; the nearest known one is " +
                 (nearest->*text_of)());
}

absl::Status Apply(const Knob& knob, const std::string& where, std::string_view text, Config* config) {
  const absl::Status status = knob.parse(text, config);
  if (status.ok()) return status;
  return Invalid(where + "=" + std::string(text) + ": " + Message(status));
}

absl::Status ApplyEnvironment(const char* const* environment, Config* config) {
  for (; *environment != nullptr; ++environment) {
    const std::string_view entry = *environment;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = entry.substr(0, equals);
    const std::string_view value = entry.substr(equals + 1);
    if (!name.starts_with(kVariablePrefix) || name.starts_with(kInternalPrefix)) continue;
    const Knob* knob = std::find_if(std::begin(kKnobs), std::end(kKnobs),
                                    [name](const Knob& knob) { return knob.variable() == name; });
    if (knob == std::end(kKnobs)) return Unknown("environment variable", name, &Knob::variable);
    if (value.empty()) continue;  // VARIABLE= is how a shell says "not set"
    MANTA_RETURN_IF_ERROR(Apply(*knob, knob->variable(), value, config));
  }
  return absl::OkStatus();
}

absl::Status ApplyFlags(int* argc, char** argv, Config* config) {
  int kept = std::min(1, *argc);
  int i = kept;
  for (; i < *argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--") break;
    if (!argument.starts_with(kFlagPrefix)) {
      argv[kept++] = argv[i];
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string_view flag = argument.substr(0, equals);
    const Knob* knob =
        std::find_if(std::begin(kKnobs), std::end(kKnobs), [flag](const Knob& knob) { return knob.flag() == flag; });
    if (knob == std::end(kKnobs)) return Unknown("flag", flag, &Knob::flag);
    std::string_view value = "true";
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (!knob->type.empty()) {
      if (i + 1 == *argc)
        return Invalid(std::string(flag) + " wants a value: " + knob->flag() + "=" + std::string(knob->type));
      value = argv[++i];
    }
    MANTA_RETURN_IF_ERROR(Apply(*knob, knob->flag(), value, config));
  }
  for (; i < *argc; ++i) argv[kept++] = argv[i];
  *argc = kept;
  argv[kept] = nullptr;
  return absl::OkStatus();
}

// Splits "1.5GiB" into 1.5 and "GiB"; false unless it begins with a plain, finite number of 0 or more.
bool SplitNumber(std::string_view text, double* number, std::string_view* unit) {
  if (text.empty() || !(std::isdigit(static_cast<unsigned char>(text[0])) || text[0] == '.')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(*number)) return false;
  *unit = text.substr(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

absl::StatusOr<Config> Config::FromArgs(int* argc, char** argv, const char* const* environment) {
  Config config;
  MANTA_RETURN_IF_ERROR(ApplyEnvironment(environment != nullptr ? environment : environ, &config));
  MANTA_RETURN_IF_ERROR(ApplyFlags(argc, argv, &config));
  return config;
}

std::string Config::HelpText() {
  std::string text;
  for (const Knob& knob : kKnobs) {
    text += "  " + knob.flag();
    if (!knob.type.empty()) text += "=" + std::string(knob.type);
    text += " (" + knob.variable() + ")\n      " + std::string(knob.doc);
    if (!knob.default_text.empty()) text += " [" + std::string(knob.default_text) + "]";
    text += "\n";
  }
  return text;
}

std::map<std::string, std::string> Config::ToMap() const {
  std::map<std::string, std::string> values;
  for (const Knob& knob : kKnobs) values.emplace(knob.name, knob.show(*this));
  return values;
}

absl::StatusOr<uint64_t> ParseBytes(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {
      {"", 1},     {"B", 1},    {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
      {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};
  double number = 0;
  std::string_view unit;
  if (SplitNumber(text, &number, &unit)) {
    for (const auto& [name, scale] : kUnits) {
      if (unit != name) continue;
      if (number * scale > 0x1p62) return Invalid("'" + std::string(text) + "' is above 2^62 bytes");
      return static_cast<uint64_t>(std::llround(number * scale));
    }
  }
  return Invalid("'" + std::string(text) + "' is not a number of bytes such as 4096, 512MiB or 1.5GiB");
}

absl::StatusOr<Duration> ParseDuration(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"ns", 1},   {"us", 1e3},   {"ms", 1e6},  {"s", 1e9},
                                                                   {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}};
  constexpr double kNanosMax = 100.0 * 365 * 24 * 3600 * 1e9;
  double number = 0;
  std::string_view unit;
  if (SplitNumber(text, &number, &unit)) {
    for (const auto& [name, scale] : kUnits) {
      if (unit != name) continue;
      if (number * scale > kNanosMax) return Invalid("'" + std::string(text) + "' is above 100 years");
      return Duration(std::llround(number * scale));
    }
  }
  return Invalid("'" + std::string(text) + "' is not a time such as 50us, 250ms, 1.5s, 2m or 1h");
}

}  // namespace manta::base

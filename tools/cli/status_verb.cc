#include <CLI/CLI.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "base/status.h"
#include "tools/cli/status.h"
#include "tools/cli/verb.h"

namespace manta::cli {
namespace {

constexpr const char* kClearScreen = "\x1b[H\x1b[2J";

struct StatusOptions : VerbOptions {
  bool watch = false;
  double interval_s = 1;
};

absl::StatusOr<std::string> OneStatus(const StatusOptions& options) {
  MANTA_ASSIGN_OR_RETURN(const Connection connection, ConnectToHead(options, rpc::TrustClass::kReader));
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kStatus;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, connection.head->Ask(query));
  const Json status = StatusOf(connection.address, reply);
  return options.is_json() ? Dump(status) : RenderStatus(status, LookOfStdout());
}

absl::Status RunStatus(const StatusOptions& options) {
  while (true) {
    const absl::StatusOr<std::string> text = OneStatus(options);
    if (!text.ok() && !options.watch) return text.status();
    const bool clears = options.watch && !options.is_json() && LookOfStdout().width != 0;
    Print((clears ? kClearScreen : "") +
          (text.ok() ? *text : "manta: " + Printable(base::Message(text.status())) + "\n"));
    if (!options.watch) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_s));
  }
}

}  // namespace

void AddStatusVerb(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* verb = app->add_subcommand("status", "What a cluster has, uses, waits for, and what failed lately");
  verb->add_flag("--watch", options->watch, "Again and again, until interrupted");
  verb->add_option("--interval", options->interval_s, "Seconds between two looks with --watch")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  verb->footer("Example:\n  manta status --watch");
  SetUpVerb(
      verb, options, [options] { return RunStatus(*options); }, exit_code);
}

}  // namespace manta::cli

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"
#include "tools/cli/verb.h"

namespace manta::cli {
namespace {

struct KillOptions : VerbOptions {
  std::string actor;
  bool no_restart = false;
};

absl::Status RunKill(const KillOptions& options) {
  MANTA_ASSIGN_OR_RETURN(const Connection connection, ConnectToHead(options, rpc::TrustClass::kMember));
  rpc::StateQuery query;
  query.kind = rpc::StateKind::kKillActor;
  query.subject = options.actor;
  query.no_restart = options.no_restart;
  MANTA_ASSIGN_OR_RETURN(const rpc::StateReply reply, connection.head->Ask(query));
  if (!reply.error.empty()) return base::Error(absl::StatusCode::kFailedPrecondition, reply.error);
  const Json rows = RowsToJson(reply);
  if (options.is_json()) {
    Print(Dump(rows));
  } else if (!rows.empty()) {
    Print("told actor " + Printable(TextAt(rows[0], "actor_id")) + " to end\n");
  }
  return absl::OkStatus();
}

}  // namespace

void AddKillVerb(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<KillOptions>();
  CLI::App* verb = app->add_subcommand("kill", "End an actor; it is restarted if it may be");
  verb->add_option("actor", options->actor, "Its id, its name, or NAMESPACE/NAME")->required()->type_name("ACTOR");
  verb->add_flag("--no-restart", options->no_restart, "For good, however many restarts it has left");
  verb->footer("Example:\n  manta kill hits --no-restart");
  SetUpVerb(
      verb, options, [options] { return RunKill(*options); }, exit_code);
}

}  // namespace manta::cli

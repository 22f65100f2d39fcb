#include "tools/cli/verb.h"

#include <CLI/CLI.hpp>
#include <array>
#include <iostream>
#include <utility>

#include "base/config.h"
#include "base/status.h"

namespace manta::cli {

void SetUpVerb(CLI::App* verb, std::shared_ptr<VerbOptions> options, std::function<absl::Status()> run,
               int* exit_code) {
  verb->add_option("--format", options->format, "table, or json for scripts")->check(CLI::IsMember({"table", "json"}));
  verb->add_option("--address", options->address, "The cluster's head, else MANTA_ADDRESS, else the one found here")
      ->type_name("HOST:PORT");
  verb->add_option("--state-dir", options->state_dir,
                   "Where the cluster's secret is, if it is not found by the address")
      ->type_name("DIR");
  verb->callback([run = std::move(run), options = std::move(options), exit_code] {
    const absl::Status status = run();
    if (!status.ok()) std::cerr << "manta: " << Printable(base::Message(status)) << "\n";
    *exit_code = ExitCodeOf(status);
  });
}

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitNoCluster;
    default:
      return kExitFailed;
  }
}

absl::StatusOr<Connection> ConnectToHead(const VerbOptions& options, rpc::TrustClass trust) {
  std::array<char, 6> name = {"manta"};
  std::array<char*, 2> argv = {name.data(), nullptr};
  int argc = 1;
  MANTA_ASSIGN_OR_RETURN(const base::Config config, base::Config::FromArgs(&argc, argv.data()));
  runtime::FindOptions find;
  find.address = options.address.empty() ? config.address : options.address;
  find.state_dir = options.state_dir.empty() ? config.state_dir : options.state_dir;
  find.secret_file = config.secret_file;
  find.run_dir = config.run_dir;
  MANTA_ASSIGN_OR_RETURN(const runtime::ClusterIdentity cluster, runtime::FindCluster(find));
  MANTA_ASSIGN_OR_RETURN(std::unique_ptr<HeadClient> head, HeadClient::Connect(cluster, trust));
  return Connection{cluster.address, std::move(head)};
}

absl::StatusOr<rpc::StateReply> Ask(HeadClient* head, const rpc::StateQuery& query) {
  absl::StatusOr<rpc::StateReply> reply = head->Ask(query);
  if (reply.ok() && !reply->error.empty()) Warn(reply->error);
  return reply;
}

void Warn(const std::string& text) { std::cerr << "manta: " << Printable(text) << "\n"; }

void Print(const std::string& text) { std::cout << text << std::flush; }

}  // namespace manta::cli

// What the verbs share: their common options, the way to the head, and how a failure is told.
//
// Threads:    externally synchronised.
#ifndef MANTA_TOOLS_CLI_VERB_H_
#define MANTA_TOOLS_CLI_VERB_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tools/cli/head_client.h"
#include "tools/cli/rows.h"

namespace CLI {
class App;
}

namespace manta::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNoCluster = 3;

// The options that every verb takes.
struct VerbOptions {
  std::string format = "table";
  std::string address;    // "": MANTA_ADDRESS, else the one cluster of this machine
  std::string state_dir;  // "": MANTA_STATE_DIR, else where the address leads
  bool is_json() const { return format == "json"; }
};

// Adds the options to `verb`, and has `run` called, its status told on stderr and turned into an exit code.
void SetUpVerb(CLI::App* verb, std::shared_ptr<VerbOptions> options, std::function<absl::Status()> run, int* exit_code);
// kNotFound, kUnavailable, kDeadlineExceeded: there is no cluster; kInvalidArgument: usage.
int ExitCodeOf(const absl::Status& status);

struct Connection {
  std::string address;
  std::unique_ptr<HeadClient> head;
};
// Errors: those of FindCluster and HeadClient, and kInvalidArgument for a MANTA_* variable that cannot be.
absl::StatusOr<Connection> ConnectToHead(const VerbOptions& options, rpc::TrustClass trust);
// Asks; what is missing from the answer is told on stderr.
absl::StatusOr<rpc::StateReply> Ask(HeadClient* head, const rpc::StateQuery& query);

// A verb, or a group of them: added to `app` by the file named after it.
void AddStatusVerb(CLI::App* app, int* exit_code);
void AddListVerbs(CLI::App* app, int* exit_code);  // list, summary, memory
void AddLogsVerb(CLI::App* app, int* exit_code);
void AddKillVerb(CLI::App* app, int* exit_code);

// On stderr, on stdout.
void Warn(const std::string& text);
void Print(const std::string& text);

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_VERB_H_

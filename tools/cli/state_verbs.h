// The verbs that ask a cluster, or tell it something: status, list, summary, memory, logs, kill.
//
// Exit codes: 0; 1 failed; 2 usage; 3 no cluster.
// Threads:    externally synchronised.
#ifndef MANTA_TOOLS_CLI_STATE_VERBS_H_
#define MANTA_TOOLS_CLI_STATE_VERBS_H_

namespace CLI {
class App;
}

namespace manta::cli {

// Adds them to `app`. While it parses, the verb that is given runs and leaves its exit code in `*exit_code`, which must
// outlive the app.
void AddStateVerbs(CLI::App* app, int* exit_code);

}  // namespace manta::cli

#endif  // MANTA_TOOLS_CLI_STATE_VERBS_H_

#include "tools/cli/state_verbs.h"

#include "tools/cli/verb.h"

namespace manta::cli {

void AddStateVerbs(CLI::App* app, int* exit_code) {
  AddStatusVerb(app, exit_code);
  AddListVerbs(app, exit_code);
  AddLogsVerb(app, exit_code);
  AddKillVerb(app, exit_code);
}

}  // namespace manta::cli

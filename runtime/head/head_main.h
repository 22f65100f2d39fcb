// RunHead is the head's process: takes the state directory, opens its store, listens, and serves until told to end.
//
// Threads:    the process has one when it is called.
#ifndef MANTA_RUNTIME_HEAD_HEAD_MAIN_H_
#define MANTA_RUNTIME_HEAD_HEAD_MAIN_H_

#include <string>

#include "runtime/cluster_files.h"
#include "runtime/daemon_process.h"
#include "runtime/head/head_core.h"
#include "runtime/head/metadata.h"

namespace manta::runtime {

struct HeadProcessSpec {
  ClusterIdentity cluster;  // its address: where to listen
  std::string run_dir;      // of the cluster, on this machine
  std::string log_dir;
  HeadOptions head;
  std::string metadata = "private";  // Metadata::Options::where
  MetadataDurability durability = MetadataDurability::kAlways;
  base::UniqueFd state_lock;
  ReadyPipe ready;
};

// Returns when it was told to end: the process's exit status.
int RunHead(HeadProcessSpec spec);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_HEAD_HEAD_MAIN_H_

// RunNode is a node daemon's process: joins the cluster, serves until told to end, and joins anew when it was fenced.
//
// Threads:    the process has one when it is called.
#ifndef MANTA_RUNTIME_NODE_NODE_MAIN_H_
#define MANTA_RUNTIME_NODE_NODE_MAIN_H_

#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "runtime/cluster_files.h"
#include "runtime/daemon_process.h"
#include "runtime/node/node_core.h"

namespace manta::runtime {

struct NodeProcessSpec {
  ClusterIdentity cluster;
  std::string run_dir;             // of the cluster, on this machine
  std::string log_dir;             // for this daemon and its workers
  std::string host = "127.0.0.1";  // where to listen
  NodeOptions node;
  ReadyPipe ready;
  // Of a node that a driver has started for itself: its end ends the node.
  base::UniqueFd driver_socket;
  std::vector<std::string> driver_argv;
};

// Returns when it was told to end: the process's exit status.
int RunNode(NodeProcessSpec spec);

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_NODE_MAIN_H_

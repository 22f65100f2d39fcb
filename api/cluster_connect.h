// How a process becomes part of a cluster: as its driver, or as one of the processes that Manta started from the same
// executable.
#ifndef MANTA_API_CLUSTER_CONNECT_H_
#define MANTA_API_CLUSTER_CONNECT_H_

#include <functional>
#include <memory>

#include "base/config.h"
#include "base/status.h"
#include "manta/init.h"
#include "manta/internal/backend.h"

namespace manta::internal {

// In a process that Manta started (embedded cluster, zygote, worker): runs it, and never returns. In a driver: returns
// at once. Call it first in Init. `on_worker_start`: what OnWorkerStart registered.
void RunIfNotDriver(int argc, char** argv, const std::function<void()>& on_worker_start);

// A driver's backend: starts an embedded cluster and joins it. Errors say what to do.
absl::StatusOr<std::unique_ptr<Backend>> ConnectCluster(const base::Config& config, const Options& options);

}  // namespace manta::internal

#endif  // MANTA_API_CLUSTER_CONNECT_H_

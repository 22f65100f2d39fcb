#include "runtime/head/head_main.h"

#include <utility>

#include "base/log.h"
#include "base/uv_event_loop.h"
#include "runtime/head/head_server.h"

namespace manta::runtime {
namespace {

absl::Status Announce(const HeadProcessSpec& spec, const std::string& address, const DaemonFile& file) {
  MANTA_RETURN_IF_ERROR(WriteAddress(spec.cluster.state_dir, address));
  MANTA_RETURN_IF_ERROR(WriteClusterFile(spec.run_dir, address, spec.cluster.state_dir));
  return WriteDaemonFile(spec.run_dir, file);
}

}  // namespace

int RunHead(HeadProcessSpec spec) {
  (void)base::Log::Open(spec.log_dir + "/head.log", "head", base::LogLevel::kInfo);
  absl::StatusOr<DaemonFile> file = OwnDaemonFile();
  if (!file.ok()) {
    spec.ready.Failed(file.status());
    return 1;
  }
  file->is_head = true;
  base::UvEventLoop loop;
  EndSignals signals(&loop, [&loop] { loop.Stop(); });
  absl::StatusOr<std::unique_ptr<HeadServer>> server =
      HeadServer::Create(&loop, {spec.cluster, spec.head}, std::make_unique<MemoryKvStore>());
  absl::Status started = server.status();
  if (started.ok()) started = Announce(spec, (*server)->address(), *file);
  if (!started.ok()) {
    spec.ready.Failed(started);
    return 1;
  }
  spec.ready.Ready((*server)->address());
  loop.Run();
  RemoveDaemonFile(spec.run_dir, *file);
  return 0;
}

}  // namespace manta::runtime

#include "runtime/node/node_main.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <utility>

#include "base/log.h"
#include "base/process.h"
#include "base/uv_event_loop.h"
#include "runtime/node/daemon.h"

namespace manta::runtime {
namespace {

constexpr Duration kJoinTimeout = std::chrono::seconds(2);

struct Life {
  bool again = false;
  int status = 0;
};

// From joining to the end: a fenced node's next life has nothing of this one.
Life LiveOnce(NodeProcessSpec& spec, DaemonFile* file, Duration join_timeout) {
  base::UvEventLoop loop;
  Life life;
  DaemonSpec daemon_spec;
  daemon_spec.node = spec.node;
  daemon_spec.log_dir = spec.log_dir;
  daemon_spec.join_timeout = join_timeout;
  daemon_spec.network = NodeNetwork::Options{spec.cluster, spec.host};
  daemon_spec.programs_dir = spec.run_dir + "/node-" + std::to_string(getpid()) + ".programs";
  if (spec.driver_socket) {
    daemon_spec.driver_socket = std::move(spec.driver_socket);
    daemon_spec.argv = spec.driver_argv;
    daemon_spec.on_driver_gone = [&loop] { loop.Stop(); };
  } else {
    daemon_spec.drivers_path = file->socket;
  }
  std::unique_ptr<Daemon> daemon;
  daemon_spec.on_accepted = [&] {
    base::Log::SetPrefix(ToString(DaemonOf(daemon->node())));
    const absl::Status written = WriteDaemonFile(spec.run_dir, *file);
    if (written.ok()) return spec.ready.Ready(ToString(DaemonOf(daemon->node())) + " " + daemon->address());
    spec.ready.Failed(written);
    life.status = 1;
    loop.Stop();
  };
  daemon_spec.on_end = [&](const std::string& why, bool new_life) {
    spec.ready.Failed(base::Error(absl::StatusCode::kFailedPrecondition, why));
    life = {new_life, new_life ? 0 : 1};
    loop.Stop();
  };
  bool told_to_end = false;
  EndSignals signals(&loop, [&] {
    told_to_end = true;
    loop.Stop();
  });
  absl::StatusOr<std::unique_ptr<Daemon>> made = Daemon::Create(&loop, std::move(daemon_spec));
  if (!made.ok()) {
    spec.ready.Failed(made.status());
    return {false, 1};
  }
  daemon = *std::move(made);
  daemon->Start();
  loop.Run();
  daemon->KillAll();
  if (told_to_end) life.again = false;
  return life;
}

}  // namespace

int RunNode(NodeProcessSpec spec) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  (void)base::Log::Open(spec.log_dir + "/node.log", "node", base::LogLevel::kInfo);
  absl::StatusOr<DaemonFile> file = OwnDaemonFile();
  if (!file.ok()) {
    spec.ready.Failed(file.status());
    return 1;
  }
  file->name = spec.node.name;
  file->beside_head = spec.node.beside_head;
  file->of_driver = static_cast<bool>(spec.driver_socket);
  if (!file->of_driver) file->socket = spec.run_dir + "/node-" + std::to_string(getpid()) + ".sock";
  spec.node.pid = getpid();
  const absl::StatusOr<std::string> boot = base::BootId();
  if (boot.ok()) spec.node.machine = *boot;
  // Whoever starts a node waits for it; a fenced one's head is known to be there, and may be away.
  Life life = LiveOnce(spec, &*file, kJoinTimeout);
  while (life.again) life = LiveOnce(spec, &*file, Duration::max());
  RemoveDaemonFile(spec.run_dir, *file);
  return life.status;
}

}  // namespace manta::runtime

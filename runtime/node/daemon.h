// Daemon is the shell around one NodeCore: it gives a node its processes, channels, segments and clock.
//
// Ownership:  owns the core, the zygote, the connections and the segments' files. Borrows the loop.
// Threads:    loop-confined; one thread.
// Order:      a process's death is handed to the core after its rings were drained, and only once the kernel confirms
//             it (pidfd): a closed socket alone makes the daemon kill the process.
// See:        runtime/node/node_core.h (decisions), runtime/node/zygote.h, docs/architecture.md
#ifndef MANTA_RUNTIME_NODE_DAEMON_H_
#define MANTA_RUNTIME_NODE_DAEMON_H_

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/event_loop.h"
#include "base/process.h"
#include "base/unique_fd.h"
#include "rpc/descriptor_socket.h"
#include "rpc/polling_page.h"
#include "rpc/shm_port.h"
#include "runtime/node/node_core.h"
#include "runtime/node/node_network.h"
#include "runtime/node/object_transfers.h"
#include "runtime/node/output_files.h"
#include "runtime/node/program_files.h"
#include "runtime/node/task_rings.h"
#include "runtime/node/zygote.h"
#include "store/pin_table.h"
#include "store/segment_files.h"

namespace manta::runtime {

struct DaemonSpec {
  NodeOptions node;
  std::string log_dir;
  // Of a cluster of several nodes: how to reach them. Else `send_to_head`.
  std::optional<NodeNetwork::Options> network;
  std::function<void(rpc::Message)> send_to_head;
  std::string drivers_path;       // where a unix socket for drivers is made; empty: none
  std::string programs_dir;       // for programs of drivers on other nodes; empty: none
  base::UniqueFd driver_socket;   // of the driver that started this node, and whose end ends it
  std::vector<std::string> argv;  // of that driver, which is this process's image
  std::function<void()> on_driver_gone;
  // The head has accepted the node; or it never will, or fences it: `why` ends this process (`new_life`: another one
  // may join).
  std::function<void()> on_accepted;
  std::function<void(const std::string& why, bool new_life)> on_end;
  // How long it may take to find the head; max: it tries for ever.
  Duration join_timeout = Duration::max();
};

// Fills what the configuration says: CPUs, GPUs, custom resources, store memory, idle time. Errors name the knob.
absl::Status FillNodeOptions(const base::Config& config, NodeOptions* options);

class Daemon final : private rpc::Channel::Handler, private NodeNetwork::Handler {
 public:
  static absl::StatusOr<std::unique_ptr<Daemon>> Create(base::EventLoop* loop, DaemonSpec spec);
  ~Daemon() override;

  // Registers with the head; call once it can be sent to.
  void Start();
  void ReceiveFromHead(rpc::Message message);
  NodeId node() const { return core_.node(); }
  const std::string& address() const { return spec_.node.address; }
  // Kills the zygote, all workers and what they started.
  void KillAll();

 private:
  struct Connection {
    uint64_t id = 0;
    rpc::ProcessKind kind = rpc::ProcessKind::kWorker;
    ProcessId process;  // known after Welcome (workers: from the start)
    JobId job = 0;      // once welcome (workers: from the start)
    uint32_t asks = 0;  // how often the zygote was asked for it
    pid_t pid = 0;      // 0: not started yet
    base::UniqueFd pidfd;
    std::unique_ptr<rpc::DescriptorSocket> control;
    std::unique_ptr<rpc::DescriptorSocket> store;
    base::FdWatch control_watch, store_watch, pidfd_watch;
    std::unique_ptr<store::PinTableView> pins;
    uint32_t polling_slot = 0;
    bool has_slot = false;
    rpc::ShmChannel* ring = nullptr;
    std::vector<rpc::Message> waiting;                // to it, before the ring was there
    std::vector<rpc::MessageWithDescriptors> offers;  // likewise, of its peers
    std::vector<rpc::MessageWithDescriptors> links;   // likewise, to processes of other nodes
    base::UniqueFd program;                           // drivers: their image
    std::vector<std::string> argv;                    // likewise
    std::vector<std::string> files;                   // likewise: what goes with it
    std::string directory;                            // likewise: where they work
    std::string name_space;                           // that the driver asked for
    std::string exit_reason;                          // from the zygote
    std::string kill_reason;                          // ours
    bool ended = false;
  };

  // What a job's workers run, and their zygote.
  struct Program {
    enum class State { kAsked, kComing, kReady } state = State::kAsked;
    base::UniqueFd image;
    std::vector<std::string> argv;
    std::vector<std::string> files;       // what goes with it, relative to `directory`
    ProgramFiles::Description described;  // of image and files, once another node has asked
    std::string directory;
    std::string name_space;
    NodeId driver_node = 0;
    std::unique_ptr<ZygoteClient> zygote;
    base::UniqueFd zygote_pidfd;
    pid_t zygote_pid = 0;
    int zygotes_lost = 0;            // since one last made a worker
    base::UniqueFd complaint;        // stderr of the zygote that followed one that was lost
    std::vector<ProcessId> waiting;  // workers, for the program
  };

  Daemon(base::EventLoop* loop, DaemonSpec spec);
  absl::Status Open();
  ObjectTransfers::Options TransferOptions();

  // NodeNetwork::Handler (daemon_network.cc)
  void OnHeadConnected() override;
  void OnHeadLost(const absl::Status& why, bool fatal) override;
  void OnHeadMessage(rpc::Message message) override;
  void OnNodeMessage(NodeId from, rpc::Message message) override;
  void OnSessionLost(NodeId node, const absl::Status& why) override;
  bool HasProcess(ProcessId process) override;
  void OnPeerLink(ProcessId to, rpc::PeerLink link, base::UniqueFd socket) override;
  void OnDataSocket(NodeId from, base::UniqueFd socket, std::string early) override;
  absl::Status OpenNetwork();
  absl::Status ListenForDrivers();
  void WatchDriver(Connection& driver);
  void DialPeer(ProcessId from, ProcessId peer);
  void AcceptDrivers();
  void PassOutput(rpc::Output output);
  void FetchFile(NodeId from, const rpc::ProgramFile& file, const std::string& path,
                 std::function<void(absl::Status)> done);
  // On threads of the transfers.
  absl::StatusOr<base::UniqueFd> DialData(NodeId node, Duration patience);
  std::optional<store::TransferServer::Opened> OpenFile(const rpc::Bits256& sha256);

  // rpc::Channel::Handler
  void OnMessage(rpc::Channel& channel, rpc::Message message) override;
  void OnClosed(rpc::Channel& channel, const absl::Status& why) override;

  void Handle(NodeEvent event);
  void RunActions(std::vector<NodeAction>& actions);
  void SendToHead(rpc::Message message);
  void Run(SendMessage& action);
  void Run(Welcome& action);
  void Run(Refuse& action);
  void Run(StartWorker& action);
  void Run(KillProcess& action);
  void Run(CreateSegment& action);
  void Run(SendSegment& action);
  void Run(PinScan& action);
  void Run(SendObject& action);
  void Run(WriteObject& action);
  void Run(JobGone& action);
  void Run(AbandonWrite& action);
  void Run(EndDaemon& action);

  // Programs and workers (daemon_workers.cc)
  Program* FindProgram(JobId job);
  void DriverJoined(Connection& driver);
  void AskForProgram(JobId job);
  void OnProgramRequest(const rpc::ProgramRequest& request);
  void OnProgramInfo(NodeId from, rpc::ProgramInfo info);
  void ProgramReady(JobId job, absl::StatusOr<base::UniqueFd> image);
  absl::Status StartZygote(JobId job, Program& program);
  absl::Status RestartZygote(JobId job, Program& program);
  void AddLibraryPath(const Program& program, std::vector<std::pair<std::string, std::string>>* environment);
  void OnZygoteLost(JobId job);
  void StartFromProgram(Connection& connection, Program& program);
  void StartHasFailed(ProcessId worker, const std::string& why);
  // Has the zygote fork `connection`'s worker; `connection` gets a new control socket.
  absl::Status AskForWorker(Connection& connection);
  void OnForked(uint64_t worker, pid_t pid, base::UniqueFd pidfd, bool use_exec, const std::string& why);
  void OnChildExited(pid_t pid, int wait_status);
  void StartByExec(Connection& connection);

  Connection& AddConnection(base::UniqueFd control);
  void SetControl(Connection& connection, base::UniqueFd control);
  Connection* Find(ProcessId process);
  void WatchProcess(Connection& connection, base::UniqueFd pidfd, pid_t pid);
  void OnControl(uint64_t id);
  void OnHello(Connection& connection, rpc::MessageWithDescriptors received);
  void OnPeerMessage(Connection& connection, rpc::MessageWithDescriptors received);
  void DeliverOffer(rpc::MessageWithDescriptors received);
  void PassAnswer(rpc::PeerAnswer answer, std::span<const int> descriptors);
  void RefuseOffer(const rpc::PeerOffer& offer, const std::string& why);
  void OnOwnRingOffer(Connection& connection, const rpc::PeerOffer& offer, std::vector<base::UniqueFd> fds);
  void OnStoreRequest(uint64_t id);
  void OnProcessGone(uint64_t id);
  std::string WhyKilledByKernel(const Connection& dead);
  void Kill(Connection& connection, const std::string& why);
  // daemon_state.cc
  bool TakeTaskEvents(Connection& connection, pid_t pid, const base::UniqueFd& fd);
  void AnswerStateQuery(const rpc::StateQuery& query);
  void DrainRings();
  void MendRings();
  void ReapOthers();
  void ArmTimer();

  base::EventLoop* const loop_;
  DaemonSpec spec_;
  NodeCore core_;
  std::unique_ptr<NodeNetwork> network_;
  bool accepted_ = false;  // by the head, once
  Time join_deadline_ = kInfiniteFuture;
  bool head_lost_ = false;
  base::UniqueFd drivers_socket_;
  base::FdWatch drivers_watch_;
  std::unique_ptr<rpc::PollingPage> polling_page_;
  std::unique_ptr<rpc::ShmPort> port_;
  base::FdWatch bell_watch_;
  std::unique_ptr<OutputFiles> output_;
  std::unique_ptr<ProgramFiles> program_files_;
  std::map<JobId, Program> programs_;
  std::optional<Program> own_program_;  // of the driver that started this node, before its job has a number
  store::SegmentFiles segments_;
  std::atomic<bool> dials_end_{false};  // DialData waits for the loop no longer
  ObjectTransfers transfers_;
  TaskRings task_rings_;  // by connection
  uint64_t oom_kills_known_ = base::OomKillCount();
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<ProcessId, uint64_t> by_process_;
  std::map<pid_t, uint64_t> by_pid_;
  uint64_t next_connection_ = 1;
  std::vector<base::FdWatch> finished_watches_;  // ended inside their own callback
  base::TimerId timer_ = 0;
  Time timer_at_ = Time::max();
  bool handling_ = false;
  std::vector<NodeEvent> later_;  // events that came out of actions
  bool ending_ = false;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_NODE_DAEMON_H_

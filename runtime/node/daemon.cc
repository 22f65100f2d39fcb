#include "runtime/node/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/process.h"
#include "base/socket.h"
#include "runtime/node/spawn.h"

namespace manta::runtime {
namespace {

constexpr size_t kFramesPerDrain = 256;
constexpr size_t kOffersWaitingMax = 1024;  // to one process that still joins
constexpr Duration kPassAgain = std::chrono::milliseconds(10);
constexpr Duration kMendInterval = std::chrono::milliseconds(500);
constexpr Duration kExitStatusWait = std::chrono::milliseconds(20);
constexpr Duration kEndWait = std::chrono::milliseconds(100);
constexpr int kKillRoundsMax = 500;  // of a millisecond
constexpr char kKilled[] = "killed by signal 9 ";

std::vector<int> Borrow(const std::vector<base::UniqueFd>& fds) {
  std::vector<int> borrowed;
  for (const base::UniqueFd& fd : fds) borrowed.push_back(fd.get());
  return borrowed;
}

// How a child of ours ended (exec'ed, or inherited from a dead zygote); "" if it is not ours.
std::string ReapChild(int pidfd) {
  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return "";
  if (info.si_code == CLD_EXITED) return "exited with status " + std::to_string(info.si_status);
  return "killed by signal " + std::to_string(info.si_status) + " (" + strsignal(info.si_status) + ")";
}

// Kills our children, and as their subreaper whom they leave behind: user code may have given them sessions of their
// own.
void KillChildren() {
  for (int round = 0; round < kKillRoundsMax; ++round) {
    pid_t reaped = 0;
    while ((reaped = waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0) return;  // there are none
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
      const std::string name = entry.path().filename().string();
      const pid_t pid = static_cast<pid_t>(std::atoi(name.c_str()));
      if (pid <= 0) continue;
      absl::StatusOr<base::ProcessStat> stat = base::ReadProcessStat(pid);
      if (stat.ok() && stat->parent == getpid()) kill(pid, SIGKILL);
    }
    usleep(1000);
  }
}

}  // namespace

absl::Status FillNodeOptions(const base::Config& config, NodeOptions* options) {
  options->total = config.resources;
  options->total.Set("CPU", Fixed(config.num_cpus.value_or(base::AvailableCpus())));
  if (config.num_gpus) options->total.Set("GPU", Fixed(*config.num_gpus));
  constexpr uint64_t kStoreShare = 30;
  options->store_bytes_max = config.store_memory_bytes.value_or(base::AvailableMemoryBytes() / 100 * kStoreShare);
  options->worker_idle = config.worker_idle_timeout;
  options->task_workers_max = static_cast<uint32_t>(std::max(64, 8 * base::AvailableCpus()));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Create(base::EventLoop* loop, DaemonSpec spec) {
  std::unique_ptr<Daemon> daemon(new Daemon(loop, std::move(spec)));
  MANTA_RETURN_IF_ERROR(daemon->Open());
  return daemon;
}

Daemon::Daemon(base::EventLoop* loop, DaemonSpec spec)
    : loop_(loop), spec_(std::move(spec)), core_(spec_.node), transfers_(loop, &segments_, TransferOptions()) {}

ObjectTransfers::Options Daemon::TransferOptions() {
  ObjectTransfers::Options options;
  options.dial = [this](NodeId node, Duration patience) { return DialData(node, patience); };
  options.send = [this](NodeId to, rpc::ObjectPulled pulled) {
    SendMessage message{DaemonOf(to), std::move(pulled)};
    Run(message);
  };
  options.written = [this](ObjectWritten written) { Handle(std::move(written)); };
  options.open_file = [this](const rpc::Bits256& sha256) { return OpenFile(sha256); };
  return options;
}

Daemon::~Daemon() { dials_end_ = true; }

absl::Status Daemon::Open() {
  MANTA_ASSIGN_OR_RETURN(polling_page_, rpc::PollingPage::Create());
  polling_page_->SetWakeCost(rpc::MeasureWakeCost());
  MANTA_ASSIGN_OR_RETURN(const uint32_t slot, polling_page_->TakeSlot());
  MANTA_ASSIGN_OR_RETURN(rpc::PollingSlot own_slot,
                         rpc::PollingSlot::Open(polling_page_->fd(), slot, base::AvailableCpus()));
  MANTA_ASSIGN_OR_RETURN(port_, rpc::ShmPort::Create({.copy_before_parse = true}, std::move(own_slot)));
  bell_watch_ = loop_->WatchFd(port_->io_bell_fd(), base::kReadable, [this](int) {
    port_->TakeIoBell();
    DrainRings();
  });
  loop_->RunAfter(kMendInterval, [this] { MendRings(); });
  output_ = std::make_unique<OutputFiles>(loop_, spec_.log_dir,
                                          [this](rpc::Output output) { PassOutput(std::move(output)); });
  if (!spec_.argv.empty()) {
    Program& program = own_program_.emplace(Program());
    program.image.reset(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    if (!program.image) return base::ErrnoStatus(errno, "open /proc/self/exe");
    program.argv = spec_.argv;
    MANTA_RETURN_IF_ERROR(StartZygote(0, program));
  }
  return OpenNetwork();
}

void Daemon::Start() {
  if (spec_.driver_socket) {
    Connection& driver = AddConnection(std::move(spec_.driver_socket));
    driver.kind = rpc::ProcessKind::kDriver;
  }
  if (spec_.join_timeout != Duration::max()) join_deadline_ = loop_->Now() + spec_.join_timeout;
  if (network_ != nullptr) return network_->ConnectToHead();
  Handle(HeadConnected{});
}

void Daemon::ReceiveFromHead(rpc::Message message) {
  const auto* query = std::get_if<rpc::StateQuery>(&message);
  const bool is_ours =
      query != nullptr && (query->kind == rpc::StateKind::kTasks || query->kind == rpc::StateKind::kLogs);
  if (is_ours) return AnswerStateQuery(*query);
  Handle(MessageReceived{kHead, std::move(message)});
}

// ------------------------------------------------------------------ events and actions

void Daemon::Handle(NodeEvent event) {
  if (handling_) {
    later_.push_back(std::move(event));
    return;
  }
  handling_ = true;
  std::vector<NodeAction> actions;
  core_.Handle(loop_->Now(), std::move(event), &actions);
  RunActions(actions);
  while (!later_.empty()) {
    std::vector<NodeEvent> events = std::move(later_);
    later_.clear();
    for (NodeEvent& next : events) {
      actions.clear();
      core_.Handle(loop_->Now(), std::move(next), &actions);
      RunActions(actions);
    }
  }
  handling_ = false;
  port_->RingBells();
  ArmTimer();
}

void Daemon::RunActions(std::vector<NodeAction>& actions) {
  for (NodeAction& action : actions) {
    std::visit(
        [this](auto& chosen) {
          using Action = std::decay_t<decltype(chosen)>;
          if constexpr (std::is_same_v<Action, LogLine>) {
            MANTA_LOG_AT(chosen.level) << chosen.text;
          } else if constexpr (std::is_same_v<Action, DestroySegment>) {
            segments_.Destroy(chosen.segment);
          } else {
            Run(chosen);
          }
        },
        action);
  }
}

void Daemon::SendToHead(rpc::Message message) {
  if (network_ != nullptr) return network_->SendToHead(message);
  spec_.send_to_head(std::move(message));
}

void Daemon::Run(SendMessage& action) {
  if (action.to == kHead) return SendToHead(std::move(action.message));
  if (action.to == DaemonOf(core_.node())) {
    later_.push_back(MessageReceived{action.to, std::move(action.message)});
    return;
  }
  if (action.to.is_daemon()) {
    if (network_ != nullptr) network_->SendToNode(action.to.node, action.message);
    return;
  }
  Connection* connection = Find(action.to);
  if (connection == nullptr || connection->ended) return;
  if (connection->ring == nullptr) {
    connection->waiting.push_back(std::move(action.message));
    return;
  }
  absl::Status sent = connection->ring->Send(action.message);
  if (!sent.ok()) Kill(*connection, base::Message(sent));
}

void Daemon::Run(Welcome& action) {
  auto found = connections_.find(action.connection);
  if (found == connections_.end()) return;
  Connection& connection = *found->second;
  connection.process = action.welcome.process;
  by_process_[connection.process] = connection.id;
  task_rings_.SetOwner(connection.id, connection.process, action.welcome.job);
  absl::StatusOr<uint32_t> slot = polling_page_->TakeSlot();
  if (!slot.ok()) {
    Kill(connection, base::Message(slot.status()));
    return;
  }
  connection.polling_slot = *slot;
  connection.has_slot = true;
  action.welcome.polling_slot = *slot;
  connection.job = action.welcome.job;
  if (connection.kind == rpc::ProcessKind::kDriver) {
    if (connection.name_space.empty()) connection.name_space = action.welcome.name_space;
    DriverJoined(connection);
  }
  const Program* const program = FindProgram(connection.job);
  if (program != nullptr && !program->name_space.empty()) action.welcome.name_space = program->name_space;
  const std::array<int, 1> fds = {polling_page_->fd()};
  absl::Status sent = connection.control->Send(action.welcome, fds);
  if (!sent.ok()) Kill(connection, base::Message(sent));
}

void Daemon::Run(Refuse& action) {
  auto found = connections_.find(action.connection);
  if (found == connections_.end()) return;
  MANTA_LOG(kWarning) << "a process is refused: " << action.why;
  (void)found->second->control->Send(rpc::ProcessExit{true, action.why});
}

void Daemon::Run(KillProcess& action) {
  Connection* connection = Find(action.process);
  if (connection != nullptr) Kill(*connection, action.why);
}

void Daemon::Run(CreateSegment& action) {
  absl::Status created = segments_.Create(action.segment, action.size_bytes);
  later_.push_back(SegmentCreated{action.segment, action.size_bytes, created.ok() ? "" : base::Message(created)});
}

void Daemon::Run(SendSegment& action) {
  Connection* connection = Find(action.to);
  if (connection == nullptr || connection->store == nullptr) return;
  const int fd = segments_.fd(action.segment);
  absl::Status sent =
      connection->store->Send(action.message, fd >= 0 ? std::span<const int>(&fd, 1) : std::span<const int>());
  if (!sent.ok()) Kill(*connection, "its store socket: " + base::Message(sent));
}

void Daemon::Run(PinScan& action) {
  std::set<uint64_t> pinned;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (const auto& [id, connection] : connections_) {
    if (connection->pins != nullptr) connection->pins->Collect(&pinned);
  }
  PinsScanned scanned;
  for (const PinScan::Range& range : action.ranges) {
    const bool is_pinned = transfers_.Revoke(range.location) ||
                           pinned.count(store::PinKey(range.location.segment, range.location.offset)) != 0;
    (is_pinned ? scanned.pinned : scanned.unpinned).push_back(range.object);
  }
  later_.push_back(std::move(scanned));
}

void Daemon::Run(SendObject& action) { transfers_.Send(std::move(action)); }

void Daemon::Run(WriteObject& action) { transfers_.Write(std::move(action)); }

void Daemon::Run(AbandonWrite& action) { transfers_.Abandon(action); }

void Daemon::Run(EndDaemon& action) {
  MANTA_LOG(kWarning) << "the node ends: " << action.reason;
  ending_ = true;
  KillAll();
  if (spec_.on_end) return spec_.on_end(action.reason, action.new_life);
  spec_.on_driver_gone();
}

void Daemon::ArmTimer() {
  const Time at = core_.next_deadline();
  if (at == timer_at_ && timer_ != 0) return;
  if (timer_ != 0) loop_->CancelTimer(timer_);
  timer_ = 0;
  timer_at_ = at;
  if (at == Time::max()) return;
  timer_ = loop_->RunAfter(std::max(Duration::zero(), at - loop_->Now()), [this] {
    timer_ = 0;
    Handle(NodeTick{});
  });
}

// ------------------------------------------------------------------ rings

void Daemon::DrainRings() {
  while (port_->Drain(kFramesPerDrain) == kFramesPerDrain) port_->RingBells();
  while (port_->Leave(rpc::Attending::kUnattended)) port_->Drain(kFramesPerDrain);
  port_->RingBells();
  ArmTimer();
}

// Zygotes of jobs that have ended, and what user code left behind when its process ended. Workers that we exec'ed have
// pidfds, whose callback wants their exit status.
void Daemon::ReapOthers() {
  siginfo_t child{};
  while (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid != 0 &&
         by_pid_.count(child.si_pid) == 0) {
    waitpid(child.si_pid, nullptr, WNOHANG);
    child = {};
  }
}

void Daemon::MendRings() {
  ReapOthers();
  if (port_->Mend()) DrainRings();
  loop_->RunAfter(kMendInterval, [this] { MendRings(); });
}

void Daemon::OnMessage(rpc::Channel& channel, rpc::Message message) {
  Handle(MessageReceived{channel.peer(), std::move(message)});
}

void Daemon::OnClosed(rpc::Channel& channel, const absl::Status& why) {
  Connection* connection = Find(channel.peer());
  if (connection != nullptr && !connection->ended) Kill(*connection, "it broke the protocol: " + base::Message(why));
}

// ------------------------------------------------------------------ processes

Daemon::Connection& Daemon::AddConnection(base::UniqueFd control) {
  auto connection = std::make_unique<Connection>();
  connection->id = next_connection_++;
  Connection& added = *connection;
  connections_[added.id] = std::move(connection);
  if (control) SetControl(added, std::move(control));
  return added;
}

void Daemon::SetControl(Connection& connection, base::UniqueFd control) {
  const int fd = control.get();
  connection.control_watch.Reset();
  connection.control = std::make_unique<rpc::DescriptorSocket>(std::move(control));
  connection.control_watch = loop_->WatchFd(fd, base::kReadable, [this, id = connection.id](int) { OnControl(id); });
}

Daemon::Connection* Daemon::Find(ProcessId process) {
  auto found = by_process_.find(process);
  return found == by_process_.end() ? nullptr : connections_[found->second].get();
}

void Daemon::WatchProcess(Connection& connection, base::UniqueFd pidfd, pid_t pid) {
  connection.pid = pid;
  connection.pidfd = std::move(pidfd);
  by_pid_[pid] = connection.id;
  connection.pidfd_watch = loop_->WatchFd(connection.pidfd.get(), base::kReadable, [this, id = connection.id](int) {
    auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& dead = *found->second;
    if (dead.exit_reason.empty()) dead.exit_reason = ReapChild(dead.pidfd.get());
    finished_watches_.push_back(std::move(dead.pidfd_watch));
    finished_watches_.back().Reset();
    // The zygote, its parent, tells how it ended; usually that is here already.
    const Program* const program = FindProgram(dead.job);
    const bool has_zygote = program != nullptr && program->zygote != nullptr;
    if (!dead.exit_reason.empty() || dead.kind == rpc::ProcessKind::kDriver || !has_zygote) {
      OnProcessGone(id);
    } else {
      loop_->RunAfter(kExitStatusWait, [this, id] { OnProcessGone(id); });
    }
  });
}

void Daemon::OnControl(uint64_t id) {
  while (true) {
    auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    absl::StatusOr<rpc::MessageWithDescriptors> received = connection.control->Receive();
    if (absl::IsUnavailable(received.status())) return;
    if (!received.ok()) {
      connection.control_watch.Reset();
      // The zygote died with the other end, or the worker did: its pidfd, or the zygote's loss, comes.
      if (connection.kind == rpc::ProcessKind::kWorker && connection.pid == 0) return;
      if (connection.kind == rpc::ProcessKind::kDriver) {
        OnProcessGone(id);  // an orderly end: the driver lives on, its job does not
      } else if (absl::IsCancelled(received.status())) {
        // It ends, and its pidfd will say so; if not, user code closed the socket.
        loop_->RunAfter(kEndWait, [this, id] {
          auto alive = connections_.find(id);
          if (alive != connections_.end()) Kill(*alive->second, "it closed its socket to the node");
        });
      } else {
        Kill(connection, "junk on its socket: " + base::Message(received.status()));
      }
      return;
    }
    if (std::holds_alternative<rpc::ProcessHello>(received->message)) {
      OnHello(connection, *std::move(received));
    } else {
      OnPeerMessage(connection, *std::move(received));
    }
  }
}

void Daemon::OnHello(Connection& connection, rpc::MessageWithDescriptors received) {
  auto& hello = std::get<rpc::ProcessHello>(received.message);
  const bool is_driver = connection.kind == rpc::ProcessKind::kDriver;
  if (received.descriptors.size() != (is_driver ? 4 : 3) || connection.store != nullptr) {
    Kill(connection, "a hello without its descriptors");
    return;
  }
  absl::StatusOr<store::PinTableView> pins = store::PinTableView::Map(received.descriptors[1]);
  if (!pins.ok()) {
    Kill(connection, "its pin table: " + base::Message(pins.status()));
    return;
  }
  connection.pins = std::make_unique<store::PinTableView>(*std::move(pins));
  if (!TakeTaskEvents(connection, hello.pid, received.descriptors[2])) return;
  connection.store = std::make_unique<rpc::DescriptorSocket>(std::move(received.descriptors[0]));
  connection.store_watch =
      loop_->WatchFd(connection.store->fd(), base::kReadable, [this, id = connection.id](int) { OnStoreRequest(id); });
  if (connection.kind == rpc::ProcessKind::kDriver) {
    hello.kind = rpc::ProcessKind::kDriver;
    hello.process = {};
    connection.name_space = hello.name_space;
    connection.program = std::move(received.descriptors[3]);
    connection.argv = std::exchange(hello.argv, {});
    connection.files = std::exchange(hello.files, {});
    WatchDriver(connection);
  } else {
    hello.kind = rpc::ProcessKind::kWorker;
    hello.process = connection.process;  // what we started it as, whatever it says
  }
  Handle(HelloReceived{connection.id, hello});
}

void Daemon::OnPeerMessage(Connection& connection, rpc::MessageWithDescriptors received) {
  if (!connection.process.is_user_process() || connection.store == nullptr) {
    return Kill(connection, std::string(rpc::MessageName(received.message)) + " before its hello");
  }
  if (auto* offer = std::get_if<rpc::PeerOffer>(&received.message)) {
    offer->from = connection.process;  // the node vouches for it
    if (offer->to == DaemonOf(core_.node())) {
      OnOwnRingOffer(connection, *offer, std::move(received.descriptors));
      return;
    }
    DeliverOffer(std::move(received));
  } else if (auto* answer = std::get_if<rpc::PeerAnswer>(&received.message)) {
    answer->from = connection.process;
    PassAnswer(*answer, Borrow(received.descriptors));
  } else if (std::holds_alternative<rpc::PeerBroke>(received.message)) {
    // If what it wrote to us is bad, too, it ends, and its word counts for nothing.
    if (connection.ring != nullptr) port_->LookAt(connection.ring);
    if (connection.kill_reason.empty()) Handle(MessageReceived{connection.process, std::move(received.message)});
  } else if (const auto* dial = std::get_if<rpc::PeerDial>(&received.message)) {
    DialPeer(connection.process, dial->peer);
  } else {
    Kill(connection, std::string(rpc::MessageName(received.message)) + " on its control socket");
  }
}

// To a process that still joins it waits: its caller was granted it a moment ago.
void Daemon::DeliverOffer(rpc::MessageWithDescriptors received) {
  const auto& offer = std::get<rpc::PeerOffer>(received.message);
  Connection* target = Find(offer.to);
  const bool lives = target != nullptr && !target->ended;
  if (lives && target->ring == nullptr && target->offers.size() < kOffersWaitingMax) {
    target->offers.push_back(std::move(received));
    return;
  }
  if (lives && target->ring != nullptr && target->control->Send(offer, Borrow(received.descriptors)).ok()) return;
  RefuseOffer(offer, ToString(offer.to) + " is not there");
}

void Daemon::RefuseOffer(const rpc::PeerOffer& offer, const std::string& why) {
  PassAnswer({.from = offer.to, .to = offer.from, .mark = 0, .offer_mark = offer.mark, .refused = why}, {});
}

// Whoever has offered waits for it: descriptors may find no room on the way, a refusal does in time.
void Daemon::PassAnswer(rpc::PeerAnswer answer, std::span<const int> descriptors) {
  Connection* asker = Find(answer.to);
  if (asker == nullptr || asker->ended) return;
  const absl::Status sent = asker->control->Send(answer, descriptors);
  if (sent.ok()) return;
  if (answer.refused.empty()) answer.refused = "the answer could not be passed on: " + base::Message(sent);
  loop_->RunAfter(kPassAgain, [this, answer = std::move(answer)] { PassAnswer(answer, {}); });
}

void Daemon::OnOwnRingOffer(Connection& connection, const rpc::PeerOffer& message, std::vector<base::UniqueFd> fds) {
  if (fds.size() != 4 || connection.ring != nullptr || !connection.process.is_user_process()) {
    Kill(connection, "a ring offer out of order");
    return;
  }
  rpc::ShmOffer offer{std::move(fds[0]), {std::move(fds[1]), std::move(fds[2]), std::move(fds[3])}, message.mark};
  rpc::ShmOffer ours;
  absl::StatusOr<rpc::ShmChannel*> ring = port_->Accept(std::move(offer), this, &ours);
  if (!ring.ok()) {
    Kill(connection, "its ring: " + base::Message(ring.status()));
    return;
  }
  connection.ring = *ring;
  connection.ring->set_peer(connection.process);
  const std::array<int, 3> answer_fds = {ours.attention.page.get(), ours.attention.sleep_bell.get(),
                                         ours.attention.io_bell.get()};
  (void)connection.control->Send(rpc::PeerAnswer{.from = DaemonOf(core_.node()),
                                                 .to = connection.process,
                                                 .mark = ours.mark,
                                                 .offer_mark = message.mark,
                                                 .refused = {}},
                                 answer_fds);
  for (rpc::Message& waiting : connection.waiting) (void)connection.ring->Send(waiting);
  connection.waiting.clear();
  port_->RingBells();
  for (rpc::MessageWithDescriptors& waiting : std::exchange(connection.offers, {})) {
    DeliverOffer(std::move(waiting));
  }
  for (rpc::MessageWithDescriptors& waiting : std::exchange(connection.links, {})) {
    base::UniqueFd socket;
    if (!waiting.descriptors.empty()) socket = std::move(waiting.descriptors[0]);
    OnPeerLink(connection.process, std::get<rpc::PeerLink>(std::move(waiting.message)), std::move(socket));
  }
}

void Daemon::OnStoreRequest(uint64_t id) {
  while (true) {
    auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    absl::StatusOr<rpc::MessageWithDescriptors> received = connection.store->Receive();
    if (absl::IsUnavailable(received.status())) return;
    if (!received.ok()) {
      connection.store_watch.Reset();
      if (!absl::IsCancelled(received.status())) Kill(connection, "junk on its store socket");
      return;
    }
    const rpc::Message& message = received->message;
    if (!std::holds_alternative<rpc::SegmentRequest>(message) && !std::holds_alternative<rpc::SegmentMap>(message) &&
        !std::holds_alternative<rpc::SegmentReturn>(message)) {
      Kill(connection, std::string(rpc::MessageName(message)) + " on its store socket");
      return;
    }
    // What the process said on its ring before (seals, releases) counts for the answer.
    DrainRings();
    Handle(MessageReceived{connection.process, std::move(received->message)});
  }
}

// "" unless the kernel has killed one more process of this node's cgroup than is known. Which one it does not say: the
// deaths by SIGKILL take the kills in turn.
std::string Daemon::WhyKilledByKernel(const Connection& dead) {
  if (!dead.kill_reason.empty() || !dead.exit_reason.starts_with(kKilled)) return "";
  if (base::OomKillCount() <= oom_kills_known_) return "";
  ++oom_kills_known_;
  return " by the kernel, as it seems, which was out of memory: the limit is " +
         std::to_string(base::MemoryLimitBytes() >> 20) + " MiB";
}

void Daemon::OnProcessGone(uint64_t id) {
  auto found = connections_.find(id);
  if (found == connections_.end() || found->second->ended) return;
  Connection& connection = *found->second;
  connection.ended = true;
  const bool is_driver = connection.kind == rpc::ProcessKind::kDriver;
  std::string reason = connection.kill_reason;
  if (!reason.empty() && !connection.exit_reason.empty()) reason += ": ";
  reason += connection.exit_reason + WhyKilledByKernel(connection);
  if (reason.empty()) reason = is_driver ? "the driver ended" : "ended";
  if (connection.ring != nullptr) {
    port_->PeerGone(connection.ring, absl::UnavailableError("the process ended"));
    port_->Remove(connection.ring);
    connection.ring = nullptr;
  }
  if (connection.has_slot) polling_page_->ClearSlot(connection.polling_slot);
  if (connection.pid != 0 && !is_driver) kill(-connection.pid, SIGKILL);  // what user code had started
  const ProcessId process = connection.process;
  task_rings_.Ended(id);
  if (!is_driver) output_->Close(process);
  by_pid_.erase(connection.pid);
  by_process_.erase(process);
  for (const rpc::MessageWithDescriptors& waiting : connection.offers) {
    RefuseOffer(std::get<rpc::PeerOffer>(waiting.message), ToString(process) + " ended before it had joined");
  }
  finished_watches_.clear();
  // Watches end here; the connection's own callback may be on the stack, so it goes at the next turn.
  std::shared_ptr<Connection> gone(std::move(found->second));
  gone->control_watch.Reset();
  gone->store_watch.Reset();
  gone->pidfd_watch.Reset();
  connections_.erase(found);
  loop_->Post([gone] {});
  if (process.is_user_process()) Handle(ProcessEnded{process, reason});
  if (is_driver && spec_.on_driver_gone) {
    ending_ = true;
    loop_->Post([this] { spec_.on_driver_gone(); });
  }
}

void Daemon::Kill(Connection& connection, const std::string& why) {
  if (connection.ended) return;
  if (connection.kill_reason.empty()) connection.kill_reason = why;
  MANTA_LOG(kWarning) << "kill " << ToString(connection.process) << ": " << why;
  if (connection.pidfd) {
    (void)base::SendSignal(connection.pidfd.get(), SIGKILL);  // its pidfd tells when it is done
    return;
  }
  loop_->Post([this, id = connection.id] { OnProcessGone(id); });
}

void Daemon::KillAll() {
  ending_ = true;
  const auto end_zygote = [](Program& program) {
    program.zygote.reset();
    if (program.zygote_pidfd) (void)base::SendSignal(program.zygote_pidfd.get(), SIGKILL);
  };
  for (auto& [job, program] : programs_) end_zygote(program);
  if (own_program_) end_zygote(*own_program_);
  for (auto& [id, connection] : connections_) {
    if (connection->kind != rpc::ProcessKind::kDriver && connection->pid != 0) {
      kill(-connection->pid, SIGKILL);
      if (connection->pidfd) (void)base::SendSignal(connection->pidfd.get(), SIGKILL);
    }
  }
  KillChildren();
}

}  // namespace manta::runtime

#include "runtime/worker/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/socket.h"
#include "base/uv_event_loop.h"
#include "rpc/descriptor_socket.h"
#include "rpc/shm_port.h"
#include "runtime/worker/remote_peers.h"

namespace manta::runtime {
namespace {

constexpr size_t kFramesPerDrain = 256;
constexpr uint64_t kLongCallNs = 20'000;
constexpr Duration kEndedWithin = std::chrono::seconds(1);
constexpr Duration kForgetAgain = std::chrono::milliseconds(10);
constexpr Duration kDropDelay = std::chrono::milliseconds(10);
constexpr Duration kCloseLook = std::chrono::milliseconds(1);
constexpr Duration kFollowerLook = std::chrono::milliseconds(100);
constexpr Duration kMendInterval = std::chrono::milliseconds(500);
// An unattended process is not drained at once: user code is likely to come back, or more frames to come.
constexpr useconds_t kUnattendedPauseUs = 50;

// What is mapped stays mapped: who reads an object there may go on.
void CloseSharedMemory() {
  DIR* const fds = opendir("/proc/self/fd");
  if (fds == nullptr) return;
  while (const dirent* entry = readdir(fds)) {
    char target[64];
    const ssize_t size = readlinkat(dirfd(fds), entry->d_name, target, sizeof target);
    if (size > 0 && std::string_view(target, static_cast<size_t>(size)).starts_with("/memfd:manta-")) {
      close(std::atoi(entry->d_name));
    }
  }
  closedir(fds);
}

}  // namespace

class Process::Impl : private rpc::Channel::Handler, private RemotePeers::Handler {
 public:
  Impl(Host* host, base::UniqueFd socket) : host_(host), control_(std::move(socket)) {}
  ~Impl() override { Close(); }

  absl::Status Join(JoinSpec& spec);
  void Submit(ProcessEvent event);
  void SubmitDrop(Dropped* dropped);
  bool WaitUntil(const std::function<bool()>& done, Time deadline, rpc::Attending after);
  std::string RunExecutor();
  void Close();
  void AfterForkInChild() noexcept;
  ProcessCounts Counts();

  // Set by Join, then immutable.
  ProcessId self;
  JobId job = 0;
  std::string name_space;
  std::unique_ptr<store::StoreClient> store;
  std::shared_ptr<store::PinTable> Pins();

 private:
  // rpc::Channel::Handler, under the lock.
  void OnMessage(rpc::Channel& channel, rpc::Message message) override;
  void OnClosed(rpc::Channel& channel, const absl::Status& why) override;

  // RemotePeers::Handler, on the I/O thread, without the lock (DialPeer: any thread).
  void DialPeer(ProcessId peer) override;
  void OnPeerConnected(ProcessId peer) override;
  void OnPeerUnreachable(ProcessId peer, const std::string& why) override;
  void OnPeerMessages(ProcessId from, std::vector<rpc::Message>& messages) override;
  void OnPeerBroke(ProcessId peer, const absl::Status& why) override;
  bool IsRemote(ProcessId peer) const { return peer.node != self.node; }

  absl::StatusOr<rpc::MessageWithDescriptors> AwaitControl(Time deadline);
  void RunIoThread();
  void OnControl();
  void OnControlMessage(rpc::MessageWithDescriptors received) MANTA_REQUIRES(mutex_);
  void OnPeerOffer(const rpc::PeerOffer& offer, std::vector<base::UniqueFd> fds) MANTA_REQUIRES(mutex_);
  void SendRefusal(const rpc::PeerAnswer& refusal) MANTA_REQUIRES(mutex_);
  void OnPeerAnswer(const rpc::PeerAnswer& answer, std::vector<base::UniqueFd> fds) MANTA_REQUIRES(mutex_);
  void OnIoBell();
  void ForgetSegment(uint64_t segment);
  void DrainRings();
  void MendRings();
  void ReportBroken() MANTA_REQUIRES(mutex_);
  void OnDaemonGone(const std::string& why);

  void Handle(ProcessEvent event) MANTA_REQUIRES(mutex_);
  void HandleDropped() MANTA_REQUIRES(mutex_);
  void Refuse(const ProcessEvent& event);
  void ForgetDropped();
  void Run(SendMessage& action) MANTA_REQUIRES(mutex_);
  void Run(Connect& action) MANTA_REQUIRES(mutex_);
  void SendDial(ProcessId peer) MANTA_REQUIRES(mutex_);
  void Run(ExitProcess& action) MANTA_REQUIRES(mutex_);
  void Lead(const std::function<bool()>& done, Time deadline) MANTA_REQUIRES(mutex_);
  void LeaveRings(rpc::Attending after) MANTA_REQUIRES(mutex_);
  void EndTurn() MANTA_REQUIRES(mutex_);
  void EndCallingTurn() MANTA_REQUIRES(mutex_);
  void ArmTimer() MANTA_REQUIRES(mutex_);
  void OnTimer();
  void StartExecutors() MANTA_REQUIRES(mutex_);
  void ExecutorLoop();
  void CheckAfterLongCall();
  // Runs `fn` on the I/O thread; never, once it has ended.
  void Post(base::EventLoop::Function fn);

  Host* const host_;
  rpc::DescriptorSocket control_;  // Send under the lock, Receive by the I/O thread
  base::Mutex mutex_;              // the core lock
  base::CondVar follower_wake_;

  std::unique_ptr<rpc::ShmPort> port_;
  std::optional<TaskEvents> task_events_;  // written by the core
  std::unique_ptr<ProcessCore> core_ MANTA_GUARDED_BY(mutex_);
  std::vector<ProcessAction> actions_ MANTA_GUARDED_BY(mutex_);
  struct Peer {
    rpc::Channel* send = nullptr;            // the first channel made: order holds
    std::vector<rpc::ShmChannel*> channels;  // two if both offered at once
    rpc::ShmChannel* accepted = nullptr;     // of these, the one that the peer has offered
    // The peer may not know that its offer was accepted, until it says something there.
    bool is_in_doubt(const rpc::Channel* channel) const { return channel == accepted && !accepted->has_received(); }
  };
  void DropAccepted(Peer* peer) MANTA_REQUIRES(mutex_);
  std::map<ProcessId, Peer> peers_ MANTA_GUARDED_BY(mutex_);
  std::map<uint32_t, ProcessId> offers_ MANTA_GUARDED_BY(mutex_);  // by mark
  std::unique_ptr<RemotePeers> remote_;                            // reset after the I/O thread's end
  std::vector<rpc::PeerBroke> broken_ MANTA_GUARDED_BY(mutex_);    // in this turn
  Time now_ MANTA_GUARDED_BY(mutex_){};

  using Runnable = std::variant<Execute, ConstructActor>;
  std::deque<Runnable> runnable_ MANTA_GUARDED_BY(mutex_);
  std::atomic<size_t> runnable_count_{0};
  size_t executors_ MANTA_GUARDED_BY(mutex_) = 0;
  size_t executors_busy_ MANTA_GUARDED_BY(mutex_) = 0;
  std::vector<std::thread> extra_executors_ MANTA_GUARDED_BY(mutex_);
  std::atomic<bool> exiting_{false};
  std::string exit_reason_ MANTA_GUARDED_BY(mutex_);

  bool leader_active_ MANTA_GUARDED_BY(mutex_) = false;
  std::thread::id leader_ MANTA_GUARDED_BY(mutex_);
  size_t followers_ MANTA_GUARDED_BY(mutex_) = 0;
  bool something_ready_ MANTA_GUARDED_BY(mutex_) = false;  // in this turn, for some waiting thread
  rpc::PeerAttention::Rang rang_ MANTA_GUARDED_BY(mutex_) = rpc::PeerAttention::Rang::kNothing;

  std::atomic<Dropped*> dropped_{nullptr};
  std::atomic<bool> drop_timer_armed_{false};
  Time armed_ MANTA_GUARDED_BY(mutex_) = Time::max();

  base::Mutex close_mutex_;  // of what Close frees though any thread may ask for it; the innermost lock
  std::shared_ptr<store::PinTable> pins_ MANTA_GUARDED_BY(close_mutex_);
  std::unique_ptr<base::UvEventLoop> loop_ = std::make_unique<base::UvEventLoop>();  // reset after the I/O thread's end
  std::thread io_thread_;
  base::FdWatch control_watch_;
  base::FdWatch bell_watch_;
  base::TimerId timer_ = 0;                             // I/O thread
  std::array<std::atomic<int>, 2> sockets_ = {-1, -1};  // for AfterForkInChild
  std::atomic<bool> closed_{false};
  std::atomic<bool> gone_{false};  // there is no core any more
  bool is_worker_ = false;
};

// ------------------------------------------------------------------ joining

absl::Status Process::Impl::Join(JoinSpec& spec) {
  const Time deadline = base::SystemClock().Now() + spec.timeout;
  is_worker_ = spec.hello.kind == rpc::ProcessKind::kWorker;
  spec.hello.pid = getpid();
  MANTA_ASSIGN_OR_RETURN(auto store_pair, base::SocketPair(base::SocketKind::kSeqPacket));
  MANTA_ASSIGN_OR_RETURN(store::PinTable pin_table, store::PinTable::Create());
  auto pins = std::make_shared<store::PinTable>(std::move(pin_table));
  sockets_[0] = control_.fd();
  sockets_[1] = store_pair.first.get();
  MANTA_ASSIGN_OR_RETURN(TaskEvents task_events, TaskEvents::Create(spec.function_name));
  task_events_.emplace(std::move(task_events));
  const base::UniqueFd task_events_fd = task_events_->TakeFd();
  std::vector<int> hello_fds = {store_pair.second.get(), pins->fd(), task_events_fd.get()};
  if (!is_worker_) hello_fds.push_back(spec.program.get());
  MANTA_RETURN_IF_ERROR(control_.Send(spec.hello, hello_fds));
  store_pair.second.reset();
  {
    base::MutexLock lock(&close_mutex_);
    pins_ = std::move(pins);
  }

  MANTA_ASSIGN_OR_RETURN(rpc::MessageWithDescriptors answer, AwaitControl(deadline));
  const auto* welcome = std::get_if<rpc::ProcessWelcome>(&answer.message);
  if (welcome == nullptr || answer.descriptors.size() != 1) return absl::InternalError("no welcome from the node");
  self = welcome->process;
  job = welcome->job;
  name_space = welcome->name_space;
  store = std::make_unique<store::StoreClient>(self.node,
                                               std::make_unique<rpc::DescriptorSocket>(std::move(store_pair.first)));
  MANTA_ASSIGN_OR_RETURN(rpc::PollingSlot slot, rpc::PollingSlot::Open(answer.descriptors[0].get(),
                                                                       welcome->polling_slot, base::AvailableCpus()));
  MANTA_ASSIGN_OR_RETURN(port_, rpc::ShmPort::Create({}, std::move(slot)));

  MANTA_ASSIGN_OR_RETURN(rpc::ShmOffer offer, port_->Offer());
  const std::array<int, 4> offer_fds = {offer.ring.get(), offer.attention.page.get(), offer.attention.sleep_bell.get(),
                                        offer.attention.io_bell.get()};
  MANTA_RETURN_IF_ERROR(control_.Send(rpc::PeerOffer{self, DaemonOf(self.node), offer.mark}, offer_fds));
  base::MutexLock lock(&mutex_);
  core_ = std::make_unique<ProcessCore>(ProcessOptions{
      .self = self,
      .job = job,
      .name_space = name_space,
      .function_name = std::move(spec.function_name),
      .task_events = &*task_events_,
  });
  offers_[offer.mark] = DaemonOf(self.node);
  MANTA_ASSIGN_OR_RETURN(answer, AwaitControl(deadline));
  OnControlMessage(std::move(answer));
  if (peers_.count(DaemonOf(self.node)) == 0) return absl::InternalError("no ring to the node");
  LeaveRings(rpc::Attending::kUnattended);
  remote_ = std::make_unique<RemotePeers>(loop_.get(), self, static_cast<RemotePeers::Handler*>(this));
  io_thread_ = std::thread([this] { RunIoThread(); });
  return absl::OkStatus();
}

absl::StatusOr<rpc::MessageWithDescriptors> Process::Impl::AwaitControl(Time deadline) {
  absl::StatusOr<rpc::MessageWithDescriptors> received = control_.ReceiveBefore(deadline);
  if (absl::IsCancelled(received.status())) {
    return absl::UnavailableError("the node daemon ended while this process joined it; its log says why");
  }
  if (!received.ok()) return received;
  if (const auto* exit = std::get_if<rpc::ProcessExit>(&received->message)) {
    return absl::FailedPreconditionError(base::AbslView(exit->reason));
  }
  return received;
}

// ------------------------------------------------------------------ submitting

void Process::Impl::Submit(ProcessEvent event) {
  base::MutexLock lock(&mutex_);
  if (core_ == nullptr) return Refuse(event);
  now_ = base::SystemClock().Now();
  HandleDropped();
  const bool is_call = std::holds_alternative<SubmitCall>(event);
  Handle(std::move(event));
  if (is_call && !leader_active_) return EndCallingTurn();
  EndTurn();
}

void Process::Impl::SubmitDrop(Dropped* dropped) {
  dropped->next = dropped_.load(std::memory_order_relaxed);
  // With Close, which says that it is gone, and then forgets what is in the list: one of the two sees the other.
  while (
      !dropped_.compare_exchange_weak(dropped->next, dropped, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  if (gone_) return ForgetDropped();
  if (!drop_timer_armed_.exchange(true, std::memory_order_relaxed)) {
    Post([this] {
      loop_->RunAfter(kDropDelay, [this] {
        drop_timer_armed_ = false;
        base::MutexLock lock(&mutex_);
        if (core_ == nullptr) return;
        now_ = base::SystemClock().Now();
        HandleDropped();
        EndTurn();
      });
    });
  }
}

// The process has left the cluster: a call ends here and now.
void Process::Impl::Refuse(const ProcessEvent& event) {
  const auto* call = std::get_if<SubmitCall>(&event);
  if (call == nullptr) return;
  rpc::ErrorInfo error;
  error.code = rpc::ErrorCode::kShutdown;
  error.message = "this process has left the cluster (Shutdown)";
  for (const Cookie handle : call->returns) host_->OnComplete({handle, {}, error});
}

void Process::Impl::ForgetDropped() {
  Dropped* list = dropped_.exchange(nullptr);
  while (list != nullptr) {
    Dropped* const next = list->next;
    list->forget(list);
    list = next;
  }
}

void Process::Impl::HandleDropped() {
  Dropped* list = dropped_.exchange(nullptr, std::memory_order_acquire);
  Dropped* oldest_first = nullptr;
  while (list != nullptr) {
    Dropped* const next = list->next;
    list->next = oldest_first;
    oldest_first = list;
    list = next;
  }
  while (oldest_first != nullptr) {
    Dropped* const next = oldest_first->next;
    Handle(RefDropped{oldest_first->object, oldest_first->handle});
    oldest_first->forget(oldest_first);
    oldest_first = next;
  }
}

void Process::Impl::Handle(ProcessEvent event) {
  std::vector<ProcessAction> actions = std::move(actions_);
  actions.clear();
  core_->Handle(now_, std::move(event), &actions);
  for (ProcessAction& action : actions) {
    if (auto* send = std::get_if<SendMessage>(&action)) {
      Run(*send);
    } else if (auto* complete = std::get_if<Complete>(&action)) {
      host_->OnComplete(std::move(*complete));
      something_ready_ = true;
    } else if (const auto* elsewhere = std::get_if<Elsewhere>(&action)) {
      host_->OnElsewhere(*elsewhere);
      something_ready_ = true;
    } else if (auto* execute = std::get_if<Execute>(&action)) {
      runnable_.emplace_back(std::move(*execute));
      runnable_count_.store(runnable_.size(), std::memory_order_release);
      something_ready_ = true;
    } else if (auto* construct = std::get_if<ConstructActor>(&action)) {
      runnable_.emplace_back(std::move(*construct));
      runnable_count_.store(runnable_.size(), std::memory_order_release);
      something_ready_ = true;
    } else if (auto* connect = std::get_if<Connect>(&action)) {
      Run(*connect);
    } else if (auto* disconnect = std::get_if<Disconnect>(&action)) {
      if (IsRemote(disconnect->peer) && remote_ != nullptr) remote_->Drop(disconnect->peer);
      auto peer = peers_.find(disconnect->peer);
      if (peer == peers_.end()) continue;
      for (rpc::ShmChannel* channel : peer->second.channels) port_->Remove(channel);
      peers_.erase(peer);
    } else if (auto* found = std::get_if<ActorLookedUp>(&action)) {
      host_->OnActorLookedUp(*found);
      something_ready_ = true;
    } else if (auto* list = std::get_if<NodesListed>(&action)) {
      host_->OnNodesListed(std::move(*list));
      something_ready_ = true;
    } else if (auto* changed = std::get_if<ActorChanged>(&action)) {
      host_->OnActorChanged(changed->update);
    } else if (auto* waiting = std::get_if<WaitingFor>(&action)) {
      MANTA_LOG(kInfo) << ToString(waiting->object) << " waits: " << waiting->reason;
      host_->OnWaitingFor(*waiting);
    } else if (auto* exit = std::get_if<ExitProcess>(&action)) {
      Run(*exit);
    } else if (auto* line = std::get_if<LogLine>(&action)) {
      MANTA_LOG_AT(line->level) << line->text;
    }
  }
  actions.clear();
  actions_ = std::move(actions);
}

void Process::Impl::Run(SendMessage& action) {
  if (IsRemote(action.to)) {
    // If it is dead, the core hears of it in its turn.
    if (remote_ != nullptr) (void)remote_->Send(action.to, action.message);
    return;
  }
  auto peer = peers_.find(action.to);
  // It is dead or the daemon is gone: the core hears of it in its turn.
  if (peer == peers_.end() || peer->second.send == nullptr) return;
  absl::Status sent = peer->second.send->Send(action.message);
  if (!sent.ok())
    MANTA_LOG(kError) << rpc::MessageName(action.message) << " to " << ToString(action.to) << ": "
                      << base::Message(sent);
}

void Process::Impl::Run(Connect& action) {
  if (IsRemote(action.peer)) return SendDial(action.peer);
  absl::StatusOr<rpc::ShmOffer> offer = port_->Offer();
  if (offer.ok()) {
    const std::array<int, 4> fds = {offer->ring.get(), offer->attention.page.get(), offer->attention.sleep_bell.get(),
                                    offer->attention.io_bell.get()};
    absl::Status sent = control_.Send(rpc::PeerOffer{self, action.peer, offer->mark}, fds);
    if (sent.ok()) {
      offers_[offer->mark] = action.peer;
      return;
    }
    port_->Withdraw(offer->mark);
    offer = sent;
  }
  MANTA_LOG(kError) << "no channel to " << ToString(action.peer) << ": " << base::Message(offer.status());
  Post([this, peer = action.peer, why = base::Message(offer.status())] { Submit(PeerUnreachable{peer, why}); });
}

void Process::Impl::Run(ExitProcess& action) {
  exit_reason_ = action.reason;
  exiting_.store(true, std::memory_order_release);
  something_ready_ = true;
}

// The turn of a thread that made a call, while nobody leads.
void Process::Impl::EndCallingTurn() {
  // A worker that sleeps may, when woken, take this core and answer before the bell has been rung: nobody need be rung
  // for that.
  if (port_->WillRingSleeper()) {
    port_->Attend();
  } else if (port_->state() == rpc::Attending::kUnattended) {
    return EndTurn();
  }
  EndTurn();
  LeaveRings(rpc::Attending::kUnattended);
}

// Tells peers and waiting threads what this turn has done. Before the lock is given up.
void Process::Impl::EndTurn() {
  if (!broken_.empty()) ReportBroken();
  const rpc::PeerAttention::Rang rang = port_->RingBells();
  if (rang == rpc::PeerAttention::Rang::kSleeper) rang_ = rang;
  if (std::exchange(something_ready_, false)) {
    StartExecutors();
    if (leader_active_ && leader_ != std::this_thread::get_id()) port_->WakeWaiter();
    if (followers_ != 0) follower_wake_.NotifyAll();
  }
  ArmTimer();
}

// ------------------------------------------------------------------ waiting

bool Process::Impl::WaitUntil(const std::function<bool()>& done, Time deadline, rpc::Attending after) {
  if (done()) return true;
  base::MutexLock lock(&mutex_);
  while (!done() && !closed_) {
    const Time now = base::SystemClock().Now();
    if (now >= deadline) break;
    if (!leader_active_) {
      Lead(done, deadline);
    } else {
      ++followers_;
      follower_wake_.WaitFor(&mutex_, std::min(kFollowerLook, deadline - now));
      --followers_;
    }
  }
  const bool is_done = done();
  if (!leader_active_) {
    if (followers_ != 0) {
      follower_wake_.NotifyAll();  // one of them leads now
    } else if (port_ != nullptr) {
      LeaveRings(after);
    }
  }
  return is_done;
}

void Process::Impl::Lead(const std::function<bool()>& done, Time deadline) {
  const auto done_or_closed = [this, &done] { return done() || closed_.load(std::memory_order_acquire); };
  leader_active_ = true;
  leader_ = std::this_thread::get_id();
  while (true) {
    now_ = base::SystemClock().Now();
    HandleDropped();
    port_->Drain(kFramesPerDrain);
    EndTurn();
    if (done() || closed_ || now_ >= deadline) break;
    const rpc::PeerAttention::Rang rang = std::exchange(rang_, rpc::PeerAttention::Rang::kNothing);
    mutex_.Unlock();
    port_->Wait(deadline, rang, done_or_closed);
    mutex_.Lock();
  }
  leader_active_ = false;
}

void Process::Impl::LeaveRings(rpc::Attending after) {
  if (after == rpc::Attending::kBusy && host_->HasCallsPending()) after = rpc::Attending::kUnattended;
  while (port_->Leave(after)) {
    now_ = base::SystemClock().Now();
    port_->Drain(kFramesPerDrain);
    port_->RingBells();
  }
  EndTurn();
}

// ------------------------------------------------------------------ executors

std::string Process::Impl::RunExecutor() {
  {
    base::MutexLock lock(&mutex_);
    ++executors_;
  }
  ExecutorLoop();
  base::MutexLock lock(&mutex_);
  return exit_reason_;
}

void Process::Impl::ExecutorLoop() {
  const std::function<bool()> something_to_do = [this] {
    return runnable_count_.load(std::memory_order_acquire) != 0 || exiting_.load(std::memory_order_acquire);
  };
  while (true) {
    WaitUntil(something_to_do, Time::max(), rpc::Attending::kBusy);
    Runnable next;
    {
      base::MutexLock lock(&mutex_);
      if (runnable_.empty()) {
        if (exiting_ || closed_) return;
        continue;
      }
      next = std::move(runnable_.front());
      runnable_.pop_front();
      runnable_count_.store(runnable_.size(), std::memory_order_release);
      ++executors_busy_;
    }
    ProcessEvent ran = std::holds_alternative<Execute>(next)
                           ? ProcessEvent(host_->Execute(std::move(std::get<Execute>(next).request)))
                           : ProcessEvent(host_->Construct(std::move(std::get<ConstructActor>(next).spec),
                                                           std::get<ConstructActor>(next).incarnation));
    if (const auto* call = std::get_if<Executed>(&ran); call != nullptr && call->run_ns > kLongCallNs)
      CheckAfterLongCall();
    {
      base::MutexLock lock(&mutex_);
      --executors_busy_;
    }
    Submit(std::move(ran));
    host_->AfterExecuted();
  }
}

// User code may have closed this process's descriptors, without which it can ring nobody, or overwritten what it
// shares. Then the node ends it, and it must not answer: whoever was answered would give it the next call. One look
// costs a short call too much, and a call that does such a thing is not short.
void Process::Impl::CheckAfterLongCall() {
  bool whole = fcntl(control_.fd(), F_GETFD) >= 0;
  if (whole) {
    base::MutexLock lock(&mutex_);
    now_ = base::SystemClock().Now();
    port_->LookAtAll();
    whole = broken_.empty();
    EndTurn();
  }
  if (whole) return;
  std::this_thread::sleep_for(kEndedWithin);
  OnDaemonGone("user code closed this process's descriptors, or overwrote its rings");
}

// An actor with MaxConcurrency, or a task that lends its CPU, needs threads beside the main one.
void Process::Impl::StartExecutors() {
  if (executors_ == 0) return;  // a driver, or before RunExecutor
  while (runnable_.size() + executors_busy_ > executors_ && !exiting_) {
    ++executors_;
    extra_executors_.emplace_back([this] { ExecutorLoop(); });
  }
}

// ------------------------------------------------------------------ messages

void Process::Impl::OnMessage(rpc::Channel& channel, rpc::Message message) {
  mutex_.AssertHeld();
  if (const auto* died = std::get_if<rpc::ProcessDied>(&message)) {
    // First what it left for us, then the news (runtime/core.h, contract 2).
    if (IsRemote(died->process) && remote_ != nullptr) remote_->Drop(died->process);
    auto peer = peers_.find(died->process);
    if (peer != peers_.end()) {
      const std::vector<rpc::ShmChannel*> channels = peer->second.channels;
      for (rpc::ShmChannel* dead : channels) port_->PeerGone(dead, absl::UnavailableError("the peer died"));
      for (rpc::ShmChannel* dead : channels) port_->Remove(dead);
      peers_.erase(died->process);
    }
  } else if (const auto* node = std::get_if<rpc::NodeDied>(&message)) {
    if (remote_ != nullptr) remote_->DropNode(node->node);
  } else if (const auto* output = std::get_if<rpc::Output>(&message)) {
    host_->OnOutput(*output);
    return;
  } else if (const auto* gone = std::get_if<rpc::SegmentGone>(&message)) {
    // Unmapping takes too long for the core lock.
    Post([this, segment = gone->segment] { ForgetSegment(segment); });
    return;
  }
  Handle(MessageReceived{channel.peer(), std::move(message)});
}

void Process::Impl::ForgetSegment(uint64_t segment) {
  if (store->Forget(segment)) return;
  loop_->RunAfter(kForgetAgain, [this, segment] { ForgetSegment(segment); });
}

void Process::Impl::OnClosed(rpc::Channel& channel, const absl::Status& why) {
  mutex_.AssertHeld();
  const std::string text = "the channel to " + ToString(channel.peer()) + " closed: " + base::Message(why);
  if (absl::IsUnavailable(why)) {
    MANTA_LOG(kInfo) << text;  // its death is reported by the daemon
  } else {
    MANTA_LOG(kWarning) << text;
    broken_.push_back({channel.peer(), base::Message(why)});
  }
}

// A broken ring never mends, so a process ends with it: which, the node decides (rpc/schema/node.capnp). Both sides can
// write to a ring; but if the node's ring is broken, too, it was this process that wrote to all of them.
void Process::Impl::ReportBroken() {
  const ProcessId daemon = DaemonOf(self.node);
  const auto own = peers_.find(daemon);
  if (own != peers_.end()) port_->LookAt(own->second.channels.front());
  const std::vector<rpc::PeerBroke> broken = std::exchange(broken_, {});
  const auto is_daemon = [daemon](const rpc::PeerBroke& ring) { return ring.peer == daemon; };
  const auto own_ring = std::find_if(broken.begin(), broken.end(), is_daemon);
  if (own_ring == broken.end()) {
    for (const rpc::PeerBroke& ring : broken) (void)control_.Send(ring);
  } else if (is_worker_) {
    (void)control_.Send(*own_ring);
  } else {
    shutdown(control_.fd(), SHUT_RDWR);  // the end of the job, on both sides
  }
}

// ------------------------------------------------------------------ the I/O thread

void Process::Impl::RunIoThread() {
  pthread_setname_np(pthread_self(), "manta-io");
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are the user's threads' business
  control_watch_ = loop_->WatchFd(control_.fd(), base::kReadable, [this](int) { OnControl(); });
  bell_watch_ = loop_->WatchFd(port_->io_bell_fd(), base::kReadable, [this](int) { OnIoBell(); });
  loop_->RunAfter(kMendInterval, [this] { MendRings(); });
  loop_->Run();
  control_watch_.Reset();
  bell_watch_.Reset();
}

void Process::Impl::OnIoBell() {
  usleep(kUnattendedPauseUs);
  port_->TakeIoBell();
  DrainRings();
}

void Process::Impl::DrainRings() {
  while (true) {
    base::MutexLock lock(&mutex_);
    now_ = base::SystemClock().Now();
    const size_t frames = port_->Drain(kFramesPerDrain);
    EndTurn();
    if (frames < kFramesPerDrain) return;
  }
}

void Process::Impl::MendRings() {
  bool found = false;
  {
    base::MutexLock lock(&mutex_);
    found = port_->Mend();
  }
  if (found) DrainRings();
  loop_->RunAfter(kMendInterval, [this] { MendRings(); });
}

void Process::Impl::OnControl() {
  while (true) {
    absl::StatusOr<rpc::MessageWithDescriptors> received = control_.Receive();
    if (absl::IsUnavailable(received.status())) return;
    if (!received.ok()) {
      control_watch_.Reset();
      OnDaemonGone(base::Message(received.status()));
      return;
    }
    if (const auto* link = std::get_if<rpc::PeerLink>(&received->message)) {
      base::UniqueFd socket;
      if (!received->descriptors.empty()) socket = std::move(received->descriptors[0]);
      remote_->OnLink(*link, std::move(socket));
      continue;
    }
    base::MutexLock lock(&mutex_);
    now_ = base::SystemClock().Now();
    OnControlMessage(*std::move(received));
    EndTurn();
  }
}

// ------------------------------------------------------------------ processes of other nodes

void Process::Impl::SendDial(ProcessId peer) {
  const absl::Status sent = control_.Send(rpc::PeerDial{peer});
  if (sent.ok()) return;
  MANTA_LOG(kWarning) << "no connection to " << ToString(peer) << ": " << base::Message(sent);
  Post([this, peer] { loop_->RunAfter(kForgetAgain, [this, peer] { DialPeer(peer); }); });
}

void Process::Impl::DialPeer(ProcessId peer) {
  base::MutexLock lock(&mutex_);
  if (core_ != nullptr) SendDial(peer);
}

void Process::Impl::OnPeerConnected(ProcessId peer) { Submit(PeerConnected{peer}); }

void Process::Impl::OnPeerUnreachable(ProcessId peer, const std::string& why) { Submit(PeerUnreachable{peer, why}); }

void Process::Impl::OnPeerMessages(ProcessId from, std::vector<rpc::Message>& messages) {
  base::MutexLock lock(&mutex_);
  if (core_ == nullptr) return;
  now_ = base::SystemClock().Now();
  for (rpc::Message& message : messages) Handle(MessageReceived{from, std::move(message)});
  EndTurn();
}

// What was lost is not asked for again: one of the two must end.
void Process::Impl::OnPeerBroke(ProcessId peer, const absl::Status& why) {
  MANTA_LOG(kError) << "the session with " << ToString(peer) << " is lost: " << base::Message(why);
  base::MutexLock lock(&mutex_);
  if (core_ != nullptr) (void)control_.Send(rpc::PeerBroke{peer, base::Message(why)});
}

void Process::Impl::OnDaemonGone(const std::string& why) {
  if (closed_) return;
  MANTA_LOG(kWarning) << "the node daemon is gone: " << why;
  if (is_worker_) {
    // A worker ends with its node, and takes what user code started with it (its process group).
    kill(0, SIGKILL);
    _exit(1);
  }
  host_->OnDaemonLost();
  Submit(DaemonLost{});
}

void Process::Impl::OnControlMessage(rpc::MessageWithDescriptors received) {
  if (const auto* offer = std::get_if<rpc::PeerOffer>(&received.message)) {
    OnPeerOffer(*offer, std::move(received.descriptors));
  } else if (const auto* answer = std::get_if<rpc::PeerAnswer>(&received.message)) {
    OnPeerAnswer(*answer, std::move(received.descriptors));
  } else {
    MANTA_LOG(kWarning) << rpc::MessageName(received.message) << " on the control socket is ignored";
  }
}

void Process::Impl::OnPeerOffer(const rpc::PeerOffer& message, std::vector<base::UniqueFd> fds) {
  rpc::PeerAnswer answer{.from = self, .to = message.from, .mark = 0, .offer_mark = message.mark, .refused = {}};
  rpc::ShmOffer ours;
  if (fds.size() != 4) {
    answer.refused = "the offer lacks descriptors";
  } else {
    rpc::ShmOffer offer{std::move(fds[0]), {std::move(fds[1]), std::move(fds[2]), std::move(fds[3])}, message.mark};
    absl::StatusOr<rpc::ShmChannel*> channel = port_->Accept(std::move(offer), this, &ours);
    if (channel.ok()) {
      (*channel)->set_peer(message.from);
      Peer& peer = peers_[message.from];
      // Who offers again has not had the last answer, or not its descriptors.
      if (peer.accepted != nullptr && peer.is_in_doubt(peer.accepted)) DropAccepted(&peer);
      if (peer.send == nullptr) peer.send = *channel;
      peer.channels.push_back(*channel);
      peer.accepted = *channel;
      answer.mark = ours.mark;
    } else {
      answer.refused = base::Message(channel.status());
    }
  }
  if (answer.refused.empty()) {
    const std::array<int, 3> answer_fds = {ours.attention.page.get(), ours.attention.sleep_bell.get(),
                                           ours.attention.io_bell.get()};
    const absl::Status sent = control_.Send(answer, answer_fds);
    if (sent.ok()) return;
    DropAccepted(&peers_[message.from]);
    answer.mark = 0;
    answer.refused = "the answer could not be sent: " + base::Message(sent);
  }
  SendRefusal(answer);
}

// Whoever has offered waits for it.
void Process::Impl::SendRefusal(const rpc::PeerAnswer& refusal) {
  if (control_.Send(refusal).ok()) return;
  Post([this, refusal] {
    loop_->RunAfter(kForgetAgain, [this, refusal] {
      base::MutexLock lock(&mutex_);
      if (core_ != nullptr) SendRefusal(refusal);
    });
  });
}

void Process::Impl::DropAccepted(Peer* peer) {
  rpc::ShmChannel* const dropped = std::exchange(peer->accepted, nullptr);
  std::erase(peer->channels, dropped);
  if (peer->send == dropped) peer->send = peer->channels.empty() ? nullptr : peer->channels.front();
  port_->Remove(dropped);
}

void Process::Impl::OnPeerAnswer(const rpc::PeerAnswer& answer, std::vector<base::UniqueFd> fds) {
  auto offered = offers_.find(answer.offer_mark);
  if (offered == offers_.end() || offered->second != answer.from) return;
  offers_.erase(offered);
  std::string refused = answer.refused;
  if (refused.empty() && fds.size() != 3) refused = "the answer lacks descriptors";
  if (refused.empty()) {
    rpc::ShmOffer theirs{{}, {std::move(fds[0]), std::move(fds[1]), std::move(fds[2])}, answer.mark};
    absl::StatusOr<rpc::ShmChannel*> channel = port_->Connect(answer.offer_mark, std::move(theirs), this);
    if (channel.ok()) {
      (*channel)->set_peer(answer.from);
      Peer& peer = peers_[answer.from];
      if (peer.send == nullptr || peer.is_in_doubt(peer.send)) peer.send = *channel;
      peer.channels.push_back(*channel);
      if (answer.from.is_user_process()) Handle(PeerConnected{answer.from});
      return;
    }
    refused = base::Message(channel.status());
  } else {
    port_->Withdraw(answer.offer_mark);
  }
  if (answer.from.is_user_process()) Handle(PeerUnreachable{answer.from, refused});
}

// ------------------------------------------------------------------ timers

// The I/O thread's timer runs no later than the core wants; it may run early and look again.
void Process::Impl::ArmTimer() {
  const Time wanted = core_ == nullptr ? Time::max() : core_->next_deadline();
  if (wanted >= armed_) return;
  armed_ = wanted;
  Post([this, wanted] {
    if (timer_ != 0) loop_->CancelTimer(timer_);
    timer_ = loop_->RunAfter(std::max(Duration::zero(), wanted - base::SystemClock().Now()), [this] { OnTimer(); });
  });
}

void Process::Impl::OnTimer() {
  timer_ = 0;
  base::MutexLock lock(&mutex_);
  if (core_ == nullptr) return;
  armed_ = Time::max();
  now_ = base::SystemClock().Now();
  if (core_->next_deadline() <= now_) Handle(Tick{});
  EndTurn();
}

void Process::Impl::Post(base::EventLoop::Function fn) {
  base::MutexLock lock(&close_mutex_);
  if (loop_ != nullptr) loop_->Post(std::move(fn));
}

std::shared_ptr<store::PinTable> Process::Impl::Pins() {
  base::MutexLock lock(&close_mutex_);
  return pins_;
}

ProcessCounts Process::Impl::Counts() {
  base::MutexLock lock(&mutex_);
  return core_ == nullptr ? ProcessCounts{} : core_->counts();
}

void Process::Impl::Close() {
  if (closed_.exchange(true)) return;
  exiting_ = true;
  std::vector<std::thread> extra;
  {
    base::MutexLock lock(&mutex_);
    while (leader_active_ || followers_ != 0) {  // they look at closed_, and leave
      if (port_ != nullptr) port_->WakeWaiter();
      follower_wake_.NotifyAll();
      follower_wake_.WaitFor(&mutex_, kCloseLook);
    }
    extra.swap(extra_executors_);
  }
  if (io_thread_.joinable()) {
    loop_->Stop();
    io_thread_.join();
  }
  for (std::thread& thread : extra) thread.join();
  {
    base::MutexLock lock(&mutex_);
    remote_.reset();
  }
  for (std::atomic<int>& socket : sockets_) socket = -1;
  if (store != nullptr) store->Close();
  {
    base::MutexLock lock(&close_mutex_);
    pins_.reset();
    loop_.reset();
  }
  {
    base::MutexLock lock(&mutex_);
    if (core_ != nullptr) {
      now_ = base::SystemClock().Now();
      HandleDropped();
      Handle(DaemonLost{});  // whatever is not complete ends: nobody will do it later
      HandleDropped();
    }
    control_.Close();  // tells the daemon
    core_.reset();
    task_events_.reset();
    peers_.clear();
    port_.reset();
  }
  gone_ = true;
  ForgetDropped();
}

void Process::Impl::AfterForkInChild() noexcept {
  for (const std::atomic<int>& socket : sockets_) {
    if (socket >= 0) close(socket);
  }
  CloseSharedMemory();
}

// ------------------------------------------------------------------ Process

Process::Process(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Process::~Process() = default;

absl::StatusOr<std::unique_ptr<Process>> Process::Join(JoinSpec spec, Host* host) {
  auto impl = std::make_unique<Impl>(host, std::move(spec.node_socket));
  MANTA_RETURN_IF_ERROR(impl->Join(spec));
  return std::unique_ptr<Process>(new Process(std::move(impl)));
}

ProcessId Process::self() const { return impl_->self; }
JobId Process::job() const { return impl_->job; }
const std::string& Process::name_space() const { return impl_->name_space; }
store::StoreClient& Process::store() { return *impl_->store; }
std::shared_ptr<store::PinTable> Process::pins() { return impl_->Pins(); }
void Process::Submit(ProcessEvent event) { impl_->Submit(std::move(event)); }
void Process::SubmitDrop(Dropped* dropped) { impl_->SubmitDrop(dropped); }
bool Process::WaitUntil(const std::function<bool()>& done, Time deadline) {
  return impl_->WaitUntil(done, deadline, rpc::Attending::kUnattended);
}
std::string Process::RunExecutor() { return impl_->RunExecutor(); }
ProcessCounts Process::counts() { return impl_->Counts(); }
void Process::Close() { impl_->Close(); }
void Process::AfterForkInChild() noexcept { impl_->AfterForkInChild(); }

}  // namespace manta::runtime

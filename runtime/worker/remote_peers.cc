#include "runtime/worker/remote_peers.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status.h"

namespace manta::runtime {
namespace {

constexpr Duration kDialAgain = std::chrono::milliseconds(20);
constexpr Duration kDialAgainMax = std::chrono::milliseconds(500);

}  // namespace

RemotePeers::RemotePeers(base::EventLoop* loop, ProcessId self, Handler* handler)
    : loop_(loop), self_(self), handler_(handler) {}

RemotePeers::~RemotePeers() {
  const base::MutexLock lock(&mutex_);
  for (auto& [id, peer] : peers_) {
    if (peer.dial_timer != 0) loop_->CancelTimer(peer.dial_timer);
  }
}

// ------------------------------------------------------------------ links

void RemotePeers::OnLink(const rpc::PeerLink& link, base::UniqueFd socket) {
  if (!link.refused.empty() || !socket) return OnRefused(link);
  std::shared_ptr<rpc::SessionChannel> session;
  bool is_new = false;
  {
    const base::MutexLock lock(&mutex_);
    Peer& peer = peers_[link.peer];
    std::shared_ptr<rpc::SessionChannel>& mine = link.dialled ? peer.dialled : peer.accepted;
    is_new = mine == nullptr;
    if (is_new) mine = MakeSession(link.peer, link.dialled);
    if (peer.send == nullptr) peer.send = mine.get();
    session = mine;
  }
  rpc::PeerIdentity identity;
  identity.process = link.peer;
  identity.connection = rpc::ConnectionKind::kCalls;
  // The session becomes its handler at once.
  const absl::Status attached = session->Attach(
      rpc::SocketChannel::Adopt(loop_, std::move(socket), link.early.view(), identity, {}, nullptr), identity);
  if (!attached.ok()) MANTA_LOG(kWarning) << "a connection is refused: " << base::Message(attached);
  if (is_new && link.dialled) handler_->OnPeerConnected(link.peer);
}

void RemotePeers::OnRefused(const rpc::PeerLink& link) {
  const absl::Status why = base::Error(absl::StatusCode::kUnavailable, link.refused);
  std::shared_ptr<rpc::SessionChannel> session;
  {
    const base::MutexLock lock(&mutex_);
    const auto found = peers_.find(link.peer);
    if (found != peers_.end()) session = found->second.dialled;
    if (session == nullptr && !link.dead) {
      // The first one: asked for again.
      Peer& peer = peers_[link.peer];
      if (peer.dial_timer != 0) return;
      peer.dial_after = std::clamp(peer.dial_after * 2, kDialAgain, kDialAgainMax);
      peer.dial_timer = loop_->RunAfter(peer.dial_after, [this, id = link.peer] {
        {
          const base::MutexLock relock(&mutex_);
          const auto waiting = peers_.find(id);
          if (waiting == peers_.end()) return;
          waiting->second.dial_timer = 0;
        }
        handler_->DialPeer(id);
      });
      return;
    }
  }
  if (session != nullptr) return session->LinkRefused(why);  // its death is reported, or a later try succeeds
  handler_->OnPeerUnreachable(link.peer, link.refused);
}

std::shared_ptr<rpc::SessionChannel> RemotePeers::MakeSession(ProcessId peer, bool dialled) {
  rpc::SessionChannel::Options options;
  options.session.self = self_;
  options.session.peer = peer;
  options.give_up_after = Duration::max();  // the own node says who is dead
  if (dialled) {
    // The first link is here already: asked for when it breaks.
    options.request_link = [this, peer] { handler_->DialPeer(peer); };
    options.request_first_link = false;
  }
  return std::make_shared<rpc::SessionChannel>(loop_, options, static_cast<rpc::Channel::Handler*>(this));
}

void RemotePeers::Drop(ProcessId peer) {
  const base::MutexLock lock(&mutex_);
  const auto found = peers_.find(peer);
  if (found != peers_.end()) Erase(found);
}

void RemotePeers::DropNode(NodeId node) {
  const base::MutexLock lock(&mutex_);
  for (auto it = peers_.lower_bound({node, 0}); it != peers_.end() && it->first.node == node;) Erase(it++);
}

// It may be delivering at this moment: it goes at the next turn.
void RemotePeers::Erase(std::map<ProcessId, Peer>::iterator peer) {
  if (peer->second.dial_timer != 0) loop_->CancelTimer(peer->second.dial_timer);
  loop_->Post([dialled = peer->second.dialled, accepted = peer->second.accepted] {
    if (dialled) dialled->Close();
    if (accepted) accepted->Close();
  });
  peers_.erase(peer);
}

// ------------------------------------------------------------------ messages

bool RemotePeers::Send(ProcessId to, const rpc::Message& message) {
  const base::MutexLock lock(&mutex_);
  const auto found = peers_.find(to);
  if (found == peers_.end() || found->second.send == nullptr) return false;
  const absl::Status sent = found->second.send->Send(message);
  if (!sent.ok()) {
    MANTA_LOG(kError) << rpc::MessageName(message) << " to " << ToString(to) << ": " << base::Message(sent);
  }
  return true;
}

void RemotePeers::OnMessage(rpc::Channel&, rpc::Message message) { arrived_.push_back(std::move(message)); }

void RemotePeers::OnTurnEnd(rpc::Channel& channel) {
  if (arrived_.empty()) return;
  const ProcessId from = channel.peer();
  bool lives = false;
  {
    const base::MutexLock lock(&mutex_);
    lives = peers_.contains(from);
  }
  if (lives) handler_->OnPeerMessages(from, arrived_);
  arrived_.clear();
}

void RemotePeers::OnClosed(rpc::Channel& channel, const absl::Status& why) {
  const ProcessId peer = channel.peer();
  {
    const base::MutexLock lock(&mutex_);
    if (!peers_.contains(peer)) return;
  }
  handler_->OnPeerBroke(peer, why);
}

}  // namespace manta::runtime

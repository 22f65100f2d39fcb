#include "rpc/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/socket.h"
#include "base/status.h"
#include "rpc/socket_address.h"

namespace manta::rpc {
namespace {

// Connections of one turn, so that a flood does not hold up everybody else.
constexpr int kAcceptsMax = 32;
constexpr Duration kLogPause = std::chrono::seconds(1);

base::UniqueFd SpareDescriptor() { return base::UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

bool RunsAsOurUser(int socket) {
  const absl::StatusOr<base::PeerCredentials> peer = base::GetPeerCredentials(socket);
  return peer.ok() && peer->uid == geteuid();
}

}  // namespace

// The handler of a channel until it is handed over.
class Listener::Guest : public SocketChannel::Handler {
 public:
  explicit Guest(Listener* listener) : listener_(listener) {}

  void OnAuthenticated(SocketChannel&, const PeerIdentity& peer) override { listener_->HandOver(this, peer); }
  void OnMessage(Channel&, Message) override {}
  void OnClosed(Channel&, const absl::Status& why) override { listener_->Leave(this, why); }

  std::unique_ptr<SocketChannel> channel;

 private:
  Listener* const listener_;
};

namespace {
// For a channel whose receiver has not set a handler of its own.
class NoHandler : public SocketChannel::Handler {
  void OnMessage(Channel&, Message) override {}
  void OnClosed(Channel&, const absl::Status&) override {}
};
NoHandler no_handler;  // stateless
}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Listen(base::EventLoop* loop, const std::string& address,
                                                           const Options& options, OnChannel on_channel) {
  if (!IsLocalAddress(address)) {
    return base::Error(
        absl::StatusCode::kInvalidArgument,
        address + " is not a loopback address: connections are not encrypted yet, so nothing else is listened on");
  }
  MANTA_ASSIGN_OR_RETURN(base::UniqueFd socket, ListenOn(address));
  MANTA_ASSIGN_OR_RETURN(std::string local, LocalAddress(socket.get()));
  return std::make_unique<Listener>(loop, std::move(socket), std::move(local), options, std::move(on_channel));
}

Listener::Listener(base::EventLoop* loop, base::UniqueFd socket, std::string address, const Options& options,
                   OnChannel on_channel)
    : loop_(loop),
      address_(std::move(address)),
      options_(options),
      on_channel_(std::move(on_channel)),
      socket_(std::move(socket)),
      spare_(SpareDescriptor()) {
  options_.handshake.client_nonces = &nonces_;
  watch_ = loop_->WatchFd(socket_.get(), base::kReadable, [this](int) { AcceptSome(); });
}

Listener::~Listener() {
  if (resume_timer_ != 0) loop_->CancelTimer(resume_timer_);
}

void Listener::AcceptSome() {
  for (int i = 0; i < kAcceptsMax; ++i) {
    absl::StatusOr<base::UniqueFd> socket = base::AcceptUnix(socket_.get());
    if (socket.ok()) {
      Admit(*std::move(socket));
    } else if (absl::IsUnavailable(socket.status())) {
      return;
    } else {
      // No descriptors, no memory: whoever waits is told at once by being closed, and we look again a little later.
      ShedOne();
      return Pause();
    }
  }
}

void Listener::Admit(base::UniqueFd socket) {
  if (guests_.size() >= options_.unauthenticated_max) {
    Guest* oldest = guests_.front().get();
    oldest->channel->Refuse({Refusal::Reason::kBusy, "too many connections have not proved themselves"});
    Leave(oldest, absl::ResourceExhaustedError("displaced by newer connections"));
  }
  const bool is_unix = IsUnixAddress(address_);
  if (!is_unix && !PrepareTcp(socket.get()).ok()) return;  // it is broken already
  const bool user_matches = is_unix && RunsAsOurUser(socket.get());
  auto guest = std::make_unique<Guest>(this);
  guest->channel =
      SocketChannel::Server(loop_, std::move(socket), options_.handshake, user_matches, options_.channel, guest.get());
  guests_.push_back(std::move(guest));
}

void Listener::ShedOne() {
  spare_.reset();
  if (base::AcceptUnix(socket_.get()).ok()) ++shed_;  // closed again at once
  spare_ = SpareDescriptor();
}

void Listener::Pause() {
  watch_.SetEvents(0);
  if (resume_timer_ != 0) return;
  resume_timer_ = loop_->RunAfter(options_.pause_without_descriptors, [this] {
    resume_timer_ = 0;
    if (!spare_) spare_ = SpareDescriptor();
    watch_.SetEvents(base::kReadable);
  });
}

void Listener::Leave(Guest* guest, const absl::Status& why) {
  ++refused_;
  LogRefusal(why);
  std::erase_if(guests_, [guest](const std::unique_ptr<Guest>& g) { return g.get() == guest; });
}

void Listener::HandOver(Guest* guest, const PeerIdentity& peer) {
  ++accepted_;
  std::unique_ptr<SocketChannel> channel = std::move(guest->channel);
  channel->set_handler(&no_handler);
  const auto found = std::find_if(guests_.begin(), guests_.end(), [guest](const auto& g) { return g.get() == guest; });
  const std::unique_ptr<Guest> keep = std::move(*found);  // its OnAuthenticated is running
  guests_.erase(found);
  const OnChannel on_channel = on_channel_;  // the listener may be destroyed inside
  on_channel(std::move(channel), peer);
}

// A flood of strangers must not fill the disk.
void Listener::LogRefusal(const absl::Status& why) {
  const Time now = loop_->Now();
  if (now < log_again_) {
    ++unlogged_;
    return;
  }
  MANTA_LOG(kInfo) << address_ << ": a connection was refused: " << why.ToString()
                   << (unlogged_ == 0 ? "" : " (and " + std::to_string(unlogged_) + " others)");
  unlogged_ = 0;
  log_again_ = now + kLogPause;
}

}  // namespace manta::rpc

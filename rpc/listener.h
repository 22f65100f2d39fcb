// Listener accepts connections on a stream socket, makes each prove itself, and hands over those that did.
//
// Problem:    strangers connect, say nothing, say nonsense, and use up descriptors; a daemon must go on serving its
//             own.
// Ownership:  owns the socket and the channels that have not proved themselves; an authenticated one is the receiver's.
// Threads:    loop-confined. It may be destroyed inside its function.
// Invariants: (1) at most unauthenticated_max connections are unproved; a new one displaces the oldest.
//             (2) none stays unproved longer than channel.handshake_timeout.
//             (3) without descriptors left, connections are closed at once, and accepted again when there are some.
// See:        rpc/socket_channel.h, rpc/handshake.h.
#ifndef MANTA_RPC_LISTENER_H_
#define MANTA_RPC_LISTENER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "rpc/handshake.h"
#include "rpc/socket_channel.h"

namespace manta::rpc {

class Listener {
 public:
  struct Options {
    ServerHandshake::Options handshake;  // client_nonces is the listener's own
    SocketChannel::Options channel;
    size_t unauthenticated_max = 64;
    Duration pause_without_descriptors = std::chrono::milliseconds(50);
  };
  // The channel is open, and delivers nothing before this returns: call set_handler now.
  using OnChannel = std::function<void(std::unique_ptr<SocketChannel> channel, const PeerIdentity& peer)>;

  // `address`: rpc/socket_address.h. Errors: those of ListenOn; kInvalidArgument, too: others than processes of this
  // host could connect, and connections are not encrypted.
  static absl::StatusOr<std::unique_ptr<Listener>> Listen(base::EventLoop* loop, const std::string& address,
                                                          const Options& options, OnChannel on_channel);
  // `socket` listens already.
  Listener(base::EventLoop* loop, base::UniqueFd socket, std::string address, const Options& options,
           OnChannel on_channel);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Where clients connect to, with the port that was chosen.
  const std::string& address() const { return address_; }

  // Who listens, for the connections from now on.
  void set_self(ProcessId self) {
    options_.handshake.self = self;
    options_.handshake.self_known = true;
  }

  size_t unauthenticated() const { return guests_.size(); }
  uint64_t accepted() const { return accepted_; }  // connections handed over
  uint64_t refused() const { return refused_; }    // that proved nothing
  uint64_t shed() const { return shed_; }          // closed for want of descriptors

 private:
  class Guest;  // a connection that has not proved itself
  using Guests = std::list<std::unique_ptr<Guest>>;

  void AcceptSome();
  void Admit(base::UniqueFd socket);
  void ShedOne();
  void Pause();
  void Leave(Guest* guest, const absl::Status& why);
  void HandOver(Guest* guest, const PeerIdentity& peer);
  void LogRefusal(const absl::Status& why);

  base::EventLoop* const loop_;
  const std::string address_;
  Options options_;
  const OnChannel on_channel_;
  NonceMemory nonces_;
  base::UniqueFd socket_;
  base::UniqueFd spare_;  // given up to accept and close what cannot be served
  base::FdWatch watch_;
  base::TimerId resume_timer_ = 0;
  Guests guests_;  // oldest first
  uint64_t accepted_ = 0;
  uint64_t refused_ = 0;
  uint64_t shed_ = 0;
  uint64_t unlogged_ = 0;
  Time log_again_ = Time::min();
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_LISTENER_H_

// Channel is the ordered stream of messages between two processes, whatever carries it: shared memory
// on one node (ShmChannel), a socket (SocketChannel), or the simulator (SimChannel).
//
// Invariants: (1) messages arrive in the order of Send, each once, or the channel closes.
//             (2) after OnClosed nothing arrives; OnClosed is called once.
// Threads:    externally synchronised (a process calls its channels under its core lock).
#ifndef MANTA_RPC_CHANNEL_H_
#define MANTA_RPC_CHANNEL_H_

#include <functional>

#include "absl/status/status.h"
#include "base/ids.h"
#include "rpc/message.h"

namespace manta::rpc {

class Channel {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnMessage(Channel& channel, Message message) = 0;
    // Sockets: what has arrived has been handed over, for now. For handlers that take messages together.
    virtual void OnTurnEnd(Channel& channel) { (void)channel; }
    // The peer is gone, or broke the protocol (kInvalidArgument: a bad frame; of a process of our own
    // host, that ends the process).
    virtual void OnClosed(Channel& channel, const absl::Status& why) = 0;
  };

  virtual ~Channel() = default;
  // Queues or writes `message`. Never blocks. An error only for a message above the limits
  // (kResourceExhausted: names size and limit); a closed channel drops it silently.
  virtual absl::Status Send(const Message& message) = 0;
  virtual void Close() = 0;
  // Bytes accepted by Send that the peer's side has not room for yet.
  virtual size_t queued_bytes() const = 0;

  ProcessId peer() const { return peer_; }
  void set_peer(ProcessId peer) { peer_ = peer; }

 private:
  ProcessId peer_;
};

}  // namespace manta::rpc

#endif  // MANTA_RPC_CHANNEL_H_

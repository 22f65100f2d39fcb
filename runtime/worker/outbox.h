// Outbox collects the actions of one ProcessCore::Handle, and what its parts have to tell one another afterwards.
//
// Problem:    a result that arrives may make a call ready, which fails another, which drops a ref ...: done by calls
//             among the parts this is recursion without a bound. They leave notes here; ProcessCore reads them in
//             order.
// Threads:    externally synchronised (ProcessCore).
// Invariants: (1) nothing is sent after the daemon is lost.
//             (2) a message of the process to itself does not leave it: ProcessCore handles it after the event.
#ifndef MANTA_RUNTIME_WORKER_OUTBOX_H_
#define MANTA_RUNTIME_WORKER_OUTBOX_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "runtime/worker/object_entry.h"
#include "runtime/worker/process_core.h"

namespace manta::runtime::worker {

class Outbox {
 public:
  // A waiter of `object` may go on.
  struct Wake {
    Waiter waiter;
    ObjectId object;
  };

  // The home of an own result says that no copy of it is left.
  struct Lost {
    ObjectId object;
    rpc::ErrorInfo error;
  };

  explicit Outbox(ProcessId self) : self_(self), daemon_(DaemonOf(self.node)) {}
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  void Begin(Time now, std::vector<ProcessAction>* actions) {
    now_ = now;
    actions_ = actions;
  }
  Time now() const { return now_; }
  ProcessId self() const { return self_; }
  ProcessId daemon() const { return daemon_; }
  bool daemon_lost() const { return daemon_lost_; }
  void LoseDaemon() { daemon_lost_ = true; }

  // Appends the message; the caller fills it in before anything else is appended.
  template <typename Message>
  Message& Send(ProcessId to) {
    if (daemon_lost_ || to == self_) [[unlikely]]
      return Unsent<Message>();
    SendMessage& send = std::get<SendMessage>(actions_->emplace_back(std::in_place_type<SendMessage>));
    send.to = to;
    return send.message.template emplace<Message>();
  }
  template <typename Message>
  void ToDaemon(Message message) {
    Send<Message>(daemon_) = std::move(message);
  }
  // Appends any other action, for the caller to fill in.
  template <typename Action>
  Action& Act() {
    return std::get<Action>(actions_->emplace_back(std::in_place_type<Action>));
  }
  void Log(LogLine::Level level, std::string text) { Act<LogLine>() = {level, std::move(text)}; }

  // Notes for ProcessCore.
  std::vector<Wake> wakes;
  std::vector<ActorId> idle_handles;  // no handle, value or mailbox call of this process refers to it
  std::vector<rpc::Message> to_self;
  std::vector<Lost> lost;
  std::vector<uint64_t> unkept;  // kept calls whose results nobody refers to any more
  bool has_notes() const {
    return !(wakes.empty() && idle_handles.empty() && to_self.empty() && lost.empty() && unkept.empty());
  }

 private:
  template <typename Message>
  Message& Unsent() {
    if (daemon_lost_) return lost_.template emplace<Message>();
    return to_self.emplace_back().template emplace<Message>();
  }

  ProcessId self_;
  ProcessId daemon_;
  bool daemon_lost_ = false;
  Time now_{};
  std::vector<ProcessAction>* actions_ = nullptr;
  rpc::Message lost_;
};

}  // namespace manta::runtime::worker

#endif  // MANTA_RUNTIME_WORKER_OUTBOX_H_

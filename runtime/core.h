// What the three cores have in common. A core is a pure state machine: Handle(now, event) appends
// actions, and a shell (a real process, or the simulator) carries them out in order. A core has no
// socket, clock, thread, random source or unordered container of its own.
//
// Events and actions are plain values, so that they can be recorded and replayed.
// Contract of shells: (1) messages between two cores arrive in order and once (rings; sessions on sockets),
//                     until one of the two is reported dead.
//                 (2) a core is told ProcessDied(D) only after every message that D wrote to this
//                     process over shared memory has been handed to it.
#ifndef MANTA_RUNTIME_CORE_H_
#define MANTA_RUNTIME_CORE_H_

#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "base/time.h"
#include "rpc/message.h"

namespace manta::runtime {

using base::Fixed;
using base::ResourceSet;

// Event: a message arrived. `from` is the authenticated neighbour that sent it over a channel (a process's
// messages to remote homes and to the head are relayed by its daemon).
struct MessageReceived {
  ProcessId from;
  rpc::Message message;
};

// Action: hand `message` to the channel to `to`. Cores only send to processes they have a channel to:
// a process to its daemon and to connected processes; a daemon to its processes, all daemons and the head.
struct SendMessage {
  ProcessId to;
  rpc::Message message;
};

// Action: a line for the log, with what people need to act on it.
struct LogLine {
  using Level = base::LogLevel;
  Level level = Level::kInfo;
  std::string text;
};

}  // namespace manta::runtime

#endif  // MANTA_RUNTIME_CORE_H_

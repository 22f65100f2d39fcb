// Identities of everything that Manta names. Every identity is used once: numbers rise and are
// never allotted again, so that an id is at the same time a name and an incarnation (DESIGN: identity).
//
// Invariants: (1) a NodeId names one life of one node daemon; a daemon that comes back gets a
//                 higher one from the head.
//             (2) a ProcessId names one life of one process, and tells which node it lives on.
//             (3) the home of an object or an actor handle is read from its id.
// Threads:    immutable values.
#ifndef MANTA_BASE_IDS_H_
#define MANTA_BASE_IDS_H_

#include <compare>
#include <cstdint>
#include <string>

namespace manta {

// One life of a node daemon, allotted by the head from one rising counter. 0: none.
using NodeId = uint64_t;
// One run of a driver, allotted by the head from one rising counter. 0: none.
using JobId = uint64_t;

// A process: {0, 0} the head, {n, 0} the daemon of node n, {n, k > 0} a driver or worker on node n.
struct ProcessId {
  NodeId node = 0;
  uint64_t number = 0;
  auto operator<=>(const ProcessId&) const = default;
  bool is_head() const { return node == 0; }
  bool is_daemon() const { return node != 0 && number == 0; }
  bool is_user_process() const { return number != 0; }
};
inline constexpr ProcessId kHead{};
inline constexpr ProcessId DaemonOf(NodeId node) { return {node, 0}; }

// A call (task, actor call, actor construction, Put): numbered by the process that makes it, from 1.
struct CallId {
  ProcessId caller;
  uint64_t number = 0;
  auto operator<=>(const CallId&) const = default;
};

// Result `index` of a call, or the value of a Put (index 0).
struct ObjectId {
  ProcessId owner;  // who made the call
  uint64_t number = 0;
  uint32_t index = 0;
  auto operator<=>(const ObjectId&) const = default;
  NodeId home() const { return owner.node; }  // the node whose daemon counts the references
  CallId call() const { return {owner, number}; }
  bool is_actor() const { return index == 0xFFFFFFFFu; }
  explicit operator bool() const { return number != 0; }
};

// An actor, numbered with its creator's calls. Its handles are counted as references to `handle()`.
struct ActorId {
  ProcessId creator;
  uint64_t number = 0;
  auto operator<=>(const ActorId&) const = default;
  explicit operator bool() const { return number != 0; }
  ObjectId handle() const { return {creator, number, 0xFFFFFFFFu}; }
  static ActorId FromHandle(const ObjectId& id) { return {id.owner, id.number}; }
};

// A lease granted by `node`; numbers rise, so a worker can refuse every older one. number 0: none.
struct LeaseId {
  NodeId node = 0;
  uint64_t number = 0;
  auto operator<=>(const LeaseId&) const = default;
  explicit operator bool() const { return number != 0; }
};

// The hold on an object while a message that carries a ref to it travels (docs/objects.md).
// It names the call and not the receiver: resending and re-routing keep it.
struct TicketId {
  CallId call;
  uint32_t attempt = 0;
  uint32_t index = 0;  // position among the refs of the request (or of the reply)
  bool reply = false;  // a reply's ticket is held by the callee, a request's by the caller
  auto operator<=>(const TicketId&) const = default;
};

std::string ToString(const ProcessId& id);  // "head", "n3", "n3.p7"
std::string ToString(const CallId& id);     // "n3.p7.c12"
std::string ToString(const ObjectId& id);   // "n3.p7.o12.0"
std::string ToString(const ActorId& id);    // "n3.p7.a12"
std::string ToString(const LeaseId& id);    // "n3.l9"
std::string ToString(const TicketId& id);

}  // namespace manta

#endif  // MANTA_BASE_IDS_H_
